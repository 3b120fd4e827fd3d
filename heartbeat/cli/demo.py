"""``heartbeat demo``: a broken shop, an alert and a recovery, in about a minute on one machine."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import Annotated

import typer

NEEDS = {"aiosmtpd": "aiosmtpd", "dns": "dnspython", "dnslib": "dnslib", "trustme": "trustme"}
"""What the extra ``demo`` brings: the name to import, and the name to install."""


def demo(
    *,
    forever: Annotated[bool, typer.Option("--forever", help="Keep everything running until stopped.")] = False,
) -> int:
    """Show in about a minute how a broken shop is noticed, told and found repaired: with the real daemon, on loopback.

    Exit codes: 0 the story was told; 1 something in it did not happen; 130 it was interrupted.
    """
    if missing := [package for module, package in NEEDS.items() if find_spec(module) is None]:
        typer.echo(f"The demo needs {', '.join(missing)}: pip install 'heartbeat[demo]'", err=True)
        return 1
    from heartbeat.demo.narrator import Narrator  # noqa: PLC0415 - the other commands need none of this
    from heartbeat.demo.story import perform  # noqa: PLC0415 - the same

    return asyncio.run(perform(Narrator(), forever=forever))

"""Where checks are reported to: each address is of one check, and none is one of our own."""

from __future__ import annotations

import re
from collections.abc import Sequence

from heartbeat.check import Reported
from heartbeat.config.matrix import Members
from heartbeat.config.plan import Draft
from heartbeat.config.problem import quoted
from heartbeat.config.reading import Spot

OURS = frozenset({"-", "api", "metrics"})
"""What the addresses of the daemon's own begin with."""
_ROUTE = re.compile(r"(/[A-Za-z0-9._~-]{1,200}){1,3}")


def check_routes(drafts: Sequence[Draft], members: Members) -> None:
    """Note which addresses cannot be served, or are those of another check. They are secrets, and never shown."""
    spots = {member.name: member.spot for member in members.checks}
    taken: dict[str, str] = {}
    for draft in drafts:
        if isinstance(draft.model, Reported):
            _check(draft.name, draft.model, spots[draft.name].entries()[draft.type], taken)


def _check(name: str, model: Reported, spot: Spot, taken: dict[str, str]) -> None:
    try:
        routes = tuple(map(str, model.routes()))
    except Exception as error:  # noqa: BLE001 - a plugin's code may raise anything, and must not hide the other mistakes
        spot.wrong(f"failed while it said where it is reported to: {type(error).__name__}", spot.key)
        return
    for route in routes:
        if not _ROUTE.fullmatch(route):
            spot.wrong("an address that it is reported to on must be one to three parts like /ping/TOKEN", spot.key)
        elif route.split("/")[1] in OURS:
            spot.wrong(f"it cannot be reported to below /{route.split('/')[1]}, which is the daemon's own", spot.key)
        elif (other := taken.setdefault(route, name)) != name:
            spot.wrong(f"it is reported to at the same address as {quoted(other)}; give each its own", spot.key)
            return

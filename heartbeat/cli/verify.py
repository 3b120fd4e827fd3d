"""``heartbeat verify``: the daemon's checks as a gate in a pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heartbeat.cli.common import ConfigOption, NoColorOption, complain
from heartbeat.cli.exits import EX_CONFIG, EX_USAGE
from heartbeat.cli.gate import Asked, prepare
from heartbeat.cli.verifying import run_gate
from heartbeat.config import ConfigError
from heartbeat.verification.terms import CONCURRENCY, PACE

Names = Annotated[
    list[str] | None, typer.Argument(help="The checks, patterns with *; without any, all.", metavar="NAME")
]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="Only checks with this tag; may be given several times.")]
Targets = Annotated[
    list[str] | None,
    typer.Option("--target", metavar="NAME=VALUE", help="Put another value in the place of a target, ${target.NAME}."),
]
For = Annotated[str, typer.Option("--for", metavar="TIME", help="Run each check again and again for so long.")]
Runs = Annotated[int | None, typer.Option("--runs", min=1, metavar="N", help="Run each check so often; 1 if left out.")]
Every = Annotated[
    str,
    typer.Option(
        metavar="TIME", help=f"From one run to the next; as configured, but at most {PACE:.0f}s, if left out."
    ),
]
Require = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WHAT",
        help="A share of good runs (100% if left out), or a limit over all runs, as 'p95 duration: 500ms'; several.",
    ),
]
Wait = Annotated[
    bool, typer.Option("--wait-until-healthy", help="Let the runs of a check count from its first good one on.")
]
Deadline = Annotated[str, typer.Option(metavar="TIME", help="How long to wait for that; 5m if left out.")]
Junit = Annotated[Path | None, typer.Option(metavar="FILE", help="Write a JUnit report.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all that was found as JSON.")]
Markdown = Annotated[
    Path | None, typer.Option(metavar="FILE", help='Append a report in Markdown, as to "$GITHUB_STEP_SUMMARY".')
]
Baseline = Annotated[Path | None, typer.Option(metavar="FILE", help="Compare with what was saved before.")]
Save = Annotated[Path | None, typer.Option(metavar="FILE", help="Save what was measured, unless anything failed.")]
Concurrency = Annotated[int, typer.Option(min=1, metavar="N", help="Checks at work at once.")]
Strict = Annotated[bool, typer.Option("--strict-warnings", help="Exit with 2 where there are warnings.")]


def verify(  # noqa: PLR0913 - each is an option of the command
    config: ConfigOption,
    names: Names = None,
    *,
    tag: Tags = None,
    target: Targets = None,
    for_: For = "",
    runs: Runs = None,
    every: Every = "",
    require: Require = None,
    wait: Wait = False,
    deadline: Deadline = "",
    junit: Junit = None,
    json: Json = None,
    markdown: Markdown = None,
    baseline: Baseline = None,
    save_baseline: Save = None,
    concurrency: Concurrency = CONCURRENCY,
    strict: Strict = False,
    no_color: NoColorOption = False,
) -> int:
    """Run checks as a gate: are they good enough for a release? Nothing is stored and nobody is told.

    A run that fails is looked at again as the policy of the check says, and counts as its last look.

    Exit codes: 0 all is as required; 1 a check or a requirement failed, or a check is clearly slower than its
    baseline (twice as slow; a quarter slower is a warning); 2 warnings only, with --strict-warnings; 3 a check itself
    is broken, so that nothing is proven of its target; 64 the command line and 78 the configuration is wrong;
    73 a report could not be written; 130 and 143 interrupted, with what is known so far.
    """
    asked = Asked(
        config, names or [], tag or [], target or [], require or [], for_, runs, every, deadline, wait=wait,
        junit=junit, json=json, markdown=markdown, baseline=baseline, save=save_baseline, concurrency=concurrency,
        strict=strict, no_color=no_color,
    )  # fmt: skip
    try:
        gate = prepare(asked)
    except ConfigError as error:
        complain(error)
        return EX_CONFIG
    except ValueError as error:
        typer.echo(str(error), err=True)
        return EX_USAGE
    return run_gate(gate)

"""``heartbeat deployment``: mark that something is rolled out, so that messages name it, and may wait for its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from heartbeat.cli.common import ConfigOption, JsonOption, SocketOption, load_or_complain
from heartbeat.cli.daemon import ask
from heartbeat.cli.deliveries import read
from heartbeat.cli.exits import EX_CONFIG, EX_UNAVAILABLE
from heartbeat.cli.quiet import ByOption, ChecksOption, LabelOption, cover, quoted, user
from heartbeat.core.deployment import EVERYTHING
from heartbeat.core.times import lasting, readable
from heartbeat.store import StoreFailed
from heartbeat.store.deployments import load
from heartbeat.web.deployments import describe_deployment

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="What is deployed, such as shop.")]
VersionOption = Annotated[str, typer.Option(help="Which version of it, such as a tag or a commit.")]
HoldOption = Annotated[
    str, typer.Option(help="Keep messages on what it concerns back until it is finished, at most so long: 10m.")
]
TagOption = Annotated[list[str] | None, typer.Option("--tag", help="It concerns checks of this tag; may be repeated.")]
FailedOption = Annotated[bool, typer.Option("--failed", help="It failed.")]
LimitOption = Annotated[int, typer.Option(min=1, max=10_000, help="How many at most, the latest.")]

deployment = typer.Typer(
    help="Mark deployments: messages say how long after one the trouble began.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@deployment.command("start")
def start(  # noqa: PLR0913 - each is an option of the command
    name: NameArgument,
    config: ConfigOption,
    *,
    version: VersionOption = "",
    by: ByOption = "",
    hold: HoldOption = "",
    tag: TagOption = None,
    label: LabelOption = None,
    checks: ChecksOption = None,
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> int:
    """Mark that a deployment begins. It concerns the checks that are named, and without any all of them."""
    covered = cover(checks, label, None)
    del covered["types"]
    body = {**covered, "name": name, "version": version, "by": by or user(), "hold": hold, "tags": tag or []}
    return _mark(config, socket, "/deployments", body, as_json=as_json)


@deployment.command("finish")
def finish(  # noqa: PLR0913 - each is an option of the command
    name: NameArgument,
    config: ConfigOption,
    *,
    failed: FailedOption = False,
    by: ByOption = "",
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> int:
    """Mark that a deployment is over: what it concerns runs at once, and what it held back and still fails is told."""
    body = {"failed": failed, "by": by or user()}
    return _mark(config, socket, f"/deployments/{quoted(name)}/finish", body, as_json=as_json)


@deployment.command("list")
def list_deployments(config: ConfigOption, *, limit: LimitOption = 20, as_json: JsonOption = False) -> int:
    """Show the latest deployments, the oldest of them first. Works without the daemon, too."""
    loaded = load_or_complain(config)
    if loaded is None:
        return EX_CONFIG
    try:
        found = read(loaded.store, partial(load, limit=limit))
    except StoreFailed as error:
        typer.echo(str(error), err=True)
        return EX_UNAVAILABLE
    described = [describe_deployment(one, loaded.redactor) for one in found]
    if as_json:
        typer.echo(json.dumps({"deployments": described}, indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(line for one in described for line in show(one)) or "no deployments")
    return 0


def show(one: dict[str, Any]) -> Iterator[str]:
    """Yield the lines that tell of a deployment."""
    version = f" {one['version']}" if one["version"] else ""
    lasted = f", after {lasting(one['ended'] - one['start'])}" if one["ended"] else ""
    yield f"{readable(one['start'])}  {one['name']}{version} by {one['by']}: {one['state']}{lasted}"
    told = [*one["checks"], *(f"{key}={value}" for key, value in one["labels"].items())]
    told += [f"tag {tag}" for tag in one["tags"]]
    concerned = "all checks" if one["checks"] == list(EVERYTHING.checks) and len(told) == 1 else ", ".join(told)
    held = f"; messages held until {readable(one['released'] or one['hold'])}" if one["hold"] else ""
    yield f"    {one['id']}: {concerned}{held}"


def _mark(config: list[Path], socket: Path | None, route: str, body: dict[str, Any], *, as_json: bool) -> int:
    answer = ask(config, socket, "POST", route, body)
    if isinstance(answer, int):
        return answer
    if answer["warning"]:
        typer.echo(answer["warning"], err=True)
    shown = json.dumps(answer, indent=2, ensure_ascii=False) if as_json else answer["message"]
    typer.echo(shown)
    return 0

"""Sweeping up what earlier runs left behind without anybody's knowing how to reach it: found by its tag and its age."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import isfinite
from time import time
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from heartbeat import CheckFailed, Duration, Part, Probe
from heartbeat.http.text import clean

from ._flow_act import look_into, warn_of
from ._flow_references import Scope, fill_in
from ._flow_step import is_runnable
from ._flow_take import VALUES, Found, Path, look_up

PREFIX = "heartbeat-"
"""What the tags of all runs begin with."""
REMOVED_PER_RUN = 100
FAILURES = 3
"""After so many the rest waits for the next run."""
MILLISECONDS = 1e11
"""A larger number cannot be seconds."""

log = logging.getLogger(__name__)

Runnable = Annotated[Part, AfterValidator(is_runnable)]


class Sweep(BaseModel):
    """How what earlier runs left behind is found and removed."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    list_: Runnable = Field(alias="list", description="a check whose answer lists what there is")
    each: Path = Field(description="JSONPath of the things in that answer, such as $.orders[*]")
    tag: Path = Field(description=f"JSONPath in each thing to its tag; ours begin with {PREFIX}")
    created: Path = Field(description="JSONPath in each thing to its time: ISO 8601, or seconds since 1970")
    older_than: Duration = Field(600.0, description="what is younger is left: a run may be under way with it", ge=1)
    remove: Runnable = Field(description="a check that removes a thing; ${item.id} is a part of it")


@dataclass(slots=True)
class Swept:
    """What a sweep found: the tags it removed, and whether there is more that a later one has to look at."""

    removed: list[str]
    is_more: bool = False


async def sweep(probe: Probe, how: Sweep, scope: Scope, under_way: Container[str]) -> Swept:
    """Remove what has our tag and is old enough. Raises ``CheckFailed`` where the list cannot be read.

    Args:
        probe: the probe of the cleanup.
        how: where to look.
        scope: what references stand for.
        under_way: tags of runs that are under way.
    """
    answer = await probe.step("sweep_list", await fill_in(how.list_, scope))
    items = await look_into(probe, answer, lambda: look_up(how.each, Found(answer).document))
    swept, failures = Swept([], is_more=len(items) > VALUES), list[CheckFailed]()
    for tag, item in _ours(how, items):
        if tag in under_way:
            continue
        if len(swept.removed) >= REMOVED_PER_RUN or len(failures) >= FAILURES:
            swept.is_more = True
            break
        try:
            if _time(next(iter(look_up(how.created, item)), None), how.created) > time() - how.older_than:
                swept.is_more = True
                continue
            await probe.step("sweep_remove", await fill_in(how.remove, replace(scope, item=item)), asks=False)
        except CheckFailed as error:
            failures.append(error)
        else:
            swept.removed.append(tag)
    if swept.removed:
        shown = ", ".join(clean(tag, 40) for tag in swept.removed[:10])
        log.info("swept up %d of what earlier runs left behind: %s", len(swept.removed), shown)
        swept.is_more = True  # the list may have been one page of several
    if failures:
        warn_of(probe, "what earlier runs left behind cannot be removed", failures[0])
        swept.is_more = True
    return swept


def _ours(how: Sweep, items: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    for item in items:
        tag = next(iter(look_up(how.tag, item)), None)
        if isinstance(tag, str) and tag.startswith(PREFIX):
            yield tag, item


def _time(value: Any, place: str) -> float:
    """Return seconds since the epoch. Raises ``CheckFailed`` for what is no time."""
    try:
        at = float(value) if not isinstance(value, bool) else None
    except (TypeError, ValueError):
        at = _iso(value)
    if at is None or not isfinite(at):
        raise CheckFailed(
            f"{clean(place, 100)} leads to no time", expected="ISO 8601 or seconds", observed=clean(value, 60)
        )
    return at / 1000 if at > MILLISECONDS else at


def _iso(value: Any) -> float | None:
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()

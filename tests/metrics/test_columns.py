from __future__ import annotations

import gc
from collections.abc import Callable

from heartbeat.core.model import Outcome, Reason, Result
from heartbeat.metrics.columns import Columns
from heartbeat.state import Live

BUCKETS = (0.05, 0.25, 1.0, 5.0)
Make = Callable[..., Live]


def test_every_check_has_an_entry_in_every_column(make: Make, run: Make, good: Result, bad: Result) -> None:
    columns = Columns(BUCKETS)

    columns.note(make("new"), "a")
    columns.note(run(make("good"), good), "b")
    columns.note(run(make("bad"), bad), "c")

    assert columns.labels == ["a", "b", "c"]
    assert columns.up == [None, 1, 0]
    assert columns.severity == [None, 0, 0]
    assert columns.broken == [None, 0, 0]
    assert columns.runs == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0]
    assert columns.buckets == [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0]
    assert columns.spent == [0.0, 0.123, 0.5]
    assert columns.phases == [{}, good.phases, {}]
    assert columns.timeout == [10.0] * 3
    assert columns.last_run == [None, 1000.5, 1000.5]
    assert columns.last_success == [None, 1000.5, None]
    assert columns.failure == [None, None, Reason.CONNECT]
    assert columns.measured["body_bytes"] == (["b"], [5120.0])


def test_numbers_are_plain_so_that_they_are_written_as_numbers(make: Make, run: Make) -> None:
    columns = Columns(BUCKETS)
    columns.note(run(make(), Result(Outcome.ERROR, 0.1, Reason.PLUGIN, "bang")), "a")
    columns.note(run(make(), Result(Outcome.FAIL, 0.1, Reason.STATUS, "500")), "b")

    assert {type(value) for value in (columns.up[1], *columns.severity, *columns.broken)} == {int}


def test_noting_makes_no_objects_for_the_garbage_collector(make: Make, run: Make, good: Result) -> None:
    lives = [run(make(f"check-{i}"), good) for i in range(1000)]
    columns = Columns(BUCKETS)
    columns.note(lives[0], "a")
    before = len(gc.get_objects())

    for live in lives:
        columns.note(live, "a")

    assert len(gc.get_objects()) - before < 10

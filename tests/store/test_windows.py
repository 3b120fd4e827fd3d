from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from heartbeat.core.model import Outcome, Severity
from heartbeat.store import windows
from heartbeat.store.windows import Saved

Opener = Callable[..., Awaitable[Any]]
NOW = 1_800_000_000.0


async def found(store: Any, check: str = "shop") -> Saved | None:
    await store.flush()
    saved: dict[str, Saved] = await store.ask(partial(windows.find, checks=[check]))
    return saved.get(check)


async def seconds_after(store: Any, *checks: str) -> list[tuple[str, float]]:
    """Return which runs came after windows were saved, and when, in seconds since noon."""
    await store.flush()
    after = await store.ask(lambda connection: list(windows.samples_after(connection, checks)))
    return [(check, sample.at - NOW) for check, sample in after]


def shop(data: str, at: float = NOW, check: str = "shop", seen: int = 0) -> Saved:
    return Saved(check, "Series duration 600", data, at, seen)


def distorted(entry: Any) -> Any:
    return dataclasses.replace(entry, verdict=dataclasses.replace(entry.verdict, distorted=True))


async def test_what_was_saved_last_is_found_also_by_the_next_life(store: Any, opened: Opener) -> None:
    store.save([shop("one"), shop("its own", check="other")])
    store.save([shop("two", NOW + 60)])
    await store.close()
    again = await opened()
    assert await found(again) == shop("two", NOW + 60)
    assert await found(again, "other") == shop("its own", check="other")
    assert await found(again, "nobody") is None


async def test_saving_waits_for_company_as_steady_results_do(store: Any, path: Any, monkeypatch: Any) -> None:
    durable = []
    transact = store._writer._transact

    def noted(connection: Any, changes: Any, **how: Any) -> None:
        durable.append(how["durable"])
        transact(connection, changes, **how)

    monkeypatch.setattr(store._writer, "_transact", noted)
    store.save([shop("text")])
    await store.close()
    assert durable == [False]


async def test_only_what_came_after_is_taken_in_again_oldest_first(store: Any, make: Any) -> None:
    for n in (1, 2):
        store.write(make.steady(n))
    store.save([shop("text", NOW + 2)])
    for n in (4, 3):
        store.write(make.steady(n))
    store.write(make.steady(5, "other"))
    await store.write(distorted(make.failed(6)))
    assert await seconds_after(store, "shop", "other", "nobody") == [("shop", 3.0), ("shop", 4.0)]
    store.save([shop("text", NOW + 4, check="other")])
    store.write(make.steady(7, "other"))
    assert await seconds_after(store, "shop", "other") == [("other", 7.0), ("shop", 3.0), ("shop", 4.0)]


async def test_a_run_at_the_very_moment_counts_once(store: Any, make: Any) -> None:
    store.write(make.steady(1))
    store.save([shop("text", NOW + 1)])
    store.write(make.steady(2, at=NOW + 1))
    assert await seconds_after(store, "shop") == [("shop", 1.0)]


async def test_after_the_clock_was_set_back_what_is_in_the_windows_is_not_taken_in_again(store: Any, make: Any) -> None:
    for n in (0, 1800, 3600):
        store.write(make.steady(n))
    store.save([shop("moved by an hour")])
    store.write(make.steady(7200, at=NOW + 60))
    assert await seconds_after(store, "shop") == [("shop", 60.0)]


async def test_a_sample_has_what_the_run_measured_and_how_it_was_judged(store: Any, make: Any) -> None:
    steady = make.steady(1)
    turned = dataclasses.replace(steady.verdict, outcome=Outcome.FAIL, severity=Severity.FAIL)
    store.write(dataclasses.replace(steady, verdict=turned, run=dataclasses.replace(steady.run, attempt=1)))
    await store.write(make.failed(2))
    samples = await store.ask(lambda connection: list(windows.samples_between(connection, "shop", NOW, NOW + 9)))
    first, second = samples
    assert (first.at, first.attempt, first.outcome, first.result.outcome) == (NOW + 1, 1, Outcome.FAIL, Outcome.OK)
    assert (first.result.duration, first.result.measurements) == (0.25, {"body_bytes": 12.0})
    assert first.result.phases == {"connect": 0.1}
    assert (second.attempt, second.outcome, second.result.measurements) == (0, Outcome.FAIL, {})


async def test_samples_between_two_times_leave_out_what_lies_beyond_and_what_was_distorted(
    store: Any, make: Any
) -> None:
    for n in range(6):
        entry = make.failed(n)
        await store.write(distorted(entry) if n == 3 else entry)
    between = partial(windows.samples_between, check="shop", since=NOW + 1, until=NOW + 4)
    assert [one.at - NOW for one in await store.ask(lambda connection: list(between(connection)))] == [1.0, 2.0, 4.0]


async def test_a_rename_carries_the_windows_over_and_a_removal_drops_them(store: Any, make: Any) -> None:
    await store.write(make.raised(1, "old"))
    store.save([shop("text", check="old"), shop("left over", check="new")])
    await store.rename("old", "new")
    assert await found(store, "new") == shop("text", check="new", seen=1)
    assert await store.ask(windows.names) == ["new"]
    await store.forget("new")
    assert await found(store, "new") is None


async def test_a_rename_that_would_take_a_past_away_leaves_the_windows(store: Any, make: Any) -> None:
    for name in ("old", "new"):
        await store.write(make.raised(1, name))
        store.save([shop(name, check=name)])
    await store.rename("old", "new")
    assert sorted(await store.ask(windows.names)) == ["new", "old"]


async def test_a_closed_store_saves_nothing_and_loses_no_result(store: Any) -> None:
    await store.close()
    store.save([shop("text")])
    assert store.lost == 0


@pytest.mark.parametrize("limit", [2, 20])
async def test_windows_dropped_by_overload_are_no_lost_results(store: Any, make: Any, limit: int) -> None:
    store._writer.backlog._limit = limit
    for n in range(limit):
        store.save([shop(str(n))])
    store.write(make.steady(1))
    await store.flush()
    assert store.lost == 0

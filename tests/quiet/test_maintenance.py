from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from heartbeat.core.quiet import Maintenance, Matcher, Recurring, Span
from heartbeat.core.schedule import Cron
from heartbeat.quiet.maintenance import Window, latest_start, next_span, span_at

ZONES = [
    "Europe/Stockholm",
    "Europe/London",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Australia/Lord_Howe",  # by half an hour
    "Africa/Casablanca",  # twice a year around Ramadan, and backwards
    "Asia/Tehran",  # at midnight, until 2022
    "Pacific/Apia",  # left out a day in 2011
    "Asia/Kolkata",  # never
]
HOUR = 3600.0
DAY = 86_400.0


def window(cron: str, zone: str, hours: float) -> Maintenance:
    return Maintenance("night", Matcher(("*",)), Recurring(Cron(cron, zone), hours * HOUR), "backup")


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def days_around_changes(zone: str) -> list[datetime]:
    """Return the midnights (UTC) around each change of the clocks of a zone."""
    clocks, found = ZoneInfo(zone), []
    for year in (2011, 2018, 2024, 2026):
        before = None
        for day in range(366):
            noon = datetime(year, 1, 1, 12, tzinfo=UTC) + timedelta(days=day)
            offset = noon.astimezone(clocks).utcoffset()
            if before is not None and offset != before:
                found.append(noon - timedelta(days=1, hours=12))
            before = offset
    return found or [datetime(2024, 3, 31, tzinfo=UTC)]


def naive_starts(hour: int, minute: int, zone: str, around: datetime) -> set[float]:
    """Return when the clocks show this time on the days around; where they skip it, when they go on."""
    clocks, found = ZoneInfo(zone), set()
    for day in range(-3, 4):
        shown = (around + timedelta(days=day)).replace(hour=hour, minute=minute, tzinfo=None)
        while True:
            start = shown.replace(tzinfo=clocks).astimezone(UTC)
            if start.astimezone(clocks).replace(tzinfo=None) == shown:
                break
            shown += timedelta(minutes=1)
        found.add(start.timestamp())
    return found


@pytest.mark.parametrize("zone", ZONES)
@given(data=st.data())
def test_over_a_change_of_the_clocks_it_begins_at_the_time_they_show_and_lasts_its_duration(
    zone: str, data: st.DataObject
) -> None:
    around = data.draw(st.sampled_from(days_around_changes(zone)))
    hour, minute = data.draw(st.integers(0, 23)), data.draw(st.sampled_from([0, 1, 15, 30, 45, 59]))
    lasts = data.draw(st.sampled_from([0.25, 1.0, 2.5, 23.0, 30.0])) * HOUR
    now = around.timestamp() + data.draw(st.floats(-DAY, DAY, allow_nan=False))
    when = Recurring(Cron(f"{minute} {hour} * * *", zone), lasts)
    starts = naive_starts(hour, minute, zone, around)
    latest = max((start for start in starts if start <= now < start + lasts), default=None)
    assert span_at(when, now) == (None if latest is None else Span(latest, latest + lasts))
    soonest = min(start for start in starts if start > now)
    assert next_span(when, now) == Span(soonest, soonest + lasts)


@given(
    zone=st.sampled_from(ZONES),
    cron=st.sampled_from(["*/20 * * * *", "30 1 * * *", "0 2 * * sun", "15,45 1-3 * * *", "0 0 1 * *"]),
    hours=st.sampled_from([0.2, 1.0, 5.0, 26.0]),
    start=st.integers(at_2018 := int(datetime(2018, 1, 1, tzinfo=UTC).timestamp()), at_2018 + 3 * 366 * 86_400),
    steps=st.lists(st.floats(-2 * HOUR, 6 * HOUR), max_size=20),
)
@example("Europe/London", "45 1 * * *", 1.0, int(at("2018-10-27T23:30")), [0.5 * HOUR] * 10)
def test_what_is_remembered_is_what_would_be_found_anew(
    zone: str, cron: str, hours: float, start: int, steps: list[float]
) -> None:
    entry = window(cron, zone, hours)
    one, now = Window(entry), float(start)
    for step in steps:
        now += step
        assert one.span(now) == span_at(entry.when, now)
        assert one.until(now) == (one.span(now) or Span(0.0, 0.0)).end


def test_in_the_hour_that_comes_twice_it_does_not_begin_again_nor_lie_in_the_past() -> None:
    when = Recurring(Cron("45 1 * * *", "Europe/London"), HOUR)
    first = at("2018-10-28T00:45")
    for minutes in range(0, 60, 5):  # the clocks show 01:45 at 00:45 and at 01:45 UTC
        now = at("2018-10-28T01:00") + minutes * 60
        assert span_at(when, now) == (Span(first, first + HOUR) if minutes < 45 else None)
        assert next_span(when, now) == Span(at("2018-10-29T01:45"), at("2018-10-29T02:45"))


def test_a_long_window_of_a_frequent_expression_is_found_in_few_steps() -> None:
    cron = Cron("* * * * *", "Europe/Stockholm")
    assert latest_start(cron, at("2026-07-01T12:00:30"), 300 * DAY) == at("2026-07-01T12:00")


def test_a_start_that_is_long_past_is_found_within_the_duration_only() -> None:
    cron = Cron("0 0 1 1 *")
    assert latest_start(cron, at("2026-12-01T00:00"), 350 * DAY) == at("2026-01-01T00:00")
    assert latest_start(cron, at("2026-12-01T00:00"), 300 * DAY) is None


def test_of_windows_that_overlap_the_later_one_counts() -> None:
    one = Window(window("0 22 * * fri,sat", "UTC", 26.0))
    assert one.until(at("2026-11-20T23:00")) == at("2026-11-22T00:00")
    assert one.until(at("2026-11-21T22:00")) == at("2026-11-23T00:00")
    assert one.until(at("2026-11-23T00:00")) == 0.0


def test_a_window_that_is_open_once_is_open_from_its_start_to_just_before_its_end() -> None:
    one = Window(Maintenance("move", Matcher(("*",)), Span(100.0, 200.0), "the racks move"))
    assert [one.until(now) for now in (99.9, 100.0, 199.9, 200.0)] == [0.0, 200.0, 200.0, 0.0]
    assert one.until(150.0) == 200.0  # the clock was set back
    assert one.say() == "maintenance move until Thu 1 Jan 1970 00:03:20 UTC: the racks move"
    assert next_span(one.entry.when, 99.0) == Span(100.0, 200.0)
    assert next_span(one.entry.when, 100.0) is None

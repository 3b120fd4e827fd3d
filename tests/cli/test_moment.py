from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from heartbeat.cli.moment import read_lasting, read_past, read_until

NOW = datetime(2026, 11, 22, 14, 30, tzinfo=UTC)  # 15:30 in Stockholm
ZONE = "Europe/Stockholm"


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("written", "zone", "meant"),
    [
        ("15:45", ZONE, "2026-11-22T14:45Z"),
        ("15:30", ZONE, "2026-11-23T14:30Z"),  # it is just past
        ("07:00", ZONE, "2026-11-23T06:00Z"),
        ("15:45:10", ZONE, "2026-11-22T14:45:10Z"),
        ("10:00", "", "2026-11-22T15:00Z"),
        ("2026-12-05 15:00", ZONE, "2026-12-05T14:00Z"),
        ("2026-07-05T15:00", ZONE, "2026-07-05T13:00Z"),
        ("2026-07-05T15:00", "", "2026-07-05T19:00Z"),
        ("2026-12-05T15:00+05:00", ZONE, "2026-12-05T10:00Z"),
        ("2026-12-05T15:00Z", "", "2026-12-05T15:00Z"),
        ("2026-12-05", ZONE, "2026-12-04T23:00Z"),
    ],
)
def test_a_time_is_read_on_the_clocks_that_are_meant(written: str, zone: str, meant: str) -> None:
    assert read_until(written, zone, NOW) == datetime.fromisoformat(meant).timestamp()


def test_tomorrow_at_this_time_is_that_of_the_clocks_also_when_they_change_in_between() -> None:
    evening = datetime(2026, 3, 28, 17, 0, tzinfo=UTC)  # 18:00, the day before the clocks are set forward
    assert read_until("07:00", ZONE, evening) == datetime(2026, 3, 29, 5, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("written", ["", "noon", "25:00", "15", "15:00Z", "2026-13-01", "5m"])
def test_what_is_no_time_is_refused_with_how_to_write_one(written: str) -> None:
    with pytest.raises(ValueError, match="must be a time such as 15:00, 2026-12-05T15:00 or"):
        read_until(written, ZONE, NOW)


def test_a_zone_that_is_not_there_is_said() -> None:
    with pytest.raises(ValueError, match="there is no time zone Europe/Stokholm"):
        read_until("15:00", "Europe/Stokholm", NOW)


def test_how_long_needs_a_unit_and_more_than_nothing() -> None:
    assert read_lasting("1h30m") == 5400.0
    for written, said in (("0s", "longer than nothing"), ("90", "must be a duration")):
        with pytest.raises(ValueError, match=said):
            read_lasting(written)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("20m", NOW - timedelta(minutes=20)),
        ("03:10", NOW.replace(hour=3, minute=10, second=0, microsecond=0)),
        ("23:59", NOW.replace(hour=23, minute=59, second=0, microsecond=0) - timedelta(days=1)),
        ("2026-01-05T12:00", datetime(2026, 1, 5, 12, tzinfo=UTC)),
    ],
)
def test_a_time_that_is_past(written: str, found: datetime) -> None:
    assert read_past(written, "UTC", NOW) == found.timestamp()


@pytest.mark.parametrize("written", ["2099-01-01T00:00", "soon", "-5m"])
def test_what_is_no_time_that_is_past(written: str) -> None:
    with pytest.raises(ValueError, match=r"must|is"):
        read_past(written, "UTC", NOW)

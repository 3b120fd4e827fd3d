from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.core.times import lasting, period, readable, span, timestamp

AT = 1_795_269_731.25  # Sat 21 Nov 2026 14:02:11


@given(st.floats(-1e10, 2e11))
def test_times_are_those_of_the_calendar(at: float) -> None:
    expected = datetime.fromtimestamp(at // 1, UTC)
    assert timestamp(at)[:19] == expected.isoformat()[:19]
    assert readable(at) == f"{expected:%a} {expected.day} {expected:%b} {expected.year} {expected:%H:%M:%S} UTC"


def test_a_timestamp_has_milliseconds_and_its_zone() -> None:
    assert timestamp(AT) == "2026-11-21T14:02:11.250Z"


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0s"), (0.2, "0s"), (59.6, "1m"), (3600, "1h"), (11_562, "3h 12m"), (200_000, "2d 7h")]
)
def test_durations_are_written_in_their_two_largest_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (45.4, "45 s"), (60, "1 min"), (1759, "29 min"), (11_562, "3 h 12 min"), (200_000, "2 d 7 h")],
)
def test_durations_are_written_as_one_says_them(seconds: float, text: str) -> None:
    assert lasting(seconds) == text


def test_a_period_names_its_days_where_they_differ() -> None:
    assert period(AT, AT + 29 * 60) == "14:02 to 14:31 UTC (29 min)"
    assert period(AT, AT + 12 * 3600) == "21 Nov 14:02 to 22 Nov 02:02 UTC (12 h)"

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from heartbeat.core.comparison import (
    NEAR,
    Telling,
    data_of,
    figures_of,
    lines_of,
    median,
    pair_up,
    table_of,
    telling_of,
)
from heartbeat.core.model import Address, Delivery, DeliveryState, Event, Kind, Severity, Track

NOON = 1_800_000_000.0
ONE = Telling(NOON, "shop", Kind.RAISED, Severity.FAIL, NOON - 60, "evt_1", "oncall/email a@x", "down", True)
times = st.lists(st.integers(0, 100_000).map(float), max_size=20)


def some(at: list[float], kind: Kind = Kind.RAISED) -> list[Telling]:
    return [replace(ONE, at=NOON + seconds, event=f"evt_{seconds}", kind=kind) for seconds in at]


@given(times, times)
def test_every_message_is_in_one_pair_and_only_near_ones_are_together(was: list[float], would: list[float]) -> None:
    pairs = pair_up(some(was), some(would))
    assert sorted(pair.was.at - NOON for pair in pairs if pair.was) == sorted(was)
    assert sorted(pair.would.at - NOON for pair in pairs if pair.would) == sorted(would)
    assert all(abs(pair.was.at - pair.would.at) <= NEAR for pair in pairs if pair.was and pair.would)
    assert [pair.at for pair in pairs] == sorted(pair.at for pair in pairs)


@given(times)
def test_what_is_the_same_is_all_in_pairs(was: list[float]) -> None:
    assert all(pair.was == pair.would for pair in pair_up(some(was), some(was)))


def test_another_kind_or_recipient_is_another_message() -> None:
    assert len(pair_up([ONE], [replace(ONE, who="oncall/email b@x")])) == 2
    assert len(pair_up([ONE], [replace(ONE, kind=Kind.RESOLVED)])) == 2
    assert pair_up([replace(ONE, who="", kept_back="silenced")], []) == []


def test_the_figures_count_messages_pages_and_what_was_kept_back() -> None:
    two = replace(ONE, who="oncall/email b@x")
    over = replace(ONE, kind=Kind.RESOLVED, event="evt_2", is_urgent=False)
    kept = replace(ONE, who="", event="evt_3", kept_back="silenced")
    late = replace(ONE, at=NOON + 300, event="evt_4")
    figures = figures_of([ONE, two, over, kept, late], 2 * 86_400.0)
    assert figures.messages == 4
    assert figures.recipients == {"oncall/email a@x": 3, "oncall/email b@x": 1}
    assert figures.pages_per_day == 1.0  # two recipients of one event are one page
    assert figures.delays == (60.0, 360.0)
    assert figures.kept_back == 1
    assert data_of(figures)["delay_longest_seconds"] == 360.0
    rows = {row[0]: row[1:] for row in table_of(figures, figures_of([], 0.0))}
    assert rows["from trouble to message, longest"] == ("6 min", "-")
    assert rows["  oncall/email b@x"] == ("1", "0")


def test_a_line_says_what_moved() -> None:
    (line,) = lines_of(pair_up([ONE], [replace(ONE, at=NOON + 180)]))
    assert line == "= Fri 15 Jan 2027 08:00:00 UTC  shop raised to oncall/email a@x (3 min later): down"
    (line,) = lines_of(pair_up([], [ONE]))
    assert line.startswith("+ ")
    assert [median(values) for values in ((), (1.0,), (1.0, 2.0), (1.0, 2.0, 9.0))] == [None, 1.0, 1.0, 2.0]


def test_drills_absence_and_what_a_fallback_was_told_are_not_compared() -> None:
    event = Event("evt_1", Kind.RAISED, "shop", "inc_1", 1, NOON, Severity.OK, Severity.FAIL, NOON, None, "down")
    sent = Delivery("dlv_1", event, Address("oncall", "oncall/email", "a@x"))
    assert telling_of(sent) == replace(ONE, since=NOON)
    assert telling_of(replace(sent, why="b could not be told")) is None
    for change in (replace(event, kind=Kind.DRILL), replace(event, kind=Kind.REMINDER, track=Track.RUNS)):
        assert telling_of(replace(sent, event=change)) is None
    kept = replace(sent, address=Address("", ""), state=DeliveryState.SUPPRESSED, note="silenced by anna")
    told = telling_of(kept)
    assert told is not None
    assert (told.who, told.kept_back) == ("", "silenced by anna")

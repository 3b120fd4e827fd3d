from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartbeat.config.fragment import complete
from heartbeat.core.script import Act, parse_script
from heartbeat.core.transcript import Ran, Told, data_of, text_of
from heartbeat.simulation import START, Simulation

POLICY = (
    "checks: {shop: {policy: {raise: 2 of 3, clear: 2, remind: 10m, hold: 90s}, escalate: {after: 5m, to: [manager]}}}"
)
CONFIG = complete(POLICY)


def told(acts: tuple[Act, ...]) -> list[str]:
    return [line for line in text_of(Simulation(CONFIG, "shop").play(acts)) if line[8:].startswith("  -> ")]


words = st.sampled_from(["ok", "fail", "error=plugin", "missed", "ack", "wait_3m", "silence_2m"])
scripts = st.lists(words, min_size=1, max_size=25).map(lambda found: " ".join(found).replace("_", " "))


@settings(max_examples=60, deadline=None)
@given(scripts, st.data())
def test_a_restart_anywhere_changes_no_later_message(script: str, data: st.DataObject) -> None:
    acts = parse_script(script)
    place = data.draw(st.integers(0, len(acts)))
    assert told((*acts[:place], Act("restart"), *acts[place:])) == told(acts)


@settings(max_examples=60, deadline=None)
@given(scripts)
def test_everything_that_began_was_told_or_says_why_not(script: str) -> None:
    notes = [note for note in Simulation(CONFIG, "shop").play(parse_script(script)) if isinstance(note, Told)]
    for note in notes:
        assert note.why
        assert note.is_suppressed == (note.delivery.address.channel == "")
    heard = {note.delivery.event.incident for note in notes if not note.is_suppressed}
    over = {note.delivery.event.incident for note in notes if note.delivery.event.kind.value == "resolved"}
    for note in notes:
        event = note.delivery.event
        if event.kind.value == "resolved":
            assert note.is_suppressed == (event.incident not in heard)
    assert over <= {note.delivery.event.incident for note in notes}


def test_a_check_runs_as_often_as_it_is_said_to() -> None:
    notes = Simulation(CONFIG, "shop", every=30.0).play(parse_script("ok*3"))
    assert [note.at - START for note in notes] == [0.0, 30.0, 60.0]


def test_a_cron_expression_keeps_its_times() -> None:
    config = complete('checks: {shop: {cron: "*/15 * * * *"}}')
    assert [note.at - START for note in Simulation(config, "shop").play(parse_script("ok*3"))] == [0.0, 900.0, 1800.0]


def test_a_long_wait_takes_no_time() -> None:
    notes = list(Simulation(CONFIG, "shop").play(parse_script("fail*3 silence 30d wait 29d")))
    assert [note for note in notes if isinstance(note, Told) and not note.is_suppressed] == []


def test_a_check_that_is_not_there_cannot_run() -> None:
    with pytest.raises(ValueError, match="there is no check gateway"):
        list(Simulation(CONFIG, "shop").play(parse_script("gateway:fail")))


def test_notes_are_data_too() -> None:
    notes = list(Simulation(CONFIG, "shop").play(parse_script("fail*2 wait 2m")))
    ran, *_, last = [data_of(note) for note in notes]
    assert ran == {
        "at": "2026-01-05T12:00:00.000Z",
        "check": "shop",
        "outcome": "fail",
        "severity": "fail",
        "reason": "connect",
        "sentence": "connection refused",
        "attempt": 0,
        "status": "ok",
    }
    assert (last["told"], last["channel"], last["kind"]) == (True, "oncall/webhook", "raised")
    assert isinstance(notes[0], Ran)

"""The judge of the soak finds what it looks for: it is asked about stories that went wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from heartbeat.core.message import RANKS
from heartbeat.core.model import OVER, Kind
from heartbeat.testing.soak.facts import Facts, Told
from heartbeat.testing.soak.journal import Journal, Message
from heartbeat.testing.soak.judge import ENDS, TROUBLES, Report, judge, told_by

RAISED = Told("evt_" + "1" * 30, "inc_1", 1, "raised", "check-01")
RESOLVED = Told("evt_" + "2" * 30, "inc_1", 2, "resolved", "check-01")
OTHER = Told("evt_" + "3" * 30, "inc_2", 1, "resolved", "check-02")


def facts(*events: Told, way: str = "hook", state: str = "acknowledged", batch: str = "") -> Facts:
    pairs = [(way, event.id) for event in events]
    return Facts({event.id: event for event in events}, dict.fromkeys(pairs, state), dict.fromkeys(pairs, batch))


class Story:
    """What arrives, one after the other."""

    def __init__(self) -> None:
        self.journal = Journal()

    def arrive(self, text: str, *, way: str = "hook", identity: str = "", answer: bool | None = True) -> Story:
        message = self.journal.arrive(way, identity or text, f"event: {text.split(maxsplit=1)[0]}", text.encode())
        if answer is not None:
            self.journal.answer(message, acknowledged=answer)
        return self

    def judged(self, known: Facts) -> Report:
        return judge(known, self.journal.messages, ["hook"])


def test_all_that_was_acknowledged_in_order_is_clean() -> None:
    found = Story().arrive(RAISED.id).arrive(RESOLVED.id).judged(facts(RAISED, RESOLVED))
    assert found.is_clean
    assert (found.ways[0].created, found.ways[0].acknowledged, found.ways[0].duplicated) == (2, 2, 0)


def test_what_never_arrived_is_lost() -> None:
    found = Story().arrive(RAISED.id).judged(facts(RAISED, RESOLVED))
    assert found.ways[0].lost == (RESOLVED.id,)
    assert not found.is_clean


def test_what_arrived_without_an_acknowledgement_is_lost() -> None:
    for answer in (False, None):
        assert Story().arrive(OTHER.id, answer=answer).judged(facts(OTHER)).ways[0].lost == (OTHER.id,)


def test_what_was_acknowledged_twice_is_counted_and_not_wrong() -> None:
    found = Story().arrive(OTHER.id).arrive(OTHER.id).judged(facts(OTHER))
    assert found.ways[0].duplicated == 1
    assert found.is_clean


def test_an_end_before_its_beginning_is_the_wrong_order() -> None:
    known = facts(RAISED, RESOLVED)
    assert len(Story().arrive(RESOLVED.id).arrive(RAISED.id).judged(known).disorder) == 1
    attempted = Story().arrive(RAISED.id, answer=False).arrive(RESOLVED.id, answer=False)
    assert len(attempted.arrive(RAISED.id).arrive(RESOLVED.id).judged(known).disorder) == 1


def test_what_was_given_up_holds_up_nothing() -> None:
    known = facts(RAISED, RESOLVED)
    known = replace(known, states={**known.states, ("hook", RAISED.id): "dead"})
    found = Story().arrive(RAISED.id, way="spare").arrive(RESOLVED.id).judged(known)
    assert found.is_clean
    assert (found.ways[0].acknowledged, found.ways[0].passed_on) == (1, 1)
    assert Story().arrive(RESOLVED.id).judged(known).ways[0].lost == (RAISED.id,)


def test_other_bytes_after_a_copy_that_may_have_arrived_are_altered() -> None:
    known = facts(OTHER)
    said = f"{OTHER.id} again"
    assert Story().arrive(OTHER.id, identity="x", answer=None).arrive(said, identity="x").judged(known).altered
    assert not Story().arrive(OTHER.id, identity="x", answer=False).arrive(said, identity="x").judged(known).altered


def test_what_the_store_does_not_know_is_invented() -> None:
    assert Story().arrive(RAISED.id).arrive(OTHER.id).judged(facts(OTHER)).invented == (RAISED.id,)


def test_an_incident_without_an_end_is_unfinished_where_all_is_well() -> None:
    assert Story().arrive(RAISED.id).judged(facts(RAISED)).unfinished
    own = replace(RAISED, check="heartbeat.outbox")
    assert not Story().arrive(own.id).judged(facts(own)).unfinished


def test_what_is_suppressed_is_to_be_told_to_nobody() -> None:
    known = facts(RESOLVED)
    known = replace(
        known,
        events={RAISED.id: RAISED, **known.events},
        states={("", RAISED.id): "suppressed", **known.states},
    )
    found = Story().arrive(RESOLVED.id).judged(known)
    assert found.is_clean
    assert (found.ways[0].created, found.ways[0].acknowledged) == (1, 1)


@pytest.mark.parametrize("kind", Kind)
def test_only_the_end_of_an_incident_finishes_it(kind: Kind) -> None:
    last = replace(RESOLVED, kind=kind.value)
    unfinished = Story().arrive(RAISED.id).arrive(last.id).judged(facts(RAISED, last)).unfinished
    assert bool(unfinished) is (kind not in OVER)


def test_the_judge_knows_every_state_that_a_line_can_begin_with() -> None:
    assert {*TROUBLES.split("|"), *ENDS.split("|"), "DRILL", "TEST"} == set(RANKS)


def mail(text: str) -> Message:
    journal = Journal()
    message = journal.arrive("mail a@example.com", "<bat_1.abc@example.com>", text, b"")
    journal.answer(message, acknowledged=True)
    return message


TELLS = "event: {}\n\nWhy this message: the check went back; it tells number 1 to 2 of this incident.\n"


def test_what_was_superseded_is_told_by_the_message_that_says_so() -> None:
    known = facts(RAISED, RESOLVED, OTHER, way="mail a@example.com", batch="bat_elsewhere")
    assert told_by(known, mail(TELLS.format(RESOLVED.id))) == {RAISED.id, RESOLVED.id}
    two = f"event: {OTHER.id}\n\nWhy this message: it is the first.\n\n{TELLS.format(RESOLVED.id)}"
    assert told_by(known, mail(two)) == {RAISED.id, RESOLVED.id, OTHER.id}
    assert told_by(known, mail(f"event: {RESOLVED.id}\n\nWhy this message: number 2.")) == {RESOLVED.id}


def test_of_what_is_told_in_a_line_among_many_the_store_says_what_it_was() -> None:
    known = facts(RAISED, RESOLVED, way="mail a@example.com", batch="bat_1")
    for text in (f"X-Heartbeat-Event: {RESOLVED.id}", "* RESOLVED: check-01: was down"):
        assert told_by(known, mail(text)) == {RAISED.id, RESOLVED.id}
        assert told_by(known, replace(mail(text), acknowledged=False)) == frozenset()
    elsewhere = facts(RAISED, RESOLVED, way="mail a@example.com", batch="bat_2")
    assert told_by(elsewhere, mail(f"X-Heartbeat-Event: {RESOLVED.id}")) == frozenset()


def test_what_a_message_does_not_show_is_not_told_by_it_whatever_the_store_says() -> None:
    known = facts(RAISED, RESOLVED, OTHER, way="mail a@example.com", batch="bat_1")
    assert told_by(known, mail(f"event: {RAISED.id}\n* FAILING: check-02: broke")) == {RAISED.id}

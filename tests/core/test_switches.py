from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.core.quiet import QuietKind
from heartbeat.core.switches import (
    NEITHER,
    OFF,
    ON,
    UNASKED,
    WORDS,
    AtUrl,
    Found,
    InFile,
    InFlag,
    Knowledge,
    Source,
    Switch,
    doubt,
    find_off,
    is_on,
    learn,
    needs_keeping,
    read_word,
    source_of,
)

NOON = 1_800_000_000.0
AT_NOON = "Fri 15 Jan 2027 08:00:00 UTC"
FILE = InFile("/etc/canary")
findings = st.one_of(st.booleans(), st.sampled_from(["it answers 503", "it is empty"]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("on", True),
        ("OFF\n", False),
        ("  yes, because", NEITHER),
        ("yes because of the sale", True),
        ("0", False),
        (True, True),
        (False, False),
        (1, True),
        (2, NEITHER),
        (0.0, NEITHER),
        (None, NEITHER),
        ({"on": True}, NEITHER),
        ("maybe", NEITHER),
        ("", "it is empty"),
        (" \n", "it is empty"),
    ],
)
def test_a_word_says_on_off_or_neither(text: object, said: Found) -> None:
    assert read_word(text) == said


@given(st.sampled_from(list(WORDS)), st.sampled_from([str.upper, str.lower, str.title]))
def test_words_mean_the_same_in_capital_letters(word: str, write: type[str]) -> None:
    assert read_word(write(word)) is WORDS[word]


@given(st.lists(findings), st.booleans())
def test_the_last_answer_holds_whatever_comes_after_it_that_is_none(found: list[Found], default: bool) -> None:
    switch, known = Switch(FILE, default), UNASKED
    for second, one in enumerate(found):
        known = learn(known, one, NOON + second)
    answers = [one for one in found if isinstance(one, bool)]
    assert is_on(switch, known) is (answers[-1] if answers else default)
    is_silent = bool(found) and isinstance(found[-1], str)
    assert bool(doubt(switch, known)) is is_silent
    if is_silent:
        silent = len(found) - next((n for n, one in enumerate(reversed(found)) if isinstance(one, bool)), len(found))
        assert known.doubtful_since == NOON + silent


@given(st.lists(findings), st.booleans())
def test_what_needs_no_keeping_is_as_if_nothing_was_known(found: list[Found], default: bool) -> None:
    known = UNASKED
    for one in found:
        known = learn(known, one, NOON)
    if not needs_keeping(known, default):
        assert is_on(Switch(FILE, default), known) is default


def test_simply_on_and_simply_off() -> None:
    assert (is_on(ON, UNASKED), is_on(OFF, UNASKED)) == (True, False)
    assert find_off(ON) is None
    off = find_off(OFF)
    assert off is not None
    assert (off.say(), off.kind, off.until(NOON) > NOON) == ("switched off by the configuration", "disabled", True)
    assert off.kind is QuietKind.DISABLED
    assert source_of(OFF, "shop") is None


@pytest.mark.parametrize(
    ("known", "default", "said"),
    [
        (Knowledge(False), True, "switched off by the file /etc/canary"),
        (UNASKED, False, "switched off by default, until the file /etc/canary was asked"),
        (
            Knowledge(None, NOON, "it is empty"),
            False,
            f"switched off by default: the file /etc/canary has said nothing since {AT_NOON}: it is empty",
        ),
        (
            Knowledge(False, NOON, "it is empty"),
            True,
            f"switched off by the file /etc/canary, as it said last; nobody has known since {AT_NOON}: it is empty",
        ),
    ],
)
def test_what_is_off_says_by_whom_and_since_when_that_is_not_known(known: Knowledge, default: bool, said: str) -> None:
    off = find_off(Switch(FILE, default), known)
    assert off is not None
    assert off.say() == said


def test_what_is_on_says_since_when_that_is_not_known() -> None:
    known = Knowledge(True, NOON, "it answers 503")
    url = Switch(AtUrl("http://flags/x?token=abc", json="$.a"))
    assert doubt(url, known) == (
        f"the check is on by http://flags/x ($.a), as it said last; nobody has known since {AT_NOON}: it answers 503"
    )
    assert doubt(url, learn(UNASKED, "it answers 503", NOON)) == (
        f"http://flags/x ($.a) has said nothing since {AT_NOON}: it answers 503; the check is on by default"
    )
    assert doubt(url, Knowledge(True)) == doubt(url, UNASKED) == ""


def test_a_flag_is_asked_for_each_check_and_all_else_once() -> None:
    flag, file = Switch(InFlag("canary")), Switch(FILE, default=False, every=5.0)
    assert source_of(flag, "a") == Source(InFlag("canary"), "a") != source_of(flag, "b")
    assert source_of(file, "a") == source_of(Switch(FILE), "b")
    assert str(flag) == "the flag canary"


def test_hostile_answers_are_bounded_and_on_one_line() -> None:
    known = learn(UNASKED, "it says\n\x1b[31m" + "x" * 5000, NOON)
    assert len(known.problem) <= 300
    assert known.problem.isprintable()

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.core.model import Reason
from heartbeat.core.script import MOST, Act, parse_script


def verbs(text: str) -> list[str]:
    return [act.verb for act in parse_script(text)]


def test_words_and_groups_are_written_out() -> None:
    assert verbs("ok fail*3 (ok fail)*2") == ["ok", *["fail"] * 3, *["ok", "fail"] * 2]
    assert verbs("((ok fail)*2 warn)*2") == ["ok", "fail", "ok", "fail", "warn"] * 2
    assert verbs("ok, fail*2,\n ok") == ["ok", "fail", "fail", "ok"]


def test_a_word_may_name_a_check_a_reason_and_what_was_measured() -> None:
    assert parse_script("gateway.eu:fail=timeout(duration=10s)") == (
        Act("fail", "gateway.eu", Reason.TIMEOUT, {"duration": 10.0}),
    )


def test_what_was_measured_is_a_number_a_duration_a_size_a_ratio_or_missing() -> None:
    (act,) = parse_script("ok(depth=12, phase.tls=80ms, size=2KiB, hit_ratio=5%, age=missing)")
    assert act.values == {"depth": 12.0, "phase.tls": 0.08, "size": 2048.0, "hit_ratio": 0.05, "age": None}
    (act,) = parse_script("ok(depth=nan)")
    assert act.values["depth"] != act.values["depth"]


def test_deeds_have_their_operands() -> None:
    acts = parse_script("wait 2h ~90s silence 1h gateway:silence off ack restart remove")
    assert [act.words for act in acts] == [
        "wait 2h",
        "wait 1m 30s",
        "silence 1h",
        "silence off of gateway",
        "ack",
        "restart",
        "remove",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("ok oops", '"oops": there is no such word'),
        ("OK", "there is no such word"),
        ("fail=plugin", "the reasons are absent, auth"),
        ("ok=status", "it takes no reason"),
        ("ok(depth)", "name=value"),
        ("ok(depth=much)", "must be a number"),
        ("(ok fail", 'has no ")"'),
        ("ok) fail", '")" too many'),
        ("wait", "wait needs a duration"),
        ("wait soon", "must be a duration"),
        ("silence", "silence needs a duration"),
        ("okfail", "there is no such word"),
        ("ok*", "cannot be read"),
        ("ok*99999", f"more than {MOST} words"),
        ("(" * 20 + "ok" + ")" * 20, "too many brackets"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence.translate({ord(one): f"\\{one}" for one in '()"?*.'})):
        parse_script(text)


@given(st.text(alphabet="ok fail*()=:~19,w.\n", max_size=40))
def test_whatever_is_written_is_read_or_refused(text: str) -> None:
    with suppress(ValueError):
        assert 0 < len(parse_script(text)) <= MOST

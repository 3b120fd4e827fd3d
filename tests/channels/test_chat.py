from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.channels.chat import (
    CUT_HERE,
    NEUTRAL,
    TONES,
    fenced,
    first_fitting,
    fit,
    links_of,
    safe_link,
    split_headline,
    tone_of,
    utf8,
    utf16,
)
from heartbeat.core.batch import single
from heartbeat.core.message import GOOD, RANKS, TROUBLES, compose
from heartbeat.core.model import Delivery, Kind, Severity

Deliver = Callable[..., Delivery]


def test_what_fits_is_not_touched() -> None:
    assert fit("one\ntwo", 7) == "one\ntwo"


def test_what_does_not_fit_is_cut_at_the_end_of_a_line_and_says_so() -> None:
    text = "\n".join(f"line {n}" for n in range(100))
    cut = fit(text, 100)
    assert len(cut) <= 100
    assert cut.endswith(CUT_HERE)
    assert cut.removesuffix(CUT_HERE).split("\n")[-1] in text.split("\n")


@pytest.mark.parametrize("size", [len, utf8, utf16])
@given(text=st.text(max_size=300), limit=st.integers(min_value=len(CUT_HERE) + 4, max_value=200))
def test_a_text_is_within_its_limit_however_it_is_counted(size: Callable[[str], int], text: str, limit: int) -> None:
    assert size(fit(text, limit, size)) <= limit


def test_astral_characters_are_two_units_and_four_bytes() -> None:
    assert (utf16("\U0001f4a5"), utf8("\U0001f4a5")) == (2, 4)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "https://x.test/a b",
        "https://x.test/>",
        "https://x.test/|title",
        "https://x.test/)[y](https://evil.test",
        "https://x.test/`",
        "https://x.test/\n",
        "https://" + "x" * 1000,
        "",
        None,
        7,
    ],
)
def test_what_could_be_more_than_a_link_is_none(url: object) -> None:
    assert safe_link(url) == ""


def test_links_are_those_of_our_configuration(deliver: Deliver) -> None:
    context = {"runbook": "https://wiki.test/shop?a=1#b", "page": "https://hb.test/checks/shop"}
    message = compose(single(deliver(context=context)), 0.0)
    assert links_of(message.parts[0]) == (
        ("Runbook", "https://wiki.test/shop?a=1#b"),
        ("Page", "https://hb.test/checks/shop"),
    )


def test_nothing_in_a_fence_opens_or_closes_one() -> None:
    assert "`" not in fenced("a ``` b ` c")


def test_the_headline_is_split_into_our_word_and_the_rest(deliver: Deliver) -> None:
    message = compose(single(deliver()), 0.0)
    assert split_headline(message) == ("FAILING", "shop-login: the answer was 500")


def test_every_state_has_a_look_and_good_news_is_not_red(deliver: Deliver) -> None:
    for kind in Kind:
        state = compose(single(deliver(kind=kind, severity=Severity.FAIL)), 0.0).state
        assert tone_of(state) is TONES.get(state, NEUTRAL)
    assert tone_of("RESOLVED").colour != tone_of("FAILING").colour


def test_only_what_is_known_to_be_well_looks_well() -> None:
    well = tone_of("RESOLVED")
    assert {state for state in RANKS if tone_of(state) == well} == set(GOOD)
    assert set(TROUBLES) <= set(TONES)


def test_the_first_that_fits_is_taken_and_the_last_where_none_does() -> None:
    assert first_fitting([b"xxx", b"xx", b"x"], 2) == b"xx"
    assert first_fitting([b"xxx", b"xx"], 1) == b"xx"

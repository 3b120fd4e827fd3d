from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat import Probe
from heartbeat.backing import Backing
from heartbeat.core.trace import trace_id
from heartbeat.marks import NAME, marks_of

RUN = "run_0123456789abcdef"
TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 section 5.6.2
OCTETS = r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"  # W3C Baggage section 3.2.2.3
BAGGAGE_BYTES = 8192
NAMES = ["shop-login", "café 5", "x" * 200, "界" * 200, 'a"b\\c,d;e=f', "a\r\nX-Evil: 1", "\x00", "\ud800", "", "%"]


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_give_headers_that_are_in_order(name: str) -> None:
    check_marks(name)


@given(name=st.text(max_size=200))
def test_any_name_gives_headers_that_are_in_order(name: str) -> None:
    check_marks(name)


def check_marks(name: str) -> None:
    marks = dict(marks_of(name, RUN, "/login"))
    for header, value in marks.items():
        assert re.fullmatch(TOKEN, header)
        assert re.fullmatch(r"[\x20-\x7e]+", value)  # RFC 9110 section 5.5
    members = [member.partition("=") for member in marks["baggage"].split(",")]
    assert len(marks["baggage"]) <= BAGGAGE_BYTES
    for key, _, value in members:
        assert re.fullmatch(TOKEN, key)
        assert re.fullmatch(OCTETS, value)
    told = {key: unquote(value, errors="replace") for key, _, value in members}
    assert told["synthetic"] == "true"
    assert told["heartbeat.run"] == RUN
    assert told["heartbeat.check"] == name.encode(errors="replace").decode()
    assert re.fullmatch(rf"({TOKEN})?; run={RUN}", marks[NAME])


def test_a_run_is_marked_where_that_is_switched_on() -> None:
    probe = Probe(check="shop-login", run=RUN)
    before = probe.marked
    assert dict(probe.marks)["traceparent"].split("-")[1] == trace_id(RUN)
    assert (before, probe.marked) == (False, True)
    off = Probe(check="shop-login", run=RUN, backing=Backing(marks=lambda: False))
    assert (off.marks, off.marked) == ((), False)
    assert Probe().marks == ()  # a plugin that is tried out has no run

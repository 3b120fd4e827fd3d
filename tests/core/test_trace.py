from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.core.trace import span_id, trace_id, traceparent

RUN = "run_0123456789abcdef"


@given(run=st.text(max_size=40), span=st.text(max_size=200))
def test_ids_are_as_trace_context_wants_them(run: str, span: str) -> None:
    found = re.fullmatch("00-([0-9a-f]{32})-([0-9a-f]{16})-01", traceparent(run, span))
    assert found is not None
    assert found.groups() == (trace_id(run), span_id(run, span))
    assert set(found[1]) != {"0"}
    assert set(found[2]) != {"0"}


def test_ids_stay_the_same_over_releases() -> None:
    assert traceparent(RUN) == f"00-{trace_id(RUN)}-{span_id(RUN)}-01"
    assert trace_id(RUN) == "68656172746265610123456789abcdef"
    assert span_id(RUN, "/login") == "6075821874178d1b"


@pytest.mark.parametrize("run", ["run_1", "", "run_0123456789ABCDEF", "run_012345678_abcdef"])
def test_a_run_of_another_kind_has_ids_too(run: str) -> None:
    assert re.fullmatch("[0-9a-f]{16}", span_id(run))
    assert span_id(run) != run[4:]


def test_runs_have_traces_of_their_own_and_parts_of_a_run_spans() -> None:
    assert trace_id(RUN) != trace_id("run_0123456789abcdee")
    assert len({span_id(RUN, span) for span in ("", "/login", "/login/token", "/order")}) == 4

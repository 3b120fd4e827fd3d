from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.core.judge import judge
from heartbeat.core.limits import Bound, Limit
from heartbeat.core.made_up import make_up
from heartbeat.core.model import Outcome, Reason, Run, Severity
from heartbeat.core.script import Act

RUN = Run("run_1", "shop", 0.0, 0, 0.0, 10.0)
WARN, FAIL = Severity.WARN, Severity.FAIL
numbers = st.floats(0.01, 1000.0)


@given(numbers, numbers, st.sampled_from(["duration", "depth", "phase.tls"]))
def test_what_is_well_suits_the_limits_and_clears_them_and_a_warning_only_warns(a: float, b: float, name: str) -> None:
    warn, fail = sorted((a, b + 1.0))
    if fail - warn < 0.01:
        return
    above = Limit(name, (Bound(WARN, above=warn, clear_above=warn / 2), Bound(FAIL, above=fail)))
    below = Limit(name, (Bound(WARN, below=fail), Bound(FAIL, below=warn)))
    for limit in (above, below):
        well = judge(RUN, make_up(Act("ok"), (limit,), 10.0), (limit,), 0.0, ((name, FAIL),))
        assert (well.outcome, well.severity) == (Outcome.OK, Severity.OK)
        assert judge(RUN, make_up(Act("warn"), (limit,), 10.0), (limit,), 0.0).severity is WARN


def test_a_range_is_suited_within() -> None:
    limit = Limit("depth", (Bound(FAIL, above=20.0, below=10.0),))
    assert judge(RUN, make_up(Act("ok"), (limit,), 10.0), (limit,), 0.0, (("depth", FAIL),)).severity is Severity.OK


def test_windows_of_the_same_measure_are_fed_too() -> None:
    limit = Limit("depth", (Bound(WARN, above=0.5),), aggregate="p95", window=600.0)
    result = make_up(Act("ok"), (limit, Limit("", (Bound(WARN, below=0.9),), aggregate="availability")), 10.0)
    assert result.measurements["depth"] <= 0.5
    assert set(result.measurements) == {"depth"}


def test_where_nothing_only_warns_it_says_so() -> None:
    with pytest.raises(ValueError, match="no limit of this check only warns"):
        make_up(Act("warn"), (Limit("duration", (Bound(FAIL, above=1.0),)),), 10.0)


def test_what_the_script_says_comes_first() -> None:
    limit = Limit("depth", (Bound(WARN, above=5.0),))
    act = Act("ok", values={"depth": None, "duration": 2.0, "phase.tls": 0.5, "size": 3.0})
    result = make_up(act, (limit,), 10.0)
    assert (result.duration, dict(result.phases), dict(result.measurements)) == (2.0, {"tls": 0.5}, {"size": 3.0})


def test_what_is_not_well_has_a_reason_and_a_sentence() -> None:
    fail, error = make_up(Act("fail", reason=Reason.TIMEOUT), (), 7.0), make_up(Act("error"), (), 7.0)
    assert (fail.outcome, fail.reason, fail.duration) == (Outcome.FAIL, Reason.TIMEOUT, 7.0)
    assert (error.outcome, error.reason, bool(error.sentence)) == (Outcome.ERROR, Reason.PLUGIN, True)
    assert make_up(Act("fail", reason=Reason.MISMATCH), (), 7.0).sentence.endswith("(mismatch)")

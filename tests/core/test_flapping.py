from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.core.flapping import HISTORY, change_rate, count_changes, is_flapping, note
from heartbeat.core.model import Severity
from heartbeat.core.policy import Flapping

OK, WARN, FAIL = Severity.OK, Severity.WARN, Severity.FAIL
RULE = Flapping()

severities = st.sampled_from(list(Severity))


def alternating(count: int) -> tuple[Severity, ...]:
    """Return as many states as are looked at: all well, and the last ``count`` of them changing with each run."""
    return (OK,) * (HISTORY - count) + tuple((FAIL, OK)[place % 2] for place in range(count))


def weights() -> list[Fraction]:
    """Return what Nagios' curve gives each of the 20 possible changes, the oldest first."""
    return [Fraction(3, 4) + Fraction(1, 2) * place / 19 for place in range(HISTORY - 1)]


def with_changes(*places: int) -> tuple[Severity, ...]:
    """Return states that change at these of the 20 places, 0 being the oldest."""
    states = [OK]
    for place in range(HISTORY - 1):
        states.append({OK: FAIL, FAIL: OK}[states[-1]] if place in places else states[-1])
    return tuple(states)


@pytest.mark.parametrize(
    ("states", "percent"),
    [
        ((*(OK,) * 20, FAIL), 6.25),
        ((OK, *(FAIL,) * 20), 3.75),
        (alternating(5), 29.93),
        (alternating(6), 35.53),
        (alternating(20), 100.0),
        ((FAIL,) * 21, 0.0),
    ],
)
def test_the_rates_are_those_of_nagios(states: tuple[Severity, ...], percent: float) -> None:
    assert round(100 * change_rate(states), 2) == percent


def test_five_changes_at_the_end_do_not_make_it_flap_and_six_do() -> None:
    assert not is_flapping(alternating(5), RULE, was=False)
    assert is_flapping(alternating(6), RULE, was=False)


def test_between_the_thresholds_it_stays_what_it_was() -> None:
    between = with_changes(15, 16, 17, 18)
    assert RULE.stop < change_rate(between) < RULE.start
    assert is_flapping(between, RULE, was=True)
    assert not is_flapping(between, RULE, was=False)


@pytest.mark.parametrize(("places", "rate"), [((7, 8, 9, 10, 11, 12), 0.30), ((8, 9, 10, 11), 0.20)])
def test_exactly_at_a_threshold_it_begins_or_ends(places: tuple[int, ...], rate: float) -> None:
    states = with_changes(*places)
    assert sum(weights()[place] for place in places) / 20 == Fraction(round(rate * 10), 10)
    assert change_rate(states) == rate
    assert is_flapping(states, RULE, was=False) is (rate == RULE.start)
    assert is_flapping(states, RULE, was=True) is (rate == RULE.start)


def test_a_change_between_warn_and_fail_counts_as_any_other() -> None:
    assert change_rate((*(WARN,) * 20, FAIL)) == change_rate((*(OK,) * 20, FAIL))
    assert count_changes((WARN, FAIL, FAIL, WARN)) == 3


@pytest.mark.parametrize("was", [True, False])
def test_without_a_rule_or_without_any_change_nothing_flaps(was: bool) -> None:
    assert not is_flapping(alternating(20), None, was=was)
    assert not is_flapping((), RULE, was=was)


@given(st.lists(severities, max_size=60))
def test_what_is_kept_says_the_same_as_all_that_there_was(seen: list[Severity]) -> None:
    states: tuple[Severity, ...] = ()
    for severity in seen:
        states = note(states, severity)
    whole = [OK] * HISTORY + seen
    latest = whole[-HISTORY:]
    wanted = sum(
        weight for weight, before, after in zip(weights(), latest[:-1], latest[1:], strict=True) if before != after
    )
    assert change_rate(states) == float(wanted / 20)
    assert len(states) <= HISTORY
    assert (states == ()) == (set(latest) == {OK})


@given(st.lists(severities, max_size=80), st.tuples(st.integers(1, 60), st.integers(1, 40)))
def test_it_flaps_as_a_model_in_fractions_says(seen: list[Severity], thresholds: tuple[int, int]) -> None:
    stop, above = thresholds
    rule = Flapping(start=(stop + above) / 100, stop=stop / 100)
    states: tuple[Severity, ...] = ()
    history, flaps, modelled = [OK] * HISTORY, False, False
    for severity in seen:
        states = note(states, severity)
        flaps = is_flapping(states, rule, was=flaps)
        history.append(severity)
        changed = [a != b for a, b in zip(history[-HISTORY:-1], history[-HISTORY + 1 :], strict=True)]
        rate = 100 * sum((weight for weight, one in zip(weights(), changed, strict=True) if one), Fraction(0)) / 20
        if rate >= stop + above:
            modelled = True
        elif rate <= stop:
            modelled = False
        assert flaps is modelled

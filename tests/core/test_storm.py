from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.core.storm import Fact, Storm, StormRule, Tally, describe_storm, explain, find_storm, is_over, tally

NOON = 1_800_000_000.0
RULE = StormRule()


def bad(count: int, *, ago: float = 10.0, prefix: str = "bad", spread: float = 0.0) -> list[Fact]:
    """Return checks that went bad some seconds ago, one every ``spread`` seconds later than the one before."""
    times = [NOON - ago + spread * number for number in range(count)]
    return [Fact(f"{prefix}-{number}", at, at) for number, at in enumerate(times)]


def well(count: int, *, ago: float = 5.0, prefix: str = "well") -> list[Fact]:
    return [Fact(f"{prefix}-{number}", NOON - ago) for number in range(count)]


def found(facts: Sequence[Fact], rule: StormRule = RULE) -> Storm | None:
    return find_storm(facts, NOON, rule)


@pytest.mark.parametrize(("fail", "hold", "is_storm"), [(5, 5, True), (5, 6, False), (4, 0, False), (5, 0, True)])
def test_a_storm_takes_enough_checks_and_half_of_those_that_ran(fail: int, hold: int, *, is_storm: bool) -> None:
    # The others ran before and after: nothing says that all went bad since one moment.
    others = [Fact(f"well-{number}", NOON - 20.0 + number * 4) for number in range(hold)]
    assert (found([*bad(fail), *others]) is not None) is is_storm


def test_a_storm_began_with_the_first_that_went_bad_and_is_seen_now() -> None:
    assert found(bad(6, ago=30.0, spread=2.0)) == Storm(NOON - 30.0, NOON, Tally(6, 6))


def test_what_went_bad_more_than_a_minute_ago_does_not_count() -> None:
    assert found([*bad(2, ago=61.0), *bad(4, prefix="late")]) is None
    assert found([*bad(1, ago=60.0), *bad(4, prefix="late")]) is not None


def test_what_did_not_run_lately_does_not_count() -> None:
    assert found([*bad(5), *well(50, ago=61.0)]) is not None


def test_the_rule_is_configurable() -> None:
    assert found(bad(2), StormRule(checks=2)) is not None
    assert found([*bad(5), *well(4, ago=12.0)], StormRule(share=0.6)) is None
    assert found(bad(5, ago=100.0), StormRule(within=120.0)) is not None


def test_related_checks_count_as_one() -> None:
    children = [Fact("gateway", NOON - 1.0, NOON - 1.0) for _ in range(100)]
    assert found(children) is None
    assert found([*children, *bad(4)]) == Storm(NOON - 10.0, NOON, Tally(5, 5))


def test_related_checks_are_bad_where_half_of_them_is() -> None:
    family = [Fact("gateway", NOON - 1.0, NOON - 1.0), *(Fact("gateway", NOON - 1.0) for _ in range(2))]
    assert tally(family, NOON - 60.0, 0.5) == Tally(0, 1)
    assert tally([*family, family[0]], NOON - 60.0, 0.5) == Tally(1, 1)


def test_among_many_a_storm_is_seen_before_half_have_failed() -> None:
    before = [Fact(f"well-{number}", NOON - 40.0 + number / 10) for number in range(90)]
    assert found([*before, *bad(9, ago=5.0, spread=0.1)]) is None
    storm = found([*before, *bad(10, ago=5.0, spread=0.1)])
    assert storm == Storm(NOON - 5.0, NOON, Tally(10, 10))


def test_a_tenth_that_fails_while_others_are_well_is_no_storm() -> None:
    others = [Fact(f"well-{number}", NOON - 40.0 + number * 0.4) for number in range(90)]
    assert found([*others, *bad(10, ago=40.0, spread=4.0)]) is None
    # Nor where they fail closely, but more than a quarter of what ran meanwhile is well.
    assert found([*well(86, ago=50.0), *well(4, ago=4.5, prefix="late"), *bad(10, ago=5.0, spread=0.1)]) is None


def test_no_facts_are_no_storm() -> None:
    assert found([]) is None


FACTS = st.lists(
    st.builds(
        lambda unit, age, is_bad: Fact(unit, NOON - age, NOON - age if is_bad else None),
        st.sampled_from("abcdefghijklmnop"),
        st.floats(0.0, 120.0),
        st.booleans(),
    ),
    max_size=40,
)


@given(FACTS)
def test_a_storm_always_has_enough_bad_ones_and_its_share_of_what_ran(facts: list[Fact]) -> None:
    storm = find_storm(facts, NOON, RULE)
    whole = tally(facts, NOON - RULE.within, RULE.share)
    if whole.bad >= RULE.checks and whole.bad >= RULE.share * whole.ran:
        assert storm is not None
    if storm:
        assert storm.tally.bad >= RULE.checks
        assert storm.tally.bad >= RULE.share * storm.tally.ran
        assert NOON - RULE.within <= storm.began <= NOON


# The end


STORM = Storm(NOON - 10.0, NOON, Tally(10, 10))


def test_a_storm_is_over_when_less_than_half_of_its_checks_still_fail() -> None:
    members = bad(10)
    assert not is_over(STORM, members, members, RULE)
    half = [Fact(one.unit, NOON) for one in members[:5]] + members[5:]
    assert not is_over(STORM, half, half, RULE)
    less = [Fact(one.unit, NOON) for one in members[:6]] + members[6:]
    assert is_over(STORM, less, less, RULE)


def test_a_storm_is_over_when_most_of_the_others_turn_out_well() -> None:
    members = bad(10)
    assert not is_over(STORM, [*members, *well(10)], members, RULE)
    assert is_over(STORM, [*members, *well(11)], members, RULE)


def test_a_storm_without_checks_is_over() -> None:
    assert is_over(STORM, [], [], RULE)


# What is said


def test_the_sentences_name_how_many_since_when_and_some() -> None:
    said = describe_storm(STORM, Tally(12, 14), ["one", "two", "three", "four", "five"])
    assert said == (
        "the monitor itself seems cut off: 12 of the 14 unrelated checks that ran since "
        "Fri 15 Jan 2027 07:59:50 UTC went bad: one, two, three and 2 more"
    )
    assert explain(STORM).startswith("most checks fail at once: the monitor itself seems cut off since Fri 15 Jan")

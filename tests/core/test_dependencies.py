from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.core.dependencies import Trouble, descend, find_cause, find_children, find_cycle, find_units
from heartbeat.core.policy import Latch, Policy
from heartbeat.core.standing import LOOKS_APART, PATIENCE, RECOVERY, Standing, Wait, patience_with, recovery_of

NOON = 1_800_000_000.0
NAMES = "abcdef"
CHILD = Standing("child", ("gateway",), failing_since=NOON, settled_at=NOON, looked_at=NOON - 1.0, is_bad=True)
WELL = Standing("gateway", settled_at=NOON - 3600.0, looked_at=NOON, patience=30.0)
FAILING = replace(WELL, failing_since=NOON - 60.0, settled_at=NOON - 60.0, is_bad=True)
TROUBLE = Trouble(NOON, NOON)


def cause(*others: Standing, child: Standing = CHILD, now: float = NOON, trouble: Trouble = TROUBLE) -> Wait:
    return find_cause(child, trouble, {one.name: one for one in others}.get, now)


# One parent


def test_a_parent_that_fails_explains_its_children_however_long_it_lasts() -> None:
    for now in (NOON, NOON + 86_400.0):
        found = cause(FAILING, now=now)
        assert found.sentence == ("it depends on gateway, which has been failing since Fri 15 Jan 2027 07:59:00 UTC")
        assert found.looks == ()


def test_a_parent_that_was_well_since_explains_nothing() -> None:
    assert cause(WELL) == Wait()


def test_a_parent_that_is_gone_explains_nothing() -> None:
    assert cause() == Wait()


@pytest.mark.parametrize("looked_at", [None, NOON - 0.1])
def test_a_child_waits_for_a_look_at_its_parent_but_only_for_so_long(looked_at: float | None) -> None:
    unseen = replace(WELL, looked_at=looked_at)
    assert cause(unseen) == Wait("it waits for a look at gateway, which it depends on", ("gateway",))
    assert cause(unseen, now=NOON + 29.9).sentence
    assert cause(unseen, now=NOON + 30.0) == Wait()


def test_a_parent_that_was_seen_bad_but_does_not_fail_yet_is_waited_for_without_another_look() -> None:
    wavering = replace(WELL, is_bad=True)
    assert "seems to fail, too" in cause(wavering).sentence
    assert cause(wavering).looks == ()
    assert cause(wavering, now=NOON + 30.0) == Wait()


def test_the_patience_counts_from_when_the_child_was_to_be_told_of() -> None:
    later = Trouble(NOON, NOON + 100.0)
    assert cause(replace(WELL, looked_at=None), trouble=later, now=NOON + 129.0).sentence
    assert not cause(replace(WELL, looked_at=None), trouble=later, now=NOON + 130.0).sentence


@pytest.mark.parametrize("is_bad", [False, True])
def test_what_is_known_of_a_broken_parent_explains_nothing_for_longer_than_its_patience(*, is_bad: bool) -> None:
    unsound = replace(FAILING if is_bad else WELL, is_sound=False)
    assert cause(unsound).looks == ("gateway",)
    assert cause(unsound, now=NOON + 30.0) == Wait()


@pytest.mark.parametrize("parent", [FAILING, replace(WELL, looked_at=None), replace(WELL, is_bad=True)])
def test_a_parent_of_which_nobody_hears_explains_nothing(parent: Standing) -> None:
    assert cause(replace(parent, is_told=False)) == Wait()


# After the parent


AGAIN = replace(WELL, settled_at=NOON + 600.0, looked_at=NOON + 600.0)


def test_after_its_parent_a_child_is_looked_at_before_it_is_told_of() -> None:
    found = cause(AGAIN, now=NOON + 601.0)
    assert found.looks == ("child",)
    assert "gateway, which is well again since Fri 15 Jan 2027 08:10:00 UTC" in found.sentence
    assert cause(AGAIN, child=replace(CHILD, looked_at=NOON + 601.0), now=NOON + 602.0) == Wait()


def test_a_child_that_nobody_looks_at_after_its_parent_is_told_of_all_the_same() -> None:
    child = replace(CHILD, patience=20.0)
    assert cause(AGAIN, child=child, now=NOON + 619.0).sentence
    assert cause(AGAIN, child=child, now=NOON + 620.0) == Wait()


def test_a_child_that_seems_to_recover_is_left_to_its_policy_but_not_for_ever() -> None:
    child = replace(CHILD, looked_at=NOON + 601.0, is_bad=False, recovery=100.0)
    assert "it seems to recover" in cause(AGAIN, child=child, now=NOON + 699.0).sentence
    assert cause(AGAIN, child=child, now=NOON + 700.0) == Wait()


# Several


def chain(**changes: Standing) -> dict[str, Standing]:
    usual = {
        "child": replace(CHILD, parents=("mid",)),
        "mid": replace(WELL, name="mid", parents=("root",)),
        "root": replace(WELL, name="root"),
    }
    return usual | changes


def test_what_a_parent_depends_on_explains_as_well_where_the_parent_is_unknown() -> None:
    mid = replace(WELL, name="mid", parents=("root",), looked_at=None)
    found = chain(mid=mid, root=replace(FAILING, name="root"))
    assert "it depends on root" in find_cause(found["child"], TROUBLE, found.get, NOON + 1000.0).sentence


def test_a_parent_that_is_well_ends_the_way_up() -> None:
    found = chain(root=replace(FAILING, name="root"))
    assert find_cause(found["child"], TROUBLE, found.get, NOON) == Wait()


def test_a_parent_of_which_nobody_hears_does_not_end_the_way_up() -> None:
    mid = replace(WELL, name="mid", parents=("root",), is_told=False)
    found = chain(mid=mid, root=replace(FAILING, name="root"))
    assert "it depends on root" in find_cause(found["child"], TROUBLE, found.get, NOON).sentence


def test_one_failing_parent_of_several_is_enough_and_every_unseen_one_is_looked_at() -> None:
    child = replace(CHILD, parents=("a", "b"))
    unseen = {name: replace(WELL, name=name, looked_at=None) for name in "ab"}
    assert find_cause(child, TROUBLE, unseen.get, NOON).looks == ("a", "b")
    half = {"a": replace(WELL, name="a"), "b": replace(FAILING, name="b")}
    assert "it depends on b" in find_cause(child, TROUBLE, half.get, NOON).sentence


def test_in_a_diamond_the_common_ancestor_is_asked_once() -> None:
    child = replace(CHILD, parents=("a", "b"))
    known = {name: replace(WELL, name=name, parents=("root",), looked_at=None) for name in "ab"}
    known["root"] = replace(WELL, name="root", looked_at=None)
    assert find_cause(child, TROUBLE, known.get, NOON).looks == ("a", "b", "root")


def test_even_a_circle_is_walked_once() -> None:
    known = {"gateway": replace(WELL, parents=("child", "gateway"), looked_at=None), "child": CHILD}
    assert find_cause(CHILD, TROUBLE, known.get, NOON).looks == ("gateway",)


@given(
    looked=st.sampled_from([None, NOON - 1.0, NOON + 1.0]),
    is_bad=st.booleans(),
    is_failing=st.booleans(),
    is_sound=st.booleans(),
    child_looked=st.sampled_from([None, NOON - 1.0, NOON + 2.0]),
    child_bad=st.booleans(),
    settled=st.sampled_from([None, NOON - 10.0, NOON + 1.0]),
)
def test_nothing_but_a_sound_parent_that_fails_holds_back_longer_than_all_patience(
    *, looked: float | None, is_bad: bool, is_failing: bool, is_sound: bool, child_looked: float | None,
    child_bad: bool, settled: float | None,
) -> None:  # fmt: skip
    parent = Standing("gateway", (), NOON if is_failing else None, settled, looked, is_bad=is_bad, is_sound=is_sound)
    child = replace(CHILD, looked_at=child_looked, is_bad=child_bad)
    late = NOON + 1.0 + PATIENCE + RECOVERY
    found = find_cause(child, TROUBLE, {"gateway": parent}.get, late)
    assert bool(found.sentence) is (is_failing and is_sound)


# How long is waited


def test_the_patience_lasts_for_the_looks_that_the_policy_asks_for() -> None:
    assert patience_with(Policy(), 5.0) == LOOKS_APART + 10.0
    thrice = Policy(fail=Latch(3, 3), recheck=4.0, interval=60.0)
    assert patience_with(thrice, 5.0) == LOOKS_APART + 10.0 + 2 * 9.0
    assert patience_with(replace(thrice, recheck=None), 5.0) == PATIENCE


def test_a_recovery_lasts_as_long_as_the_policy_takes_to_clear() -> None:
    assert recovery_of(Policy(interval=60.0), 5.0) == patience_with(Policy(), 5.0)
    assert recovery_of(Policy(fail=Latch(clear=3), interval=60.0), 5.0) == LOOKS_APART + 10.0 + 2 * 65.0
    assert recovery_of(Policy(fail=Latch(clear=3)), 5.0) == RECOVERY


# Who is related to whom


def test_children_are_those_that_name_a_parent() -> None:
    assert find_children({"a": ("root",), "b": ("root", "a"), "root": ()}) == {"root": ("a", "b"), "a": ("b",)}


def test_descendants_come_once_and_the_nearest_first() -> None:
    children = find_children({"a": ("root",), "b": ("root",), "c": ("a", "b"), "d": ("c",)})
    assert list(descend("root", children)) == ["a", "b", "c", "d"]
    assert list(descend("d", children)) == []


def test_checks_with_a_common_ancestor_or_of_one_matrix_are_one_unit() -> None:
    parents = {"a": ("root",), "b": ("root",), "c": ("a",), "x": ("y",)}
    units = find_units(parents, {"m.eu": "m", "m.us": "m", "x": ""})
    assert len({units[name] for name in ("a", "b", "c", "root")}) == 1
    assert units["x"] == units["y"]
    assert units["m.eu"] == units["m.us"]
    assert len({units["a"], units["x"], units["m.eu"]}) == 3
    assert "alone" not in units


GRAPHS = st.dictionaries(
    st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), unique=True, max_size=3).map(tuple), max_size=6
)


def reachable(parents: dict[str, tuple[str, ...]]) -> set[tuple[str, str]]:
    pairs = {(name, parent) for name, above in parents.items() for parent in above}
    for _ in NAMES:
        pairs |= {(a, d) for (a, b), (c, d) in product(pairs, pairs) if b == c}
    return pairs


@given(GRAPHS)
def test_a_circle_is_found_exactly_where_there_is_one(parents: dict[str, tuple[str, ...]]) -> None:
    found = find_cycle(parents)
    assert bool(found) is any(a == b for a, b in reachable(parents))
    if found:
        assert found[0] == found[-1]
        assert all(above in parents[name] for name, above in pairwise(found))
        assert len(set(found)) == len(found) - 1


@given(GRAPHS)
def test_descendants_are_all_from_which_one_is_reached(parents: dict[str, tuple[str, ...]]) -> None:
    pairs = reachable(parents)
    for name in NAMES:
        expected = {child for child, above in pairs if above == name and child != name}
        assert set(descend(name, find_children(parents))) == expected


@given(GRAPHS)
def test_units_are_the_connected_parts(parents: dict[str, tuple[str, ...]]) -> None:
    both = {name: set[str]() for name in NAMES}
    for name, above in parents.items():
        for parent in above:
            both[name].add(parent)
            both[parent].add(name)
    pairs = reachable({name: tuple(others) for name, others in both.items()})
    units = find_units(parents, {})
    for a, b in product(NAMES, NAMES):
        if a != b:
            assert (units.get(a, a) == units.get(b, b)) is ((a, b) in pairs)

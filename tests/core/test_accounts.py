from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from heartbeat.core.accounts import (
    UNKNOWN,
    UNTRIED,
    Rotation,
    Slot,
    Standing,
    accept,
    carry,
    find_trouble,
    is_worth_a_try,
    refuse,
)

CURRENT, NEXT = Slot.CURRENT, Slot.NEXT
STANDINGS = st.sampled_from([UNKNOWN, Standing(refused=1.0), Standing(works=2.0)])
ROTATIONS = st.builds(Rotation, current=STANDINGS, following=STANDINGS, begin=st.sampled_from(Slot))


@given(rotation=ROTATIONS, slot=st.sampled_from(Slot))
def test_what_works_comes_first_and_what_is_refused_last(rotation: Rotation, slot: Slot) -> None:
    assert accept(rotation, slot, 5.0).begin is slot
    assert refuse(rotation, slot, 5.0).begin is slot.other


@given(rotation=ROTATIONS, slot=st.sampled_from(Slot))
def test_it_is_known_since_when_it_is_so(rotation: Rotation, slot: Slot) -> None:
    works, refused = rotation[slot].works, rotation[slot].refused
    assert accept(rotation, slot, 5.0)[slot] == Standing(works=works or 5.0)
    assert refuse(rotation, slot, 5.0)[slot] == Standing(refused=refused or 5.0)
    assert accept(rotation, slot, 5.0)[slot.other] == refuse(rotation, slot, 5.0)[slot.other] == rotation[slot.other]


@given(rotation=ROTATIONS)
def test_what_stays_in_its_place_stays_known(rotation: Rotation) -> None:
    carried = carry(rotation, {CURRENT: CURRENT, NEXT: NEXT})
    assert (carried.current, carried.following) == (rotation.current, rotation.following)


@given(rotation=ROTATIONS)
def test_what_moved_is_known_where_it_is_now_and_what_is_new_is_not(rotation: Rotation) -> None:
    assert carry(rotation, {CURRENT: NEXT}) == Rotation(rotation.following)
    assert carry(rotation, {CURRENT: NEXT, NEXT: None}).following == UNKNOWN
    assert carry(rotation, {CURRENT: None, NEXT: None}) == UNTRIED
    assert carry(rotation, {}) == UNTRIED


@given(rotation=ROTATIONS, sources=st.dictionaries(st.sampled_from(Slot), st.none() | st.sampled_from(Slot)))
def test_nothing_begins_with_what_is_refused_while_there_is_something_else(
    rotation: Rotation, sources: dict[Slot, Slot | None]
) -> None:
    sources.setdefault(CURRENT, None)
    carried = carry(rotation, sources)
    assert carried.begin in sources
    if carried.begin.other in sources and carried[carried.begin.other].refused is None:
        assert carried[carried.begin].refused is None


def test_a_second_try_is_worth_it_unless_both_were_refused_already() -> None:
    refused = Standing(refused=1.0)
    assert is_worth_a_try(UNTRIED, CURRENT)
    assert is_worth_a_try(Rotation(refused), CURRENT)
    assert is_worth_a_try(Rotation(refused, Standing(works=1.0)), NEXT)
    assert not is_worth_a_try(Rotation(refused, refused), NEXT)


@given(rotation=ROTATIONS)
def test_an_account_is_lost_where_all_it_has_is_refused(rotation: Rotation) -> None:
    trouble = find_trouble("shopper", rotation, has_next=True)
    refused = [rotation[slot].refused is not None for slot in Slot]
    assert (trouble is not None) == any(refused) == rotation.is_troubled
    assert trouble is None or trouble.is_lost == all(refused)
    alone = find_trouble("shopper", Rotation(rotation.current), has_next=False)
    assert (alone is not None) == refused[0]
    assert alone is None or alone.is_lost

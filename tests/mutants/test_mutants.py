from __future__ import annotations

import pytest

from heartbeat.testing.mutants import Mutant, find_fault, read_mutants

MUTANTS = read_mutants()


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    assert len(MUTANTS) >= 30
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_still_fits_the_tree(mutant: Mutant) -> None:
    assert mutant.old != mutant.new
    assert find_fault(mutant) == ""

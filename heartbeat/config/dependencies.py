"""Dependencies in the configuration: what a check depends on must exist, and must not depend on the check."""

from __future__ import annotations

from collections.abc import Mapping

from heartbeat.config.problem import nearest, quoted
from heartbeat.config.reading import Spot, Wrong, name, names
from heartbeat.core.dependencies import find_cycle

OWN = "heartbeat."


def depends_on(spot: Spot) -> tuple[str, ...]:
    """Read one name, or a list of names. Whether there are such checks, ``resolve`` sees."""
    return (name(spot),) if isinstance(spot.node.value, str) else names(spot)


def resolve(
    given: Mapping[str, tuple[Spot, tuple[str, ...]]], families: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Return what each check depends on, by names of checks; what is wrong is noted at its spot.

    Args:
        given: for each check that depends on others the spot of its ``depends_on`` and the names there.
        families: for each check as written the names of the checks that it stands for: more than one where it has a
            matrix. To depend on it is to depend on all of them.
    """
    members = {member for family in families.values() for member in family}
    found = {}
    for child, (spot, above) in given.items():
        try:
            found[child] = tuple(
                dict.fromkeys(one for above_one in above for one in _resolve(above_one, families, members))
            )
        except Wrong as error:
            spot.wrong(str(error))
    while cycle := find_cycle(found):
        spot, _ = given[cycle[0]]
        spot.wrong(_describe(cycle))
        del found[cycle[0]]
    return found


def _resolve(word: str, families: Mapping[str, tuple[str, ...]], members: set[str]) -> tuple[str, ...]:
    if word in families:
        return families[word]
    if word in members:
        return (word,)
    if word.startswith(OWN):
        raise Wrong(f"{quoted(word)} is a check of the daemon itself; nothing can depend on those")
    raise Wrong(f"there is no check {quoted(word)}{nearest(word, [*families, *members])}")


def _describe(cycle: tuple[str, ...]) -> str:
    if len(cycle) == 2:
        return "a check cannot depend on itself"
    return f"goes round in a circle: {' depends on '.join(cycle)}; take one of them out"

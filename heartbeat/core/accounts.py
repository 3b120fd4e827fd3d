"""Two sets of credentials for each test account: with which a run begins, and what is said of one that is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from heartbeat.core.times import readable


class Slot(StrEnum):
    """Where credentials stand in the configuration: in their place, or under ``next:``."""

    CURRENT = "current"
    NEXT = "next"

    @property
    def other(self) -> Slot:
        """The other one."""
        return Slot.NEXT if self is Slot.CURRENT else Slot.CURRENT


@dataclass(frozen=True, slots=True)
class Standing:
    """Since when the target refuses some credentials, or takes them (seconds since the epoch); None: it does not."""

    refused: float | None = None
    works: float | None = None


UNKNOWN = Standing()


@dataclass(frozen=True, slots=True)
class Rotation:
    """How both sets of an account stand, and with which one the next run begins."""

    current: Standing = UNKNOWN
    following: Standing = UNKNOWN
    begin: Slot = Slot.CURRENT

    def __getitem__(self, slot: Slot) -> Standing:
        return self.current if slot is Slot.CURRENT else self.following

    @property
    def is_troubled(self) -> bool:
        """Whether anything is refused."""
        return self.current.refused is not None or self.following.refused is not None


UNTRIED = Rotation()


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with an account, as a sentence; ``is_lost`` where none of its credentials is taken."""

    account: str
    sentence: str
    is_lost: bool


def accept(rotation: Rotation, slot: Slot, now: float) -> Rotation:
    """The target took these credentials: the next run begins with them, too."""
    before = rotation[slot].works
    return _with(replace(rotation, begin=slot), slot, Standing(works=now if before is None else before))


def refuse(rotation: Rotation, slot: Slot, now: float) -> Rotation:
    """The target refused these credentials: the next run begins with the others.

    Where it refuses both, runs take turns: two logins that fail in each run would lock an account twice as soon.
    """
    before = rotation[slot].refused
    return _with(replace(rotation, begin=slot.other), slot, Standing(refused=now if before is None else before))


def is_worth_a_try(before: Rotation, slot: Slot) -> bool:
    """Say whether a run goes on with the other slot after this one was refused, by what was known before that.

    Not where both were refused already, and nothing has changed: the next run has its turn.
    """
    return before[slot].refused is None or before[slot.other].refused is None


def carry(old: Rotation, sources: Mapping[Slot, Slot | None]) -> Rotation:
    """Return what is known after credentials were replaced.

    Args:
        old: what was known.
        sources: for each slot that there is now in which one these very credentials stood before; None: in neither.
    """
    current, following = (old[source] if (source := sources.get(slot)) else UNKNOWN for slot in Slot)
    new = Rotation(current, following)
    begin = next((slot for slot, source in sources.items() if source is old.begin), Slot.CURRENT)
    if new[begin].refused is not None and begin.other in sources and new[begin.other].refused is None:
        begin = begin.other
    return replace(new, begin=begin)


def find_trouble(
    account: str, rotation: Rotation, *, has_next: bool, differing: tuple[str, ...] = (), has_codes: bool = False
) -> Trouble | None:
    """Say what is wrong with an account, if anything is.

    Args:
        account: its name.
        rotation: what is known of it.
        has_next: whether there are credentials under ``next:``.
        differing: the fields that are others under ``next:``.
        has_codes: whether one-time codes belong to it, which follow from our clock.
    """
    current, following = rotation.current.refused, rotation.following.refused
    if current is not None and following is not None:
        since = readable(max(current, following))
        found = f"it is refused since {since}, with what stands under next, too: it may be locked"
    elif current is not None:
        found = _say_of_current(rotation, current, has_next, differing)
    elif following is not None:
        found = f"the {_word(differing)} under next is refused since {readable(following)}"
    else:
        return None
    is_lost = current is not None and (not has_next or following is not None)
    clock = ", or the clock of this machine is wrong" if is_lost and has_codes else ""
    return Trouble(account, f"account {account}: {found}{clock}", is_lost)


def _say_of_current(rotation: Rotation, since: float, has_next: bool, differing: tuple[str, ...]) -> str:
    if not has_next:
        return f"it is refused since {readable(since)}: it may be locked, or have other credentials now"
    other = "works: put it in its place" if rotation.following.works is not None else "was not tried yet"
    return f"its {_word(differing)} is refused since {readable(since)}; the one under next {other}"


def _word(differing: tuple[str, ...]) -> str:
    return differing[0] if len(differing) == 1 else "login"


def _with(rotation: Rotation, slot: Slot, standing: Standing) -> Rotation:
    return replace(rotation, current=standing) if slot is Slot.CURRENT else replace(rotation, following=standing)

"""One test account: its credentials as they are configured now, what is known of them, and who has it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from heartbeat.accounts.codes import Codes
from heartbeat.accounts.turns import Turns
from heartbeat.config.credentials import FIELDS, AccountConfig, Credentials
from heartbeat.core.accounts import UNTRIED, Rotation, Slot, Trouble, carry, find_trouble, is_worth_a_try

log = structlog.get_logger()

Change = Callable[[Rotation, Slot, float], Rotation]


async def _nothing_new() -> bool:
    return False


@dataclass(slots=True)
class Surroundings:
    """What accounts make use of; the daemon sets it.

    Attributes:
        now: returns seconds since the epoch, from which one-time codes follow.
        reread: looks whether files of the configuration have changed, and returns once that is taken over.
        changed: is called after a run, or a reload, that changed what is to be told of credentials.
    """

    now: Callable[[], float]
    reread: Callable[[], Awaitable[object]] = _nothing_new
    changed: Callable[[], object] = lambda: None


@dataclass(slots=True)
class Desk:
    """Where one account is handed out."""

    name: str
    around: Surroundings
    config: AccountConfig | None = None
    """None where it left the configuration while somebody had it."""
    rotation: Rotation = UNTRIED
    turns: Turns = field(default_factory=Turns)
    codes: Codes = field(default_factory=Codes)
    readers: set[str] = field(default_factory=set)
    """The checks that have asked for its one-time codes."""
    marks: dict[Credentials, str] = field(default_factory=dict)
    """By which credentials are known again after a restart, where that was needed so far."""

    @property
    def is_gone(self) -> bool:
        """Whether nobody will miss it."""
        return self.config is None and self.turns.is_idle

    def slots(self) -> dict[Slot, Credentials]:
        """Return the credentials that there are; those under ``next:`` that are in their place already count once."""
        if self.config is None:
            return {}
        current, following = self.config.current, self.config.following
        return {Slot.CURRENT: current} | ({} if following in (None, current) else {Slot.NEXT: following})

    def slot_of(self, credentials: Credentials) -> Slot | None:
        """Return where these very credentials stand."""
        return next((slot for slot, one in self.slots().items() if one == credentials), None)

    def adopt(self, config: AccountConfig | None) -> bool:
        """Take over what is configured now; say whether what was to be told of it has changed.

        What is known of credentials stays known where they moved, too.
        """
        known, before = self.rotation, {credentials: slot for slot, credentials in reversed(self.slots().items())}
        self.config = config
        self.rotation = carry(known, {slot: before.get(one) for slot, one in self.slots().items()})
        return known.is_troubled and self.rotation != known

    def first(self) -> Credentials:
        """Return the credentials with which a run begins."""
        slots = self.slots()
        return slots.get(self.rotation.begin) or slots[Slot.CURRENT]

    def second(self, slot: Slot | None, before: Rotation, tried: list[Credentials]) -> Credentials | None:
        """Return the credentials to go on with after others were refused.

        Args:
            slot: where those stood; None: nowhere any more.
            before: what was known until then.
            tried: what this run has tried.
        """
        slot, slots = slot or self.rotation.begin, self.slots()
        if (renewed := slots.get(slot)) and renewed not in tried:
            return renewed
        other = slots.get(slot.other)
        if other is None or other in tried:
            return None
        is_unknown = self.rotation[slot.other].refused is None
        return other if is_unknown or is_worth_a_try(before, slot) else None

    def note(self, credentials: Credentials, change: Change) -> bool:
        """Note how the target took to some credentials; say whether that is worth telling.

        Those that are configured no more do not matter.
        """
        slot, before = self.slot_of(credentials), self.rotation
        if slot is None:
            return False
        self.rotation = change(before, slot, self.around.now())
        was, is_refused = before[slot].refused is not None, self.rotation[slot].refused is not None
        if was != is_refused:
            write = log.warning if is_refused else log.info
            write("credentials are refused" if is_refused else "credentials work again", account=self.name, slot=slot)
        return before[slot] != self.rotation[slot] and (before.is_troubled or self.rotation.is_troubled)

    def trouble(self) -> Trouble | None:
        """Return what is wrong with it."""
        slots = self.slots()
        current, following = slots.get(Slot.CURRENT), slots.get(Slot.NEXT)
        differing = tuple(one for one in FIELDS if following and getattr(current, one) != getattr(following, one))
        has_codes = current is not None and current.totp is not None
        return find_trouble(
            self.name, self.rotation, has_next=following is not None, differing=differing, has_codes=has_codes
        )

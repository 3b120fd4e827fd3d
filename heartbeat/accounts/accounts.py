"""All test accounts: leased to runs, followed through reloads, shown by the metrics and the self check.

Leases hold in this process, and a store has one daemon: whatever else uses an account (``heartbeat once``, another
daemon, a person) does not ask here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from difflib import get_close_matches
from typing import Any

from heartbeat.accounts.desk import Desk, Surroundings
from heartbeat.accounts.knowledge import recall, write
from heartbeat.accounts.leased import Leased
from heartbeat.accounts.turns import Taken
from heartbeat.backing import Conceal, tell_nobody
from heartbeat.check import CheckBroken
from heartbeat.config.credentials import AccountConfig
from heartbeat.core.accounts import Trouble
from heartbeat.core.limits import show
from heartbeat.metrics.accounts import Use
from heartbeat.runner import CURRENT

PATIENCE = 0.5
"""How much of its time a run waits for an account at most: the rest is the target's, which is blamed for the whole."""


class Accounts:
    """The test accounts of the configuration. Belongs to the main thread.

    A run that needs several takes one after the other, sorted by name: then no two ever wait for each other.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.around = Surroundings(now)
        self._desks: dict[str, Desk] = {}

    def adopt(self, configured: Mapping[str, AccountConfig]) -> None:
        """Take over the accounts of a configuration. Who has one keeps it; who waits goes on waiting."""
        for name in configured.keys() - self._desks.keys():
            self._desks[name] = Desk(name, self.around)
        has_news = False
        for name, desk in list(self._desks.items()):
            has_news |= desk.adopt(configured.get(name))
            self._clear(desk)
        if has_news:
            self.around.changed()

    @asynccontextmanager
    async def lease(self, name: str, within: float, conceal: Conceal = tell_nobody) -> AsyncIterator[Leased]:
        """Have an account to oneself; what is handed out is to be concealed.

        Raises:
            CheckBroken: ``config`` where there is no such account, ``account`` where others keep it.
        """
        ends, who = asyncio.get_running_loop().time() + within, _who()
        desk = self._find(name)
        try:
            await desk.turns.take(who, PATIENCE * within, self.around.now)
        except Taken as taken:
            sentence = f"the account {name} was not free within {show(PATIENCE * within, 's')}: {taken}"
            raise CheckBroken(sentence, reason="account") from None
        try:
            self._find(name)  # it may have left the configuration while we waited
            leased = Leased(desk, who, ends, conceal)
            try:
                if who in desk.readers:  # it will want a code again
                    await leased.fresh()
                yield leased
            finally:
                leased.give_back()
        finally:
            desk.turns.give_back(self.around.now)
            self._clear(desk)

    def troubles(self) -> list[Trouble]:
        """Return what is wrong with accounts, the worst first."""
        found = (desk.trouble() for _, desk in sorted(self._desks.items()))
        return sorted((trouble for trouble in found if trouble), key=lambda trouble: not trouble.is_lost)

    def uses(self) -> Iterator[Use]:
        """Yield what the metrics show."""
        for name, desk in self._desks.items():
            refused = {slot.value: desk.rotation[slot].refused is not None for slot in desk.slots()}
            yield Use(name, desk.turns.is_taken, desk.turns.waiting, refused)

    async def write(self) -> dict[str, Any]:
        """Return what is to be known after a restart, for JSON."""
        found = [(name, await write(desk)) for name, desk in tuple(self._desks.items())]
        return {name: known for name, known in found if known}

    async def recall(self, written: Mapping[str, Any]) -> None:
        """Take over what was known before a restart, of credentials that are still the same."""
        for name, desk in self._desks.items():
            if name in written:
                await recall(desk, written[name])

    def _find(self, name: str) -> Desk:
        desk = self._desks.get(name)
        if desk is not None and desk.config is not None:
            return desk
        near = get_close_matches(name, (one for one, found in self._desks.items() if found.config is not None), 1)
        hint = f"; did you mean {near[0]}?" if near else ": name it under accounts: in the configuration"
        raise CheckBroken(f"there is no account {name!r}{hint}", reason="config")

    def _clear(self, desk: Desk) -> None:
        if desk.is_gone:
            self._desks.pop(desk.name, None)


def _who() -> str:
    """Return the check whose run we are in; a cleanup is in a task of the line."""
    task = asyncio.current_task()
    return CURRENT.get() or (task.get_name().removeprefix("line ") if task else "")

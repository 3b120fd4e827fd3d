"""What a run gets when it leases a test account."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from pydantic import SecretStr

from heartbeat.accounts.desk import Desk
from heartbeat.backing import Conceal
from heartbeat.check import CheckBroken
from heartbeat.config.credentials import FIELDS, Credentials
from heartbeat.core.accounts import accept, refuse

TRIES = 4
"""Credentials that one run tries at most, however often they are replaced meanwhile."""


class Leased:
    """A test account that one run has to itself. It shows no value of its own accord.

    Its fields stay what they were, also when the configuration is loaded anew: a user never meets another's password.
    """

    __slots__ = ("_conceal", "_credentials", "_desk", "_ends", "_has_news", "_is_over", "_took_code", "_tried", "_who")

    def __init__(self, desk: Desk, who: str, ends: float, conceal: Conceal) -> None:
        self._desk = desk
        self._who = who
        self._ends = ends
        self._conceal = conceal
        self._credentials = desk.first()
        self._tried: list[Credentials] = []
        self._took_code = self._has_news = self._is_over = False

    def __repr__(self) -> str:
        return f"<account {self._desk.name}>"

    def __getitem__(self, field: str) -> str:
        name = self._desk.name
        if self._is_over:
            raise CheckBroken(f"the account {name} was given back already: lease it again")
        if field not in FIELDS:
            raise CheckBroken(f"an account has {', '.join(FIELDS)}, but no {field!r}", reason="config")
        value = getattr(self._credentials, field)
        if value is None:
            raise CheckBroken(f"the account {name} has no {field}: add it under accounts:", reason="config")
        if not isinstance(value, SecretStr):
            return str(value)
        secret = self._draw(value) if field == "totp" else value.get_secret_value()
        self._conceal(f"accounts.{name}.{field}", secret)
        return secret

    async def fresh(self) -> None:
        """Wait until there is a one-time code that nobody had. Raises ``CheckBroken`` where none comes in time."""
        if not await self._has_code():
            sentence = f"the next one-time code of the account {self._desk.name} comes after the end of this run"
            raise CheckBroken(f"{sentence}: give it a longer timeout, or run it less often", reason="account")

    async def refuse(self) -> bool:
        """Say that the target refused these credentials; True where there are others now: begin again with them.

        First the configuration is looked at again, as they may just have been replaced; then come those under
        ``next:``. The same are never tried twice.
        """
        desk, refused = self._desk, self._credentials
        before, slot = desk.rotation, desk.slot_of(refused)
        self._has_news |= desk.note(refused, refuse)
        self._tried.append(refused)
        if self._is_over or len(self._tried) >= TRIES:
            return False
        with suppress(TimeoutError):  # it goes on beside us; the other half of the time is for another try
            async with asyncio.timeout(self._remaining / 2):
                await desk.around.reread()
        found = desk.second(slot, before, self._tried)
        if found is None:
            return False
        self._credentials = found
        return not self._took_code or await self._has_code()

    def accept(self) -> None:
        """Say that the target took these credentials."""
        self._has_news |= self._desk.note(self._credentials, accept)

    def give_back(self) -> None:
        """Be of no use any more. Only now it is told what was refused: by now it is known whether others work."""
        self._is_over = True
        if self._has_news or self._took_code:
            self._desk.around.changed()

    @property
    def _remaining(self) -> float:
        return max(0.0, self._ends - asyncio.get_running_loop().time())

    def _draw(self, secret: SecretStr) -> str:
        self._took_code = True
        self._desk.readers.add(self._who)
        code = self._desk.codes.draw(secret, self._desk.around.now())
        if code is None:
            sentence = f"the one-time code of the account {self._desk.name} was used already"
            raise CheckBroken(f"{sentence}: `await account.fresh()` waits for the next one", reason="account")
        return code

    async def _has_code(self) -> bool:
        """Wait for a code that nobody had; say False at once where none comes in time."""
        secret = self._credentials.totp
        if secret is None:
            return True
        while wait := self._desk.codes.wait(secret, self._desk.around.now()):
            if wait > self._remaining:
                return False
            await asyncio.sleep(wait)
        return True

"""A check whose options refer to test accounts or to its run: it is made anew for each run, with what they refer to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import fields, is_dataclass
from secrets import token_hex
from time import perf_counter
from typing import Any

from pydantic import BaseModel, Field

from heartbeat.backing import Account
from heartbeat.check import Check
from heartbeat.core.model import Reason
from heartbeat.faults import sort_fault
from heartbeat.probe import Probe
from heartbeat.references import Late, Reference, references
from heartbeat.stepping import perform
from heartbeat.steps import Part

ROOTS = frozenset({"accounts", "run"})
"""What is filled in for types that do not fill it in themselves."""
RUN = ("id", "tag")
ATTEMPTS = 4
"""How often one run begins anew at most, with other credentials of its account."""


class Filled(Check):
    """A check of any type, with the values of test accounts and of its run filled in.

    It has the accounts to itself while it runs. Where it uses one, and that is refused, it runs again with other
    credentials, if there are some; where it uses several, nobody can know which was meant.
    """

    check: Part = Field(description="the check whose options refer to them")

    async def run(self, probe: Probe) -> Any:
        """Run the check within, with the same probe. What it takes to have the accounts is no part of the duration."""
        roots = ROOTS - self.check.type.fills
        mine = [reference for reference in self.check.references() if reference.root in roots]
        names = sorted({reference.path[0] for reference in mine if reference.root == "accounts"})
        tag = f"heartbeat-{token_hex(8)}"
        async with AsyncExitStack() as leases:
            accounts = {name: await leases.enter_async_context(probe.account(name)) for name in names}
            for name in {reference.path[0] for reference in mine if reference.path[1:] == ("totp",)}:
                await accounts[name].fresh()
            started = perf_counter()
            try:
                return await self._run_until_taken(probe, accounts, tag)
            finally:
                if probe.took is None and not probe.closed:
                    probe.record_duration(perf_counter() - started)

    async def _run_until_taken(self, probe: Probe, accounts: Mapping[str, Account], tag: str) -> Any:
        for _ in range(ATTEMPTS - 1):
            try:
                found = await perform(self._fill_in(probe, accounts, tag), probe)
            except Exception as error:  # whatever it is: it goes on, unless the account was refused
                if sort_fault(error).reason is not Reason.AUTH or not await _refuse(accounts):
                    raise
            else:
                for account in accounts.values():
                    account.accept()
                return found
        return await perform(self._fill_in(probe, accounts, tag), probe)

    def _fill_in(self, probe: Probe, accounts: Mapping[str, Account], tag: str) -> Check:
        """Return the check with its values, each asked for once: a one-time code is given once."""
        run = {"id": probe.run, "tag": tag}
        known: dict[tuple[str, ...], str] = {}

        def look_up(reference: Reference) -> Any:
            if reference.root not in ROOTS - self.check.type.fills:
                return reference
            if reference.root == "run":
                return run[reference.path[0]]
            if reference.path not in known:
                name, field = reference.path
                known[reference.path] = accounts[name][field]
            return known[reference.path]

        return self.check.build(look_up)


async def _refuse(accounts: Mapping[str, Account]) -> bool:
    """Say that the account was refused; True where there are other credentials to try."""
    return len(accounts) == 1 and await next(iter(accounts.values())).refuse()


def late_texts(value: Any) -> Iterator[Late]:
    """Yield the texts with references anywhere in the options of a check, those of its parts among them."""
    if isinstance(value, Late):
        yield value
    elif isinstance(value, BaseModel):
        yield from (text for one in vars(value).values() for text in late_texts(one))
    elif isinstance(value, Part):
        yield from late_texts(value.options)
    elif isinstance(value, Mapping):
        yield from (text for one in value.values() for text in late_texts(one))
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from (text for one in value for text in late_texts(one))
    elif is_dataclass(value) and not isinstance(value, type):
        yield from (text for one in fields(value) for text in late_texts(getattr(value, one.name)))


def accounts_of(check: Check) -> frozenset[str]:
    """Return the names of the accounts that the options of a check refer to."""
    every = (reference for text in late_texts(check) for reference in references(text))
    return frozenset(reference.path[0] for reference in every if reference.root == "accounts")

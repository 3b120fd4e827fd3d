"""The daemon watches itself with ordinary checks: a failed reload, a full disk, a stuck outbox travel the same line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from heartbeat.accounts import Accounts
from heartbeat.check import Check, CheckBroken, CheckFailed
from heartbeat.config.model import CheckConfig
from heartbeat.core.limits import show
from heartbeat.core.model import NOTHING, Outcome, Reason
from heartbeat.core.policy import Latch, Policy
from heartbeat.core.schedule import Interval
from heartbeat.dispatch import Dispatch
from heartbeat.outbox import Outbox
from heartbeat.probe import Probe
from heartbeat.quiet.storms import NETWORK, Storms
from heartbeat.state import State
from heartbeat.store import Store

EVERY = 10.0
TIMEOUT = 5.0
REMIND = 4 * 3600.0
LATE = 5.0
"""Seconds of lateness from which the scheduler is in trouble."""
RECENT = 60.0
"""For how many seconds a missed run for overload keeps counting as trouble."""
STUCK = 300.0
"""Seconds that the oldest message may wait before the outbox is in trouble."""

CONFIG = "heartbeat.config"
ACCOUNTS = "heartbeat.accounts"
KNOWN = "known"
"""Under which word the check of the accounts remembers what is known of them."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the self checks look at."""

    state: State
    store: Store
    outbox: Outbox
    dispatch: Dispatch
    now: Callable[[], float]
    config_problem: Callable[[], str]
    storms: Storms | None = None
    accounts: Accounts | None = None
    config_doubt: Callable[[], str] = str
    """Says what of the configuration is not known for a while: whether checks are to run."""

    def store_problem(self) -> str:
        """Say why results and messages are not being recorded."""
        return self.store.failing

    def outbox_problem(self) -> str:
        """Say which message was given up lately, or waits too long."""
        if died := self.outbox.dead_lately(self.now()):
            return died
        age = self.outbox.oldest(self.now())
        return f"a message has been waiting for {show(age, 's')} to be delivered" if age > STUCK else ""

    def network_problem(self) -> str:
        """Say that most checks fail at once, or that runs found no network at all: what they test is unknown."""
        if self.storms and (storm := self.storms.problem()):
            return storm
        cut_off = [
            name
            for name, live in self.state.checks.items()
            if live.verdict and live.verdict.outcome is Outcome.ERROR and live.verdict.reason is Reason.NETWORK
        ]
        return (
            f"this machine seems cut off: {len(cut_off)} checks found no network, {cut_off[0]} first" if cut_off else ""
        )

    def network_details(self) -> Mapping[str, str]:
        """Return what the checks say that make up a storm."""
        failing = self.storms.details() if self.storms else ""
        return {"failing": failing} if failing else NOTHING

    def scheduler_problem(self) -> str:
        """Say that checks run late or not at all, because this process has too much to do."""
        overloaded = self.dispatch.overloaded_at
        if overloaded is not None and self.now() - overloaded < RECENT:
            return (
                f"runs are being skipped: {self.dispatch.concurrency} are under way, the most that 'concurrency' allows"
            )
        if self.dispatch.late > LATE:
            return f"runs start {show(self.dispatch.late, 's')} late: this machine is too busy"
        return ""


def self_checks(vitals: Vitals) -> Iterator[CheckConfig]:
    """Yield the checks ``heartbeat.*``, one for each thing to look at; whom to tell is still to be filled in."""
    policy = Policy(broken=Latch(), remind=REMIND, flapping=None, missed=None, interval=EVERY)
    for name, check in (
        (CONFIG, _vital(vitals.config_problem, Reason.MISMATCH, doubt=vitals.config_doubt)),
        ("heartbeat.store", _vital(vitals.store_problem, Reason.ABSENT)),
        ("heartbeat.outbox", _vital(vitals.outbox_problem, Reason.ABSENT)),
        (NETWORK, _vital(vitals.network_problem, Reason.CONNECT, vitals.network_details)),
        ("heartbeat.scheduler", _vital(vitals.scheduler_problem, Reason.TIMEOUT)),
    ):
        yield CheckConfig(name, name, check, name, Interval(EVERY), TIMEOUT, policy)
    if vitals.accounts is not None:
        check = _watch_accounts(vitals.accounts)
        yield CheckConfig(ACCOUNTS, ACCOUNTS, check, ACCOUNTS, Interval(EVERY), TIMEOUT, policy)


def _vital(
    look: Callable[[], str],
    reason: Reason,
    details: Callable[[], Mapping[str, str]] = lambda: NOTHING,
    doubt: Callable[[], str] = str,
) -> Check:
    class Vital(Check):
        async def run(self, probe: Probe) -> None:
            if problem := look():
                for name, text in details().items():
                    probe.note(name, text)
                raise CheckFailed(problem, reason=reason)
            if sentence := doubt():
                probe.warn(sentence, reason=Reason.ABSENT)

    return Vital()


def _watch_accounts(accounts: Accounts) -> Check:
    class AccountsVital(Check):
        async def run(self, probe: Probe) -> None:
            """Warn of credentials that are refused; where an account has no others, it is of no use to any check."""
            probe.state[KNOWN] = await accounts.write()
            if not (troubles := accounts.troubles()):
                return
            probe.note("accounts", "\n".join(trouble.sentence for trouble in troubles))
            more = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
            if troubles[0].is_lost:
                raise CheckBroken(troubles[0].sentence + more, reason="account")
            probe.warn(troubles[0].sentence + more, reason="auth")

    return AccountsVital()

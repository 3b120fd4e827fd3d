"""The daemon watches itself with ordinary checks: a failed reload, a full disk, a stuck outbox travel the same line."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from heartbeat.check import Check, CheckFailed
from heartbeat.config.model import CheckConfig
from heartbeat.core.model import Reason
from heartbeat.core.schedule import Interval
from heartbeat.core.status import Latch, Policy
from heartbeat.probe import Probe

EVERY = 10.0
TIMEOUT = 5.0
REMIND = 4 * 3600.0

Look = Callable[[], str]
"""Says in one sentence what is wrong, or nothing."""

REASONS = {
    "heartbeat.config": Reason.MISMATCH,
    "heartbeat.store": Reason.ABSENT,
    "heartbeat.outbox": Reason.ABSENT,
    "heartbeat.network": Reason.CONNECT,
    "heartbeat.scheduler": Reason.TIMEOUT,
}


def self_checks(looks: Mapping[str, Look], notify: tuple[str, ...]) -> dict[str, CheckConfig]:
    """Return the checks ``heartbeat.*``, one for each thing to look at."""
    policy = Policy(Latch(), Latch(), remind=REMIND, interval=EVERY)
    return {
        name: CheckConfig(
            name, name, _vital(look, REASONS[name]), name, Interval(EVERY), TIMEOUT, policy, notify=notify
        )
        for name, look in looks.items()
    }


def _vital(look: Look, reason: Reason) -> Check:
    class Vital(Check):
        async def run(self, probe: Probe) -> None:  # noqa: ARG002 - the contract of a check
            if problem := look():
                raise CheckFailed(problem, reason=reason)

    return Vital()

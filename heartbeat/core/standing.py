"""How a check stands, for those who ask whether something else explains its trouble, or theirs."""

from __future__ import annotations

from dataclasses import dataclass

from heartbeat.core.model import Severity
from heartbeat.core.policy import Policy
from heartbeat.core.status import Status

LOOKS_APART = 2.0
"""Seconds between two runs of a check that others asked for."""
PATIENCE = 120.0
"""The longest that anybody waits for a look at a check, in seconds."""
RECOVERY = 900.0
"""The longest that anybody waits for a check that seems to recover, in seconds."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a check at a moment; times in seconds since the epoch.

    Attributes:
        name: that of the check.
        parents: the checks that it depends on.
        failing_since: since when its policy says that it fails; None where it does not.
        settled_at: since when the policy says what it says.
        looked_at: when its latest run that found out anything about the target began.
        is_bad: that run found a failure.
        is_sound: it is neither broken nor without runs, so that what is known of it still holds.
        is_told: somebody hears of it when it fails.
        patience: how many seconds a look at it may take, until its policy has decided.
        recovery: how many seconds its policy may take to admit that it is well.
    """

    name: str
    parents: tuple[str, ...] = ()
    failing_since: float | None = None
    settled_at: float | None = None
    looked_at: float | None = None
    is_bad: bool = False
    is_sound: bool = True
    is_told: bool = True
    patience: float = PATIENCE
    recovery: float = RECOVERY

    def was_seen(self, since: float) -> bool:
        """Say whether anybody looked at it since then."""
        return self.looked_at is not None and self.looked_at >= since


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a check is not told of yet, in a sentence; nothing where it is. ``looks`` are the checks to run for that."""

    sentence: str = ""
    looks: tuple[str, ...] = ()


NO_WAIT = Wait()


def patience_with(policy: Policy, timeout: float) -> float:
    """Return how long a look at a check may take: the run under way, one more, and those that its policy asks for."""
    further = policy.fail.window - 1
    between = policy.recheck or policy.interval or PATIENCE
    return min(PATIENCE, LOOKS_APART + 2 * timeout + further * (between + timeout))


def recovery_of(policy: Policy, timeout: float) -> float:
    """Return how long the policy of a check may take to admit that it is well."""
    further = policy.fail.clear - 1
    return min(RECOVERY, patience_with(policy, timeout) + further * ((policy.interval or RECOVERY) + timeout))


def bad_since(status: Status, now: float) -> float:
    """Return when the trouble of a check with this status began; now where it is only beginning.

    So does an incident, which has the time where there is one.
    """
    if status.incident:
        return status.incident.since
    began = now
    for sample in reversed(status.recent):
        if sample.severity is Severity.OK:
            break
        began = sample.at
    return began


def wait_for_itself(child: Standing, well_since: float, start: float, now: float, what: str) -> Wait:
    """Return whether a check that something explained until ``well_since`` is still to be seen without that.

    It waits for a run of its own, and for its policy where that run went well; ``what`` says what is over. From
    ``start`` on the patience counts.
    """
    if not child.was_seen(well_since):
        if now < start + child.patience:
            return Wait(f"{what}; it waits for a look at itself", (child.name,))
    elif not child.is_bad and now < start + child.recovery:
        return Wait(f"{what}; it seems to recover, too")
    return NO_WAIT

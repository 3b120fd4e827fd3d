"""The configuration as the daemon uses it: expanded, checked, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from heartbeat.channels import Channel
from heartbeat.check import Check
from heartbeat.config.credentials import AccountConfig
from heartbeat.core.limits import Limit
from heartbeat.core.model import NOTHING, Address
from heartbeat.core.objectives import Objective
from heartbeat.core.policy import Policy, Routes
from heartbeat.core.quiet import Maintenance
from heartbeat.core.schedule import Cron, Schedule
from heartbeat.core.storm import StormRule
from heartbeat.core.switches import ON, Switch
from heartbeat.redaction import Redactor

FALLBACK = "fallback"
"""The name of the receiver that is told what another could not be told."""

NOBODY = Routes()
_STORM = StormRule()


@dataclass(frozen=True, slots=True)
class CheckConfig:
    """One configured check: the plugin's model and what the daemon does with it.

    ``fingerprint`` follows from the expanded options and the plugin's source: equal means that the plugin would do
    the same, so a reload keeps the object and a quarantine holds. ``digest`` follows from everything: a reload asks
    for those checks only whose digest is another.
    """

    name: str
    type: str
    check: Check
    fingerprint: str
    schedule: Schedule
    timeout: float
    policy: Policy
    limits: tuple[Limit, ...] = ()
    notify: Routes = NOBODY
    labels: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    runbook: str = ""
    was: str = ""
    depends_on: tuple[str, ...] = ()
    objective: Objective | None = None
    family: str = ""
    """The name as written of the check whose matrix this one comes from; empty for others."""
    tags: tuple[str, ...] = ()
    """Words by which commands choose checks; the daemon makes no use of them."""
    enabled: Switch = ON
    """What says whether it runs."""
    digest: bytes = field(default=b"", compare=False)


@dataclass(frozen=True, slots=True)
class Receiver:
    """A named set of ways out. A channel's key is its identity: ``receiver/kind``, or the name it was given."""

    name: str
    channels: Mapping[str, Channel]


@dataclass(frozen=True, slots=True)
class History:
    """How long results are kept (seconds, rows); failures and events are kept longer than the rest."""

    keep: float = 7 * 86400
    keep_failures: float = 30 * 86400
    rows: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Web:
    """Where metrics, health and API are served; ``port`` 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 9780


@dataclass(frozen=True, slots=True)
class Log:
    """How the log is written: ``format`` is ``json``, ``console`` or ``auto`` (console on a terminal)."""

    format: str = "auto"
    level: str = "info"


@dataclass(frozen=True, slots=True)
class Watchdog:
    """Who outside is called while all is well, and misses the call when it is not; times in seconds."""

    url: SecretStr
    every: float = 60.0
    timeout: float = 10.0
    method: str = "GET"


@dataclass(frozen=True, slots=True)
class Drill:
    """A message that tries the way to a receiver, at the times of ``schedule``.

    Where it is not acknowledged ``within`` seconds, the receivers in ``alert`` hear of it.
    """

    receiver: str
    schedule: Cron
    within: float = 300.0
    alert: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FlagProvider:
    """Who answers for flags: ``module:callable``, which returns a provider of OpenFeature when called with options."""

    provider: str
    options: Mapping[str, Any] = field(default_factory=lambda: NOTHING, repr=False)


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration. ``files`` are all paths whose change means that the configuration may have changed."""

    files: tuple[Path, ...]
    store: Path
    control: Path
    """The unix socket for changes at run time."""
    checks: Mapping[str, CheckConfig]
    receivers: Mapping[str, Receiver]
    redactor: Redactor
    location: str = ""
    self_notify: tuple[str, ...] = ()
    storm: StormRule | None = _STORM
    """When most checks fail at once for the monitor itself; None: never."""
    tokens: Mapping[str, SecretStr] = field(default_factory=lambda: NOTHING)
    """Who may write over TCP: by name the token of each."""
    watchdog: Watchdog | None = None
    drills: tuple[Drill, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()
    web: Web = Web()
    history: History = History()
    log: Log = Log()
    grace: float = 10.0
    """Seconds that a stop waits for runs and deliveries in flight."""
    stall_limit: float = 30.0
    """Seconds that the main loop may stand still before the process ends and leaves out the check that held it."""
    concurrency: int = 500
    """Runs at once; a slot that comes when they are all taken is missed, with the reason ``overload``."""
    duration_buckets: tuple[float, ...] = (0.05, 0.25, 1.0, 5.0)
    plugins: tuple[Path, ...] = ()
    """The folders of own check types."""
    flags: FlagProvider | None = None
    accounts: Mapping[str, AccountConfig] = field(default_factory=lambda: NOTHING)
    """Test accounts by name."""
    mark_traffic: bool = True
    """Whether requests say that they are synthetic, and of which run."""
    targets: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    """Addresses with a name, as they were put in where the configuration refers to them."""
    targeted: Mapping[str, frozenset[str]] = field(default_factory=lambda: NOTHING)
    """To which targets each check refers that does, by its name as written; an empty one may be any."""

    @property
    def channels(self) -> dict[str, Channel]:
        """All channels, by identity."""
        return {name: channel for receiver in self.receivers.values() for name, channel in receiver.channels.items()}

    def ways_out(self, receivers: tuple[str, ...]) -> tuple[Address, ...]:
        """Return the ways out of receivers, by name; one that is not there has none."""
        known = [self.receivers[name] for name in receivers if name in self.receivers]
        return tuple(
            Address(receiver.name, name, to)
            for receiver in known
            for name, channel in receiver.channels.items()
            for to in channel.recipients()
        )

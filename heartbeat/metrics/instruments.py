"""The daemon's own metrics, on a registry of their own: what happened to scheduling, sending, storing and reloading."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from heartbeat import __version__
from heartbeat.core.deployment import Deployment
from heartbeat.core.model import MISSED_REASONS, Address
from heartbeat.metrics.accounts import AccountsInUse, Use
from heartbeat.metrics.deployments import LatestDeployments

DELIVERY_OUTCOMES = ("acknowledged", "retried", "dead")
REASSERTION_OUTCOMES = ("acknowledged", "failed")
CLOCK_CHANGES = ("step", "suspend", "pause")
LATENESS_BUCKETS = (0.01, 0.1, 1.0, 10.0)
DWELL_BUCKETS = (0.1, 1.0, 15.0, 60.0, 600.0, 3600.0)
LAG_BUCKETS = (0.005, 0.025, 0.1, 0.5, 2.5)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits to be acknowledged by one channel: how many deliveries, and the age of the oldest in seconds."""

    receiver: str
    channel: str
    pending: int
    oldest_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Calls:
    """How it stands with the calls to the outside watchdog: withheld or not, and when the last one was answered."""

    withheld: bool
    last_success: float | None = None


def _nothing() -> Iterable[Backlog]:
    return ()


class Instruments:
    """One attribute per metric, of prometheus_client's own types: ``instruments.missed_runs.labels("late").inc()``.

    Everything whose labels are known beforehand starts at 0. ``backlogs``, ``calls``, ``overdue``, ``deployments`` and
    ``accounts`` are asked at each scrape; the daemon sets them.
    """

    def __init__(self) -> None:
        # A series of its own per counter, of which Prometheus makes nothing.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client has no type for it
        self.registry = registry = CollectorRegistry()
        self.backlogs: Callable[[], Iterable[Backlog]] = _nothing
        self.store_failures: Mapping[str, int] = {}
        """By operation; the store's own, which counts on."""
        self.calls: Callable[[], Calls | None] = lambda: None
        self.overdue: Callable[[], int] = lambda: 0
        self.deployments: Callable[[], Iterable[Deployment]] = tuple
        """The latest of each name, of so many names at most."""
        self.accounts: Callable[[], Iterable[Use]] = tuple
        self._channels: frozenset[tuple[str, str]] = frozenset()

        self.missed_runs = Counter(
            "heartbeat_scheduler_missed_runs_total",
            "Runs that were due and did not take place.",
            ["reason"],
            registry=registry,
        )
        self.lateness = Histogram(
            "heartbeat_scheduler_lateness_seconds",
            "How long after its slot a run started.",
            buckets=LATENESS_BUCKETS,
            registry=registry,
        )
        self.loop_lag = Histogram(
            "heartbeat_loop_lag_seconds",
            "The longest standstill of the event loop in each second.",
            buckets=LAG_BUCKETS,
            registry=registry,
        )
        self._watch_the_ways_out(registry)
        self._watch_the_rest(registry)
        self._start(registry)

    def _watch_the_ways_out(self, registry: CollectorRegistry) -> None:
        self.notifications = Counter(
            "heartbeat_notifications_total",
            "Attempts to notify a channel, by what came of them.",
            ["receiver", "channel", "outcome"],
            registry=registry,
        )
        self.notification_success_timestamp = Gauge(
            "heartbeat_last_notification_success_timestamp_seconds",
            "When the channel last acknowledged a message.",
            ["receiver", "channel"],
            registry=registry,
        )
        self.dwell = Histogram(
            "heartbeat_notification_dwell_seconds",
            "How long after the decision to tell an event it was acknowledged.",
            ["receiver", "channel"],
            buckets=DWELL_BUCKETS,
            registry=registry,
        )
        self.reassertions = Counter(
            "heartbeat_reassertions_total",
            "Requests that tell an Alertmanager again what stands, by what came of them.",
            ["receiver", "channel", "outcome"],
            registry=registry,
        )

    def _watch_the_rest(self, registry: CollectorRegistry) -> None:
        self.reload_successful = Gauge(
            "heartbeat_config_last_reload_successful",
            "Whether the latest attempt to load the configuration succeeded.",
            registry=registry,
        )
        self.reload_success_timestamp = Gauge(
            "heartbeat_config_last_reload_success_timestamp_seconds",
            "When the configuration in use was loaded.",
            registry=registry,
        )
        self.clock_changes = Counter(
            "heartbeat_clock_changes_total",
            "Steps of the wall clock, suspends of the machine and pauses of the process.",
            ["kind"],
            registry=registry,
        )
        self.last_tick_timestamp = Gauge(
            "heartbeat_last_tick_timestamp_seconds", "When the scheduler's ticker last ticked.", registry=registry
        )

    def _start(self, registry: CollectorRegistry) -> None:
        for metric, values in (
            (self.missed_runs, sorted(MISSED_REASONS)),
            (self.clock_changes, CLOCK_CHANGES),
        ):
            for value in values:
                metric.labels(value)
        build = Gauge("heartbeat_build_info", "What is running.", ["version", "python"], registry=registry)
        build.labels(__version__, platform.python_version()).set(1)
        registry.register(_Backlogs(self))
        registry.register(_StoreErrors(self))
        registry.register(_Calls(self))
        registry.register(LatestDeployments(lambda: self.deployments()))  # noqa: PLW0108 - set later, as above
        registry.register(AccountsInUse(lambda: self.accounts()))  # noqa: PLW0108 - so is this
        overdue = Gauge(
            "heartbeat_scheduler_overdue_checks", "Checks that have not run for two of their slots.", registry=registry
        )
        overdue.set_function(lambda: self.overdue())  # noqa: PLW0108 - looked up at each scrape: the daemon sets it later
        ProcessCollector(registry=registry)

    def know_channels(self, channels: Iterable[tuple[str, str]]) -> None:
        """Start the counters of these (receiver, channel) at 0; those of channels that are gone vanish."""
        known = frozenset(channels)
        for receiver, channel in self._channels - known:
            for outcome in DELIVERY_OUTCOMES:
                self.notifications.remove(receiver, channel, outcome)
            self.dwell.remove(receiver, channel)
            with suppress(KeyError):  # it never acknowledged anything
                self.notification_success_timestamp.remove(receiver, channel)
            for outcome in REASSERTION_OUTCOMES:
                with suppress(KeyError):  # only channels that are told again and again have them
                    self.reassertions.remove(receiver, channel, outcome)
        for receiver, channel in known:
            for outcome in DELIVERY_OUTCOMES:
                self.notifications.labels(receiver, channel, outcome)
            self.dwell.labels(receiver, channel)
        self._channels = known

    def count_notification(self, to: Address, outcome: str, ages: Sequence[float]) -> None:
        """Count an attempt, and for each event that was acknowledged how many seconds ago it was decided."""
        if (to.receiver, to.channel) not in self._channels:  # it left the configuration in the meantime
            return
        self.notifications.labels(to.receiver, to.channel, outcome).inc()
        if outcome == "acknowledged":
            self.notification_success_timestamp.labels(to.receiver, to.channel).set_to_current_time()
        for age in ages:
            self.dwell.labels(to.receiver, to.channel).observe(age)

    def text(self) -> bytes:
        """Return all of them in Prometheus' text format, version 0.0.4."""
        return b"".join(self.slices())

    def slices(self) -> Iterator[bytes]:
        """Yield that text family by family: with hundreds of channels the whole takes some ten milliseconds."""
        for metric in self.registry.collect():
            yield generate_latest(_Family(metric))


class _Family(Collector):
    """One family by itself."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


class _StoreErrors(Collector):
    """Reads at each scrape what the store has counted."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        errors = CounterMetricFamily(
            "heartbeat_store_errors_total", "Operations of the store that failed.", labels=("operation",)
        )
        for operation, count in self._instruments.store_failures.items():
            errors.add_metric((operation,), count)
        yield errors


class _Backlogs(Collector):
    """Asks the outbox at each scrape, so that a channel that is gone leaves nothing behind."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        labels = ("receiver", "channel")
        pending = GaugeMetricFamily(
            "heartbeat_outbox_pending", "Deliveries that no one acknowledged yet.", labels=labels
        )
        oldest = GaugeMetricFamily(
            "heartbeat_outbox_oldest_pending_seconds",
            "Age of the oldest pending delivery, 0 without one.",
            labels=labels,
        )
        for backlog in self._instruments.backlogs():
            pending.add_metric((backlog.receiver, backlog.channel), backlog.pending)
            oldest.add_metric((backlog.receiver, backlog.channel), backlog.oldest_seconds)
        yield pending
        yield oldest


class _Calls(Collector):
    """Asks about the outside watchdog at each scrape, so that one that is not configured shows nothing."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        success = GaugeMetricFamily(
            "heartbeat_watchdog_last_success_timestamp_seconds", "When the outside watchdog last answered our call."
        )
        withheld = GaugeMetricFamily(
            "heartbeat_watchdog_withheld",
            "Whether the outside watchdog is not called, as something is wrong here.",
        )
        if calls := self._instruments.calls():
            withheld.add_metric((), calls.withheld)
            if calls.last_success is not None:
                success.add_metric((), calls.last_success)
        yield success
        yield withheld

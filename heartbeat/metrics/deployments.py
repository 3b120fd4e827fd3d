"""The latest deployment of each name, as metrics: for annotations of dashboards, and to see which version is out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from heartbeat.core.deployment import Deployment


class LatestDeployments(Collector):
    """Asks for the latest deployment of each name at each scrape: one that is over vanishes with the next."""

    def __init__(self, latest: Callable[[], Iterable[Deployment]]) -> None:
        self._latest = latest

    def describe(self) -> Iterable[Metric]:
        """Return nothing: what there is depends on what was deployed."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield both families."""
        times = GaugeMetricFamily(
            "heartbeat_deployment_timestamp_seconds",
            "When the latest deployment of a name began, and when it was over.",
            labels=("deployment", "event"),
        )
        info = GaugeMetricFamily(
            "heartbeat_deployment_info",
            "The latest deployment of a name: its version and how it stands.",
            labels=("deployment", "version", "state"),
        )
        for one in self._latest():
            times.add_metric((one.name, "start"), one.start)
            if one.ended is not None:
                times.add_metric((one.name, "end"), one.ended)
            info.add_metric((one.name, one.version, one.state.value), 1)
        yield times
        yield info

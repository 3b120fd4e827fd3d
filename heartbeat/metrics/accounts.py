"""The test accounts as metrics, asked for at each scrape: one that left the configuration vanishes with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class Use:
    """How it stands with one account: whether a run has it, how many wait, and which slots are refused."""

    account: str
    is_taken: bool
    waiting: int
    refused: Mapping[str, bool]


class AccountsInUse(Collector):
    """Asks how it stands with the accounts."""

    def __init__(self, uses: Callable[[], Iterable[Use]]) -> None:
        self._uses = uses

    def describe(self) -> Iterable[Metric]:
        """Return nothing: what there is depends on the configuration."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        taken = GaugeMetricFamily(
            "heartbeat_account_leased", "Whether a run has the test account to itself now.", labels=("account",)
        )
        waiting = GaugeMetricFamily(
            "heartbeat_account_leases_waiting", "Runs that wait for the test account.", labels=("account",)
        )
        refused = GaugeMetricFamily(
            "heartbeat_account_credential_refused",
            "Whether the target refused these credentials of the test account when they were last tried.",
            labels=("account", "slot"),
        )
        for use in self._uses():
            taken.add_metric((use.account,), use.is_taken)
            waiting.add_metric((use.account,), use.waiting)
            for slot, is_refused in use.refused.items():
                refused.add_metric((use.account, slot), is_refused)
        yield from (taken, waiting, refused)

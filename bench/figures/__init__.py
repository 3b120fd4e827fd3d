"""The figures in groups: each module measures one, and returns the rows of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench.bench import Bench
from bench.figures import accuracy, alerting, cpu, lateness, memory, reports, scale, throughput
from bench.table import Row

GROUPS: Mapping[str, Callable[[Bench], Sequence[Row]]] = {
    "cpu": cpu.measure,
    "throughput": throughput.measure,
    "memory": memory.measure,
    "accuracy": accuracy.measure,
    "lateness": lateness.measure,
    "scale": scale.measure,
    "alerting": alerting.measure,
    "reports": reports.measure,
}
"""By the name that ``--only`` takes, in the order in which they are measured."""

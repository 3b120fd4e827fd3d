"""How the pure parts are timed: beside a yardstick, so that a slow machine needs no looser bounds."""

from __future__ import annotations

from collections.abc import Callable
from timeit import Timer
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

YARDSTICK_US = 7.0
"""What the yardstick takes on the machine whose microseconds the bounds are."""
REPEATS = 15
SLICE = 0.002
"""Seconds of one repeat; the best of all counts, in which nobody else had the core."""


def yardstick() -> str:
    """Do a bit of everything that the pure parts do: calls, dicts, tuples, text."""
    kept = {f"key{number}": (number, str(number)) for number in range(24)}
    return ",".join(f"{name}={pair[1]}" for name, pair in kept.items() if pair[0] % 3)


def best_of(work: Callable[[], object]) -> float:
    """Return the microseconds of the fastest repeat."""
    timer = Timer(work)
    once = min(timer.repeat(5, 1))
    number = max(1, int(SLICE / max(once, 1e-7)))
    return min(timer.repeat(REPEATS, number)) / number * 1e6


@pytest.fixture
def takes(benchmark: BenchmarkFixture) -> Callable[..., None]:
    """Hold a function against its bound in microseconds.

    pytest-benchmark switches itself off beside pytest-xdist, and so in `make test`: the best of several repeats
    is taken then. `make bench-pure` shows its table.
    """

    def measure(at_most: float, work: Callable[..., Any], *arguments: Any) -> None:
        benchmark(work, *arguments)
        table = benchmark.stats
        best = best_of(lambda: work(*arguments)) if table is None else table.stats.min * 1e6
        slowness = max(1.0, best_of(yardstick) / YARDSTICK_US)
        assert best <= at_most * slowness, f"{best:.2f} us, on a machine {slowness:.1f} times slower than the bounds'"

    return measure

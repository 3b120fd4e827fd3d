"""Baselines: what a check measured before, and whether it has become clearly slower since.

The rule: of a check that ran often enough then and now, the median duration is compared, as it is not moved by a few
slow runs. It is slower where three things hold:

* the notches of the two medians do not overlap. A notch reaches 1.57 times the interquartile range, divided by the
  root of the number of runs, to both sides (McGill, Tukey, Larsen: "Variations of Box Plots", The American Statistician
  32, 1978): two medians whose notches are apart differ at about 95 % confidence, whatever the distribution;
* it grew by more than a share: 25 %, the tolerance within which Kayenta, Netflix's judge of canaries, takes two series
  for the same (``NetflixACAJudge``), is a warning; twice as slow is a failure;
* it grew by more than anyone would notice: 20 ms for a warning, 100 ms for a failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from heartbeat.core.limits import show
from heartbeat.core.model import Finding, Severity
from heartbeat.core.sketch import rank_of

ENOUGH = 5
"""Good runs that both sides need."""
NOTCH = 1.57
GROWTH = ((Severity.FAIL, 2.0, 0.100), (Severity.WARN, 1.25, 0.020))
"""From which growth on it is how bad: the share, and seconds."""
DURATION = "duration"


@dataclass(frozen=True, slots=True)
class Spread:
    """How values are spread: how many there are, and their quantiles, each the value at the nearest rank."""

    n: int
    p25: float
    p50: float
    p75: float
    p95: float

    @property
    def notch(self) -> float:
        """How far the median may be from the true one, to both sides."""
        return NOTCH * (self.p75 - self.p25) / sqrt(self.n)


Measured = Mapping[str, Spread]
"""How ``duration``, each ``phase.NAME`` and each measurement of a check are spread."""


def spread_of(values: Sequence[float]) -> Spread:
    """Return how values are spread; they are not empty."""
    ordered = sorted(values)
    return Spread(len(ordered), *(ordered[rank_of(share, len(ordered)) - 1] for share in (0.25, 0.5, 0.75, 0.95)))


def compare(now: Measured, before: Measured) -> Finding | None:
    """Return what is clearly slower than it was, or None."""
    new, old = now.get(DURATION), before.get(DURATION)
    if new is None or old is None or min(new.n, old.n) < ENOUGH:
        return None
    severity = _slower(new, old)
    if not severity:
        return None
    phase = _grown_most(now, before, new.p50 - old.p50)
    observed = f"{show(new.p50, 's')} in {new.n} runs{phase and f' (most of it in {phase})'}"
    expected = f"was {show(old.p50, 's')} in the baseline's {old.n} runs"
    return Finding("the median duration", severity, expected, observed)


def why_not_compared(now: Measured, before: Measured | None) -> str:
    """Say why there is nothing to compare, or nothing."""
    if before is None:
        return "not in the baseline"
    few = [side for side, one in (("here", now), ("in the baseline", before)) if _runs(one) < ENOUGH]
    return f"not compared: fewer than {ENOUGH} good runs {' and '.join(few)}" if few else ""


def _runs(measured: Measured) -> int:
    return measured[DURATION].n if DURATION in measured else 0


def _slower(new: Spread, old: Spread) -> Severity:
    if new.p50 - new.notch <= old.p50 + old.notch:
        return Severity.OK
    grown = (level for level, ratio, floor in GROWTH if new.p50 > ratio * old.p50 and new.p50 - old.p50 > floor)
    return next(grown, Severity.OK)


def _grown_most(now: Measured, before: Measured, growth: float) -> str:
    """Return the phase that makes up more than half of the growth, if there is one."""
    grown = {
        name.removeprefix("phase."): spread.p50 - before[name].p50
        for name, spread in now.items()
        if name.startswith("phase.") and name in before
    }
    most = max(grown, key=grown.__getitem__, default="")
    return most if most and grown[most] > growth / 2 else ""

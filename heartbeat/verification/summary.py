"""What a verification comes to: every check assessed, against the baseline too, and one verdict over all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from heartbeat.core.baseline import Measured, compare, why_not_compared
from heartbeat.core.gate import Assessment, Grade, Required, assess, is_measured, spreads_of, worst
from heartbeat.core.model import NOTHING
from heartbeat.core.units import format_duration
from heartbeat.verification.terms import Terms
from heartbeat.verification.trial import Stage, Trial

Baseline = Mapping[str, Measured]
"""What each check measured before, by name."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A check and what it comes to."""

    trial: Trial
    assessment: Assessment

    @property
    def seconds(self) -> float:
        """How long its runs took together."""
        return sum(look.result.duration for look in self.trial.looks)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a verification comes to.

    Attributes:
        checks: all of them, in the order of the configuration.
        faults: why nothing is proven as a whole, such as a requirement that nothing could be held against.
        began: when, in seconds since the epoch.
        took: how long, in seconds.
        interrupted: by what it was ended before it was done; nothing where it was done.
        required: what was required, as written.
        targets: the targets that were replaced.
        off: the names of the checks that did not run, as they are switched off, and why.
    """

    checks: tuple[Judged, ...]
    faults: tuple[str, ...] = ()
    began: float = 0.0
    took: float = 0.0
    interrupted: str = ""
    required: tuple[str, ...] = ()
    targets: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    off: Mapping[str, str] = field(default_factory=lambda: NOTHING)

    @property
    def grade(self) -> Grade:
        """The verdict over all."""
        grades = [one.assessment.grade for one in self.checks]
        return worst([*grades, *(Grade.BROKEN for _ in self.faults)])


def conclude(
    trials: Iterable[Trial], terms: Terms, baseline: Baseline | None = None, elsewhere: Sequence[str] = ()
) -> tuple[tuple[Judged, ...], tuple[str, ...]]:
    """Return what each check comes to, and what is wrong with the whole.

    Args:
        trials: the checks with their runs.
        terms: what was asked for.
        baseline: what was measured before; None where nothing is compared.
        elsewhere: names of the checks that were run where they are configured although targets were replaced.
    """
    trials = tuple(trials)
    judged = tuple(_judge(trial, terms, baseline, elsewhere) for trial in trials)
    return judged, tuple(_unmeasured(trials, terms.required))


def _judge(trial: Trial, terms: Terms, baseline: Baseline | None, elsewhere: Sequence[str]) -> Judged:
    finding, notes = None, ["run where it is configured: it refers to no replaced target"] * (trial.name in elsewhere)
    if trial.before:
        notes.append(f"healthy after {trial.before} run{'s' if trial.before > 1 else ''} that did not count")
    if baseline is not None and trial.stage is not Stage.TOO_LATE:
        now, before = spreads_of(trial.looks), baseline.get(trial.name)
        finding = compare(now, before) if before is not None else None
        notes += filter(None, [why_not_compared(now, before)])
    if trial.stage is Stage.TOO_LATE:
        return Judged(trial, _too_late(trial, terms))
    found = assess(trial.looks, terms.required, trial.pace, (finding,) if finding else ())
    if found.grade is not Grade.FAILED and (trial.broke or trial.stage is not Stage.DONE):
        found = replace(found, grade=Grade.BROKEN, sentence=trial.broke or "interrupted before it was done")
    return Judged(trial, replace(found, notes=(*found.notes, *notes)))


def _too_late(trial: Trial, terms: Terms) -> Assessment:
    """Assess a check that did not become healthy: it is bad, unless its runs said nothing of the target."""
    latest, within = trial.latest, format_duration(terms.patience)
    if trial.broke or latest is None:
        return Assessment(Grade.BROKEN, trial.broke or f"no run came to its end within {within}")
    status = trial.live.status
    grade = Grade.BROKEN if latest.says_nothing and not status.fail else Grade.FAILED
    why = latest.verdict.sentence or status.sentence or "its policy asks for more good runs in a row"
    return Assessment(grade, f"was not healthy within {within}: {why}", shown=latest)


def _unmeasured(trials: tuple[Trial, ...], required: Required) -> Iterable[str]:
    """Yield a sentence for each requirement that no check measured anything for: it would prove nothing."""
    if not any(trial.looks for trial in trials):
        return
    for limit in (*required.each, *required.whole):
        if not any(is_measured(limit, trial.looks, trial.pace) for trial in trials):
            yield f'no check measured what "{limit.key.removesuffix(" (required)")}" is required of'

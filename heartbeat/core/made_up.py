"""Results made up from the words of a script, so that the check's own limits judge them as any other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from heartbeat.core.limits import AVAILABILITY, COUNT, Bound, Limit, is_time
from heartbeat.core.model import Outcome, Reason, Result, Severity
from heartbeat.core.script import Act

USUAL = 0.1
"""Seconds that a run takes where nothing says otherwise."""
CHANGES = frozenset({"rate", "delta"})
"""Aggregates that are of another size than the values."""
_OUTCOMES = {"fail": Outcome.FAIL, "error": Outcome.ERROR}
_REASONS = {"fail": Reason.CONNECT, "error": Reason.PLUGIN}
_SENTENCES = {
    Reason.RESOLVE: "the name does not resolve",
    Reason.CONNECT: "connection refused",
    Reason.TLS: "the TLS handshake failed",
    Reason.CERTIFICATE: "the certificate has expired",
    Reason.TIMEOUT: "no answer in time",
    Reason.RESET: "connection reset",
    Reason.STATUS: "it answered 503",
    Reason.CONTENT: "the answer is another",
    Reason.AUTH: "the login was refused",
    Reason.PLUGIN: "the plugin raised an exception",
    Reason.CONFIG: "an option is wrong",
    Reason.ACCOUNT: "the test account is locked",
    Reason.RESOURCE: "out of file descriptors",
    Reason.NETWORK: "there is no network here",
}


def make_up(act: Act, limits: tuple[Limit, ...], timeout: float) -> Result:
    """Return what a run found, as a script says it.

    What is well measured everything that the limits ask for, at values that suit them; what the script says comes
    before that. Raises ``ValueError`` where no measurement would only warn.
    """
    if act.verb in _OUTCOMES:
        reason = act.reason or _REASONS[act.verb]
        duration = timeout if reason is Reason.TIMEOUT else USUAL
        sentence = _SENTENCES.get(reason, f"it did not go well ({reason})")
        return _measure(Result(_OUTCOMES[act.verb], duration, reason, sentence), dict(act.values))
    values: dict[str, float | None] = dict(_well(limits))
    if act.verb == "warn":
        values |= _warning(limits)
    return _measure(Result(Outcome.OK, USUAL), values | dict(act.values))


def _well(limits: tuple[Limit, ...]) -> Iterator[tuple[str, float]]:
    """Yield a value for each measure that suits all its limits, also those that did not hold before."""
    judged = [limit for limit in limits if limit.aggregate not in (AVAILABILITY, COUNT)]
    for measure in dict.fromkeys(limit.measure for limit in judged):
        bounds = tuple(bound for limit in judged if limit.measure == measure and limit.aggregate not in CHANGES
                       for bound in limit.bounds)  # fmt: skip
        fits = (value for value in _candidates(bounds, measure) if all(bound.cleared_by(value) for bound in bounds))
        yield measure, next(fits, USUAL)


def _warning(limits: tuple[Limit, ...]) -> dict[str, float]:
    """Return a measurement that breaks a limit which only warns."""
    for limit in limits:
        for value in () if limit.window else _candidates(limit.bounds, limit.measure):
            broken = [bound.severity for bound in limit.bounds if bound.broken_by(value)]
            if broken and max(broken) is Severity.WARN:
                return {limit.measure: value}
    raise ValueError("no limit of this check only warns: say what it measured, as in ok(duration=2s), or use fail")


def _candidates(bounds: tuple[Bound, ...], measure: str) -> Iterator[float]:
    """Yield values that lie on all sides of bounds, the usual ones first."""
    sides = {side for one in bounds for side in (one.above, one.below, one.clear_above, one.clear_below)}
    edges = sorted(side for side in sides if side is not None)
    yield USUAL if is_time(measure) else 1.0
    yield from ((low + high) / 2 for low, high in pairwise(edges))
    yield from (edge * factor for edge in edges for factor in (1.5, 0.5, 0.25, 3.0))
    yield from (0.0, *(edge + step for edge in edges for step in (1.0, -1.0)))


def _measure(result: Result, values: dict[str, float | None]) -> Result:
    """Put values where the limits look for them; None takes one away."""
    known = {name: value for name, value in values.items() if value is not None}
    phases = {name.removeprefix("phase."): known.pop(name) for name in tuple(known) if name.startswith("phase.")}
    return replace(result, duration=known.pop("duration", result.duration), phases=phases, measurements=known)

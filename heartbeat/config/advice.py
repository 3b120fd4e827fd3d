"""What is legal in a configuration but hardly meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice, pairwise
from time import time
from zoneinfo import ZoneInfo

from cronsim import CronSim

from heartbeat.config.advice_of_limits import about_limits, can_warn
from heartbeat.config.model import FALLBACK, CheckConfig, Config
from heartbeat.config.notify import WORDS
from heartbeat.core.model import Kind, Severity
from heartbeat.core.objectives import lines_of
from heartbeat.core.policy import Routes
from heartbeat.core.quiet import OWN, Span, covers
from heartbeat.core.schedule import Cron
from heartbeat.core.units import format_duration
from heartbeat.filled import accounts_of

SLOTS = 100
"""How many runs ahead a cron expression is looked at."""

Keys = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing that works but hardly does what its author hoped.

    ``rule`` names what kind of thing it is and stays the same over releases. ``spots`` are the keys down to it, the
    likeliest first: what holds for a check may stand in the check or in the defaults.
    """

    rule: str
    subject: str
    sentence: str
    spots: tuple[Keys, ...] = ()

    def __str__(self) -> str:
        return f"{self.subject}: {self.sentence}" if self.subject else self.sentence


Found = tuple[str, str, Keys]
"""Rule, sentence and the keys below the check that it is about."""


def advise(config: Config, now: float | None = None) -> tuple[Advice, ...]:
    """Return what there is to say of a configuration.

    Args:
        config: the configuration.
        now: seconds since the epoch; the clock's if left out.
    """
    at = time() if now is None else now
    return (
        *_about_checks(config, at),
        *_about_words(config),
        *_about_drills(config),
        *_about_maintenance(config, at),
        *_about_receivers(config),
        *_about_accounts(config),
    )


def warnings(config: Config, now: float | None = None) -> tuple[str, ...]:
    """Return the same as ``advise``, a sentence for each."""
    return tuple(map(str, advise(config, now)))


def _about_checks(config: Config, now: float) -> Iterator[Advice]:
    """Yield what there is to say of checks; what is true of many is said once."""
    if not config.checks:
        yield Advice("no-checks", "", "there are no checks", (("checks",),))
    found: dict[Found, list[CheckConfig]] = {}
    for check in config.checks.values():
        for one in _about_check(check, config, now):
            found.setdefault(one, []).append(check)
    for (rule, sentence, keys), (first, *rest) in found.items():
        subject = f"checks.{first.name} and {len(rest)} more" if rest else f"checks.{first.name}"
        written = ("checks", first.family or first.name)
        yield Advice(rule, subject, sentence, ((*written, *keys), ("defaults", *keys), written))


def _about_check(check: CheckConfig, config: Config, now: float) -> Iterator[Found]:
    yield from _about_routes(check)
    yield from _about_policy(check)
    yield from _about_schedule(check, now)
    yield from about_limits(check)
    yield from _about_objective(check)
    yield from _about_dependencies(check, config)


def _about_routes(check: CheckConfig) -> Iterator[Found]:
    routes = check.notify
    if not routes.everyone:
        yield "told-to-nobody", "notifies nobody; its failures show only in metrics and on the page", ("notify",)
        return
    if unheard := [word for word in _words_of(check) if not _told(routes, word)]:
        sentence = f"nobody is told of {' and '.join(unheard)}; name receivers for it, or otherwise: for the rest"
        yield "severity-without-receiver", sentence, ("notify",)
    if routes.usual and dict(routes.apart).keys() >= set(WORDS):
        sentence = "notify.otherwise has no effect: all that can be told is told apart"
        yield "unreachable-route", sentence, ("notify", "otherwise")
    if check.policy.escalate is not None:
        knowing = set(_told(routes, Severity.FAIL.word))
        if not routes.escalation:
            yield "escalates-in-vain", "escalates to nobody: name receivers in to:", ("escalate", "to")
        elif knowing.issuperset(routes.escalation):
            sentence = f"escalates to {' and '.join(routes.escalation)}, who know already"
            yield "escalates-in-vain", sentence, ("escalate", "to")


def _told(routes: Routes, word: str) -> tuple[str, ...]:
    """Return who is told of what goes by a word: that of a severity, or of a kind of event that has none."""
    for severity in (Severity.WARN, Severity.FAIL):
        if word == severity.word:
            return routes.named(Kind.RAISED, severity)
    return routes.named(Kind(word), Severity.OK)


def _words_of(check: CheckConfig) -> Iterator[str]:
    """Yield the words of what can be told of a check, but for those that go by severity unless they are named."""
    yield Severity.FAIL.word
    if can_warn(check):
        yield Severity.WARN.word
    yield Kind.CHECK_BROKEN
    if check.policy.missed is not None:
        yield Kind.MISSED


def _about_policy(check: CheckConfig) -> Iterator[Found]:
    policy = check.policy
    if policy.remind is not None and policy.hold >= policy.remind:
        hold, remind = format_duration(policy.hold), format_duration(policy.remind)
        sentence = f"is held back for {hold}, longer than it takes to the first reminder ({remind})"
        yield "held-too-long", sentence, ("policy", "hold")
    if policy.recheck is not None and policy.interval is not None and policy.recheck >= policy.interval:
        sentence = f"recheck has no effect: the next run comes sooner than {format_duration(policy.recheck)}"
        yield "recheck-too-late", sentence, ("policy", "recheck")


def _about_schedule(check: CheckConfig, now: float) -> Iterator[Found]:
    """Yield where a run may not be over when the next is due; with ``every`` that is a mistake."""
    if isinstance(check.schedule, Cron):
        gap = _shortest_gap(check.schedule.expression, check.schedule.timezone, now // 86400)
        if gap < check.timeout:
            long, short = format_duration(check.timeout), format_duration(gap)
            sentence = f"the timeout ({long}) is longer than the shortest time between two runs ({short})"
            yield "interval-shorter-than-timeout", sentence, ("timeout",)


@lru_cache(maxsize=256)
def _shortest_gap(expression: str, timezone: str, day: float) -> float:
    """Return the shortest time between two of the next slots, in seconds."""
    start = datetime.fromtimestamp(day * 86400, UTC).astimezone(ZoneInfo(timezone))
    times = [one.timestamp() for one in islice(CronSim(expression, start), SLOTS)]
    return min((later - sooner for sooner, later in pairwise(times)), default=float("inf"))


def _about_objective(check: CheckConfig) -> Iterator[Found]:
    every, objective = check.policy.interval, check.objective
    if objective is None:
        return
    for burn in lines_of(objective):
        if every is not None and burn.short < every:
            seen, short = format_duration(burn.long), format_duration(burn.short)
            sentence = (
                f"runs too rarely to see its error budget burn within {seen}: often no run is in the last {short}"
            )
            yield "objective-too-fine", sentence, ("objective",)


def _about_dependencies(check: CheckConfig, config: Config) -> Iterator[Found]:
    for name in check.depends_on:
        parent = config.checks[name]
        every, own = parent.policy.interval, check.policy.interval
        if not parent.notify.everyone:
            sentence = f"depends on {name} in vain: nobody is told of that, so it explains nothing"
            yield "dependency-in-vain", sentence, ("depends_on",)
        elif not _told(parent.notify, Severity.FAIL.word):
            sentence = f"depends on {name}, and nobody is told when that fails: then nobody is told of either"
            yield "dependency-hides", sentence, ("depends_on",)
        if every is not None and own is not None and every > own:
            sentence = f"depends on {name}, which runs more rarely (every {format_duration(every)})"
            yield "dependency-too-rare", sentence, ("depends_on",)


def _about_words(config: Config) -> Iterator[Advice]:
    """Yield the words of ``notify`` by which nothing can ever be told."""
    useless = {
        Severity.WARN.word: (lambda check: not can_warn(check) and not check.objective, "a limit with warn:"),
        Kind.MISSED.value: (lambda check: check.policy.missed is None, "missed: other than never in its policy"),
        Kind.FLAPPING.value: (lambda check: check.policy.flapping is None, "flapping: other than never in its policy"),
        Kind.BUDGET_BURNING.value: (lambda check: check.objective is None, "an objective"),
        Kind.REMINDER.value: (lambda check: check.policy.remind is None, "remind: in its policy"),
    }
    for word, (is_useless, what) in useless.items():
        naming = [check for check in config.checks.values() if dict(check.notify.apart).get(word)]
        if naming and all(map(is_useless, naming)):
            keys = ("notify", word)
            spots = (*(("checks", check.family or check.name, *keys) for check in naming), ("defaults", *keys))
            sentence = f"has no effect: no check that it holds for has {what}"
            yield Advice("unreachable-route", "", f"notify.{word} {sentence}", spots)


def _about_drills(config: Config) -> Iterator[Advice]:
    for drill in config.drills:
        if set(drill.alert) == {drill.receiver}:
            sentence = f"when {drill.receiver} cannot be reached, only that receiver is told; name another in alert"
            yield Advice("drill-tells-itself", "drill", sentence, (("drill", "alert"), ("drill",)))


def _about_maintenance(config: Config, now: float) -> Iterator[Advice]:
    for one in config.maintenance:
        subject, spots = f"maintenance.{one.name}", (("maintenance", one.name),)
        if isinstance(one.when, Span) and one.when.end <= now:
            yield Advice("maintenance-over", subject, "is over; take it out", spots)
        is_own = any(name.startswith(OWN) for name in (*one.matcher.checks, *one.matcher.types))
        checks = config.checks.values()
        if not is_own and not any(covers(one.matcher, check.name, check.type, check.labels) for check in checks):
            yield Advice("maintenance-of-nothing", subject, "covers no check", spots)


def _about_receivers(config: Config) -> Iterator[Advice]:
    used = {*config.self_notify, FALLBACK, *_all(check.notify.everyone for check in config.checks.values())}
    used |= _all((drill.receiver, *drill.alert) for drill in config.drills)
    for name in config.receivers:
        if name not in used:
            yield Advice("unreachable-route", f"receivers.{name}", "nothing sends to it", (("receivers", name),))
    if config.receivers and not config.self_notify:
        sentence = "nobody is told when Heartbeat itself is in trouble"
        yield Advice("self-told-to-nobody", "self_notify", sentence, (("self_notify",), ("receivers",)))


def _about_accounts(config: Config) -> Iterator[Advice]:
    """Yield the accounts that no check refers to; there may be types that ask for one by its name alone."""
    used = _all(tuple(accounts_of(check.check)) for check in config.checks.values()) if config.accounts else set()
    for name in config.accounts:
        if name not in used:
            sentence = f"no check refers to it, as by ${{accounts.{name}.{config.accounts[name].current.fields[0]}}}"
            yield Advice("account-unused", f"accounts.{name}", sentence, (("accounts", name),))


def _all(several: Iterable[tuple[str, ...]]) -> set[str]:
    return {name for names in several for name in names}

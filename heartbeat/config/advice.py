"""What is legal in a configuration but hardly meant."""

from __future__ import annotations

from collections.abc import Iterator

from heartbeat.config.model import FALLBACK, CheckConfig, Config
from heartbeat.core.units import format_duration


def warnings(config: Config) -> tuple[str, ...]:
    """Return a sentence for each thing that works but hardly does what its author hoped."""
    return (*_about_checks(config), *_about_drills(config), *_about_receivers(config))


def _about_checks(config: Config) -> Iterator[str]:
    if not config.checks:
        yield "there are no checks"
    for check in config.checks.values():
        if not check.notify:
            yield f"checks.{check.name}: notifies nobody; its failures show only in metrics and on the page"
        yield from (f"checks.{check.name}: {found}" for found in _about_limits(check))


def _about_limits(check: CheckConfig) -> Iterator[str]:
    for limit in check.limits:
        if limit.measure == "duration" or limit.measure.startswith("phase."):
            for bound in limit.bounds:
                if bound.above is not None and bound.above >= check.timeout:
                    bound_is = format_duration(bound.above)
                    yield f"the limit {limit.measure} above {bound_is} is never reached: the timeout comes first"


def _about_drills(config: Config) -> Iterator[str]:
    for drill in config.drills:
        if set(drill.alert) == {drill.receiver}:
            yield f"drill: when {drill.receiver} cannot be reached, only that receiver is told; name another in alert"


def _about_receivers(config: Config) -> Iterator[str]:
    used = {name for check in config.checks.values() for name in check.notify} | {*config.self_notify, FALLBACK}
    used |= {name for drill in config.drills for name in (drill.receiver, *drill.alert)}
    for name in config.receivers:
        if name not in used:
            yield f"receivers.{name}: nothing sends to it"
    if config.receivers and not config.self_notify:
        yield "self_notify: nobody is told when Heartbeat itself is in trouble"

"""When checks run, in the configuration: every so often, or as a cron expression says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from heartbeat.config.reading import Spot, Wrong, text
from heartbeat.core.schedule import Cron, Interval, Schedule
from heartbeat.core.units import format_duration

EVERY = 60.0
TIMEOUT = 10.0


def timing(
    spot: Spot, entries: Mapping[str, Spot], given: Mapping[str, Any], defaults: Mapping[str, Any]
) -> tuple[Schedule, float]:
    """Return when a check runs and how long it may take."""
    if "cron" in entries:
        if "every" in entries:
            entries["cron"].wrong("every and cron exclude each other; keep one", entries["cron"].key)
        timeout = given.get("timeout", defaults.get("timeout", TIMEOUT))
        return Cron(given.get("cron", ""), given.get("timezone", "UTC")), timeout
    if "timezone" in entries:
        entries["timezone"].wrong("has no effect without cron", entries["timezone"].key)
    every = given.get("every", defaults.get("every", EVERY))
    timeout = given.get("timeout", defaults.get("timeout", min(TIMEOUT, every)))
    if timeout > every:
        culprit = entries.get("timeout") or entries.get("every") or spot
        culprit.wrong(f"the timeout ({format_duration(timeout)}) is longer than every ({format_duration(every)})")
    return Interval(every), timeout


def cron(spot: Spot) -> str:
    """Read a cron expression of five fields."""
    value = text(spot)
    try:
        if len(value.split()) != 5:
            raise Wrong("must have five fields: minute, hour, day of month, month, day of week")
        next(CronSim(value, datetime(2024, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        raise Wrong(f"is no cron expression: {error}") from None
    except StopIteration:
        raise Wrong("never comes") from None
    return value


def timezone(spot: Spot) -> str:
    """Read the name of a time zone."""
    value = text(spot)
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise Wrong(f"there is no time zone {spot.shown()}; write it like Europe/Stockholm") from None
    return value

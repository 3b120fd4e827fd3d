"""Drills in the configuration: one, or a list of them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from heartbeat.config.model import Drill
from heartbeat.config.problem import nearest, quoted
from heartbeat.config.reading import Reader, Spot, Wrong, attempt, duration, fields, name
from heartbeat.config.timing import cron, timezone
from heartbeat.core.schedule import Cron

_OTHER_WORDS = {"to": "receiver", "notify": "alert", "raise_to": "alert", "schedule": "cron", "tz": "timezone"}


def read_drills(spot: Spot, known: Iterable[str], notify: Reader, self_notify: tuple[str, ...]) -> tuple[Drill, ...]:
    """Read one drill, or a list of drills.

    Args:
        spot: the value of ``drill``.
        known: the names of the receivers.
        notify: what reads a list of them.
        self_notify: who hears of a drill that failed, where it does not say so itself.
    """
    spots = spot.items() if isinstance(spot.node.value, list) else [spot]
    found: dict[str, Drill] = {}
    for one in spots:
        drill = attempt(one, partial(_drill, known=tuple(known), notify=notify, self_notify=self_notify))
        if drill is not None and drill.receiver in found:
            one.wrong(f"there is already a drill of {quoted(drill.receiver)}; give one cron expression that has both")
        elif drill is not None:
            found[drill.receiver] = drill
    return tuple(found.values())


def _drill(spot: Spot, *, known: tuple[str, ...], notify: Reader, self_notify: tuple[str, ...]) -> Drill | None:
    def receiver(child: Spot) -> str:
        value = name(child)
        if value not in known:
            raise Wrong(f'there is no receiver "{value}"{nearest(value, known)}')
        return value

    entries, before = spot.entries(), len(spot.problems)
    readers = {"receiver": receiver, "cron": cron, "timezone": timezone, "within": duration(10.0), "alert": notify}
    given = fields(spot, readers, _OTHER_WORDS)
    for key in ("receiver", "cron"):
        if key not in entries:
            spot.wrong(f"needs {quoted(key)}")
    if len(spot.problems) > before:
        return None
    given.setdefault("alert", self_notify)
    if not given["alert"]:
        raise Wrong("nobody would hear of a drill that failed; name receivers in alert: or in self_notify: at the top")
    schedule = Cron(given.pop("cron"), given.pop("timezone", "UTC"))
    return Drill(schedule=schedule, **given)

"""What a simulation is played with: stand-ins for whatever would act, and slots that follow one another."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field, replace
from types import coroutine

from heartbeat.config.model import CheckConfig
from heartbeat.core.model import Delivery
from heartbeat.core.schedule import Interval
from heartbeat.line import Line
from heartbeat.state import State
from heartbeat.store import Entry
from heartbeat.timetable import next_cron_time


@dataclass(frozen=True, slots=True)
class Hands:
    """The clock: it stands where the story is."""

    now: Callable[[], float]

    def steady(self) -> float:
        """Return seconds that nobody sets back."""
        return self.now()


@dataclass(frozen=True, slots=True)
class Paper:
    """The store: it shows what it is given, and is never waited for."""

    note: Callable[[Entry], None]

    def write(self, entry: Entry) -> None:
        """Take what would be recorded."""
        self.note(entry)


class Letters:
    """The outbox: nothing travels together, and nothing leaves."""

    def assign(self, deliveries: Iterable[Delivery]) -> tuple[Delivery, ...]:
        """Return what would be sent, each message by itself."""
        return tuple(deliveries)


@dataclass(slots=True)
class Timetable:
    """Dispatch and scheduler, for what looks for checks that do not run: ``planned`` has those whose slots pass."""

    line: Line
    state: State
    planned: dict[str, float] = field(default_factory=dict)
    overloaded_at: float | None = None
    awake_since: float = 0.0


@coroutine
def pause(_: Line, seconds: float) -> Generator[float, None, None]:
    """Hand over to the simulation until that time has passed."""
    yield seconds


def paced(check: CheckConfig, every: float | None) -> CheckConfig:
    """Return a check that runs every so many seconds, where that is given."""
    if every is None:
        return check
    policy, timeout = replace(check.policy, interval=every), min(check.timeout, every)
    return replace(check, schedule=Interval(every), policy=policy, timeout=timeout)


def first_slot(check: CheckConfig, start: float) -> float:
    """Return when a check runs first in a story that begins at a time."""
    return start if isinstance(check.schedule, Interval) else next_cron_time(check.schedule, start - 1e-3)


def next_slot(check: CheckConfig, slot: float) -> float:
    """Return the slot that follows one."""
    if isinstance(check.schedule, Interval):
        return round(slot + check.schedule.seconds, 3)
    return next_cron_time(check.schedule, slot)

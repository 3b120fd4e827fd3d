"""Absence: checks that have not run for as many of their slots as their policy allows. Only a run ends it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from heartbeat.config.model import CheckConfig
from heartbeat.core.advance import Absence
from heartbeat.core.model import Reason
from heartbeat.core.schedule import Cron, next_slot
from heartbeat.core.times import lasting, readable
from heartbeat.dispatch import Dispatch
from heartbeat.scheduler import Scheduler
from heartbeat.state import Live
from heartbeat.timetable import next_cron_time

SLACK = 5.0
"""Seconds beyond the last slot and the timeout of a run, for a busy machine."""
AT_ONCE = 200
"""Checks that are looked at in each second, and more where there are more than a thousand: each in five seconds."""
ROUND = 5
CRONS_AT_ONCE = 10
"""Cron expressions that are worked out in each second: one takes a tenth of a millisecond and more."""
WHY = {
    Reason.BUSY: "because its last run has not ended",
    Reason.OVERLOAD: "because as many runs are under way as 'concurrency' allows",
    Reason.LATE: "and nothing says why: this machine may be too busy",
}


class Absences:
    """Looks for checks that do not run, at some of them in each second."""

    def __init__(self, dispatch: Dispatch, scheduler: Scheduler) -> None:
        self._dispatch = dispatch
        self._scheduler = scheduler
        self._next = 0
        self._crons: dict[str, tuple[float, tuple[float, ...]]] = {}
        """The slots of cron expressions after the latest run, which comes with them."""
        self._left = 0
        self._well: dict[str, tuple[CheckConfig, float]] = {}
        """Until when, on the steady clock, a check cannot be absent whatever happens, as it ran: it costs too much to
        work that out again and again for ten thousand."""

    def find(self) -> Iterator[tuple[Live, Absence]]:
        """Yield the checks that turn out not to run, and what is to be said of it. Never during a stop."""
        line, checks = self._dispatch.line, self._dispatch.state.checks
        if line.closing.is_set():
            return
        count = max(AT_ONCE, len(checks) // ROUND + 1)
        begin, self._next = self._next, self._next + count if self._next + count < len(checks) else 0
        self._left, now, awake = CRONS_AT_ONCE, line.clock.now(), self._dispatch.awake_since
        planned, steady, well = self._scheduler.planned, line.clock.steady(), self._well
        if begin == 0 and len(well) > len(checks):
            self._well = well = {name: known for name, known in well.items() if name in checks}
        for name, live in tuple(islice(checks.items(), begin, begin + count)):
            known = well.get(name)
            if known is not None and steady < known[1] and live.config is known[0]:
                continue
            missed = live.config.policy.missed
            if missed is None or live.status.absent is not None or name not in planned:  # switched off, for one
                continue
            latest = max(live.last_run or 0.0, planned[name], awake)
            left = latest + missed * (live.config.policy.interval or 60.0) - now
            if left >= 0:
                well[name] = live.config, steady + left
            elif found := self._absence(live, latest, missed, now):
                yield live, found

    def _absence(self, live: Live, latest: float, missed: int, now: float) -> Absence | None:
        config = live.config
        slots = self._slots(live, latest, missed)
        if not slots or now <= slots[-1] + config.timeout + SLACK:
            return None
        reason = self._reason(live, latest)
        if reason is None:
            return None
        times = f"{missed} of its times" if isinstance(config.schedule, Cron) else f"{missed} intervals"
        sentence = f"it has not run for {times} ({lasting(now - latest)}), since {readable(latest)}, {WHY[reason]}"
        return Absence(config.name, slots[0], sentence, reason)

    def _slots(self, live: Live, latest: float, missed: int) -> tuple[float, ...]:
        """Return the first slots after the latest run; none where there is no time to work them out."""
        name, schedule = live.config.name, live.config.schedule
        if not isinstance(schedule, Cron):
            first = next_slot(name, schedule.seconds, latest)
            return (first, first + (missed - 1) * schedule.seconds)
        known = self._crons.get(name)
        if known and known[0] == latest and len(known[1]) == missed:
            return known[1]
        if self._left <= 0:
            return ()
        self._left -= missed
        slots, at = [], latest
        for _ in range(missed):
            at = next_cron_time(schedule, at)
            slots.append(at)
        self._crons[name] = latest, tuple(slots)
        return tuple(slots)

    def _reason(self, live: Live, latest: float) -> Reason | None:
        """Return why it does not run; None where it does at last, and its result is still to come."""
        if live.config.name in self._dispatch.line.running:
            return Reason.BUSY if live.missed.get(Reason.BUSY) else None
        overloaded = self._dispatch.overloaded_at
        return Reason.OVERLOAD if overloaded is not None and overloaded >= latest else Reason.LATE

"""When a configured window is open: its times on the clocks of its zone, looked up only when they have changed.

A recurring window begins where cronsim says that cron would run (as Debian's: a time that the clocks skip comes when
they go on, one that comes twice counts once), and lasts its duration on a stopwatch, whatever the clocks do meanwhile.
"""

from __future__ import annotations

from math import inf

from heartbeat.core.quiet import OVER, Maintenance, Matcher, QuietKind, Recurring, Span, open_at
from heartbeat.core.schedule import Cron
from heartbeat.timetable import cron_times

FIRST_LOOK = 3600.0
"""How far back the latest start is sought first, in seconds; then further and further."""
FURTHER = 24


def latest_start(cron: Cron, now: float, within: float) -> float | None:
    """Return the latest time that is not after now, None where there was none within so many seconds."""
    back = min(FIRST_LOOK, within)
    while True:
        latest = None
        for start in cron_times(cron, now - back):
            if start > now:
                break
            latest = start
        if latest is not None or back >= within:
            return latest
        back = min(back * FURTHER, within)


def next_span(when: Span | Recurring, now: float) -> Span | None:
    """Return when a window opens next after now, None where it does not any more."""
    if isinstance(when, Span):
        return when if now < when.start else None
    start = next(cron_times(when.cron, now), None)
    return None if start is None else Span(start, start + when.duration)


def span_at(when: Span | Recurring, now: float) -> Span | None:
    """Return the span of a window that is open now; of two that overlap the later one."""
    if isinstance(when, Span):
        return open_at((when,), now)
    start = latest_start(when.cron, now, when.duration)
    return None if start is None else open_at((Span(start, start + when.duration),), now)


class Window:
    """A configured window, with what was last found out about it, which holds until it opens or closes."""

    __slots__ = ("_from", "_span", "_until", "entry")

    kind = QuietKind.MAINTENANCE

    def __init__(self, entry: Maintenance) -> None:
        self.entry = entry
        self._span: Span | None = None
        self._from = self._until = 0.0

    @property
    def matcher(self) -> Matcher:
        """Which checks it covers."""
        return self.entry.matcher

    def span(self, now: float) -> Span | None:
        """Return the span that is open now."""
        if not self._from <= now < self._until:  # it also looks anew when the clock was set back
            self._look(now)
        return self._span

    def until(self, now: float) -> float:
        """Return until when it keeps messages back, ``OVER`` where it does not."""
        span = self.span(now)
        return OVER if span is None else span.end

    def say(self) -> str:
        """Return why nobody is told while it is open."""
        return self.entry.say(self._span.end if self._span else OVER)

    def _look(self, now: float) -> None:
        upcoming = next_span(self.entry.when, now)
        self._span = span_at(self.entry.when, now)
        self._from = now
        self._until = min(self._span.end if self._span else inf, upcoming.start if upcoming else inf)

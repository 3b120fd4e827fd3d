"""The dead man's switch: somebody outside is called while all is well here, and raises the alarm when we fall silent.

The ticker moves it, so a ticker that stands still calls nobody. The first call comes one interval after the start: a
daemon that dies again and again within it is silent, as it should be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from math import inf
from time import monotonic

import structlog

from heartbeat.check import CheckFailed
from heartbeat.config.model import Watchdog
from heartbeat.core.schedule import Cron
from heartbeat.core.text import plain
from heartbeat.dispatch import Dispatch
from heartbeat.http import Request, fetch, guard_webhook_target, target
from heartbeat.metrics.instruments import Calls
from heartbeat.scheduler import Scheduler
from heartbeat.state import Live
from heartbeat.timetable import next_cron_time

log = structlog.get_logger()

MISSED_SLOTS = 2
"""How many intervals a slot may be past without a run."""
SLACK = 10.0
"""Seconds beyond that, for the run itself and for a busy machine."""
CRON_LATE = 300.0
"""Seconds that the slot of a cron expression may be past without a run, besides the timeout."""
OUTBOX_STUCK = 600.0
"""Seconds that a message may wait: twice as many as raise ``heartbeat.outbox``, which then cannot be told either."""
AGAIN = 5.0
"""Seconds after which we look again where the call was withheld or not answered."""
NAMED = 3

Reasons = tuple[str, ...]


def reasons_to_withhold(*, ran: bool, late: Sequence[str], store: str, oldest: float, unrecorded: int) -> Reasons:
    """Return why nobody may believe that all is well here; nothing where it is.

    The sentences hold no number that grows, so that they stay the same while the reason does.

    Args:
        ran: whether any check has run in this life of the daemon.
        late: the names of the checks that do not run (``overdue``).
        store: why the store cannot write, or nothing.
        oldest: age of the oldest pending delivery in seconds.
        unrecorded: how many changes are in memory only, because the store could not take them.
    """
    more = f" and {len(late) - NAMED} more" if len(late) > NAMED else ""
    found = (
        "" if ran else "no check has run yet",
        f"checks do not run: {', '.join(late[:NAMED])}{more}" if late else "",
        store,
        "what happened is in memory only, until the store takes it" if unrecorded else "",
        "a message has been waiting too long to be delivered" if oldest > OUTBOX_STUCK else "",
    )
    return tuple(reason for reason in found if reason)


def have_run(checks: Iterable[Live], planned: Mapping[str, float]) -> bool:
    """Say whether any check has run since it was planned (seconds since the epoch, by name)."""
    return any(live.last_run is not None and live.last_run >= planned.get(live.config.name, inf) for live in checks)


def overdue(checks: Iterable[Live], planned: Mapping[str, float], now: float) -> tuple[str, ...]:
    """Return the names of the checks that have not run though a slot since they were planned is long past.

    It is asked at every scrape, and nearly all of ten thousand checks ran within their interval: nothing else is looked
    at of these.
    """
    found = []
    for live in checks:
        interval, last = live.config.policy.interval, live.last_run
        ran = interval is not None and last is not None and now - last <= interval
        since = None if ran else planned.get(live.config.name)  # None: it is off, or reported to, and has no slots
        if since is not None and is_overdue(live, since, now):
            found.append(live.config.name)
    return tuple(found)


def is_overdue(live: Live, planned: float, now: float) -> bool:
    """Say whether a check has not run though a slot of it is long past."""
    schedule = live.config.schedule
    latest = max(live.last_run or planned, planned)
    if isinstance(schedule, Cron):
        return now - next_slot_after(schedule, latest) > CRON_LATE + live.config.timeout
    # The slot after the latest run lies at most one interval behind it.
    return now - latest > (1 + MISSED_SLOTS) * schedule.seconds + SLACK


@lru_cache(maxsize=10_000)
def next_slot_after(cron: Cron, at: float) -> float:
    """Return the first time of a cron expression after a moment; the same question comes until the check has run."""
    return next_cron_time(cron, at)


def find_reasons(dispatch: Dispatch, scheduler: Scheduler) -> Reasons:
    """Look at the daemon as it is now, and return why nobody may believe that all is well."""
    line = dispatch.line
    return reasons_to_withhold(
        ran=have_run(dispatch.state.checks.values(), scheduler.planned),
        late=find_overdue(dispatch, scheduler),
        store=line.store.failing,
        oldest=line.outbox.oldest(line.clock.now()),
        unrecorded=len(line.unrecorded),
    )


def find_overdue(dispatch: Dispatch, scheduler: Scheduler) -> tuple[str, ...]:
    """Return the names of the checks that do not run though they should."""
    return overdue(dispatch.state.checks.values(), scheduler.planned, dispatch.line.clock.now())


class DeadMan:
    """Calls the outside watchdog, or not.

    Args:
        reasons: tells why it must not be called now.
        now: the time, for what is shown.
        call: makes one call; returns what went wrong, or nothing.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        reasons: Callable[[], Reasons],
        now: Callable[[], float],
        call: Callable[[Watchdog], Awaitable[str]] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.withheld: Reasons = ()
        """Why the call is withheld at present."""
        self.problem = ""
        """Why the latest call was not answered."""
        self._reasons, self._now, self._call, self._clock = reasons, now, call or ping, clock
        self._watchdog: Watchdog | None = None
        self._due = 0.0
        self._last_success: float | None = None
        self._flying: asyncio.Task[None] | None = None

    def adopt(self, watchdog: Watchdog | None) -> None:
        """Take over the settings; changed ones begin anew."""
        if watchdog == self._watchdog:
            return
        self.stop()
        self._watchdog, self._last_success = watchdog, None
        self.withheld, self.problem = (), ""
        self._due = self._clock() + (watchdog.every if watchdog else 0.0)

    def tick(self) -> None:
        """Call if it is time, and there is no reason not to. Never waits."""
        if self._watchdog is None or self._flying is not None or self._clock() < self._due:
            return
        self._weigh(self._reasons())
        if self.withheld:
            self._due = self._clock() + min(AGAIN, self._watchdog.every)
            return
        self._due = self._clock() + self._watchdog.every
        self._flying = asyncio.get_running_loop().create_task(self._fly(self._watchdog), name="outside watchdog")

    def stop(self) -> None:
        """Give up a call that is under way."""
        if self._flying is not None:
            self._flying.cancel()
            self._flying = None

    @property
    def trouble(self) -> str:
        """Say why nobody outside hears from us at present."""
        return f"it is not called: {'; '.join(self.withheld)}" if self.withheld else self.problem

    def calls(self) -> Calls | None:
        """Return what metrics show; None where no watchdog is configured."""
        return Calls(bool(self.withheld), self._last_success) if self._watchdog else None

    def _weigh(self, reasons: Reasons) -> None:
        if reasons == self.withheld:
            return
        self.withheld = reasons
        if reasons:
            log.error("the outside watchdog is not called any more", reasons=list(reasons))
        else:
            log.info("the outside watchdog is called again")

    async def _fly(self, watchdog: Watchdog) -> None:
        try:
            problem = await self._call(watchdog)
        except Exception as error:  # noqa: BLE001 - the last hop: whatever it is, the next call must come
            problem = f"the call failed: {type(error).__name__}"
        self._flying = None
        if problem:
            self._due = min(self._due, self._clock() + AGAIN)
        else:
            self._last_success = self._now()
        if problem != self.problem:
            self.problem = problem
            if problem:
                log.warning("the outside watchdog does not answer", error=problem)
            else:
                log.info("the outside watchdog answers again")


async def ping(watchdog: Watchdog) -> str:
    """Make one call; return what went wrong, in a sentence without the secret parts of the address, or nothing."""
    url = watchdog.url.get_secret_value()
    request = Request(
        url=url,
        method=watchdog.method,
        body=b"" if watchdog.method == "POST" else None,
        body_limit=1024,
        decode=False,
        address_guard=guard_webhook_target,
    )
    host = target(url).host
    try:
        response = await fetch(request, timeout=watchdog.timeout)
    except CheckFailed as error:
        return plain(error.sentence.replace(url, host), 300)
    if 200 <= response.status < 300:
        return ""
    hint = "; redirects are not followed: change the url" if 300 <= response.status < 400 else ""
    return f"{host} answers {response.status}{hint}"

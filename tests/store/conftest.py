"""Entries as the line makes them, and stores in real files."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from heartbeat.config.model import History
from heartbeat.core.model import (
    Address,
    Delivery,
    Event,
    Finding,
    Kind,
    Outcome,
    Reason,
    Result,
    Run,
    Severity,
    Verdict,
)
from heartbeat.core.status import Incident, Status
from heartbeat.store import Entry, Store

NOW = 1_800_000_000.0


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


class Make:
    """Entries by number; the same number makes the same entry."""

    def run(self, n: int, check: str = "shop") -> Run:
        return Run(f"run_{check}_{n}", check, NOW + n, 0, NOW + n, 10.0)

    def steady(self, n: int, check: str = "shop", *, at: float | None = None) -> Entry:
        run = self.run(n, check)
        result = Result(Outcome.OK, 0.25, measurements={"body_bytes": 12.0}, phases={"connect": 0.1})
        return Entry(run, result, Verdict(run, NOW + n if at is None else at, Outcome.OK, Severity.OK))

    def failed(self, n: int, check: str = "shop", *, at: float | None = None, **changes: Any) -> Entry:
        run = self.run(n, check)
        told: dict[str, Any] = {"reason": Reason.TIMEOUT, "sentence": "no answer", "expected": "200"}
        result = Result(Outcome.FAIL, 2.0, **{**told, "evidence": {"head": "HTTP/1.1"}, **changes})
        at = NOW + n if at is None else at
        finding = Finding("duration", Severity.FAIL, "below 1 s", "2 s")
        verdict = Verdict(run, at, Outcome.FAIL, Severity.FAIL, result.reason, result.sentence, (finding,))
        return Entry(run, result, verdict)

    def event(self, n: int, check: str = "shop", *, at: float | None = None, sentence: str = "no answer") -> Event:
        entry = self.failed(n, check)
        when = NOW + n if at is None else at
        return Event(
            f"evt_{check}_{n}", Kind.RAISED, check, f"inc_{check}_{n}", 1, when, Severity.OK, Severity.FAIL, when,
            Reason.TIMEOUT, sentence, (), entry.run, entry.result, {"labels": {"team": "shop"}},
        )  # fmt: skip

    def delivery(self, event: Event, **changes: Any) -> Delivery:
        fields = {"id": f"dlv_{event.id}", "address": Address("oncall", "oncall/email", "a@example.com"), **changes}
        return Delivery(event=event, **fields)

    def raised(self, n: int, check: str = "shop", *, at: float | None = None, **changes: Any) -> Entry:
        failed = self.failed(n, check, at=at)
        event = self.event(n, check, at=at)
        incident = Incident(
            event.incident, NOW + n, 1, NOW + n, opened=NOW + n, severity=Severity.FAIL, first_told=NOW + n,
        )  # fmt: skip
        status = Status(fail=True, since=NOW + n, incident=incident)
        deliveries = (self.delivery(event, **changes),)
        return Entry(failed.run, failed.result, failed.verdict, status, (event,), deliveries)


@pytest.fixture
def make() -> Make:
    return Make()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "heartbeat.db"


@pytest.fixture
async def opened(path: Path, clock: Clock) -> AsyncIterator[Callable[..., Awaitable[Store]]]:
    """Open stores that are closed at the end of the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def open_store(history: History | None = None, **options: Any) -> Store:
            store = await Store.open(path, history=history or History(), clock=clock, **options)
            stack.push_async_callback(store.close)
            return store

        yield open_store


@pytest.fixture
async def store(opened: Callable[..., Awaitable[Store]]) -> Store:
    return await opened()

"""Between the shared words and rows: encoding runs on the store's thread, decoding on the reader's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import to_json
from sqlalchemy import Row

from heartbeat.core.model import (
    Address,
    Caution,
    Delivery,
    DeliveryState,
    Event,
    Finding,
    Outcome,
    Reason,
    Result,
    Run,
    Severity,
    Verdict,
)
from heartbeat.core.status import Status, renew
from heartbeat.store.entry import Recorded, is_steady

_STATUS: TypeAdapter[Status] = TypeAdapter(Status)
_EVENT: TypeAdapter[Event] = TypeAdapter(Event)
_FINDINGS: TypeAdapter[tuple[Finding, ...]] = TypeAdapter(tuple[Finding, ...])
_NUMBERS: TypeAdapter[dict[str, float]] = TypeAdapter(dict[str, float])
_TEXTS: TypeAdapter[dict[str, str]] = TypeAdapter(dict[str, str])


def encode(value: object) -> str:
    """Return JSON text of a frozen dataclass, mapping or sequence; never fails over what a target sent."""
    try:
        return _json(value)
    except ValueError:  # half a surrogate pair has no UTF-8, and an alert must not get lost over it
        return _json(_plain(value))


def _json(value: object) -> str:
    return to_json(value, inf_nan_mode="constants", fallback=_fall_back).decode()


def _fall_back(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _plain(value: object) -> object:
    """Return the value in dicts, lists and texts that can be written."""
    if isinstance(value, str):
        return writable(value)
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return value


def writable(value: str) -> str:
    """Return the text with what UTF-8 cannot say written as escapes."""
    return str(value) if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def _or_none(value: str | None) -> str | None:
    return None if value is None else writable(value)


def result_row(run: Run, result: Result, verdict: Verdict) -> tuple[Any, ...]:
    """Return the row of one run, in the order of the table's columns after ``id``.

    A tuple, because this is the one path where microseconds count. Evidence is kept only when the verdict is not ok.
    """
    failed = not is_steady(verdict) and verdict.outcome is not Outcome.MISSED
    return (
        writable(run.id), writable(run.check), run.slot, run.attempt, run.started, run.timeout,
        verdict.at, result.outcome.value, verdict.outcome.value, int(verdict.severity),
        failed, verdict.distorted, verdict.reason and verdict.reason.value,
        verdict.sentence and writable(verdict.sentence), _or_none(result.expected), _or_none(result.observed),
        result.duration, result.lag, result.dropped,
        encode(result.measurements) if result.measurements else None,
        encode(result.phases) if result.phases else None,
        encode(result.evidence) if failed and result.evidence else None,
        encode(verdict.findings) if verdict.findings else None,
    )  # fmt: skip


def status_row(name: str, status: Status, boot: int, at: float) -> dict[str, Any]:
    """Return the row of a status that was taken ``at`` this time of this boot."""
    return {"name": writable(name), "status": encode(status), "boot": boot, "at": at}


def event_row(event: Event) -> dict[str, Any]:
    """Return the row of an event, with the whole of it as data."""
    return {
        "id": event.id, "incident": event.incident, "sequence": event.sequence, "check": writable(event.check),
        "kind": event.kind.value, "at": event.at, "data": encode(event),
    }  # fmt: skip


def delivery_row(delivery: Delivery, boot: int) -> dict[str, Any]:
    """Return the row of a delivery; a lease carries the boot that took it."""
    to = delivery.address
    return {
        "id": delivery.id, "event_id": delivery.event.id, "incident": delivery.event.incident,
        "receiver": writable(to.receiver), "channel": writable(to.channel), "recipient": writable(to.recipient),
        "state": delivery.state.value, "attempts": delivery.attempts, "next_at": delivery.next_at,
        "note": writable(delivery.note), "lease_boot": boot if delivery.state is DeliveryState.LEASED else None,
        "batch": delivery.batch, "closes_at": delivery.closes_at, "sealed_at": delivery.sealed_at,
        "done_at": delivery.done_at, "why": writable(delivery.why),
    }  # fmt: skip


def read_status(text: str) -> Status:
    """Return a status; fields that it did not have when it was written take their defaults."""
    return renew(_STATUS.validate_json(text))


def read_event(text: str) -> Event:
    """Return an event as it was recorded."""
    return _EVENT.validate_json(text)


def read_delivery(row: Row[Any]) -> Delivery:
    """Return a delivery from its row joined with its event's ``data``."""
    address = Address(row.receiver, row.channel, row.recipient)
    state = DeliveryState(row.state)
    return Delivery(
        row.id, read_event(row.data), address, state, row.attempts, row.next_at, row.note,
        row.batch, row.closes_at, row.sealed_at, row.done_at, row.why,
    )  # fmt: skip


def read_result(row: Row[Any]) -> Recorded:
    """Return one recorded run. A result that a limit or a warning turned bad is ok again, as it was found."""
    run = Run(row.run, row.check, row.slot, row.attempt, row.started, row.timeout)
    reason = Reason(row.reason) if row.reason else None
    found = Outcome(row.found)
    bad, caution = found is not Outcome.OK, None
    if not bad and reason is not None and reason is not Reason.LIMIT:
        caution = Caution(reason, row.sentence)
    result = Result(
        found, row.duration, reason if bad else None, row.sentence if bad else "", row.expected, row.observed,
        measurements=_NUMBERS.validate_json(row.measurements or "{}"),
        phases=_NUMBERS.validate_json(row.phases or "{}"),
        evidence=_TEXTS.validate_json(row.evidence or "{}"),
        lag=row.lag, dropped=row.dropped, caution=caution,
    )  # fmt: skip
    findings = _FINDINGS.validate_json(row.findings or "[]")
    severity = Severity(row.severity)
    outcome = Outcome(row.outcome)
    return Recorded(
        run,
        result,
        Verdict(run, row.at, outcome, severity, reason, row.sentence, findings, distorted=bool(row.distorted)),
    )

"""The native JSON of an event, version 1: what machines read. Pure, and below 20 kB whatever a target sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from heartbeat.core.model import Event, Result, Run
from heartbeat.core.sentences import is_test, sentence_of, track_of
from heartbeat.core.text import block, plain
from heartbeat.core.times import timestamp

PAYLOAD_BYTES = 20_000
"""Standard Webhooks 1.0.0 advises to stay below this."""
VERSION = 1
# What is given up first: the length of each evidence text, then how many measurements, phases, findings and labels.
_ROOM = ((4096, 100), (1024, 100), (256, 50), (0, 20), (0, 5), (0, 0))


def payload(event: Event, *, why: str = "") -> dict[str, Any]:
    """Return the event as data for JSON. Evidence is shortened until the whole is below 20 kB in UTF-8.

    ``heartbeat/schemas/event-v1.json`` describes it. ``type`` and ``timestamp`` are as Standard Webhooks asks; a
    reader should ignore keys it does not know. ``why`` is that of the delivery: it is set where a receiver is told in
    place of another. What the event itself says of why it is told follows it.
    """
    for characters, entries in _ROOM:
        whole = _whole(event, characters, entries)
        whole["data"]["why"] = plain("; ".join(filter(None, (why, event.why))), 300)
        if len(encode(whole)) < PAYLOAD_BYTES:
            break
    return whole


def encode(whole: Mapping[str, Any]) -> bytes:
    """Write JSON in UTF-8: compact, and the same bytes every time."""
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _whole(event: Event, characters: int, entries: int) -> dict[str, Any]:
    context = event.context
    data = {
        "event": plain(event.id, 80),
        "kind": str(event.kind),
        "track": str(track_of(event)),
        "check": plain(event.check, 200),
        "check_type": plain(context.get("type", ""), 80),
        "incident": plain(event.incident, 80),
        "sequence": event.sequence,
        "severity": event.severity.word,
        "was": event.was.word,
        "since": timestamp(event.since),
        "at": timestamp(event.at),
        "reason": str(event.reason) if event.reason else None,
        "sentence": sentence_of(event),
        "findings": [
            {
                "limit": plain(finding.limit, 80),
                "severity": finding.severity.word,
                "expected": plain(finding.expected, 200),
                "observed": plain(finding.observed, 200),
            }
            for finding in event.findings[:entries]
        ],
        "run": _run(event.run) if event.run else None,
        "trace_id": plain(context.get("trace_id", ""), 32) or None,
        "result": _result(event.result, characters, entries) if event.result else None,
        "labels": _texts(context.get("labels") or {}, 200, min(entries, 30)),
        "location": plain(context.get("location", ""), 200),
        "runbook": plain(context.get("runbook", ""), 1000),
        "page": plain(context.get("page", ""), 1000),
        "also_failing": _names(context.get("also_failing"), entries),
        "holds_back": (held := _names(context.get("holds_back"), entries)),
        "holds_back_more": len(context.get("holds_back") or ()) - len(held) + context.get("holds_back_more", 0),
        "deployment": _deployment(event),
        "recorded": bool(context.get("recorded", True)),
        **({"test": True} if is_test(event) else {}),
    }
    return {
        "type": f"heartbeat.check.{event.kind.removeprefix('check_')}",
        "timestamp": timestamp(event.at),
        "version": VERSION,
        "data": data,
    }


def _deployment(event: Event) -> dict[str, Any] | None:
    found = event.context.get("deployment")
    if not found:
        return None
    told = {key: plain(found.get(key, ""), 100) for key in ("id", "name", "version", "by", "state")}
    start = found.get("start", event.since)
    return {**told, "start": timestamp(start), "began_after_seconds": round(max(0.0, event.since - start), 3)}


def _run(run: Run) -> dict[str, Any]:
    return {
        "id": plain(run.id, 80),
        "slot": timestamp(run.slot),
        "attempt": run.attempt,
        "started": timestamp(run.started),
        "timeout_seconds": run.timeout,
    }


def _result(result: Result, characters: int, entries: int) -> dict[str, Any]:
    return {
        "outcome": str(result.outcome),
        "duration_seconds": result.duration,
        "expected": None if result.expected is None else plain(result.expected, 500),
        "observed": None if result.observed is None else plain(result.observed, 500),
        "phases": _numbers(result.phases, entries),
        "measurements": _numbers(result.measurements, entries),
        "evidence": _texts(result.evidence, characters, 20),
    }


def _names(names: Sequence[str] | None, entries: int) -> list[str]:
    return [plain(name, 80) for name in (names or ())[: min(entries, 20)]]


def _numbers(values: Mapping[str, float], entries: int) -> dict[str, float]:
    return {plain(name, 128): value for name, value in list(values.items())[:entries] if isfinite(value)}


def _texts(values: Mapping[str, str], characters: int, entries: int) -> dict[str, str]:
    kept = list(values.items())[:entries] if characters else []
    return {plain(name, 64): block(text, characters) for name, text in kept}

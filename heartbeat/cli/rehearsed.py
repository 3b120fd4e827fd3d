"""A dry run, as lines for people and as data for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from heartbeat.cli.findings import data_of as data_of_run
from heartbeat.cli.findings import describe, word_of
from heartbeat.cli.once import status_of
from heartbeat.cli.performing import Paint, plain_words
from heartbeat.core.limits import show
from heartbeat.core.model import Delivery, DeliveryState
from heartbeat.core.sentences import state_of
from heartbeat.core.times import timestamp
from heartbeat.rehearsal import Performed, Rehearsed
from heartbeat.rehearsal.account import NOT_PROVED, Letter, letter_of, why_silent
from heartbeat.rehearsal.reach import Reached
from heartbeat.web.checks import NOTHING_AROUND
from heartbeat.web.checks import state_of as state_of_check

EXIT_UNREACHED = 2


def exit_of(rehearsed: Rehearsed) -> int:
    """Return the exit status: that of the worst run, and at least 2 where a receiver or a message failed.

    What was assumed is no finding: then only receivers and messages count.
    """
    worst = 0 if rehearsed.assumed else max((_status(one) for one in rehearsed.checks), default=0)
    failed = rehearsed.unmade or any(one.problem for one in rehearsed.reached)
    return max(worst, EXIT_UNREACHED if failed else 0)


def _status(performed: Performed) -> int:
    return status_of(performed.live.verdict) if performed.live.verdict else 0


def lines_of(rehearsed: Rehearsed, paint: Paint = plain_words) -> Iterator[str]:
    """Yield what people read."""
    for performed in rehearsed.checks:
        yield from _check(performed, rehearsed, paint)
        yield ""
    for performed in rehearsed.asked:
        yield "(it ran because others depend on it)"
        yield from _check(performed, rehearsed, paint)
        yield ""
    letters = [letter_of(rehearsed.config, shown) for shown in rehearsed.shown]
    for number, letter in enumerate(letters, 1):
        yield from _letter(letter, f"message {number} of {len(letters)}")
        yield ""
    if not letters:
        yield "No message would leave."
        yield ""
    for reached in rehearsed.reached:
        yield from _reached(reached, paint)
    if rehearsed.reached:
        yield ""
    yield "This did not prove:"
    yield from (f"  * {sentence}" for sentence in NOT_PROVED)


def _check(performed: Performed, rehearsed: Rehearsed, paint: Paint) -> Iterator[str]:
    live = performed.live
    if live.verdict is None or live.result is None:
        yield f"{performed.name}: it did not run"
        return
    yield from describe(live.verdict, live.result, live.config.limits, paint)
    if performed.found is not None:
        found = performed.found
        said = f": {found.sentence}" if found.sentence else ""
        yield f"  assumed   {rehearsed.assumed}; it really found {found.outcome} in {show(found.duration, 's')}{said}"
    times = f" after {performed.runs} runs" if performed.runs > 1 else ""
    yield f"  status    {paint(_state(performed))}{times}"
    if not performed.events:
        yield f"  event     none: {why_silent(live)}"
    for delivery in performed.deliveries:
        yield f"  event     {state_of(delivery.event)} {_outcome(delivery, rehearsed)}"


def _state(performed: Performed) -> str:
    return state_of_check(performed.live, NOTHING_AROUND)


def _outcome(delivery: Delivery, rehearsed: Rehearsed) -> str:
    address = delivery.address
    if delivery.state is DeliveryState.SUPPRESSED:
        return f"is told to nobody: {delivery.note}"
    to = f"to {address.recipient} by {address.channel}" if address.recipient else f"by {address.channel}"
    return f"could not be told {to}: {delivery.note}" if rehearsed.is_unmade(delivery) else f"would be told {to}"


def _letter(letter: Letter, title: str) -> Iterator[str]:
    to = f"to {letter.recipient} by {letter.channel}" if letter.recipient else f"by {letter.channel}"
    yield f"{title}: {to}, about {', '.join(letter.checks)}"
    for why in letter.why:
        yield f"  why: {why}"
    yield f"  {letter.to}"
    yield from (f"  {name}: {value}" for name, value in letter.headers)
    yield from (f"  | {line}".rstrip() for line in letter.text().splitlines())
    if letter.redacted:
        yield "  (secrets are left out here; all else is byte by byte what would leave)"


def _reached(reached: Reached, paint: Paint) -> Iterator[str]:
    if reached.problem:
        yield f"{reached.channel}: {paint('fail')}: {reached.problem}"
        return
    yield f"{reached.channel}: {paint('ok')}: {'; '.join(reached.steps)}"


def data_of(rehearsed: Rehearsed) -> dict[str, Any]:
    """Return all of it for JSON; times are as in RFC 3339."""
    return {
        "exit": exit_of(rehearsed),
        "assumed": rehearsed.assumed,
        "checks": [_check_data(one, rehearsed) for one in rehearsed.checks],
        "also_ran": [_check_data(one, rehearsed) for one in rehearsed.asked],
        "messages": [_letter_data(letter_of(rehearsed.config, shown)) for shown in rehearsed.shown],
        "receivers": [
            {
                "receiver": one.receiver,
                "channel": one.channel,
                "kind": one.kind,
                "reached": not one.problem,
                "steps": list(one.steps),
                "problem": one.problem or None,
            }
            for one in rehearsed.reached
        ],
        "not_proved": list(NOT_PROVED),
    }


def _check_data(performed: Performed, rehearsed: Rehearsed) -> dict[str, Any]:
    live, found = performed.live, performed.found
    has_run = live.verdict is not None and live.result is not None
    return {
        "check": performed.name,
        "found": found and {"outcome": found.outcome, "reason": found.reason, "sentence": found.sentence},
        "runs": performed.runs,
        "result": word_of(live.verdict) if live.verdict else None,
        "run": data_of_run(live.verdict, live.result, live.config.limits) if has_run else None,  # type: ignore[arg-type]  # both are there
        "state": _state(performed),
        "silent": None if performed.events else why_silent(live),
        "events": [
            {
                "event": one.event.id,
                "kind": one.event.kind,
                "state": state_of(one.event),
                "incident": one.event.incident,
                "channel": one.address.channel or None,
                "recipient": one.address.recipient or None,
                "told": one.state is not DeliveryState.SUPPRESSED and not rehearsed.is_unmade(one),
                "why_not": one.note if one.state is DeliveryState.SUPPRESSED or rehearsed.is_unmade(one) else None,
            }
            for one in performed.deliveries
        ],
    }


def _letter_data(letter: Letter) -> dict[str, Any]:
    return {
        "receiver": letter.receiver,
        "channel": letter.channel,
        "kind": letter.kind,
        "recipient": letter.recipient or None,
        "checks": list(letter.checks),
        "why": list(letter.why),
        "at": timestamp(letter.at),
        "to": letter.to,
        "headers": [list(pair) for pair in letter.headers],
        "content_type": letter.content_type,
        **letter.body_data(),
        "redacted": letter.redacted,
    }

"""What a job has told and what it still owes, kept as JSON: each function is one thing that happens to it.

Times are seconds since the epoch. What is kept:

    since   after this time the next report is expected: the latest end, what was found missing, or when it began
    open    runs that started and have not ended: when, by run id ("" where they have none)
    last    the latest end: at, ok, and where known rid, code, seconds, text
    late    what was due and did not come: {"slot": ..., "after": ...} a report, {"began": ..., "within": ...} an end
    clash   when the run began that was under way when another one started
    log     what was said meanwhile
    deaf    before this time reports may have been told to nobody
    excused how often in a row nothing was missed for that reason
    new     there is something that no run has judged yet
"""

from __future__ import annotations

from typing import Any

from heartbeat import Expected, Kept

OPEN = 20
"""Runs that are under way at once, of which we know; the oldest are forgotten."""
EARLY = 5.0
"""Seconds that a report may come before its time: clocks differ."""
APART = 60.0
"""Seconds between two slots of a schedule from which on that counts."""
EXCUSED = 2
"""How often in a row a report may be told to nobody; a job that reports whenever we restart is found out after that."""
ECHO = 30.0
"""Seconds after the end of a run in which what is told of it comes again: who got no answer tells it twice."""
TEXT = 3000
LOG = 1000


def begin(kept: Kept, rid: str, now: float, *, alone: bool) -> bool:
    """Note that a run started; say whether another one was under way, where it should be alone."""
    if _is_echo(kept, rid, now):
        return False
    known: dict[str, float] = kept.setdefault("open", {})
    known.pop(rid, None)
    others = [at for at in known.values() if at >= kept.get("deaf", 0.0)]
    known[rid] = now
    for oldest in sorted(known, key=known.__getitem__)[:-OPEN]:
        del known[oldest]
    if others and alone:
        kept.update(clash=max(others), new=1)
    return bool(others and alone)


def end(kept: Kept, rid: str, now: float, what: dict[str, Any], *, bounded: bool) -> None:
    """Note that a run ended, with what there is to tell of it.

    Without a run id it ends whatever is under way. With one it ends its own run; a success also ends those that began
    before it, where no bound on their time does.
    """
    before = kept.get("last", {}) if _is_echo(kept, rid, now) else {}
    known: dict[str, float] = kept.pop("open", {})
    late = kept.pop("late", {})
    began = known.pop(rid, late.get("began") if late.get("rid") == rid else None)
    if not rid:
        known = {}
    elif what["ok"] and began is not None and not bounded:
        known = {other: at for other, at in known.items() if at > began}
    if known:
        kept["open"] = known
    kept.pop("clash", None)
    kept.pop("excused", None)
    last = {"at": now, **what}
    if rid:
        last["rid"] = rid
    if began is not None:
        last["seconds"] = max(0.0, now - began)
    elif "seconds" in before:
        last["seconds"] = before["seconds"]
    if said := kept.pop("log", ""):
        last["log"] = said
    kept.update(last=last, since=now, new=1)


def _is_echo(kept: Kept, rid: str, now: float) -> bool:
    last = kept.get("last", {})
    if not rid or last.get("rid") != rid or rid in kept.get("open", {}):
        return False
    return bool(0 <= now - last["at"] <= ECHO)


def say(kept: Kept, text: str) -> None:
    """Note what a run says of itself; the end of it counts."""
    kept["log"] = "\n".join(filter(None, (kept.get("log", ""), text)))[-LOG:]


def find_due(kept: Kept, grace: float, at_most: float | None, expected: Expected, now: float) -> float:
    """Return when something is missing; where that is so now, note what.

    While a run is under way that may take ``at_most`` seconds nothing else is expected. How long one took that began
    before we went deaf for a while is not known: it may have ended then.
    """
    _forget_the_future(kept, now)
    since = kept.setdefault("since", now)
    if "open" in kept and kept.get("deaf") != expected.listening:
        kept["deaf"] = expected.listening
    if "new" in kept:
        return now
    slot, due = _await(kept, since, grace, expected)
    ends = []
    if at_most is not None and (known := kept.get("open")):
        due = max(due, max(known.values()) + at_most)
        ends = [(at + at_most, rid) for rid, at in known.items() if at >= expected.listening]
    if ends:
        due, rid = min(ends)
        if due <= now:
            _miss_end(kept, rid, due)
    elif due <= now:
        _miss_report(kept, slot, grace, expected, now)
    return due


def _await(kept: Kept, since: float, grace: float, expected: Expected) -> tuple[float, float]:
    """Return when the next report is expected, and when it is missing.

    One that may have come while we were deaf is left out, so the next one counts; but not again and again.
    """
    slot = _next_slot(expected, since)
    if since >= expected.listening:
        return slot, slot + grace
    margin = 0.0 if expected.fixed else grace
    if since < (before := kept.get("deaf", 0.0)):
        slot = max(slot, expected(since, before + margin))
    if slot >= expected.listening + margin:
        return slot, slot + grace
    if kept.get("excused", 0) >= EXCUSED:
        return slot, max(slot, expected.listening) + grace
    kept.update(deaf=expected.listening, excused=kept.get("excused", 0) + 1)
    slot = expected(since, expected.listening + margin)
    return slot, slot + grace


def _miss_end(kept: Kept, rid: str, due: float) -> None:
    began = kept["open"].pop(rid)
    kept.update(late={"began": began, "within": due - began, "rid": rid}, since=due, new=1)


def _miss_report(kept: Kept, slot: float, grace: float, expected: Expected, now: float) -> None:
    """Note that nothing came; what was expected since, while nobody asked, is not told one by one."""
    after = kept["last"]["at"] if "last" in kept else None
    since = slot if _next_slot(expected, slot) + grace > now else now - grace
    kept.pop("excused", None)
    kept.update(late={"slot": slot, "after": after}, since=since, new=1)


def _next_slot(expected: Expected, since: float) -> float:
    """Return when the next report is expected after one; a little before its time it counts for that."""
    slot = expected(since)
    if slot - since <= EARLY and (following := expected(slot)) - slot > APART:
        return following
    return slot


def _forget_the_future(kept: Kept, now: float) -> None:
    """Let times that lie ahead, as the clock was set back since, be now: else nothing would be expected for long."""
    if kept.get("since", now) > now:
        kept["since"] = now
    if any(at > now for at in kept.get("open", {}).values()):
        kept["open"] = {rid: min(at, now) for rid, at in kept["open"].items()}

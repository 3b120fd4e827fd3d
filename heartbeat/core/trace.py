"""The ids by which a run is found in the logs and traces of its target (W3C Trace Context, level 1)."""

from __future__ import annotations

from hashlib import blake2b

_TRACE = blake2b(digest_size=24, person=b"trace")
_SPAN = blake2b(digest_size=8, person=b"span")  # a copy costs a third of a new one, and there is one for every request


def trace_id(run: str) -> str:
    """Return the trace id of a run, 32 hexadecimal digits: it follows from the run's id, so nothing need keep it."""
    return _digits(run)[:32]


def span_id(run: str, span: str = "") -> str:
    """Return the id of one part of a run, such as a step, 16 hexadecimal digits; that of all of it for no part."""
    if not span:
        return _digits(run)[32:]
    digest = _SPAN.copy()
    digest.update(f"{run} {span}".encode())
    return digest.hexdigest()


def traceparent(run: str, span: str = "") -> str:
    """Return the header ``traceparent`` of a part of a run (section 3.2); its flag asks for recording."""
    digits = _digits(run)
    return f"00-{digits[:32]}-{span_id(run, span) if span else digits[32:]}-01"


def _digits(run: str) -> str:
    """Return the ids of a trace and of its first span, one after the other."""
    digest = _TRACE.copy()
    digest.update(run.encode())
    return digest.hexdigest()

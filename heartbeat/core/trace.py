"""The ids by which a run is found in the logs and traces of its target (W3C Trace Context, level 1)."""

from __future__ import annotations

from hashlib import blake2b


def trace_id(run: str) -> str:
    """Return the trace id of a run, 32 hexadecimal digits: it follows from the run's id, so nothing need keep it."""
    return blake2b(run.encode(), digest_size=16, person=b"trace").hexdigest()


def span_id(run: str, span: str) -> str:
    """Return the id of one part of a run, such as a step, 16 hexadecimal digits."""
    return blake2b(f"{run} {span}".encode(), digest_size=8, person=b"span").hexdigest()

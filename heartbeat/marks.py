"""Marked traffic: what requests carry so that a target can tell them from those of people, and find their run."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote

from heartbeat.core.trace import traceparent

NAME = "X-Synthetic-Check"


def marks_of(check: str, run: str, span: str) -> tuple[tuple[str, str], ...]:
    """Return the headers for a request of a run.

    ``traceparent`` is W3C Trace Context (level 1, section 3.2), with the flag that asks for recording; ``baggage`` is
    W3C Baggage (section 3.3). Names are percent-encoded, as both allow ASCII only.
    """
    shown, carried = _beginnings(check)
    return ((NAME, shown + run), ("traceparent", traceparent(run, span)), ("baggage", carried + run))


@lru_cache(maxsize=1024)
def _beginnings(check: str) -> tuple[str, str]:
    """Return the values that name a check, up to the run: they are the same for all of its runs."""
    name = quote(check, safe="", errors="replace")
    return f"{name}; run=", f"synthetic=true,heartbeat.check={name},heartbeat.run="

"""Marked traffic: what requests carry so that a target can tell them from those of people, and find their run."""

from __future__ import annotations

from urllib.parse import quote

from heartbeat.core.trace import span_id, trace_id

NAME = "X-Synthetic-Check"


def marks_of(check: str, run: str, span: str) -> tuple[tuple[str, str], ...]:
    """Return the headers for a request of a run.

    ``traceparent`` is W3C Trace Context (level 1, section 3.2), with the flag that asks for recording; ``baggage`` is
    W3C Baggage (section 3.3). Names are percent-encoded, as both allow ASCII only.
    """
    name = quote(check, safe="")
    return (
        (NAME, f"{name}; run={run}"),
        ("traceparent", f"00-{trace_id(run)}-{span_id(run, span)}-01"),
        ("baggage", f"synthetic=true,heartbeat.check={name},heartbeat.run={run}"),
    )

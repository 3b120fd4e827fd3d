"""The ids by which a run is found in the logs and traces of its target (W3C Trace Context, level 1).

They follow from the run's id, so nothing need keep them. There is one for every request, so they cost next to nothing:
the digits of a run's id are random already, and stand where systems that keep 64 bits only look for them.
"""

from __future__ import annotations

from hashlib import blake2b

FIRST = b"heartbea".hex()
"""The first half of every trace id."""
_HEX = "0123456789abcdef"


def trace_id(run: str) -> str:
    """Return the trace id of a run, 32 hexadecimal digits."""
    return FIRST + _digits(run)


def span_id(run: str, span: str = "") -> str:
    """Return the id of one part of a run, such as a step, 16 hexadecimal digits; that of all of it for no part."""
    return _hash(f"{run} {span}") if span else _digits(run)


def traceparent(run: str, span: str = "") -> str:
    """Return the header ``traceparent`` of a part of a run (section 3.2); its flag asks for recording."""
    digits = _digits(run)
    return f"00-{FIRST}{digits}-{_hash(f'{run} {span}') if span else digits}-01"


def _digits(run: str) -> str:
    digits = run[4:]
    return digits if len(digits) == 16 and not digits.strip(_HEX) else _hash(run)


def _hash(text: str) -> str:
    return blake2b(text.encode(), digest_size=8, person=b"span").hexdigest()

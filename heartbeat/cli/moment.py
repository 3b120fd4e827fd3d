"""How long, and until when, as people write it on the command line."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from heartbeat.core.units import parse_duration


def read_lasting(written: str) -> float:
    """Return seconds of ``2h`` or ``1h30m``. Raises ``ValueError`` with a sentence."""
    seconds = parse_duration(written)
    if seconds <= 0:
        raise ValueError("must be longer than nothing")
    return seconds


def read_until(written: str, zone: str, now: datetime) -> float:
    """Return the seconds since the epoch of a time; raises ``ValueError`` with a sentence.

    Args:
        written: ``15:00`` (today, or tomorrow where that is past), ``2026-12-05 15:00``, or one with an offset.
        zone: the name of the time zone on whose clocks it is to be read; empty for that of this machine.
        now: the time, with its offset.
    """
    clocks = _zone(zone)
    here = now.astimezone(clocks)
    try:
        if len(written) <= len("15:00:00") and ":" in written:
            found = datetime.fromisoformat(f"{here:%Y-%m-%d}T{written}")
            return _next(found, here, clocks)
        found = datetime.fromisoformat(written)
    except ValueError:
        raise ValueError("must be a time such as 15:00, 2026-12-05T15:00 or 2026-12-05T15:00+01:00") from None
    return _on(found, clocks).timestamp()


def _next(found: datetime, here: datetime, clocks: ZoneInfo | None) -> float:
    if found.tzinfo is not None:
        raise ValueError
    today = _on(found, clocks)
    later = today if today > here else _on(found + timedelta(days=1), clocks)
    return later.timestamp()


def _on(found: datetime, clocks: ZoneInfo | None) -> datetime:
    if found.tzinfo is not None:
        return found
    return found.astimezone() if clocks is None else found.replace(tzinfo=clocks)


def _zone(name: str) -> ZoneInfo | None:
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"there is no time zone {name}; write it like Europe/Stockholm") from None


def read_past(written: str, zone: str, now: datetime) -> float:
    """Return the seconds since the epoch of a time that is past; raises ``ValueError`` with a sentence.

    Args:
        written: ``20m`` or ``7d`` (so long ago), ``03:10`` (today, or yesterday), ``2026-12-05 03:10``.
        zone: as in ``read_until``.
        now: the time, with its offset.
    """
    if written[-1:].isalpha() and ":" not in written and "-" not in written:
        return now.timestamp() - read_lasting(written)
    at = read_until(written, zone, now)
    if at > now.timestamp() and len(written) <= len("15:00:00"):
        return read_until(written, zone, now - timedelta(days=1))
    if at > now.timestamp():
        raise ValueError("must not lie in the future")
    return at

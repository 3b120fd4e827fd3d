"""Times and durations as people and machines read them, in UTC; counted by hand, as the core has no clock."""

from __future__ import annotations

_DAYS = ("Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed")  # the epoch was a Thursday
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNITS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def civil(at: float) -> tuple[int, int, int, int, int, int, int]:
    """Return year, month, day, hour, minute, second and weekday (0 is Thursday) in UTC.

    The days are counted as in Howard Hinnant's "chrono-compatible low-level date algorithms": years that begin in
    March put the leap day last, and eras of 400 years are all of one length.
    """
    days, seconds = divmod(int(at // 1), 86_400)
    era, day_of_era = divmod(days + 719_468, 146_097)
    year = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    return era * 400 + year + (month <= 2), month, day, seconds // 3600, seconds // 60 % 60, seconds % 60, days % 7


def timestamp(at: float) -> str:
    """Write a time as RFC 3339 does, in UTC with milliseconds: ``2026-11-21T14:02:11.250Z``."""
    year, month, day, hour, minute, second, _ = civil(at)
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{int(at % 1 * 1000):03}Z"


def readable(at: float) -> str:
    """Write a time for people, in UTC: ``Sat 21 Nov 2026 14:02:11 UTC``."""
    year, month, day, hour, minute, second, weekday = civil(at)
    return f"{_DAYS[weekday]} {day} {_MONTHS[month - 1]} {year} {hour:02}:{minute:02}:{second:02} UTC"


def period(start: float, end: float) -> str:
    """Write a stretch of time, in UTC: ``14:02 to 14:31 UTC (29 min)``; with its days where they are not the same."""
    first, last = civil(start), civil(end)
    dated = first[:3] != last[:3]
    return f"{_minute(first, dated)} to {_minute(last, dated)} UTC ({lasting(end - start)})"


def span(seconds: float) -> str:
    """Write a duration briefly, in its two largest units: ``3h 12m``, ``45s``."""
    return _in_units(seconds, "", 2).replace("min", "m")


def lasting(seconds: float) -> str:
    """Write a duration as one says it: ``29 min``, ``3 h 12 min``, ``45 s``. Seconds count only below a minute."""
    whole = max(0, round(seconds))
    return _in_units(whole // 60 * 60 if whole >= 60 else whole, " ", 2)


def _minute(time: tuple[int, int, int, int, int, int, int], dated: bool) -> str:
    day = f"{time[2]} {_MONTHS[time[1] - 1]} " if dated else ""
    return f"{day}{time[3]:02}:{time[4]:02}"


def _in_units(seconds: float, gap: str, most: int) -> str:
    left, parts = max(0, round(seconds)), []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{gap}{unit}")
    return " ".join(parts[:most]) or f"0{gap}s"

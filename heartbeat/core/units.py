"""Durations, sizes and ratios as people write them: ``1m30s``, ``64KiB``, ``99.5%``."""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "B": 1,
    "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3,
    "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3,
}  # fmt: skip
_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,9})?"
_DURATION = re.compile(
    rf"(?:(?P<d>{_NUMBER})d)?(?:(?P<h>{_NUMBER})h)?(?:(?P<m>{_NUMBER})m(?!s))?(?:(?P<s>{_NUMBER})s)?(?:(?P<ms>{_NUMBER})ms)?"
)
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
"""The same for those who cannot ask us: editors, which read it in a JSON Schema."""
_SIZE = re.compile(rf"({_NUMBER}) ?({'|'.join(_BYTES)})?")
_RATIO = re.compile(rf"({_NUMBER}) ?(%)?")


def parse_duration(value: object) -> float:
    """Return seconds. Raises ``ValueError`` with a sentence for anything but ``300ms``, ``5m``, ``1m30s``."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError(f"needs a unit: write {value}s for seconds (or ms, m, h, d)")  # noqa: TRY004 - an operator's mistake, not a caller's
    found = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if not found:
        raise ValueError("must be a duration such as 300ms, 30s, 5m, 1m30s, 4h or 7d")
    parts = found.groupdict(default="0")
    return round(sum(float(number) * _SECONDS[unit] for unit, number in parts.items()), 9)


def parse_size(value: object) -> float:
    """Return bytes: ``64KiB``, ``1.5MB``, or a plain number. Raises ``ValueError`` with a sentence."""
    found = _SIZE.fullmatch(_text_of(value))
    if not found:
        raise ValueError("must be a size such as 512B, 64KiB or 10MB")
    return float(found[1]) * _BYTES[found[2] or "B"]


def parse_ratio(value: object) -> float:
    """Return a fraction: ``99.5%`` and ``0.995`` are the same. Raises ``ValueError`` with a sentence."""
    found = _RATIO.fullmatch(_text_of(value))
    if not found:
        raise ValueError("must be a ratio such as 99.5% or 0.995")
    if not found[2] and float(found[1]) > 1:
        raise ValueError(f"must be a ratio: write {found[1]}% for a percentage")
    return round(float(found[1]) / 100, 12) if found[2] else float(found[1])


def format_duration(seconds: float) -> str:
    """Return seconds as the configuration writes them: 90 becomes ``1m30s``."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    parts = []
    for unit in ("d", "h", "m"):
        count, seconds = divmod(seconds, _SECONDS[unit])
        parts += [f"{count:.0f}{unit}"] if count else []
    return "".join(parts) + (f"{seconds:g}s" if seconds or not parts else "")


def _text_of(value: object) -> str:
    """Return a number or text as text; booleans and the rest as nothing, which no pattern takes."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    return str(value)

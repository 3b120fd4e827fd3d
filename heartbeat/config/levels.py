"""The levels of a limit: when it warns and fails, and what clears it; refused where one can never come true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from heartbeat.config.reading import Spot, Wrong, attempt, convert, fields, whole
from heartbeat.config.scalars import resolve
from heartbeat.core.limits import Bound
from heartbeat.core.model import Severity

Parse = Callable[[object], float]
_LEVELS = {"warn": Severity.WARN, "fail": Severity.FAIL}
_OTHER_WORDS = {"warning": "warn", "critical": "fail", "crit": "fail", "error": "fail", "degraded": "warn",
                "recover": "clear", "resolve": "clear", "min_samples": "samples", "minimum": "samples"}  # fmt: skip
_OTHER_SIDES = {"over": "above", "max": "above", "gt": "above", "under": "below", "min": "below", "lt": "below"}
MOST_SAMPLES = 1_000_000


@dataclass(frozen=True, slots=True)
class Domain:
    """Which values a limit can see: how they are parsed, and where they end.

    ``bare`` says whether a value alone may stand for ``above``; ``reaches_lowest`` whether the lowest value ever comes.
    """

    parse: Parse
    lowest: float | None = None
    highest: float | None = None
    bare: bool = True
    reaches_lowest: bool = True


@dataclass(slots=True)
class _Clear:
    """What clears a level: a value alone, or one for a side."""

    spot: Spot
    sides: dict[str, float]
    bare: float | None = None
    used: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Level:
    spot: Spot
    sides: dict[str, float]
    clear: _Clear | None = None


def read_levels(spot: Spot, domain: Domain, *, windowed: bool) -> tuple[tuple[Bound, ...], int]:
    """Return the levels of a limit, the mildest first, and how many samples it needs."""
    level, clear = _level(domain), _clear(domain)
    readers = {"warn": level, "fail": level, "clear": clear, "samples": whole(2, MOST_SAMPLES)}
    found = fields(spot, readers, _OTHER_WORDS)
    written = spot.node.value
    if isinstance(written, dict) and not written.keys() - {"clear", "samples"}:
        spot.wrong("needs warn: or fail: with a value")
    if "samples" in found and not windowed:
        spot.entries()["samples"].wrong("has no effect here: only what is made of the samples of a window needs some")
    levels = {word: found[word] for word in _LEVELS if word in found}
    attempt(spot, lambda _: _compare({word: level.sides for word, level in levels.items()}))
    common = found.get("clear")
    bounds = tuple(_bound(_LEVELS[word], level, common) for word, level in levels.items())
    if common and levels:
        attempt(common.spot, lambda _: _check_use(common, levels))
    return bounds, found.get("samples", 1)


def _level(domain: Domain) -> Callable[[Spot], _Level]:
    """Return a reader of one level: a bare value fires above it; a mapping says above, below, or both."""

    def read(spot: Spot) -> _Level:
        if not isinstance(spot.node.value, dict):
            if not domain.bare:
                raise Wrong(f"would fire above {spot.shown()}: write {{below: …}}")
            level = _Level(spot, {"above": convert(spot, domain.parse)})
        else:
            side = _side(domain)
            found = fields(spot, {"above": side, "below": side, "clear": _clear(domain)}, _OTHER_SIDES)
            clear = found.pop("clear", None)
            level = _Level(spot, found, clear)
            if not spot.node.value.keys() - {"clear"}:
                raise Wrong("needs above: or below: with a value")
        _check_sides(level.sides, domain)
        return level

    return read


def _side(domain: Domain) -> Callable[[Spot], float]:
    return lambda spot: convert(spot, domain.parse)


def _clear(domain: Domain) -> Callable[[Spot], _Clear]:
    """Return a reader of what clears: a value alone, or one for a side or for both."""

    def read(spot: Spot) -> _Clear:
        if not isinstance(spot.node.value, dict):
            return _Clear(spot, {}, convert(spot, domain.parse))
        side = _side(domain)
        found = fields(spot, {"above": side, "below": side}, _OTHER_SIDES)
        if not spot.node.value:
            raise Wrong("needs above: or below: with a value")
        return _Clear(spot, found)

    return read


def _check_sides(sides: Mapping[str, float], domain: Domain) -> None:
    """Refuse a level that fires for every value, or for none."""
    above, below = sides.get("above"), sides.get("below")
    if above is not None and below is not None and below > above:
        raise Wrong("fires for every value: below must not be larger than above")
    if above is not None and above == domain.lowest and not domain.reaches_lowest:
        raise Wrong("fires for every value: it is always above zero")
    if below is not None and domain.lowest is not None and below <= domain.lowest:
        raise Wrong("never fires: it is never below zero")
    if above is not None and domain.highest is not None and above >= domain.highest:
        raise Wrong("never fires: it is never above 100%")


def _compare(levels: Mapping[str, Mapping[str, float]]) -> None:
    """Refuse a warning that can never come before the failure."""
    warn, fail = levels.get("warn", {}), levels.get("fail", {})
    if "above" in warn and "above" in fail and warn["above"] >= fail["above"]:
        raise Wrong("warn has no effect: it must be smaller than fail")
    if "below" in warn and "below" in fail and warn["below"] <= fail["below"]:
        raise Wrong("warn has no effect: it must be larger than fail, as both fire below")


def _bound(severity: Severity, level: _Level, common: _Clear | None) -> Bound:
    clear = level.clear or common
    if clear is None:
        return Bound(severity, **level.sides)
    found = attempt(clear.spot, lambda _: _sides_of(clear, level), {})
    return Bound(severity, **level.sides, **{f"clear_{side}": value for side, value in found.items()})


def _sides_of(clear: _Clear, level: _Level) -> dict[str, float]:
    """Return what clears each side of a level. Raises ``Wrong`` where that is on the wrong side of it."""
    found = clear.sides
    if clear.bare is not None:
        if len(level.sides) > 1:
            raise Wrong("needs above: or below:, as the level has both")
        found = dict.fromkeys(level.sides, clear.bare)
    found = {side: value for side, value in found.items() if side in level.sides}
    clear.used |= found.keys()
    if clear is level.clear and (strange := clear.sides.keys() - level.sides):
        raise Wrong(f"has no effect on {min(strange)}, which the level does not have")
    if "above" in found and found["above"] >= level.sides["above"]:
        raise Wrong("must be smaller than the value above which it fires")
    if "below" in found and found["below"] <= level.sides["below"]:
        raise Wrong("must be larger than the value below which it fires")
    good = {**level.sides, **found}
    if len(good) == 2 and good["above"] < good["below"]:
        raise Wrong("nothing ever clears it: above must not be smaller than below here")
    return found


def _check_use(common: _Clear, levels: Mapping[str, _Level]) -> None:
    """Refuse what clears no level, or does not say which side of them it means."""
    open_levels = [level for level in levels.values() if level.clear is None]
    if not open_levels:
        raise Wrong("has no effect: each level has its own")
    if common.bare is not None and len({side for level in open_levels for side in level.sides}) > 1:
        raise Wrong("needs above: or below:, as the levels have both")
    if unused := common.sides.keys() - common.used:
        raise Wrong(f"has no effect on {min(unused)}, which no level has")


def parse_number(value: object) -> float:
    """Return a finite number. Raises ``ValueError`` for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or abs(value) == float("inf"):  # noqa: PLR0124 - NaN is what differs from itself
        raise ValueError("must be a number")
    return float(value)


def parse_count(value: object) -> float:
    """Return a whole number that is not negative. Raises ``ValueError`` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("must be a whole number of runs")
    return float(value)


def signed(parse: Parse) -> Parse:
    """Return what parses changes: as the values themselves, with a minus where they fall."""

    def read(value: object) -> float:
        if isinstance(value, str) and value.startswith("-"):
            return -parse(value[1:])
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return -parse(-value) if is_number and value < 0 else parse(value)  # type: ignore[operator]  # a number it is

    return read


def per_second(parse: Parse) -> Parse:
    """Return what parses rates: as the values themselves, with or without ``/s``."""
    return lambda value: parse(resolve(value.removesuffix("/s")) if isinstance(value, str) else value)

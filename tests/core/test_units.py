from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.core.units import format_duration, parse_duration, parse_ratio, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300ms", 0.3), ("30s", 30), ("5m", 300), ("4h", 14400), ("7d", 604800), ("1m30s", 90), ("1.5h", 5400),
     ("2s500ms", 2.5), ("0s", 0)],
)  # fmt: skip
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "5", "5 m", "-5s", "5s1m", "5sec", "1e3s", None, True, [], "٣s"])
def test_anything_else_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(text)


@pytest.mark.parametrize("number", [5, 0.5, 0])
def test_a_number_is_asked_for_its_unit(number: float) -> None:
    with pytest.raises(ValueError, match=f"write {number}s for seconds"):
        parse_duration(number)


@given(st.integers(0, 10**7).map(lambda n: n / 100))
def test_a_duration_survives_being_written_and_read(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "size"), [("64KiB", 65536), ("1.5MB", 1_500_000), ("10 GiB", 10 * 2**30), (7, 7), ("7B", 7)]
)
def test_sizes_are_bytes(text: object, size: float) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["64kib", "-1B", "", True, None, "1TB5"])
def test_anything_else_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="must be a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "ratio"), [("99.5%", 0.995), (0.995, 0.995), ("100%", 1.0), ("150%", 1.5), (1, 1.0), ("0%", 0)]
)
def test_ratios_are_fractions(text: object, ratio: float) -> None:
    assert parse_ratio(text) == ratio


@pytest.mark.parametrize(
    ("text", "sentence"), [(99.5, "write 99.5%"), ("half", "must be a ratio"), (False, "must be a ratio")]
)
def test_anything_else_is_no_ratio(text: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_ratio(text)

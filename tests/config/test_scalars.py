from __future__ import annotations

import math

import pytest

from heartbeat.config.scalars import resolve

TEXT = "NO no yes on Off y 12:30:45 2026-01-02 0b11 1_000 = 0o8 1.2.3 + . -"


@pytest.mark.parametrize("text", [*TEXT.split(), "9" * 400])
def test_what_yaml_1_1_would_convert_stays_text(text: str) -> None:
    assert resolve(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("012", 12), ("0o12", 10), ("0x1F", 31), ("-7", -7), ("+7", 7), ("1e3", 1000.0), (".5", 0.5), ("5.", 5.0),
     ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("-.inf", -math.inf)],
)  # fmt: skip
def test_what_the_core_schema_knows_is_converted(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


def test_nan_is_a_number() -> None:
    assert math.isnan(float(resolve(".nan") or 0))

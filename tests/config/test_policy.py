from __future__ import annotations

from collections.abc import Callable

import pytest

from heartbeat.config import Config
from heartbeat.core.policy import Flapping, Latch, Policy

Load = Callable[..., Config]


def policy_of(load_text: Load, own: str, defaults: str = "{}") -> Policy:
    return (
        load_text(f"defaults: {{policy: {defaults}}}\nchecks: {{a: {{shop: {{}}, policy: {own}}}}}\n")
        .checks["a"]
        .policy
    )


def test_every_key_of_a_policy_arrives(load_text: Load) -> None:
    found = policy_of(
        load_text,
        "{raise: 2 of 3, clear: 2, recheck: 5s, remind: 4h, hold: 2m, missed: 5, flapping: {start: 40%, stop: 0.1}, "
        "warn: {raise: 5}, fail: {clear: 3}}",
    )
    assert found == Policy(
        warn=Latch(5, 5, 2),
        fail=Latch(2, 3, 3),
        recheck=5.0,
        remind=14400.0,
        hold=120.0,
        missed=5,
        flapping=Flapping(0.4, 0.1),
        interval=60.0,
    )


def test_defaults_are_merged_key_by_key_down_to_the_latches(load_text: Load) -> None:
    found = policy_of(
        load_text,
        "{raise: 4, warn: {clear: 7}, flapping: {start: 80%}}",
        "{clear: 2, warn: {raise: 5, clear: 6}, fail: {raise: 1}, flapping: {stop: 5%}, hold: 1m}",
    )
    assert (found.warn, found.fail) == (Latch(5, 5, 7), Latch(1, 1, 2))
    assert (found.flapping, found.hold) == (Flapping(0.8, 0.05), 60.0)


def test_never_takes_back_what_the_defaults_say(load_text: Load) -> None:
    found = policy_of(
        load_text,
        "{recheck: never, remind: never, missed: never, flapping: never, hold: 0s}",
        "{recheck: 5s, remind: 1h, missed: 7, flapping: true, hold: 1m}",
    )
    assert found == Policy(recheck=None, remind=None, missed=None, flapping=None, hold=0.0, interval=60.0)


@pytest.mark.parametrize(
    ("own", "defaults", "flapping"),
    [
        ("{}", "{}", Flapping()),
        ("{flapping: true}", "{flapping: never}", Flapping()),
        ("{flapping: true}", "{flapping: {start: 50%}}", Flapping(0.5, 0.2)),
        ("{flapping: false}", "{}", None),
        ("{flapping: {start: 50%}}", "{flapping: never}", Flapping(0.5, 0.2)),
        ("{}", "{flapping: false}", None),
    ],
)
def test_flapping_is_switched_on_and_off(load_text: Load, own: str, defaults: str, flapping: Flapping | None) -> None:
    assert policy_of(load_text, own, defaults).flapping == flapping

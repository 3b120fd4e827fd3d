from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from heartbeat.config import Config, load_in_child
from heartbeat.core.policy import Routes

Load = Callable[..., Config]

RECEIVERS = """
receivers:
  oncall: &one [command: {command: [/bin/true]}]
  chat: [command: {command: [/bin/true]}]
  lead: [command: {command: [/bin/true]}]
"""


def text_of(own: str, defaults: str) -> str:
    return f"{RECEIVERS}defaults: {defaults}\nchecks: {{a: {{shop: {{}}, {own}}}}}\n"


def routes(load_text: Load, own: str, defaults: str = "{}") -> Routes:
    return load_text(text_of(own, defaults)).checks["a"].notify


def test_a_list_is_told_everything(load_text: Load) -> None:
    assert routes(load_text, "notify: [oncall, chat]") == Routes(("oncall", "chat"))


def test_severities_and_kinds_are_told_apart(load_text: Load) -> None:
    found = routes(load_text, "notify: {reminder: [lead], warn: [chat], check_broken: [], otherwise: [oncall]}")
    assert found == Routes(("oncall",), (("warn", ("chat",)), ("check_broken", ()), ("reminder", ("lead",))))


@pytest.mark.parametrize(
    ("own", "defaults", "expected"),
    [
        ("every: 1m", "notify: [oncall]", Routes(("oncall",))),
        ("notify: [chat]", "notify: {warn: [lead], otherwise: [oncall]}", Routes(("chat",))),
        ("notify: {warn: [chat]}", "notify: [oncall]", Routes(("oncall",), (("warn", ("chat",)),))),
        (
            "notify: {fail: [lead], otherwise: [chat]}",
            "notify: {warn: [chat], fail: [oncall], otherwise: [oncall]}",
            Routes(("chat",), (("warn", ("chat",)), ("fail", ("lead",)))),
        ),
        ("notify: []", "notify: [oncall]", Routes()),
    ],
)
def test_a_list_takes_the_place_of_the_defaults_and_a_mapping_is_merged_word_by_word(
    load_text: Load, own: str, defaults: str, expected: Routes
) -> None:
    assert routes(load_text, own, f"{{{defaults}}}") == expected


@pytest.mark.parametrize(
    ("own", "defaults", "after", "to"),
    [
        ("escalate: {after: 15m, to: [lead]}", "{}", 900.0, ("lead",)),
        ("every: 1m", "{escalate: {after: 15m, to: [lead]}}", 900.0, ("lead",)),
        ("escalate: {after: 5m}", "{escalate: {after: 15m, to: [lead]}}", 300.0, ("lead",)),
        ("escalate: never", "{escalate: {after: 15m, to: [lead]}}", None, ()),
    ],
)
def test_an_escalation_comes_from_the_check_and_the_defaults(
    load_text: Load, own: str, defaults: str, after: float | None, to: tuple[str, ...]
) -> None:
    check = load_text(text_of(own, defaults)).checks["a"]
    assert (check.policy.escalate, check.notify.escalation) == (after, to)


def test_half_an_escalation_is_refused(complaints: Callable[..., list[str]]) -> None:
    assert complaints(text_of("escalate: {after: 5m}", "{escalate: never}")) == [
        'checks.a.escalate: needs "to", a list of receivers'
    ]


def test_all_that_is_wrong_with_words_and_receivers_is_told(complaints: Callable[..., list[str]]) -> None:
    found = complaints(text_of("notify: {fial: [oncall], settled: [oncall], warn: [onccall]}", "{}"))
    assert found == [
        'checks.a.notify: unknown key "fial"; did you mean "fail"?',
        "checks.a.notify.settled: settled goes to whoever was told that it began; leave it out",
        'checks.a.notify.warn: there is no receiver "onccall"; did you mean "oncall"?',
    ]


@pytest.mark.parametrize(
    "words", ["notify: {warn: [chat]}", "escalate: {after: 1m, to: [lead]}", "policy: {flapping: never, hold: 1m}"]
)
async def test_what_is_told_apart_arrives_at_a_reload(words: str, folder: Path) -> None:
    config = folder / "config.yaml"
    config.write_text(f"plugins: [./checks.d]\n{text_of('every: 1m', '{}')}")
    before = await load_in_child([config])
    config.write_text(f"plugins: [./checks.d]\n{text_of(words, '{}')}")

    after = await load_in_child([config], before)

    assert after.checks["a"] != before.checks["a"]
    assert after.checks["a"].check is before.checks["a"].check
    again = await load_in_child([config], after)
    assert again.checks["a"] is after.checks["a"]

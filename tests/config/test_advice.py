from __future__ import annotations

from collections.abc import Callable

import pytest

from heartbeat.config import Config
from heartbeat.config.advice import warnings

Load = Callable[..., Config]

RECEIVERS = """
receivers:
  oncall: [command: {command: [/bin/true]}]
  lead: [command: {command: [/bin/true]}]
self_notify: [oncall, lead]
"""


@pytest.fixture
def advice(load_text: Load) -> Callable[..., list[str]]:
    def advise(text: str, now: float = 0.0) -> list[str]:
        return list(warnings(load_text(RECEIVERS + text), now))

    return advise


Advice = Callable[..., list[str]]


def of_check(advice: Advice, words: str, now: float = 0.0) -> list[str]:
    notify = "" if "notify:" in words else "notify: [oncall], "
    return [one.removeprefix("checks.a: ") for one in advice(f"checks: {{a: {{shop: {{}}, {notify}{words}}}}}\n", now)]


def test_a_sensible_check_needs_none(advice: Advice) -> None:
    assert (
        of_check(advice, "policy: {raise: 2 of 3, recheck: 5s, remind: 4h, hold: 1m}, limits: {duration: {warn: 1s}}")
        == []
    )


def test_what_is_true_of_many_checks_is_said_once(advice: Advice) -> None:
    assert advice("checks: {a: {shop: {}}, b: {shop: {}}, c: {shop: {}}}\n") == [
        "checks.a and 2 more: notifies nobody; its failures show only in metrics and on the page"
    ]


def test_a_kind_of_news_that_nobody_hears_is_named(advice: Advice) -> None:
    found = of_check(advice, "notify: {fail: [oncall]}, limits: {duration: {warn: 1s}}")
    assert found == ["nobody is told of warn; name receivers for it, or otherwise: for the rest"]
    assert of_check(advice, "notify: {warn: [oncall]}, limits: {duration: {warn: 1s}}, policy: {missed: never}") == [
        "nobody is told of fail and check_broken; name receivers for it, or otherwise: for the rest"
    ]


def test_what_has_no_severity_goes_the_way_of_failures_where_nothing_is_said_of_it(advice: Advice) -> None:
    assert of_check(advice, "notify: {fail: [oncall]}") == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("escalate: {after: 5m, to: []}", "escalates to nobody: name receivers in to:"),
        ("escalate: {after: 5m, to: [oncall]}", "escalates to oncall, who know already"),
        ("policy: {remind: 1m, hold: 2m}", "is held back for 2m, longer than it takes to the first reminder (1m)"),
        ("policy: {raise: 2, recheck: 2m}", "recheck has no effect: the next run comes sooner than 2m"),
    ],
)
def test_what_hardly_does_what_was_hoped_is_said(advice: Advice, words: str, said: str) -> None:
    assert of_check(advice, words) == [said]


@pytest.mark.parametrize(
    ("word", "rest", "what"),
    [
        ("warn", "", "a limit with warn:"),
        ("reminder", "", "remind: in its policy"),
        ("flapping", "policy: {flapping: never}", "flapping: other than never in its policy"),
        ("missed", "policy: {missed: never}", "missed: other than never in its policy"),
        ("budget_burning", "", "an objective"),
    ],
)
def test_a_word_by_which_nothing_is_ever_told_is_named(advice: Advice, word: str, rest: str, what: str) -> None:
    found = of_check(advice, f"notify: {{{word}: [lead], otherwise: [oncall]}}, {rest}")
    assert found == [f"notify.{word} has no effect: no check that it holds for has {what}"]


def test_a_word_of_the_defaults_is_fine_as_long_as_one_check_needs_it(advice: Advice) -> None:
    text = (
        "defaults: {notify: {warn: [lead], otherwise: [oncall]}}\n"
        "checks: {a: {shop: {}}, b: {shop: {}, limits: {duration: {warn: 1s}}}}\n"
    )
    assert advice(text) == []


def test_a_window_with_few_runs_in_it_is_named(advice: Advice) -> None:
    assert of_check(advice, "limits: {p95 duration 3m: {fail: 1s}}") == [
        "the limit p95 duration 3m looks at 3 runs only, as it runs every 1m"
    ]
    assert of_check(advice, "limits: {p95 duration 5m: {fail: 1s}}") == []


def test_an_objective_of_a_check_that_runs_rarely_is_named(advice: Advice) -> None:
    assert of_check(advice, "objective: {availability: 99.9%}, every: 10m") == [
        "runs too rarely to see its error budget burn within 1h: often no run is in the last 5m"
    ]
    assert of_check(advice, "objective: {availability: 99.9%}, every: 5m") == []


def test_a_dependency_that_can_hide_a_failure_is_named(advice: Advice) -> None:
    text = "checks: {a: {shop: {}, notify: [oncall], depends_on: [b]}, b: {shop: {}, every: 5m, notify: [lead]}}\n"
    assert advice(text) == ["checks.a: depends on b, which runs more rarely (every 5m)"]
    assert advice(text.replace("[lead]", "{otherwise: [lead], fail: []}").replace("5m", "1m")) == [
        "checks.a: depends on b, and nobody is told when that fails: then nobody is told of either",
        "checks.b: nobody is told of fail; name receivers for it, or otherwise: for the rest",
    ]


def test_maintenance_that_is_over_or_covers_nothing_is_named(advice: Advice) -> None:
    text = (
        "checks: {a: {shop: {}, notify: [oncall]}}\nmaintenance:\n"
        "  move: {checks: [a], reason: x, from: 2026-01-01T10:00Z, until: 2026-01-01T11:00Z}\n"
        "  other: {checks: [b*], reason: x, cron: 0 1 * * *, duration: 1h}\n"
        "  own: {checks: [heartbeat.store], reason: x, cron: 0 1 * * *, duration: 1h}\n"
    )
    assert advice(text) == ["maintenance.other: covers no check"]
    assert advice(text, 2e9) == ["maintenance.move: is over; take it out", "maintenance.other: covers no check"]


def test_a_rest_that_has_nothing_left_is_named(advice: Advice) -> None:
    words = ("warn", "fail", "check_broken", "missed", "budget_burning", "flapping", "reminder")
    every = ", ".join(f"{word}: [oncall]" for word in words)
    rest = "limits: {duration: {warn: 1s}}, policy: {remind: 4h}, objective: {availability: 99%}"
    assert of_check(advice, f"notify: {{{every}, otherwise: [lead]}}, {rest}") == [
        "notify.otherwise has no effect: all that can be told is told apart"
    ]
    assert of_check(advice, f"notify: {{{every.replace('flapping: [oncall], ', '')}, otherwise: [lead]}}, {rest}") == []


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("{duration: {fail: 10s}}", "the limit duration above 10s is never reached: the timeout comes first"),
        (
            "{phase.connect: {fail: {below: 20s}}}",
            "the limit phase.connect below 20s never holds: no run lasts so long",
        ),
        ("{hit_ratio: {warn: 100%}}", "the limit hit_ratio above 1 is hardly ever reached: 1 is all of it"),
        ("{hit_ratio: {warn: {below: 120%}}}", "the limit hit_ratio below 1.2 hardly ever holds: 1 is all of it"),
    ],
)
def test_a_limit_that_can_never_hold_or_never_fire_is_named(advice: Advice, limits: str, said: str) -> None:
    assert of_check(advice, f"limits: {limits}") == [said]


@pytest.mark.parametrize(
    "limits",
    ["{duration: {fail: 9s}}", "{hit_ratio: {warn: {below: 95%}}}", "{rate requests 10m: {fail: 20}}",
     "{queue_seconds: {fail: 1h}}"],
)  # fmt: skip
def test_a_limit_that_can_hold_and_fire_is_fine(advice: Advice, limits: str) -> None:
    assert of_check(advice, f"limits: {limits}") == []


def test_a_timeout_longer_than_the_time_between_two_cron_slots_is_named(advice: Advice) -> None:
    assert of_check(advice, "cron: '*/2,5 * * * *', timeout: 90s") == [
        "the timeout (1m30s) is longer than the shortest time between two runs (1m)"
    ]
    assert of_check(advice, "cron: '*/2 * * * *', timeout: 90s") == []


def test_an_interval_shorter_than_the_timeout_is_a_mistake(complaints: Callable[..., list[str]]) -> None:
    assert complaints("checks: {a: {shop: {}, every: 5s, timeout: 6s}}\n") == [
        "checks.a.timeout: the timeout (6s) is longer than every (5s)"
    ]

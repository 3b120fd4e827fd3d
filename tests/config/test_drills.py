from __future__ import annotations

from collections.abc import Callable

import pytest

from heartbeat.config import Config
from heartbeat.config.advice import warnings
from heartbeat.config.model import Drill
from heartbeat.core.schedule import Cron

Load = Callable[..., Config]
Complaints = Callable[..., list[str]]

TOP = """
receivers:
  oncall: [webhook: {url: "https://hook.example.com/a"}]
  operators: [webhook: {url: "https://hook.example.com/b"}]
checks: {}
"""
OWN = TOP + "self_notify: [operators]\n"


def test_one_drill_takes_self_notify_for_its_alert(load_text: Load) -> None:
    config = load_text(OWN + 'drill: {receiver: oncall, cron: "0 9 * * 1"}')

    assert config.drills == (Drill("oncall", Cron("0 9 * * 1", "UTC"), 300.0, ("operators",)),)


def test_several_drills_say_all_themselves(load_text: Load) -> None:
    config = load_text(
        TOP
        + """
drill:
  - {receiver: oncall, cron: "0 9 * * 1", timezone: Europe/Stockholm, within: 2m, alert: [operators]}
  - {receiver: operators, cron: "0 9 * * 2", alert: [oncall]}
"""
    )

    assert config.drills == (
        Drill("oncall", Cron("0 9 * * 1", "Europe/Stockholm"), 120.0, ("operators",)),
        Drill("operators", Cron("0 9 * * 2", "UTC"), 300.0, ("oncall",)),
    )


@pytest.mark.parametrize(
    ("drill", "said"),
    [
        (
            '{receiver: oncal, cron: "0 9 * * 1"}',
            'drill.receiver: there is no receiver "oncal"; did you mean "oncall"?',
        ),
        ("{receiver: oncall}", 'drill: needs "cron"'),
        ('{cron: "0 9 * * 1"}', 'drill: needs "receiver"'),
        ('{receiver: oncall, cron: "0 9 * *"}', "drill.cron: must have five fields"),
        ('{receiver: oncall, cron: "0 9 * * 1", within: 1s}', "drill.within: must be at least 10s"),
        ('{receiver: oncall, cron: "0 9 * * 1", alert: [ops]}', 'drill.alert: there is no receiver "ops"'),
        (
            '{receiver: oncall, cron: "0 9 * * 1", raise_to: [operators]}',
            'unknown key "raise_to"; did you mean "alert"?',
        ),
        ("5", "drill: must be a mapping"),
    ],
)
def test_a_wrong_drill_is_refused_with_a_sentence(complaints: Complaints, drill: str, said: str) -> None:
    (complaint,) = complaints(f"{OWN}drill: {drill}")

    assert said in complaint


def test_a_drill_whose_failure_nobody_hears_of_is_refused(complaints: Complaints) -> None:
    (complaint,) = complaints(TOP + 'drill: {receiver: oncall, cron: "0 9 * * 1"}')

    assert "nobody would hear of a drill that failed" in complaint


def test_two_drills_of_one_receiver_are_refused(complaints: Complaints) -> None:
    one = '{receiver: oncall, cron: "0 9 * * 1"}'

    (complaint,) = complaints(f"{OWN}drill: [{one}, {one}]")

    assert complaint.startswith('drill.1: there is already a drill of "oncall"')


def test_a_drill_that_alerts_only_the_receiver_it_tries_is_warned_about(load_text: Load) -> None:
    config = load_text(TOP + 'drill: {receiver: oncall, cron: "0 9 * * 1", alert: [oncall]}')

    assert any("only that receiver is told" in sentence for sentence in warnings(config))


def test_receivers_of_drills_are_in_use(load_text: Load) -> None:
    config = load_text(TOP + 'drill: {receiver: oncall, cron: "0 9 * * 1", alert: [operators]}')

    assert not any("nothing sends to it" in sentence for sentence in warnings(config))

"""The rules that we ship for Prometheus: it accepts them, they fire when they should, and they name what exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from heartbeat.core.model import MISSED_REASONS
from heartbeat.core.quiet import QuietKind
from heartbeat.metrics.instruments import DELIVERY_OUTCOMES, REASSERTION_OUTCOMES, Instruments
from heartbeat.metrics.page import FAMILIES

ROOT = Path(__file__).parents[1]
RULES = ROOT / "deploy/prometheus/heartbeat.rules.yml"
UNIT_TESTS = sorted((ROOT / "tests/rules").glob("*.yml"))
OF_ALERTS = {
    "HeartbeatChannelFailing": DELIVERY_OUTCOMES,
    "HeartbeatMessagesDead": DELIVERY_OUTCOMES,
    "HeartbeatReassertionsFailing": REASSERTION_OUTCOMES,
    "HeartbeatRunsMissed": tuple(MISSED_REASONS),
    "HeartbeatCheckAbsent": tuple(QuietKind),
    "HeartbeatCheckUnusable": tuple(QuietKind),
}


def rules() -> list[dict[str, Any]]:
    whole = yaml.safe_load(RULES.read_text())
    return [rule for group in whole["groups"] for rule in group["rules"]]


def promtool(*words: str | Path) -> str:
    done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.system("prometheus")
def test_promtool_accepts_the_rules() -> None:
    assert f"SUCCESS: {len(rules())} rules found" in promtool("check", "rules", RULES)


@pytest.mark.system("prometheus")
@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_are_quiet_when_they_should(path: Path) -> None:
    promtool("test", "rules", path)


def test_every_alert_is_tested_both_firing_and_quiet() -> None:
    tested: dict[bool, set[str]] = {True: set(), False: set()}
    for path in UNIT_TESTS:
        for story in yaml.safe_load(path.read_text())["tests"]:
            for one in story["alert_rule_test"]:
                tested[bool(one["exp_alerts"])].add(one["alertname"])
    names = {rule["alert"] for rule in rules()}
    assert tested == {True: names, False: names}


def test_every_metric_in_the_rules_exists() -> None:
    own = Instruments().text().decode()
    known = {name for name, _, _ in FAMILIES} | set(re.findall(r"^# HELP (\w+)", own, re.MULTILINE))
    texts = [" ".join([rule["expr"], *rule["annotations"].values()]) for rule in rules()]
    named = {name for text in texts for name in re.findall(r"\b(?:heartbeat|process)_\w+", text)}
    assert {name.removesuffix("_bucket") for name in named} <= known
    assert len(named) > 10


@pytest.mark.parametrize("alert", OF_ALERTS)
def test_label_values_in_the_rules_exist(alert: str) -> None:
    (rule,) = (rule for rule in rules() if rule["alert"] == alert)
    values = {
        word for value in re.findall(r'(?:outcome|reason)=~?"([^"]+)"', rule["expr"]) for word in value.split("|")
    }
    assert values
    assert values <= {str(value) for value in OF_ALERTS[alert]}


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]


def test_commands_in_the_rules_exist() -> None:
    from heartbeat import cli

    named = set(re.findall(r"`heartbeat ([a-z-]+)", RULES.read_text()))
    assert "validate" in named
    assert named <= set(cli.COMMANDS)

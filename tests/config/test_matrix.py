from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from heartbeat.config import Config, load, load_in_child
from heartbeat.core.policy import Routes

Load = Callable[..., Config]
Complaints = Callable[..., list[str]]

LOGIN = """
receivers: {eu-team: [command: {command: [/bin/true]}], us-team: [command: {command: [/bin/true]}]}
defaults: {labels: {team: shop}}
checks:
  login:
    matrix: {cohort: [a-d, e-h], region: [eu, us]}
    shop: {url: "https://${matrix.region}.example.com/?c=${matrix.cohort}"}
    labels: {tier: "of-${matrix.region}"}
    runbook: see ${matrix.cohort}
    notify: ["${matrix.region}-team"]
"""


def test_one_check_becomes_one_for_each_combination(load_text: Load) -> None:
    checks = load_text(LOGIN).checks

    assert list(checks) == ["login.a-d.eu", "login.a-d.us", "login.e-h.eu", "login.e-h.us"]
    one = checks["login.e-h.us"]
    assert one.name == "login.e-h.us"
    assert one.check.model_dump()["url"] == "https://us.example.com/?c=e-h"
    assert one.labels == {"team": "shop", "cohort": "e-h", "region": "us", "tier": "of-us"}
    assert (one.runbook, one.notify) == ("see e-h", Routes(("us-team",)))


def test_the_others_stay_as_they_are_and_where_they_are(load_text: Load) -> None:
    text = "checks:\n  a: {shop: {}}\n  b: {matrix: {x: [1, 2]}, shop: {}}\n  c: {shop: {}}\n"
    assert list(load_text(text).checks) == ["a", "b.1", "b.2", "c"]


def test_combinations_are_left_out(load_text: Load) -> None:
    text = """
checks:
  a:
    matrix: {x: [1, 2], y: [u, v], exclude: [{x: 1, y: v}, {x: 2, y: u}]}
    shop: {}
  b:
    matrix: {x: [1, 2], y: [u, v], exclude: [{y: v}]}
    shop: {}
"""
    assert list(load_text(text).checks) == ["a.1.u", "a.2.v", "b.1.u", "b.2.u"]


def test_a_plain_value_of_the_matrix_becomes_a_number_and_a_quoted_one_stays_text(load_text: Load) -> None:
    options = "      port: ${matrix.port}\n      url: '${matrix.port}'\n"
    text = f"checks:\n  a:\n    matrix: {{port: [8443]}}\n    shop:\n{options}"
    assert load_text(text).checks["a.8443"].check.model_dump() == {"port": 8443, "url": "8443", "token": ""}


def test_a_value_may_complete_the_name_of_a_secret(load_text: Load) -> None:
    text = (
        'checks: {a: {matrix: {region: [eu, us]}, shop: {token: "${secret:TOKEN_${matrix.region}}", '
        'url: "${HOST_${matrix.region}:-none} $${matrix.region} ${A}"}}}\n'
    )
    config = load_text(text, TOKEN_eu="swordfish", TOKEN_us="marlinfish", HOST_eu="x", A="b")

    eu, us = (config.checks[name].check.model_dump() for name in ("a.eu", "a.us"))
    assert (eu["token"], us["token"]) == ("swordfish", "marlinfish")
    assert (eu["url"], us["url"]) == ("x ${matrix.region} b", "none ${matrix.region} b")
    assert config.redactor("swordfish marlinfish") == "<redacted:TOKEN_eu> <redacted:TOKEN_us>"


def test_values_reach_limits_and_policies(load_text: Load) -> None:
    text = """
checks:
  a:
    matrix: {slow: [800ms, 2s], times: [2, 3]}
    shop: {}
    policy:
      raise: ${matrix.times}
    limits:
      duration: {fail: "${matrix.slow}"}
"""
    checks = load_text(text).checks
    assert [(one.limits[0].bounds[0].above, one.policy.fail.raise_) for one in checks.values()] == [
        (0.8, 2),
        (0.8, 3),
        (2.0, 2),
        (2.0, 3),
    ]


def test_a_mistake_that_all_members_share_is_told_once(complaints: Complaints) -> None:
    found = complaints("checks: {a: {matrix: {x: [1, 2]}, shop: {prot: '${matrix.x}'}, every: 10}}\n")
    assert found == [
        'checks.a.shop: unknown key "prot"; did you mean "port"?',
        "checks.a.every: needs a unit: write 10s for seconds (or ms, m, h, d)",
    ]


def test_a_mistake_of_one_member_is_told_at_the_place_where_it_is_written(complaints: Complaints) -> None:
    found = complaints("checks: {a: {matrix: {x: [10s, soon]}, shop: {}, every: '${matrix.x}'}}\n")
    assert found == ['checks.a.every: must be a duration such as 300ms, 30s, 5m, 1m30s, 4h or 7d, not "soon"']


def test_a_faulty_matrix_does_not_hide_other_checks(complaints: Complaints) -> None:
    found = complaints("checks: {a: {matrix: {x: []}, shop: {url: '${matrix.x}'}}, b: {every: 1, shop: {}}}\n")
    assert [one.partition(":")[0] for one in found] == ["checks.a.matrix.x", "checks.b.every"]


def test_a_matrix_is_for_checks_alone(complaints: Complaints) -> None:
    found = complaints(
        "defaults: {labels: {x: '${matrix.x}'}}\nlocation: '${matrix.x}'\nchecks: {a: {matrix: {x: [1]}, shop: {}}}\n"
    )
    hint = '"${matrix.x}" finds no matrix here: that is a key of a check, beside its type'
    assert found == [f"defaults.labels.x: {hint}", f"location: {hint}"]


def test_a_name_that_is_none_is_told_once(complaints: Complaints) -> None:
    assert len(complaints("checks: {'a b': {matrix: {x: [1, 2, 3]}, shop: {}}}\n")) == 1


def test_members_of_a_check_called_heartbeat_are_refused(complaints: Complaints) -> None:
    [found] = complaints("checks: {heartbeat: {matrix: {x: [1, 2, 3]}, shop: {}}}\n")
    assert "names that start with heartbeat." in found


def test_each_member_may_take_over_a_history_of_its_own(load_text: Load) -> None:
    text = "checks: {a: {matrix: {x: [1, 2]}, was: 'old-${matrix.x}', shop: {}}}\n"
    assert [one.was for one in load_text(text).checks.values()] == ["old-1", "old-2"]


def test_an_anchor_has_the_values_of_whoever_refers_to_it(load_text: Load) -> None:
    text = """
checks:
  a: {matrix: {x: [1, 2]}, shop: &shop {url: "${matrix.x}"}}
  b: {matrix: {x: [3]}, shop: *shop}
"""
    assert [one.check.model_dump()["url"] for one in load_text(text).checks.values()] == ["1", "2", "3"]


async def test_members_survive_the_trip_through_the_child(folder: Path) -> None:
    config = folder / "config.yaml"
    config.write_text(f"plugins: [./checks.d]\n{LOGIN}")
    here, there = load([config], {}), await load_in_child([config])

    assert there.checks == here.checks
    again = await load_in_child([config], there)
    assert all(again.checks[name] is check for name, check in there.checks.items())


@pytest.mark.parametrize("values", ["[eu, us, asia]", "[eu]", "[us, eu]"])
async def test_a_changed_matrix_keeps_the_members_that_stay(values: str, folder: Path) -> None:
    config = folder / "config.yaml"
    text = "plugins: [./checks.d]\nchecks: {a: {matrix: {region: [eu, us]}, shop: {url: '${matrix.region}'}}}\n"
    config.write_text(text)
    before = await load_in_child([config])
    config.write_text(text.replace("[eu, us]", values))

    after = await load_in_child([config], before)

    assert set(after.checks) == {f"a.{one}" for one in values.strip("[]").split(", ")}
    assert after.checks["a.eu"] is before.checks["a.eu"]


def test_to_depend_on_a_matrix_is_to_depend_on_all_of_its_members(load_text: Load) -> None:
    text = """
checks:
  gateway: {matrix: {region: [eu, us]}, shop: {}}
  login: {matrix: {region: [eu, us]}, shop: {}, depends_on: ["gateway.${matrix.region}"]}
  home: {shop: {}, depends_on: gateway}
"""
    checks = load_text(text).checks
    assert {name: one.depends_on for name, one in checks.items() if one.depends_on} == {
        "login.eu": ("gateway.eu",),
        "login.us": ("gateway.us",),
        "home": ("gateway.eu", "gateway.us"),
    }
    assert [one.family for one in checks.values()] == ["gateway", "gateway", "login", "login", ""]


def test_a_faulty_matrix_and_a_faulty_check_can_still_be_depended_on(complaints: Complaints) -> None:
    found = complaints(
        "checks: {a: {matrix: {x: []}, shop: {}}, b: {every: 1, shop: {}, depends_on: [a, f]},"
        " c: {shop: {}, depends_on: [a, b]}}\n"
    )
    assert [one.partition(":")[0] for one in found] == ["checks.a.matrix.x", "checks.b.every", "checks.b.depends_on"]

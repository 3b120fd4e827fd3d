"""The type that runs steps, as a configuration sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from heartbeat.config import Config, ConfigError, load
from heartbeat.filled import accounts_of
from heartbeat.references import Reference

FLOW = """\
accounts:
  shopper: {user: synthetic, password: "${secret:PASSWORD}", totp: JBSWY3DPEHPK3PXP}
targets: {shop: http://127.0.0.1:1}
checks:
  order:
    flow:
      steps:
        - name: login
          http:
            url: ${target.shop}/login
            json: {user: "${accounts.shopper.user}", password: "${accounts.shopper.password}"}
          take: {token: $.token, where: {header: Location}}
        - name: order
          creates: true
          http:
            url: ${steps.login.where}
            method: POST
            headers: {Authorization: "Bearer ${steps.login.token}"}
            json: {tag: "${run.tag}", price: "$${steps.login.token}"}
          take: {id: $.id}
      cleanup:
        - http: {url: "${target.shop}/orders/${steps.order.id|quote}", method: DELETE}
"""
Load = Callable[..., Config]


@pytest.fixture
def load_flow(tmp_path: Path) -> Load:
    def load_it(text: str) -> Config:
        (tmp_path / "config.yaml").write_text(text)
        return load([tmp_path / "config.yaml"], {"PASSWORD": "sword${steps.login.token}fish"})

    return load_it


def test_its_steps_have_their_references(load_flow: Load, schema_objections: Callable[..., list[str]]) -> None:
    flow = load_flow(FLOW).checks["order"].check
    assert type(flow).__name__ == "Flow"
    assert accounts_of(flow) == {"shopper"}
    parts = [*flow.steps, *flow.cleanup]  # type: ignore[attr-defined]  # it is a Flow
    assert [[str(one) for one in step.check.references()] for step in parts] == [
        ["${accounts.shopper.user}", "${accounts.shopper.password}"],
        ["${steps.login.where}", "${steps.login.token}", "${run.tag}"],
        ["${steps.order.id|quote}"],
    ]


def test_its_steps_are_made_of_what_they_refer_to(load_flow: Load) -> None:
    flow = load_flow(FLOW).checks["order"].check

    def look_up(reference: Reference) -> str:
        return "http://shop/" if reference.path[-1] == "where" else f"<{'.'.join(reference.path)}>"

    order = flow.steps[1].check.build(look_up)  # type: ignore[attr-defined]  # it is a Flow
    assert order.url == "http://shop/"
    assert order.headers == {"Authorization": "Bearer <login.token>"}
    assert order.json_ == {"tag": "<tag>", "price": "${steps.login.token}"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("url: ${target.shop}/login", "url: shop/login", "10:18 checks.order.flow.steps.0.http.url: a URL begins"),
        ("method: POST", "methd: POST", '17:13 checks.order.flow.steps.1.http: unknown key "methd"; did you mean "met'),
        (
            "  http:\n            url: ${t",
            "  htp:\n            url: ${t",
            "9:11 checks.order.flow.steps.0: unknown check",
        ),
        (
            "${steps.login.where}",
            "${steps.logn.where}",
            "16:18 checks.order.flow.steps.1.http.url: ${steps.logn.where}",
        ),
        (
            "shopper.user}",
            "shoper.user}",
            '11:26 checks.order.flow.steps.0.http.json.user: there is no account "shoper"',
        ),
        ("shopper.user}", "shopper.usr}", "11:26 checks.order.flow.steps.0.http.json.user: ${accounts.shopper.usr}"),
        (
            "shopper.user}",
            "shopper.token}",
            '11:26 checks.order.flow.steps.0.http.json.user: the account "shopper" has',
        ),
        ("$.token,", '"$.${steps.a.b}",', "12:25 checks.order.flow.steps.0.take.token: "),
        ("- name: login", "- name: '${run.id}'", "8:17 checks.order.flow.steps.0.name: "),
    ],
)
def test_what_is_wrong_has_its_place(load_flow: Load, tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in FLOW
    with pytest.raises(ConfigError) as caught:
        load_flow(FLOW.replace(old, new))
    found = [str(one).removeprefix(f"{tmp_path / 'config.yaml'}:") for one in caught.value.problems]
    assert [one for one in found if one.startswith(said)], found
    places = [one.partition(" ")[0] for one in found]
    assert len(places) == len(set(places)), found


def test_editors_know_it(tmp_path: Path, schema_objections: Callable[..., list[str]]) -> None:
    (tmp_path / "config.yaml").write_text(FLOW)
    assert schema_objections(tmp_path / "config.yaml") == []
    (tmp_path / "config.yaml").write_text(
        FLOW.replace("        - name: login", "        - wait: 2s\n        - name: login")
    )
    assert schema_objections(tmp_path / "config.yaml") == []
    (tmp_path / "config.yaml").write_text(FLOW.replace("  http:", "  htp:", 1))
    assert len(schema_objections(tmp_path / "config.yaml")) >= 1

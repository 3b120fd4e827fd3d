from __future__ import annotations

import pytest

from heartbeat.config import ConfigError
from heartbeat.config.fragment import complete


def test_what_a_fragment_leaves_out_is_made_up() -> None:
    config = complete("checks: {shop: {policy: {raise: 3}}}")
    shop = config.checks["shop"]
    assert (shop.type, shop.policy.fail.window, shop.notify.usual) == ("tcp", 3, ("oncall",))
    assert [way.channel for way in config.ways_out(("oncall", "nobody"))] == ["oncall/webhook"]


def test_what_it_says_stays_as_it_is_written() -> None:
    config = complete(
        "receivers: {team: [{command: {command: [/bin/true]}}]}\n"
        "self_notify: [team]\n"
        "defaults: {notify: [team], labels: {release: '1.10', on: 'no'}}\n"
        "checks: {shop: {every: 30s, dns: {name: example.com, server: 192.0.2.1}, limits: {answers: {fail: 1e3}}}}\n"
    )
    shop = config.checks["shop"]
    assert (shop.type, shop.notify.usual, dict(shop.labels)) == ("dns", ("team",), {"release": "1.10", "on": "no"})
    assert shop.limits[0].bounds[0].above == 1000.0


@pytest.mark.parametrize("fragment", ["checks: {", "just words", "- a list"])
def test_what_is_no_mapping_is_refused(fragment: str) -> None:
    with pytest.raises(ValueError, match="--policy cannot be read"):
        complete(fragment, "--policy")


def test_mistakes_are_told_at_the_origin() -> None:
    with pytest.raises(ConfigError, match=r"^--policy checks\.shop\.policy: unknown key") as caught:
        complete("checks: {shop: {policy: {rise: 3}}}", "--policy")
    assert "fragment.yaml" not in str(caught.value)

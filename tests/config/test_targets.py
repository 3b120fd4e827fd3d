from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from heartbeat.config import Config, ConfigError, load, load_in_child

Load = Callable[..., Config]
Complaints = Callable[..., list[str]]

SHOP = """
targets: {base: "https://${HOST}", port: 8443}
checks:
  home:
    shop:
      url: ${target.base}/home
      port: ${target.port}
  other: {shop: {url: "$${target.base}"}}
"""


def options(config: Config) -> dict[str, object]:
    return {name: check.check.model_dump()["url"] for name, check in config.checks.items()}


def test_a_target_is_put_in_wherever_it_is_referred_to(load_text: Load) -> None:
    config = load_text(SHOP, HOST="shop.example.com")

    assert options(config) == {"home": "https://shop.example.com/home", "other": "${target.base}"}
    assert config.checks["home"].check.model_dump()["port"] == 8443
    assert config.targets == {"base": "https://shop.example.com", "port": "8443"}


def test_what_a_target_holds_is_not_expanded_again(load_text: Load) -> None:
    assert load_text(SHOP, HOST="${HOST}").targets["base"] == "https://${HOST}"


def test_targets_may_stand_in_another_file_that_is_read_later(folder: Path) -> None:
    (folder / "a.yaml").write_text('plugins: [./checks.d]\nchecks: {a: {shop: {url: "${target.base}"}}}\n')
    (folder / "b.yaml").write_text("targets: {base: x}\n")
    assert options(load([folder / "a.yaml", folder / "b.yaml"], {})) == {"a": "x"}


def replaced(folder: Path, text: str, **targets: str) -> Config:
    (folder / "config.yaml").write_text(f"plugins: [./checks.d]\n{text}")
    return load([folder / "config.yaml"], {"HOST": "shop.example.com", "CANARY": "swordfish"}, targets=targets)


def test_another_value_takes_the_place_of_a_target(folder: Path) -> None:
    config = replaced(folder, SHOP, base="http://canary:8080", port="99")
    assert options(config)["home"] == "http://canary:8080/home"
    assert config.checks["home"].check.model_dump()["port"] == 99


def test_what_takes_the_place_may_be_a_secret(folder: Path) -> None:
    config = replaced(folder, SHOP, base="http://${secret:CANARY}/")
    assert options(config)["home"] == "http://swordfish//home"
    assert config.redactor("swordfish") == "<redacted:CANARY>"


def test_what_takes_the_place_of_a_secret_is_one(folder: Path) -> None:
    text = 'targets: {base: "${secret:HOST}"}\nchecks: {a: {shop: {url: "${target.base}"}}}\n'
    config = replaced(folder, text, base="canary.example.com")
    assert config.redactor("at canary.example.com") == "at <redacted:target.base>"


def test_which_check_refers_to_which_target_is_known(load_text: Load) -> None:
    text = """
targets: {eu: a, us: b}
checks:
  one: {shop: {url: "${target.eu}${target.us}"}}
  each: {matrix: {region: [eu, us]}, shop: {url: "${target.${matrix.region}}/${matrix.region}"}}
  none: {shop: {url: "$${target.eu}"}}
"""
    config = load_text(text)
    assert options(config) == {"one": "ab", "each.eu": "a/eu", "each.us": "b/us", "none": "${target.eu}"}
    assert config.targeted == {"one": {"eu", "us"}, "each": {""}}


def test_a_target_that_is_not_there_is_told_with_the_nearest(complaints: Complaints) -> None:
    found = complaints('targets: {base: x}\nchecks: {a: {shop: {url: "${target.bsae}"}}, b: {shop: {url: x}}}\n')
    assert found == ['checks.a.shop.url: there is no target "bsae"; did you mean "base"?']


def test_a_target_without_any_is_told_where_to_name_it(complaints: Complaints) -> None:
    [found] = complaints('checks: {a: {shop: {url: "${target.base}"}}}\n')
    assert found.endswith('there is no target "base"; name it under targets: at the top of the configuration')


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ("{base: ''}", 'targets.base: must be text on one line, such as https://shop.example.com, not ""'),
        ("{base: true}", "targets.base: must be text on one line, such as https://shop.example.com, not true or false"),
        ("[base]", "targets: must be a mapping (key: value), not a list"),
        ("{'a b': x}", 'targets.a b: "a b" is no name: use letters, digits'),
        ("{base: '${target.other}', other: x}", 'targets.base: "${target.other}" must not refer to other targets'),
        ("{base: '${UNSET}'}", "targets.base: the environment variable UNSET is not set"),
    ],
)
def test_what_is_no_target_is_refused(complaints: Complaints, targets: str, said: str) -> None:
    [found] = complaints(f"targets: {targets}\nchecks: {{a: {{shop: {{}}}}}}\n")
    assert found.startswith(said)


def test_a_replacement_that_cannot_be_expanded_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"targets\.base: cannot be replaced: the environment variable UNSET"):
        replaced(folder, SHOP, base="${UNSET}")


async def test_targets_and_tags_survive_the_trip_through_the_child(folder: Path) -> None:
    config = folder / "config.yaml"
    text = 'targets: {base: x}\ndefaults: {tags: [a]}\nchecks: {a: {shop: {url: "${target.base}"}}}\n'
    config.write_text(f"plugins: [./checks.d]\n{text}")
    here, there = load([config], {}), await load_in_child([config])
    assert there.checks == here.checks
    assert (there.targets, there.targeted) == (here.targets, here.targeted)

    config.write_text(config.read_text().replace("[a]", "[b]"))
    again = await load_in_child([config], there)
    assert again.checks["a"].tags == ("b",)


def test_a_check_has_the_tags_of_the_defaults_unless_it_says_its_own(load_text: Load) -> None:
    text = "defaults: {tags: [a]}\nchecks: {x: {shop: {}}, y: {shop: {}, tags: [b, c]}, z: {shop: {}, tags: []}}\n"
    assert [check.tags for check in load_text(text).checks.values()] == [("a",), ("b", "c"), ()]


def test_a_tag_is_a_name_and_stands_once(complaints: Complaints) -> None:
    assert complaints(
        "checks: {x: {shop: {}, tags: [a, a]}, y: {shop: {}, tags: ['a b']}, z: {shop: {}, tag: a}}\n"
    ) == [
        'checks.x.tags: names "a" twice',
        'checks.y.tags.0: "a b" is no name: use letters, digits, _ . - (at most 100, a letter or digit first)',
        'checks.z: unknown key "tag"; did you mean "tags"?',
    ]

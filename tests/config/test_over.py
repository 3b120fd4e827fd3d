from __future__ import annotations

from pathlib import Path

import pytest

from heartbeat.config import ConfigError, load

CONFIG = """
defaults: {policy: {raise: 1, clear: 2}}
checks:
  shop: {every: 1m, tcp: {host: a, port: 1}, limits: {duration: {warn: 1s}}}
  till: {every: 1m, tcp: {host: b, port: 1}}
"""


def files(folder: Path, over: str) -> tuple[list[Path], list[Path]]:
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "over.yaml").write_text(over)
    return [folder / "config.yaml"], [folder / "over.yaml"]


def test_what_is_laid_over_holds_and_the_rest_stays(tmp_path: Path) -> None:
    over = "defaults: {policy: {raise: 3}}\nchecks: {shop: {limits: {duration: {fail: 4s}, depth: {warn: 2}}}}\n"
    paths, above = files(tmp_path, over)
    config = load(paths, {}, over=above)
    assert [check.policy.fail.raise_ for check in config.checks.values()] == [3, 3]
    assert config.checks["till"].policy.fail.clear == 2
    duration, depth = config.checks["shop"].limits
    assert [(bound.severity.word, bound.above) for bound in duration.bounds] == [("warn", 1.0), ("fail", 4.0)]
    assert depth.name == "depth"
    assert [check.policy.fail.raise_ for check in load(paths, {}).checks.values()] == [1, 1]


def test_a_mistake_in_it_has_its_place_there(tmp_path: Path) -> None:
    paths, above = files(tmp_path, "checks:\n  shopp: {policy: {raise: 2}}\n")
    with pytest.raises(ConfigError, match=r"over\.yaml:2:\d+ checks\.shopp: needs a type"):
        load(paths, {}, over=above)
    paths, above = files(tmp_path, "checks: {shop: {policy: {rise: 2}}}\n")
    with pytest.raises(ConfigError, match=r"over\.yaml:1:\d+ checks\.shop\.policy: unknown key"):
        load(paths, {}, over=above)

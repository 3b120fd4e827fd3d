from __future__ import annotations

from pathlib import Path

from heartbeat.config import load

TOKEN = "0123456789abcdef"


def test_tokens_are_read_by_name_and_an_empty_one_stands_for_none(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("api: {tokens: {ci: '${secret:DEPLOY_TOKEN}', none: '${OTHER:-}'}}\nchecks: {}\n")
    config = load([path], {"DEPLOY_TOKEN": TOKEN})
    assert {name: token.get_secret_value() for name, token in config.tokens.items()} == {"ci": TOKEN}
    assert TOKEN not in repr(config)
    assert TOKEN not in config.redactor(f"Bearer {TOKEN}")


def test_without_tokens_there_are_none(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("checks: {}\n")
    assert dict(load([path], {}).tokens) == {}

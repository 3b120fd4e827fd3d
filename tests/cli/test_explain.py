from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from heartbeat.cli.explain import explain
from heartbeat.config.model import History
from heartbeat.core.model import Outcome, Result, Run, Severity, Verdict
from heartbeat.core.status import Status
from heartbeat.store import Entry, Store


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("store: sqlite:///heartbeat.db\nchecks: {shop: {every: 1m, tcp: {host: a, port: 1}}}\n")
    return path


async def write(path: Path) -> None:
    now = time.time() - 5
    store = await Store.open(path, history=History(), clock=time.time)
    run = Run("run_1", "shop", now, 0, now, 5.0)
    status = Status(since=now, up=True)
    await (
        store.write(Entry(run, Result(Outcome.OK, 0.1), Verdict(run, now, Outcome.OK, Severity.OK), status))
        or store.flush()
    )
    await store.close()


@pytest.fixture
def store(config: Path) -> Path:
    path = config.with_name("heartbeat.db")
    asyncio.run(write(path))
    return path


def test_it_is_explained_by_a_configuration_or_a_store_alone(
    config: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain("shop", [config]) == 0
    assert capsys.readouterr().out.startswith("shop is well since")
    assert explain("shop", store=store) == 0
    assert "no configuration was given that has it" in capsys.readouterr().out
    assert explain("shop", [config], at="1h") == 0
    assert capsys.readouterr().out.startswith("shop was well at")
    assert explain("shop", [config], as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["severity"] == "ok"


def test_what_cannot_be_explained_is_said(config: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("shopp", [config]) == 64
    assert 'nothing is known of a check "shopp"; did you mean "shop"?' in capsys.readouterr().err
    assert explain("shop") == 64
    assert "--store" in capsys.readouterr().err
    assert explain("shop", store=config.with_name("none.db")) == 69
    assert "There is no store" in capsys.readouterr().err

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
import typer

from heartbeat.cli.replay import replay
from heartbeat.config.model import History
from heartbeat.core.model import Address, Delivery, DeliveryState, Event, Kind, Outcome, Result, Run, Severity, Verdict
from heartbeat.store import Entry, Store

START = time.time() - 3600


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("""
store: sqlite:///heartbeat.db
receivers: {oncall: [{webhook: {url: 'https://oncall.example.com/'}}]}
defaults: {notify: [oncall], every: 1m, policy: {flapping: never}}
checks:
  shop: {tcp: {host: a, port: 1}, limits: {duration: {fail: 1s}}}
  till: {tcp: {host: b, port: 1}}
""")
    return path


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text("checks: {shop: {policy: {raise: 2}, limits: {duration: {fail: 3s}}}}\n")
    return path


def entry(number: int, duration: float) -> Entry:
    """Return a run, slow or not, with what was told of it."""
    at = START + 60 * number
    run = Run(f"run_{number}", "shop", at, 0, at, 5.0)
    verdict = Verdict(run, at, Outcome.OK, Severity.FAIL if duration > 1 else Severity.OK)
    result = Result(Outcome.OK, duration)
    if duration <= 1:
        return Entry(run, result, verdict)
    event = Event(
        f"evt_{number}", Kind.RAISED, "shop", f"inc_{number}", 1, at, Severity.OK, Severity.FAIL, at, None, "slow"
    )
    to = Address("oncall", "oncall/webhook")
    sent = Delivery(f"dlv_{number}", event, to, DeliveryState.ACKNOWLEDGED)
    return Entry(run, result, verdict, events=(event,), deliveries=(sent,))


@pytest.fixture
def store(config: Path) -> None:
    async def write() -> None:
        opened = await Store.open(config.with_name("heartbeat.db"), history=History(), clock=time.time)
        for number, duration in enumerate([0.1, 2.0, 0.1, 4.0, 5.0, 0.1]):
            opened.write(entry(number, duration))
        await opened.flush()
        await opened.close()

    asyncio.run(write())


@pytest.mark.usefixtures("store")
def test_a_policy_is_tried_on_what_was_recorded(config: Path, policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay([config], ["sh*"], since="2h", over=[policy]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("6 runs of 1 check, ")
    assert lines[2].split() == ["as", "it", "was", "as", "it", "would", "be"]
    assert lines[3].split() == ["messages", "3", "2"]
    text = "\n".join(lines)
    assert "1 messages as before (=), 2 not sent any more (-), 1 new (+)" in text
    assert [line[0] for line in lines if " shop " in line] == ["-", "-", "=", "+"]
    assert "note: storms are left out" in text


@pytest.mark.usefixtures("store")
def test_a_program_can_read_it_and_ask_for_the_changes_alone(
    config: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay([config], since="2h", over=[policy], changes=True, as_json=True) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["was"]["messages"], data["would"]["messages"]) == (3, 2)
    assert data["would"]["delay_median_seconds"] == 60.0
    assert [(one["was"] is None, one["would"] is None) for one in data["messages"]] == [
        (False, True),
        (False, True),
        (True, False),
    ]
    assert data["messages"][0]["was"]["to"].startswith("oncall/webhook")


@pytest.mark.usefixtures("store")
def test_what_cannot_be_replayed_is_said(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay([config], ["shopp"]) == 64
    assert 'there is no check "shopp"; did you mean "shop"?' in capsys.readouterr().err
    assert replay([config], since="30m", until="20m") == 65
    assert "no runs are in the store" in capsys.readouterr().err
    wrong = config.with_name("wrong.yaml")
    wrong.write_text("checks: {shop: {policy: {raise: often}}}\n")
    assert replay([config], over=[wrong]) == 78
    assert "wrong.yaml:1:" in capsys.readouterr().err
    with pytest.raises(typer.BadParameter, match="before --until"):
        replay([config], since="1h", until="2h")
    with pytest.raises(typer.BadParameter):
        replay([config], since="later")


def test_without_a_store_there_is_nothing_to_replay(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay([config]) == 69
    assert "There is no store" in capsys.readouterr().err

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from heartbeat.cli.deliveries import deliveries
from heartbeat.config.model import History
from heartbeat.control import Refused, serving_controls
from heartbeat.core.model import Address, Delivery, DeliveryState, Event, Kind, Reason, Severity
from heartbeat.store import Entry, Store

NOON = 1_800_000_000.0


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(
        "store: sqlite:///heartbeat.db\nchecks: {a: {tcp: {host: '${secret:HOST}', port: 1}}}\n"
    )
    return tmp_path / "config.yaml"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "hunter2-hunter2")


def make(number: int, **changes: Any) -> Delivery:
    event = Event(
        f"evt_{number}", Kind.RAISED, "shop", f"inc_{number}", 1, NOON + number, Severity.OK, Severity.FAIL, NOON,
        Reason.STATUS, "answers 500",
    )  # fmt: skip
    address = Address("oncall", "oncall/email", "a@example.com")
    return replace(Delivery(f"dlv_{number}", event, address, next_at=NOON + 60), **changes)


async def write(path: Path, *told: Delivery) -> None:
    store = await Store.open(path, history=History(), clock=lambda: NOON)
    for delivery in told:
        committed = store.write(Entry(check="shop", events=(delivery.event,), deliveries=(delivery,)))
        assert committed is not None
        await committed
    await store.close()


@pytest.fixture
def store(config: Path) -> Path:
    path = config.with_name("heartbeat.db")
    acknowledged = make(1, state=DeliveryState.ACKNOWLEDGED, attempts=2, note="250 ok", done_at=NOON + 7)
    dead = make(2, state=DeliveryState.DEAD, attempts=1, note="550 hunter2-hunter2\x1b[31m")
    nobody = make(4, state=DeliveryState.SUPPRESSED, address=Address("", ""), note="no receiver is configured")
    waiting = make(3, attempts=1, note="421 busy", why="oncall/webhook could not be told: 410")
    asyncio.run(write(path, acknowledged, dead, waiting, nobody))
    return path


def test_the_log_says_who_was_told_what_when_with_what_answer(
    config: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deliveries([config]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2027-01-15 08:00:01Z  shop raised: answers 500",
        "    oncall/email a@example.com: acknowledged at 2027-01-15 08:00:07Z after 2 attempts: 250 ok",
        "    delivery dlv_1  incident inc_1",
        "2027-01-15 08:00:02Z  shop raised: answers 500",
        "    oncall/email a@example.com: dead by the first attempt: 550 <redacted:HOST> [31m",
        "    delivery dlv_2  incident inc_2",
        "2027-01-15 08:00:03Z  shop raised: answers 500",
        "    oncall/email a@example.com: pending by the first attempt: 421 busy",
        "    because oncall/webhook could not be told: 410",
        "    next attempt 2027-01-15 08:01:00Z",
        "    delivery dlv_3  incident inc_3",
        "2027-01-15 08:00:04Z  shop raised: answers 500",
        "    nobody: suppressed: no receiver is configured",
        "    delivery dlv_4  incident inc_4",
    ]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"dead": True}, ["dlv_2"]),
        ({"incident": "inc_3"}, ["dlv_3"]),
        ({"incident": "3"}, ["dlv_3"]),
        ({"limit": 2}, ["dlv_3", "dlv_4"]),
        ({"check": "cart"}, []),
    ],
)
def test_options_choose_and_json_is_that_of_the_api(
    config: Path, store: Path, capsys: pytest.CaptureFixture[str], options: dict[str, Any], found: list[str]
) -> None:
    assert deliveries([config], as_json=True, **options) == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)["deliveries"]] == found


def test_an_empty_log_says_so(config: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert deliveries([config], check="cart") == 0
    assert capsys.readouterr().out == "no deliveries\n"


def test_it_reads_while_the_daemon_writes(config: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE delivery SET note = 'not yet'")
        assert deliveries([config], incident="inc_1") == 0
        other.execute("ROLLBACK")
    assert "250 ok" in capsys.readouterr().out


def test_it_changes_nothing(config: Path, store: Path) -> None:
    before = store.read_bytes()
    assert deliveries([config]) == 0
    assert store.read_bytes() == before


def test_a_store_that_is_not_there_is_said(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert deliveries([config]) == 69
    assert "has the daemon run with this configuration?" in capsys.readouterr().err
    assert not config.with_name("heartbeat.db").exists()


def test_a_store_of_another_version_is_said(config: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(store)) as other:
        other.execute("ALTER TABLE delivery DROP COLUMN note")
        other.commit()
    assert deliveries([config]) == 69
    assert "written by another version of heartbeat" in capsys.readouterr().err


def test_what_is_no_store_is_said(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.with_name("heartbeat.db").write_text("something else, and long enough to be taken for a database" * 10)
    assert deliveries([config]) == 69
    assert "is no SQLite database" in capsys.readouterr().err


def test_a_wrong_configuration_is_said(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("nothing: here\n")
    assert deliveries([config]) == 78
    assert capsys.readouterr().err


# Sending one again


class Fake:
    """A daemon's controls, of which only one is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def replay(self, delivery: str) -> str:
        self.asked.append(delivery)
        if delivery != "dlv_2":
            raise Refused(f"there is no delivery {delivery}", status=404)
        return "dlv_2 goes out again"

    async def reload(self) -> str:
        raise NotImplementedError

    async def run_now(self, name: str) -> dict[str, Any]:
        raise NotImplementedError

    async def test_alert(self, receiver: str, body: object) -> Mapping[str, Any]:
        raise NotImplementedError

    async def order(self, word: str, name: str, body: object) -> dict[str, Any]:
        raise NotImplementedError

    async def quiet(self, *, everything: bool) -> dict[str, Any]:
        raise NotImplementedError

    def status(self) -> dict[str, Any]:
        raise NotImplementedError


async def test_a_replay_goes_through_the_running_daemon(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = Fake()
    async with serving_controls(fake, config.with_name("heartbeat.sock")):
        assert await asyncio.to_thread(deliveries, [config], replay="dlv_2") == 0
        assert await asyncio.to_thread(deliveries, [config], replay="a/b") == 65
    said = capsys.readouterr()
    assert said.out == "dlv_2 goes out again\n"
    assert "there is no delivery a/b" in said.err
    assert fake.asked == ["dlv_2", "a/b"]


def test_a_replay_without_a_daemon_is_said(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert deliveries([config], replay="dlv_2") == 69
    assert "no daemon listens" in capsys.readouterr().err


def test_a_replay_stands_alone(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert deliveries([config], replay="dlv_2", dead=True) == 64
    assert "--replay stands alone" in capsys.readouterr().err

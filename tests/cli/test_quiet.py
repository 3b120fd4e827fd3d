from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from heartbeat.cli import main, quiet
from heartbeat.control import Refused, serving_controls

NOON = 1_800_000_000.0  # Fri 15 Jan 2027 08:00:00 UTC
ORDER = {
    "id": "sil_1", "kind": "silence", "name": "", "checks": ["shop-*"], "types": ["http"], "labels": {"team": "shop"},
    "owner": "alice", "reason": "deploy", "start": NOON, "end": NOON + 60, "until_recovered": False, "incidents": [],
    "open": True, "ended": None, "why_ended": "", "configured": False,
}  # fmt: skip
WINDOW: dict[str, Any] = {
    "id": None, "kind": "maintenance", "name": "nightly", "checks": ["*"], "types": [], "labels": {}, "owner": None,
    "reason": "backup", "start": NOON, "end": NOON + 60, "open": True, "next_start": NOON + 86_400,
    "next_end": NOON + 86_460, "cron": "0 2 * * *", "timezone": "Europe/Stockholm", "duration": 60.0,
    "configured": True,
}  # fmt: skip
Command = Callable[..., Awaitable[tuple[int, str, str]]]


class Fake:
    """A daemon's controls, of which some are asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.refusal: Refused | None = None
        self.warning = ""
        self.everything = False
        self.order_now: dict[str, Any] = ORDER
        self.found: dict[str, list[dict[str, Any]]] = {
            "silences": [], "maintenance": [], "disabled": [], "acknowledgements": [],
        }  # fmt: skip

    async def test_alert(self, receiver: str, body: object) -> Mapping[str, Any]:
        raise NotImplementedError

    async def order(self, word: str, name: str, body: object) -> Mapping[str, Any]:
        self.asked.append((word, name, body))
        if self.refusal:
            raise self.refusal
        return {"message": "done", "warning": self.warning, "order": self.order_now}

    async def quiet(self, *, everything: bool) -> Mapping[str, Any]:
        self.everything = everything
        return self.found

    async def replay(self, delivery: str) -> str:
        raise NotImplementedError

    async def reload(self) -> str:
        raise NotImplementedError

    async def run_now(self, name: str) -> dict[str, Any]:
        raise NotImplementedError

    def status(self) -> dict[str, Any]:
        raise NotImplementedError


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Fake]:
    fake = Fake()
    async with serving_controls(fake, tmp_path / "heartbeat.sock"):
        yield fake


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command line as its user types it; returns the exit status, and what it said."""
    (tmp_path / "config.yaml").write_text("store: sqlite:///heartbeat.db\nchecks: {}\n")
    monkeypatch.setenv("SUDO_USER", "alice")

    async def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["heartbeat", *words, "-c", str(tmp_path / "config.yaml")])
        code = await asyncio.to_thread(main)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


WHO = {"by": "alice", "reason": ""}
BARE: dict[str, Any] = {"checks": [], "types": [], "labels": {}}


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        (
            "silence add --checks shop-* --checks mail,till --label team=shop --type http --for 2h --reason deploy",
            (
                "silence",
                "",
                {
                    "checks": ["shop-*", "mail", "till"],
                    "types": ["http"],
                    "labels": {"team": "shop"},
                    "lasts": 7200.0,
                    "by": "alice",
                    "reason": "deploy",
                    "until_recovered": False,
                },
            ),
        ),
        (
            "silence add --check shop --until-recovered --by bob",
            ("silence", "", BARE | {"checks": ["shop"], "by": "bob", "reason": "", "until_recovered": True}),
        ),
        (
            "silence add --check shop --until 2027-01-15T09:00 --timezone Europe/Stockholm",
            ("silence", "", BARE | WHO | {"checks": ["shop"], "until": NOON, "until_recovered": False}),
        ),
        ("silence end sil_1 --reason done", ("end_silence", "sil_1", {"by": "alice", "reason": "done"})),
        (
            "maintenance start racks --checks * --for 1h --reason cables",
            (
                "maintain",
                "",
                BARE | {"name": "racks", "checks": ["*"], "lasts": 3600.0, "by": "alice", "reason": "cables"},
            ),
        ),
        ("maintenance end racks", ("end_maintenance", "racks", WHO)),
        ("ack shop/a --reason mine", ("acknowledge", "shop/a", {"by": "alice", "reason": "mine"})),
        ("disable shop --reason moved", ("disable", "shop", {"by": "alice", "reason": "moved"})),
        ("enable shop", ("enable", "shop", WHO)),
    ],
)
async def test_a_command_asks_the_daemon_for_what_it_says(
    daemon: Fake, command: Command, line: str, asked: tuple[str, str, Any]
) -> None:
    assert await command(*line.split()) == (0, "done\nsil_1\n", "")
    assert daemon.asked == [asked]


async def test_a_label_may_hold_a_sign_of_equality(daemon: Fake, command: Command) -> None:
    assert (await command("silence", "add", "--label", "a=b=c", "--for", "1h"))[0] == 0
    assert daemon.asked[0][2]["labels"] == {"a": "b=c"}


async def test_the_answer_for_programs_has_all_of_it(daemon: Fake, command: Command) -> None:
    daemon.warning = "it holds in memory only"
    code, out, err = await command("enable", "shop", "--json")
    assert (code, err) == (0, "it holds in memory only\n")
    assert json.loads(out) == {"message": "done", "warning": "it holds in memory only", "order": ORDER}


async def test_what_has_ended_is_named_no_more(daemon: Fake, command: Command) -> None:
    daemon.order_now = ORDER | {"ended": NOON}
    assert await command("silence", "end", "sil_1") == (0, "done\n", "")


async def test_a_refusal_is_told(daemon: Fake, command: Command) -> None:
    daemon.refusal = Refused('there is no check "shp"; did you mean "shop"?', status=404)
    assert await command("ack", "shp") == (65, "", 'there is no check "shp"; did you mean "shop"?\n')


async def test_without_a_daemon_that_is_told(command: Command) -> None:
    code, _, err = await command("silence", "list")
    assert code == 69
    assert "no daemon listens on" in err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("silence add --for 90", "--for: must be a duration"),
        ("silence add --until noon", "--until: must be a time such as 15:00"),
        ("silence add --for 1h --timezone Europe/Stockholm", "--timezone: has no effect without --until"),
        ("silence add --for 1h --label team", "--label: write it like team=shop, not team"),
        ("silence start", "No such command 'start'"),
    ],
)
async def test_a_wrong_command_line_is_refused_before_anybody_is_asked(
    daemon: Fake, command: Command, line: str, said: str
) -> None:
    code, _, err = await command(*line.split())
    assert code == 64
    assert said in err
    assert daemon.asked == []


async def test_the_list_says_what_by_whom_why_which_and_until_when(daemon: Fake, command: Command) -> None:
    off = ORDER | {"id": "dis_1", "kind": "disabled", "checks": ["till"], "types": [], "labels": {}, "end": None}
    over = ORDER | {"until_recovered": True, "ended": NOON + 9, "why_ended": "all that it covers is well again"}
    daemon.found |= {"silences": [ORDER, over], "disabled": [off], "maintenance": [WINDOW]}
    assert await command("silence", "list", "--all") == (
        0,
        """silence by alice: deploy
    shop-*, type http, team=shop
    since Fri 15 Jan 2027 08:00:00 UTC until Fri 15 Jan 2027 08:01:00 UTC
    sil_1
silence by alice: deploy
    shop-*, type http, team=shop
    since Fri 15 Jan 2027 08:00:00 UTC until Fri 15 Jan 2027 08:01:00 UTC, or until all is well
    over Fri 15 Jan 2027 08:00:09 UTC: all that it covers is well again
    sil_1
off by alice: deploy
    till
    since Fri 15 Jan 2027 08:00:00 UTC
    dis_1
""",
        "",
    )
    assert daemon.everything


async def test_the_list_of_maintenance_has_the_configured_ones_with_their_next_times(
    daemon: Fake, command: Command
) -> None:
    over = WINDOW | {"name": "move", "open": False, "next_start": None, "cron": None}
    daemon.found |= {"maintenance": [WINDOW, over, ORDER | {"kind": "maintenance", "name": "racks", "id": "mai_1"}]}
    assert (await command("maintenance", "list"))[1].splitlines() == [
        "maintenance nightly: backup",
        "    *",
        "    under way until Fri 15 Jan 2027 08:01:00 UTC",
        "    next Sat 16 Jan 2027 08:00:00 UTC until Sat 16 Jan 2027 08:01:00 UTC",
        "    cron 0 2 * * * on the clocks of Europe/Stockholm",
        "maintenance move: backup",
        "    *",
        "    over",
        "maintenance racks by alice: deploy",
        "    shop-*, type http, team=shop",
        "    since Fri 15 Jan 2027 08:00:00 UTC until Fri 15 Jan 2027 08:01:00 UTC",
        "    mai_1",
    ]
    assert json.loads((await command("maintenance", "list", "--json"))[1]).keys() == {"maintenance"}


async def test_an_empty_list_says_so(daemon: Fake, command: Command) -> None:
    assert await command("silence", "list") == (0, "no silences\n", "")
    assert await command("maintenance", "list") == (0, "no maintenance\n", "")
    assert not daemon.everything


@pytest.mark.parametrize(
    ("environ", "who"), [({"SUDO_USER": "alice", "USER": "root"}, "alice"), ({"LOGNAME": "bob"}, "bob")]
)
def test_who_asks_is_the_user_of_the_command_line(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], who: str
) -> None:
    for name in ("SUDO_USER", "USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert quiet._who("", "") == {"by": who, "reason": ""}
    assert quiet._who("carol", "x") == {"by": "carol", "reason": "x"}


def test_a_user_without_a_name_is_known_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 65532")

    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(quiet, "getuser", nobody)
    monkeypatch.setattr("os.getuid", lambda: 65532)
    assert quiet._who("", "")["by"] == "uid 65532"

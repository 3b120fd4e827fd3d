from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from heartbeat.control import NoDaemon, Refused, Unreachable, call, open_socket, serving_controls
from heartbeat.web.serve import ListenError


class Fake:
    """A daemon's controls, without the daemon."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refusal: Refused | None = None

    async def reload(self) -> str:
        self.asked.append("reload")
        if self.refusal:
            raise self.refusal
        return "2 checks are new"

    async def run_now(self, name: str) -> Mapping[str, Any]:
        self.asked.append(name)
        if name != "shop/a b":
            raise Refused(f"no check is named {name}", status=404)
        return {"outcome": "ok"}

    async def replay(self, delivery: str) -> str:
        self.asked.append(delivery)
        return "it goes out again"

    async def test_alert(self, receiver: str, body: object) -> Mapping[str, Any]:
        if receiver != "on call":
            raise Refused(f"there is no receiver {receiver}", status=404)
        return {"receiver": receiver, "body": body}

    async def order(self, word: str, name: str, body: object) -> Mapping[str, Any]:
        self.asked.append(word)
        return {"name": name, "body": body}

    async def quiet(self, *, everything: bool) -> Mapping[str, Any]:
        return {"everything": everything}

    def status(self) -> Mapping[str, Any]:
        return {"checks": 2}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.fixture
async def daemon(path: Path) -> AsyncIterator[Fake]:
    fake = Fake()
    async with serving_controls(fake, path):
        yield fake


def mode_of(path: Path) -> int:
    return path.lstat().st_mode


def remove(path: Path) -> None:
    path.unlink()


def is_there(path: Path) -> bool:
    return os.path.lexists(path)


async def ask(path: Path, method: str, route: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    return await asyncio.to_thread(call, path, method, route, body, timeout=10)


async def test_a_reload_is_asked_for_and_answered(daemon: Fake, path: Path) -> None:
    assert await ask(path, "POST", "/reload") == (200, {"message": "2 checks are new"})
    assert daemon.asked == ["reload"]


async def test_a_refused_reload_tells_all_problems(daemon: Fake, path: Path) -> None:
    daemon.refusal = Refused("the configuration is wrong", ["a:1:1 x", "a:2:1 y"], status=422)

    assert await ask(path, "POST", "/reload") == (
        422,
        {"error": "the configuration is wrong", "problems": ["a:1:1 x", "a:2:1 y"]},
    )


async def test_a_check_is_run_by_its_name(daemon: Fake, path: Path) -> None:
    assert await ask(path, "POST", "/checks/shop%2Fa%20b/run") == (200, {"outcome": "ok"})
    assert await ask(path, "POST", "/checks/nope/run") == (404, {"error": "no check is named nope", "problems": []})


async def test_a_delivery_is_sent_again_by_its_id(daemon: Fake, path: Path) -> None:
    assert await ask(path, "POST", "/deliveries/dlv_1/replay") == (200, {"message": "it goes out again"})
    assert daemon.asked == ["dlv_1"]


async def test_the_status_is_told(daemon: Fake, path: Path) -> None:
    assert await ask(path, "GET", "/status") == (200, {"checks": 2})


@pytest.mark.parametrize(
    ("word", "route", "name"),
    [
        ("silence", "/silences", ""),
        ("end_silence", "/silences/sil_1/end", "sil_1"),
        ("maintain", "/maintenance", ""),
        ("end_maintenance", "/maintenance/the%20racks/end", "the racks"),
        ("acknowledge", "/acknowledgements/shop%2Fa", "shop/a"),
        ("disable", "/checks/shop%2Fa/disable", "shop/a"),
        ("enable", "/checks/enable/enable", "enable"),
    ],
)
async def test_what_people_ask_for_is_handed_on_with_its_name_and_body(
    daemon: Fake, path: Path, word: str, route: str, name: str
) -> None:
    body = {"by": "alice", "reason": "ü"}
    assert await ask(path, "POST", route, body) == (200, {"name": name, "body": body})
    assert daemon.asked == [word]
    assert await ask(path, "POST", route) == (200, {"name": name, "body": {}})
    assert (await ask(path, "GET", route))[0] == 405


async def test_a_body_that_is_no_json_or_far_too_long_is_refused(daemon: Fake, path: Path) -> None:
    for sent, code in ((b"{", 400), (b"[" * 50_000, 400), (b"\xff", 400), (b" " * 70_000, 413)):
        reader, writer = await asyncio.open_unix_connection(path)
        head = f"POST /silences HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(sent)}\r\n\r\n"
        writer.write(head.encode() + sent)
        answer = await reader.read()
        assert answer.startswith(f"HTTP/1.1 {code} ".encode())
        writer.close()
        await writer.wait_closed()
    assert daemon.asked == []


async def test_what_is_quiet_is_told_with_what_has_ended_where_that_is_asked_for(daemon: Fake, path: Path) -> None:
    assert await ask(path, "GET", "/quiet") == (200, {"everything": False})
    assert await ask(path, "GET", "/quiet?all=1") == (200, {"everything": True})


async def test_reading_is_not_changing(daemon: Fake, path: Path) -> None:
    status, answer = await ask(path, "GET", "/reload")

    assert (status, answer) == (405, {"error": "Method Not Allowed"})
    assert daemon.asked == []


async def test_only_the_own_user_may_use_the_socket(daemon: Fake, path: Path) -> None:
    assert mode_of(path) == stat.S_IFSOCK | 0o600


def test_the_mode_is_there_from_the_start_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        with open_socket(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)


async def test_the_socket_is_removed_afterwards(path: Path) -> None:
    async with serving_controls(Fake(), path):
        pass

    assert not is_there(path)


async def test_the_socket_of_a_successor_is_left_alone(path: Path) -> None:
    async with serving_controls(Fake(), path):
        remove(path)
        successor = open_socket(path)

    with successor:
        assert is_there(path)


def test_a_socket_that_nobody_listens_on_is_replaced(path: Path) -> None:
    open_socket(path).close()
    assert path.exists()

    with open_socket(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_socket_that_somebody_listens_on_is_left_alone(path: Path) -> None:
    with open_socket(path):
        with pytest.raises(ListenError, match="another daemon does"):
            open_socket(path)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("precious")

    with pytest.raises(ListenError, match="no socket is there"):
        open_socket(path)

    assert path.read_text() == "precious"


def test_a_folder_that_is_not_there_is_a_clear_message(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match=r"No such file or directory; make .*nowhere writable"):
        open_socket(tmp_path / "nowhere" / "control.sock")


def test_a_path_that_is_too_long_is_a_clear_message(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="at most 107 bytes"):
        open_socket(tmp_path / ("x" * 120))


def test_no_daemon_is_a_clear_message(path: Path) -> None:
    with pytest.raises(Unreachable, match=r"no daemon listens on .*control.sock; is it running"):
        call(path, "GET", "/status")


def test_a_daemon_that_died_is_a_clear_message(path: Path) -> None:
    open_socket(path).close()

    with pytest.raises(Unreachable, match=r"no daemon listens on .*; is it running"):
        call(path, "GET", "/status")


def test_a_daemon_that_does_not_answer_is_a_clear_message(path: Path) -> None:
    with open_socket(path), pytest.raises(Unreachable, match=r"gave no answer within 0.1 s"):
        call(path, "GET", "/status", timeout=0.1)


def test_a_socket_of_somebody_else_is_a_clear_message(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)  # tests may run as root, who may do anything

    with pytest.raises(Unreachable, match="you may not use"):
        call(path, "GET", "/status")


async def test_a_test_alert_is_asked_for_by_receiver(daemon: Fake, path: Path) -> None:
    asked = {"check": "shop", "wait": 5}
    assert await ask(path, "POST", "/receivers/on%20call/test", asked) == (
        200,
        {"receiver": "on call", "body": asked},
    )
    assert (await ask(path, "POST", "/receivers/nobody/test", {}))[0] == 404


def test_that_nobody_listens_is_told_apart_from_other_troubles(path: Path) -> None:
    with pytest.raises(NoDaemon, match="no daemon listens"):
        call(path, "GET", "/status")
    assert issubclass(NoDaemon, Unreachable)

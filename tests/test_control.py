from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from heartbeat.control import Refused, Unreachable, call, open_socket, serving_controls
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


async def ask(path: Path, method: str, route: str) -> tuple[int, dict[str, Any]]:
    return await asyncio.to_thread(call, path, method, route, timeout=10)


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

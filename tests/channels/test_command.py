from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from pydantic import ValidationError

from heartbeat.channels import DeliveryFailed, command
from heartbeat.channels.attempt import attempt
from heartbeat.channels.command import Command
from heartbeat.core.batch import single
from heartbeat.core.model import Delivery
from heartbeat.core.payload import payload

Deliver = Callable[..., Delivery]
Write = Callable[[str], str]
SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2): orphans below us fall to us, as they do to process 1 of a container."""


@pytest.fixture
def script(tmp_path: Path) -> Write:
    """Write a shell script, and return its path."""

    def write(body: str) -> str:
        path = tmp_path / "notify"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return str(path)

    return write


def channel(*command: str, **options: Any) -> Command:
    return Command.model_validate({"command": command, "timeout": "10s"} | options)


async def send(way: Command, delivery: Delivery) -> str:
    return await way.send(single(delivery), way.render(single(delivery), 0.0))


async def failing(way: Command, delivery: Delivery) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        await send(way, delivery)
    return caught.value


def zombies() -> list[str]:
    """Return the children of this process that have ended and that nobody waited for."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state == "Z" and int(parent) == os.getpid():
            found.append(stat.parent.name)
    return found


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def number_in(path: Path) -> int:
    """Return the number that another process has written, 0 until then."""
    text = path.read_text() if path.exists() else ""
    return int(text) if text.endswith("\n") else 0


async def appeared(path: Path) -> int:
    """Wait until another process has written its number to a file."""
    async with asyncio.timeout(10):
        while not (number := number_in(path)):  # noqa: ASYNC110 - no event comes from another process
            await asyncio.sleep(0.01)
    return number


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def vanished(process: int) -> None:
    async with asyncio.timeout(10):
        while is_alive(process):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)


async def test_a_program_gets_the_event_on_its_standard_input(deliver: Deliver, script: Write, tmp_path: Path) -> None:
    delivery = deliver()
    assert await send(channel(script(f"cat > {tmp_path}/got; echo; echo taken; echo")), delivery) == "taken"
    assert json.loads((tmp_path / "got").read_bytes()) == payload(delivery.event)


async def test_a_program_that_reads_and_says_nothing_acknowledges(deliver: Deliver) -> None:
    assert await send(channel("true"), deliver(sentence="x" * 1000)) == "0"


async def test_arguments_are_passed_as_they_are_and_no_shell_reads_them(deliver: Deliver) -> None:
    assert await send(channel("echo", "$(id); `id` > x", "*"), deliver()) == "$(id); `id` > x *"


async def test_the_environment_is_its_own(
    deliver: Deliver, script: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "CANARY")
    way = channel(script(f"env -0 > {tmp_path}/env; pwd"), environment={"TOKEN": "tk"})
    assert await send(way, deliver(check="a\nb", sentence="() { :; }; evil")) == "/"
    found = dict(pair.split("=", 1) for pair in (tmp_path / "env").read_text().rstrip("\0").split("\0"))
    assert {name: value for name, value in found.items() if name not in ("PWD", "SHLVL", "_", "OLDPWD")} == {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "TOKEN": "tk",
        "HEARTBEAT_CHECK": "a b",
        "HEARTBEAT_KIND": "raised",
        "HEARTBEAT_TRACK": "target",
        "HEARTBEAT_SEVERITY": "fail",
        "HEARTBEAT_INCIDENT": "inc_fedcba9876543210fedcba98765432",
        "HEARTBEAT_EVENT": "evt_0123456789abcdef0123456789abcd",
    }


@pytest.mark.parametrize(
    ("code", "permanent", "slow"),
    [
        (1, False, False),
        (63, False, False),
        *((code, True, False) for code in (64, 65, 66, 67, 68)),
        (69, False, False),
        (75, False, False),
        (77, False, True),
        (78, False, True),
        (126, False, True),
        (127, False, True),
        (255, False, False),
    ],
)
async def test_what_an_exit_status_means(
    deliver: Deliver, script: Write, code: int, permanent: bool, slow: bool
) -> None:
    error = await failing(channel(script(f"echo hello; echo 'no such user' >&2; exit {code}")), deliver())
    assert error.permanent is permanent
    assert (error.retry_after is not None) is slow
    assert not error.ambiguous
    assert error.sentence.endswith(f"notify exits with {code}: no such user")


async def test_a_signal_is_tried_again(deliver: Deliver, script: Write) -> None:
    error = await failing(channel(script("kill -SEGV $$")), deliver())
    assert "SIGSEGV" in error.sentence
    assert (error.permanent, error.ambiguous) == (False, True)


async def test_a_program_that_hangs_is_ended_with_all_that_it_started(
    deliver: Deliver, script: Write, tmp_path: Path
) -> None:
    way = channel(script(f"sh -c 'echo $$ > {tmp_path}/child; exec sleep 600' & wait"), timeout="500ms")
    error = await failing(way, deliver())
    assert "did not end within 0.5 s" in error.sentence
    assert (error.permanent, error.ambiguous) == (False, True)
    await vanished(await appeared(tmp_path / "child"))
    assert zombies() == []


async def test_a_program_that_ignores_sigterm_is_killed(
    deliver: Deliver, script: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "MERCY", 0.1)
    way = channel(script(f"trap 'echo no' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 1; done"), timeout="500ms")
    await failing(way, deliver())
    assert not is_alive(await appeared(tmp_path / "pid"))
    assert zombies() == []


async def test_a_program_may_use_sigterm_to_say_goodbye(deliver: Deliver, script: Write) -> None:
    error = await failing(channel(script("trap 'echo bye; exit 3' TERM; sleep 600 & wait"), timeout="500ms"), deliver())
    assert error.sentence.endswith("did not end within 0.5 s: bye")


async def test_a_grandchild_that_holds_the_pipes_does_not_hang_us(
    deliver: Deliver, script: Write, tmp_path: Path
) -> None:
    way = channel(script(f"(echo $$ > /dev/null; exec sleep 600) & echo $! > {tmp_path}/pid; echo handed over"))
    async with asyncio.timeout(5):
        assert await send(way, deliver()) == "handed over"
    child = await appeared(tmp_path / "pid")
    assert is_alive(child)
    os.kill(child, signal.SIGKILL)
    await vanished(child)


async def test_an_output_without_end_is_bounded_and_its_end_is_kept(deliver: Deliver, script: Write) -> None:
    way = channel(sys.executable, "-c", "print('x' * 5_000_000); print('done' + 'y' * 3000)")
    answer = await send(way, deliver())
    assert answer.startswith("doney")
    assert len(answer) == 300


async def test_what_it_says_is_one_printable_line(deliver: Deliver) -> None:
    assert await send(channel("printf", "a\\033[31mb\\000\\377c"), deliver()) == "a [31mb \ufffdc"


async def test_an_attempt_that_is_given_up_ends_the_program(deliver: Deliver, script: Write, tmp_path: Path) -> None:
    way = channel(script(f"echo $$ > {tmp_path}/pid; exec sleep 600"))
    sending = asyncio.ensure_future(send(way, deliver()))
    child = await appeared(tmp_path / "pid")
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert not is_alive(child)
    assert zombies() == []


async def test_a_program_that_has_vanished_is_tried_again_slowly(deliver: Deliver, script: Write) -> None:
    path = script("exit 0")
    way = channel(path)
    os.unlink(path)  # noqa: PTH108 - pathlib is no better, and ruff refuses it in async functions
    error = await failing(way, deliver())
    assert "cannot be started: No such file" in error.sentence
    assert error.retry_after == 600


async def test_no_descriptor_is_left_open(deliver: Deliver, script: Write) -> None:
    ways = [channel("true"), channel("false"), channel(script("sleep 600"), timeout="100ms")]
    await attempt(ways[0], single(deliver()), ways[0].render(single(deliver()), 0.0))
    before = descriptors()
    for way in ways:
        await attempt(way, single(deliver()), way.render(single(deliver()), 0.0))
    assert descriptors() == before


@contextmanager
def process_one() -> Iterator[None]:
    libc = ctypes.CDLL(None)
    assert libc.prctl(SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        libc.prctl(SUBREAPER, 0, 0, 0, 0)


async def test_orphans_of_a_program_do_not_fall_to_us_even_as_process_one(
    deliver: Deliver, script: Write, tmp_path: Path
) -> None:
    with process_one():
        await send(channel(script(f"sleep 0.2 & echo $! > {tmp_path}/pid")), deliver())
        child = await appeared(tmp_path / "pid")
        await vanished(child)
        assert zombies() == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"command": []}, "at least 1"),
        ({"command": "notify --now"}, "list|tuple"),
        ({"command": ["./notify"]}, "absolute path"),
        ({"command": [""]}, "absolute path"),
        ({"command": ["/nowhere/notify"]}, "no program /nowhere/notify"),
        ({"command": ["true", "a\0b"]}, "NUL"),
        ({"environment": {"A-B": "x"}}, "variable of your own"),
        ({"environment": {"HEARTBEAT_EVENT": "x"}}, "variable of your own"),
        ({"environment": {"TOKEN": "CANARY\0"}}, "NUL"),
    ],
)
def test_a_wrong_option_is_refused_and_says_what_to_change(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem) as caught:
        Command.model_validate({"command": ["true"]} | change)
    assert "CANARY" not in str(caught.value)


def test_it_works_on_uvloop(deliver: Deliver, script: Write, tmp_path: Path) -> None:
    way = channel(script(f"cat > {tmp_path}/got; echo taken; sleep 600 & echo $! > {tmp_path}/pid"))

    async def story() -> list[str]:
        answers = [await send(way, deliver()) for _ in range(3)]
        os.kill(await appeared(tmp_path / "pid"), signal.SIGKILL)
        hanging = channel(script("sleep 600 & wait"), timeout="300ms")
        answers.append((await failing(hanging, deliver())).sentence)
        answers.append((await failing(channel("false"), deliver())).sentence)
        return answers

    answers = uvloop.run(story())
    assert answers[:3] == ["taken"] * 3
    assert "did not end within 0.3 s" in answers[3]
    assert answers[4] == "false exits with 1"
    assert json.loads((tmp_path / "got").read_bytes())["version"] == 1
    assert zombies() == []

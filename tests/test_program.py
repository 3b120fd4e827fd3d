from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

from heartbeat.program import Ending, Output, Program, dismiss, output, run, running

ENVIRONMENT = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
ESCAPES = {
    "in the background": "sh -c '{hang}' &",
    "in a session of its own": "setsid sh -c '{hang}' &",
    "by a double fork": "(setsid sh -c '(sh -c \"{hang}\") &' &)",
    "without its environment": "env -i PATH=$PATH setsid sh -c '{hang}' &",
}


def shell(script: str, **options: Any) -> Program:
    environment: Mapping[str, str] = options.pop("environment", ENVIRONMENT)
    return Program(["sh", "-c", script], environment, **options)


def python(script: str, **options: Any) -> Program:
    return Program([sys.executable, "-c", script], ENVIRONMENT, **options)


async def told(program: Program, seconds: float = 10.0, **options: Any) -> tuple[Ending, str, str]:
    written, errors = Output(), Output()
    ending = await run(program, seconds, output=written, errors=errors, **options)
    return ending, written.text, errors.text


def state_of(process: int) -> str:
    """Return the state of a process as Linux has it, nothing where there is none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def environment_of(process: int) -> bytes:
    return Path(f"/proc/{process}/environ").read_bytes()


def is_alive(process: int) -> bool:
    return state_of(process) not in ("", "Z", "X")


def number_in(path: Path) -> int:
    text = path.read_text() if path.exists() else ""
    return int(text) if text.endswith("\n") else 0


async def until(answer: Callable[[], Any]) -> Any:
    async with asyncio.timeout(10):
        while not (found := answer()):  # noqa: ASYNC110 - no event comes from another process
            await asyncio.sleep(0.01)
    return found


async def appeared(path: Path) -> int:
    return int(await until(lambda: number_in(path)))


def children() -> list[str]:
    """Return the children of this process with their states, but for the foreman."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            command = (stat.parent / "cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == os.getpid() and "foreman.py" not in command:
            found.append(f"{stat.parent.name} {state}")
    return found


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_program_is_told_what_it_needs_and_heard_out() -> None:
    program = shell("cat; echo; pwd; echo oh >&2; exit 3", given=b"given", directory="/usr")
    ending, written, errors = await told(program)
    assert (ending.status, ending.timed_out, ending.left) == (3, False, 0)
    assert 0 < ending.seconds < 5
    assert (written, errors) == ("given\n/usr\n", "oh\n")


async def test_output_and_errors_can_be_one() -> None:
    both = Output()
    await run(shell("echo a; echo b >&2; echo c"), 10, output=both)
    assert both.text == "a\nb\nc\n"


async def test_its_environment_is_what_it_is_given_and_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    dismiss()
    monkeypatch.setenv("SMTP_PASSWORD", "CANARY")
    _, written, _ = await told(Program(["env"], {"TOKEN": "tk\nü", "PATH": "/usr/bin:/bin"}))
    assert written == "TOKEN=tk\nü\nPATH=/usr/bin:/bin\n"
    assert running._foreman is not None
    assert not environment_of(running._foreman.process.pid)


async def test_it_has_three_descriptors_and_a_session_of_its_own() -> None:
    _, written, _ = await told(python("import os; print(os.listdir('/proc/self/fd'), os.getsid(0) == os.getpid())"))
    assert written == "['0', '1', '2', '3'] True\n"  # the last is the folder that is listed


async def test_signals_are_as_a_program_expects_them() -> None:
    _, written, _ = await told(shell("grep -E 'Sig(Blk|Ign)' /proc/self/status"))
    of_the_c_library = 0b11 << 31  # 32 and 33: nobody else can set them, and some shells leave them ignored
    assert [int(line.split()[1], 16) & ~of_the_c_library for line in written.splitlines()] == [0, 0]


@pytest.mark.parametrize(
    ("options", "number", "name"),
    [
        ({"command": ["no-such-program"]}, errno.ENOENT, "no-such-program"),
        ({"command": ["/etc/passwd"]}, errno.EACCES, "/etc/passwd"),
        ({"command": ["/"]}, errno.EACCES, "/"),
        ({"command": ["true"], "directory": "/nowhere"}, errno.ENOENT, "/nowhere"),
        ({"command": ["true", "a\0b"]}, errno.EINVAL, "true"),
        ({"command": ["true", "x" * 3_000_000]}, errno.E2BIG, "true"),
    ],
)
async def test_what_cannot_be_started_is_named(options: dict[str, Any], number: int, name: str) -> None:
    with pytest.raises(OSError, match=r".") as caught:
        await told(Program(**{"environment": ENVIRONMENT, **options}))
    assert (caught.value.errno, caught.value.filename) == (number, name)


async def test_a_script_without_an_interpreter_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("echo hello\n")
    (tmp_path / "script").chmod(0o755)
    with pytest.raises(OSError, match="Exec format error"):
        await told(Program([str(tmp_path / "script")], ENVIRONMENT))


async def test_past_its_time_it_is_told_to_end_and_may_say_goodbye() -> None:
    ending, written, _ = await told(shell("trap 'echo bye; exit 4' TERM; sleep 600 & wait"), 0.3)
    assert (ending.status, ending.timed_out, written) == (4, True, "bye\n")
    assert 0.2 < ending.seconds < 5


async def test_one_that_ignores_that_is_killed() -> None:
    ending, _, _ = await told(shell("trap '' TERM; while :; do sleep 600; done", mercy=0.1), 0.3)
    assert (ending.status, ending.timed_out) == (-signal.SIGKILL, True)


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES)
@pytest.mark.parametrize("end", ["wait; sleep 600", "exit 0"])
async def test_nothing_that_it_started_is_left(escape: str, end: str, tmp_path: Path) -> None:
    script = tmp_path / "hang"
    script.write_text(f"trap : TERM; echo $$ > {tmp_path}/pid; while :; do sleep 600; done")
    begin = escape.format(hang=f"exec sh {script}")
    wait = f"while [ ! -s {tmp_path}/pid ]; do sleep 0.01; done"
    ending, _, _ = await told(shell(f"{begin}\n{wait}\n{end}", mercy=0.1), 10 if end == "exit 0" else 1.5)
    assert ending.timed_out is (end != "exit 0")
    assert ending.left == 0
    assert not is_alive(number_in(tmp_path / "pid"))
    assert children() == []


async def test_what_is_wanted_may_be_left_and_does_not_hold_the_run_although_it_holds_the_pipes(tmp_path: Path) -> None:
    program = shell(f"setsid sleep 600 & echo $! > {tmp_path}/pid; echo done", leaves_children=True)
    async with asyncio.timeout(5):
        ending, written, _ = await told(program)
    child = number_in(tmp_path / "pid")
    assert (ending.status, ending.left, written) == (0, 0, "done\n")
    assert is_alive(child)
    os.kill(child, signal.SIGKILL)
    await until(lambda: not state_of(child))  # somebody buries it, too
    assert children() == []


async def test_whoever_gives_up_ends_it_and_learns_when_all_of_it_is_gone(tmp_path: Path) -> None:
    lingering: list[asyncio.Future[Ending]] = []
    program = shell(f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 600; done", mercy=0.3)
    task = asyncio.ensure_future(told(program, 60.0, lingering=lingering.append))
    child = await appeared(tmp_path / "pid")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (rest,) = lingering
    assert not rest.done()
    assert is_alive(child)
    ending = await rest
    assert (ending.status, ending.timed_out) == (-signal.SIGKILL, False)
    assert not is_alive(child)


async def test_whoever_gives_up_and_asks_for_nothing_waits_for_its_end(tmp_path: Path) -> None:
    task = asyncio.ensure_future(told(shell(f"echo $$ > {tmp_path}/pid; exec sleep 600")))
    child = await appeared(tmp_path / "pid")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_alive(child)


async def test_it_ends_with_whoever_ordered_it_also_when_that_is_killed(tmp_path: Path) -> None:
    code = f"""
import asyncio
from heartbeat.program import Output, Program, run
command = ["sh", "-c", "setsid sleep 600 & echo $! > {tmp_path}/escaped; echo $$ > {tmp_path}/pid; wait"]
asyncio.run(run(Program(command, {ENVIRONMENT!r}), 600, output=Output()))
"""
    owner = subprocess.Popen([sys.executable, "-c", code])  # noqa: ASYNC220 - it is to be killed at once
    try:
        processes = [await appeared(tmp_path / "pid"), await appeared(tmp_path / "escaped")]
    finally:
        owner.kill()
        owner.wait()
    await until(lambda: not any(is_alive(process) for process in processes))


async def test_it_ends_with_the_process_that_watches_over_it(tmp_path: Path) -> None:
    task = asyncio.ensure_future(
        told(shell(f"echo $PPID > {tmp_path}/parent; echo $$ > {tmp_path}/pid; exec sleep 600"))
    )
    child = await appeared(tmp_path / "pid")
    os.kill(number_in(tmp_path / "parent"), signal.SIGKILL)
    with pytest.raises(ChildProcessError, match="watched over sh is gone"):
        await task
    await until(lambda: not is_alive(child))


async def test_a_foreman_that_was_killed_is_replaced_and_what_runs_goes_on(tmp_path: Path) -> None:
    task = asyncio.ensure_future(told(shell(f"echo $$ > {tmp_path}/pid; read line < {tmp_path}/fifo; echo $line")))
    os.mkfifo(tmp_path / "fifo")
    await appeared(tmp_path / "pid")
    assert running._foreman is not None
    foreman = running._foreman.process.pid
    os.kill(foreman, signal.SIGKILL)
    await until(lambda: not is_alive(foreman))
    assert (await told(shell("echo again")))[1] == "again\n"
    await asyncio.to_thread((tmp_path / "fifo").write_text, "on\n")
    assert (await task)[1] == "on\n"


async def test_signals_for_everybody_do_not_end_the_foreman() -> None:
    await told(shell("true"))
    before = running._foreman
    assert before is not None
    os.killpg(before.process.pid, signal.SIGTERM)
    os.killpg(before.process.pid, signal.SIGINT)
    await told(shell("true"))
    assert running._foreman is before


async def test_full_pipes_block_nobody_and_beginning_and_end_are_kept() -> None:
    code = "import sys; print('a' * 900_000 + 'end'); print('b' * 900_000 + 'END', file=sys.stderr)"
    _, written, errors = await told(python(code))
    assert len(written) < 70_000
    assert written.startswith("aaa")
    assert written.endswith("aend\n")
    assert "[834468 bytes left out]" in written
    assert errors.endswith("bEND\n")


async def test_what_is_written_without_end_is_read_at_a_pace_and_bounded() -> None:
    written = Output(4096)
    ending = await run(Program(["yes"], ENVIRONMENT), 0.5, output=written)
    assert ending.timed_out
    assert output.PACED < written.total < 2 * output.PIPE_BYTES * 0.5 / output.PACE
    assert len(written.text) < 4200


async def test_much_output_takes_no_time() -> None:
    async with asyncio.timeout(10):
        ending, written, _ = await told(shell("head -c 30000000 /dev/zero; echo; echo done"))
    assert ending.status == 0
    assert written.endswith("done\n")


async def test_what_is_no_text_can_be_shown() -> None:
    assert (await told(shell("printf 'a\\377\\000b'")))[1] == "a\ufffd\0b"


async def test_what_was_written_so_far_can_be_read_at_any_time() -> None:
    written = Output()
    task = asyncio.ensure_future(run(shell("echo first; sleep 600"), 60.0, output=written))
    await until(lambda: written.text == "first\n")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert written.text == "first\n"


async def test_too_much_cpu_time_ends_it() -> None:
    ending, _, _ = await told(python("while True: pass", cpu_seconds=0.5), 30)
    assert ending.status == -signal.SIGXCPU


async def test_memory_is_limited() -> None:
    ending, _, errors = await told(python("x = 'a' * 500_000_000", memory_bytes=300_000_000))
    assert ending.status == 1
    assert "MemoryError" in errors


async def test_limits_are_what_was_asked_for_and_there_is_no_core_dump() -> None:
    code = (
        "import os, resource as r; print(*(r.getrlimit(k)[0] for k in"
        " (r.RLIMIT_NOFILE, r.RLIMIT_CORE, r.RLIMIT_CPU, r.RLIMIT_AS)), os.nice(0))"
    )
    limits = {"open_files": 20, "cpu_seconds": 7.0, "memory_bytes": 2**30, "nice": 5}
    assert (await told(python(code, **limits)))[1] == f"20 0 7 {2**30} 5\n"
    assert (await told(python(code)))[1] == "1024 0 -1 -1 0\n"


async def test_many_at_once() -> None:
    found = await asyncio.gather(*(told(shell(f"echo {n}; exit {n}"), 30) for n in range(60)))
    assert [(ending.status, written) for ending, written, _ in found] == [(n, f"{n}\n") for n in range(60)]


async def test_no_descriptor_and_no_process_is_left() -> None:
    await told(shell("true"))
    before = descriptors()

    async def refused(program: Program) -> None:
        with pytest.raises(FileNotFoundError):
            await told(program)

    every: list[Awaitable[Any]] = [told(shell("sleep 600"), 0.1), refused(Program(["nothing"], ENVIRONMENT))]
    await asyncio.gather(*every, told(shell("sleep 600 & exit 1")))
    assert descriptors() == before
    assert children() == []


def test_it_works_on_uvloop_and_on_one_loop_after_another() -> None:
    async def story() -> tuple[int, str, int]:
        ending, written, _ = await told(shell("cat", given=b"x" * 200_000))
        hanging, _, _ = await told(shell("sleep 600"), 0.2)
        return ending.status, written[:3], hanging.status

    assert uvloop.run(story()) == asyncio.run(story()) == (0, "xxx", -signal.SIGTERM)


def test_a_loop_that_is_closed_takes_its_programs_with_it(tmp_path: Path) -> None:
    async def story() -> int:
        task = asyncio.ensure_future(told(shell(f"echo $$ > {tmp_path}/pid; exec sleep 600"), lingering=lambda _: None))
        child = await appeared(tmp_path / "pid")
        task.cancel()
        return child

    child = asyncio.run(story())
    asyncio.run(until(lambda: not is_alive(child)))

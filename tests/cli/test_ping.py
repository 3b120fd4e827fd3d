from __future__ import annotations

import asyncio
import re
import signal
import sys
from pathlib import Path

import pytest

from heartbeat.testing.http import Received, answer, in_turn, refusing_port, serve, silent

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LOUD = "import sys; sys.stdout.write('x' * 300_000 + 'the end'); sys.stdout.flush(); sys.exit(3)"
WAITING = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("ready", flush=True)
time.sleep(30)
"""


async def ping(*words: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    process = await start(*words)
    said, noted = await asyncio.wait_for(process.communicate(stdin), 40)
    return process.returncode or 0, said, noted


async def start(*words: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "heartbeat", "ping", *words, stdin=pipe, stdout=pipe, stderr=pipe
    )


def told(requests: list[Received]) -> list[str]:
    return [UUID.sub("RID", request.path) for request in requests]


async def test_a_job_is_run_as_if_nobody_were_in_between_and_its_start_and_end_are_told() -> None:
    job = ("sh", "-c", "cat; echo careful >&2; exit 3")
    async with serve(answer()) as server:
        code, said, noted = await ping(f"{server.url}ping/token/", "--", *job, stdin=b"asked")
    assert (code, said, noted) == (3, b"asked", b"careful\n")
    assert told(server.requests) == ["/ping/token/start?rid=RID", "/ping/token/3?rid=RID"]
    first, last = (UUID.search(request.path) for request in server.requests)
    assert first is not None
    assert last is not None
    assert first[0] == last[0]
    assert sorted(server.requests[1].body.split()) in ([b"asked", b"careful"], [b"askedcareful"])
    assert {request.method for request in server.requests} == {"POST"}


async def test_of_what_a_job_says_all_is_passed_on_and_the_end_is_sent() -> None:
    async with serve(answer()) as server:
        code, said, _ = await ping(f"{server.url}ping/token", "--", sys.executable, "-c", LOUD)
    assert (code, len(said)) == (3, 300_007)
    assert len(server.requests[-1].body) == 10_000
    assert server.requests[-1].body.endswith(b"xthe end")


async def test_what_it_says_and_when_it_began_can_be_kept_to_oneself() -> None:
    async with serve(answer()) as server:
        code, said, _ = await ping(f"{server.url}ping/token", "--no-body", "--no-start", "--", "echo", "secret")
    assert (code, said) == (0, b"secret\n")
    assert told(server.requests) == ["/ping/token/0?rid=RID"]
    assert server.requests[0].body == b""


async def test_without_a_job_a_success_is_told() -> None:
    async with serve(answer()) as server:
        assert await ping(f"{server.url}ping/token") == (0, b"", b"")
    assert told(server.requests) == ["/ping/token"]


async def test_a_job_that_is_not_there_has_failed() -> None:
    async with serve(answer()) as server:
        code, _, noted = await ping(f"{server.url}ping/token", "--", "/nowhere/job")
    assert code == 127
    assert b"/nowhere/job: No such file or directory" in noted
    assert told(server.requests)[-1] == "/ping/token/127?rid=RID"
    assert b"No such file" in server.requests[-1].body


async def test_signals_reach_the_job_and_its_end_is_told() -> None:
    async with serve(answer()) as server:
        process = await start(f"{server.url}ping/token", "--", sys.executable, "-c", WAITING)
        assert process.stdout
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 7
    assert told(server.requests)[-1] == "/ping/token/7?rid=RID"


async def test_a_job_that_was_killed_has_the_exit_code_that_shells_give_it() -> None:
    async with serve(answer()) as server:
        code, _, _ = await ping(f"{server.url}ping/token", "--", "sh", "-c", "kill -9 $$")
    assert code == 137
    assert told(server.requests)[-1] == "/ping/token/137?rid=RID"


async def test_nobody_to_tell_harms_no_job() -> None:
    with refusing_port() as port:
        code, said, noted = await ping(f"http://127.0.0.1:{port}/ping/token", "--", "echo", "done")
    assert (code, said) == (0, b"done\n")
    assert f"heartbeat ping: 127.0.0.1:{port} was not told: ".encode() in noted
    assert b"token" not in noted


async def test_one_who_does_not_answer_costs_a_job_some_seconds_at_its_end_and_no_more() -> None:
    async with serve(silent) as server:
        code, said, noted = await asyncio.wait_for(ping(f"{server.url}ping/token", "--", "echo", "done"), 25)
    assert (code, said) == (0, b"done\n")
    assert b"was not told: timed out" in noted


async def test_what_passes_is_tried_again_and_what_does_not_is_not() -> None:
    async with serve(in_turn(answer(503), answer(429), answer())) as server:
        assert (await ping(f"{server.url}ping/token"))[0] == 0
    assert len(server.requests) == 3
    async with serve(answer(404)) as server:
        code, _, noted = await ping(f"{server.url}ping/token")
    assert (code, len(server.requests)) == (69, 1)
    assert b"it answers 404" in noted


async def test_a_reader_that_goes_away_is_the_jobs_to_notice() -> None:
    async with serve(answer()) as server:
        words = f"{sys.executable} -m heartbeat ping {server.url}ping/token -- yes | head -n 1"
        shell = await asyncio.create_subprocess_shell(words, stdout=-1, stderr=-1)
        said, _ = await asyncio.wait_for(shell.communicate(), 20)
    assert said == b"y\n"
    assert told(server.requests)[-1] in ("/ping/token/141?rid=RID", "/ping/token/1?rid=RID")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("job", "web: {listen: 127.0.0.1:0}\n", "web.listen has no fixed port, so job is not told"),
        ("jbo", "", 'there is no check "jbo"; did you mean "job"?, so nobody is told'),
        ("own", "", "own is not reported to: it looks itself"),
        ("job", "grce: 1s\n", "the configuration is wrong, so job is not told: "),
    ],
)
async def test_where_nobody_can_be_told_the_job_runs_all_the_same(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    config = write(tmp_path, text)
    code, out, noted = await ping(name, "-c", str(config), "--", "echo", "done")
    assert (code, out) == (0, b"done\n")
    assert said in noted.decode()
    assert (await ping(name, "-c", str(config)))[0] == 78


async def test_a_name_is_looked_up_in_the_configuration(tmp_path: Path) -> None:
    async with serve(answer()) as server:
        config = write(tmp_path, f"web: {{listen: '0.0.0.0:{server.port}'}}\n")
        assert (await ping("job", "-c", str(config), "--", "true"))[0] == 0
    assert told(server.requests)[-1] == "/ping/0123456789abcdef/0?rid=RID"


async def test_a_name_without_a_configuration_is_a_wrong_command_line() -> None:
    assert (await ping("job", "--", "echo", "done"))[:2] == (64, b"")


def write(folder: Path, text: str) -> Path:
    config = folder / "config.yaml"
    checks = "checks:\n  job: {push: {token: 0123456789abcdef}}\n  own: {tcp: {host: 127.0.0.1, port: 1}}\n"
    config.write_text(text + checks)
    return config

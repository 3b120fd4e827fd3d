"""What ``heartbeat new check`` writes: a round trip over TCP, to be replaced by one's own, and its test."""

from __future__ import annotations

PLUGIN = '''\
"""The check type `$name`: send a line, and get it back."""

from __future__ import annotations

import asyncio
from contextlib import closing

from pydantic import Field

from heartbeat import Check, CheckFailed, Probe


class $title(Check):
    """Send a line and get the same line back.

    The docstring is what `heartbeat types $name` shows, the fields are the options. Errors of the network and a
    deadline that passes need no code: the daemon knows what they mean.
    """

    host: str = Field(description="name or address to connect to")
    port: int = Field(7, description="port to connect to", ge=1, le=65535)
    line: str = Field("heartbeat", description="what to send, on one line", min_length=1)

    async def run(self, probe: Probe) -> None:
        """Do one round trip. Returns where it was true, and raises where it was not."""
        with probe.phase("connect"):
            reader, writer = await asyncio.open_connection(self.host, self.port)
        with closing(writer), probe.phase("answer"):
            writer.write(f"{self.line}\\n".encode())
            answer = (await reader.readline()).decode(errors="replace").strip()
        probe.record("answer_bytes", len(answer))
        probe.note("answer", answer)
        if not answer:
            raise CheckFailed(f"{self.host} closed the connection without an answer", reason="reset")
        if answer != self.line:
            raise CheckFailed("another line came back", reason="mismatch", expected=self.line, observed=answer)
'''

TEST = '''\
"""Tests of the check type `$name`, against servers on loopback that answer and servers that misbehave."""

from __future__ import annotations

import asyncio
from pathlib import Path

from heartbeat.testing.check import Result, load_check, run_once
from heartbeat.testing.http import refusing_port
from heartbeat.testing.tcp import Talk, garbage, hang_up, hang_up_after, serve_tcp, silent

$title = load_check(Path(__file__).with_name("$name.py"))  # as the daemon loads it


def run_against(talk: Talk, timeout: float = 5.0) -> Result:
    """Run the check once against a server that behaves like this, as the daemon would."""

    async def run() -> Result:
        async with serve_tcp(talk) as port:
            check = $title.model_validate({"host": "127.0.0.1", "port": port})
            return await run_once(check, timeout)

    return asyncio.run(run())


def test_the_same_line_is_well() -> None:
    result = run_against(hang_up_after(b"heartbeat\\n"))
    assert result.outcome == "ok", result.sentence
    assert result.measurements == {"answer_bytes": 9}
    assert set(result.phases) == {"connect", "answer"}


def test_another_line_is_a_mismatch() -> None:
    result = run_against(hang_up_after(b"nonsense\\n"))
    assert (result.outcome, result.reason) == ("fail", "mismatch")
    assert (result.expected, result.observed) == ("heartbeat", "nonsense")


def test_garbage_is_a_mismatch() -> None:
    assert run_against(garbage()).reason == "mismatch"


def test_a_target_that_closes_at_once_is_bad() -> None:
    result = run_against(hang_up)
    assert (result.outcome, result.reason) == ("fail", "reset")


def test_a_target_that_never_answers_is_bad_at_the_deadline() -> None:
    result = run_against(silent, timeout=0.2)
    assert (result.outcome, result.reason) == ("fail", "timeout")


def test_a_refused_connection_is_bad_without_any_code_of_ours() -> None:
    with refusing_port() as port:
        check = $title.model_validate({"host": "127.0.0.1", "port": port})
        result = asyncio.run(run_once(check))
    assert (result.outcome, result.reason) == ("fail", "connect")
'''

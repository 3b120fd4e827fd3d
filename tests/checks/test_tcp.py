from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import uvloop
from pydantic import ValidationError

from heartbeat import CheckFailed, Probe
from heartbeat.http import close
from heartbeat.plugins import discover, load_type
from heartbeat.testing.dns import NameServer, serve_names
from heartbeat.testing.http import refusing_port, unanswering_port
from heartbeat.testing.tcp import hang_up, reset, say, serve_tcp, silent

Tcp: Any = load_type(discover().sources["tcp"])


async def failure_of(check: Any, seconds: float = 0.3) -> tuple[CheckFailed, Probe]:
    probe = Probe(timeout=seconds)
    with pytest.raises(CheckFailed) as caught:
        await check.run(probe)
    assert probe.remaining > 0
    return caught.value, probe


async def test_a_port_that_answers_is_well_and_its_phases_are_measured() -> None:
    async with serve_tcp(silent) as port:
        probe = Probe()
        await Tcp(host="localhost", port=port).run(probe)
    assert list(probe.phases) == ["resolve", "connect"]
    assert not probe.refused


async def test_a_banner_is_held_against_the_expectation() -> None:
    async with serve_tcp(say(b"220 mail.test ESMTP\r\n")) as port:
        probe = Probe()
        await Tcp(host="127.0.0.1", port=port, expect={"matches": "^220 .*ESMTP$"}).run(probe)
    assert probe.measurements["answer_bytes"] == 21
    assert list(probe.phases) == ["resolve", "connect", "answer"]


@pytest.mark.parametrize("words", [{"send": "PING\r\n"}, {"send_hex": "50494e47 0d0a"}])
async def test_what_is_sent_gets_its_answer(words: dict[str, str]) -> None:
    async with serve_tcp(say(b"", b"+PONG\r\n")) as port:
        await Tcp(host="127.0.0.1", port=port, expect="+PONG", **words).run(Probe())


async def test_an_answer_in_pieces_is_put_together() -> None:
    async def dribble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in b"220 ready":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async with serve_tcp(dribble) as port:
        await Tcp(host="127.0.0.1", port=port, expect={"contains": "ready"}).run(Probe())


async def test_a_wrong_banner_is_wrong_content_with_evidence() -> None:
    async with serve_tcp(say(b"554 go away\x1b[2J\r\n")) as port:
        failed, probe = await failure_of(Tcp(host="127.0.0.1", port=port, expect={"matches": "^220 "}))
    assert failed.reason == "content"
    assert failed.expected == "matches ^220"
    assert failed.observed is not None
    assert failed.observed.startswith("554 go away")
    assert "\x1b" not in failed.observed
    answer = probe.evidence["answer"]
    assert callable(answer)
    assert answer() == r"b'554 go away\x1b[2J\r\n'"


async def test_reading_stops_at_its_limit() -> None:
    async with serve_tcp(say(b"x" * 100_000)) as port:
        failed, probe = await failure_of(Tcp(host="127.0.0.1", port=port, expect={"contains": "y"}, read_limit=1000), 5)
    assert failed.reason == "content"
    assert probe.measurements["answer_bytes"] == 1000


async def test_a_refused_connection_is_a_bad_target() -> None:
    with refusing_port() as port:
        failed, probe = await failure_of(Tcp(host="127.0.0.1", port=port))
    assert (failed.reason, failed.sentence) == ("connect", f"no connection to 127.0.0.1:{port}: connection refused")
    assert list(probe.phases) == ["resolve", "connect"]


async def test_a_connection_attempt_without_answer_ends_before_the_deadline() -> None:
    with unanswering_port() as port:
        failed, _ = await failure_of(Tcp(host="127.0.0.1", port=port))
    assert failed.reason == "timeout"
    assert "did not answer the connection attempt within 0.2" in failed.sentence


async def test_a_silent_target_and_one_that_hangs_up_or_resets_are_told_apart() -> None:
    sentences = {}
    for talk, reason in ((silent, "timeout"), (hang_up, "reset"), (reset, "reset")):
        async with serve_tcp(talk) as port:
            failed, _ = await failure_of(Tcp(host="127.0.0.1", port=port, expect={"contains": "x"}))
        assert failed.reason in {reason, "connect" if talk is reset else reason}, failed
        sentences[failed.sentence.split(" ", 1)[1].split(" within")[0]] = talk
    assert len(sentences) == 3


async def test_a_name_that_does_not_exist_is_a_bad_target(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve_names(NameServer("shop.test. 60 IN A 127.0.0.1")) as names:
        monkeypatch.setenv("HEARTBEAT_DNS_SERVERS", names.address)
        failed, _ = await failure_of(Tcp(host="absent.test", port=1))
        assert (failed.reason, failed.sentence) == ("resolve", "the name absent.test does not exist")
        async with serve_tcp(silent) as port:
            await Tcp(host="shop.test", port=port).run(Probe())


async def test_a_dead_address_is_not_hidden_by_a_living_one(monkeypatch: pytest.MonkeyPatch) -> None:
    zone = "half.test. 60 IN A 127.0.0.2\nhalf.test. 60 IN A 127.0.0.1"
    async with serve_names(NameServer(zone)) as names, serve_tcp(silent) as port:
        monkeypatch.setenv("HEARTBEAT_DNS_SERVERS", names.address)
        failed, probe = await failure_of(Tcp(host="half.test", port=port, addresses="all"), 2)
        assert failed.sentence == f"no connection to half.test:{port} (127.0.0.2): connection refused"
        assert probe.measurements["addresses"] == 2
        names.zone = "half.test. 60 IN A 127.0.0.1"
        await Tcp(host="half.test", port=port, addresses="all").run(Probe())


async def test_a_family_is_demanded() -> None:
    async with serve_tcp(silent) as port:
        await Tcp(host="localhost", port=port, family="ip4").run(Probe())
        failed, _ = await failure_of(Tcp(host="localhost", port=port, family="ip6"))
    assert failed.reason == "connect"
    assert "(::1)" in failed.sentence


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 0},
        {"host": ""},
        {"send_hex": "0"},
        {"send": "a", "send_hex": "0d"},
        {"expect": {"matches": "("}},
        {"read_limit": 0},
        {"tls": True},
    ],
)
def test_wrong_options_are_refused_at_load(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Tcp(**{"host": "shop.test", "port": 1} | wrong)


def test_no_descriptor_is_left_open_on_either_loop() -> None:
    async def story() -> None:
        async with serve_tcp(say(b"hello\r\n")) as port, serve_tcp(silent) as mute:
            for _ in range(5):
                await Tcp(host="localhost", port=port, expect="hello").run(Probe())
                with pytest.raises(CheckFailed):
                    await Tcp(host="localhost", port=mute, expect="hello").run(Probe(timeout=0.05))
                task = asyncio.create_task(Tcp(host="127.0.0.1", port=mute, expect="hello").run(Probe()))
                await asyncio.sleep(0.01)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        close()  # what a loop keeps for the next request

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    for run in (asyncio.run, uvloop.run):
        run(story())
        before = descriptors()
        run(story())
        assert descriptors() == before

from __future__ import annotations

import sys
from subprocess import run

import httpx
import pytest

from heartbeat import Probe
from heartbeat.testing.http import answer, serve, silent


async def test_a_bare_probe_speaks_http() -> None:
    probe = Probe()
    async with serve(answer(body=b"hi")) as server:
        assert (await probe.http.get(server.url)).text == "hi"
        assert probe.http is probe.http
    await probe.aclose()


async def test_its_http_ends_with_the_deadline() -> None:
    probe = Probe(timeout=0.2)
    async with serve(silent) as server:
        with pytest.raises(httpx.ReadTimeout):
            await probe.http.get(server.url, timeout=30)
    await probe.aclose()


async def test_closing_closes_the_client_and_may_come_twice_or_for_nothing() -> None:
    probe = Probe()
    made = probe.http
    await probe.aclose()
    await probe.aclose()
    assert made.is_closed
    await Probe().aclose()


def test_a_probe_costs_no_http_library() -> None:
    code = "import heartbeat, sys; heartbeat.Probe(); assert not {'httpx', 'pycurl'} & sys.modules.keys()"
    run([sys.executable, "-c", code], check=True)


def test_evidence_is_built_only_when_it_is_read() -> None:
    probe, built = Probe(), list[str]()

    def build() -> str:
        built.append("once")
        return "text"

    probe.note("late", build)
    probe.note("now", 42)
    assert (probe.evidence["late"], probe.evidence["now"], built) == (build, "42", [])


def test_long_evidence_is_cut_and_there_is_a_cap() -> None:
    probe = Probe()
    for number in range(30):
        probe.note(f"n{number}", "x" * 10_000)
    assert len(probe.evidence) == 20
    assert probe.dropped == 10
    assert len(str(probe.evidence["n0"])) == 4097


def test_measurements_are_checked_and_the_last_one_wins() -> None:
    probe = Probe()
    probe.record("depth", 1)
    probe.record("depth", 2)
    for name, value in (("Depth", 1), ("up", 1), ("x_ms", 1), ("nan", float("nan")), ("text", "1")):
        probe.record(name, value)  # type: ignore[arg-type]  # a plugin may pass anything
    assert probe.measurements == {"depth": 2.0}
    assert probe.dropped == 5
    assert "Depth" in probe.refused


def test_phases_nest_and_survive_a_failure() -> None:
    probe = Probe()
    with pytest.raises(ValueError, match="x"), probe.phase("login"), probe.phase("token"):
        raise ValueError("x")
    assert probe.phases.keys() == {"login", "login.token"}
    probe.record_phase("login", 1.0)
    assert probe.phases["login"] >= 1.0


def test_a_closed_probe_takes_nothing_and_counts() -> None:
    probe = Probe()
    probe.close()
    probe.record("a", 1)
    probe.record_phase("b", 1)
    probe.note("c", "d")
    assert (probe.measurements, probe.phases, probe.evidence, probe.dropped) == ({}, {}, {}, 3)


def test_a_duration_that_someone_else_measured_is_taken() -> None:
    probe = Probe()
    taken = [probe.took]
    for seconds in (0.25, -1.0, float("nan")):
        probe.record_duration(seconds)
        taken.append(probe.took)
    probe.close()
    probe.record_duration(1.0)
    assert [*taken, probe.took] == [None, 0.25, 0.0, 0.0, 0.0]
    assert "the duration is nan" in probe.refused
    assert probe.dropped == 2

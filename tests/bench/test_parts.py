from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from dnslib import QTYPE, DNSRecord

from bench.figures.accuracy import Timed, errors, match
from bench.figures.scale import Late, read_late
from bench.figures.throughput import is_whole
from bench.ours import Ours, count_runs, http_checks, settings
from bench.program import Program
from bench.servers.names import answer
from bench.soak import Sample, judge
from heartbeat.config import load


def test_runs_are_summed_over_the_checks_of_a_page() -> None:
    page = (
        b'heartbeat_check_runs_total{check="c1",type="http",outcome="ok"} 3\n'
        b'heartbeat_check_runs_total{check="c2",type="http",outcome="ok"} 4\n'
        b'heartbeat_check_runs_total{check="c2",type="http",outcome="fail"} 1\n'
        b'heartbeat_check_runs_total{check="heartbeat.store",type="heartbeat",outcome="ok"} 9\n'
    )
    assert count_runs(page) == {"ok": 7, "fail": 1}


def test_the_configuration_of_the_bench_loads(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(settings(tmp_path, 9780, 2.5, http_checks(["http://127.0.0.1:1/?c=0", "http://127.0.0.1:1/?c=1"])))
    config = load([path], {})
    assert sorted(config.checks) == ["c0", "c1"]
    assert config.checks["c0"].timeout == 2.5


def test_a_measurement_belongs_to_the_request_that_began_with_it() -> None:
    requests = [Timed("c1", at, 0.02) for at in (100.0, 102.5, 105.0)]
    assert match(Timed("c1", 102.499, 0.021), requests) == requests[1]
    assert match(Timed("c1", 102.503, 0.021), requests) == requests[1]  # the clocks are read at different moments
    assert match(Timed("c1", 103.5, 0.021), requests) is None
    assert match(Timed("c1", 200.0, 0.021), requests) is None
    assert match(Timed("c1", 100.0, 0.021), []) is None


def test_the_error_is_what_was_measured_too_much() -> None:
    true = [Timed("c1", 100.001, 0.050), Timed("c2", 100.101, 0.005)]
    measured = [Timed("c2", 100.1, 0.0065), Timed("c1", 100.0, 0.052)]
    assert errors(measured, true) == pytest.approx([1.5, 2.0])


def test_measurements_without_requests_break_the_bench() -> None:
    with pytest.raises(SystemExit, match="only 1 of 2"):
        errors([Timed("c1", 100.0, 0.052), Timed("c9", 100.0, 0.052)], [Timed("c1", 100.001, 0.050)])


@pytest.mark.parametrize(
    ("received", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", True),
    ],
)
def test_an_answer_is_whole_when_its_end_is_there(received: bytes, whole: bool) -> None:
    assert is_whole(received) is whole


def test_every_name_is_this_machine() -> None:
    found = DNSRecord.parse(answer(DNSRecord.question("c17.bench.test").pack()))
    assert [str(record.rdata) for record in found.rr] == ["127.0.0.1"]
    nothing = DNSRecord.parse(answer(DNSRecord.question("c17.bench.test", "AAAA").pack()))
    assert (nothing.rr, QTYPE[nothing.q.qtype], nothing.header.rcode) == ([], "AAAA", 0)


def test_waiting_for_a_core_does_not_hold_the_loop(tmp_path: Path) -> None:
    (tmp_path / "late.json").write_text("[[100.0, 0.020, 0.015, 0.004], [101.0, 0.003, 0.004, 0.0]]")
    found = read_late(tmp_path / "late.json")
    assert found[0] == Late(100.0, 0.020, 0.015, 0.004)
    assert [one.held for one in found] == pytest.approx([0.005, 0.0])


def steady(count: int = 60) -> list[Sample]:
    return [Sample(10.0 * number, 90_000_000, 40 + number % 3, 7) for number in range(count)]


def test_a_soak_without_growth_passes() -> None:
    assert [row.reached for row in judge(steady(), 500)] == [True, True, True]


def test_a_soak_is_not_judged_by_its_beginning() -> None:
    settling = [Sample(10.0 * number, 60_000_000 + 3_000_000 * number, 30, 5) for number in range(10)]
    assert [row.reached for row in judge([*settling, *steady()[10:]], 500)] == [True, True, True]


@pytest.mark.parametrize(
    ("grow", "index"),
    [
        (lambda at: Sample(at, 90_000_000 + int(at * 5000), 40, 7), 0),
        (lambda at: Sample(at, 90_000_000, 40 + int(at / 20), 7), 1),
        (lambda at: Sample(at, 90_000_000, 40, 7 + int(at / 200)), 2),
    ],
    ids=["memory", "descriptors", "threads"],
)
def test_growth_fails_the_soak(grow: object, index: int) -> None:
    assert callable(grow)
    rows = judge([grow(10.0 * number) for number in range(60)], 500)
    assert [row.reached is False for row in rows] == [index == number for number in range(3)]


def test_a_program_is_watched_from_outside(tmp_path: Path) -> None:
    busy = "import sys; sum(range(3_000_000)); print('done', flush=True); sys.stdin.read(); import time; time.sleep(60)"
    with Program([sys.executable, "-c", busy], tmp_path, name="busy") as program:
        program.wait_until(lambda: "done" in program.tail())
        assert 0.005 < program.cpu() < 30
        assert program.peak() >= program.memory() > 1_000_000
        assert program.threads() == 1
        assert program.descriptors() >= 3
        assert program.children_cpu() == 0
    assert not Path(f"/proc/{program.pid}").exists()


def test_a_program_that_ends_says_why(tmp_path: Path) -> None:
    program = Program(["sh", "-c", "echo no such luck; exit 3"], tmp_path, name="short")
    with program, pytest.raises(SystemExit, match=r"short ended with 3:\nno such luck"):
        program.wait_until(lambda: False)


def test_a_program_that_never_gets_ready_is_given_up(tmp_path: Path) -> None:
    program = Program(["sleep", "60"], tmp_path)
    with program, pytest.raises(SystemExit, match=r"did not get ready within 0\.05 s"):
        program.wait_until(lambda: False, within=0.05)


def test_the_runs_are_read_from_the_store(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "heartbeat.db") as store:
        store.execute('CREATE TABLE result ("check", slot, started, duration, outcome, attempt)')
        rows = [
            ("c1", 10.0, 10.002, 0.1, "ok", 0),
            ("c1", 10.0, 11.0, 0.1, "ok", 1),
            ("heartbeat.store", 10, 10, 0, "ok", 0),
        ]
        store.executemany("INSERT INTO result VALUES (?, ?, ?, ?, ?, ?)", rows)
    store.close()
    ours = Ours.__new__(Ours)
    ours.config = tmp_path / "config.yaml"
    (ran,) = ours.ran()
    assert ran.late == pytest.approx(0.002)
    assert ours.ran(since=10.5) == []


def without(programs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).parents[2] / ".ci/packages"
    environ = {"PATH": str(programs)}
    return subprocess.run(["/bin/sh", script, *arguments], env=environ, check=False, capture_output=True, text=True)


def test_without_root_the_missing_packages_are_named_in_one_command(tmp_path: Path) -> None:
    for name, script in {"dpkg-query": "exit 1", "id": "echo 1000", "grep": 'exec /bin/grep "$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    done = without(tmp_path, "nginx-light", "prometheus")
    assert done.returncode == 1
    assert "sudo apt-get install --no-install-recommends nginx-light prometheus" in done.stderr


def test_nothing_is_said_where_all_packages_are_there(tmp_path: Path) -> None:
    for name, script in {"dpkg-query": "printf installed", "grep": 'exec /bin/grep "$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    done = without(tmp_path, "nginx-light")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

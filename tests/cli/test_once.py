from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from textwrap import dedent

import pytest

from heartbeat.cli.findings import data_of, describe
from heartbeat.cli.performing import paint_for
from heartbeat.core.model import Finding, Outcome, Reason, Result, Run, Severity, Verdict
from heartbeat.core.trace import trace_id
from heartbeat.testing.http import answer, refusing_port, serve

PLUGIN = """
    import asyncio
    from heartbeat import Check, CheckBroken, Probe

    class Locked(Check):
        async def run(self, probe: Probe) -> None:
            print("hello from the plugin")
            raise CheckBroken("the account is locked", reason="account")
"""
STUBBORN = """
    import asyncio
    from heartbeat import Check, Probe

    class Stubborn(Check):
        async def run(self, probe: Probe) -> None:
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass
"""


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "locked.py").write_text(dedent(PLUGIN))
    (folder / "stubborn.py").write_text(dedent(STUBBORN))
    return folder


async def once(tmp_path: Path, checks: str, *names: str) -> tuple[int, str, str]:
    """Run the real command on these checks; return its exit status and what it wrote."""
    config = tmp_path / "config.yaml"
    top = f"store: sqlite:///{tmp_path}/heartbeat.db\nplugins: [plugins]\ndefaults: {{timeout: 2s}}\n"
    config.write_text(f"{top}checks:\n{checks}")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "heartbeat", "once", *names, "-c", str(config),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, out.decode(), err.decode()


@pytest.fixture
def dead() -> Iterator[int]:
    with refusing_port() as port:
        yield port


async def test_a_true_round_trip_is_0_and_shows_all_that_was_measured(tmp_path: Path, plugins: Path) -> None:
    async with serve(answer(200)) as shop:
        code, out, _ = await once(tmp_path, f"  shop: {{http: {{url: '{shop.url}'}}}}", "shop")
    assert code == 0
    assert out.startswith("shop: ok in ")
    assert "  phase     connect " in out
    assert "  measured  " in out
    assert len(shop.requests) == 1


async def test_a_broken_limit_is_1(tmp_path: Path, plugins: Path) -> None:
    async with serve(answer(200, body=b"x" * 100)) as shop:
        checks = f"  shop: {{http: {{url: '{shop.url}'}}, limits: {{body_bytes: {{warn: 50B}}}}}}"
        code, out, err = await once(tmp_path, checks, "shop")
    assert code == 1, err
    assert out.startswith("shop: warn in ")
    assert "  limit     body_bytes is 100 B" in out


async def test_every_limit_is_told_also_those_that_hold(tmp_path: Path, plugins: Path) -> None:
    async with serve(answer(200)) as shop:
        checks = f"""
  shop:
    http: {{url: '{shop.url}'}}
    limits: {{duration: {{warn: 5s, fail: 9s}}, depth: {{fail: {{below: 1}}}}, p95 duration 10m: {{warn: 1s}}}}
"""
        code, out, err = await once(tmp_path, checks, "shop")
    assert code == 0, err
    assert "at most 5 s (warn) and at most 9 s (fail): it holds" in out
    assert "  limit     depth is not measured, at least 1 (fail)\n" in out
    assert "  limit     p95 duration 10m is not known from a single run, at most 1 s (warn)\n" in out


async def test_as_json_all_is_there_and_the_log_stays_on_standard_error(
    tmp_path: Path, plugins: Path, dead: int
) -> None:
    checks = f"  shop: {{http: {{url: 'http://127.0.0.1:{dead}/'}}}}\n  mine: {{locked: {{}}}}\n"
    code, out, err = await once(tmp_path, checks, "shop", "mine", "--json", "--no-color")
    shop, mine = json.loads(out)
    assert code == 3
    assert (shop["check"], shop["outcome"], shop["severity"], shop["reason"]) == ("shop", "fail", "fail", "connect")
    assert shop["evidence"]["request"] == f"GET http://127.0.0.1:{dead}/"
    assert shop["phases"].keys() >= {"connect"}
    assert (mine["outcome"], mine["severity"], mine["sentence"]) == ("error", None, "the account is locked")
    assert "hello from the plugin" in err


async def test_a_bad_target_is_2_and_says_why(tmp_path: Path, plugins: Path, dead: int) -> None:
    code, out, _ = await once(tmp_path, f"  shop: {{http: {{url: 'http://127.0.0.1:{dead}/'}}}}", "shop")
    assert code == 2
    assert out.startswith("shop: fail in ")
    assert "  reason    connect" in out


async def test_a_bad_check_is_3_and_what_it_prints_is_no_output_of_ours(tmp_path: Path, plugins: Path) -> None:
    code, out, err = await once(tmp_path, "  mine: {locked: {}}", "mine")
    assert code == 3
    assert "the account is locked" in out
    assert "hello from the plugin" not in out
    assert "hello from the plugin" in err


async def test_of_several_the_worst_counts(tmp_path: Path, plugins: Path, dead: int) -> None:
    async with serve(answer(200)) as shop:
        checks = f"""
  good: {{http: {{url: '{shop.url}'}}}}
  bad: {{http: {{url: 'http://127.0.0.1:{dead}/'}}}}
  broken: {{locked: {{}}}}
"""
        code, out, _ = await once(tmp_path, checks, "broken", "bad", "good")
    assert code == 3
    assert [line.partition(":")[0] for line in out.splitlines() if not line.startswith(" ")] == [
        "broken",
        "bad",
        "good",
    ]


async def test_a_plugin_that_does_not_end_does_not_keep_the_command(tmp_path: Path, plugins: Path) -> None:
    code, out, _ = await once(tmp_path, "  mine: {stubborn: {}, timeout: 300ms}", "mine")
    assert code == 2
    assert "no result within 300 ms" in out


async def test_nothing_is_stored(tmp_path: Path, plugins: Path, dead: int) -> None:
    await once(tmp_path, f"  shop: {{http: {{url: 'http://127.0.0.1:{dead}/'}}}}", "shop")
    assert {path.name for path in tmp_path.iterdir()} == {"config.yaml", "plugins"}  # noqa: ASYNC240 - a test may wait for its own files


RUN = Run("run_1", "shop", 1.0, 0, 1.0, 5.0)
VERDICT = Verdict(RUN, 1.0, Outcome.FAIL, Severity.FAIL, Reason.CONTENT, "the order is gone")


def test_everything_that_was_found_is_told() -> None:
    finding = Finding("depth", Severity.WARN, "at most 5 allowed", "7")
    result = Result(
        Outcome.FAIL, 1.5, Reason.CONTENT, "the order is gone", "an order", "nothing",
        {"depth": 7.0}, {"login": 0.25}, {"body": "one\ntwo"}, lag=0.5,
    )  # fmt: skip
    assert list(describe(replace(VERDICT, findings=(finding,), distorted=True), result)) == [
        "shop: fail in 1.5 s the order is gone",
        "  reason    content",
        "  expected  an order",
        "  observed  nothing",
        "  limit     depth is 7, at most 5 allowed (warn)",
        "  phase     login 250 ms",
        "  measured  depth 7",
        "  evidence  body",
        "    one",
        "    two",
        "  distorted by 500 ms of our own lag",
    ]


def test_an_error_is_called_one_whatever_its_severity() -> None:
    verdict = Verdict(RUN, 1.0, Outcome.ERROR, Severity.OK, Reason.PLUGIN, "ValueError")
    assert next(describe(verdict, Result(Outcome.ERROR, 0.1))) == "shop: error in 100 ms ValueError"


def test_on_a_terminal_the_word_has_a_colour_unless_nobody_wants_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert paint_for(Terminal(), no_color=False)("fail") == "\x1b[31m\x1b[1mfail\x1b[0m"
    assert paint_for(Terminal(), no_color=True)("fail") == "fail"
    assert paint_for(StringIO(), no_color=False)("fail") == "fail"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint_for(Terminal(), no_color=False)("fail") == "fail"


def test_the_trace_of_a_run_is_told_where_its_requests_told_of_it() -> None:
    result = Result(Outcome.OK, 0.1, marked=True)
    assert list(describe(VERDICT, result))[-1] == f"  trace     {trace_id('run_1')} of run_1"
    assert data_of(VERDICT, result)["trace_id"] == trace_id("run_1")
    assert data_of(VERDICT, replace(result, marked=False))["trace_id"] is None


STEPS = """
from heartbeat import Check, CheckFailed, Probe

class _Step(Check):
    fails: bool = False
    async def run(self, probe: Probe) -> None:
        with probe.phase("connect"):
            pass
        probe.record("status_code", 500 if self.fails else 200)
        if self.fails:
            probe.note("body", "one\\ntwo")
            raise CheckFailed("the status is 500, not 2xx", reason="status", expected="2xx", observed=500)

class Story(Check):
    async def run(self, probe: Probe) -> None:
        await probe.step("login", _Step())
        await probe.step("order", _Step(fails=True))
"""


async def test_the_evidence_of_a_step_is_told_under_its_name(tmp_path: Path, plugins: Path) -> None:
    (plugins / "story.py").write_text(STEPS)
    status, out, _ = await once(tmp_path, "  shop: {story: {}}", "shop")
    assert status == 2
    lines = [line for line in out.splitlines() if not line.startswith("  phase ")]
    assert re.fullmatch(r"shop: fail in \S+ \S+ order: the status is 500, not 2xx", lines[0])
    assert lines[1:] == [
        "  reason    status",
        "  expected  2xx",
        "  observed  500",
        "  measured  login_status_code 200",
        "  measured  order_status_code 500",
        "  evidence  order body",
        "    one",
        "    two",
    ]

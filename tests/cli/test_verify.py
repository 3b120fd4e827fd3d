from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from textwrap import dedent
from xml.etree import ElementTree as ET

import pytest

from heartbeat.cli import main
from heartbeat.cli import verify as verify_command
from heartbeat.config import load
from heartbeat.testing.http import Behaviour, Server, answer, refusing_port, routes, serve, silent
from heartbeat.verification import choose

PLUGINS = {
    "locked": """
        from heartbeat import Check, CheckBroken

        class Locked(Check):
            async def run(self, probe):
                print("hello from the plugin")
                raise CheckBroken("the account is locked", reason="account")
    """,
    "stubborn": """
        import asyncio
        from heartbeat import Check

        class Stubborn(Check):
            async def run(self, probe):
                while True:
                    try:
                        await asyncio.sleep(60)
                    except asyncio.CancelledError:
                        pass
    """,
    "leaver": """
        import asyncio, os, sys
        from heartbeat import Check

        class Leaver(Check):
            how: str

            async def run(self, probe):
                if self.how == "exit":
                    os._exit(0)
                if self.how == "hold":
                    while True:
                        pass
                asyncio.get_running_loop().call_soon(sys.exit, 0)
                await asyncio.sleep(1)
    """,
    "echo": """
        from heartbeat import Check, CheckFailed

        class Echo(Check):
            says: str = ""

            async def run(self, probe):
                probe.note("said", self.says)
                probe.record("hits", 3)
                raise CheckFailed(self.says, expected="silence", observed=self.says)
    """,
    "tally": """
        from heartbeat import Check

        class Tally(Check):
            hits: int = 3

            async def run(self, probe):
                probe.record("hits", self.hits)
    """,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plugins").mkdir()
    for name, source in PLUGINS.items():
        (tmp_path / "plugins" / f"{name}.py").write_text(dedent(source))
    return tmp_path


@pytest.fixture
async def shop() -> AsyncIterator[Server]:
    async with serve(answer(200)) as server:
        yield server


@pytest.fixture
def dead() -> Iterator[int]:
    with refusing_port() as port:
        yield port


TOP = "plugins: [plugins]\nstall_limit: 5s\n"
DEFAULTS = "defaults: {timeout: 2s}\n"


def write(folder: Path, text: str) -> None:
    defaults = "" if "defaults:" in text else DEFAULTS
    (folder / "config.yaml").write_text(f"{TOP}{defaults}{text}")


async def start(folder: Path, *args: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "heartbeat", "verify", "-c", str(folder / "config.yaml"), *args,
        cwd=folder, env={**os.environ, "CANARY": "swordfish"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def verify(folder: Path, text: str, *args: str) -> tuple[int, str, str]:
    """Run the real command on this configuration; return its exit status and what it wrote."""
    write(folder, text)
    process = await start(folder, *args)
    out, err = await asyncio.wait_for(process.communicate(), 40)
    return process.returncode or 0, out.decode(), err.decode()


def flaky(*statuses: int) -> Behaviour:
    """Answer with one status after the other, and with 200 from then on."""
    left = list(statuses)

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        await answer(left.pop(0) if left else 200)(reader, writer, server)

    return behave


def slow(seconds: float) -> Behaviour:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        again = asyncio.StreamReader()
        again.feed_data(await reader.readuntil(b"\r\n\r\n"))
        await asyncio.sleep(seconds)
        await answer(200)(again, writer, server)

    return behave


# What passes and what does not


async def test_a_good_target_is_0_and_leaves_nothing_behind(folder: Path, shop: Server) -> None:
    code, out, err = await verify(
        folder, f"checks: {{shop: {{http: {{url: '{shop.url}'}}}}}}\n", "--runs", "3", "--every", "10ms"
    )
    assert code == 0, err
    assert out.splitlines()[1].split()[:4] == ["shop", "passed", "3", "100"]
    assert out.splitlines()[-1].startswith("passed: 1 passed in ")
    assert len(shop.requests) == 3
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "plugins"}  # noqa: ASYNC240 - a test may wait for its own files


async def test_a_bad_target_is_1_even_where_its_policy_would_not_tell_anybody_yet(folder: Path, dead: int) -> None:
    check = f"http: {{url: 'http://127.0.0.1:{dead}/'}}, policy: {{raise: 3 of 5}}"
    code, out, err = await verify(folder, f"checks: {{shop: {{{check}}}}}\n")
    assert (code, "shop   failed" in out) == (1, True), err
    assert "shop: fail" in err


async def test_a_second_look_that_is_good_makes_a_good_run_and_is_told(folder: Path) -> None:
    async with serve(flaky(500)) as server:
        check = f"http: {{url: '{server.url}'}}, policy: {{raise: 2 of 3, recheck: 1s}}"
        code, out, err = await verify(folder, f"checks: {{shop: {{{check}}}}}\n")
    assert (code, len(server.requests)) == (0, 2), err
    assert "1 of 1 run good at a second look only" in out


async def test_a_policy_without_second_looks_makes_none(folder: Path) -> None:
    async with serve(flaky(500)) as server:
        code, _, _ = await verify(folder, f"checks: {{shop: {{http: {{url: '{server.url}'}}}}}}\n")
    assert (code, len(server.requests)) == (1, 1)


@pytest.mark.parametrize(("strict", "expected"), [((), 0), (("--strict-warnings",), 2)])
async def test_a_warning_is_shown_and_is_2_where_that_is_asked_for(
    folder: Path, shop: Server, strict: tuple[str, ...], expected: int
) -> None:
    check = f"http: {{url: '{shop.url}'}}, limits: {{body_bytes: {{warn: 1B}}}}"
    code, out, err = await verify(folder, f"checks: {{shop: {{{check}}}}}\n", *strict)
    assert code == expected, err
    assert "warned" in out
    assert "body_bytes is 2 B, at most 1 B allowed" in out


async def test_a_broken_check_is_3_and_what_it_prints_is_no_output_of_ours(folder: Path, shop: Server) -> None:
    text = f"checks: {{mine: {{locked: {{}}}}, shop: {{http: {{url: '{shop.url}'}}}}}}\n"
    code, out, err = await verify(folder, text)
    assert code == 3, err
    assert "the account is locked" in out
    assert "hello from the plugin" not in out + err


async def test_a_bad_target_counts_more_than_a_broken_check(folder: Path, dead: int) -> None:
    text = f"checks: {{mine: {{locked: {{}}}}, shop: {{http: {{url: 'http://127.0.0.1:{dead}/'}}}}}}\n"
    code, out, _ = await verify(folder, text)
    assert code == 1
    assert out.splitlines()[-1].startswith("failed: 1 broken, 1 failed")


async def test_a_share_of_good_runs_may_be_enough(folder: Path) -> None:
    async with serve(flaky(200, 500)) as server:
        text = f"checks: {{shop: {{http: {{url: '{server.url}'}}}}}}\n"
        code, out, err = await verify(folder, text, "--runs", "4", "--every", "10ms", "--require", "75%")
    assert code == 0, err
    assert "1 of 4 runs failed, the last: the status is 500, not 2xx" in out or "75 %" in out


async def test_a_limit_over_all_runs_decides(folder: Path) -> None:
    async with serve(slow(0.2)) as server:
        text = f"checks: {{shop: {{http: {{url: '{server.url}'}}}}}}\n"
        code, out, err = await verify(folder, text, "--require", "p95 duration: 100ms", "--require", "count fail: 0")
    assert code == 1, err
    assert "p95 duration is 20" in out
    assert "at most 100 ms allowed" in out


async def test_a_limit_on_each_run_is_one_beside_those_of_the_check(folder: Path) -> None:
    text = "checks: {mine: {tally: {}, limits: {hits: {warn: 2}}}}\n"
    code, out, err = await verify(folder, text, "--require", "hits: 2.5")
    assert code == 1, err
    assert "hits is 3, at most 2 allowed; hits (required) is 3, at most 2.5 allowed" in out


async def test_a_requirement_that_nothing_was_held_against_proves_nothing(folder: Path) -> None:
    code, _, err = await verify(
        folder, "checks: {mine: {tally: {}}}\n", "--require", "mean hitz: 5", "--junit", "j.xml"
    )
    assert code == 3
    assert 'no check measured what "mean hitz" is required of' in err
    [case] = [case for case in ET.parse(folder / "j.xml").iter("testcase") if case.find("error") is not None]
    assert case.get("name") == "requirements"


async def test_it_runs_for_a_time(folder: Path, shop: Server) -> None:
    text = f"checks: {{shop: {{http: {{url: '{shop.url}'}}}}}}\n"
    code, _, err = await verify(folder, text, "--for", "1s", "--every", "200ms")
    assert code == 0, err
    assert 3 <= len(shop.requests) <= 6


async def test_checks_run_side_by_side_up_to_a_number(folder: Path) -> None:
    at_work, most = 0, 0

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await slow(0.1)(reader, writer, server)
        at_work -= 1

    async with serve(behave) as server:
        text = f"checks: {{a: {{matrix: {{n: [1, 2, 3, 4, 5, 6]}}, http: {{url: '{server.url}'}}}}}}\n"
        code, _, err = await verify(folder, text, "--concurrency", "3")
    assert (code, most) == (0, 3), err


# Waiting until healthy


async def test_what_fails_before_it_is_healthy_does_not_count(folder: Path) -> None:
    async with serve(flaky(503, 503)) as server:
        check = f"http: {{url: '{server.url}'}}, limits: {{availability 1h: {{fail: {{below: 100%}}}}}}"
        text = f"checks: {{shop: {{{check}}}}}\n"
        code, out, err = await verify(folder, text, "--wait-until-healthy", "--every", "50ms", "--runs", "3")
    assert code == 0, err
    assert "shop: waiting, fail" in err
    assert out.splitlines()[1].split()[:3] == ["shop", "passed", "3"]
    assert "healthy after 2 runs that did not count" in out
    assert len(server.requests) == 5


async def test_healthy_is_what_the_policy_calls_so(folder: Path) -> None:
    async with serve(flaky(503, 200, 503)) as server:
        text = f"checks: {{shop: {{http: {{url: '{server.url}'}}, policy: {{clear: 2}}}}}}\n"
        code, out, err = await verify(folder, text, "--wait-until-healthy", "--every", "50ms")
    assert code == 0, err
    assert "healthy after 4 runs that did not count" in out


async def test_what_is_not_healthy_by_the_deadline_fails(folder: Path, dead: int) -> None:
    text = f"checks: {{shop: {{http: {{url: 'http://127.0.0.1:{dead}/'}}}}, mine: {{locked: {{}}}}}}\n"
    code, out, err = await verify(folder, text, "--deadline", "300ms", "--every", "50ms")
    assert code == 1, err
    assert "shop   failed" in out
    assert "was not healthy within 300ms: " in out
    assert "mine   broken" in out


# Which checks


CHOICE = """
defaults: {tags: [deep]}
checks:
  shop-home: {tally: {}, tags: [post-deploy, smoke]}
  shop-cart: {tally: {}, tags: [post-deploy]}
  mail: {tally: {}}
  each: {matrix: {region: [eu, us]}, tally: {}}
"""


@pytest.mark.parametrize(
    ("args", "chosen"),
    [
        ((), {"shop-home", "shop-cart", "mail", "each.eu", "each.us"}),
        (("shop-*",), {"shop-home", "shop-cart"}),
        (("each", "mail"), {"each.eu", "each.us", "mail"}),
        (("--tag", "post-deploy"), {"shop-home", "shop-cart"}),
        (("--tag", "smoke", "--tag", "deep"), {"shop-home", "mail", "each.eu", "each.us"}),
        (("*home", "--tag", "post-deploy"), {"shop-home"}),
    ],
)
def test_checks_are_chosen_by_name_and_tag(folder: Path, args: tuple[str, ...], chosen: set[str]) -> None:
    write(folder, CHOICE)
    tags = [args[place + 1] for place, arg in enumerate(args) if arg == "--tag"]
    names = [arg for arg in args if arg != "--tag" and arg not in tags]
    assert {check.name for check in choose(load([folder / "config.yaml"], {}), names, tags)} == chosen


def refused(folder: Path, monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    """Run the command in this process, as far as it comes before anything runs; return its exit status."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["heartbeat", "verify", "-c", "config.yaml", *args])
    monkeypatch.setattr(verify_command, "run_gate", lambda _: pytest.fail("it ran"))
    return main()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("shop-hoem",), 'there is no check "shop-hoem"; did you mean "shop-home"?'),
        (("nothing*",), 'there is no check "nothing*"'),
        (("--tag", "post-depoly"), 'no check has the tag "post-depoly"; did you mean "post-deploy"?'),
        (("mail", "--tag", "smoke"), "no check of these names has any of these tags"),
        (("--for", "1s", "--runs", "2"), "--for and --runs exclude each other"),
        (("--for", "5"), "--for must be a duration"),
        (("--every", "0s"), "--every must be longer than nothing"),
        (("--runs", "0"), "--runs"),
        (("--target", "base"), "--target must be NAME=VALUE"),
        (("--target", "base=x"), 'there is no target "base"; name it under targets: in the configuration'),
        (("--require", "p95"), '--require "p95" must be a share of good runs'),
        (("--baseline", "b.json"), "a baseline needs at least 5 runs of each check: add --runs 5, or --for"),
        (("--baseline", "b.json", "--runs", "5"), "the baseline b.json cannot be read: No such file"),
        (("--junit", "nowhere/j.xml"), "cannot write nowhere/j.xml: No such file or directory"),
    ],
)
def test_a_wrong_command_line_is_64_before_anything_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], args: tuple[str, ...], said: str
) -> None:
    write(folder, CHOICE)
    assert refused(folder, monkeypatch, *args) == 64
    assert said in " ".join(capsys.readouterr().err.split())


async def test_a_wrong_configuration_is_78(folder: Path) -> None:
    code, _, err = await verify(folder, "checks: {a: {tally: {hist: 3}}}\n")
    assert code == 78
    assert 'unknown key "hist"; did you mean "hits"?' in err


# Targets


TARGETS = """
targets: {{base: "http://127.0.0.1:{dead}"}}
checks:
  shop: {{http: {{url: "${{target.base}}/home"}}}}
  other: {{tally: {{}}}}
"""


async def test_a_target_is_replaced_and_who_does_not_refer_to_it_is_told(folder: Path, shop: Server, dead: int) -> None:
    code, out, err = await verify(
        folder, TARGETS.format(dead=dead), "--target", f"base={shop.url[:-1]}", "--junit", "j.xml"
    )
    assert code == 0, err
    assert shop.requests[0].path == "/home"
    [note] = [
        line for line in out.splitlines() if "run where it is configured: it refers to no replaced target" in line
    ]
    assert note.startswith("other")
    properties = {one.get("name"): one.get("value") for one in ET.parse(folder / "j.xml").iter("property")}
    assert properties["target.base"] == shop.url[:-1]


async def test_to_replace_what_no_chosen_check_refers_to_is_refused(folder: Path, dead: int) -> None:
    code, _, err = await verify(folder, TARGETS.format(dead=dead), "other", "--target", "base=http://canary")
    assert code == 64
    assert "no chosen check refers to ${target.base}" in err


async def test_a_secret_in_a_target_is_shown_nowhere(folder: Path, dead: int) -> None:
    text = TARGETS.format(dead=dead)
    reports = ("--junit", "j.xml", "--json", "j.json", "--markdown", "m.md")
    target = f"base=http://127.0.0.1:{dead}/${{secret:CANARY}}"
    code, out, err = await verify(folder, text, "shop", "--target", target, *reports)
    assert code == 1, err
    written = [(folder / name).read_text() for name in reports[1::2]]
    assert "redacted:CANARY" in written[1]
    assert all("swordfish" not in one for one in (out, err, *written))


# Reports


HOSTILE = "\\x1b[31m</failure>]]>\\x00 ``` | @all <script> ##vso[task.setvariable variable=a]b \\ufffe"


async def test_hostile_text_is_inert_in_every_report(folder: Path) -> None:
    text = f'checks: {{mine: {{echo: {{says: "{HOSTILE}"}}, runbook: "https://wiki.example.com/x"}}}}\n'
    code, out, err = await verify(folder, text, "--junit", "j.xml", "--json", "j.json", "--markdown", "m.md")
    assert code == 1, err
    [failure] = ET.parse(folder / "j.xml").iter("failure")
    assert failure.get("type") == "content"
    assert "expected  silence" in (failure.text or "")
    assert "evidence  said" in (failure.text or "")
    assert "https://wiki.example.com/x" in (failure.text or "")
    markdown = (folder / "m.md").read_text()
    assert "@all" not in markdown.partition("<details>")[0]
    assert "<script>" not in markdown.partition("````text")[0]
    assert "````text" in markdown
    for shown in (out, err, markdown, (folder / "j.xml").read_text()):
        assert "\x1b" not in shown
    assert "\ufffe" not in (folder / "j.xml").read_text()
    assert "##vso" not in out + err


async def test_the_junit_report_has_a_case_for_each_check(folder: Path, shop: Server) -> None:
    good = f"http: {{url: '{shop.url}'}}"
    text = f"checks: {{good: {{{good}}}, bad: {{echo: {{says: 'no'}}}}, broken: {{locked: {{}}}}}}\n"
    code, _, _ = await verify(folder, text, "--runs", "2", "--every", "10ms", "--junit", "j.xml", "--require", "99%")
    assert code == 1
    root = ET.parse(folder / "j.xml").getroot()
    [suite] = root
    assert (root.tag, suite.tag, suite.get("tests"), suite.get("failures"), suite.get("errors")) == (
        "testsuites", "testsuite", "3", "1", "1",
    )  # fmt: skip
    assert [child.tag for child in suite] == [
        "properties",
        "testcase",
        "testcase",
        "testcase",
        "system-out",
        "system-err",
    ]
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert [len(cases[name]) for name in ("good", "bad", "broken")] == [0, 1, 1]
    assert cases["good"].get("classname") == "heartbeat.http"
    assert float(cases["good"].get("time", "")) > 0
    assert cases["broken"][0].tag == "error"
    assert cases["bad"][0].get("message") == "2 of 2 runs failed, the last: no"


async def test_the_json_report_says_all_that_was_found(folder: Path, shop: Server) -> None:
    good = f"http: {{url: '{shop.url}'}}, tags: [a], labels: {{team: shop}}"
    text = f"checks: {{shop: {{{good}}}, bad: {{echo: {{says: gone}}}}}}\n"
    code, _, _ = await verify(folder, text, "--json", "j.json", "--require", "duration: 5s")
    found = json.loads((folder / "j.json").read_text())
    assert (found["version"], found["verdict"], found["exit"], found["required"]) == (
        1,
        "failed",
        code,
        ["duration: 5s"],
    )
    shop_found, bad = found["checks"]
    assert (shop_found["verdict"], shop_found["good_share"], shop_found["tags"], shop_found["shown"]) == (
        "passed",
        1.0,
        ["a"],
        None,
    )
    assert shop_found["duration"]["n"] == 1
    assert (bad["shown"]["observed"], bad["shown"]["evidence"], bad["shown"]["measurements"]) == (
        "gone",
        {"said": "gone"},
        {"hits": 3.0},
    )


async def test_the_markdown_report_is_appended(folder: Path) -> None:
    (folder / "m.md").write_text("before\n")
    await verify(folder, "checks: {mine: {tally: {}}}\n", "--markdown", "m.md")
    text = (folder / "m.md").read_text()
    assert text.startswith("before\n### ✅ heartbeat verify: passed")
    assert "| ✅ | mine | passed | 1 | 100 % |" in text


async def test_a_report_that_cannot_be_written_in_the_end_is_73(folder: Path) -> None:
    write(folder, "checks: {mine: {tally: {}}}\n")
    (folder / "out").mkdir()
    process = await start(folder, "--junit", "out/j.xml", "--runs", "2", "--every", "1s")
    assert process.stderr is not None
    await process.stderr.readline()
    (folder / "out").rmdir()
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 73
    assert b"cannot write out/j.xml" in err


# Baselines


async def test_a_check_that_became_much_slower_than_its_baseline_fails(folder: Path) -> None:
    runs = ("--runs", "5", "--every", "10ms")
    async with serve(routes({"/": answer(200), "/late": slow(0.3)})) as server:
        text = "checks: {shop: {http: {url: '%s'}}}\n"
        code, _, err = await verify(folder, text % server.url, *runs, "--save-baseline", "b.json")
        assert code == 0, err
        code, out, err = await verify(folder, text % server.url, *runs, "--baseline", "b.json")
        assert (code, "baseline" in out) == (0, False), err
        late = text % f"{server.url}late"
        code, out, err = await verify(folder, late, *runs, "--baseline", "b.json", "--save-baseline", "new.json")
    assert code == 1, err
    assert "the median duration is 3" in out
    assert "(most of it in processing), was " in out
    assert "new.json is not saved" in err
    assert not (folder / "new.json").exists()


async def test_what_is_not_in_the_baseline_is_told(folder: Path) -> None:
    (folder / "b.json").write_text('{"version": 1, "checks": {}}')
    code, out, _ = await verify(folder, "checks: {mine: {tally: {}}}\n", "--for", "100ms", "--baseline", "b.json")
    assert (code, "not in the baseline" in out) == (0, True)


SAVED = '{"version": 1, "checks": {"a": {"duration": {%s}}}}'


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        ("", "it is no JSON"),
        ("[]", "is no baseline of this version"),
        ('{"version": 2, "checks": {}}', "is no baseline of this version"),
        (SAVED % '"n": 5', "is no baseline that --save-baseline made"),
        (SAVED % '"n": 0, "p25": 1, "p50": 1, "p75": 1, "p95": 1', "is no baseline that --save-baseline made"),
        (SAVED % '"n": 5, "p25": NaN, "p50": 1, "p75": 1, "p95": 1', "is no baseline that --save-baseline made"),
        ('{"version": 1, "checks": {"a": 3}}', "is no baseline that --save-baseline made"),
    ],
)  # fmt: skip
def test_a_baseline_that_is_none_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], saved: str, said: str
) -> None:
    (folder / "b.json").write_text(saved)
    write(folder, "checks: {mine: {tally: {}}}\n")
    assert refused(folder, monkeypatch, "--runs", "5", "--baseline", "b.json") == 64
    assert said in capsys.readouterr().err


# What must not end in a 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_ends_it_with_what_is_known_so_far(
    folder: Path, shop: Server, number: signal.Signals, status: int
) -> None:
    async with serve(silent) as deaf:
        good, late = f"http: {{url: '{shop.url}'}}", f"http: {{url: '{deaf.url}'}}, timeout: 30s"
        write(folder, f"checks: {{good: {{{good}}}, late: {{{late}}}, stuck: {{stubborn: {{}}}}}}\n")
        process = await start(folder, "--runs", "1", "--junit", "j.xml")
        assert process.stderr is not None
        while b"good: done" not in await process.stderr.readline():
            pass
        process.send_signal(number)
        out, _ = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == status
    told = {line.split()[0]: line for line in out.decode().splitlines()}
    assert "passed" in told["good"]
    assert "interrupted before it was done" in told["late"]
    assert f"interrupted by {number.name}" in out.decode().splitlines()[-1]
    errors = {
        case.get("name") for case in ET.parse(folder / "j.xml").iter("testcase") if case.find("error") is not None
    }
    assert errors == {"late", "stuck"}


async def test_a_plugin_that_does_not_end_does_not_keep_the_command_and_is_not_run_twice(folder: Path) -> None:
    code, out, err = await verify(
        folder, "checks: {mine: {stubborn: {}, timeout: 300ms}}\n", "--runs", "2", "--every", "10ms"
    )
    assert code == 1, err
    assert "no result within 300 ms" in out
    assert "the run before is still going on, past its deadline" in err


@pytest.mark.parametrize("how", ["exit", "loop"])
async def test_a_plugin_that_ends_the_process_with_a_0_does_not_open_the_gate(folder: Path, how: str) -> None:
    code, out, _ = await verify(folder, f"checks: {{mine: {{leaver: {{how: {how}}}}}}}\n", "--junit", "j.xml")
    assert code == 3
    assert "broken" in out
    assert (folder / "j.xml").exists()


async def test_a_plugin_that_holds_the_loop_for_ever_is_named(folder: Path) -> None:
    code, out, _ = await verify(folder, "checks: {mine: {leaver: {how: hold}}}\n")
    assert code == 3
    assert "its plugin held the main loop for 5 s" in out


async def test_on_a_terminal_there_is_a_table(folder: Path, shop: Server) -> None:
    import pty

    write(folder, f"checks: {{shop: {{http: {{url: '{shop.url}'}}}}}}\n")
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "heartbeat", "verify", "-c", "config.yaml", "--no-color",
        cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )  # fmt: skip
    os.close(theirs)
    assert await asyncio.wait_for(process.wait(), 30) == 0
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "shop" in shown
    assert "passed: 1 passed" in shown
    assert "\x1b[32m" not in shown

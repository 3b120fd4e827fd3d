"""What commands that run without a daemon do with checks that are switched off."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from heartbeat.testing.http import Server, answer, redirect, routes, serve


@pytest.fixture
async def shop() -> AsyncIterator[Server]:
    async with serve(routes({"/": answer(200), "/flags": answer(200, body=b"off"), "/down": redirect("/")})) as server:
        yield server


async def run(tmp_path: Path, command: str, text: str, *arguments: str) -> tuple[int, str, str]:
    """Run the real command; return its exit status and what it wrote."""
    path = tmp_path / "config.yaml"
    path.write_text(f"store: sqlite:///{tmp_path}/heartbeat.db\ndefaults: {{timeout: 2s}}\n{text}")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "heartbeat", command, *arguments, "-c", str(path),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 40)
    return process.returncode or 0, out.decode(), err.decode()


def check(shop: Server, enabled: str, more: str = "") -> str:
    return f"{{enabled: {enabled}, http: {{url: '{shop.url}'}}{more}}}"


def checks(shop: Server, **enabled: str) -> str:
    return "checks:\n" + "".join(f"  {name}: {check(shop, one)}\n" for name, one in enabled.items())


# verify


async def test_a_gate_leaves_out_what_is_off_and_says_so_in_every_report(tmp_path: Path, shop: Server) -> None:
    text = checks(shop, good="true", never="off", asked=f"{{http: '{shop.url}flags'}}")
    files = {one: tmp_path / f"out.{one}" for one in ("junit", "json", "markdown")}
    options = [word for one, file in files.items() for word in (f"--{one}", str(file))]
    code, out, err = await run(tmp_path, "verify", text, *options)
    assert code == 0, err
    assert out.splitlines()[-1].startswith("passed: 1 passed, 2 switched off in ")
    why = f"switched off by {shop.url}flags"
    assert [line.split(maxsplit=2)[:2] for line in out.splitlines()[2:4]] == [["never", "off"], ["asked", "off"]]
    assert why in out
    told = json.loads(files["json"].read_text())
    assert told["switched_off"] == {"never": "switched off by the configuration", "asked": why}
    assert [one["name"] for one in told["checks"]] == ["good"]
    suite = ET.fromstring(files["junit"].read_bytes()).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("skipped"), suite.get("failures")) == ("3", "2", "0")
    assert [case.get("name") for case in suite.findall("testcase") if case.find("skipped") is not None] == [
        "never", "asked",
    ]  # fmt: skip
    assert "2 switched off" in files["markdown"].read_text()
    assert "| never | off |" in files["markdown"].read_text()
    assert [one.path for one in shop.requests].count("/") == 1


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "all 2 checks that were chosen are switched off: nothing was verified"),
        (["a"], "a is switched off: nothing was verified"),
    ],
)
async def test_a_gate_is_not_passed_because_everything_was_off(
    tmp_path: Path, shop: Server, names: list[str], said: str
) -> None:
    code, out, err = await run(tmp_path, "verify", checks(shop, a="off", b=f"{{http: '{shop.url}flags'}}"), *names)
    assert (code, said in err) == (3, True), err
    assert out.splitlines()[-1].startswith(f"broken: {2 - len(names)} switched off in ")
    assert "/" not in [one.path for one in shop.requests]


async def test_a_gate_fails_where_a_replaced_target_is_that_of_checks_that_are_off(
    tmp_path: Path, shop: Server
) -> None:
    text = f"targets: {{base: '{shop.url}'}}\n" + checks(shop, good="on")
    text += "  canary: {enabled: off, http: {url: '${target.base}'}}\n"
    code, _, err = await run(tmp_path, "verify", text, "--target", f"base={shop.url}")
    assert code == 3, err
    assert "no chosen check refers to ${target.base}" in err
    assert "the checks that do so are switched off" in err


async def test_a_gate_runs_what_nobody_says_to_be_off(tmp_path: Path, shop: Server) -> None:
    code, out, err = await run(tmp_path, "verify", checks(shop, till=f"{{http: '{shop.url}down'}}"))
    assert code == 0, err
    assert "passed: 1 passed in " in out


# once


async def test_one_run_takes_place_all_the_same_and_says_so(tmp_path: Path, shop: Server) -> None:
    text = checks(shop, never="off", good="on")
    code, out, err = await run(tmp_path, "once", text, "never", "good")
    assert code == 0, err
    assert out.count("note      the daemon does not run it: switched off by the configuration") == 1
    assert len(shop.requests) == 2
    code, out, err = await run(tmp_path, "once", text, "never", "good", "--json")
    assert [one["switched_off"] for one in json.loads(out)] == ["switched off by the configuration", None]


# dry-run


async def test_a_dry_run_names_what_did_not_run(tmp_path: Path, shop: Server) -> None:
    text = checks(shop, never="off", good="on")
    code, out, err = await run(tmp_path, "dry-run", text)
    assert code == 0, err
    assert out.startswith("never: it did not run: switched off by the configuration\n\ngood: ok in ")
    code, out, err = await run(tmp_path, "dry-run", text, "--json")
    told = json.loads(out)
    assert (told["exit"], told["switched_off"]) == (0, {"never": "switched off by the configuration"})
    assert [one["check"] for one in told["checks"]] == ["good"]


async def test_a_dry_run_of_nothing_is_no_success(tmp_path: Path, shop: Server) -> None:
    code, out, err = await run(tmp_path, "dry-run", checks(shop, never="off"))
    assert (code, "Nothing ran: all checks that were chosen are switched off." in out) == (3, True), err
    assert shop.requests == []


async def test_a_dry_run_lets_a_parent_that_is_off_hide_nothing(tmp_path: Path) -> None:
    dead = "'http://127.0.0.1:1/'"
    text = (
        "receivers: {ops: [command: {command: [/bin/true]}]}\n"
        f"checks:\n  gateway: {{enabled: off, http: {{url: {dead}}}}}\n"
        f"  shop: {{depends_on: gateway, notify: [ops], http: {{url: {dead}}}}}\n"
    )
    code, out, err = await run(tmp_path, "dry-run", text)
    assert code == 2, err
    assert "event     FAILING would be told by ops/command" in out
    assert "it ran because others depend on it" not in out


# simulate, explain


async def test_a_simulation_of_a_check_that_is_off_says_that_it_would_not_run(tmp_path: Path, shop: Server) -> None:
    code, out, err = await run(tmp_path, "simulate", checks(shop, never="off"), "never", "fail*3")
    assert code == 0
    assert err == "note: never is switched off by the configuration; this is what would happen if it ran\n"
    assert out

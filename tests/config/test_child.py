from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import aclosing
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from heartbeat.accounts import Accounts
from heartbeat.backing import Backing
from heartbeat.channels.registry import load_kind
from heartbeat.config import Config, ConfigError, build, load, load_in_child
from heartbeat.config.child import _frames
from heartbeat.config.process import running
from heartbeat.core.model import Run
from heartbeat.lag import LagMeter
from heartbeat.pool import Pool
from heartbeat.roster import Changes, compare
from heartbeat.runner import Workshop, run_check

TEXT = """
plugins: [./checks.d]
checks:
  a: {shop: {url: "${secret:TOKEN}"}}
  b: {shop: {url: y}}
receivers: {ops: [webhook: {url: "https://hook.example.com/x"}]}
"""


@pytest.fixture
def config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOKEN", "swordfish")
    (folder / "config.yaml").write_text(TEXT)
    return folder / "config.yaml"


def write(file: Path, text: str) -> None:
    file.write_text(text)


def read(file: Path) -> str:
    return file.read_text()


def plugin(folder: Path, name: str, text: str) -> None:
    write(folder / "checks.d" / f"{name}.py", text)


async def complaint(config: Path, patience: float = 30.0) -> str:
    with pytest.raises(ConfigError) as caught:
        await load_in_child([config], patience=patience)
    return str(caught.value)


async def test_what_the_child_read_is_built_here(config: Path, folder: Path) -> None:
    loaded = await load_in_child([config])

    assert list(loaded.checks) == ["a", "b"]
    assert loaded.checks["a"].check.model_dump()["url"] == "swordfish"
    assert list(loaded.receivers["ops"].channels) == ["ops/webhook"]
    assert loaded.redactor("swordfish") == "<redacted:TOKEN>"
    assert folder / "checks.d" / "shop.py" in loaded.files


async def test_unchanged_checks_stay_the_same_objects(config: Path) -> None:
    before = await load_in_child([config])
    write(config, TEXT.replace("url: y", "url: z").replace("a: {shop", "a: {every: 5m, shop"))

    after = await load_in_child([config], before)
    again = await load_in_child([config], after)

    assert after.checks["a"].check is before.checks["a"].check
    assert after.checks["a"] is not before.checks["a"]
    assert after.checks["b"].check.model_dump()["url"] == "z"
    assert all(again.checks[name] is after.checks[name] for name in after.checks)


async def test_a_rotated_secret_stays_a_secret(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await load_in_child([config])
    monkeypatch.setenv("TOKEN", "marlinfish")

    after = await load_in_child([config], before)

    assert after.redactor("swordfish marlinfish") == "<redacted:TOKEN> <redacted:TOKEN>"


async def test_a_changed_plugin_is_loaded_anew(config: Path, folder: Path) -> None:
    before = await load_in_child([config])
    source = folder / "checks.d" / "shop.py"
    write(source, read(source).replace("port: int = 443", "port: int = 80"))

    after = await load_in_child([config], before)

    assert before.checks["b"].check.model_dump()["port"] == 443
    assert after.checks["b"].check.model_dump()["port"] == 80


SCRIPT = "def check(**_given): return {'version': 1}\n"
LATE = ", arguments: {name: '${accounts.shopper.user}'}"


async def with_script(config: Path, options: str = "") -> Config:
    before = await load_in_child([config])
    write(config.parent / "slow.py", SCRIPT)
    text = TEXT.replace("{shop: {url: y}}", f"{{script: {{file: ./slow.py{options}}}}}")
    write(config, f"accounts: {{shopper: {{user: synthetic}}}}\n{text}")
    return before


@pytest.mark.parametrize("options", ["", LATE])
async def test_a_script_that_takes_long_to_import_holds_nobody_at_a_reload(config: Path, options: str) -> None:
    before = await with_script(config, options)
    write(config.parent / "slow.py", f"import time\ntime.sleep(0.5)\n{SCRIPT}")
    accounts = Accounts(lambda: 0.0)
    lag, started = LagMeter(), perf_counter()
    lag.start()
    try:
        after = await load_in_child([config], before)
        accounts.adopt(after.accounts)
        workshop = Workshop(Pool(), lag, after.redactor, Backing(lease=accounts.lease))
        run = await run_check(after.checks["b"].check, Run("run_test", "b", 0.0, 0, 0.0, 5.0), workshop)
        worst = lag.worst_since(started)
    finally:
        lag.stop()
    assert run.result.measurements == {"version": 1}
    assert worst < 0.25, f"the loop stood still for {worst:.3f} s"


async def test_kinds_of_channels_are_imported_beside_the_loop_at_a_reload(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def load(kind: str) -> Any:
        threads.append(threading.current_thread())
        return load_kind(kind)

    before = await load_in_child([config])
    monkeypatch.setattr(build, "load_kind", load)
    await load_in_child([config], before)
    assert threads
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("options", ["", LATE])
async def test_a_script_that_changes_counts_at_the_next_reload_and_not_before(config: Path, options: str) -> None:
    before = await load_in_child([config], await with_script(config, options))
    write(config.parent / "slow.py", SCRIPT.replace("1", "2"))
    accounts = Accounts(lambda: 0.0)
    accounts.adopt(before.accounts)
    lag = LagMeter()
    lag.start()
    try:
        workshop = Workshop(Pool(), lag, before.redactor, Backing(lease=accounts.lease))
        run = Run("run_test", "b", 0.0, 0, 0.0, 5.0)
        old = await run_check(before.checks["b"].check, run, workshop)
        after = await load_in_child([config], before)
        new = await run_check(after.checks["b"].check, run, workshop)
    finally:
        lag.stop()
    assert [one.result.measurements for one in (old, new)] == [{"version": 1}, {"version": 2}]


async def test_a_new_plugin_works_after_a_reload(config: Path, folder: Path) -> None:
    before = await load_in_child([config])
    plugin(folder, "bank", read(folder / "checks.d" / "shop.py").replace("Shop", "Bank"))
    write(config, TEXT.replace("b: {shop", "b: {bank"))

    after = await load_in_child([config], before)

    assert type(after.checks["b"].check).__name__ == "Bank"


async def test_mistakes_come_back_with_their_places(config: Path) -> None:
    write(config, TEXT.replace("url: y", "ulr: y").replace("${secret:TOKEN}", "${secret:NONE}"))

    said = (await complaint(config)).splitlines()

    assert [one.removeprefix(str(config)).split(" ")[0] for one in said] == [":4:19", ":5:14"]


async def test_a_plugin_that_ends_the_process_is_named(config: Path, folder: Path) -> None:
    plugin(folder, "wild", "import os\nos._exit(0)\n")

    assert await complaint(config) == (
        f'{folder}/checks.d/wild.py:2:1: the check type "wild" does not import: SystemExit: it called os._exit(0)'
    )


async def test_a_plugin_that_kills_the_process_is_named(config: Path, folder: Path) -> None:
    plugin(folder, "wild", "import os\nos.kill(os.getpid(), 9)\n")

    assert "wild.py was killed by SIGKILL" in await complaint(config)


async def test_a_plugin_that_hangs_is_given_up_and_ended(config: Path, folder: Path) -> None:
    plugin(
        folder,
        "wild",
        f"import os, time\nopen({str(folder / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n",
    )

    assert "wild.py did not come to an end within 3 s" in await complaint(config, patience=3)

    with pytest.raises(ProcessLookupError):
        os.kill(int(read(folder / "pid")), 0)


async def test_a_plugin_that_prints_or_leaves_a_thread_disturbs_nobody(config: Path, folder: Path) -> None:
    plugin(
        folder,
        "loud",
        "import threading\nfrom heartbeat import Check\nprint('x' * 100_000)\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "class Loud(Check):\n    def run(self, probe): ...\n",
    )

    assert list((await load_in_child([config])).checks) == ["a", "b"]


async def test_a_grandchild_that_holds_the_pipe_does_not_hold_us(
    config: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heartbeat.config.process.LINGER", 0.1)
    plugin(
        folder,
        "wild",
        "import ctypes, os, time\nif os.fork():\n    ctypes.CDLL(None)._exit(3)\n"
        f"open({str(folder / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n",
    )
    try:
        assert "ended the process (exit status 3)" in await complaint(config)
    finally:
        os.kill(int(read(folder / "pid")), signal.SIGKILL)


async def test_others_run_while_many_checks_are_loaded(config: Path) -> None:
    many = "".join(f"  c{n}: {{shop: {{url: x}}}}\n" for n in range(1000))
    write(config, TEXT.replace("  a: ", many + "  a: "))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    other = asyncio.create_task(count())
    loaded = await load_in_child([config])
    other.cancel()

    assert len(loaded.checks) == 1002
    assert turns > 10


async def test_checks_come_and_go_at_a_reload(config: Path) -> None:
    before = await load_in_child([config])
    write(config, TEXT.replace("  a: {shop", "  c: {shop"))

    after = await load_in_child([config], before)

    assert sorted(after.checks) == ["b", "c"]
    assert after.checks["b"] is before.checks["b"]
    assert sorted(before.checks) == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "key"),
    [("every: 7m", "schedule"), ("timeout: 2s", "timeout"), ("notify: [ops]", "notify"), ("labels: {x: y}", "labels"),
     ("policy: {raise: 3}", "policy"), ("limits: {duration: {fail: 1s}}", "limits"),
     ("runbook: 'https://x/'", "runbook"),
     ("was: z", "was"), ("depends_on: [a]", "depends_on"), ("objective: {availability: 99%}", "objective"),
     ("notify: {warn: [ops]}", "notify"), ("escalate: {after: 1m, to: [ops]}", "policy"),
     ("limits: {p95 duration 1h: {fail: 1s}}", "limits"), ("policy: {warn: {raise: 3}}", "policy")],
)  # fmt: skip
async def test_whatever_changes_about_a_check_arrives(words: str, key: str, config: Path) -> None:
    before = await load_in_child([config])
    write(config, TEXT.replace("b: {", f"b: {{{words}, "))

    after = await load_in_child([config], before)

    assert getattr(after.checks["b"], key) != getattr(before.checks["b"], key)
    assert after.checks["b"].check is before.checks["b"].check
    assert after.checks["a"] is before.checks["a"]


async def test_of_what_is_known_nothing_is_sent(config: Path) -> None:
    before = await load_in_child([config])
    words = []
    async with running([config], before, None) as child, aclosing(_frames(child, [config], 30)) as frames:
        async for word, payload in frames:
            words.append((word, payload if word in ("gone", "checks") else None))
            if word == "end":
                break
    assert words == [("plan", None), ("gone", []), ("end", None)]


async def test_secrets_that_stay_the_same_keep_what_hides_them(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await load_in_child([config])
    assert (await load_in_child([config], before)).redactor is before.redactor
    monkeypatch.setenv("TOKEN", "marlinfish")
    assert (await load_in_child([config], before)).redactor is not before.redactor


async def test_what_is_said_of_all_checks_arrives(config: Path) -> None:
    write(
        config,
        TEXT + "storm: {checks: 7}\nmaintenance: {move: {checks: [a], reason: x, cron: 0 1 * * *, duration: 1h}}\n",
    )
    here, there = load([config], os.environ), await load_in_child([config])

    assert (there.storm, there.maintenance) == (here.storm, here.maintenance)
    assert there.storm
    assert (there.storm.checks, [one.name for one in there.maintenance]) == (7, ["move"])


EVERYTHING = """
plugins: [./checks.d]
receivers: {ops: [webhook: {url: "https://hook.example.com/x"}], lead: [webhook: {url: "https://hook.example.com/y"}]}
storm: {checks: 7}
maintenance: {move: {checks: [login.*], reason: x, cron: 0 1 * * *, duration: 1h}}
defaults:
  policy: {raise: 2 of 3, hold: 1m, missed: 5, flapping: {start: 40%}, warn: {raise: 3}}
  notify: {warn: [], check_broken: [lead], otherwise: [ops]}
  escalate: {after: 15m, to: [lead]}
checks:
  gateway: {shop: {url: x}}
  login:
    matrix: {cohort: [a-d, e-h], region: [eu, us]}
    shop: {url: "https://${matrix.region}/"}
    depends_on: [gateway]
    objective: {availability: 99.9%, window: 30d}
    limits: {p95 duration 10m: {fail: 1s}, availability 1h: {fail: {below: 99%}}}
"""


async def test_a_reload_of_the_same_file_changes_nothing(config: Path) -> None:
    write(config, EVERYTHING)
    before = await load_in_child([config])

    after = await load_in_child([config], before)

    assert all(after.checks[name] is check for name, check in before.checks.items())
    assert compare(before.checks, after.checks) == Changes((), (), (), {})
    assert before.checks == load([config], os.environ).checks


async def test_another_policy_is_a_change_that_keeps_the_plugin(config: Path) -> None:
    write(config, EVERYTHING)
    before = await load_in_child([config])
    write(config, EVERYTHING.replace("raise: 2 of 3", "raise: 3"))

    after = await load_in_child([config], before)

    assert {check.name for check in compare(before.checks, after.checks).changed} == set(before.checks)
    assert all(after.checks[name].check is check.check for name, check in before.checks.items())

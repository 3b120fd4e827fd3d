from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter, time
from types import ModuleType
from typing import Any

import pytest
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from heartbeat import http
from heartbeat.config.model import CheckConfig, Config, FlagProvider
from heartbeat.control import Refused
from heartbeat.core.model import Kind
from heartbeat.core.schedule import FIRST_RUN_WITHIN, Interval
from heartbeat.core.switches import OFF, ON, AtUrl, InFile, InFlag, Knowledge, Source, Switch
from heartbeat.line import run_slot
from heartbeat.orders.asking import Ask
from heartbeat.orders.given import Orders
from heartbeat.orders.upkeep import Upkeep
from heartbeat.probe import Probe
from heartbeat.redaction import Redactor
from heartbeat.selfwatch.vitals import CONFIG, Vitals, self_checks
from heartbeat.state import Live
from heartbeat.switching import switches as switches_module
from heartbeat.switching.memory import MEMORY, find_recalled, key_of, read_kept
from heartbeat.switching.rounds import FILES_AT_ONCE
from heartbeat.switching.switches import Switches
from heartbeat.testing.bench import Bench, Time, a_check, bench, down, until
from heartbeat.testing.http import Behaviour, Server, answer, refusing_port, serve
from heartbeat.web.checks import describe, look_around


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Bench]:
    async with put_together(tmp_path) as on:
        yield on


@asynccontextmanager
async def put_together(folder: Path, times: Time | None = None) -> AsyncIterator[Bench]:
    async with bench(folder, time=times) as on:
        on.scheduler.is_off = on.surroundings.quiet.is_disabled
        yield on
        http.close()


@pytest.fixture
def switches(on: Bench) -> Switches:
    return made(on)


def made(on: Bench) -> Switches:
    return Switches(on.dispatch, on.scheduler, on.surroundings.quiet)


def config(*checks: CheckConfig, redactor: Redactor | None = None, **more: Any) -> Config:
    named = {check.name: check for check in checks}
    return Config((), Path("x.db"), Path("x.sock"), named, {}, redactor or Redactor(), **more)


async def start(on: Bench, switches: Switches, *checks: CheckConfig) -> None:
    """Do what the daemon does at its start."""
    past = await on.store.load()
    switches.recall(past.memories)
    await switches.prepare(config(*checks))
    await on.roster.take_over(checks, past, ())
    await switches.enforce()


async def reload(on: Bench, switches: Switches, *checks: CheckConfig) -> None:
    """Do what the daemon does at a reload."""
    await switches.prepare(config(*checks))
    changes = on.roster.compare({check.name: check for check in checks})
    await on.roster.withdraw(changes)
    await on.roster.enlist(changes)
    await switches.enforce()


async def settle(on: Bench, switches: Switches) -> None:
    """Wait until nothing is under way."""
    while tasks := {*on.dispatch.tasks, *switches._rounds.tasks}:
        await asyncio.wait(tasks)


async def tick(on: Bench, switches: Switches, seconds: int = 1) -> None:
    for _ in range(seconds):
        on.time.pass_by(1.0)
        switches.tick()
        await settle(on, switches)


async def run(on: Bench, live: Live) -> None:
    await run_slot(on.line, live, on.line.clock.now())


def is_planned(on: Bench, name: str) -> bool:
    return on.scheduler.next_run(name) is not None


def state_of(on: Bench, name: str) -> dict[str, Any]:
    live = on.state.checks[name]
    around = look_around(on.surroundings, live, on.line.clock.now())
    return describe(live, on.scheduler.next_run(name), str, around)


class Page:
    """What a server answers, to be changed by the test."""

    def __init__(self, body: bytes = b"on", status: int = 200) -> None:
        self.body, self.status = body, status

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        behave: Behaviour = answer(self.status, body=self.body)
        await behave(reader, writer, server)


# Off and on


async def test_a_check_that_is_off_from_the_start_never_runs_and_says_so(on: Bench, switches: Switches) -> None:
    await start(on, switches, a_check("never", enabled=OFF), a_check("shop"))
    assert (is_planned(on, "never"), is_planned(on, "shop")) == (False, True)
    told = state_of(on, "never")
    assert (told["state"], told["severity"], told["next_run"]) == ("disabled", None, None)
    assert told["suppressed"] == {"reason": "disabled", "sentence": "switched off by the configuration"}
    assert state_of(on, "shop")["suppressed"] is None
    assert on.surroundings.quiet.is_any


async def test_a_file_switches_a_check_off_and_on(on: Bench, switches: Switches, tmp_path: Path) -> None:
    path = tmp_path / "canary"
    path.write_text("on")
    await start(on, switches, a_check(enabled=Switch(InFile(str(path))), behave=down))
    live = on.state.checks["shop"]
    await run(on, live)
    await on.inbox.wait(1)
    path.write_text("off")
    await tick(on, switches)
    why = f"switched off by the file {path}"
    await on.inbox.wait(2)
    assert on.inbox.kinds == [Kind.RAISED, Kind.WITHDRAWN]
    assert on.inbox.deliveries[1].event.why == why
    assert (is_planned(on, "shop"), live.last_run, live.verdict) == (False, None, None)
    assert state_of(on, "shop")["suppressed"]["sentence"] == why
    path.write_text("on")
    await tick(on, switches)
    planned = on.scheduler.next_run("shop")
    assert planned is not None
    assert state_of(on, "shop")["state"] == "unknown"
    await run(on, live)
    await on.inbox.wait(3)
    assert on.inbox.kinds[2:] == [Kind.RAISED]


async def test_a_secret_in_an_address_is_not_told_nor_written_down(on: Bench, switches: Switches) -> None:
    redactor = Redactor()
    redactor.add("TOKEN", "swordfish")
    async with serve(page := Page(b"on")) as server:
        check = a_check(enabled=Switch(AtUrl(f"{server.url}swordfish/shop"), every=1.0), behave=down)
        await switches.prepare(config(check, redactor=redactor))
        await on.roster.take_over([check], await on.store.load(), ())
        await switches.enforce()
        await run(on, on.state.checks["shop"])
        page.body = b"off"
        await tick(on, switches, 2)
        await on.inbox.wait(2)
    assert on.inbox.deliveries[1].event.why == f"switched off by {server.url}<redacted:TOKEN>/shop"
    assert b"swordfish" not in b"".join(
        path.read_bytes() for path in on.store.path.parent.glob(f"{on.store.path.name}*")
    )


async def test_a_check_that_is_on_again_runs_soon_like_a_new_one(on: Bench, switches: Switches, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("off")
    enabled = Switch(InFile(str(tmp_path / "x")))
    await start(on, switches, *(a_check(f"c{n}", schedule=Interval(86_400.0), enabled=enabled) for n in range(9)))
    (tmp_path / "x").write_text("on")
    await tick(on, switches)
    planned = [on.scheduler.next_run(f"c{n}") or 0.0 for n in range(9)]
    assert all(0 < at - time() + 5 < FIRST_RUN_WITHIN + 10 for at in planned)


async def test_a_flag_is_asked_for_each_check_by_what_it_is(
    on: Bench, switches: Switches, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = "shop"

    def by_team(_flag: Any, context: Any) -> FlagResolutionDetails[bool]:
        return FlagResolutionDetails(value=context.attributes["labels"]["team"] == team, reason=Reason.TARGETING_MATCH)

    company = ModuleType("heartbeat_company_flags")
    flag = InMemoryFlag("on", {"on": True}, context_evaluator=by_team)
    vars(company)["provider"] = lambda: InMemoryProvider({"canary": flag})
    monkeypatch.setitem(sys.modules, company.__name__, company)
    enabled = Switch(InFlag("canary"), every=5.0)
    checks = [a_check(name, labels={"team": name}, enabled=enabled) for name in ("shop", "mail")]
    provider = FlagProvider(f"{company.__name__}:provider")
    await switches.prepare(config(*checks, flags=provider))
    await on.roster.take_over(checks, await on.store.load(), ())
    await switches.enforce()
    assert (is_planned(on, "shop"), is_planned(on, "mail")) == (True, False)
    assert state_of(on, "mail")["suppressed"]["sentence"] == "switched off by the flag canary"
    team = "mail"
    await tick(on, switches, 7)
    assert (is_planned(on, "shop"), is_planned(on, "mail")) == (False, True)
    switches.stop()


async def test_a_run_that_ends_after_the_switch_says_nothing(on: Bench, switches: Switches, tmp_path: Path) -> None:
    going = asyncio.Event()

    async def wait(_: object) -> None:
        await going.wait()

    (tmp_path / "x").write_text("on")
    await start(on, switches, a_check(enabled=Switch(InFile(str(tmp_path / "x"))), behave=wait))
    live = on.state.checks["shop"]
    on.dispatch.spawn(on.dispatch.run_now(live), "shop")
    await until(lambda: "shop" in on.line.running)
    (tmp_path / "x").write_text("off")
    on.time.pass_by(1.0)
    switches.tick()
    await until(lambda: live.retired)
    going.set()
    await settle(on, switches)
    assert live.runs.ok == 1  # it has come in after all
    await tick(on, switches)
    assert (live.last_run, live.verdict) == (None, None)


async def test_one_address_is_asked_once_for_many_checks_and_as_often_as_one_wants(
    on: Bench, switches: Switches
) -> None:
    page = Page(b'{"a": true, "b": false}')
    async with serve(page) as server:
        fast, slow = AtUrl(server.url, json="$.a"), AtUrl(server.url, json="$.b")
        checks = [a_check(f"a{n}", enabled=Switch(fast, every=10.0)) for n in range(5)]
        checks += [a_check(f"b{n}", enabled=Switch(slow, every=300.0)) for n in range(5)]
        await start(on, switches, *checks)
        assert len(server.requests) == 1
        assert {name for name in on.state.checks if is_planned(on, name)} == {f"a{n}" for n in range(5)}
        await tick(on, switches, 8)
        assert len(server.requests) == 1
        page.body = b'{"a": false, "b": true}'
        await tick(on, switches, 4)
        assert len(server.requests) == 2
    assert {name for name in on.state.checks if is_planned(on, name)} == {f"b{n}" for n in range(5)}


async def test_a_person_wins_over_a_switch_and_cannot_override_it(
    on: Bench, switches: Switches, tmp_path: Path
) -> None:
    path = tmp_path / "canary"
    path.write_text("off")
    await start(on, switches, a_check(enabled=Switch(InFile(str(path)))))
    orders = Orders(Upkeep(on.dispatch, on.scheduler, on.surroundings.quiet))
    with pytest.raises(Refused, match=f"shop is switched off by the file {path}; only that can switch it on"):
        await orders.enable("shop", Ask(by="alice", reason=""))
    await orders.disable("shop", Ask(by="alice", reason="moved"))
    assert state_of(on, "shop")["suppressed"]["sentence"] == "disabled by alice: moved"
    path.write_text("on")
    await tick(on, switches)
    assert (is_planned(on, "shop"), on.state.checks["shop"].retired) == (False, True)
    path.write_text("off")
    await tick(on, switches)
    said = (await orders.enable("shop", Ask(by="bob", reason="")))["message"]
    assert said.endswith(f"but shop stays off, it is switched off by the file {path}")
    assert not is_planned(on, "shop")
    path.write_text("on")
    await tick(on, switches)
    assert is_planned(on, "shop")
    await orders.disable("shop", Ask(by="alice", reason="moved"))
    assert "runs now" in (await orders.enable("shop", Ask(by="bob", reason="")))["message"]
    assert is_planned(on, "shop")
    await settle(on, switches)


async def test_a_parent_that_is_off_hides_nothing(on: Bench, switches: Switches, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("on")
    gateway = a_check("gateway", enabled=Switch(InFile(str(tmp_path / "x"))), behave=down)
    shop = a_check("shop", depends_on=("gateway",), behave=down)
    await start(on, switches, gateway, shop)
    on.surroundings.adopt({"gateway": gateway, "shop": shop}, None)
    await run(on, on.state.checks["gateway"])
    await on.inbox.wait(1)
    (tmp_path / "x").write_text("off")
    await tick(on, switches)
    await run(on, on.state.checks["shop"])
    await on.inbox.wait(3)
    assert [(one.event.check, one.event.kind) for one in on.inbox.deliveries] == [
        ("gateway", Kind.RAISED), ("gateway", Kind.WITHDRAWN), ("shop", Kind.RAISED),
    ]  # fmt: skip
    on.surroundings.look_around(on.state.checks["shop"], on.line.clock.now())
    assert "gateway" not in on.line.running


# What says nothing


async def test_what_was_said_last_holds_and_that_nobody_knows_is_said_once(
    on: Bench, switches: Switches, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "canary"
    path.write_text("off")
    await start(on, switches, a_check(enabled=Switch(InFile(str(path)))), a_check("other"))
    path.unlink()
    capsys.readouterr()
    await tick(on, switches, 5)
    logged = capsys.readouterr()
    assert (logged.out + logged.err).count("a switch says nothing") == 1
    assert not is_planned(on, "shop")
    sentence = state_of(on, "shop")["suppressed"]["sentence"]
    assert sentence.startswith(f"switched off by the file {path}, as it said last; nobody has known since ")
    assert sentence.endswith(": it cannot be read: No such file or directory")
    path.write_text("")
    await tick(on, switches)
    assert state_of(on, "shop")["suppressed"]["sentence"].endswith(": it is empty")
    path.write_text("on")
    await tick(on, switches)
    assert (is_planned(on, "shop"), on.surroundings.quiet.doubts) == (True, {})


async def test_a_check_stays_on_while_its_address_is_down_and_it_is_shown_and_warned_of(
    on: Bench, switches: Switches
) -> None:
    page = Page(b"on")
    async with serve(page) as server:
        enabled = Switch(AtUrl(server.url), default=False, every=2.0)
        await start(on, switches, a_check(enabled=enabled))
        page.status = 503
        await tick(on, switches, 4)
        assert is_planned(on, "shop")
        told = state_of(on, "shop")
        assert (told["state"], told["suppressed"]) == ("unknown", None)
        assert f"the check is on by {server.url}, as it said last; nobody has known since " in told["switch_problem"]
        assert switches.warning(on.line.clock.now()) == ""
        on.time.pass_by(301.0)
        said = switches.warning(on.line.clock.now())
        assert said.startswith("whether shop is to run is not known: the check is on by ")
        page.status = 200
        await tick(on, switches, 2)
    assert switches.warning(on.line.clock.now()) == ""
    assert state_of(on, "shop")["switch_problem"] is None


async def test_what_was_never_said_is_the_default(on: Bench, switches: Switches) -> None:
    with refusing_port() as port:
        url = AtUrl(f"http://127.0.0.1:{port}/")
        await start(
            on, switches, a_check("yes", enabled=Switch(url)), a_check("no", enabled=Switch(url, default=False))
        )
    assert (is_planned(on, "yes"), is_planned(on, "no")) == (True, False)
    assert state_of(on, "no")["suppressed"]["sentence"].startswith(f"switched off by default: {url} has said nothing")
    assert state_of(on, "yes")["switch_problem"].endswith("; the check is on by default")


async def test_a_start_does_not_wait_for_who_does_not_answer(
    on: Bench, switches: Switches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switches_module, "PATIENCE", 0.05)
    going = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        await going.wait()
        await answer(200, body=b"off")(reader, writer, server)

    async with serve(late) as server:
        await start(on, switches, a_check(enabled=Switch(AtUrl(server.url), default=True)))
        assert is_planned(on, "shop")
        going.set()
        await until(lambda: not is_planned(on, "shop"))
        await settle(on, switches)
    assert on.state.checks["shop"].retired


# Restarts and reloads


@pytest.mark.parametrize("default", [True, False])
async def test_a_restart_goes_on_with_what_was_said_last(tmp_path: Path, default: bool) -> None:
    times = Time()
    async with serve(page := Page(b"off" if default else b"on")) as server:
        enabled = Switch(AtUrl(server.url), default)
        async with put_together(tmp_path, times) as on:
            switches = made(on)
            await start(on, switches, a_check(enabled=enabled))
            await tick(on, switches)
            assert is_planned(on, "shop") is not default
        page.status = 503
        async with put_together(tmp_path, times) as on:
            switches = made(on)
            await start(on, switches, a_check(enabled=enabled))
            assert is_planned(on, "shop") is not default
            await tick(on, switches)
            (kept,) = read_kept((await on.store.load()).memories[MEMORY]).values()
            assert kept == Knowledge(not default, kept.doubtful_since)
            silent_since = kept.doubtful_since
            assert silent_since is not None
        times.pass_by(1000.0)
        async with put_together(tmp_path, times) as on:
            switches = made(on)
            await start(on, switches, a_check(enabled=enabled))
            assert switches.warning(on.line.clock.now()) != ""  # it has been silent for longer than this life
            await settle(on, switches)
            past = (await on.store.load()).memories
    assert set(find_recalled(past, [a_check(enabled=enabled)])) == ({"shop"} if default else set())


async def test_what_is_as_usual_is_not_written_down_and_addresses_are_not_either(on: Bench, switches: Switches) -> None:
    async with serve(page := Page()) as server:
        url = f"{server.url}?token=swordfish"
        await start(on, switches, a_check(enabled=Switch(AtUrl(url), every=1.0)))
        await tick(on, switches)
        assert MEMORY not in (await on.store.load()).memories
        page.body = b"off"
        await tick(on, switches, 2)
    (text,) = (await on.store.load()).memories.values()
    assert json.loads(text) == {key_of(Source(AtUrl(url))): [False, None]}


async def test_what_was_said_is_written_down_when_the_store_is_back(
    on: Bench, switches: Switches, tmp_path: Path
) -> None:
    (tmp_path / "x").write_text("on")
    await start(on, switches, a_check(enabled=Switch(InFile(str(tmp_path / "x")))))
    with on.locked_store():
        (tmp_path / "x").write_text("off")
        await tick(on, switches)
        assert not is_planned(on, "shop")
    await on.store.forget("nobody")  # any write that succeeds
    await tick(on, switches)
    assert len(read_kept((await on.store.load()).memories[MEMORY])) == 1


def test_what_cannot_be_read_is_as_if_nothing_was_written_down() -> None:
    assert read_kept("no JSON") == read_kept("[1]") == read_kept('{"a": 1}') == {}


async def test_a_reload_adds_changes_and_takes_away_switches(on: Bench, switches: Switches, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("off")
    file = Switch(InFile(str(tmp_path / "x")))
    shop, mail = a_check("shop"), a_check("mail", enabled=file)
    await start(on, switches, shop, mail)
    assert (is_planned(on, "shop"), is_planned(on, "mail")) == (True, False)
    await reload(on, switches, replace(shop, enabled=file), replace(mail, enabled=ON), a_check("new", enabled=file))
    assert {name for name in on.state.checks if is_planned(on, name)} == {"mail"}
    assert set(on.surroundings.quiet.switched) == {"shop", "new"}
    await reload(on, switches, shop, replace(mail, enabled=OFF))
    assert {name for name in on.state.checks if is_planned(on, name)} == {"shop"}
    await reload(on, switches, shop, mail)
    assert {name for name in on.state.checks if is_planned(on, name)} == {"shop"}
    (tmp_path / "x").write_text("on")
    await tick(on, switches)
    assert {name for name in on.state.checks if is_planned(on, name)} == {"shop", "mail"}


async def test_a_check_with_a_new_name_keeps_what_its_flag_said(on: Bench, switches: Switches) -> None:
    flag = Switch(InFlag("canary"))
    switches.recall({MEMORY: json.dumps({key_of(Source(InFlag("canary"), "old")): [False, None]})})
    await switches.prepare(config(a_check("new", was="old", enabled=flag)))
    off = on.surroundings.quiet.switched["new"]
    assert off.say().startswith("switched off by the flag canary, as it said last; nobody has known since ")
    await settle(on, switches)
    await switches.prepare(config(a_check("newer", was="new", enabled=flag)))
    assert "newer" in on.surroundings.quiet.switched
    await settle(on, switches)


async def test_switching_back_and_forth_ends_as_it_was_said_last(on: Bench, switches: Switches) -> None:
    asks = InFile("/somewhere")
    checks = [a_check(f"c{n}", enabled=Switch(asks)) for n in range(250)]
    await start(on, switches, *checks)
    for turn in range(7):
        await switches._learn([(Source(asks), bool(turn % 2))])
        await asyncio.sleep(0)
    await settle(on, switches)
    assert not any(is_planned(on, check.name) for check in checks)
    assert all(live.retired for live in on.state.checks.values())
    await switches._learn([(Source(asks), True), (Source(asks), False), (Source(asks), True)])
    await settle(on, switches)
    assert all(is_planned(on, check.name) for check in checks)


# Bounds


async def test_ten_thousand_files_never_hold_the_loop(on: Bench, switches: Switches, tmp_path: Path) -> None:
    many = 10_000
    for number in range(many):
        (tmp_path / str(number)).write_text("on")
    checks = [a_check(f"c{number}", enabled=Switch(InFile(str(tmp_path / str(number))))) for number in range(many)]
    await switches.prepare(config(*checks))
    on.state.checks.update({check.name: Live(check) for check in checks})
    for check in checks:
        on.scheduler.plan(check.name, check.schedule, is_new=True)
    await switches.enforce()
    (tmp_path / "7").write_text("off")
    looked = list[float]()
    for _ in range(6):
        on.time.pass_by(1.0)
        begun = perf_counter()
        switches.tick()
        looked.append(perf_counter() - begun)
        await settle(on, switches)
    assert not is_planned(on, "c7")
    assert sum(is_planned(on, check.name) for check in checks) == many - 1
    assert len(switches._rounds._next_files()) == max(FILES_AT_ONCE, many // 5 + 1)
    assert min(looked) < 0.01  # a shared machine may be busy once


async def test_a_stop_waits_for_nobody(on: Bench, switches: Switches) -> None:
    going = asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _server: Server) -> None:
        await going.wait()

    async with serve(hang) as server:
        prepared = asyncio.ensure_future(switches.prepare(config(a_check(enabled=Switch(AtUrl(server.url))))))
        await until(lambda: server.connections)
        switches.stop()
        async with asyncio.timeout(1.0):
            await prepared  # whoever asked for a reload gets an answer
        assert not switches._rounds.tasks


async def test_what_nobody_knows_for_long_is_a_warning_of_the_configurations_check() -> None:
    none: Any = None
    doubts = [""]
    vitals = Vitals(none, none, none, none, none, config_problem=str, config_doubt=lambda: doubts[0])
    check = next(one for one in self_checks(vitals) if one.name == CONFIG).check
    calm, worried = Probe(), Probe()
    await check.run(calm)
    doubts[0] = "whether shop is to run is not known"
    await check.run(worried)
    assert calm.caution is None
    assert worried.caution is not None
    assert (worried.caution.sentence, worried.caution.reason) == (doubts[0], "absent")

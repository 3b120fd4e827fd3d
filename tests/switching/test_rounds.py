from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any

import pytest
from openfeature import api
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider.in_memory_provider import InMemoryProvider

from heartbeat import http
from heartbeat.config.model import CheckConfig, Config, FlagProvider
from heartbeat.core.switches import AtUrl, Found, InFile, InFlag, Source, Switch, source_of
from heartbeat.pool import Pool
from heartbeat.redaction import Redactor
from heartbeat.switching import files as files_module
from heartbeat.switching import flags as flags_module
from heartbeat.switching import rounds as rounds_module
from heartbeat.switching.files import look_at_files
from heartbeat.switching.rounds import Rounds
from heartbeat.testing.bench import a_check, until
from heartbeat.testing.http import answer, serve

MODULE = "heartbeat_test_company_flags"


class Bench:
    """Rounds on a clock that is moved by hand, and what they learned."""

    def __init__(self) -> None:
        self.now, self.learned = 1000.0, dict[Source, Found]()
        self.rounds = Rounds(Pool(), lambda: self.now, self.learn)

    async def learn(self, answers: Iterable[tuple[Source, Found]]) -> None:
        self.learned |= dict(answers)

    def adopt(self, *checks: CheckConfig, flags: FlagProvider | None = None) -> list[Source]:
        users: dict[Source, Sequence[CheckConfig]] = {}
        for check in checks:
            if source := source_of(check.enabled, check.name):
                users[source] = [*users.get(source, ()), check]
        named = {check.name: check for check in checks}
        self.rounds.adopt(Config((), Path("x.db"), Path("x.sock"), named, {}, Redactor(), flags=flags), users)
        return list(users)

    async def tick(self, seconds: float = 1.0) -> None:
        """Let time pass, and wait for what is asked."""
        self.now += seconds
        self.rounds.tick()
        while self.rounds.tasks:
            await asyncio.wait(self.rounds.tasks)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    on = Bench()
    yield on
    on.rounds.stop()
    http.close()


@pytest.fixture
def company(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    module = ModuleType(MODULE)
    monkeypatch.setitem(sys.modules, MODULE, module)
    yield module
    api.clear_providers()


def provider(**options: Any) -> FlagProvider:
    return FlagProvider(f"{MODULE}:provider", options)


class Scripted(InMemoryProvider):
    """Says what a function says of a flag."""

    def __init__(self, say: Callable[[str], bool]) -> None:
        super().__init__({})
        self.say = say

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: Any = None
    ) -> FlagResolutionDetails[bool]:
        return FlagResolutionDetails(self.say(flag_key))


# In turn


async def test_who_waits_longest_is_asked_first(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds_module, "AT_ONCE", 2)
    async with serve(answer(200, body=b"on")) as server:
        checks = [a_check(f"c{n}", enabled=Switch(AtUrl(f"{server.url}{n}"), every=1.0)) for n in range(8)]
        bench.adopt(*checks)
        for _ in range(4):
            await bench.tick(1.2)  # long enough for the first to be due again
        assert sorted({one.path for one in server.requests}) == [f"/{n}" for n in range(8)]


async def test_what_is_to_be_asked_more_often_from_now_on_is_asked_soon(bench: Bench) -> None:
    async with serve(answer(200, body=b"on")) as server:
        check = a_check(enabled=Switch(AtUrl(server.url), every=86_400.0))
        bench.adopt(check)
        await bench.tick()
        bench.adopt(replace(check, enabled=replace(check.enabled, every=2.0)))
        await bench.tick(3.0)
        assert len(server.requests) == 2


# Providers of flags come and go


async def test_another_provider_is_asked_at_once(bench: Bench, company: ModuleType) -> None:
    vars(company)["provider"] = lambda on: Scripted(lambda _: on)
    check = a_check(enabled=Switch(InFlag("canary"), every=3600.0))
    (source,) = bench.adopt(check, flags=provider(on=False))
    await bench.tick()
    assert bench.learned == {source: False}
    bench.adopt(check, flags=provider(on=True))
    await bench.tick()
    assert bench.learned == {source: True}


async def test_a_provider_that_hangs_is_replaced_by_a_reload(bench: Bench, company: ModuleType) -> None:
    going, asked = Event(), Event()

    def hang(_: str) -> bool:
        asked.set()
        return going.wait(20)

    vars(company)["provider"] = lambda works: Scripted((lambda _: True) if works else hang)
    check = a_check(enabled=Switch(InFlag("canary")))
    (source,) = bench.adopt(check, flags=provider(works=False))
    try:
        bench.rounds.tick()
        await until(asked.is_set)
        bench.adopt(check, flags=provider(works=True))
        bench.now += 1.0
        bench.rounds.tick()
        await until(lambda: bench.learned)
        assert bench.learned == {source: True}
    finally:
        going.set()


async def test_what_a_provider_says_that_was_replaced_meanwhile_is_not_learned(
    bench: Bench, company: ModuleType
) -> None:
    going, asked = Event(), Event()

    def say(_: str) -> bool:
        asked.set()
        return not going.wait(20)

    vars(company)["provider"] = lambda: Scripted(say)
    checks = [a_check(name, enabled=Switch(InFlag(name))) for name in ("shop", "mail")]
    bench.adopt(*checks, flags=provider())
    bench.rounds.tick()
    await until(asked.is_set)
    bench.adopt(*checks)
    going.set()
    while bench.rounds.tasks:
        await asyncio.wait(bench.rounds.tasks)
    assert bench.learned == {}


async def test_a_provider_that_comes_up_after_it_was_replaced_is_let_go_of(bench: Bench, company: ModuleType) -> None:
    going, begun, ended = Event(), Event(), Event()

    class Slow(InMemoryProvider):
        def initialize(self, evaluation_context: Any) -> None:
            begun.set()
            going.wait(20)

        def shutdown(self) -> None:
            ended.set()

    vars(company)["provider"] = lambda: Slow({})
    check = a_check(enabled=Switch(InFlag("canary")))
    bench.adopt(check, flags=provider())
    bench.rounds.tick()
    await until(begun.is_set)
    bench.adopt(check)
    going.set()
    await until(ended.is_set)


async def test_a_provider_that_takes_its_time_is_learned_from_bit_by_bit(
    bench: Bench, company: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flags_module, "AT_A_STRETCH", 0.0)
    vars(company)["provider"] = lambda: Scripted(lambda flag: flag == "mail")
    checks = [a_check(name, enabled=Switch(InFlag(name))) for name in ("shop", "mail", "till")]
    shop, mail, till = bench.adopt(*checks, flags=provider())
    await bench.tick()
    assert bench.learned == {shop: False}
    await bench.tick()
    assert bench.learned == {shop: False, mail: True}
    await bench.tick()
    assert bench.learned == {shop: False, mail: True, till: False}


# Files


async def test_a_reload_in_the_middle_of_a_look_loses_nothing(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen, going = tmp_path / "canary", Event(), Event()
    path.write_text("on")
    check = a_check(enabled=Switch(InFile(str(path))))
    (source,) = bench.adopt(check)
    await bench.tick()
    with monkeypatch.context() as patched:

        def look(before: Any) -> Any:
            looks = look_at_files(before)
            seen.set()
            going.wait(10)
            return looks

        patched.setattr(files_module, "look_at_files", look)
        path.write_text("off")
        bench.rounds.tick()
        await until(seen.is_set)
        bench.adopt(check)
        going.set()
        while bench.rounds.tasks:
            await asyncio.wait(bench.rounds.tasks)
    assert bench.learned == {source: False}
    path.write_text("on")
    await bench.tick()
    assert bench.learned == {source: True}

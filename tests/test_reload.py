from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from heartbeat import reload as reload_module
from heartbeat.config import CheckConfig, Config
from heartbeat.redaction import Redactor
from heartbeat.reload import SLICE, Reloader, find_dropped, let_go
from heartbeat.roster import Changes
from heartbeat.selfwatch.vitals import CONFIG
from heartbeat.testing.bench import Bench, a_check, bench, until
from heartbeat.watch import Fingerprint, look_at


def configuration(checks: Mapping[str, CheckConfig]) -> Config:
    return Config((), Path("heartbeat.db"), Path("heartbeat.sock"), checks, {}, Redactor())


def test_only_what_does_not_go_on_is_dropped() -> None:
    kept, changed, gone = (a_check(name) for name in ("kept", "changed", "gone"))
    before = configuration({check.name: check for check in (kept, changed, gone)})
    after = configuration({"kept": kept, "changed": a_check("changed"), "new": a_check("new")})
    assert find_dropped(before, after) == [changed, gone]


async def test_others_run_while_many_checks_are_let_go() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    other = asyncio.create_task(count())
    checks = [a_check(str(number)) for number in range(SLICE * 5)]
    await let_go(checks)
    other.cancel()
    assert checks == []
    assert turns >= 4


@dataclass
class Desk:
    """A reloader with one secret file, and what it has loaded of it."""

    on: Bench
    secret: Path
    reloader: Reloader
    loaded: list[str]


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    secret, loaded = tmp_path / "secret", list[str]()
    secret.write_text("first")
    config = replace(configuration({}), files=(secret,))

    async def load(*_: object, **__: object) -> Config:
        loaded.append(secret.read_text())
        return replace(config)

    async def apply(_: Config) -> Changes:
        return Changes((), (), (), {})

    monkeypatch.setattr(reload_module, "load_in_child", load)
    monkeypatch.setattr(reload_module, "LOOK_EVERY", 0.0)
    async with bench(tmp_path) as on:
        on.enlist(a_check(CONFIG))
        yield Desk(on, secret, Reloader([tmp_path / "config.yaml"], config, on.dispatch, apply), loaded)


async def test_who_asks_for_changed_files_has_them_at_once(desk: Desk) -> None:
    desk.secret.write_text("the second")
    assert await desk.reloader.reread()
    assert desk.loaded == ["the second"]


async def test_files_that_are_as_they_were_loaded_are_not_loaded_again(desk: Desk) -> None:
    assert not await desk.reloader.reread()
    desk.secret.write_text("the second")
    assert await desk.reloader.reread()
    assert not await desk.reloader.reread()
    assert desk.loaded == ["the second"]


async def test_many_who_ask_at_once_share_one_look(desk: Desk) -> None:
    desk.secret.write_text("the second")
    assert all(await asyncio.gather(*(desk.reloader.reread() for _ in range(50))))
    assert desk.loaded == ["the second"]


async def test_it_is_loaded_to_the_end_also_where_nobody_waits_any_more(desk: Desk) -> None:
    desk.secret.write_text("the second")
    asking = asyncio.create_task(desk.reloader.reread())
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await until(lambda: desk.loaded)
    await until(lambda: not desk.on.dispatch.tasks)
    assert not await desk.reloader.reread()


async def test_a_file_that_goes_on_changing_is_left_to_the_usual_looks(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload_module, "SETTLE", 0.0)
    monkeypatch.setattr("heartbeat.watch.look_at", changing_looks())
    assert not await desk.reloader.reread()
    assert desk.loaded == []


def changing_looks() -> object:
    count = 0

    def look(_: object) -> Fingerprint:
        nonlocal count
        count += 1
        return (("secret", count, 0, 0),)

    return look


async def test_files_are_never_looked_at_on_the_loop(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    def look(files: list[Path]) -> Fingerprint:
        threads.append(threading.current_thread())
        return look_at(files)

    monkeypatch.setattr("heartbeat.watch.look_at", look)
    desk.secret.write_text("the second")

    def is_loaded() -> bool:
        desk.reloader.look()
        return bool(desk.loaded)

    await until(is_loaded)
    assert await desk.reloader.reload()
    assert len(threads) >= 6
    assert threading.main_thread() not in threads

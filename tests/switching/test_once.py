from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from heartbeat import http
from heartbeat.config.model import Config, FlagProvider
from heartbeat.core.switches import OFF, AtUrl, InFile, InFlag, Switch
from heartbeat.pool import Pool
from heartbeat.redaction import Redactor
from heartbeat.switching import flags as flags_module
from heartbeat.switching.once import ask_once
from heartbeat.testing.bench import NOON, a_check
from heartbeat.testing.http import answer, in_turn, serve


async def test_all_switches_of_a_configuration_are_asked_once(tmp_path: Path) -> None:
    (tmp_path / "off").write_text("off")
    config = Config((), Path("x.db"), Path("x.sock"), {}, {}, Redactor())
    async with serve(in_turn(answer(200, body=b'{"a": true, "b": false}'), answer(500))) as server:
        checks = [
            a_check("plain"),
            a_check("never", enabled=OFF),
            a_check("file", enabled=Switch(InFile(str(tmp_path / "off")))),
            a_check("gone", enabled=Switch(InFile(str(tmp_path / "gone")))),
            a_check("gone-off", enabled=Switch(InFile(str(tmp_path / "gone")), default=False)),
            a_check("a", enabled=Switch(AtUrl(server.url, json="$.a"))),
            a_check("b", enabled=Switch(AtUrl(server.url, json="$.b"))),
            a_check("flag", enabled=Switch(InFlag("x"), default=False)),
        ]
        off = await ask_once(config, checks, Pool(), NOON)
    http.close()
    assert len(server.requests) == 1
    assert set(off) == {"never", "file", "gone-off", "b", "flag"}
    assert off["file"].say() == f"switched off by the file {tmp_path}/off"
    assert off["gone-off"].say().startswith("switched off by default: the file ")


async def test_all_flags_are_asked_however_long_that_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags_module, "AT_A_STRETCH", 0.0)
    company = ModuleType("heartbeat_flags_of_once")
    flags = {f"c{n}": InMemoryFlag("off" if n == 2 else "on", {"on": True, "off": False}) for n in range(4)}
    vars(company)["provider"] = lambda: InMemoryProvider(flags)
    monkeypatch.setitem(sys.modules, company.__name__, company)
    provider = FlagProvider(f"{company.__name__}:provider")
    config = Config((), Path("x.db"), Path("x.sock"), {}, {}, Redactor(), flags=provider)
    checks = [a_check(name, enabled=Switch(InFlag(name), default=False)) for name in flags]
    off = await ask_once(config, checks, Pool(), NOON)
    assert {name: one.say() for name, one in off.items()} == {"c2": "switched off by the flag c2"}

from __future__ import annotations

import io
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from heartbeat import CheckFailed, Probe, http
from heartbeat.config import Config, load
from heartbeat.demo import stage as staging
from heartbeat.demo.narrator import Narrator
from heartbeat.demo.shop import Fault
from heartbeat.demo.stage import Stage, room, stage

DAY = 86400.0


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Return a folder whose path leaves room for a unix socket's name (pytest's do not), and see it left empty."""
    with tempfile.TemporaryDirectory(prefix="hb-", dir="/tmp") as folder:
        yield Path(folder)
        assert list(Path(folder).iterdir()) == []


@pytest.fixture
async def setting(monkeypatch: pytest.MonkeyPatch, short_path: Path) -> AsyncIterator[tuple[Stage, Config]]:
    """Set the stage without a daemon; the configuration is the one that it would be given."""
    given: list[Config] = []

    @asynccontextmanager
    async def no_daemon(
        config: Path, environment: Mapping[str, str], _say: Callable[[str], None]
    ) -> AsyncIterator[Any]:
        given.append(load([config], environment))
        yield SimpleNamespace(pid=0)

    monkeypatch.setattr(staging, "daemon", no_daemon)
    monkeypatch.setattr("tempfile.tempdir", str(short_path))
    async with stage(Narrator(Console(file=io.StringIO()))) as here:
        yield here, given[0]
    http.close()


async def test_every_check_of_the_example_finds_the_shop_well(setting: tuple[Stage, Config]) -> None:
    _, config = setting
    for name, each in config.checks.items():
        probe = Probe(check=name)
        await each.check.run(probe)
        assert probe.refused == ""
        if each.type == "tls":
            assert probe.measurements["certificate_remaining_seconds"] > 30 * DAY


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.WRONG])
async def test_a_broken_shop_fails_the_check_of_its_products_and_no_other(
    setting: tuple[Stage, Config], fault: Fault
) -> None:
    here, config = setting
    here.shop.fault = fault
    failed = []
    for name, each in config.checks.items():
        try:
            await each.check.run(Probe(check=name))
        except CheckFailed:
            failed.append(name)
    assert failed == ["shop-products"]


async def test_ports_that_are_taken_do_not_matter(setting: tuple[Stage, Config]) -> None:
    _, first = setting
    async with stage(Narrator(Console(file=io.StringIO()))) as other:
        assert other.daemon_url  # the ports of the example are taken by the first one
        assert other.shop_url not in first.checks["shop-login"].check.url  # type: ignore[attr-defined]  # of the type http


def test_a_long_temporary_path_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/" + "long/" * 20)
    assert room() == "/tmp"
    monkeypatch.setattr("tempfile.tempdir", "/short")
    assert room() == "/short"

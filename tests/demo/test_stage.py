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

from heartbeat import http
from heartbeat.cli.alone import alone
from heartbeat.config import Config, load
from heartbeat.core.model import Outcome, Result, Run
from heartbeat.demo import stage as staging
from heartbeat.demo.narrator import Narrator
from heartbeat.demo.shop import Fault
from heartbeat.demo.stage import Stage, room, stage
from heartbeat.lag import LagMeter
from heartbeat.runner import run_check

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


async def run_all(config: Config) -> dict[str, Result]:
    """Run every check of a configuration once, as `heartbeat once` does."""
    lag = LagMeter()
    lag.start()
    workshop = alone(config, lag)
    runs = {name: Run(f"run_{number}", name, 0.0, 0, 0.0, 5.0) for number, name in enumerate(config.checks)}
    found = {name: (await run_check(config.checks[name].check, run, workshop)).result for name, run in runs.items()}
    lag.stop()
    return found


async def test_every_check_of_the_example_finds_the_shop_well(setting: tuple[Stage, Config]) -> None:
    here, config = setting
    found = await run_all(config)
    assert {name: result.sentence for name, result in found.items()} == dict.fromkeys(found, "")
    assert found["shop-certificate"].measurements["certificate_remaining_seconds"] > 30 * DAY
    assert found["shop-order"].measurements["leftovers"] == 0
    assert here.shop.orders.all() == []


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.WRONG])
async def test_a_broken_shop_fails_the_check_of_its_products_and_no_other(
    setting: tuple[Stage, Config], fault: Fault
) -> None:
    here, config = setting
    here.shop.fault = fault
    failed = {name for name, result in (await run_all(config)).items() if result.outcome is not Outcome.OK}
    assert failed - {"shop-stock"} == {"shop-products"}
    assert config.checks["shop-stock"].depends_on == ("shop-products",)


@pytest.mark.parametrize("fault", [Fault.HALF, Fault.LOST])
async def test_whatever_is_wrong_with_orders_none_is_left(setting: tuple[Stage, Config], fault: Fault) -> None:
    here, config = setting
    here.shop.fault = fault
    found = await run_all(config)
    assert {name for name, result in found.items() if result.outcome is not Outcome.OK} == {"shop-order"}
    assert found["shop-order"].sentence.startswith("order: " if fault is Fault.HALF else "visible: ")
    assert here.shop.orders.all() == []


async def test_what_cannot_be_taken_back_is_a_warning(setting: tuple[Stage, Config]) -> None:
    here, config = setting
    here.shop.fault = Fault.KEPT
    result = (await run_all(config))["shop-order"]
    assert (result.outcome, result.measurements["leftovers"]) == (Outcome.OK, 1)
    assert result.caution is not None


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

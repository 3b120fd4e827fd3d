"""The gate as a pipeline sees it: the example's own checks against the demo shop, before it breaks and after."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from heartbeat.demo.serving import LOOPBACK, http_server, listen
from heartbeat.demo.shop import Fault, Shop
from heartbeat.demo.stage import SHOP_NAME, Sockets, certify, example, variables
from heartbeat.testing.dns import NameServer, serve_names

HTTP = ("shop-login", "shop-products")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path / "shop.db")
    yield shop
    shop.orders.close()


@pytest.fixture
async def environment(shop: Shop, tmp_path: Path) -> AsyncIterator[Mapping[str, str]]:
    """Open the shop; return the variables by which the example finds it."""
    async with AsyncExitStack() as stack:
        sockets = Sockets(listen(0), listen(0), listen(0), listen(0))
        stack.callback(sockets.mail.close)
        stack.callback(sockets.alerts.close)
        await stack.enter_async_context(http_server(shop.app(), sockets.shop))
        await stack.enter_async_context(http_server(shop.app(), sockets.shop_tls, certify(tmp_path)))
        names = await stack.enter_async_context(serve_names(NameServer(zone=f"{SHOP_NAME}. 60 IN A {LOOPBACK}")))
        yield {**os.environ, **variables(sockets, names.address, 0, tmp_path)}


async def verify(environment: Mapping[str, str], folder: Path, *args: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "heartbeat", "verify", "-c", str(example()), *args,
        env=environment, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 50)
    return process.returncode or 0, out.decode()


def cases(report: Path) -> dict[str, ET.Element]:
    return {case.get("name", ""): case for case in ET.parse(report).iter("testcase")}


def faults(report: Path) -> dict[str, ET.Element]:
    found = {name: [part for part in case if part.tag != "skipped"] for name, case in cases(report).items()}
    return {name: parts[0] for name, parts in found.items() if parts}


async def test_the_gate_is_open_before_the_shop_breaks(environment: Mapping[str, str], tmp_path: Path) -> None:
    code, said = await verify(environment, tmp_path, "--junit", "junit.xml")
    assert code in (0, 2), said
    found = cases(tmp_path / "junit.xml")
    assert {*HTTP, "shop-port", "shop-certificate", "shop-name"} <= found.keys()
    assert not faults(tmp_path / "junit.xml"), said


async def test_the_gate_is_shut_after_it_and_the_report_names_the_check(
    environment: Mapping[str, str], shop: Shop, tmp_path: Path
) -> None:
    shop.fault = Fault.ERROR
    code, said = await verify(environment, tmp_path, "shop-*", "--junit", "junit.xml")
    assert code == 1, said
    failed = faults(tmp_path / "junit.xml")
    assert set(failed) - {"shop-stock"} == {"shop-products"}
    assert failed["shop-products"].tag == "failure"
    assert "the status is 500, not 200" in failed["shop-products"].get("message", "")
    assert "cannot reach the product database" in (failed["shop-products"].text or "")


async def test_the_report_names_the_step_that_failed(
    environment: Mapping[str, str], shop: Shop, tmp_path: Path
) -> None:
    shop.fault = Fault.HALF
    code, said = await verify(environment, tmp_path, "shop-order", "--junit", "junit.xml")
    assert code == 1, said
    failed = faults(tmp_path / "junit.xml")["shop-order"]
    assert "order: the status is 500, not 201" in failed.get("message", "")
    assert "visible: not reached" in (failed.text or "")
    assert "no answer from the warehouse" in (failed.text or "")
    assert shop.orders.all() == []


async def test_a_shop_that_answers_well_and_slowly_is_shut_out_by_what_is_required_or_was_before(
    environment: Mapping[str, str], shop: Shop, tmp_path: Path
) -> None:
    runs = ("shop-products", "--runs", "5", "--every", "50ms")
    code, said = await verify(environment, tmp_path, *runs, "--save-baseline", "baseline.json")
    assert code == 0, said

    shop.fault = Fault.SLOW
    code, said = await verify(environment, tmp_path, *runs, "--baseline", "baseline.json")
    assert code == 1, said
    assert "in the baseline's 5 runs" in said

    code, said = await verify(environment, tmp_path, "shop-products", "--require", "p95 duration: 1s")
    assert (code, "p95 duration is 1.2" in said) == (1, True), said


async def test_a_shop_that_comes_up_late_is_waited_for(
    environment: Mapping[str, str], shop: Shop, tmp_path: Path
) -> None:
    shop.fault = Fault.WRONG
    waiting = asyncio.create_task(verify(environment, tmp_path, *HTTP, "--wait-until-healthy", "--every", "200ms"))
    for _ in range(2):
        await shop.served.first(
            "look at the products", lambda path: path == "/api/products", after=len(shop.served.all)
        )
    shop.fault = Fault.NONE
    code, said = await waiting
    assert code == 0, said
    assert "that did not count" in said

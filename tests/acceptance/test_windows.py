"""Limits on windows outlive the process, however it ends."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import AsyncExitStack, closing

import pytest

from heartbeat.testing.daemon import DaemonProcess
from heartbeat.testing.http import Server, answer, serve

LIMITED = """  shop:
    http: {{url: "{url}"}}
    limits:
      availability 1h: {{fail: {{below: 60%}}}}
"""


def found(daemon: DaemonProcess) -> tuple[list[str], list[str]]:
    """Return how the runs of the shop ended up to its latest event, and what events there were."""
    with closing(sqlite3.connect(f"file:{daemon.folder}/heartbeat.db?mode=ro", uri=True)) as store:
        events = store.execute("SELECT kind, at FROM event WHERE \"check\" = 'shop' ORDER BY at").fetchall()
        told = "SELECT outcome FROM result WHERE \"check\" = 'shop' AND at <= ? ORDER BY at"
        runs = store.execute(told, (events[-1][1],)).fetchall()
    return [outcome for (outcome,) in runs], [kind for kind, _ in events]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_a_limit_on_an_hour_holds_after_a_restart(
    daemon: DaemonProcess, stack: AsyncExitStack, end: signal.Signals
) -> None:
    status = [500]

    async def behave(reader: object, writer: object, server: Server) -> None:
        await answer(status[0])(reader, writer, server)  # type: ignore[arg-type]  # passed on as it came

    shop = await stack.enter_async_context(serve(behave))
    daemon.write(LIMITED.format(url=shop.url))
    await daemon.start()
    await daemon.run("shop", 2)
    status[0] = 200
    await daemon.run("shop", outcome="ok", severity="fail", reason="limit")
    await daemon.stop(end)
    assert found(daemon)[1] == ["raised"]
    await daemon.start()
    (again,) = await daemon.run("shop", 1, outcome="ok")
    assert (again["severity"], again["reason"]) == ("fail", "limit")
    await daemon.log("resolved", check="shop")
    assert await daemon.stop() == 0
    runs, events = found(daemon)
    assert events == ["raised", "resolved"]
    assert runs.count("ok") >= 0.6 * len(runs)
    assert runs[:-1].count("ok") < 0.6 * len(runs[:-1]), "it has resolved as soon as it could"

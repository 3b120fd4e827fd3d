"""The example configuration, run as it is by the real daemon."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from heartbeat.testing.daemon import DaemonProcess

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"


@pytest.mark.system("prometheus")
async def test_the_example_runs_without_its_shop_and_serves_metrics_that_promtool_accepts(
    daemon: DaemonProcess,
) -> None:
    shutil.copy(EXAMPLE, daemon.config)
    shutil.copytree(EXAMPLE.parent / "examples", daemon.folder / "examples")
    nowhere = {
        "SHOP_URL": "http://127.0.0.1:1",
        "MAIL_SERVER": "smtp://127.0.0.1:1",
        "WEBHOOK_URL": "http://127.0.0.1:1/",
    }
    await daemon.start({"HEARTBEAT_LISTEN": "127.0.0.1:0", "HEARTBEAT_LOG": "json", **nowhere})
    await daemon.log("raised", check="shop-products", reason="connect")
    page = (await daemon.get("/metrics")).content
    done = await asyncio.to_thread(
        subprocess.run, ["promtool", "check", "metrics"], input=page, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert await daemon.stop() == 0

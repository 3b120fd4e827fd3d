"""A real Alertmanager on loopback, from Debian's package, for tests: it forgets everything when it is started again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

WITHIN = 20.0


class AlertmanagerProcess:
    """One instance without a cluster, that tells a webhook what it makes of its alerts."""

    def __init__(self, folder: Path, hook: str) -> None:
        self.port = 0
        self._folder = folder
        self._config = folder / "alertmanager.yml"
        self._config.write_text(f"""
route: {{receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers: [{{name: hook, webhook_configs: [{{url: "{hook}", send_resolved: true}}]}}]
""")
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, on the same port as before; wait until it serves."""
        self._process = await asyncio.create_subprocess_exec(
            "prometheus-alertmanager",
            f"--config.file={self._config}",
            f"--storage.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(WITHIN):
            self.port = await self._listening(self._process)
        self._reader = asyncio.create_task(self._read_on(self._process))

    async def _listening(self, process: asyncio.subprocess.Process) -> int:
        said = b""
        async for line in _stderr(process):
            said += line
            if found := re.search(rb"Listening on.*address=127\.0\.0\.1:(\d+)", line):
                return int(found[1])
        raise RuntimeError(f"the Alertmanager did not start: {said.decode(errors='replace')}")

    async def _read_on(self, process: asyncio.subprocess.Process) -> None:
        async for _ in _stderr(process):
            pass

    async def stop(self, *, kill: bool = False) -> None:
        """End it, if it runs."""
        if self._process and self._process.returncode is None:
            self._process.kill() if kill else self._process.terminate()
            await self._process.wait()
        if self._reader:
            await self._reader

    async def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that fire; nothing while it cannot be asked."""
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                answer = await client.get(f"{self.url}/api/v2/alerts", timeout=5)
            except httpx.TransportError:
                return []
        found: list[dict[str, Any]] = answer.raise_for_status().json()
        return found


def _stderr(process: asyncio.subprocess.Process) -> asyncio.StreamReader:
    if process.stderr is None:
        raise RuntimeError("its log is not read")
    return process.stderr


@asynccontextmanager
async def alertmanager(folder: Path, hook: str) -> AsyncIterator[AlertmanagerProcess]:
    """Run an Alertmanager with its files in a folder, which notifies ``hook``."""
    process = AlertmanagerProcess(folder, hook)
    await process.start()
    try:
        yield process
    finally:
        await process.stop(kill=True)

"""The real daemon as a process of its own, for tests: driven by what it logs and serves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

WITHIN = 20.0


class DaemonProcess:
    """``heartbeat run`` on a configuration in a folder of its own, logging JSON at debug."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        self.lines: list[dict[str, Any]] = []
        self.over = False
        self._news = asyncio.Condition()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def started(self) -> bool:
        """Say whether it was ever started."""
        return self._process is not None

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The process, running or over."""
        if self._process is None:
            raise RuntimeError("start the daemon first")
        return self._process

    def write(self, checks: str, top: str = "", defaults: str = "") -> None:
        """Write the configuration: the entries below ``checks:``, more at the top level, more of ``defaults:``."""
        self.config.write_text(f"""
store: sqlite:///{self.folder}/heartbeat.db
web: {{listen: 127.0.0.1:0}}
log: {{format: json, level: debug}}
grace: 5s
{top}
defaults: {{every: 1s, timeout: 1s, {defaults}}}
checks:
{checks}
""")

    async def start(self, environ: Mapping[str, str] | None = None, *prefix: str) -> None:
        """Start the process, and wait until it serves."""
        command = [*prefix, sys.executable, "-m", "heartbeat", "run", "-c", str(self.config)]
        self.lines.clear()
        self.over = False
        self._process = await asyncio.create_subprocess_exec(
            *command, stderr=asyncio.subprocess.PIPE, env={**os.environ, **(environ or {})}, limit=2**20
        )
        self._reader = asyncio.ensure_future(self._read())
        await self.log("serving")

    async def log(self, event: str, **values: Any) -> dict[str, Any]:
        """Wait for a line of the log with this event and these values."""

        def find() -> dict[str, Any] | None:
            wanted = {"event": event, **values}
            return next((line for line in self.lines if wanted.items() <= line.items()), None)

        try:
            async with asyncio.timeout(WITHIN), self._news:
                await self._news.wait_for(lambda: find() or self.over)
        except TimeoutError:
            raise AssertionError(f"the daemon did not log {event} {values}:\n{self.tail()}") from None
        if line := find():
            return line
        raise AssertionError(f"the daemon ended before it logged {event} {values}:\n{self.tail()}")

    def tail(self) -> str:
        """Return the end of the log, without the runs."""
        return "\n".join(json.dumps(line) for line in self.lines if line.get("event") != "run")[-8000:]

    async def _read(self) -> None:
        stderr = self.process.stderr or asyncio.StreamReader()
        async for raw in stderr:
            try:
                line = json.loads(raw)
            except ValueError:
                line = {"event": "raw", "text": raw.decode(errors="replace")}
            async with self._news:
                self.lines.append(line)
                self._news.notify_all()
        await self.process.wait()
        async with self._news:
            self.over = True
            self._news.notify_all()

    @property
    def url(self) -> str:
        """Where it serves."""
        line = next(line for line in self.lines if line.get("event") == "serving")
        return str(line["metrics"]).removesuffix("/metrics")

    async def get(self, path: str) -> httpx.Response:
        """Fetch what it serves."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(self.url + path, timeout=10)

    async def sample(self, name: str, **labels: str) -> float | None:
        """Return the value of a sample on the metrics page."""
        page = (await self.get("/metrics")).text
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None

    async def run(self, name: str, count: int = 1, **values: Any) -> list[dict[str, Any]]:
        """Wait until a check has run ``count`` more times, with these values."""

        def runs() -> list[dict[str, Any]]:
            wanted = {"event": "run", "check": name, **values}
            return [line for line in self.lines if wanted.items() <= line.items()]

        before = len(runs())
        try:
            async with asyncio.timeout(WITHIN), self._news:
                await self._news.wait_for(lambda: len(runs()) >= before + count or self.over)
        except TimeoutError:
            raise AssertionError(f"{name} did not run with {values}:\n{self.tail()}") from None
        return runs()[before:]

    async def command(self, *words: str) -> tuple[int, str]:
        """Run another command of ours on the same configuration; return its exit status and all that it printed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "heartbeat",
            *words,
            "-c",
            str(self.config),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asyncio.wait_for(process.communicate(), WITHIN)
        return process.returncode or 0, said.decode()

    def send(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """End the process with a signal; return its exit status."""
        if self.process.returncode is None:
            self.send(number)
        return await self.end()

    async def end(self) -> int:
        """Wait for the process to end; return its exit status."""
        code = await asyncio.wait_for(self.process.wait(), WITHIN)
        if self._reader:
            await self._reader
        return code


async def until(true: Callable[[], Awaitable[Any]], within: float = WITHIN) -> Any:
    """Wait until something outside our reach is true, looking again every 50 ms: there is no event to wait for."""
    async with asyncio.timeout(within):
        while not (found := await true()):  # noqa: ASYNC110 - the condition lies in another process
            await asyncio.sleep(0.05)
    return found

"""Reading a configuration in a child process: a large file never holds the loop, and a wild plugin never ends us.

The child sends frames over a pipe of its own (plugins may print): a length of four bytes, then a pickled pair of a
word and its payload. Secrets travel in the pipe and nowhere else.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, BinaryIO

from heartbeat.check import Check
from heartbeat.config.build import building, changed_types
from heartbeat.config.collection import no_collection
from heartbeat.config.load import Plan, read
from heartbeat.config.model import Config
from heartbeat.config.problem import ConfigError, Place, problem_at
from heartbeat.plugins import PluginError, Source, load_type

PATIENCE = 30.0
"""Seconds of silence after which the child is given up."""
SLICE = 0.005
"""Seconds of building before others may run."""
BATCH = 50
"""Checks in one frame, so that unpickling one does not hold the loop."""
LINGER = 5.0
"""Seconds to go on reading after the child has ended; a grandchild may hold the pipe open for ever."""
_HEAD = 4
_ROOT = str(Path(__file__).parents[2])
_BOOT = "import sys; sys.path.append(sys.argv[1]); from heartbeat.config.child import main; main()"


async def load_in_child(
    paths: Sequence[Path],
    known: Config | None = None,
    *,
    patience: float = PATIENCE,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Load a configuration without holding the loop for more than a few milliseconds at a time.

    Args:
        paths: files and folders, as for ``load``.
        known: the configuration in use; checks whose fingerprint is the same keep their objects.
        patience: seconds that the child may be silent.
        environ: what ``${NAME}`` stands for; the environment of this process if left out.

    Raises:
        ConfigError: with all mistakes; also if a plugin ends or hangs the child.
    """
    with no_collection(freeze=True):
        plan = await _read_in_child(paths, patience, environ)
        types = await _load_types(plan, known)
        return await _build(plan, types, known)


async def _build(plan: Plan, types: dict[str, type[Check]], known: Config | None) -> Config:
    """Build, letting others run between two slices."""
    await asyncio.sleep(0)
    steps = building(plan, types, known)
    paused = perf_counter()
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            config: Config = finished.value
            return config
        if perf_counter() - paused > SLICE:
            await asyncio.sleep(0)
            paused = perf_counter()


async def _load_types(plan: Plan, known: Config | None) -> dict[str, type[Check]]:
    """Import what changed checks need, in a thread: importing a library may take long."""
    try:
        return {
            name: await asyncio.to_thread(load_type, plan.sources[name]) for name in changed_types(plan.checks, known)
        }
    except PluginError as error:
        raise ConfigError(
            [problem_at(Place(error.file or Path("plugins"), error.line, 1), "", error.sentence)]
        ) from None


async def _read_in_child(paths: Sequence[Path], patience: float, environ: Mapping[str, str] | None) -> Plan:
    plan: Plan | None = None
    loading = ""
    async with _child(paths, environ) as (process, reader):
        while True:
            try:
                word, payload = await asyncio.wait_for(_receive(reader), patience)
            except (TimeoutError, asyncio.IncompleteReadError) as error:
                raise _gone(paths, loading, await _how(process, error, patience)) from None
            if word == "loading":
                loading = payload
            elif word == "problems":
                raise ConfigError(*payload)
            elif word == "plan":
                plan = payload
            elif word == "checks" and plan is not None:
                plan.checks.extend(payload)
            elif plan is not None:
                return plan


async def _receive(reader: asyncio.StreamReader) -> tuple[str, Any]:
    size = int.from_bytes(await reader.readexactly(_HEAD))
    frame: tuple[str, Any] = pickle.loads(await reader.readexactly(size))  # noqa: S301 - from our own child, which runs the same plugins as we do
    return frame


async def _how(process: Process, error: Exception, patience: float) -> str:
    if isinstance(error, TimeoutError):
        return f"did not come to an end within {patience:g} s"
    code = await process.wait()
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended the process (exit status {code})"


def _gone(paths: Sequence[Path], loading: str, how: str) -> ConfigError:
    """Return the error for a child that did not answer, naming the plugin that it was loading."""
    culprit = f"loading the plugin {loading}" if loading else "reading the configuration"
    return ConfigError([problem_at(Place(Path(loading) if loading else paths[0]), "", f"{culprit} {how}")])


@asynccontextmanager
async def _child(
    paths: Sequence[Path], environ: Mapping[str, str] | None
) -> AsyncIterator[tuple[Process, asyncio.StreamReader]]:
    """Start the child with the writing end of a pipe, and end it in any case."""
    ours, theirs = os.pipe()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb"))
    try:
        try:
            command = (sys.executable, "-P", "-c", _BOOT, _ROOT, str(theirs), *map(str, paths))
            process = await asyncio.create_subprocess_exec(
                *command, pass_fds=(theirs,), stdin=DEVNULL, stdout=2, start_new_session=True, env=environ
            )
        finally:
            os.close(theirs)
        exited = loop.create_task(process.wait())
        exited.add_done_callback(lambda _: loop.call_later(LINGER, reader.feed_eof))
        try:
            yield process, reader
        finally:
            await _end(process, exited)
    finally:
        transport.close()


async def _end(process: Process, exited: asyncio.Task[int]) -> None:
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
    await exited


def main() -> None:
    """Read the configuration named on the command line and answer over the pipe: what the child runs."""
    _, _, descriptor, *paths = sys.argv
    os.set_inheritable(int(descriptor), False)
    with os.fdopen(int(descriptor), "wb") as pipe, no_collection(freeze=False):
        answer([Path(one) for one in paths], pipe)


def answer(paths: Sequence[Path], pipe: BinaryIO) -> None:
    """Read a configuration and write the frames."""

    def send(word: str, payload: Any) -> None:
        frame = pickle.dumps((word, payload), protocol=pickle.HIGHEST_PROTOCOL)
        pipe.write(len(frame).to_bytes(_HEAD) + frame)
        pipe.flush()

    def loading(source: Source) -> None:
        send("loading", source.origin)

    try:
        plan = read(paths, os.environ, loading)
    except ConfigError as error:
        send("problems", (error.problems, error.files))
        return
    send("plan", replace(plan, checks=[]))
    for start in range(0, len(plan.checks), BATCH):
        send("checks", [replace(one, model=None) for one in plan.checks[start : start + BATCH]])
    send("end", None)

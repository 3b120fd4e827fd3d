"""Reading a configuration in a child process: a large file never holds the loop, and a wild plugin never ends us.

The child (``process``) sends frames: a length of four bytes, then a pickled pair of a word and its payload. It is told
which checks are known, and answers with those only that are not.
"""

from __future__ import annotations

import asyncio
import pickle
import signal
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, nullcontext
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from heartbeat.collection import keep, no_collection
from heartbeat.config.build import Imported, build_all, build_check, build_redactor
from heartbeat.config.model import CheckConfig, Config
from heartbeat.config.plan import Draft, Plan
from heartbeat.config.problem import ConfigError, Place, problem_at
from heartbeat.config.process import HEAD, Child, running
from heartbeat.config.sharing import Shared
from heartbeat.plugins import PluginError, Source, load_file, load_type

PATIENCE = 30.0
"""Seconds of silence after which the child is given up."""
MANY = 500
"""Checks from which on new ones are left to no collection."""
SLICE = 0.005
"""Seconds of building before others may run."""

T = TypeVar("T")
Frames = AsyncGenerator[tuple[str, Any], None]


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
    with no_collection() if known is None else nullcontext():
        async with (
            running(paths, known, environ) as child,
            aclosing(_frames(child, paths, patience)) as frames,
        ):
            async for word, payload in frames:
                if word == "plan":
                    return await _build(payload, frames, known)
    raise AssertionError("the frames end with the plan's, or raise")


async def _build(plan: Plan, frames: Frames, known: Config | None) -> Config:
    """Build the checks as they come, letting others run between two slices."""
    redactor = build_redactor(plan, known)
    if known is not None and redactor is not known.redactor:
        await asyncio.to_thread(redactor, "compiled now, where it holds nobody")
    checks = dict(known.checks) if known else {}
    imported, shared, built = Imported(), Shared(), 0
    async for word, payload in frames:
        if word == "end":
            break
        built += len(payload) if word == "checks" else 0
        for name in payload if word == "gone" else ():
            del checks[name]
        if word == "checks":
            await _import(payload, plan.sources, imported, known)
            await _take(payload, checks, imported, known, shared)
    if known is not None and built >= MANY:
        keep()
    if known is None:
        return build_all(plan, checks, redactor)
    return await asyncio.to_thread(build_all, plan, checks, redactor)  # kinds of channels are imported there


async def _take(
    drafts: list[Draft],
    checks: dict[str, CheckConfig],
    imported: Imported,
    known: Config | None,
    shared: Shared,
) -> None:
    resumed = perf_counter()
    for draft in drafts:
        checks[draft.name] = build_check(draft, imported, known, shared)
        if perf_counter() - resumed > SLICE:
            await asyncio.sleep(0)
            resumed = perf_counter()
    await asyncio.sleep(0)


async def _import(drafts: list[Draft], sources: Mapping[str, Source], imported: Imported, known: Config | None) -> None:
    """Import what new and changed checks need. At a reload in a thread, as importing a library may take long."""
    before = known.checks if known is not None else {}
    for draft in drafts:
        old = before.get(draft.name)
        if old is not None and old.fingerprint == draft.fingerprint:
            continue
        for name in (draft.type, *draft.uses):
            if name not in imported.types:
                imported.types[name] = await _load(partial(load_type, sources[name]), is_reload=known is not None)
        for file in draft.modules:
            if file not in imported.modules:
                imported.modules[file] = await _load(partial(load_file, file), is_reload=known is not None)


async def _load(load: Callable[[], T], *, is_reload: bool) -> T:
    try:
        return await asyncio.to_thread(load) if is_reload else load()
    except PluginError as error:
        place = Place(error.file or Path("plugins"), error.line, 1)
        raise ConfigError([problem_at(place, "", error.sentence)]) from None


async def _frames(child: Child, paths: Sequence[Path], patience: float) -> Frames:
    """Yield what the child sends. Raises ``ConfigError`` for what it objects to, and if it ends before its end."""
    loading = ""
    while True:
        try:
            word, payload = await asyncio.wait_for(_receive(child.reader), patience)
        except TimeoutError:
            raise _gone(paths, loading, f"did not come to an end within {patience:g} s") from None
        except asyncio.IncompleteReadError:
            raise _gone(paths, loading, _how(await child.exited)) from None
        if word == "loading":
            loading = payload
        elif word == "problems":
            raise ConfigError(*payload)
        else:
            yield word, payload


async def _receive(reader: asyncio.StreamReader) -> tuple[str, Any]:
    size = int.from_bytes(await reader.readexactly(HEAD))
    frame: tuple[str, Any] = pickle.loads(await reader.readexactly(size))  # noqa: S301 - from our own child, which runs the same plugins as we do
    return frame


def _how(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended the process (exit status {code})"


def _gone(paths: Sequence[Path], loading: str, how: str) -> ConfigError:
    """Return the error for a child that did not answer, naming the plugin that it was loading."""
    culprit = f"loading the plugin {loading}" if loading else "reading the configuration"
    return ConfigError([problem_at(Place(Path(loading) if loading else paths[0]), "", f"{culprit} {how}")])

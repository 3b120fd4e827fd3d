"""What switches checks on and off is asked here: files, addresses, flags. Only how files looked is remembered."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from time import time
from typing import Any, NamedTuple, TypeVar

from heartbeat.check import CheckFailed
from heartbeat.config.model import CheckConfig, Config
from heartbeat.core.switches import (
    UNASKED,
    AtUrl,
    Found,
    InFile,
    InFlag,
    Source,
    SwitchedOff,
    find_off,
    learn,
    read_word,
    source_of,
)
from heartbeat.flags import Flags, Question, question_of
from heartbeat.pool import Call, Pool, PoolExhausted

FILE_BYTES = 4096
"""What is read of a file."""
SETTLED = 2.0
"""Seconds after which a file that looks the same is the same: until then it may change within a tick of its clock."""
BODY_BYTES = 256 * 1024
TIMEOUT = 5.0
"""The deadline of one question over HTTP, and of one call in the pool, in seconds."""
SLICE = 50
"""Values that are looked up in one answer before others may run."""
AT_ONCE = 20
"""Addresses that are asked at the same time."""

T = TypeVar("T")


class Look(NamedTuple):
    """A file as it was: times, size and number, which change when it does (nothing: look again), and what it said."""

    stamp: tuple[int, ...]
    said: Found


@dataclass(frozen=True, slots=True)
class Page:
    """One address with its headers: it is fetched once, however many values are looked up in the answer."""

    url: str
    headers: tuple[tuple[str, str], ...]


def page_of(asks: AtUrl) -> Page:
    """Return where a value is fetched."""
    return Page(asks.url, asks.headers)


# --- files, in the pool ------------------------------------------------------------------------------------------


def look_at_files(seen: Mapping[InFile, Look | None]) -> dict[InFile, Look]:
    """Return how those files look that are not as they were, by how they were. It may wait."""
    looks = ((file, _look_at(file, before)) for file, before in seen.items())
    return {file: look for file, look in looks if look is not None}


def _look_at(file: InFile, before: Look | None) -> Look | None:
    try:
        found = os.stat(file.path)  # noqa: PTH116 - of ten thousand: making a Path costs as much as looking
        stamp: tuple[int, ...] = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
        if before and before.stamp == stamp:
            return None
        said = _read(file, found.st_mode)
        is_settled = abs(time() - found.st_mtime) > SETTLED and not isinstance(said, str)
    except OSError as error:
        is_absent = file.exists is not None and isinstance(error, FileNotFoundError | NotADirectoryError)
        said = not file.exists if is_absent else f"it cannot be read: {error.strerror}"
        is_settled, stamp = False, ()
    return Look(stamp if is_settled else (), said)


def _read(file: InFile, mode: int) -> Found:
    if file.exists is not None:
        return file.exists
    if not stat.S_ISREG(mode):
        return "it is no file"
    with open(file.path, "rb") as opened:  # noqa: PTH123 - as above
        return read_word(opened.read(FILE_BYTES).decode("utf-8-sig", errors="replace"))


# --- over HTTP ---------------------------------------------------------------------------------------------------


async def fetch_page(page: Page, asked: Iterable[AtUrl], timeout: float = TIMEOUT) -> dict[AtUrl, Found]:  # noqa: ASYNC109 - one deadline, told to libcurl too
    """Ask at an address, and return what its answer says where each value is looked up."""
    from heartbeat import http  # noqa: PLC0415 - most daemons ask nobody

    request = http.Request(
        url=page.url, headers=page.headers, body_limit=BODY_BYTES, address_guard=http.guard_webhook_target
    )
    try:
        response = await http.fetch(request, timeout=timeout)
    except CheckFailed as error:
        return dict.fromkeys(asked, error.sentence.replace(page.url, http.target(page.url).host))
    if not 200 <= response.status < 300:
        return dict.fromkeys(asked, f"it answers {response.status}")
    if response.truncated:
        return dict.fromkeys(asked, f"its answer is longer than {BODY_BYTES // 1024} KiB")
    return await _read_all(response.body, asked)


async def _read_all(body: bytes, asked: Iterable[AtUrl]) -> dict[AtUrl, Found]:
    text, document, found = body.decode("utf-8-sig", errors="replace"), _parse(body), {}
    for number, one in enumerate(asked, 1):
        found[one] = _look_up(document, one.json) if one.json else read_word(text)
        if number % SLICE == 0:
            await asyncio.sleep(0)
    return found


def _parse(body: bytes) -> Any:
    with suppress(ValueError, RecursionError):
        return (json.loads(body),)
    return ()


def _look_up(document: tuple[Any, ...], path: str) -> Found:
    from heartbeat.http.expect import path as compiled  # noqa: PLC0415 - as above

    if not document:
        return "its answer is no JSON"
    try:
        values = [node.value for node in islice(compiled(path).finditer(document[0]), 2)]
    except (ValueError, RecursionError):
        values = []
    if len(values) != 1:
        return f"there is {'more than one value' if values else 'nothing'} at {path}"
    said = read_word(values[0])
    return f"at {path} {said}" if isinstance(said, str) else said


# --- what waits, in the pool -------------------------------------------------------------------------------------


class Helper:
    """One thread of the pool at a time for what may wait. While a call hangs there is no other."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._call: Call | None = None

    @property
    def is_free(self) -> bool:
        """Say whether nothing is under way, or hangs."""
        return self._call is None or self._call.ended.done()

    async def run(self, work: Callable[[], T], timeout: float = TIMEOUT) -> T | None:  # noqa: ASYNC109 - what hangs is left to itself
        """Return what it returns; None where no thread is free now. Raises ``TimeoutError``."""
        try:
            call = self._call = self._pool.submit(work)
        except PoolExhausted:
            return None
        try:
            async with asyncio.timeout(timeout):
                found: T = await call.outcome
                return found
        finally:
            self._pool.give_up(call)


async def ask_files(helper: Helper, files: Iterable[InFile], seen: dict[InFile, Look]) -> dict[InFile, Found]:
    """Look at files, and return what those say that say anything new; ``seen`` is brought up to date."""
    before = {file: seen.get(file) for file in files}
    try:
        looks = await helper.run(partial(look_at_files, before)) or {}
    except TimeoutError:
        looks = dict.fromkeys(before, Look((), f"it could not be looked at within {TIMEOUT:g} s"))
    seen.update(looks)
    return {file: look.said for file, look in looks.items() if (old := before[file]) is None or old.said != look.said}


async def ask_flags(helper: Helper, flags: Flags, asked: Mapping[Source, Question]) -> dict[Source, Found]:
    """Ask the provider of flags."""
    try:
        found = await helper.run(partial(flags.ask, tuple(asked.values())))
    except TimeoutError:
        return dict.fromkeys(asked, f"the provider did not answer within {TIMEOUT:g} s")
    return dict(zip(asked, found, strict=True)) if found is not None else {}


# --- all at once, for commands -----------------------------------------------------------------------------------


async def ask_once(config: Config, checks: Iterable[CheckConfig], pool: Pool, now: float) -> dict[str, SwitchedOff]:
    """Ask all that switches these checks, and return which are off. Where nothing is known the default holds."""
    checks = tuple(checks)
    by_name = {check.name: source_of(check.enabled, check.name) for check in checks}
    sources = {source: check for check in checks if (source := by_name[check.name])}
    flags = Flags(config.flags)
    found = dict(await _gather(sources, config.location, flags, pool))
    flags.close()
    off = {}
    for check in checks:
        source = by_name[check.name]
        known = UNASKED if source is None else learn(UNASKED, found.get(source, "no thread was free to ask"), now)
        if switched := find_off(check.enabled, known):
            off[check.name] = switched
    return off


async def _gather(
    sources: Mapping[Source, CheckConfig], location: str, flags: Flags, pool: Pool
) -> Iterable[tuple[Source, Found]]:
    files = [source.asks for source in sources if isinstance(source.asks, InFile)]
    pages: dict[Page, list[AtUrl]] = {}
    for source in sources:
        if isinstance(source.asks, AtUrl):
            pages.setdefault(page_of(source.asks), []).append(source.asks)
    questions = dict(_questions(sources, location))
    limit = asyncio.Semaphore(AT_ONCE)

    async def fetch(page: Page) -> dict[AtUrl, Found]:
        async with limit:
            return await fetch_page(page, pages[page])

    waiting = asyncio.gather(*map(fetch, pages))
    about_files, about_flags = await asyncio.gather(
        ask_files(Helper(pool), files, {}), ask_flags(Helper(pool), flags, questions)
    )
    fetched = await waiting
    found: list[tuple[Source, Found]] = [(Source(file), said) for file, said in about_files.items()]
    found += [(Source(asks), said) for answers in fetched for asks, said in answers.items()]
    return [*found, *about_flags.items()]


def _questions(sources: Mapping[Source, CheckConfig], location: str) -> Iterator[tuple[Source, Question]]:
    for source, check in sources.items():
        if isinstance(source.asks, InFlag):
            yield source, question_of(source.asks, check, location)

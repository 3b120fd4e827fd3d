"""Asking all that switches checks at once, for commands that run without a daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping

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
    source_of,
)
from heartbeat.pool import Pool
from heartbeat.switching.files import ask_files
from heartbeat.switching.flags import Flags, Question, ask_flags, question_of
from heartbeat.switching.helper import Helper
from heartbeat.switching.pages import AT_ONCE, Page, fetch_page, page_of


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
        ask_files(Helper(pool), files, {}), _ask_all(Helper(pool), flags, questions)
    )
    fetched = await waiting
    found: list[tuple[Source, Found]] = [(Source(file), said) for file, said in about_files.items()]
    found += [(Source(asks), said) for answers in fetched for asks, said in answers.items()]
    return [*found, *about_flags.items()]


async def _ask_all(helper: Helper, flags: Flags, asked: Mapping[Source, Question]) -> dict[Source, Found]:
    found: dict[Source, Found] = {}
    while rest := {source: question for source, question in asked.items() if source not in found}:
        if not (some := await ask_flags(helper, flags, rest)):  # no thread is free
            break
        found |= some
    return found


def _questions(sources: Mapping[Source, CheckConfig], location: str) -> Iterator[tuple[Source, Question]]:
    for source, check in sources.items():
        if isinstance(source.asks, InFlag):
            yield source, question_of(source.asks, check, location)

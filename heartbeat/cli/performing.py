"""What commands share that run plugins: a loop, a log on standard error, and an end also where a plugin has none."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TextIO

import typer
import uvloop

from heartbeat.config import Config
from heartbeat.log import PrintCapture, catch_strays, configure
from heartbeat.selfwatch.watchdog import really_exit

Work = Callable[[TextIO], Coroutine[Any, Any, tuple[int, bool]]]
"""What is to be done. It writes to the stream, and returns the exit status, and whether a plugin has not ended."""
COLOURS = {"ok": "green", "warn": "yellow", "fail": "red", "error": "magenta"}


def perform(config: Config, work: Work, *, level: str) -> int:
    """Do something that runs plugins: what they print may be secret, and becomes lines of the log."""
    configure(replace(config.log, level=level), config.redactor)
    catch_strays()
    shown, sys.stdout = sys.stdout, PrintCapture()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code, stuck = runner.run(work(shown))
            shown.flush()
            if stuck:  # closing the loop would wait for plugins that do not end, for ever
                sys.stderr.flush()
                really_exit(code)
            return code
    finally:
        sys.stdout = shown


Paint = Callable[[str], str]


def plain_words(word: str) -> str:
    """Leave a word as it is."""
    return word


def colour(word: str) -> str:
    """Return a word that says how something stands in its colour."""
    return typer.style(word, fg=COLOURS.get(word), bold=True)


def paint_for(stream: TextIO, *, no_color: bool) -> Paint:
    """Return what colours words for a stream: nothing where it is no terminal, or nobody wants that."""
    return colour if stream.isatty() and not no_color and not os.environ.get("NO_COLOR") else plain_words

"""Tells the story on standard output: when, who, what."""

from __future__ import annotations

import re
from time import monotonic

from rich.console import Console
from rich.text import Text

STYLES = {"story": "bold", "mail": "yellow", "webhook": "cyan", "metrics": "green", "daemon": "dim"}
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[^\t\n\x20-\x7e\xa0-\U0010ffff]")


class Narrator:
    """Prints lines in one shape: seconds since the start, who speaks, and the text; further lines are indented."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._start = monotonic()

    def say(self, who: str, text: str) -> None:
        """Print what someone says. Escape sequences are taken out: mail and webhook are foreign text."""
        first, *rest = printable(text).split("\n")
        seconds = monotonic() - self._start
        self._line(f"{seconds:5.1f}s  {who:<8}", first, STYLES.get(who, ""))
        for line in rest:
            self._line(" " * 16, line, STYLES.get(who, ""))

    def _line(self, margin: str, text: str, style: str) -> None:
        line = Text.assemble((margin, "dim"), ("│ ", "dim"), (text, style))
        self._console.print(line, soft_wrap=True)


def printable(text: str) -> str:
    """Return the text without escape sequences and control characters other than tabs and line ends."""
    return _ESCAPES.sub("", text.replace("\r\n", "\n")).rstrip("\n")

"""A message as HTML for mail programs: escaped throughout, no images, nothing loaded from anywhere."""

from __future__ import annotations

import re
from html import escape

from heartbeat.core.message import GOOD, Message, Part

_COLOURS = {
    **dict.fromkeys(GOOD, "#1b5e20"),
    "FAILING": "#b00020",
    "BUDGET BURNING": "#b26a00",
    "FLAPPING": "#b26a00",
    "WARNING": "#b26a00",
    "NOT RUNNING": "#5b3cc4",
    "CHECK BROKEN": "#5b3cc4",
}
_NEUTRAL = "#444444"
_LINKED = frozenset({"runbook", "page"})
_URL = re.compile(r"https?://[!#-&(-;=?-~]{1,1000}")  # no quotes, no angle brackets
_PRE = "background:#f4f4f4;padding:.5em;white-space:pre-wrap;overflow-wrap:anywhere"


def html(message: Message) -> str:
    """Return the HTML alternative of a message."""
    headline = f'<p style="color:{_colour(message.state)};font-size:120%"><b>{escape(message.headline)}</b></p>'
    notes = [f"<p><b>{escape(note)}</b></p>" for note in message.notes]
    body = "\n".join([headline, *notes, *_list(message), *_details(message)])
    return f'<!doctype html>\n<html><body style="font-family:sans-serif">\n{body}\n</body></html>\n'


def _colour(state: str) -> str:
    return _COLOURS.get(state, _NEUTRAL)


def _list(message: Message) -> list[str]:
    lines = [f"<li>{escape(line)}</li>" for line in message.listed]
    return ["<ul>", *lines, "</ul>"] if lines else []


def _details(message: Message) -> list[str]:
    if not message.listed:
        return [_part(message.parts[0])]
    return [f"<hr>\n{_heading(part)}\n{_part(part)}" for part in message.detailed]


def _heading(part: Part) -> str:
    return f'<p style="color:{_colour(part.state)}"><b>{escape(part.headline)}</b></p>'


def _part(part: Part) -> str:
    rows = "\n".join(
        f'<tr><td style="padding-right:1em;color:#555;vertical-align:top">{escape(name)}</td>'
        f"<td>{_value(name, value)}</td></tr>"
        for name, value in part.facts
    )
    evidence = "".join(
        f'\n<h4>{escape(name)}</h4>\n<pre style="{_PRE}">{escape(text)}</pre>' for name, text in part.evidence
    )
    return f"<table>\n{rows}\n</table>\n<p>Why this message: {escape(part.why)}.</p>{evidence}"


def _value(name: str, value: str) -> str:
    """Return the value of a fact; what the configuration names as an address on the web can be clicked."""
    shown = escape(value)
    return f'<a href="{shown}">{shown}</a>' if name in _LINKED and _URL.fullmatch(value) else shown

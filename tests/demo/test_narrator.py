from __future__ import annotations

import io

from rich.console import Console

from heartbeat.demo.narrator import Narrator, printable


def test_escape_sequences_and_control_characters_of_others_are_not_printed() -> None:
    assert printable("\x1b[2J\x1b[31mred\x1b[0m\x07 \x9b31mtext\r\nnext\r\n") == "red 31mtext\nnext"


def test_every_line_says_when_and_who_and_further_lines_are_indented() -> None:
    page = io.StringIO()
    Narrator(Console(file=page, highlight=False)).say("mail", "From: a [bold]@example.com\nTo: b")
    first, second = page.getvalue().splitlines()
    assert first.split()[1:] == ["mail", "│", "From:", "a", "[bold]@example.com"]
    assert second == " " * 16 + "│ To: b"

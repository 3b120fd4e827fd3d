"""One verification as a command: it is followed, shown, written into reports, and comes to an exit status."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic, time
from typing import Any, TextIO

import typer
import uvloop
from rich.console import Console
from rich.table import Table
from rich.text import Text

from heartbeat import http
from heartbeat.cli.alone import alone
from heartbeat.cli.exits import EX_CANTCREAT
from heartbeat.cli.gate import Asked, Gate, leave_out
from heartbeat.cli.progress import Bar, Lines, inert
from heartbeat.cli.switched import find_off
from heartbeat.core.gate import Grade
from heartbeat.lag import LagMeter
from heartbeat.log import PrintCapture, catch_strays, configure
from heartbeat.selfwatch.watchdog import Watchdog, guard_exit, really_exit
from heartbeat.verification import Summary, Verification, conclude
from heartbeat.verification.records import baseline_of, data_of
from heartbeat.verification.reports import COLUMNS, headline, junit, markdown, row

TICK = 0.5
"""Seconds between two looks at how far it is."""
EXITS = {Grade.PASSED: 0, Grade.WARNED: 2, Grade.BROKEN: 3, Grade.FAILED: 1}
STYLES = {Grade.PASSED: "green", Grade.WARNED: "yellow", Grade.BROKEN: "magenta", Grade.FAILED: "bold red"}
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}


def run_gate(gate: Gate) -> int:
    """Verify, and return the exit status. Does not return where plugins do not end."""
    configure(replace(gate.config.log, level="error"), gate.config.redactor)
    catch_strays()
    shown, sys.stdout = sys.stdout, PrintCapture()  # what plugins print may be secret, and is no output of ours
    gate = leave_out(gate, find_off(gate.config, gate.checks))
    session = _Session(gate, shown)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(session.run())
    except SystemExit:
        return session.finish("something that a plugin left behind, which called sys.exit")
    finally:
        sys.stdout = shown


class _Session:
    """One verification with what is shown of it."""

    def __init__(self, gate: Gate, shown: TextIO) -> None:
        self._gate = gate
        self._out = Console(file=shown, no_color=gate.asked.no_color or None, highlight=False)
        err = Console(stderr=True, no_color=gate.asked.no_color or None, highlight=False)
        self._screen = Bar(err) if err.is_terminal and self._out.is_terminal else Lines(sys.stderr)
        self._lag = LagMeter()
        workshop = alone(gate.config, self._lag)
        self._verification = Verification(gate.checks, gate.terms, workshop, self._screen.watch)
        self._began, self._started = time(), monotonic()
        self._signal: signal.Signals | None = None

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._interrupt, number)
        self._lag.start()
        watchdog = Watchdog(self._lag, loop, self._gate.config.stall_limit, self._blame)
        watchdog.start()
        guard_exit(self._blame)
        ticking = loop.create_task(self._tick())
        await self._verification.run()
        ticking.cancel()
        watchdog.stop()
        self._lag.stop()
        http.close()
        code = self.finish()
        if self._verification.is_stuck:  # closing the loop would wait for plugins that do not end, for ever
            self._leave(code)
        return code

    async def _tick(self) -> None:
        trials = self._verification.trials.values()
        while True:
            self._screen.tick(trials, self._verification.share_done)
            await asyncio.sleep(TICK)

    def _interrupt(self, number: signal.Signals) -> None:
        self._signal = number
        self._verification.stop()

    def _blame(self, name: str, what: str) -> None:
        """Say what is known, and leave: a plugin holds the loop for ever, or ends the process, perhaps with a 0."""
        trial = self._verification.trials.get(name)
        if trial is not None:
            trial.broke = f"its plugin {what.replace('the daemon', 'the process')}"
        self._leave(self.finish(f"the check {name or '(unknown)'}, which {what.replace('the daemon', 'the process')}"))

    def _leave(self, code: int) -> None:
        self._out.file.flush()
        sys.stderr.flush()
        really_exit(code)

    def finish(self, interrupted: str = "") -> int:
        """Show and write what it comes to, and return the exit status."""
        self._screen.stop()
        summary = self._conclude(interrupted or (self._signal.name if self._signal else ""))
        code = EXITS[summary.grade]
        if summary.grade is Grade.WARNED and not self._gate.asked.strict:
            code = 0
        if interrupted:
            code = code or EXITS[Grade.BROKEN]
        if self._signal:
            code = SIGNALS[self._signal]
        self._show(summary)
        return code if _write_all(self._gate.asked, summary, code) else code or EX_CANTCREAT

    def _conclude(self, interrupted: str) -> Summary:
        gate, redact = self._gate, self._gate.config.redactor
        judged, faults = conclude(self._verification.trials.values(), gate.terms, gate.baseline, gate.elsewhere)
        return Summary(
            judged,
            (*gate.faults, *faults),
            self._began,
            monotonic() - self._started,
            interrupted,
            tuple(map(redact, gate.asked.require)),
            {name: redact(gate.config.targets[name]) for name in gate.targets},
            gate.off,
        )

    def _show(self, summary: Summary) -> None:
        if self._out.is_terminal:
            self._out.print(_table(summary))
            self._out.print(Text(headline(summary), style=STYLES[summary.grade]))
        else:
            for line in _lines(summary):
                print(inert(line), file=self._out.file)
        for sentence in summary.faults:
            typer.echo(sentence, err=True)


def _table(summary: Summary) -> Table:
    table = Table(*COLUMNS, box=None, padding=(0, 2, 0, 0))
    for judged in summary.checks:
        cells = [Text(cell) for cell in row(judged)]
        cells[1].stylize(STYLES[judged.assessment.grade])
        table.add_row(*cells)
    for name, why in summary.off.items():
        table.add_row(Text(name), Text("off", style="dim"), "", "", "", "", Text(why))
    return table


def _lines(summary: Summary) -> Iterator[str]:
    """Yield the table in lines that nothing wraps."""
    off = ((name, "off", "", "", "", "", why) for name, why in summary.off.items())
    rows = [COLUMNS, *(row(judged) for judged in summary.checks), *off]
    widths = [max(len(cells[place]) for cells in rows) for place in range(len(COLUMNS) - 1)]
    for cells in rows:
        yield "  ".join((*(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)), cells[-1])).rstrip()
    yield headline(summary)


def _write_all(asked: Asked, summary: Summary, code: int) -> bool:
    """Write the reports that were asked for; say False, and why, where one cannot be."""
    done = [
        _write(asked.junit, lambda file: file.write_bytes(junit(summary))),
        _write(asked.json, lambda file: file.write_text(_json(data_of(summary, code)), encoding="utf-8")),
        _write(asked.markdown, lambda file: _append(file, markdown(summary))),
    ]
    if asked.save and (summary.interrupted or summary.grade not in (Grade.PASSED, Grade.WARNED)):
        typer.echo(f"the baseline {asked.save} is not saved: what failed is nothing to compare with", err=True)
    else:
        done.append(_write(asked.save, lambda file: _replace(file, _json(baseline_of(summary)))))
    return all(done)


def _write(file: Path | None, write: Callable[[Path], object]) -> bool:
    try:
        if file is not None:
            write(file)
    except OSError as error:
        typer.echo(f"cannot write {file}: {error.strerror or error}", err=True)
        return False
    return True


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _append(file: Path, text: str) -> None:
    with file.open("a", encoding="utf-8") as opened:
        opened.write(text)


def _replace(file: Path, text: str) -> None:
    """Write a file as a whole or not at all: half a baseline is none."""
    new = file.with_name(f".{file.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(file)

"""How a verification is followed: a bar on a terminal, lines elsewhere. Both on standard error."""

from __future__ import annotations

from collections.abc import Callable, Collection
from time import monotonic
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from heartbeat.core.gate import Look
from heartbeat.core.text import cut
from heartbeat.verification import Stage, Trial

SILENCE = 60.0
"""Seconds after which a line says that it goes on: pipelines end what says nothing for long."""
NAMED = 3
SENTENCE_CHARACTERS = 300

Share = Callable[[Trial], float]
"""How far a trial is, from 0 to 1."""


class Lines:
    """A line whenever what is known of a check changes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began = self._spoke = monotonic()
        self._known: dict[str, str] = {}

    def watch(self, trial: Trial) -> None:
        """Say what changed of a check."""
        told = _told(trial)
        if self._known.get(trial.name) != told:
            self._known[trial.name] = told
            self._say(f"{trial.name}: {told}")

    def tick(self, trials: Collection[Trial], share: Share) -> None:
        """Say that it goes on, where nothing was said for long."""
        if monotonic() - self._spoke >= SILENCE:
            done = sum(map(share, trials)) / max(1, len(trials))
            self._say(f"{sum(trial.runs for trial in trials)} runs so far, {done:.0%} done")

    def stop(self) -> None:
        """Say nothing more."""

    def _say(self, text: str) -> None:
        self._spoke = monotonic()
        print(f"{self._spoke - self._began:6.1f}s  {inert(text)}", file=self._stream, flush=True)


class Bar:
    """One bar for all checks, which names those that are not well."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task("verifying", total=1.0)
        self._progress.start()

    def watch(self, trial: Trial) -> None:
        """Do nothing: the bar moves with the ticks."""

    def tick(self, trials: Collection[Trial], share: Share) -> None:
        """Move the bar."""
        waiting = [trial.name for trial in trials if trial.stage is Stage.WAITING]
        bad = [trial.name for trial in trials if trial.latest and (trial.latest.is_bad or trial.latest.says_nothing)]
        told = f"{sum(trial.runs for trial in trials)} runs"
        for word, names in (("waiting for", waiting), ("not well:", bad)):
            if names:
                told += f", {word} {', '.join(names[:NAMED])}{' and more' if len(names) > NAMED else ''}"
        done = sum(map(share, trials)) / max(1, len(trials))
        self._progress.update(self._task, completed=done, description=told)

    def stop(self) -> None:
        """Take the bar away."""
        self._progress.stop()


def _told(trial: Trial) -> str:
    word = _word(trial.latest) if trial.latest else "no run yet"
    if trial.stage is Stage.RUNNING:
        return word
    return f"{trial.stage}, {word}"


def _word(look: Look) -> str:
    verdict = look.verdict
    if look.says_nothing:
        return f"said nothing of the target: {cut(verdict.sentence, SENTENCE_CHARACTERS)}"
    return f"{verdict.severity.word} {cut(verdict.sentence, SENTENCE_CHARACTERS)}".rstrip()


def inert(text: str) -> str:
    """Return text in which a pipeline that reads along finds no command (``##vso[``, ``##[``, ``##teamcity[``)."""
    return text.replace("##", "# #")

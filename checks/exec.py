"""The check type `exec`: any program, among them every plugin of Nagios and Icinga."""

from __future__ import annotations

import errno
import os
import re
import signal
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from heartbeat import Answer, Check, CheckBroken, CheckFailed, Duration, Probe, Size, configured_path
from heartbeat.program import Ending, Output, Program, run

from . import _perfdata

SOONER = 0.05
"""Seconds before the deadline at which a program is told to end, so that what it said last can be told."""
ERROR_BYTES = 16 * 1024
EVIDENCE_CHARACTERS = 3800
MEASUREMENTS = 98
"""Of a program's own; there may be 100 in all."""
OURS = ("exit_status", "perfdata_left_out")
OWN_LIMITS = {signal.SIGXCPU: "it used up its CPU time (cpu)", signal.SIGXFSZ: "it wrote too large a file"}
RESOURCES = frozenset(
    {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.ENOBUFS, errno.ETOOMANYREFS}
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_COLOURS = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]")


def _as_text(value: Any) -> Any:
    """Take whole numbers for texts: ports and ids are arguments like others. Others lose zeros, so they need quotes."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, int) else value


Word = Annotated[str, BeforeValidator(_as_text)]
Statuses = Annotated[tuple[Annotated[int, Field(ge=0, le=255)], ...], BeforeValidator(_as_list)]


class Exits(BaseModel):
    """What exit statuses mean. One that is named leaves the list that it is in otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    ok: Statuses = Field((0,), description="all is well")
    warn: Statuses = Field((1,), description="a warning")
    fail: Statuses = Field((2,), description="it is bad; what stands in none of the lists is bad, too")
    broken: Statuses = Field((3, 126, 127), description="the program could not tell: the check is bad, not the target")

    @model_validator(mode="after")
    def _named_once(self) -> Exits:
        named = [status for meaning in self.model_fields_set for status in getattr(self, meaning)]
        if twice := {status for status in named if named.count(status) > 1}:
            raise ValueError(f"the exit status {min(twice)} cannot mean two things")
        return self

    def meaning(self, status: int) -> str:
        """Return the name of the list that a status belongs to."""
        meanings = sorted(("ok", "warn", "fail", "broken"), key=lambda meaning: meaning not in self.model_fields_set)
        return next((meaning for meaning in meanings if status in getattr(self, meaning)), "fail")


class Exec(Check):
    """Run a program: any plugin of Nagios or Icinga as it is, or one of your own.

    Its exit status is the finding: 0 is well, 1 a warning, 2 bad; 3 says that it cannot tell, and so do 126 and 127.
    The first line that it writes is the sentence that people read, all else is evidence. What it measured and wrote
    behind a bar (`|/=27GB;243;257;0;270 time=12ms`) becomes measurements in base units: `root_bytes`,
    `root_warn_bytes`, `root_crit_bytes`, `root_max_bytes`, `time_seconds`; a percentage becomes a `_ratio`.

    No shell reads the command. The program gets an environment of its own, and none of our secrets. At the deadline
    it is told to end (SIGTERM), and a second later it is killed, with all that it started. Many plugins give up by
    themselves after 10 s: a `timeout` above that lets them say why.
    """

    command: list[Word] = Field(
        description="the program and its arguments: [/usr/lib/nagios/plugins/check_disk, -w, 10%]; no shell reads them."
        " A relative path begins at the configuration's folder, a name without a slash is looked for on the PATH",
        min_length=1,
        max_length=1000,
    )
    environment: dict[str, Word] = Field(
        {}, description="variables of its environment; besides them it gets PATH and LANG=C.UTF-8", repr=False
    )
    directory: str = Field("/", description="the folder it runs in, as an absolute path")
    stdin: str = Field("", description="text on its standard input", repr=False)
    exit: Exits = Field(Exits(), description="what its exit statuses mean")
    output_bytes: Size = Field(
        64 * 1024, description="how much of its output is kept: most of the beginning, and the end", ge=1024, le=2**20
    )
    cpu: Duration | None = Field(None, description="CPU time that each of its processes may use, in whole seconds")
    memory: Size | None = Field(None, description="address space that each of its processes may have", ge=2**20)
    open_files: int | None = Field(None, description="files that each of its processes may have open", ge=8, le=2**20)
    nice: int = Field(0, description="how much it steps back behind other programs", ge=0, le=19)
    leaves_children: bool = Field(
        False, description="processes that it leaves behind are wanted; otherwise they are ended when it has ended"
    )

    @field_validator("command", mode="before")
    @classmethod
    def _is_no_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError('must be a list: [program, argument, ...]; for a shell write [sh, -c, "..."]')  # noqa: TRY004 - pydantic wants this one
        return value

    @field_validator("command")
    @classmethod
    def _can_be_run(cls, value: list[str]) -> list[str]:
        if any("\0" in word for word in value):
            raise ValueError("holds a NUL character")
        program, *arguments = value
        if not program:
            raise ValueError("the first word is the program, and it is empty")
        if "/" not in program or program.startswith("/"):
            return value
        return [str(configured_path(program).absolute()), *arguments]

    @field_validator("environment")
    @classmethod
    def _are_variables(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name[:40]!r} is no name for a variable")
            if "\0" in text:
                raise ValueError(f"the variable {name} holds a NUL character")
        return value

    @field_validator("directory")
    @classmethod
    def _is_absolute(cls, value: str) -> str:
        if not value.startswith("/") or "\0" in value:
            raise ValueError("must be an absolute path")
        return value

    async def run(self, probe: Probe) -> None:
        """Run the program, and take its word."""
        output, errors = Output(self.output_bytes), Output(ERROR_BYTES)
        probe.note("output", lambda: _said(output, errors))
        whole = probe.remaining
        patience = whole - min(SOONER, whole / 10)
        try:
            ending = await run(self._program(), patience, output=output, errors=errors, lingering=probe.keep_busy)
        except ChildProcessError as error:
            raise CheckBroken(str(error), reason="resource") from None
        except OSError as error:
            raise self._cannot_start(error) from None
        probe.record_duration(ending.seconds)
        probe.answer(lambda: Answer(output.text))
        report = _perfdata.read(_COLOURS.sub("", output.text))
        _record(probe, ending, report)
        said = report.status or _last_line(errors.text)
        if ending.timed_out:
            words = f"{self._called} did not end within {whole:.3g} s"
            raise CheckFailed(f"{words}; it last said: {said}" if said else words, reason="timeout")
        self._judge(probe, ending, said)

    def _program(self) -> Program:
        surroundings = {"PATH": os.environ.get("PATH") or os.defpath, "LANG": "C.UTF-8", **self.environment}
        return Program(
            self.command,
            surroundings,
            directory=self.directory,
            given=self.stdin.encode(),
            cpu_seconds=self.cpu or 0.0,
            memory_bytes=self.memory or 0,
            open_files=self.open_files or 0,
            nice=self.nice,
            leaves_children=self.leaves_children,
        )

    @property
    def _called(self) -> str:
        return PurePath(self.command[0]).name

    def _judge(self, probe: Probe, ending: Ending, said: str) -> None:
        if ending.status < 0:
            raise self._was_killed(-ending.status, said)
        meaning = self.exit.meaning(ending.status)
        said = said or f"{self._called} exits with {ending.status} and says nothing"
        wanted, got = f"exit status {' or '.join(map(str, self.exit.ok))}", f"exit status {ending.status}"
        if meaning == "broken":
            reason = "config" if ending.status in {126, 127} else "plugin"
            raise CheckBroken(said, reason=reason, expected=wanted, observed=got)
        if meaning == "fail":
            raise CheckFailed(said, reason="status", expected=wanted, observed=got)
        if meaning == "warn":
            probe.warn(said, reason="status", expected=wanted, observed=got)
        if ending.left:
            words = f"{self._called} left {ending.left} processes behind that cannot be ended; they belong to others"
            probe.warn(words, reason="mismatch")

    def _was_killed(self, number: int, said: str) -> CheckBroken:
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        why = OWN_LIMITS.get(signal.Signals(number)) if name.startswith("SIG") else None
        if number == signal.SIGKILL:
            why = "it used up its CPU time (cpu)" if self.cpu else "perhaps there was too little memory"
        words = f"{self._called} was ended by {name}" + (f", as {why}" if why else "") + (f": {said}" if said else "")
        return CheckBroken(words, reason="resource" if why else "plugin")

    def _cannot_start(self, error: OSError) -> CheckBroken:
        reason = "resource" if error.errno in RESOURCES or error.filename is None else "config"
        said = error.strerror or type(error).__name__
        what = str(error.filename or self.command[0])
        if what == self.directory and what != self.command[0]:
            words = f"the folder {what} cannot be entered: {said}"
        elif error.errno == errno.ENOENT and "/" not in what:
            words = f"there is no program {what} on the PATH; give its whole path"
        elif error.errno == errno.ENOENT:
            words = f"there is no program {what}, or the interpreter that its first line names is missing"
        elif error.errno == errno.ENOEXEC:
            words = f"{what} is no program; a script begins with a line such as #!/bin/sh"
        else:
            words = f"the program {what} cannot be started: {said}"
        return CheckBroken(words, reason=reason)


def _record(probe: Probe, ending: Ending, report: _perfdata.Report) -> None:
    if ending.status >= 0:
        probe.record("exit_status", ending.status)
    found, left_out = _perfdata.measurements(report.figures, MEASUREMENTS, OURS)
    for name, value in found.items():
        probe.record(name, value)
    if left_out or report.unread:
        probe.record("perfdata_left_out", left_out + report.unread)


def _said(output: Output, errors: Output) -> str:
    """Return what a program said as evidence: beginning and end, as the end says most of what goes wrong."""
    text, said = output.text.strip("\n"), errors.text.strip("\n")
    whole = _COLOURS.sub("", f"{text}\n[standard error]\n{said}".strip("\n") if said else text)
    if len(whole) <= EVIDENCE_CHARACTERS:
        return whole or "(nothing)"
    half = EVIDENCE_CHARACTERS // 2
    return f"{whole[:half]}\n[{len(whole) - 2 * half} characters left out]\n{whole[-half:]}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in _COLOURS.sub("", text).split("\n")]
    return next((line for line in reversed(lines) if line), "")

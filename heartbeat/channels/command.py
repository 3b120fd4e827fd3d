"""The channel ``command``: a program of the operator's, with the event as JSON on its standard input."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, SecretStr, field_validator

from heartbeat.channels import SLOW_RETRY, Channel, DeliveryFailed, Departure, Rendered
from heartbeat.core.batch import Batch
from heartbeat.core.payload import encode, payload
from heartbeat.core.sentences import track_of
from heartbeat.core.text import plain
from heartbeat.program import Ending, Output, Program, run

FINAL = frozenset({os.EX_USAGE, os.EX_DATAERR, os.EX_NOINPUT, os.EX_NOUSER, os.EX_NOHOST})
"""Exit statuses 64 to 68 of sysexits.h: this message or its address is wrong, and would be the next time."""
FOR_A_PERSON = frozenset({os.EX_NOPERM, os.EX_CONFIG, 126, 127})
"""Exit statuses that a person has to mend: no permission, configuration; and the shell's: cannot run, not found."""
ANSWER_CHARACTERS = 300
OUTPUT_BYTES = 16 * 1024
"""How much of its output is kept: the last line is the answer."""
MERCY = 2.0
"""Seconds between SIGTERM and SIGKILL."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


class Command(Channel):
    """Runs a program for each event: exit status 0 acknowledges it.

    64 to 68 of sysexits.h (usage, data, input, user, host) refuse the message for good. Everything else is tried
    again, like 75 (temporary failure), a signal or a timeout; 77, 78, 126 and 127 slowly, as a person has to mend
    something first. Standard output and error together are the answer. The program is found on the daemon's PATH; of
    its environment it gets PATH, LANG, and ``HEARTBEAT_CHECK``, ``_KIND``, ``_TRACK``, ``_SEVERITY``, ``_INCIDENT``,
    ``_EVENT``.
    """

    kind: ClassVar[str] = "command"

    command: tuple[str, ...] = Field(min_length=1, max_length=100)
    """The program and its arguments; no shell reads them. A retry runs it again: go by ``HEARTBEAT_EVENT``."""
    environment: Mapping[str, SecretStr] = Field(default_factory=dict)
    """Variables to add, as for tokens; arguments can be seen by everyone on the machine."""

    @field_validator("command")
    @classmethod
    def _check_command(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any("\0" in word for word in value):
            raise ValueError("holds a NUL character")
        program = value[0]
        if not program or ("/" in program and not program.startswith("/")):
            raise ValueError(f"the program {program!r} must be an absolute path or a name on the PATH")
        if shutil.which(program, path=search_path()) is None:
            raise ValueError(f"there is no program {program} that can be run; give its path, and make it executable")
        return value

    @field_validator("environment")
    @classmethod
    def _check_environment(cls, value: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        for name, text in value.items():
            if not NAME.fullmatch(name) or name.startswith("HEARTBEAT_"):
                raise ValueError(f"{plain(name, 40)!r} is no name for a variable of your own")
            if "\0" in text.get_secret_value():
                raise ValueError(f"the variable {name} holds a NUL character")
        return value

    def render(self, batch: Batch, at: float) -> Rendered:  # noqa: ARG002 - machines are told the event, not the delay
        """Turn an event into the native JSON, version 1."""
        (event,) = batch.events
        return Rendered(encode(payload(event, why=batch.deliveries[0].why)), (), "application/json")

    async def send(self, batch: Batch, message: Rendered) -> str:
        """Run the program; return the last line it wrote. Raises ``DeliveryFailed``."""
        output = Output(OUTPUT_BYTES)
        program = Program(self.command, self.variables(batch), given=message.body, leaves_children=True, mercy=MERCY)
        try:
            ending = await run(program, self.timeout, output=output)
        except OSError as error:
            missing = isinstance(error, (FileNotFoundError, PermissionError))
            sentence = f"{self.command[0]} cannot be started: {error.strerror or type(error).__name__}"
            raise DeliveryFailed(sentence, retry_after=SLOW_RETRY if missing else None) from None
        if ending.status == 0:
            return plain(_last_line(output), ANSWER_CHARACTERS) or "0"
        raise refusal(self.command[0], ending, _last_line(output), self.timeout)

    def departure(self, batch: Batch, message: Rendered) -> Departure:
        """Return the program with its arguments, its variables, and its standard input."""
        hidden = tuple(value.get_secret_value() for value in self.environment.values())
        return Departure(shlex.join(self.command), message.body, tuple(self.variables(batch).items()), hidden)

    async def reach(self) -> tuple[str, ...]:
        """Look whether the program is there. Raises ``DeliveryFailed``."""
        found = shutil.which(self.command[0], path=search_path())
        if found is None:
            raise DeliveryFailed(f"there is no program {self.command[0]} that can be run", permanent=True)
        return (f"{found} is there and can be run; it was not",)

    def variables(self, batch: Batch) -> dict[str, str]:
        """Return the program's environment. What a target said is not in it: shells do odd things with variables."""
        event = batch.events[-1]
        ours = {
            "CHECK": event.check,
            "KIND": event.kind.value,
            "TRACK": track_of(event).value,
            "SEVERITY": event.severity.word,
            "INCIDENT": event.incident,
            "EVENT": event.id,
        }
        return {
            "PATH": search_path(),
            "LANG": "C.UTF-8",
            **{name: value.get_secret_value() for name, value in self.environment.items()},
            **{f"HEARTBEAT_{name}": plain(value, 200) for name, value in ours.items()},
        }


def refusal(program: str, ending: Ending, said: str, timeout: float) -> DeliveryFailed:
    """Say what an exit status other than 0 means. What was ended by a signal may have told somebody before."""
    said = plain(said, ANSWER_CHARACTERS)
    said = f": {said}" if said else ""
    if ending.timed_out:
        return DeliveryFailed(f"{program} did not end within {timeout:g} s{said}", ambiguous=True)
    if ending.status < 0:
        return DeliveryFailed(f"{program} was ended by {_signal(-ending.status)}{said}", ambiguous=True)
    slowly = SLOW_RETRY if ending.status in FOR_A_PERSON else None
    sentence = f"{program} exits with {ending.status}{said}"
    return DeliveryFailed(sentence, permanent=ending.status in FINAL, retry_after=slowly)


def search_path() -> str:
    """Return where programs are looked for."""
    return os.environ.get("PATH") or os.defpath


def _last_line(output: Output) -> str:
    return next((line for line in reversed(output.text.split("\n")) if line.strip()), "")


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

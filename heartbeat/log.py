"""One log for everything: structlog for us, a bridge for the libraries, a capture for what plugins print.

Every line passes one pipeline: context (the run's id) and time are added, exceptions become text, and at the end
every value is redacted, bounded and made unable to forge a line. A module logs with ``structlog.get_logger()``;
``RUN.set(run.id)`` in the task of a run gives every line of it the id, at a tenth of the price of structlog's own way.
"""

from __future__ import annotations

import io
import logging
import re
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from os import environ
from typing import Any, TextIO

import structlog
from structlog.dev import ConsoleRenderer, plain_traceback

from heartbeat.config.model import Log
from heartbeat.core.text import cut
from heartbeat.redaction import Redactor

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
VALUE_CHARACTERS = 8192
RUN: ContextVar[str] = ContextVar("heartbeat_run", default="")
"""The id of the run in whose task or thread we are; empty elsewhere."""
TRACEBACK_CHARACTERS = 16384
LINE_CHARACTERS = 2000
LINES_PER_RUN = 100
PRINTING_RUNS = 256
QUIET = ("alembic", "apscheduler", "asyncio", "h11", "httpx", "httpcore", "sqlalchemy", "uvicorn")
"""Libraries of which only warnings matter: the "info" of SQLAlchemy is every statement, of APScheduler every slot."""

# What a terminal or a log viewer obeys instead of showing: controls, direction overrides, line separators, and the
# lone surrogates that no stream can write.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")

EventDict = MutableMapping[str, Any]
Processor = Callable[[Any, str, EventDict], Any]


class _Sink:
    """Where finished lines go, one write each; it outlives every change of the settings."""

    def __init__(self) -> None:
        self.stream: TextIO | None = None
        self.level = LEVELS["info"]
        self._lock = threading.Lock()

    def write(self, line: str) -> None:
        stream = self.stream or sys.stderr
        try:
            with self._lock:
                stream.write(line + "\n")
                stream.flush()
        except (OSError, ValueError):
            pass  # a log that is full or closed must not take the daemon with it, and there is nowhere to say so

    debug = info = warning = error = critical = msg = write


_sink = _Sink()
_processors: list[Processor] = []  # changed in place, as loggers that are cached hold on to it
_Loud = structlog.make_filtering_bound_logger(logging.DEBUG)


def _gate(level: int, loud: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, event: str, *args: Any, **values: Any) -> Any:
        return loud(self, event, *args, **values) if level >= _sink.level else None

    return method


class _Gated(_Loud):  # type: ignore[misc, valid-type]  # structlog makes this class when it is called
    """structlog's own filter is fixed when a logger is first used; this one follows a reload, for a microsecond."""

    def log(self, level: int, event: str, *args: Any, **values: Any) -> Any:
        return super().log(level, event, *args, **values) if level >= _sink.level else None


Logger = type("Logger", (_Gated,), {name: _gate(level, getattr(_Loud, name)) for name, level in LEVELS.items()})


def configure(log: Log, redactor: Redactor, stream: TextIO | None = None) -> None:
    """Set up the log, or change it: everything follows at once, also loggers in use.

    Args:
        log: format (``auto`` is console on a terminal, else JSON) and level.
        redactor: what knows the secrets; it may learn more later.
        stream: where lines go; ``sys.stderr`` at the time of the call if left out.
    """
    _sink.stream, _sink.level = stream or sys.stderr, LEVELS[log.level]
    terminal = _sink.stream.isatty()
    console = log.format == "console" or (log.format == "auto" and terminal)
    _processors[:] = [
        _add_run,
        structlog.processors.add_log_level,
        _add_time,
        structlog.processors.format_exc_info,
        _clean(redactor),
        *(_console(colors=terminal and "NO_COLOR" not in environ) if console else _json()),
    ]
    structlog.configure(
        processors=_processors,
        wrapper_class=Logger,
        logger_factory=lambda *_: _sink,
        cache_logger_on_first_use=True,
    )
    _bridge_libraries()


def is_verbose() -> bool:
    """Say whether debug is logged: what only serves that need not be put together."""
    return _sink.level <= LEVELS["debug"]


def catch_strays() -> None:
    """Log what nobody caught, in threads and destructors too: Python would print it as it is, secrets and all."""
    log = structlog.get_logger("heartbeat")

    def stray(where: str, kind: Any, error: Any, trace: Any) -> None:
        log.critical("an exception that nobody caught", where=where, exc_info=(kind, error, trace))

    sys.excepthook = lambda kind, error, trace: stray("main", kind, error, trace)
    threading.excepthook = lambda a: stray(a.thread.name if a.thread else "", a.exc_type, a.exc_value, a.exc_traceback)
    sys.unraisablehook = lambda a: stray(repr(a.object)[:200], a.exc_type, a.exc_value, a.exc_traceback)


class PrintCapture(io.TextIOBase):
    """A stream to stand in for ``sys.stdout``: what plugins print becomes debug lines that carry the run's id.

    Parts of a line are kept per run, as runs print in between each other. A line is cut at 2,000 characters, a run
    at 100 lines. Bytes for ``.buffer`` are taken too.
    """

    encoding = "utf-8"
    errors = "replace"

    def __init__(self) -> None:
        self._log = structlog.get_logger("print")
        self._runs: OrderedDict[str, _Printed] = OrderedDict()

    @property
    def buffer(self) -> PrintCapture:
        """The stream itself: it takes bytes as well as text."""
        return self

    def writable(self) -> bool:
        """Say that one may print here."""
        return True

    def write(self, text: str | bytes, /) -> int:
        """Take what was printed, and log the lines that it completes."""
        if not is_verbose():
            return len(text)
        whole = text.decode(errors="replace") if isinstance(text, (bytes, bytearray, memoryview)) else str(text)
        run = RUN.get()
        printed = self._runs.setdefault(run, _Printed())
        self._runs.move_to_end(run)
        if len(self._runs) > PRINTING_RUNS:
            self._runs.popitem(last=False)
        *lines, rest = (printed.rest + cut(whole, LINES_PER_RUN * LINE_CHARACTERS)).split("\n")
        printed.rest = cut(rest, LINE_CHARACTERS)
        for line in lines:
            self._tell(printed, line)
        return len(text)

    def _tell(self, printed: _Printed, line: str) -> None:
        printed.lines += 1
        if printed.lines <= LINES_PER_RUN:
            self._log.debug("a plugin printed", text=cut(line, LINE_CHARACTERS))
        elif printed.lines == LINES_PER_RUN + 1:
            self._log.debug("a plugin printed more than is logged", lines=LINES_PER_RUN)


@dataclass(slots=True)
class _Printed:
    """What one run has printed: complete lines so far, and the beginning of the next."""

    lines: int = 0
    rest: str = ""


def escape(text: str) -> str:
    """Write out what a terminal would obey: newlines, escape sequences, direction overrides."""
    return _OBEYED.sub(_written, text)


def _written(match: re.Match[str]) -> str:
    code = ord(match.group())
    return {10: "\\n", 13: "\\r", 9: "\\t"}.get(code) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def _add_run(_: Any, __: str, event: EventDict) -> EventDict:
    if (run := RUN.get()) and "run" not in event:
        event["run"] = run
    return event


def _add_time(_: Any, __: str, event: EventDict) -> EventDict:
    event["timestamp"] = datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
    return event


def _clean(redactor: Redactor) -> Processor:
    """Redact, then bound, every value; in this order, as half a secret is not recognised."""

    def clean(_: Any, __: str, event: EventDict) -> EventDict:
        for key, value in event.items():
            if not isinstance(value, (int, float, type(None))):
                event[key] = _bounded(key, redactor.redact_data(_plain(value)))
        return event

    return clean


def _plain(value: object) -> object:
    if isinstance(value, (str, bytes, dict, list, tuple)):
        return value
    try:
        return f"{type(value).__name__}: {value}" if isinstance(value, BaseException) else str(value)
    except Exception as error:  # noqa: BLE001 - a foreign object's own code must not break the line that mentions it
        return f"<{type(value).__name__} that cannot be written: {type(error).__name__}>"


def _bounded(key: str, value: object) -> object:
    text = value if isinstance(value, str) else str(value)
    if key == "exception" and len(text) > TRACEBACK_CHARACTERS:
        return "…" + text[-TRACEBACK_CHARACTERS:]  # the end says what it was
    return value if len(text) <= VALUE_CHARACTERS or key == "exception" else text[:VALUE_CHARACTERS] + "…"


def _json() -> list[Processor]:
    render = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)

    def line(logger: Any, name: str, event: EventDict) -> str:
        first = {key: event.pop(key) for key in ("timestamp", "level", "event")}
        # JSON has escaped its controls already; what is left can only be inside of strings.
        return _OBEYED.sub(lambda found: f"\\u{ord(found.group()):04x}", str(render(logger, name, {**first, **event})))

    return [line]


def _console(*, colors: bool) -> list[Processor]:
    def show(_: Any, __: str, event: EventDict) -> EventDict:
        trace = event.pop("exception", None)
        for key, value in event.items():
            if not isinstance(value, (int, float, type(None))):
                event[key] = escape(str(value))
        if trace:  # indented, so that no line of it looks like one of ours
            event["exception"] = "\n".join("    " + escape(line) for line in str(trace).splitlines())
        return event

    return [show, ConsoleRenderer(colors=colors, sort_keys=False, exception_formatter=plain_traceback)]


class _Bridge(logging.Handler):
    """Takes what libraries log in the standard way to the same pipeline."""

    def emit(self, record: logging.LogRecord) -> None:
        level = next(name for name, least in reversed(LEVELS.items()) if record.levelno >= least or least == 10)
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # the library's own mistake: arguments that do not fit
            message = f"{record.msg} {record.args}"
        getattr(structlog.get_logger(), level)(message, logger=record.name, exc_info=record.exc_info)


def _bridge_libraries() -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge())
    root.setLevel(max(_sink.level, logging.INFO))  # no debug of libraries: it shows headers and bodies
    for name in QUIET:
        logging.getLogger(name).setLevel(max(_sink.level, logging.WARNING))
    logging.captureWarnings(capture=True)

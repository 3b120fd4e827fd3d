from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from timeit import timeit
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.config.model import Log
from heartbeat.log import RUN, Logger, PrintCapture, _Bridge, _sink, configure, escape
from heartbeat.redaction import Redactor

SECRET = "s3cr3t-value"
REDACTOR = Redactor({"TOKEN": SECRET})


@contextmanager
def as_run(run: str) -> Iterator[None]:
    token = RUN.set(run)
    yield
    RUN.reset(token)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    structlog.reset_defaults()
    RUN.set("")
    logging.captureWarnings(capture=False)
    root.setLevel(level)
    root.handlers[:] = handlers
    _sink.stream = None


def open_log(level: str = "debug", form: str = "json", stream: io.StringIO | None = None) -> tuple[Any, io.StringIO]:
    stream = stream or io.StringIO()
    configure(Log(format=form, level=level), REDACTOR, stream)
    return structlog.get_logger(), stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail(sentence: str) -> None:
    raise RuntimeError(sentence)


def test_a_line_is_json_with_time_and_level() -> None:
    log, stream = open_log()

    log.info("raised", check="shop", seconds=1.5, none=None)

    (line,) = lines(stream)
    assert list(line) == ["timestamp", "level", "event", "check", "seconds", "none"]
    assert line["level"] == "info"
    assert (line["check"], line["seconds"], line["none"]) == ("shop", 1.5, None)
    assert line["timestamp"].endswith("Z")
    assert len(line["timestamp"]) == len("2026-11-21T22:37:06.123Z")


def test_every_line_of_a_run_shares_its_id() -> None:
    log, stream = open_log()

    with as_run("run_1"):
        log.debug("started")
        logging.getLogger("some.library").warning("slow")
    log.info("between runs")

    assert [line.get("run") for line in lines(stream)] == ["run_1", "run_1", None]


def test_secrets_are_redacted_in_every_value_and_in_tracebacks() -> None:
    log, stream = open_log()

    log.info("text s3cr3t-value", nested={"list": [SECRET]}, path=Path("/tmp") / SECRET, error=ValueError(SECRET))
    try:
        fail(f"with {SECRET}")
    except RuntimeError:
        log.exception("failed")

    assert SECRET not in stream.getvalue()
    first, second = lines(stream)
    assert first["event"] == "text <redacted:TOKEN>"
    assert first["nested"] == {"list": ["<redacted:TOKEN>"]}
    assert first["path"] == "/tmp/<redacted:TOKEN>"
    assert first["error"] == "ValueError: <redacted:TOKEN>"
    assert second["exception"].splitlines()[-1] == "RuntimeError: with <redacted:TOKEN>"


def test_a_secret_is_redacted_before_a_value_is_cut() -> None:
    log, stream = open_log()

    text = "x" * 8186 + SECRET
    log.info(text)

    assert "s3cr" not in stream.getvalue()


def test_a_huge_value_is_cut() -> None:
    log, stream = open_log()

    log.info("big", text="x" * 100_000, data=["y" * 100_000])

    assert len(stream.getvalue()) < 20_000


def test_libraries_pass_the_same_pipeline() -> None:
    _, stream = open_log("info")

    logging.getLogger("apscheduler.scheduler").info("noise")
    logging.getLogger("httpx").info("noise")
    logging.getLogger("apscheduler.scheduler").warning("late by %s, %s", "1 s", SECRET)
    _Bridge().emit(logging.LogRecord("someone", 30, "", 0, "arguments %d that do not fit", ("x",), None))
    try:
        fail(SECRET)
    except RuntimeError:
        logging.getLogger("uvicorn.error").exception("failed")

    late, wrong, failed = lines(stream)
    assert (late["event"], late["logger"]) == ("late by 1 s, <redacted:TOKEN>", "apscheduler.scheduler")
    assert "do not fit" in wrong["event"]
    assert (failed["level"], failed["exception"].splitlines()[-1]) == ("error", "RuntimeError: <redacted:TOKEN>")


def test_warnings_become_lines() -> None:
    _, stream = open_log()

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn(f"old {SECRET}", stacklevel=1)

    assert "old <redacted:TOKEN>" in lines(stream)[0]["event"]


def test_configuring_again_does_not_double_the_lines() -> None:
    open_log()
    _, stream = open_log()

    logging.getLogger("someone").error("once")

    assert len(lines(stream)) == 1


def test_a_logger_in_use_follows_a_change_of_level_and_redactor() -> None:
    log, first = open_log("info")
    log.info("one")
    log.debug("left out")
    second = io.StringIO()

    configure(Log(format="json", level="debug"), Redactor({"NEW": "another"}), second)
    log.debug("another two")
    configure(Log(format="json", level="error"), Redactor(), second)
    log.warning("left out")
    log.log(logging.WARNING, "left out")

    assert [line["event"] for line in lines(first)] == ["one"]
    assert [line["event"] for line in lines(second)] == ["<redacted:NEW> two"]


def test_a_line_below_the_level_costs_next_to_nothing() -> None:
    log, stream = open_log("info")

    seconds = min(timeit(lambda: log.debug("x", check="shop", a=1), number=1000) for _ in range(5)) / 1000

    assert seconds < 20e-6
    assert stream.getvalue() == ""


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_target_cannot_forge_a_line(form: str) -> None:
    log, stream = open_log(form=form)

    log.warning("bad\nanswer", text="x\r\n2026 [error] forged\x1b[2J\x9b1m\u202e\u2028end", raw=b"\n", data=["\n"])

    assert len(stream.getvalue().splitlines()) == 1
    assert not {"\x1b", "\x9b", "\u202e", "\u2028", "\r"} & set(stream.getvalue())
    assert "forged" in stream.getvalue()


@given(text=st.text())
def test_what_was_logged_as_json_reads_back(text: str) -> None:
    stream = io.StringIO()
    configure(Log(format="json"), Redactor(), stream)

    structlog.get_logger().info("x", text=text)

    assert len(stream.getvalue().splitlines()) == 1
    assert json.loads(stream.getvalue())["text"] == text


@given(text=st.text())
def test_the_console_has_one_line_for_one_line(text: str) -> None:
    stream = io.StringIO()
    configure(Log(format="console"), Redactor(), stream)

    structlog.get_logger().info("x", text=text)

    assert len(stream.getvalue().splitlines()) == 1


def test_the_traceback_on_a_console_is_indented_and_harmless() -> None:
    log, stream = open_log(form="console")

    try:
        fail("first\n2026-01-01 [error] forged\x1b[2J")
    except RuntimeError:
        log.exception("failed")

    head, *trace = stream.getvalue().splitlines()
    assert "failed" in head
    assert trace
    assert all(line.startswith("    ") for line in trace if line)
    assert "\x1b" not in stream.getvalue()


def test_the_format_follows_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    log, piped = open_log(form="auto")
    log.info("to a pipe")
    log, terminal = open_log(form="auto", stream=Terminal())
    log.info("to a terminal")
    monkeypatch.setenv("NO_COLOR", "1")
    log, plain = open_log(form="auto", stream=Terminal())
    log.info("without colour")

    assert lines(piped)[0]["event"] == "to a pipe"
    assert "\x1b[" in terminal.getvalue()
    assert "without colour" in plain.getvalue()
    assert "\x1b[" not in plain.getvalue()


def test_an_object_that_cannot_be_written_does_not_break_the_line() -> None:
    class Nasty:
        def __str__(self) -> str:
            raise RuntimeError("no")

    log, stream = open_log()

    log.info("x", value=Nasty())

    assert lines(stream)[0]["value"] == "<Nasty that cannot be written: RuntimeError>"


def test_a_full_or_closed_log_does_not_stop_the_daemon() -> None:
    class Full(io.StringIO):
        def write(self, text: str, /) -> int:
            raise OSError(28, "No space left on device")

    log, _ = open_log(stream=Full())
    log.info("lost")
    log, closed = open_log()
    closed.close()
    log.info("lost")


def test_escape_writes_out_what_a_terminal_obeys() -> None:
    assert escape("a\tb\n\x1b[0m\u202e ö") == "a\\tb\\n\\x1b[0m\\u202e ö"


def test_what_a_plugin_prints_becomes_debug_lines_of_its_run() -> None:
    _, stream = open_log()
    capture = PrintCapture()

    with as_run("one"):
        print("a", SECRET, file=capture)
        print("half", end="", file=capture)
    with as_run("two"):
        capture.buffer.write(b"\xff raw\n")
    with as_run("one"):
        print(" whole", file=capture)

    assert [(line["run"], line["text"]) for line in lines(stream)] == [
        ("one", "a <redacted:TOKEN>"),
        ("two", "� raw"),
        ("one", "half whole"),
    ]
    assert {line["level"] for line in lines(stream)} == {"debug"}


def test_a_plugin_that_prints_without_end_is_bounded() -> None:
    _, stream = open_log()
    capture = PrintCapture()

    for i in range(500):
        with as_run(f"run {i}"):
            capture.write("x" * 10_000_000)
    with as_run("one"):
        capture.write("y" * 10_000 + "\n")
        for _ in range(10_000):
            print("again", file=capture)

    logged = lines(stream)
    assert len(logged) == 101
    assert len(logged[0]["text"]) == 2000
    assert logged[-1]["event"] == "a plugin printed more than is logged"


def test_prints_are_dropped_above_debug() -> None:
    _, stream = open_log("info")

    print("noise", file=PrintCapture())

    assert stream.getvalue() == ""


def test_a_print_capture_stands_in_for_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    _, stream = open_log()
    monkeypatch.setattr(sys, "stdout", PrintCapture())

    print("from a plugin", flush=True)  # noqa: T201 - it is what plugins do

    assert not sys.stdout.isatty()
    assert lines(stream)[0]["text"] == "from a plugin"


STRAY = f"""
import threading
from heartbeat.config.model import Log
from heartbeat.log import catch_strays, configure
from heartbeat.redaction import Redactor

configure(Log(format="json"), Redactor({{"TOKEN": "{SECRET}"}}))
catch_strays()

def fail():
    raise RuntimeError("{SECRET}"[:])

class Dying:
    def __del__(self):
        fail()

thread = threading.Thread(target=fail, name="worker")
thread.start()
thread.join()
Dying()
fail()
"""


def test_what_nobody_catches_is_logged_without_secrets() -> None:
    done = subprocess.run([sys.executable, "-c", STRAY], capture_output=True, text=True, timeout=50, check=False)

    logged = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert SECRET not in done.stderr
    assert [line["level"] for line in logged] == ["critical"] * 3
    assert (logged[0]["where"], logged[2]["where"]) == ("worker", "main")


def test_lines_of_many_threads_stay_whole() -> None:
    log, stream = open_log()

    threads = [threading.Thread(target=lambda: [log.info("x" * 500) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(lines(stream)) == 200


def test_the_bridge_takes_levels_that_have_no_name() -> None:
    log, stream = open_log()
    assert isinstance(log.bind(), Logger)

    _Bridge().emit(logging.LogRecord("x", 5, "", 0, "trace", (), None))
    _Bridge().emit(logging.LogRecord("x", 35, "", 0, "notable", (), None))

    assert [line["level"] for line in lines(stream)] == ["debug", "warning"]

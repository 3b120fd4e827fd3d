from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from heartbeat import Answer, Probe, late
from heartbeat.core.model import Run
from heartbeat.lag import LagMeter
from heartbeat.plugins import discover, load_type
from heartbeat.pool import Pool
from heartbeat.redaction import Redactor
from heartbeat.runner import Workshop, run_check
from heartbeat.steps import Part, Reading, reading
from heartbeat.testing.check import run_once

Script: Any = load_type(discover().sources["script"])
Write = Callable[..., Any]


@pytest.fixture
def script(tmp_path: Path) -> Write:
    """Write a script, and return the check that runs it."""

    def write(text: str, name: str = "freshness.py", **options: Any) -> Any:
        (tmp_path / name).write_text(text)
        return Script.model_validate({"file": str(tmp_path / name)} | options)

    return write


async def test_a_function_that_returns_nothing_is_well(script: Write) -> None:
    result = await run_once(script("def check():\n    pass\n"))
    assert (result.outcome, result.sentence, result.measurements) == ("ok", "", {})


async def test_a_mapping_is_measurements(script: Write) -> None:
    result = await run_once(script("def check():\n    return {'orders': 12, 'age_seconds': 3.5}\n"))
    assert result.measurements == {"orders": 12, "age_seconds": 3.5}


async def test_a_plain_function_runs_in_a_thread_and_an_async_one_on_the_loop(script: Write) -> None:
    plain = script("import threading\ndef check(probe): probe.note('thread', threading.get_ident()); assert 0, 'x'\n")
    other = script(
        "import threading\nasync def check(probe): probe.note('thread', threading.get_ident()); assert 0, 'x'\n",
        "second.py",
    )
    mine = str(threading.get_ident())
    assert (await run_once(plain)).evidence["thread"] != mine
    assert (await run_once(other)).evidence["thread"] == mine


async def test_it_gets_its_arguments_and_the_probe_where_it_wants_it(script: Write) -> None:
    text = "async def judge(table, *, probe, most=5):\n    with probe.phase('read'): probe.record(table, most)\n"
    made = script(text, function="judge", arguments={"table": "orders", "most": 7})
    result = await run_once(made)
    assert (result.measurements, set(result.phases)) == ({"orders": 7}, {"read"})


async def test_what_it_raises_on_purpose_counts(script: Write) -> None:
    text = "from heartbeat import {0}\ndef check(): raise {0}('{1}', reason='{2}')\n"
    bad = await run_once(script(text.format("CheckFailed", "nothing came", "absent")))
    assert (bad.outcome, bad.reason, bad.sentence) == ("fail", "absent", "nothing came")
    broken = await run_once(script(text.format("CheckBroken", "locked out", "account")))
    assert (broken.outcome, broken.reason, broken.sentence) == ("error", "account", "locked out")


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_an_assertion_is_a_finding(script: Write, kind: str) -> None:
    result = await run_once(script(f"{kind} check():\n    assert 1 > 2, 'the table is 3 h old'\n"))
    assert (result.outcome, result.reason, result.sentence) == ("fail", "content", "the table is 3 h old")


async def test_an_assertion_without_a_word_shows_its_line(script: Write) -> None:
    result = await run_once(script("def check(n):\n    m = n\n    assert m > 2\n", arguments={"n": 1}))
    assert (result.outcome, result.sentence) == ("fail", "it does not hold: assert m > 2 (freshness.py:3)")


async def test_assertions_count_also_where_python_is_told_to_leave_them_out(tmp_path: Path) -> None:
    (tmp_path / "freshness.py").write_text("def check():\n    assert 1 > 2, 'old'\n")
    code = f"""
import asyncio
from heartbeat.plugins import discover, load_type
from heartbeat.testing.check import run_once
script = load_type(discover().sources["script"])
print(asyncio.run(run_once(script.model_validate(dict(file="{tmp_path}/freshness.py")))).sentence)
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-O", "-c", code, stdout=asyncio.subprocess.PIPE)
    assert (await process.communicate())[0] == b"old\n"


async def test_a_mistake_in_it_is_its_own_with_file_and_line(script: Write) -> None:
    result = await run_once(script("def check():\n    return {}['x']\n"))
    assert (result.outcome, result.reason) == ("error", "plugin")
    assert "KeyError" in result.sentence
    assert "freshness.py:2" in result.sentence


@pytest.mark.parametrize(("value", "shown"), [("True", "True"), ("False", "False"), ("3", "int"), ("[1]", "list")])
async def test_anything_else_that_it_returns_is_refused(script: Write, value: str, shown: str) -> None:
    result = await run_once(script(f"def check():\n    return {value}\n"))
    assert (result.outcome, result.reason) == ("error", "plugin")
    assert f"check returned {'' if shown == value else 'a value of the type '}{shown}" in result.sentence
    assert "returns nothing or a mapping of measurements" in result.sentence


@pytest.mark.parametrize("found", ["{'a b': 1}", "{1: 1}", "{'x': 'y'}", "{'time_ms': 1}"])
async def test_a_measurement_that_cannot_be_recorded_is_refused(script: Write, found: str) -> None:
    result = await run_once(script(f"def check():\n    return {found}\n"))
    assert (result.outcome, result.reason) == ("error", "plugin")
    assert "a record was refused" in result.sentence


async def test_as_a_step_it_is_found_where_it_was_and_answers_what_it_found(tmp_path: Path) -> None:
    (tmp_path / "freshness.py").write_text("def check(id):\n    return {'found': id}\n")
    options = late({"script": {"file": "freshness.py", "arguments": {"id": "${steps.order.id}"}}})
    with reading(Reading(lambda _: Script, tmp_path)):
        part = TypeAdapter(Part).validate_python(options)
    probe = Probe()
    assert await probe.step("find", part.build(lambda _: 17)) == Answer(value={"found": 17})
    assert probe.measurements == {"find_found": 17}


@pytest.mark.parametrize("option", ["file", "function"])
def test_what_a_target_said_never_says_what_is_run(tmp_path: Path, option: str) -> None:
    (tmp_path / "freshness.py").write_text("def check(): pass\n")
    options = late({"script": {"file": "freshness.py", option: "${steps.order.id}"}})
    with reading(Reading(lambda _: Script, tmp_path)), pytest.raises(ValidationError, match="takes no references"):
        TypeAdapter(Part).validate_python(options)


async def test_one_that_hangs_in_a_thread_keeps_the_check_busy_until_it_has_ended(script: Write) -> None:
    made = script("def check(event):\n    event.wait(30)\n", arguments={"event": (event := threading.Event())})
    lag = LagMeter()
    lag.start()
    pool = Pool()
    try:
        workshop = Workshop(pool, lag, Redactor())
        finished = await run_check(made, Run("run_test", "test", 0.0, 0, 0.0, 0.2), workshop)
    finally:
        lag.stop()
    assert (finished.result.outcome, finished.result.reason) == ("fail", "timeout")
    assert finished.leftover is not None
    assert not finished.leftover.done()
    event.set()
    async with asyncio.timeout(5):
        await finished.leftover


@pytest.mark.parametrize(
    ("text", "options", "problem"),
    [
        ("def check(:\n", {}, r"freshness.py:1: the file \"freshness.py\" does not import: SyntaxError"),
        ("\n1 / 0\n", {}, r"freshness.py:2: the file .* ZeroDivisionError: division by zero"),
        ("import no_such_library\n", {}, r"freshness.py:1: .* needs the library no_such_library.*: install no_such_li"),
        ("def judge(): pass\n", {}, "there is no function check in freshness.py"),
        ("check = 5\n", {}, "check in freshness.py is no function"),
        ("class check: pass\n", {}, "check in freshness.py is no function"),
        ("def check(a): pass\n", {}, "check cannot be called with these: missing a required argument: 'a'"),
        ("def check(): pass\n", {"arguments": {"b": 1}}, "cannot be called with these: got an unexpected .* 'b'"),
        ("def check(probe): pass\n", {"arguments": {"probe": 1}}, "probe is what the function gets from us"),
    ],
)
def test_a_mistake_is_found_when_it_is_read(script: Write, text: str, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        script(text, **options)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=f"{tmp_path}/none.py: cannot be read: No such file"):
        Script(file=str(tmp_path / "none.py"))
    with pytest.raises(ValidationError, match=r"/nowhere/none.py: cannot be read: No such file"):
        Script(file="/nowhere/none.py")


def test_a_file_or_folder_that_anybody_may_write_to_is_not_loaded(script: Write, tmp_path: Path) -> None:
    made = script("def check(): pass\n")
    (tmp_path / "freshness.py").chmod(0o666)
    with pytest.raises(ValidationError, match="anybody may write here"):
        Script(file=made.file)
    (tmp_path / "freshness.py").chmod(0o644)
    tmp_path.chmod(0o777)
    with pytest.raises(ValidationError, match="anybody may write here"):
        Script(file=made.file)


async def test_a_relative_file_begins_at_the_configurations_folder_and_its_changes_count(tmp_path: Path) -> None:
    (tmp_path / "freshness.py").write_text("from . import _rows\ndef check(): return {'rows': _rows.ROWS}\n")
    (tmp_path / "_rows.py").write_text("ROWS = 5\n")
    with reading(Reading(lambda _: Script, tmp_path)) as around:
        made = Script(file="./freshness.py")
    assert around.files == {tmp_path / "freshness.py", tmp_path / "_rows.py"}
    assert (await run_once(made)).measurements == {"rows": 5}
    assert not any(str(tmp_path) in path for path in sys.path)


async def test_a_changed_file_or_helper_counts_for_new_checks_and_old_ones_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "freshness.py").write_text("from . import _rows\ndef check(): return {'rows': _rows.ROWS}\n")
    (tmp_path / "_rows.py").write_text("ROWS = 5\n")
    old = Script(file=str(tmp_path / "freshness.py"))
    (tmp_path / "_rows.py").write_text("ROWS = 66\n")
    new = Script(file=str(tmp_path / "freshness.py"))
    (tmp_path / "freshness.py").write_text("def check(): return {'rows': 777}\n")
    newest = Script(file=str(tmp_path / "freshness.py"))
    found = [(await run_once(one)).measurements["rows"] for one in (old, new, newest)]
    assert found == [5, 66, 777]


def test_the_same_text_is_loaded_once_and_scripts_of_one_name_are_kept_apart(script: Write, tmp_path: Path) -> None:
    text = "def check(): pass\n"
    first, second = script(text, "fresh-ness.py"), script(text, "fresh-ness.py")
    assert first._call is second._call
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "fresh-ness.py").write_text(text)
    assert Script(file=str(tmp_path / "other" / "fresh-ness.py"))._call is not first._call

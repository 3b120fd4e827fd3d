from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from heartbeat import Answer, CheckFailed, Probe
from heartbeat.core.model import Run
from heartbeat.lag import LagMeter
from heartbeat.plugins import discover, load_type
from heartbeat.pool import Pool
from heartbeat.redaction import Redactor
from heartbeat.runner import Workshop, run_check
from heartbeat.steps import Part, Reading, reading
from heartbeat.testing.check import Result, run_once
from heartbeat.testing.tcp import say, serve_tcp

Exec: Any = load_type(discover().sources["exec"])
PLUGINS = "/usr/lib/nagios/plugins"


def check(*command: str, **options: Any) -> Any:
    return Exec.model_validate({"command": list(command)} | options)


def shell(script: str, **options: Any) -> Any:
    return check("sh", "-c", script, **options)


async def until(answer: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not answer():  # noqa: ASYNC110 - no event comes from another process
            await asyncio.sleep(0.01)


def exists(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def written(path: Path) -> str:
    text = path.read_text() if path.exists() else ""
    return text if text.endswith("\n") else ""


async def test_exit_status_0_is_well() -> None:
    result = await run_once(shell("echo 'ALL OK - it is well'"))
    assert (result.outcome, result.sentence, result.caution) == ("ok", "", None)
    assert result.measurements == {"exit_status": 0}
    assert 0 < result.duration < 5


async def test_exit_status_1_is_a_warning_with_the_first_line_for_people() -> None:
    result = await run_once(shell("echo 'DISK WARNING - free space: / 9 %| /=91%;90;95'; echo; echo details; exit 1"))
    assert result.outcome == "ok"
    assert result.caution is not None
    assert (result.caution.sentence, result.caution.reason) == ("DISK WARNING - free space: / 9 %", "status")
    assert "details" in result.evidence["output"]
    assert result.measurements == pytest.approx(
        {"exit_status": 1, "root_ratio": 0.91, "root_warn_ratio": 0.9, "root_crit_ratio": 0.95}
    )


async def test_exit_status_2_is_bad() -> None:
    result = await run_once(shell("echo 'CRITICAL: gone|a=1'; echo because >&2; exit 2"))
    assert (result.outcome, result.reason, result.sentence) == ("fail", "status", "CRITICAL: gone")
    assert (result.expected, result.observed) == ("exit status 0", "exit status 2")
    assert result.evidence == {"output": "CRITICAL: gone|a=1\n[standard error]\nbecause"}
    assert result.measurements == {"exit_status": 2, "a": 1}


async def test_exit_status_3_means_that_the_check_is_bad() -> None:
    result = await run_once(shell("echo 'UNKNOWN: no such device'; exit 3"))
    assert (result.outcome, result.reason, result.sentence) == ("error", "plugin", "UNKNOWN: no such device")


@pytest.mark.parametrize(
    ("status", "found"), [(4, "fail"), (64, "fail"), (255, "fail"), (126, "error"), (127, "error")]
)
async def test_any_other_status_is_bad_but_for_those_of_a_shell_that_found_nothing(status: int, found: str) -> None:
    result = await run_once(shell(f"exit {status}"))
    assert (result.outcome, result.sentence) == (found, f"sh exits with {status} and says nothing")


@pytest.mark.parametrize(
    ("status", "found", "warned"), [(0, "ok", False), (7, "ok", False), (1, "fail", False), (3, "ok", True)]
)
async def test_what_a_status_means_can_be_said(status: int, found: str, warned: bool) -> None:
    result = await run_once(shell(f"exit {status}", exit={"ok": [0, 7], "warn": 3, "fail": [1]}))
    assert (result.outcome, result.caution is not None) == (found, warned)


async def test_one_that_says_nothing_is_quoted_from_its_standard_error() -> None:
    result = await run_once(shell("echo Traceback >&2; echo 'ModuleNotFoundError: x' >&2; echo >&2; exit 2"))
    assert result.sentence == "ModuleNotFoundError: x"


@pytest.mark.parametrize(
    ("signal", "reason", "words"),
    [
        ("SEGV", "plugin", "sh was ended by SIGSEGV: last words"),
        ("KILL", "resource", "sh was ended by SIGKILL, as perhaps there was too little memory: last words"),
        ("RTMIN", "plugin", "sh was ended by SIGRTMIN: last words"),
    ],
)
async def test_a_signal_is_named(signal: str, reason: str, words: str) -> None:
    result = await run_once(check("bash", "-c", f"echo last words; kill -{signal} $$"))
    words = words.replace("sh was", "bash was")
    assert (result.outcome, result.reason, result.sentence) == ("error", reason, words)


async def test_too_much_cpu_time_is_named() -> None:
    result = await run_once(check("sh", "-c", "while :; do :; done", cpu="500ms"), 20)
    assert (result.outcome, result.reason) == ("error", "resource")
    assert result.sentence == "sh was ended by SIGXCPU, as it used up its CPU time (cpu)"


async def test_one_that_does_not_end_is_a_timeout_with_what_it_said_and_leaves_nothing(tmp_path: Path) -> None:
    script = f"echo step 1 of 2; setsid sleep 600 & echo $! > {tmp_path}/pid; wait"
    result = await run_once(shell(script), 1.0)
    assert (result.outcome, result.reason) == ("fail", "timeout")
    assert result.sentence == "sh did not end within 1 s; it last said: step 1 of 2"
    assert not exists(int((tmp_path / "pid").read_text()))


async def test_one_that_ignores_its_end_keeps_the_check_busy_until_it_is_gone(tmp_path: Path) -> None:
    script = f"trap '' TERM; echo $$ > {tmp_path}/pid; echo here; while :; do sleep 600; done"
    lag = LagMeter()
    lag.start()
    try:
        run = Run("run_test", "test", 0.0, 0, 0.0, 1.5)
        finished = await run_check(shell(script), run, Workshop(Pool(), lag, Redactor()))
    finally:
        lag.stop()
    assert (finished.result.outcome, finished.result.reason) == ("fail", "timeout")
    assert finished.result.evidence["output"] == "here"
    process = int((tmp_path / "pid").read_text())
    assert exists(process)
    assert finished.leftover is not None
    await finished.leftover
    assert not exists(process)


async def test_a_step_that_ignores_its_end_lets_the_flow_go_on_and_keeps_the_check_busy() -> None:
    probe = Probe()
    started = asyncio.get_running_loop().time()
    with pytest.raises(CheckFailed) as caught:
        await probe.step("slow", shell("trap '' TERM; while :; do sleep 600; done"), timeout=0.5)
    assert caught.value.reason == "timeout"
    assert asyncio.get_running_loop().time() - started < 1.2
    (rest,) = probe.lingering
    assert (await rest).status == -9


async def test_children_that_are_left_behind_are_ended_or_kept_as_is_wanted(tmp_path: Path) -> None:
    script = f"setsid sleep 600 & echo $! > {tmp_path}/pid"
    assert (await run_once(shell(script))).outcome == "ok"
    assert not exists(int(written(tmp_path / "pid")))
    assert (await run_once(shell(script, leaves_children=True))).outcome == "ok"
    process = int(written(tmp_path / "pid"))
    assert exists(process)
    os.kill(process, 9)
    await until(lambda: not exists(process))


async def test_its_environment_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "CANARY")
    probe = Probe()
    probe.asked = True
    await check("env", "-0", environment={"PORT": 5432, "A": "b c"}).run(probe)
    assert isinstance(probe.answered, Answer)
    found = dict(pair.split("=", 1) for pair in probe.answered.text.rstrip("\0").split("\0"))
    assert found == {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PORT": "5432", "A": "b c"}


async def test_no_shell_reads_the_command_and_numbers_are_words() -> None:
    probe = Probe()
    probe.asked = True
    await Exec.model_validate({"command": ["echo", "$(id)", "*", 22]}).run(probe)
    assert probe.answered == Answer("$(id) * 22\n")


async def test_standard_input_and_directory_are_as_was_said() -> None:
    result = await run_once(shell("cat; pwd; exit 2", stdin="grüß\n", directory="/usr/bin"))
    assert result.evidence["output"] == "grüß\n/usr/bin"


async def test_limits_reach_the_program() -> None:
    options = {"memory": "1GiB", "open_files": 33, "nice": 7, "cpu": "4s"}
    result = await run_once(check("bash", "-c", "ulimit -n; ulimit -v; ulimit -t; nice; exit 2", **options))
    assert result.evidence["output"].split() == ["33", str(2**20), "4", "7"]


async def test_what_it_says_is_made_harmless_and_bounded() -> None:
    script = r"printf '\033[31mRED\033[0m \007alert\n'; yes line | head -n 100000; echo the end; exit 2"
    result = await run_once(shell(script, output_bytes="8KiB"), 20)
    assert result.sentence == "RED alert"
    evidence = result.evidence["output"]
    assert evidence.startswith("RED  alert\nline\n")
    assert evidence.endswith("line\nthe end")
    assert "characters left out" in evidence
    assert len(evidence) <= 4096


async def test_more_figures_than_there_is_room_for_are_counted() -> None:
    result = await run_once(check("echo", "OK|" + " ".join(f"v{n}=1;2;3" for n in range(60)) + " junk"))
    assert (result.outcome, result.sentence) == ("ok", "")
    assert len(result.measurements) == 100
    assert result.measurements["v59"] == 1
    assert result.measurements["perfdata_left_out"] == 180 - 98 + 1


async def test_a_label_of_our_own_is_numbered() -> None:
    result = await run_once(check("echo", "OK|exit_status=5 duration=3s"))
    assert result.measurements == {"exit_status": 0, "exit_status_2": 5, "duration_seconds": 3}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"command": ["no-such-plugin"]}, "there is no program no-such-plugin on the PATH; give its whole path"),
        ({"command": ["/nowhere/check"]}, "there is no program /nowhere/check, or the interpreter"),
        ({"command": ["/etc/passwd"]}, "the program /etc/passwd cannot be started: Permission denied"),
        ({"command": ["true"], "directory": "/nowhere"}, "the folder /nowhere cannot be entered: No such file"),
    ],
)
async def test_what_cannot_be_started_is_a_mistake_of_the_configuration(options: dict[str, Any], words: str) -> None:
    result = await run_once(Exec.model_validate(options))
    assert (result.outcome, result.reason) == ("error", "config")
    assert result.sentence.startswith(words)


async def test_a_script_without_its_first_line_says_so(tmp_path: Path) -> None:
    script = tmp_path / "check"
    script.write_text("exit 0\n")
    script.chmod(0o755)
    result = await run_once(check(str(script)))
    assert (result.outcome, result.reason) == ("error", "config")
    assert result.sentence == f"{script} is no program; a script begins with a line such as #!/bin/sh"


async def test_a_relative_path_begins_at_the_configurations_folder_and_its_changes_count(tmp_path: Path) -> None:
    script = tmp_path / "check_queue"
    script.write_text("#!/bin/sh\necho here; exit 2\n")
    script.chmod(stat.S_IRWXU)
    with reading(Reading(lambda _: Exec, tmp_path)) as around:
        made = check("./check_queue")
    assert around.files == {script}
    assert (await run_once(made)).sentence == "here"


async def test_as_a_step_it_gets_what_earlier_steps_took() -> None:
    command = ["echo", "${steps.order.id}", "a${steps.order.id}"]
    part = TypeAdapter(Part).validate_python({"exec": {"command": command}})
    probe = Probe()
    answer = await probe.step("show", part.build(lambda _: 17))
    assert answer.text == "17 a17\n"
    assert probe.measurements == {"show_exit_status": 0}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"command": []}, "at least 1"),
        ({"command": "check_disk -w 10%"}, r"must be a list: \[program, argument, ...\]"),
        ({"command": [""]}, "it is empty"),
        ({"command": ["true", "a\0b"]}, "NUL"),
        ({"command": ["true", 1.10]}, "valid string"),
        ({"command": ["true", True]}, "valid string"),
        ({"environment": {"A-B": "x"}}, "no name for a variable"),
        ({"environment": {"TOKEN": "CANARY\0"}}, "NUL"),
        ({"directory": "here"}, "absolute path"),
        ({"exit": {"ok": [0, 1], "warn": [1]}}, "the exit status 1 cannot mean two things"),
        ({"exit": {"ok": [256]}}, "less than or equal to 255"),
        ({"exit": {"okay": [0]}}, "Extra inputs"),
        ({"cpu": 5}, "needs a unit"),
        ({"memory": "lots"}, "must be a size"),
        ({"memory": "1KiB"}, "greater than or equal"),
        ({"output_bytes": "2MiB"}, "less than or equal"),
        ({"nice": 20}, "less than or equal"),
    ],
)
def test_a_wrong_option_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem) as caught:
        Exec.model_validate({"command": ["true"]} | change)
    assert "CANARY" not in str(caught.value)


@pytest.mark.system("monitoring-plugins-basic")
async def test_check_disk_runs_as_it_is_and_its_figures_are_measurements() -> None:
    result = await run_once(check(f"{PLUGINS}/check_disk", "-w", "0%", "-c", "0%", "-p", "/"))
    assert (result.outcome, result.sentence) == ("ok", "")
    found = result.measurements
    assert set(found) == {"exit_status", "root_bytes", "root_warn_bytes", "root_crit_bytes", "root_max_bytes"}
    disk = os.statvfs("/")
    assert found["root_max_bytes"] == pytest.approx(disk.f_blocks * disk.f_frsize, rel=0.2)
    assert 0 < found["root_bytes"] < found["root_max_bytes"]


@pytest.mark.system("monitoring-plugins-basic")
@pytest.mark.parametrize(
    ("command", "outcome", "sentence", "measurements"),
    [
        ("check_procs -c 0:0", "fail", "PROCS CRITICAL: ", {"procs", "procs_crit"}),
        ("check_procs -w 0:0", "ok", "", {"procs", "procs_warn"}),
        ("check_load -w 900,900,900 -c 999,999,999", "ok", "", {"load1", "load5", "load15"}),
        ("check_users -w 900 -c 999", "ok", "", {"users", "users_warn", "users_crit"}),
        ("check_file_age -f /etc/passwd -w 9999999999 -c 9999999999", "ok", "", {"age_seconds", "size_bytes"}),
        ("check_dummy 0 fine", "ok", "", set()),
        ("check_dummy 2 bad", "fail", "CRITICAL: bad", set()),
        ("check_dummy 3 who knows", "error", "UNKNOWN: who", set()),
        ("check_disk -w 10% -p /nowhere", "fail", "DISK CRITICAL - /nowhere", set()),
        ("check_tcp --nonsense", "error", "", set()),
        ("check_ping -H 127.0.0.1 -w 900,90% -c 999,99% -p 1", "ok", "", {"rta_seconds", "pl_ratio", "pl_crit_ratio"}),
    ],
)
async def test_plugins_of_debian_run_as_they_are(
    command: str, outcome: str, sentence: str, measurements: set[str]
) -> None:
    program, *arguments = command.split()
    result: Result = await run_once(check(f"{PLUGINS}/{program}", *arguments), 20)
    assert result.outcome == outcome
    assert result.sentence.startswith(sentence)
    assert measurements <= set(result.measurements)


@pytest.mark.system("monitoring-plugins-basic")
async def test_check_tcp_finds_a_port_open_or_closed() -> None:
    async with serve_tcp(say(b"220 ready\r\n")) as port:
        well = await run_once(check(f"{PLUGINS}/check_tcp", "-H", "127.0.0.1", "-p", str(port), "-e", "220", "-w", "5"))
    closed = await run_once(check(f"{PLUGINS}/check_tcp", "-H", "127.0.0.1", "-p", str(port)))
    assert well.outcome == "ok"
    assert 0 < well.measurements["time_seconds"] < 5
    assert well.measurements["time_warn_seconds"] == 5
    assert (closed.outcome, closed.reason) == ("fail", "status")
    assert "onnection refused" in closed.sentence

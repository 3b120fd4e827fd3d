"""What the documents say is held against the code: they are run, loaded and counted."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from heartbeat import CheckFailed, Probe
from heartbeat.core.model import BROKEN_REASONS, MISSED_REASONS, TARGET_REASONS, Reason
from heartbeat.demo.serving import listen
from heartbeat.demo.stage import Sockets, example, variables
from heartbeat.plugins import discover, load_type

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
GUIDE = ROOT / "checks/README.md"
ARCHITECTURE = ROOT / "heartbeat/README.md"
EXAMPLE = ROOT / "config.example.yaml"
DOCUMENTS = [README, GUIDE, ARCHITECTURE]
SECRETS = {
    "SMTP_PASSWORD": "open-relay",
    "WEBHOOK_SECRET": "whsec_aGVhcnRiZWF0IHRlc3RzLCBubyBzZWNyZXQ=",
    "SHOP_PASSWORD": "open-sesame",
    "SHOP_TOKEN": "open-sesame",
}


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text(), re.DOTALL | re.MULTILINE)


def files(document: Path) -> dict[str, str]:
    """Return the code blocks that are files, by the name in the comment above them."""
    found = re.findall(r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```$", document.read_text(), re.DOTALL | re.MULTILINE)
    return dict(found)


def table(document: Path, marker: str = "", header: str = "") -> list[list[str]]:
    """Return the rows of the table below a marker, or of the one with this header, without header and rule."""
    text = document.read_text()
    after = text.split(f"<!-- {marker} -->\n")[1] if marker else text[text.index(header) :]
    rows = [line for line in after.split("\n\n")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def words(cells: Iterator[str] | list[str]) -> list[str]:
    return [re.findall(r"`([^`]+)`", cell)[0] for cell in cells]


# The code in the documents


@pytest.fixture(params=[README, GUIDE], ids=["README", "guide"])
def document(request: pytest.FixtureRequest) -> Path:
    assert isinstance(request.param, Path)
    return request.param


def write_plugins(document: Path, folder: Path) -> Path:
    plugins = folder / "checks.d"
    plugins.mkdir()
    for name, source in files(document).items():
        if not name.startswith("test_"):
            (plugins / name).write_text(source)
    return plugins


async def run_plugin(folder: Path, name: str, reply: bytes) -> Probe:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        await writer.drain()
        writer.close()

    kind = load_type(discover([folder]).sources[name])
    probe = Probe()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await kind.model_validate({"host": "127.0.0.1", "port": port}).run(probe)
    return probe


async def test_the_check_in_fifteen_lines_has_fifteen_lines_and_works(tmp_path: Path) -> None:
    source = files(GUIDE)["cache.py"]
    assert len([line for line in source.splitlines() if line.strip()]) == 15
    folder = write_plugins(GUIDE, tmp_path)
    probe = await run_plugin(folder, "cache", b"+OK\r\n$4\r\nping\r\n")
    assert (probe.refused, probe.measurements) == ("", {"value_bytes": 4.0})
    with pytest.raises(CheckFailed):
        await run_plugin(folder, "cache", b"+OK\r\n$4\r\npong\r\n")


async def test_the_first_plugin_of_the_readme_works(tmp_path: Path) -> None:
    folder = write_plugins(README, tmp_path)
    assert "greeting" in (await run_plugin(folder, "greeting", b"220 mail.example.com\r\n")).phases
    with pytest.raises(CheckFailed):
        await run_plugin(folder, "greeting", b"554 go away\r\n")


def test_the_test_of_the_guide_passes_as_it_stands(tmp_path: Path) -> None:
    for name, source in files(GUIDE).items():
        (tmp_path / name).write_text(source)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:asyncio",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_every_configuration_in_the_documents_loads(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from heartbeat.config import load

    write_plugins(document, tmp_path)
    found = blocks(document, "yaml")
    assert found
    for text in found:
        config = tmp_path / "config.yaml"
        config.write_text(text if "checks:" in text else f"{text}checks: {{}}\n")
        load([config], SECRETS)


# The example configuration


def test_the_example_loads_without_any_variable() -> None:
    from heartbeat.config import load

    config = load([EXAMPLE], {})
    assert config.store == ROOT / "heartbeat.db"
    assert (config.web.host, config.web.port) == ("127.0.0.1", 9780)


def test_the_example_uses_every_key() -> None:
    from heartbeat.config import checks, settings

    whole = yaml.safe_load(EXAMPLE.read_text())
    needs_an_extra = set(re.findall(r"^# ([a-z]+): .*heartbeat\[", EXAMPLE.read_text(), re.MULTILINE))
    assert set(whole) | needs_an_extra == set(settings._TOP)
    assert not set(whole) & needs_an_extra
    assert set(whole["defaults"]) == set(settings.DEFAULTS)
    kinds = set(discover().sources)
    assert {key for check in whole["checks"].values() for key in check} - kinds | set(settings.DEFAULTS) == set(
        checks._READERS
    )
    assert set(whole["history"]) == {"keep", "keep_failures", "rows"}
    assert set(whole["log"]) == {"format", "level"}


def test_the_example_uses_every_bundled_type_and_every_channel() -> None:
    from heartbeat.channels.registry import KINDS

    whole = yaml.safe_load(EXAMPLE.read_text())
    used = {key for check in whole["checks"].values() for key in check}
    assert set(discover().sources) <= used
    shown = {kind for receiver in whole["receivers"].values() for channel in receiver for kind in channel}
    needs_an_extra = set(re.findall(r"# - ([a-z]+):.*heartbeat\[", EXAMPLE.read_text()))
    assert shown | needs_an_extra == set(KINDS)
    assert not shown & needs_an_extra


def test_every_kind_of_channel_is_in_the_readme() -> None:
    from heartbeat.channels.registry import KINDS

    named = words([name for name, *_ in table(README, "channels")])
    assert sorted(named) == sorted(KINDS)


def test_every_option_of_the_example_has_a_comment_where_it_first_appears() -> None:
    seen: set[str] = set()
    before = ""
    for line in EXAMPLE.read_text().splitlines():
        option = re.match(r" *(?:- )?([a-z_]+):(?: .*)?$", line)
        if option and option[1] not in seen:
            seen.add(option[1])
            has_comment = " # " in line or before.lstrip().startswith("#")
            opens_a_block = line.rstrip().endswith(":")
            assert has_comment or opens_a_block, line
        before = line


def test_the_demo_gives_every_variable_of_the_example_a_value(tmp_path: Path) -> None:
    named = set(re.findall(r"\$\{([A-Z_]+)", re.sub(r"(^|\s)#.*", "", EXAMPLE.read_text())))
    sockets = Sockets(*(listen(0) for _ in range(4)))
    given = variables(sockets, "127.0.0.1:53", 9780, tmp_path)
    for sock in (sockets.shop, sockets.shop_tls, sockets.mail, sockets.alerts):
        sock.close()
    assert set(given) == named
    assert example() == EXAMPLE


# Links, names and tables


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", document.read_text())
    for link in links:
        assert link.startswith("https://") or (document.parent / link).exists(), link


def test_files_named_in_where_do_i_change_exist() -> None:
    for _, place in table(ARCHITECTURE, header="| to change | look at |"):
        for name in re.findall(r"`([^`]+)`", place):
            assert (ROOT / "heartbeat" / name).exists() or (ROOT / name).exists(), name


def test_layers_are_those_of_the_contract() -> None:
    drawn = re.findall(r"<!-- layers -->\n```\n(.*?)```", ARCHITECTURE.read_text(), re.DOTALL)[0].split("\n")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    contract = next(one for one in settings["contracts"] if one["type"] == "layers")
    assert [set(re.findall(r"\w+", layer)) for layer in drawn if layer] == [
        {part.strip("() ").removeprefix("heartbeat.") for part in re.split(r"[|:]", layer)}
        for layer in contract["layers"]
    ]


def test_reasons_in_the_guide_are_the_closed_list() -> None:
    rows = table(GUIDE, "reasons")
    by_side = {"target": TARGET_REASONS, "check": BROKEN_REASONS, "nobody: missed": MISSED_REASONS}
    found = {side: {Reason(words([name])[0]) for name, bad, _ in rows if bad == side} for side in by_side}
    assert found == by_side
    assert len(rows) == len(Reason)


def test_metrics_in_the_readme_are_those_of_the_code() -> None:
    from heartbeat.metrics.instruments import Instruments
    from heartbeat.metrics.page import FAMILIES

    own = re.findall(r"^# HELP (heartbeat_\w+)", Instruments().text().decode(), re.MULTILINE)
    named = words([name for name, _ in table(README, "metrics")])
    assert sorted(named) == sorted([*(name for name, _, _ in FAMILIES), *own, "heartbeat_probe_<name>"])


def test_commands_in_the_documents_are_those_of_the_command_line() -> None:
    from heartbeat import cli

    commands = set(cli.COMMANDS)
    listed = {name.split()[1] for name in words([name for name, _ in table(README, header="| command | does |")])}
    assert listed == commands
    for document in [*DOCUMENTS, EXAMPLE]:
        code = re.findall(r"`heartbeat [^`]+`|^(?:    |#   )heartbeat .*", document.read_text(), re.MULTILINE)
        named = {name for line in code for name in re.findall(r"heartbeat ([a-z][a-z-]+)", line)}
        assert named <= commands, document


def test_make_targets_in_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^    |`)make ([a-z]+)", README.read_text(), re.MULTILINE))
    assert {"run", "test"} <= named <= targets


def test_simulations_in_the_readme_are_what_they_show(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from heartbeat.cli import main

    found = blocks(README, "console")
    assert found
    for block in found:
        command, _, shown = block.partition("\n")
        monkeypatch.setattr("sys.argv", shlex.split(command.removeprefix("$ ")))
        assert main() == 0
        assert capsys.readouterr().out == shown

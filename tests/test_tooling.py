"""The tools turn red when they should: layers broken on purpose, tests left out, locks out of step."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
TOOLS = Path(sys.executable).parent
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def run(*command: str | Path, cwd: Path, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=os.environ | (environ or {}),
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the layers are about."""
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in ("heartbeat", "checks"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    # Without `site`, which would add the checkout installed here: `checks` is a namespace, read from every path.
    environ = {"PYTHONPATH": os.pathsep.join([str(tree), sysconfig.get_path("purelib")]), "COLUMNS": "200"}
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return run(sys.executable, "-S", "-c", program, "--no-cache", cwd=tree, environ=environ)


def add(path: Path, line: str) -> None:
    path.write_text(path.read_text() + f"\n{line}\n")


def test_the_layers_hold(tree: Path) -> None:
    done = lint_imports(tree)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("path", "line", "message"),
    [
        ("checks/tcp.py", "from heartbeat.store import Store", r"checks.tcp -> heartbeat.store"),
        ("checks/tcp.py", "def later():\n    import heartbeat.core.status", r"checks.tcp -> heartbeat.core.status"),
        ("heartbeat/core/limits.py", "import time", r"heartbeat.core.limits -> time"),
        ("heartbeat/core/status.py", "from datetime import datetime", r"heartbeat.core.status -> datetime"),
        ("heartbeat/core/model.py", "import pydantic", r"heartbeat.core.model -> pydantic"),
        ("heartbeat/core/model.py", "import heartbeat.core.status", r"heartbeat.core.model -> heartbeat.core.status"),
        ("heartbeat/probe.py", "import heartbeat.store", r"heartbeat.probe -> heartbeat.store"),
        ("heartbeat/store/__init__.py", "import heartbeat.testing", r"heartbeat.store -> heartbeat.testing"),
        ("heartbeat/nowhere.py", "", r"heartbeat.nowhere"),
    ],
)
def test_a_forbidden_import_turns_the_check_red(tree: Path, path: str, line: str, message: str) -> None:
    (tree / path).touch()
    add(tree / path, line)
    done = lint_imports(tree)
    assert done.returncode, done.stdout
    assert re.search(message, done.stdout), done.stdout


def test_a_check_may_import_the_contract_and_the_http_engine(tree: Path) -> None:
    (tree / "checks/fresh.py").write_text(
        "from heartbeat import Check\nfrom heartbeat.http import Request\nimport httpx\n"
    )
    done = lint_imports(tree)
    assert done.returncode == 0, done.stdout


SUITE = """
import pytest

@pytest.mark.system("prometheus")
def test_needs_one(): pass

@pytest.mark.system("buildah", "debootstrap")
def test_needs_two(): pass

def test_needs_none(): pass
"""


def run_suite(folder: Path, *arguments: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    (folder / "test_suite.py").write_text(SUITE)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = system(package): as in pyproject\n")
    cleared = {"PATH": str(folder / "bin"), "HEARTBEAT_REQUIRE_SYSTEM": "", "PYTEST_ADDOPTS": ""}
    return run(
        TOOLS / "python", "-m", "pytest", "-p", "no:cacheprovider", *arguments, cwd=folder, environ=cleared | environ
    )


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A machine on which no Debian package is installed; a link in the folder installs one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "in-parallel"])
def test_a_test_without_its_package_is_left_out_aloud(tmp_path: Path, programs: Path, workers: list[str]) -> None:
    done = run_suite(tmp_path, *workers, environ={})
    assert done.returncode == 0, done.stdout
    assert "1 passed, 2 skipped" in done.stdout
    for package in ("prometheus", "buildah", "debootstrap"):
        line = f"LEFT OUT 1 test: needs the Debian package {package} (apt-get install {package})"
        assert line in done.stdout, done.stdout


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "in-parallel"])
def test_where_packages_are_required_a_test_left_out_fails_the_run(
    tmp_path: Path, programs: Path, workers: list[str]
) -> None:
    done = run_suite(tmp_path, *workers, environ={"HEARTBEAT_REQUIRE_SYSTEM": "1"})
    assert done.returncode == 1, done.stdout
    assert "FAILED: 2 left out, and here none may be" in done.stdout


def test_a_test_whose_package_is_there_runs(tmp_path: Path, programs: Path) -> None:
    for name in ("promtool", "buildah", "debootstrap"):
        (programs / name).symlink_to("/bin/true")
    done = run_suite(tmp_path, environ={"HEARTBEAT_REQUIRE_SYSTEM": "1"})
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def packages_of_ci() -> set[str]:
    text = (ROOT / ".ci" / "run").read_text()
    block = re.search(r"^packages=\((.*?)^\)", text, re.MULTILINE | re.DOTALL)
    assert block
    return {word for line in block[1].splitlines() for word in line.partition("#")[0].split()}


def test_ci_installs_every_package_that_a_test_needs() -> None:
    sources = [path.read_text() for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    marks = [mark for text in sources for mark in re.findall(r"mark\.system\(([^)]*)\)", text)]
    needed = {package for mark in marks for package in re.findall(r"""["']([^"']+)["']""", mark)}
    assert needed
    assert needed <= packages_of_ci()


@pytest.mark.parametrize("script", [".ci/run", ".ci/venv", ".ci/packages"])
def test_a_script_is_executable_and_parses(script: str) -> None:
    path = ROOT / script
    shell = path.read_text().splitlines()[0].split("/")[-1].split()[-1]
    assert os.access(path, os.X_OK)
    assert run(shell, "-n", path, cwd=ROOT).stdout == ""


def pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_locked_package_has_a_hash(path: Path) -> None:
    entries = re.split(r"\n(?=\S)", path.read_text().strip())
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_locks_agree_on_every_version() -> None:
    everything = pins(ROOT / "requirements/dev.txt")
    for path in LOCKS:
        if path.name != "bench.txt":  # SimpleMonitor has a virtual environment of its own
            assert pins(path).items() <= everything.items(), path.name


def declared() -> list[tuple[str, Requirement]]:
    """Return each requirement of pyproject.toml with the lock that has to satisfy it."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, extras, groups = (
        document["project"],
        document["project"]["optional-dependencies"],
        document["dependency-groups"],
    )
    wanted = {
        "run": [*project["dependencies"], *extras["dns"]],
        "bench": groups["bench"],
        "build": [*document["build-system"]["requires"], *groups["build"]],
        "dev": [
            *(line for extra in extras.values() for line in extra),
            *(line for line in groups["dev"] if isinstance(line, str)),
        ],
    }
    pairs = [(lock, Requirement(line)) for lock, lines in wanted.items() for line in lines]
    return [(lock, requirement) for lock, requirement in pairs if requirement.name != project["name"]]


@pytest.mark.parametrize(("lock", "requirement"), declared(), ids=str)
def test_the_lock_has_what_pyproject_asks_for(lock: str, requirement: Requirement) -> None:
    locked = {canonicalize_name(name): version for name, version in pins(ROOT / f"requirements/{lock}.txt").items()}
    version = locked.get(canonicalize_name(requirement.name))
    assert version is not None, "type: make lock"
    assert requirement.specifier.contains(version, prereleases=True), "type: make lock"


def test_make_help_tells_of_every_target() -> None:
    listed = set(re.findall(r"^make ([\w-]+) +\S", run("make", cwd=ROOT).stdout, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert listed == set(phony[1].split())

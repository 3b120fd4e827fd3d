"""The rules of the house, held against the tree."""

from __future__ import annotations

import ast
import importlib
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("heartbeat", "checks") for path in (ROOT / folder).rglob("*.py"))
TABLES = ("heartbeat/store/migrations/",)
"""Written once and never again: their length is that of the schema."""

CORE_MAY_IMPORT = {
    "__future__",
    "abc",
    "array",
    "base64",
    "bisect",
    "collections",
    "dataclasses",
    "enum",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "itertools",
    "json",
    "math",
    "operator",
    "re",
    "statistics",
    "string",
    "textwrap",
    "types",
    "typing",
    "unicodedata",
}
"""What holds and shapes data."""


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each function with its length in lines, its decorators not counted."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{named(path)}:{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_file_has_more_than_300_lines() -> None:
    lengths = {named(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_no_function_has_more_than_45_lines() -> None:
    lengths = dict(function for path in SOURCES if not named(path).startswith(TABLES) for function in functions(path))
    assert {name: length for name, length in lengths.items() if length > 45} == {}


def test_the_median_function_has_less_than_10_lines() -> None:
    assert statistics.median(length for path in SOURCES for _, length in functions(path)) < 10


def test_each_module_says_in_one_line_what_it_is_for() -> None:
    firsts = {
        named(path): (ast.get_docstring(ast.parse(path.read_bytes())) or "").partition("\n")[0] for path in SOURCES
    }
    assert [name for name, first in firsts.items() if not first.endswith((".", ":"))] == []


def is_face(path: Path) -> bool:
    """Tell whether the file only shows what others define."""
    kinds = {type(node) for node in ast.parse(path.read_bytes()).body}
    return path.name == "__init__.py" and ast.ImportFrom in kinds and not kinds & {ast.FunctionDef, ast.ClassDef}


FACES = [".".join(path.relative_to(ROOT).parent.parts) for path in SOURCES if is_face(path)]


@pytest.mark.parametrize("module", FACES)
def test_what_a_package_shows_is_what_it_declares(module: str) -> None:
    package = importlib.import_module(module)
    loaded = {name.rpartition(".")[2] for name in sys.modules if name.rpartition(".")[0] == module}
    shown = {name for name in vars(package) if not name.startswith("_")} - loaded - {"annotations"}
    declared = list(package.__all__)
    # Where a module and what it gives have one name (`heartbeat.http.engine`), the declared one is meant.
    assert shown | (loaded & set(declared)) == set(declared)
    assert len(declared) == len(set(declared))


def layers_of_the_contract() -> list[set[str]]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract.get("containers") == ["heartbeat"])
    return [set(re.findall(r"\w+", layer)) for layer in layers]


def test_the_readme_shows_the_layers_that_the_contract_holds() -> None:
    text = (ROOT / "heartbeat" / "README.md").read_text()
    shown = re.search(r"^<!-- layers -->\n```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert shown, "heartbeat/README.md has no block under <!-- layers -->, one layer a line"
    assert [set(re.findall(r"\w+", layer)) for layer in shown[1].splitlines()] == layers_of_the_contract()


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_bytes())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module or "." for node in nodes if isinstance(node, ast.ImportFrom)}


def test_the_core_imports_nothing_that_acts() -> None:
    # The contract in pyproject.toml names what is forbidden; this says what alone is allowed.
    for path in sorted((ROOT / "heartbeat/core").glob("*.py")):
        foreign = {name for name in imported(path) if not name.startswith("heartbeat.core")}
        assert {name.partition(".")[0] for name in foreign} <= CORE_MAY_IMPORT, named(path)


def kept_files() -> list[Path]:
    """Return every file that is or would be tracked."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    if listed.returncode:  # not a clone: an unpacked sdist
        return [path for path in ROOT.rglob("*") if path.is_file() and ".venv" not in path.parts]
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


REGISTRY = re.compile(
    r"https?://[^\s/\"']*(?:pypi|pythonhosted|npmjs|debian\.org|docker\.(?:io|com)|ghcr|quay|artifactory|nexus)"
    r"|--(?:extra-)?index-url|^(?:extra-)?index-url\s*=|PIP_(?:EXTRA_)?INDEX_URL",
    re.IGNORECASE | re.MULTILINE,
)


def test_no_file_says_where_packages_come_from() -> None:
    texts = {path: path.read_text(errors="replace") for path in kept_files() if path != Path(__file__)}
    assert len(texts) > 50
    assert {named(path): found[0] for path, text in texts.items() if (found := REGISTRY.search(text))} == {}


def test_no_folder_of_tests_is_a_package() -> None:
    # Tests of one name stand in many folders; as packages they would shadow one another and `checks`.
    assert [named(path) for path in (ROOT / "tests").rglob("__init__.py")] == []

"""No module of the daemon names a check type: what a type needs, the plugin contract offers to every plugin."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TYPES = {file.stem for file in (ROOT / "checks").glob("*.py") if not file.stem.startswith("_")}
PROTOCOLS = {"http", "dns", "tls", "tcp"}
"""Types that are called like a protocol, of which the daemon speaks for its own sake."""
NOT_THE_DAEMON = {"demo", "testing"}
FILES = [
    file
    for file in sorted((ROOT / "heartbeat").rglob("*.py"))
    if file.relative_to(ROOT / "heartbeat").parts[0] not in NOT_THE_DAEMON
]


def words_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield what a module says as a value: texts, but for the modes of ``compile``, and what it imports."""
    modes = {id(mode) for node in ast.walk(tree) for mode in mode_of(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in modes:
            yield node.lineno, node.value
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, (node.module or "")
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)


def mode_of(node: ast.AST) -> list[ast.expr]:
    """Return the mode that a call of ``compile`` is given."""
    is_compile = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "compile"
    return node.args[2:3] if is_compile else []  # type: ignore[attr-defined]  # it is a call


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_module_of_the_daemon_names_no_check_type(file: Path) -> None:
    named = [
        f"{file.relative_to(ROOT)}:{line} {word!r}"
        for line, word in words_of(ast.parse(file.read_text(encoding="utf-8")))
        if word in TYPES - PROTOCOLS or word.startswith("heartbeat_checks.bundled.")
    ]
    assert not named


def test_there_are_types_that_strain_the_contract() -> None:
    assert {"flow", "push", "exec", "script", "sql"} <= TYPES

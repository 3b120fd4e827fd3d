"""The files of a configuration: which there are, their text, and how several become one tree."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from heartbeat.config.document import FILE_BYTES, Node
from heartbeat.config.problem import Place, Problem, problem_at, quoted


def list_files(paths: Sequence[Path], problems: list[Problem]) -> tuple[Path, ...]:
    """Return the files that paths stand for, each once, in order."""
    files: dict[Path, None] = {}
    for path in paths:
        try:
            inside = _inside(path) if path.is_dir() else [path]
        except OSError as error:
            problems.append(problem_at(Place(path), "", f"cannot be read: {error.strerror}"))
            continue
        if not inside:
            problems.append(problem_at(Place(path), "", "has no *.yaml file in it"))
        files |= dict.fromkeys(inside)
    return tuple(files)


def _inside(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.suffix in (".yaml", ".yml") and not one.name.startswith("."))


def read_text(file: Path, problems: list[Problem]) -> str | None:
    """Return the text of a file, or None after noting why there is none."""
    problem = ""
    try:
        status = os.stat(file)  # noqa: PTH116 - a pipe must not be opened before it is known to be one
        if not stat.S_ISREG(status.st_mode):
            problem = "is no file"
        elif status.st_size > FILE_BYTES:
            problem = "is larger than 10 MiB"
        else:
            return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        problem = f"is no UTF-8 text (byte {error.start})"
    problems.append(problem_at(Place(file), "", problem))
    return None


def merge(trees: Sequence[Node], problems: list[Problem]) -> Node:
    """Merge top levels; mappings are merged key by key, and nothing may be said twice."""
    if len(trees) == 1:
        return trees[0]
    values: dict[str, Node] = {}
    keys: dict[str, Place] = {}
    for tree in trees:
        for key, child in tree.value.items():
            if key in values and isinstance(values[key].value, dict) and isinstance(child.value, dict):
                values[key] = _join(key, values[key], child, problems)
            elif key in values:
                _said_twice(key, key, tree.keys[key], keys[key], problems)
            else:
                values[key], keys[key] = child, tree.keys[key]
    return Node(values, trees[0].place, keys)


def _join(path: str, first: Node, second: Node, problems: list[Problem]) -> Node:
    for key in second.value.keys() & first.value.keys():
        _said_twice(f"{path}.{key}", key, second.keys[key], first.keys[key], problems)
    # the order is that of the files, and what was said first holds
    return Node(
        {**first.value, **second.value, **first.value}, first.place, {**first.keys, **second.keys, **first.keys}
    )


def _said_twice(path: str, key: str, here: Place, there: Place, problems: list[Problem]) -> None:
    problems.append(problem_at(here, path, f"{quoted(key)} is already there, at {there}"))

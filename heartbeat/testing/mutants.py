"""Mutants: mistakes made on purpose in the rules, one at a time, each of which some test has to notice.

``python -m heartbeat.testing.mutants`` makes copies of the tree, one for each worker, and never touches the tree
itself. The mutants stand in ``tests/mutants/*.toml``.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from time import monotonic

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests/mutants"
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "*.db", "*.db-*", "build", "dist", "results")
PATIENCE = 180.0
"""Seconds after which tests that hang have noticed the mutant, too."""
STORIES = "tests/stories/test_stories.py::test_it_goes_as_the_story_says"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake: ``old`` occurs exactly once in ``file`` and becomes ``new``; one of ``tests`` has to fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a mutant: ``killed``, ``survived`` or ``error``; ``by`` is the test that failed first."""

    mutant: Mutant
    word: str
    by: str
    seconds: float


def read_mutants(folder: Path = FOLDER) -> tuple[Mutant, ...]:
    """Return all mutants, in the order of their files. A file may say for all of its mutants what tests they meet."""
    found = []
    for path in sorted(folder.glob("*.toml")):
        whole = tomllib.loads(path.read_text())
        for entry in whole["mutant"]:
            tests = entry.pop("tests", whole.get("tests", [STORIES]))
            file = entry.pop("file", whole.get("file", ""))
            found.append(Mutant(**entry, file=file, tests=tuple(tests)))
    return tuple(found)


def find_fault(mutant: Mutant, root: Path = ROOT) -> str:
    """Return why a mutant does not fit the tree any more, or nothing."""
    path = root / mutant.file
    if not path.is_file():
        return f"there is no file {mutant.file}"
    count = path.read_text().count(mutant.old)
    if count != 1:
        return f"its old text occurs {count} times in {mutant.file}"
    missing = [test for test in mutant.tests if not (root / test.partition("::")[0]).exists()]
    if missing:
        return f"there are no tests {', '.join(missing)}"
    return _compile(path.read_text().replace(mutant.old, mutant.new))


def _compile(source: str) -> str:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError as error:
        return f"its new text is no Python: {error}"
    return ""


@dataclass(slots=True)
class Copy:
    """A copy of the tree in which one worker tries mutants, one after the other."""

    root: Path
    stamp: int = 0

    def run(self, tests: Sequence[str]) -> tuple[int, str]:
        """Run tests; return pytest's exit status and the first that failed."""
        flags = ["-x", "-q", "-p", "no:cacheprovider", "--no-header", "-p", "no:randomly", "--tb=no"]
        environ = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONPYCACHEPREFIX": str(self.root / ".pyc")}
        command = [sys.executable, "-m", "pytest", *flags, *tests]
        try:
            done = subprocess.run(  # noqa: S603 - ourselves
                command, cwd=self.root, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            return 1, "it hangs"
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
        return done.returncode, failed[1] if failed else done.stdout[-300:]

    def try_out(self, mutant: Mutant) -> Fate:
        """Make the mistake, run the tests, and take it back."""
        started = monotonic()
        if fault := find_fault(mutant, self.root):
            return Fate(mutant, "error", fault, 0.0)
        path = self.root / mutant.file
        source = path.read_text()
        self._write(path, source.replace(mutant.old, mutant.new))
        try:
            status, by = self.run(mutant.tests)
        finally:
            self._write(path, source)
        word = {0: "survived", 1: "killed", 2: "killed"}.get(status, "error")  # 2: it cannot even be imported
        return Fate(mutant, word, by if word != "survived" else "", monotonic() - started)

    def _write(self, path: Path, source: str) -> None:
        """Write a file with a time of its own: Python takes compiled code for that of a source of the same second."""
        path.write_text(source)
        self.stamp += 10
        os.utime(path, (1_000_000_000 + self.stamp,) * 2)


def try_all(mutants: Sequence[Mutant], workers: int) -> Iterator[Fate]:
    """Try mutants in copies of the tree, several at a time. Raises ``RuntimeError`` where tests fail without any."""
    with TemporaryDirectory(prefix="heartbeat-mutants-") as folder, ThreadPoolExecutor(workers) as pool:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(workers):
            root = Path(folder) / str(number)
            shutil.copytree(ROOT, root, ignore=NOT_COPIED)
            copies.put(Copy(root))

        def one(mutant: Mutant) -> Fate:
            copy = copies.get()
            try:
                return copy.try_out(mutant)
            finally:
                copies.put(copy)

        first = copies.get()
        status, by = first.run(sorted({test for mutant in mutants for test in mutant.tests}))
        copies.put(first)
        if status:
            raise RuntimeError(f"the tests do not pass as they are: {by}")
        yield from pool.map(one, mutants)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the mutants that are asked for, show what became of each, and return 1 if one survived."""
    parser = argparse.ArgumentParser(description="Make mistakes in a copy of the tree, and see that tests notice each.")
    parser.add_argument("words", nargs="*", help="only mutants whose name or file has one of these in it")
    parser.add_argument("--workers", type=int, default=2, help="how many at once (%(default)s)")
    parser.add_argument("--list", action="store_true", help="show them, and do nothing")
    given = parser.parse_args(arguments)
    wanted = [one for one in read_mutants() if _is_wanted(one, given.words)]
    if given.list:
        _print(f"{one.file}: {one.name}" for one in wanted)
        return 0
    try:
        fates = [_show(fate) for fate in try_all(wanted, given.workers)]
    except RuntimeError as error:
        _print([str(error)])
        return 2
    counts = {word: sum(fate.word == word for fate in fates) for word in ("killed", "survived", "error")}
    _print([", ".join(f"{count} {word}" for word, count in counts.items())])
    return int(counts["killed"] < len(fates))


def _is_wanted(mutant: Mutant, words: Sequence[str]) -> bool:
    return not words or any(word in mutant.name or word in mutant.file for word in words)


def _show(fate: Fate) -> Fate:
    _print([f"{fate.word:8} {fate.seconds:5.1f} s  {fate.mutant.file}: {fate.mutant.name}  {fate.by}".rstrip()])
    return fate


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)  # noqa: T201 - a command's output


if __name__ == "__main__":
    sys.exit(main())

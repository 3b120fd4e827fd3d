"""``python -m bench``: measure all figures, or some; compare two results; soak."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from bench import machine, results, soak
from bench.bench import QUICK, Bench, Lengths
from bench.figures import GROUPS
from bench.table import Row, notes, plain

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Read the command line and do it; return the exit status."""
    words = sys.argv[1:]
    if words[:1] == ["compare"]:
        return _compare([Path(word) for word in words[1:]])
    with tempfile.TemporaryDirectory(prefix="heartbeat-bench-") as scratch:
        if words[:1] == ["soak"]:
            return soak.main(words[1:], Path(scratch))
        return _measure(_arguments(words), Path(scratch))


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=GROUPS, metavar="NAME", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--quick", action="store_true", help="short windows and one round: to try the bench itself")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the results go")
    parser.add_argument("--readme", action="store_true", help="show the table in the README")
    return parser.parse_args(words)


def _measure(asked: argparse.Namespace, scratch: Path) -> int:
    refuse_without_programs()
    bench = Bench(scratch, QUICK if asked.quick else Lengths())
    rows: list[Row] = []
    for name in asked.only or GROUPS:
        bench.say(f"-- {name}")
        rows += GROUPS[name](bench)
    found = results.now(rows, monotonic() - bench.began)
    print(f"\n{results.setting(found)}\n\n{plain(rows)}\n\n{notes(rows)}\n")
    stem = "quick" if asked.quick else "part" if asked.only else f"{datetime.now(UTC):%Y-%m-%d}-{machine.kind()}"
    print(f"Written to {results.write(found, asked.results / stem)}")
    if asked.readme:
        results.show_in(machine.ROOT / "README.md", found)
    missed = [row.figure for row in rows if row.reached is False]
    print(f"Not reached: {'; '.join(missed)}" if missed else "Every figure is reached.")
    return 0


def refuse_without_programs() -> None:
    """End with what to type where a program is missing."""
    packages = {"nginx": "nginx-light", **{name: name for name in ("prometheus", "prometheus-blackbox-exporter")}}
    missing = [package for program, package in packages.items() if shutil.which(program) is None]
    if missing:
        raise SystemExit(f"Type this, then try again: sudo apt-get install --no-install-recommends {' '.join(missing)}")


def _compare(paths: Sequence[Path]) -> int:
    if len(paths) != 2:
        raise SystemExit("usage: python -m bench compare A.json B.json")
    print("\n".join(results.compare(*map(results.read, paths))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.figures import GROUPS

ROOT = Path(__file__).parents[2]


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *map(str, arguments)],
        cwd=ROOT,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.timeout(180)
@pytest.mark.system("nginx-light", "prometheus", "prometheus-blackbox-exporter")
def test_a_figure_is_measured_and_kept(tmp_path: Path) -> None:
    done = bench("--quick", "--only", "throughput", "--results", tmp_path)
    assert done.returncode == 0, done.stdout
    (row,) = json.loads((tmp_path / "quick.json").read_text())["rows"]
    assert row["key"] == "throughput"
    assert row["value"] > 0.2, done.stdout
    assert "nginx" in (tmp_path / "quick.md").read_text()
    assert bench("compare", tmp_path / "quick.json", tmp_path / "quick.json").stdout.split()[-1] == "0.0%"


@pytest.mark.timeout(180)
@pytest.mark.system("nginx-light")
def test_a_short_soak_tells_how_much_grew(tmp_path: Path) -> None:
    done = bench("soak", "--rate", "50", "--seconds", "4", "--step", "0.5", "--results", tmp_path)
    rows = json.loads((tmp_path / "quick-soak.json").read_text())["rows"]
    assert [row["key"] for row in rows] == ["soak.memory", "soak.descriptors", "soak.threads"]
    assert done.returncode == int(any(not row["reached"] for row in rows)), done.stdout


def test_an_unknown_figure_is_refused() -> None:
    done = bench("--only", "everything")
    assert done.returncode == 2
    assert all(name in done.stdout for name in GROUPS)

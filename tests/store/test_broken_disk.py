"""A disk that takes our bytes and fails to keep them: fsync says EIO, as strace lets it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from heartbeat.config.model import History
from heartbeat.core.model import Outcome, Reason, Result, Run, Severity, Verdict
from heartbeat.store import Entry, Store, StoreFailed

ROOT = Path(__file__).parents[2]
NOW = 1_800_000_000.0
FIRST, LAST = 20, 24
"""Which of the syncs fail; to open the store takes fewer."""


def failure(n: int) -> Entry:
    run = Run(f"run_{n}", "shop", NOW + n, 0, NOW + n, 10.0)
    verdict = Verdict(run, NOW + n, Outcome.FAIL, Severity.FAIL, Reason.TIMEOUT, "no answer")
    return Entry(run, Result(Outcome.FAIL, 1.0, Reason.TIMEOUT, "no answer"), verdict)


async def work(path: Path) -> dict[str, list[object]]:
    """Write until the disk has failed and is well again; return what was said of each entry, and what is there then."""
    store = await Store.open(path, history=History(), clock=lambda: NOW)
    said: list[object] = []
    for n in range(30):
        try:
            await (store.write(failure(n)) or asyncio.sleep(0))
            said.append(store.failing)
        except StoreFailed as error:
            said.append(f"{error}" if store.failing else "nobody is told")
    await store.close()
    store = await Store.open(path, history=History(), clock=lambda: NOW)
    there: list[object] = [one.run.id for one in await store.results("shop")]
    await store.close()
    return {"said": said, "there": there}


@pytest.mark.system("strace")
def test_a_sync_that_fails_confirms_nothing_is_said_and_gets_well_again(tmp_path: Path) -> None:
    inject = f"inject=fdatasync:error=EIO:when={FIRST}..{LAST}"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=fdatasync", "-e", inject, "-o", os.devnull,
         sys.executable, __file__, str(tmp_path / "heartbeat.db")],
        check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, timeout=40,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    failed = [n for n, sentence in enumerate(found["said"]) if sentence]
    assert failed, "no sync was made to fail"
    assert all("disk" in found["said"][n] for n in failed), found["said"]
    assert found["said"][-1] == ""
    assert {f"run_{n}" for n in range(30) if n not in failed} <= set(found["there"])


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(work(Path(sys.argv[1])))))

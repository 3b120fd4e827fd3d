"""The power fails: what was not synced is lost, or half of it is. The disk is rebuilt from what strace saw us write."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import Connection

from heartbeat.config.model import History
from heartbeat.core.model import (
    Address,
    Delivery,
    DeliveryState,
    Event,
    Kind,
    Outcome,
    Reason,
    Result,
    Run,
    Severity,
    Verdict,
)
from heartbeat.core.status import Incident, Status
from heartbeat.store import Entry, Store, writer
from heartbeat.store.files import pragma

ROOT = Path(__file__).parents[2]
NOW = 1_800_000_000.0
ENTRIES = 60
CUTS = 300
FEW = 100
OPENED = 15
"""How many of the cuts are opened by the store itself; the others by SQLite alone, which takes a tenth of the time."""
RANKS = {"pending": 0, "leased": 1, "acknowledged": 2}


# --- what is recorded: this file as a program of its own -------------------------------------------------------------


def transition(n: int) -> Entry:
    name = f"shop-{n}"
    run = Run(f"run_{n}", name, NOW + n, 0, NOW + n, 10.0)
    result = Result(Outcome.FAIL, 2.0, Reason.TIMEOUT, "no answer", evidence={"head": "x" * (n * 97 % 3000)})
    verdict = Verdict(run, NOW + n, Outcome.FAIL, Severity.FAIL, Reason.TIMEOUT, "no answer")
    event = Event(
        f"evt_{n}", Kind.RAISED, name, f"inc_{n}", 1, NOW + n, Severity.OK, Severity.FAIL, NOW + n, Reason.TIMEOUT,
        "no answer", (), run, result,
    )  # fmt: skip
    status = Status(fail=True, since=NOW + n, incident=Incident(event.incident, NOW + n, 1, NOW + n))
    ways = (Address("oncall", "oncall/webhook"), Address("oncall", "oncall/email", "a@example.com"))
    deliveries = tuple(Delivery(f"dlv_{n}_{number}", event, way) for number, way in enumerate(ways))
    return Entry(run, result, verdict, status, (event,), deliveries)


def steady(n: int) -> Entry:
    run = Run(f"run_steady_{n}", "steady", NOW + n, 0, NOW + n, 10.0)
    return Entry(run, Result(Outcome.OK, 0.1), Verdict(run, NOW + n, Outcome.OK, Severity.OK))


async def record(store: Store, marks: int, n: int, *, apart: bool) -> None:
    """Write one transition and carry its deliveries to their end; each mark says that a step is confirmed."""
    entry = transition(n)
    store.write(steady(n))
    if apart:
        await (store.write(replace(entry, deliveries=())) or asyncio.sleep(0))
    await (store.write(entry) or asyncio.sleep(0))
    os.write(marks, f"pending {n}\n".encode())
    for state in (DeliveryState.LEASED, DeliveryState.ACKNOWLEDGED)[: n % 3]:
        await store.settle(*(replace(one, state=state) for one in entry.deliveries))
        os.write(marks, f"{state} {n}\n".encode())


async def work(path: Path, sabotage: str) -> None:
    def careless(connection: Connection, words: str) -> str:
        return pragma(connection, re.sub("synchronous=.*", sabotage, words))

    if sabotage.startswith("synchronous="):
        vars(writer)["pragma"] = careless
    vars(writer)["LOG_BYTES"] = 300_000  # so that the log is carried over and begun anew many times
    marks = os.open(f"{path}.marks", os.O_WRONLY | os.O_CREAT)
    store = await Store.open(path, history=History(), clock=lambda: NOW)
    for start in range(0, ENTRIES, 3):
        await asyncio.gather(*(record(store, marks, n, apart=sabotage == "apart") for n in range(start, start + 3)))
    await store.close()


# --- what the disk was asked to do -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operation:
    """``name`` is that of the system call; a mark is a write to the file of marks."""

    name: str
    file: str
    data: bytes = b""
    offset: int = 0


CALL = re.compile(
    r"(?P<name>\w+)\((?:AT_FDCWD<[^>]*>, )?(?:\d+<(?P<open>[^>]*)>|\"(?P<path>[^\"]*)\")"
    r"(?:, \"(?P<data>[^\"]*)\"(?P<cut>\.\.\.)?)?(?P<rest>[^)]*)\) += (?P<result>-?\d+)"
)


def unhex(text: str | None) -> bytes:
    return bytes.fromhex((text or "").replace("\\x", ""))


def lines(trace: Path) -> Iterator[str]:
    """Put the calls together again that another thread has interrupted."""
    begun: dict[str, str] = {}
    for line in trace.read_text().splitlines():
        thread, _, text = line.partition(" ")
        text = text.strip()
        if text.endswith("<unfinished ...>"):
            begun[thread] = text.removesuffix("<unfinished ...>")
        elif found := re.match(r"<\.\.\. \w+ resumed>", text):
            yield begun.pop(thread) + text[found.end() :]
        else:
            yield text


def read_trace(trace: Path, path: Path) -> list[Operation]:
    """Return what was done to the store's files and its folder, in order; shared memory does not outlive the power."""
    found = []
    for line in lines(trace):
        call = CALL.match(line)
        if call is None or call["result"].startswith("-"):
            continue
        assert not call["cut"], "strace cut a write"
        file = os.fsdecode(unhex(call["open"] or call["path"]))
        if file == str(path.parent) or (
            file.startswith(str(path)) and not file.endswith(("-shm", ".lock", ".reserve"))
        ):
            numbers = [int(number) for number in re.findall(r"-?\d+", call["rest"])]
            found.append(Operation(call["name"], file, unhex(call["data"]), numbers[-1] if numbers else 0))
    return found


@dataclass
class Disk:
    """What is safe, what is only asked for, and which names the folder has: safely, and as it was asked for."""

    folder: str
    safe: defaultdict[str, bytearray] = field(default_factory=lambda: defaultdict(bytearray))
    asked: defaultdict[str, list[Operation]] = field(default_factory=lambda: defaultdict(list))
    safe_names: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    def do(self, operation: Operation) -> None:
        name, file = operation.name, operation.file
        if file == self.folder:
            self.safe_names = set(self.names) if "sync" in name else self.safe_names
        elif "sync" in name:
            for one in self.asked.pop(file, ()):
                apply(self.safe[file], one, one.offset, one.data)
        elif name == "unlink":
            self.names.discard(file)
        else:
            if file not in self.names:  # a new file under an old name
                self.safe.pop(file, None)
                self.asked.pop(file, None)
                self.names.add(file)
            if name != "openat":
                self.asked[file].append(operation)

    def after_power_loss(self, random: Random) -> dict[str, bytes]:
        """Return the files that are found afterwards: nothing, all, or any part of what was not synced is there."""
        share, sector = random.choice([0.0, 1.0, random.random()]), random.choice([512, 4096])
        files = {}
        for file in sorted(self.safe_names | self.names):
            is_safe = (file in self.safe_names) == (file in self.names)
            if not is_safe and (file in self.names) != (random.random() < share):
                continue
            content = bytearray(self.safe[file])
            for one in self.asked[file]:
                for start in range(0, max(1, len(one.data)), sector):
                    if random.random() < share:
                        apply(content, one, one.offset + start, one.data[start : start + sector])
            files[file] = bytes(content)
        return files


def apply(content: bytearray, operation: Operation, offset: int, data: bytes) -> None:
    if operation.name == "ftruncate":
        content[offset:] = bytes(max(0, offset - len(content)))
    else:
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data


# --- what is held to be true afterwards ------------------------------------------------------------------------------


def restore(files: dict[str, bytes], path: Path, folder: Path) -> Path:
    folder.mkdir()
    for file, content in files.items():
        (folder / Path(file).name).write_bytes(content)
    return folder / path.name


def problems(found: Path, confirmed: dict[int, str]) -> list[str]:
    """Say what is wrong with a store: it is damaged, lacks what was confirmed, or has half of a transition."""
    with closing(sqlite3.connect(found)) as store:
        if (said := store.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
            return [f"damaged: {said}"]
        if not store.execute("SELECT 1 FROM sqlite_master WHERE name = 'event'").fetchone():
            return ["everything is lost"] if confirmed else []
        events = {row[0] for row in store.execute("SELECT id FROM event")}
        statuses = {row[0] for row in store.execute("SELECT name FROM check_status")}
        results = {row[0] for row in store.execute('SELECT "check" FROM result WHERE failed')}
        states = defaultdict(list)
        for event, state in store.execute("SELECT event_id, state FROM delivery"):
            states[event].append(state)
    said_wrong = []
    for n in range(ENTRIES):
        parts = (f"evt_{n}" in events, len(states[f"evt_{n}"]) == 2, f"shop-{n}" in statuses, f"shop-{n}" in results)
        if len(set(parts)) > 1 or len(set(states[f"evt_{n}"])) > 1:
            said_wrong.append(f"half of {n} is there: {parts}, {states[f'evt_{n}']}")
        elif n in confirmed and not parts[0]:
            said_wrong.append(f"{n} is lost: {confirmed[n]} was confirmed")
        elif n in confirmed and RANKS[states[f"evt_{n}"][0]] < RANKS[confirmed[n]]:
            said_wrong.append(f"{n} is {states[f'evt_{n}'][0]} again: {confirmed[n]} was confirmed")
    return said_wrong


def trace_work(path: Path, sabotage: str = "") -> list[Operation]:
    trace = path.parent.with_name("trace")
    path.parent.mkdir()
    calls = "trace=openat,pwrite64,write,ftruncate,fsync,fdatasync,unlink"
    strace = ["strace", "-f", "--seccomp-bpf", "-y", "-xx", "-s", "100000", "-e", calls, "-e", "signal=none", "-o"]
    subprocess.run(
        [*strace, str(trace), sys.executable, __file__, str(path), sabotage],
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=40,
    )
    return read_trace(trace, path)


def crashes(
    operations: list[Operation], path: Path, seed: int, most: int = CUTS
) -> Iterator[tuple[dict[str, bytes], dict[int, str]]]:
    """Yield what is on the disk after the power fails at some of the operations, and what was confirmed by then."""
    random = Random(seed)
    begins = next(n for n, one in enumerate(operations) if one.file.endswith(".db"))
    cuts = set(random.sample(range(begins, len(operations)), min(most, len(operations) - begins)))
    disk, confirmed = Disk(str(path.parent)), dict[int, str]()
    for number, operation in enumerate(operations):
        if operation.file.endswith(".marks"):
            if operation.name == "write":
                state, n = operation.data.decode().split()
                confirmed[int(n)] = state
        else:
            disk.do(operation)
        if number in cuts:
            yield disk.after_power_loss(random), dict(confirmed)


@pytest.mark.system("strace")
async def test_after_a_power_loss_all_that_was_confirmed_is_there_and_no_half_of_a_transition(tmp_path: Path) -> None:
    path = tmp_path / "disk" / "heartbeat.db"
    operations = trace_work(path)
    synced = [one.file for one in operations if "sync" in one.name]
    assert synced.count(f"{path}-wal") > ENTRIES
    assert synced.count(str(path)) > 10, "the log was never carried over"
    looked = 0
    for number, (files, confirmed) in enumerate(crashes(operations, path, seed=1)):
        found = restore(files, path, tmp_path / str(number))
        if number % (CUTS // OPENED) == 0:
            store = await Store.open(found, history=History(), clock=lambda: NOW)
            past = await store.load()
            await store.close()
            assert past.unreadable == ()
        assert problems(found, confirmed) == [], number
        looked += bool(confirmed)
    assert looked > CUTS / 2


@pytest.mark.system("strace")
@pytest.mark.parametrize(
    ("sabotage", "found"),
    [("synchronous=OFF", "lost|damaged"), ("synchronous=NORMAL", "lost"), ("apart", "half")],
)
def test_this_test_finds_what_it_looks_for(tmp_path: Path, sabotage: str, found: str) -> None:
    path = tmp_path / "disk" / "heartbeat.db"
    operations = trace_work(path, sabotage)
    said = [
        problem
        for number, (files, confirmed) in enumerate(crashes(operations, path, seed=2, most=FEW))
        for problem in problems_or_damage(restore(files, path, tmp_path / str(number)), confirmed)
    ]
    assert any(re.search(found, problem) for problem in said), said[:10]


def problems_or_damage(found: Path, confirmed: dict[int, str]) -> list[str]:
    try:
        return problems(found, confirmed)
    except sqlite3.DatabaseError as error:
        return [f"damaged: {error}"]


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2]))

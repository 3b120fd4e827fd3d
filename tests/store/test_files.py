# ruff: noqa: ASYNC220, ASYNC240 - a test may wait for its own child and its own files
from __future__ import annotations

import os
import select
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from heartbeat.config.model import History
from heartbeat.store import Store, StoreError
from heartbeat.store import files as files_module

Opener = Callable[..., Awaitable[Any]]

HOLD = """
import asyncio, sys
from pathlib import Path
from heartbeat.config.model import History
from heartbeat.store import Store
async def main():
    store = await Store.open(Path(sys.argv[1]), history=History(), clock=lambda: 1.0)
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await store.close()
asyncio.run(main())
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_folder_and_files_are_for_their_owner_only(opened: Opener, path: Path, make: Any) -> None:
    store = await opened()
    await store.write(make.raised(1))
    assert mode(path.parent) == 0o700
    assert {file.name: mode(file) for file in path.parent.iterdir()} == dict.fromkeys(
        ("heartbeat.db", "heartbeat.db-wal", "heartbeat.db-shm", "heartbeat.db.lock", "heartbeat.db.reserve"), 0o600
    )


async def test_a_second_daemon_is_refused_and_told_who_is_first(path: Path, clock: Any) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        while "open" not in first.stdout.readline():
            assert select.select([first.stdout], [], [], 30)[0]
        with pytest.raises(StoreError, match=rf"in use by the process {first.pid}\b"):
            await Store.open(path, history=History(), clock=clock)
        first.stdin.close()
        assert first.wait(30) == 0
    second = await Store.open(path, history=History(), clock=clock)
    assert second.boot == 2
    await second.close()


async def test_a_second_opener_in_the_same_process_is_refused(store: Any, opened: Opener) -> None:
    with pytest.raises(StoreError, match="in use"):
        await opened()


async def test_a_refused_opening_lets_go_of_the_lock(path: Path, opened: Opener) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database, but it is long enough to be looked at" * 100)
    for _ in range(2):
        with pytest.raises(StoreError, match="no SQLite database"):
            await opened()
    path.unlink()
    assert (await opened()).boot == 1


async def test_a_file_that_is_no_database_is_left_as_it_is(path: Path, opened: Opener) -> None:
    path.parent.mkdir()
    path.write_text("precious notes " * 500)
    with pytest.raises(StoreError, match=str(path)):
        await opened()
    assert path.read_text() == "precious notes " * 500


async def test_a_damaged_store_is_refused_with_its_name_and_what_to_do(
    store: Any, path: Path, opened: Opener, make: Any
) -> None:
    for n in range(400):
        store.write(make.steady(n, f"check-{n}"))
    await store.close()
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 8192] = b"\xff" * 8192
    path.write_bytes(whole)
    with pytest.raises(StoreError, match=rf"{path} .*damaged.*backup"):
        await opened()
    assert path.read_bytes() == whole


async def test_a_store_cut_short_is_refused(store: Any, path: Path, opened: Opener, make: Any) -> None:
    for n in range(400):
        store.write(make.steady(n, f"check-{n}"))
    await store.close()
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(StoreError, match="damaged"):
        await opened()


async def test_an_emptied_store_beside_its_log_is_refused_and_the_log_kept(path: Path, opened: Opener) -> None:
    path.parent.mkdir()
    path.touch()
    Path(f"{path}-wal").write_bytes(b"frames")
    with pytest.raises(StoreError, match=r"is empty but its log .* is not"):
        await opened()
    assert Path(f"{path}-wal").read_bytes() == b"frames"


async def test_an_empty_file_is_a_new_store(path: Path, opened: Opener) -> None:
    path.parent.mkdir()
    path.touch()
    assert (await opened()).boot == 1


async def test_the_database_of_another_program_is_refused_and_not_changed(path: Path, opened: Opener) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE customer (name TEXT)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="of another program"):
        await opened()
    assert path.read_bytes() == before


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Act as nobody where the tests run as root, who may write anywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.fixture
def bare_folder() -> Iterator[Path]:
    """A folder that anybody may enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="heartbeat-test-", dir="/tmp"))
    yield folder
    folder.chmod(0o700)
    shutil.rmtree(folder)


async def test_a_folder_that_cannot_be_written_is_named(
    bare_folder: Path, clock: Any, request: pytest.FixtureRequest
) -> None:
    bare_folder.chmod(0o555)
    request.getfixturevalue("unprivileged")
    for path in (bare_folder / "heartbeat.db", bare_folder / "deeper" / "heartbeat.db"):
        with pytest.raises(StoreError, match=rf"{path} cannot be written \(Permission denied\).*let this user"):
            await Store.open(path, history=History(), clock=clock)


async def test_a_folder_that_is_a_file_is_named(tmp_path: Path, clock: Any) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        await Store.open(tmp_path / "file" / "heartbeat.db", history=History(), clock=clock)


async def test_a_store_that_is_a_folder_is_refused(tmp_path: Path, clock: Any) -> None:
    with pytest.raises(StoreError, match=r"cannot be written \(Is a directory\)"):
        await Store.open(tmp_path, history=History(), clock=clock)


async def test_a_name_that_a_uri_would_misread_is_taken_literally(tmp_path: Path, clock: Any, make: Any) -> None:
    path = tmp_path / "what?mode=rw#%20 is.db"
    store: Any = await Store.open(path, history=History(), clock=clock)
    await store.write(make.raised(1))
    assert len(await store.events()) == 1
    await store.close()
    assert path.stat().st_size > 0


@pytest.mark.parametrize(
    ("mounted", "kind"),
    [
        ("/srv rw - nfs4 host:/x rw", "nfs4"),
        ("/srv rw - ext4 /dev/sda rw", ""),
        ("/srv/store rw - ext4 /dev/sdb rw\n29 1 0:1 / /srv rw - nfs4 host:/x rw", ""),
        ("/srv/with\\040space rw - nfs host:/x rw", ""),
    ],
)
def test_network_file_systems_are_told_by_the_mount_that_is_nearest(tmp_path: Path, mounted: str, kind: str) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(f"21 1 8:1 / / rw shared:1 - ext4 /dev/sda rw\n28 1 0:1 / {mounted}\n")
    assert files_module._remote_kind(Path("/srv/store/heartbeat.db"), table) == kind


def test_a_system_without_a_mount_table_has_no_network_file_systems_known(tmp_path: Path) -> None:
    assert files_module._remote_kind(Path("/srv/x.db"), tmp_path / "none") == ""


async def test_a_store_on_a_network_file_system_is_refused(
    path: Path, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "_remote_kind", lambda *_: "nfs4")
    with pytest.raises(StoreError, match=r"network file system \(nfs4\)"):
        await opened()
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("version", "bad"),
    [((3, 40, 1), True), ((3, 44, 5), True), ((3, 44, 6), False), ((3, 45, 0), True), ((3, 50, 6), True),
     ((3, 50, 7), False), ((3, 51, 2), True), ((3, 51, 3), False), ((3, 53, 0), False)],
)  # fmt: skip
def test_versions_with_the_reset_bug(version: tuple[int, ...], bad: bool) -> None:
    assert files_module.has_reset_bug(version) is bad

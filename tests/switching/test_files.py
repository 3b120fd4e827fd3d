from __future__ import annotations

import os
from pathlib import Path
from threading import Event

import pytest

from heartbeat.core.switches import NEITHER, Found, InFile
from heartbeat.pool import Pool
from heartbeat.switching import files as files_module
from heartbeat.switching.files import Look, ask_files, look_at_files
from heartbeat.switching.helper import Helper
from heartbeat.testing.bench import until


def look(file: InFile, seen: dict[InFile, Look] | None = None) -> Found | None:
    """Look once; None where it is as it was."""
    seen = {} if seen is None else seen
    found = look_at_files({file: seen.get(file)})
    seen.update(found)
    return found[file].said if file in found else None


def age(path: Path, seconds: float = 10.0) -> None:
    """Let a file look as if it was written a while ago."""
    at = path.stat().st_mtime - seconds
    os.utime(path, (at, at))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"on\n", True),
        (b"\xef\xbb\xbfOff # until the move", False),
        (b"", "it is empty"),
        (b"\xff\xfe", NEITHER),
        (b"hunter2", NEITHER),
        (b" " * 5000 + b"off", "it is empty"),
    ],
)
def test_a_file_says_it_by_its_first_word(tmp_path: Path, content: bytes, said: Found) -> None:
    path = tmp_path / "canary"
    path.write_bytes(content)
    assert look(InFile(str(path))) == said


def test_a_file_that_is_not_there_or_is_none_says_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert look(InFile(str(tmp_path / "gone"))) == "it cannot be read: No such file or directory"
    assert look(InFile(str(tmp_path))) == "it is no file"
    assert look(InFile(str(tmp_path / "pipe"))) == "it is no file"  # and nobody waits for its other end
    (tmp_path / "loop").symlink_to("loop")
    assert look(InFile(str(tmp_path / "loop"))) == "it cannot be read: Too many levels of symbolic links"


@pytest.mark.parametrize("exists", [True, False])
def test_a_file_that_has_to_be_there_or_must_not(tmp_path: Path, exists: bool) -> None:
    path, seen = tmp_path / "canary", dict[InFile, Look]()
    file = InFile(str(path), exists)
    assert look(file, seen) is not exists
    path.touch()
    assert look(file, seen) is exists
    path.unlink()
    assert look(file, seen) is not exists
    assert look(InFile(str(path / "below"), exists)) is not exists
    (tmp_path / "loop").symlink_to("loop")
    assert look(InFile(str(tmp_path / "loop"), exists)) == "it cannot be read: Too many levels of symbolic links"


def test_a_file_that_looks_the_same_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "canary", dict[InFile, Look]()
    path.write_text("off")
    age(path)
    assert look(InFile(str(path)), seen) is False
    monkeypatch.setattr(files_module, "_read", lambda *_: pytest.fail("it was read again"))
    assert look(InFile(str(path)), seen) is None


def test_a_change_within_a_tick_of_the_files_clock_is_seen(tmp_path: Path) -> None:
    path, seen = tmp_path / "canary", dict[InFile, Look]()
    path.write_text("on ")
    status = path.stat()
    assert look(InFile(str(path)), seen) is True
    with path.open("r+") as opened:
        opened.write("off")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as if it had been the same moment
    assert look(InFile(str(path)), seen) is False


def test_a_file_whose_content_is_put_back_after_a_while_is_seen(tmp_path: Path) -> None:
    path, seen = tmp_path / "canary", dict[InFile, Look]()
    for content in ("on", "no", "on"):
        path.write_text(content)
        age(path)
        assert look(InFile(str(path)), seen) is (content == "on")


def test_a_volume_of_kubernetes_and_a_file_put_in_its_place_are_seen(tmp_path: Path) -> None:
    file, seen = InFile(str(tmp_path / "canary")), dict[InFile, Look]()
    (tmp_path / "canary").symlink_to("..data/canary")
    for number, content in enumerate(("on", "no", "on")):
        folder = tmp_path / f"..{number}"
        folder.mkdir()
        (folder / "canary").write_text(content)
        age(folder / "canary", 10.0 + number)
        (tmp_path / "..next").symlink_to(folder.name)
        (tmp_path / "..next").rename(tmp_path / "..data")
        assert look(file, seen) is (content == "on")
        assert look(file, seen) is None
    (tmp_path / "new").write_text("no")
    age(tmp_path / "new")
    (tmp_path / "new").rename(tmp_path / "canary")
    assert look(file, seen) is False


async def test_files_are_asked_in_a_thread_and_not_those_that_look_the_same(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(3)]
    files = [InFile(str(path)) for path in paths]
    for path in paths[:2]:
        path.write_text("off")
    helper, seen = Helper(Pool()), dict[InFile, Look]()
    gone = "it cannot be read: No such file or directory"
    assert await ask_files(helper, files, seen) == {files[0]: False, files[1]: False, files[2]: gone}
    for path in paths[:2]:
        age(path)
    assert await ask_files(helper, files, seen) == {files[0]: False, files[1]: False, files[2]: gone}
    assert await ask_files(helper, files, seen) == {files[2]: gone}
    paths[2].write_text("on")
    assert await ask_files(helper, files, seen) == {files[2]: True}


async def test_a_file_system_that_hangs_holds_nobody_and_is_asked_once_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, pool = Event(), Pool()
    monkeypatch.setattr(files_module, "look_at_files", lambda _: hanging.wait(10) and {})
    helper, file, seen = Helper(pool, 0.05), InFile(str(tmp_path / "x")), dict[InFile, Look]()
    try:
        assert await ask_files(helper, [file], seen) == {file: "it could not be looked at within 0.05 s"}
        assert (helper.is_free, pool.stuck) == (False, 1)
    finally:
        hanging.set()
    await until(lambda: helper.is_free)
    assert pool.stuck == 0


async def test_where_no_thread_is_free_nothing_is_learned() -> None:
    pool, hanging = Pool(threads=1), Event()
    call = pool.submit(lambda: hanging.wait(10))
    assert await ask_files(Helper(pool), [InFile("/nowhere")], {}) == {}
    hanging.set()
    await call.ended

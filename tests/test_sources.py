from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from threading import Event

import pytest

from heartbeat import http
from heartbeat import sources as sources_module
from heartbeat.config.model import Config
from heartbeat.core.switches import NEITHER, OFF, AtUrl, Found, InFile, InFlag, Switch
from heartbeat.pool import Pool
from heartbeat.redaction import Redactor
from heartbeat.sources import Helper, Look, Page, ask_files, ask_once, fetch_page, look_at_files
from heartbeat.testing.bench import NOON, a_check, until
from heartbeat.testing.http import Behaviour, answer, in_turn, redirect, refusing_port, serve, silent


@pytest.fixture(autouse=True)
async def engine() -> AsyncIterator[None]:
    yield
    http.close()


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


# Files


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
    monkeypatch.setattr(sources_module, "_read", lambda *_: pytest.fail("it was read again"))
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


async def test_files_are_asked_in_a_thread_and_only_news_come_back(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(3)]
    files = [InFile(str(path)) for path in paths]
    for path in paths[:2]:
        path.write_text("off")
    helper, seen = Helper(Pool()), dict[InFile, Look]()
    gone = "it cannot be read: No such file or directory"
    assert await ask_files(helper, files, seen) == {files[0]: False, files[1]: False, files[2]: gone}
    assert await ask_files(helper, files, seen) == {}
    paths[2].write_text("on")
    assert await ask_files(helper, files, seen) == {files[2]: True}


async def test_a_file_system_that_hangs_holds_nobody_and_is_asked_once_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, pool = Event(), Pool()
    monkeypatch.setattr(sources_module, "TIMEOUT", 0.05)
    monkeypatch.setattr(sources_module, "look_at_files", lambda _: hanging.wait(10) and {})
    helper, file, seen = Helper(pool), InFile(str(tmp_path / "x")), dict[InFile, Look]()
    monkeypatch.setattr(Helper.run, "__defaults__", (0.05,))
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


# Addresses


async def ask(behave: Behaviour, *paths: str, headers: tuple[tuple[str, str], ...] = ()) -> list[Found]:
    async with serve(behave) as server:
        asked = [AtUrl(server.url, headers, path) for path in paths]
        found = await fetch_page(Page(server.url, headers), asked, 0.5)
        assert len(server.requests) <= 1
        return [found[one] for one in asked]


@pytest.mark.parametrize(
    ("body", "path", "said"),
    [
        (b"on", "", True),
        (b"off\n", "", False),
        (b"true", "", True),
        (b"<html>", "", NEITHER),
        (b"", "", "it is empty"),
        (b'{"a": false}', "$.a", False),
        (b'{"a": "off"}', "$.a", False),
        (b'{"a": {"b": [true]}}', "$.a.b[0]", True),
        (b'{"a": 1}', "$.a", True),
        (b'{"a": null}', "$.a", f"at $.a {NEITHER}"),
        (b"{}", "$.a", "there is nothing at $.a"),
        (b"[true, true]", "$[*]", "there is more than one value at $[*]"),
        (b"<html>", "$.a", "its answer is no JSON"),
        (b"[" * 100_000, "$.a", "its answer is no JSON"),
        (b"[" * 200 + b"]" * 200, "$..a", "there is nothing at $..a"),
    ],
)
async def test_an_answer_says_it(body: bytes, path: str, said: Found) -> None:
    assert await ask(answer(200, body=body), path) == [said]


async def test_many_values_of_one_address_are_one_request() -> None:
    body = b"{" + b",".join(b'"%d": %s' % (n, b"true" if n % 2 else b"false") for n in range(120)) + b"}"
    found = await ask(answer(200, body=body), *(f"$['{n}']" for n in range(120)))
    assert found == [bool(n % 2) for n in range(120)]


@pytest.mark.parametrize(
    ("behave", "said"),
    [
        (answer(503, body=b"on"), "it answers 503"),
        (answer(404), "it answers 404"),
        (redirect("/elsewhere"), "it answers 302"),
        (answer(200, body=b"on" + b" " * 300_000), "its answer is longer than 256 KiB"),
    ],
)
async def test_what_is_no_answer_says_nothing(behave: Behaviour, said: str) -> None:
    assert await ask(behave, "") == [said]


async def test_who_does_not_answer_says_nothing_in_a_sentence_without_the_address() -> None:
    (said,) = await ask(silent, "")
    assert isinstance(said, str)
    assert "within 500 ms" in said or "timed out" in said or "0.5" in said
    with refusing_port() as port:
        url = f"http://127.0.0.1:{port}/flags?token=swordfish"
        found = await fetch_page(Page(url, ()), [AtUrl(url)])
    assert "swordfish" not in str(found[AtUrl(url)])
    assert "refused" in str(found[AtUrl(url)])


async def test_an_address_of_a_clouds_secrets_is_not_asked() -> None:
    url = "http://169.254.169.254/latest"
    found = await fetch_page(Page(url, ()), [AtUrl(url)], 1.0)
    assert "link-local" in str(found[AtUrl(url)])


async def test_headers_are_sent() -> None:
    async with serve(answer(200, body=b"on")) as server:
        page = Page(server.url, (("Authorization", "Bearer swordfish"),))
        await fetch_page(page, [AtUrl(server.url, page.headers)])
    assert server.requests[0].headers["authorization"] == "Bearer swordfish"


# All at once


async def test_all_switches_of_a_configuration_are_asked_once(tmp_path: Path) -> None:
    (tmp_path / "off").write_text("off")
    config = Config((), Path("x.db"), Path("x.sock"), {}, {}, Redactor())
    async with serve(in_turn(answer(200, body=b'{"a": true, "b": false}'), answer(500))) as server:
        checks = [
            a_check("plain"),
            a_check("never", enabled=OFF),
            a_check("file", enabled=Switch(InFile(str(tmp_path / "off")))),
            a_check("gone", enabled=Switch(InFile(str(tmp_path / "gone")))),
            a_check("gone-off", enabled=Switch(InFile(str(tmp_path / "gone")), default=False)),
            a_check("a", enabled=Switch(AtUrl(server.url, json="$.a"))),
            a_check("b", enabled=Switch(AtUrl(server.url, json="$.b"))),
            a_check("flag", enabled=Switch(InFlag("x"), default=False)),
        ]
        off = await ask_once(config, checks, Pool(), NOON)
    assert len(server.requests) == 1
    assert set(off) == {"never", "file", "gone-off", "b", "flag"}
    assert off["file"].say() == f"switched off by the file {tmp_path}/off"
    assert off["gone-off"].say().startswith("switched off by default: the file ")

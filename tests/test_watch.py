from __future__ import annotations

import os
from pathlib import Path

import pytest

from heartbeat.watch import Watch, look_at


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write(tmp_path / "config.yaml", "checks: {}")


def test_what_stays_looks_the_same(config: Path) -> None:
    assert look_at([config]) == look_at([config])


def test_another_content_looks_different(config: Path) -> None:
    before = look_at([config])
    config.write_text("checks: {} # more")
    assert look_at([config]) != before


def test_another_file_of_the_same_size_and_time_looks_different(config: Path, tmp_path: Path) -> None:
    before, times = look_at([config]), config.stat()
    draft = write(tmp_path / "draft", "checks: []")
    os.utime(draft, ns=(times.st_atime_ns, times.st_mtime_ns))
    draft.replace(config)
    assert look_at([config]) != before


def test_a_configmap_that_kubernetes_swaps_looks_different(tmp_path: Path) -> None:
    for number in (1, 2):
        write(tmp_path / f"..{number}" / "config.yaml", "checks: {}")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "config.yaml").symlink_to("..data/config.yaml")
    paths = [tmp_path / "config.yaml"], [tmp_path]
    before = [look_at(path) for path in paths]
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    assert all(look_at(path) != seen for path, seen in zip(paths, before, strict=True))


def test_a_new_file_in_a_folder_and_a_lost_one_look_different(tmp_path: Path) -> None:
    folder = tmp_path / "checks.d"
    folder.mkdir()
    empty = look_at([folder])
    plugin = write(folder / "queue.py", "x")
    one = look_at([folder])
    assert one != empty
    plugin.unlink()
    assert look_at([folder]) != one


def test_what_is_no_configuration_and_no_plugin_is_overlooked(tmp_path: Path) -> None:
    write(tmp_path / "config.yaml", "x")
    before = look_at([tmp_path])
    write(tmp_path / "heartbeat.db-wal", "x")
    write(tmp_path / ".config.yaml.swp", "x")
    assert look_at([tmp_path]) == before


def test_a_missing_file_is_part_of_the_picture(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    missing = look_at([secret])
    assert missing == look_at([secret])
    write(secret, "hunter2")
    there = look_at([secret])
    assert there != missing
    secret.unlink()
    assert look_at([secret]) == missing


def test_a_link_to_nowhere_is_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").symlink_to("nowhere")
    assert look_at([tmp_path]) == ((str(tmp_path / "config.yaml"), 0, 0, 0),)


def test_news_are_told_when_a_file_has_stopped_changing(config: Path) -> None:
    watch = Watch([config])
    assert not watch.has_news()
    config.write_text("a")
    assert not watch.has_news()
    config.write_text("ab")
    assert not watch.has_news()
    assert watch.has_news()
    watch.begin()
    watch.end([config])
    assert not watch.has_news()
    assert not watch.has_news()


def test_a_change_that_was_taken_back_is_no_news(config: Path) -> None:
    watch = Watch([config])
    times = config.stat()
    config.write_text("a")
    assert not watch.has_news()
    config.write_text("checks: {}")
    os.utime(config, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not watch.has_news()
    assert not watch.has_news()


def test_what_changes_while_it_is_loaded_is_loaded_again(config: Path) -> None:
    watch = Watch([config])
    watch.begin()
    config.write_text("newer than what was read")
    watch.end([config])
    assert watch.has_news()


def test_what_could_not_be_loaded_is_not_tried_again_until_it_changes(config: Path, tmp_path: Path) -> None:
    watch = Watch([config])
    watch.begin()
    watch.end([config, tmp_path / "secret"])
    assert not watch.has_news()
    assert not watch.has_news()
    write(tmp_path / "secret", "hunter2")
    assert not watch.has_news()
    assert watch.has_news()

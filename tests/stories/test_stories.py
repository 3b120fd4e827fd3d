from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from heartbeat.core.script import parse_script
from heartbeat.testing.stories import find_stories, read_story, tell

STORIES = find_stories()


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_it_goes_as_the_story_says(path: Path) -> None:
    story = read_story(path)
    assert story.fragment.startswith("# "), "a story says in its first line what it is about"
    assert "".join(f"{line}\n" for line in tell(story)) == story.shown


def messages(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if line[8:].startswith("  -> ")]


def outlives_restarts(path: Path) -> bool:
    """Say whether a story is the same with restarts in it, to the second.

    A second look that was due comes at once after a restart, not when it was due. A storm stands in memory alone, and
    is found again: who is told of it may hear of its end at another second.
    """
    return path.stem != "storm" and "recheck:" not in read_story(path).fragment


@pytest.mark.parametrize("path", [path for path in STORIES if outlives_restarts(path)], ids=lambda path: path.stem)
def test_a_restart_after_each_word_changes_no_message(path: Path) -> None:
    story = read_story(path)
    (restart,) = parse_script("restart")
    acts = [one for act in parse_script(story.script) for one in (act, restart)]
    assert messages(tell(story, acts)) == messages(story.shown.splitlines())

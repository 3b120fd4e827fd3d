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


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_a_restart_after_each_word_changes_no_message(path: Path) -> None:
    story = read_story(path)
    if "recheck:" in story.fragment:
        pytest.skip("a second look that is due ends with the daemon; the next slot is what comes after it")
    if path.stem == "storm":
        pytest.skip("a storm stands in memory alone: who is told of it may hear of its end at another second")
    (restart,) = parse_script("restart")
    acts = [one for act in parse_script(story.script) for one in (act, restart)]
    assert messages(tell(story, acts)) == messages(story.shown.splitlines())

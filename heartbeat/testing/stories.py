"""Stories: what a simulation shows of a fragment of a configuration and a script, written down in a file.

Such a file has three parts with a line ``---`` between them: the fragment, the script about its first check, and what
is shown. ``python -m heartbeat.testing.stories`` writes the last part anew; read what changed before you commit it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from heartbeat.config import Config, ConfigError
from heartbeat.config.fragment import complete
from heartbeat.core.script import Act, parse_script
from heartbeat.core.transcript import text_of
from heartbeat.simulation import Simulation

FOLDER = Path(__file__).parents[2] / "tests/stories"
RULE = "---\n"


@dataclass(frozen=True, slots=True)
class Story:
    """A story: what there is, what happens, and what is shown of it."""

    fragment: str
    script: str
    shown: str

    @property
    def text(self) -> str:
        """The whole of the file."""
        return RULE.join((self.fragment, self.script, self.shown))


def read_story(path: Path) -> Story:
    """Return the story of a file; what it shows may be missing still."""
    fragment, script, shown = (path.read_text(encoding="utf-8") + RULE * 2).split(RULE)[:3]
    return Story(fragment, script, shown)


def find_stories(folder: Path = FOLDER) -> tuple[Path, ...]:
    """Return the files of all stories."""
    return tuple(sorted(folder.glob("*.txt")))


def tell(story: Story, acts: Sequence[Act] = ()) -> Iterator[str]:
    """Yield the lines that a simulation shows of a story, or of other acts in it."""
    config = _config(story.fragment)
    simulation = Simulation(config, next(iter(config.checks)))
    yield from text_of(simulation.play(acts or parse_script(story.script)))


@cache
def _config(fragment: str) -> Config:
    return complete(fragment)


def main() -> int:
    """Write anew what is shown of all stories. Returns 1 where one cannot be told."""
    worst = 0
    for path in find_stories():
        story = read_story(path)
        try:
            shown = "".join(f"{line}\n" for line in tell(story))
        except (ConfigError, ValueError) as error:
            print(f"{path.name}: {error}", file=sys.stderr)  # noqa: T201 - a command's output
            worst = 1
            continue
        if shown != story.shown:
            path.write_text(Story(story.fragment, story.script, shown).text, encoding="utf-8")
            print(f"written anew: {path.name}")  # noqa: T201 - a command's output
    return worst


if __name__ == "__main__":
    sys.exit(main())

"""Dependencies: whether what a check depends on explains its trouble, and how checks are related.

What a check depends on suppresses alerts, never runs, and openings, never endings. Only a failure that a policy admits
explains anything; nobody waits for one longer than its patience, so that no alert can get lost here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from heartbeat.core.standing import NO_WAIT, Standing, Wait, wait_for_itself
from heartbeat.core.times import readable

Find = Callable[[str], Standing | None]
"""Returns how a check stands, by name."""
Parents = Mapping[str, tuple[str, ...]]
"""The names that each check depends on."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """When a check was first seen bad, and from when on others' patience counts (seconds since the epoch)."""

    since: float
    opened: float


def find_cause(child: Standing, trouble: Trouble, find: Find, now: float) -> Wait:
    """Return why the trouble of a check is not told, as far as what it depends on is the reason.

    A parent that was well since ends its way up. One of which nothing is known does not: what it depends on itself
    may explain it. A parent of which nobody hears explains nothing: no trouble may go untold for it.
    """
    sentences: list[str] = []
    looks: list[str] = []
    known, ahead = {child.name}, list(child.parents)
    while ahead:
        name = ahead.pop(0)
        parent = None if name in known else find(name)
        known.add(name)
        if parent is None:
            continue
        if not parent.is_told:
            ahead += parent.parents
            continue
        if parent.failing_since is not None and parent.is_sound:
            return Wait(f"it depends on {name}, which has been failing since {readable(parent.failing_since)}")
        wait = _wait_for(parent, child, trouble, now)
        sentences += [wait.sentence] if wait.sentence else []
        looks += wait.looks
        if not _was_well(parent, trouble.since):
            ahead += parent.parents
    return Wait(sentences[0], tuple(looks)) if sentences else NO_WAIT


def _was_well(parent: Standing, since: float) -> bool:
    return parent.is_sound and parent.was_seen(since) and not parent.is_bad


def _wait_for(parent: Standing, child: Standing, trouble: Trouble, now: float) -> Wait:
    if _was_well(parent, trouble.since):
        well_since = parent.settled_at
        if well_since is None or well_since <= trouble.since:
            return NO_WAIT
        what = f"it depends on {parent.name}, which is well again since {readable(well_since)}"
        return wait_for_itself(child, well_since, max(well_since, trouble.opened), now, what)
    if now >= trouble.opened + parent.patience:
        return NO_WAIT
    if parent.is_sound and parent.was_seen(trouble.since):
        return Wait(f"it depends on {parent.name}, which seems to fail, too: it waits for what comes of that")
    return Wait(f"it waits for a look at {parent.name}, which it depends on", (parent.name,))


def find_children(parents: Parents) -> dict[str, tuple[str, ...]]:
    """Return the names of the checks that depend on each, in the order of the configuration."""
    children: defaultdict[str, list[str]] = defaultdict(list)
    for name, above in parents.items():
        for parent in above:
            children[parent].append(name)
    return {name: tuple(below) for name, below in children.items()}


def descend(name: str, children: Parents) -> Iterator[str]:
    """Yield all checks that depend on one, over however many others, each once, the nearest first."""
    known, ahead = {name}, [name]
    for one in ahead:
        for child in children.get(one, ()):
            if child not in known:
                known.add(child)
                ahead.append(child)
                yield child


def find_units(parents: Parents, families: Mapping[str, str]) -> dict[str, str]:
    """Return for each check that is related to others a name for all of them together.

    Related are those with a common ancestor in ``parents``, and those that were written as one (``families``: the name
    that was written, by name). A check that is missing in the answer is related to none.
    """
    over: dict[str, str] = {}

    def top(name: str) -> str:
        while (above := over.get(name, name)) != name:
            over[name] = over.get(above, above)
            name = above
        return name

    for name, others in _ties(parents, families):
        for other in others:
            over[top(name)] = top(other)
    return {name: top(name) for name in {*over, *over.values()}}


def _ties(parents: Parents, families: Mapping[str, str]) -> Iterator[tuple[str, Iterable[str]]]:
    yield from ((name, above) for name, above in parents.items() if above)
    yield from ((name, (f"{family}.*",)) for name, family in families.items() if family)  # no check is called so


def find_cycle(parents: Parents) -> tuple[str, ...]:
    """Return checks that depend on one another in a circle, the first one again at the end; nothing where none do."""
    done: set[str] = set()
    for start in parents:
        path: dict[str, Iterator[str]] = {}
        here = start
        while here not in done:
            path.setdefault(here, iter(parents.get(here, ())))
            following = next(path[here], None)
            if following in path:
                names = list(path)
                return (*names[names.index(following) :], following)
            if following is None:
                done.add(here)
                del path[here]
                here = next(reversed(path), start)
            elif following not in done:
                here = following
    return ()

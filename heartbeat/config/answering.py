"""The child's side of ``child``: it reads a configuration and answers with frames."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from heartbeat.collection import no_collection
from heartbeat.config.plan import Draft, digest
from heartbeat.config.problem import ConfigError
from heartbeat.config.process import HEAD, framed
from heartbeat.config.reader import read
from heartbeat.plugins import Source

BATCH = 50
"""Checks in one frame, so that unpickling one does not hold the loop."""


def main() -> None:
    """Read the configuration named on the command line and answer over the pipe: what the child runs."""
    _, _, descriptor, *paths = sys.argv
    os.set_inheritable(int(descriptor), False)
    known = _read_known()
    with suppress(BrokenPipeError), os.fdopen(int(descriptor), "wb") as pipe, no_collection():
        answer([Path(one) for one in paths], known, pipe)


def _read_known() -> dict[str, bytes]:
    """Read what the parent knows already, frames of names and digests; no plugin gets to see where it comes from."""
    known: dict[str, bytes] = {}
    with os.fdopen(0, "rb") as pipe:
        while head := pipe.read(HEAD):
            known.update(pickle.loads(pipe.read(int.from_bytes(head))))  # noqa: S301 - from our own parent
    os.open(os.devnull, os.O_RDONLY)  # takes the number 0, the lowest that is free
    return known


def answer(paths: Sequence[Path], known: Mapping[str, bytes], pipe: BinaryIO) -> None:
    """Read a configuration and write the frames; of the checks those only that are new or not as they are known."""

    def send(word: str, payload: Any) -> None:
        pipe.write(framed((word, payload)))
        pipe.flush()

    def loading(source: Source) -> None:
        send("loading", source.origin)

    try:
        plan = read(paths, os.environ, loading)
    except ConfigError as error:
        send("problems", (error.problems, error.files))
        return
    send("plan", replace(plan, checks=[]))
    send("gone", list(known.keys() - {draft.name for draft in plan.checks}))
    news = [sent for draft in plan.checks if known.get(draft.name) != (sent := _as_sent(draft)).digest]
    for start in range(0, len(news), BATCH):
        send("checks", news[start : start + BATCH])
    send("end", None)


def _as_sent(draft: Draft) -> Draft:
    return replace(draft, model=None, digest=digest(draft))

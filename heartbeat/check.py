"""The plugin contract: a check is a frozen pydantic model whose fields are its options, with one method that runs.

Errors a plugin raises on purpose:

    CheckFailed   the target is bad
    CheckBroken   the check is bad (its options, its account, its resources)

Everything else that a plugin lets through is sorted by one table, in ``faults``.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from heartbeat.core.model import BROKEN_REASONS, TARGET_REASONS, Reason


class CheckFailed(Exception):  # noqa: N818 - the word of the domain; "Error" would say that the check is at fault
    """The target is bad.

    Args:
        sentence: what is wrong, in one sentence that someone just woken understands.
        reason: one of the reasons for a bad target, as a word (``"content"``, ``"absent"``, ...).
        expected: what should have been seen.
        observed: what was seen instead.
    """

    allowed: ClassVar[frozenset[Reason]] = TARGET_REASONS

    def __init__(
        self, sentence: str, *, reason: str = "content", expected: object = None, observed: object = None
    ) -> None:
        super().__init__(sentence)
        if reason not in self.allowed:
            raise ValueError(f"{reason!r} is no reason here; use one of {', '.join(sorted(self.allowed))}")
        self.sentence = str(sentence)  # people write CheckFailed(error)
        self.reason = Reason(reason)
        self.expected = None if expected is None else str(expected)
        self.observed = None if observed is None else str(observed)


class CheckBroken(CheckFailed):
    """The check is bad, not the target: wrong options, a locked account, no resources."""

    allowed = BROKEN_REASONS

    def __init__(
        self, sentence: str, *, reason: str = "plugin", expected: object = None, observed: object = None
    ) -> None:
        super().__init__(sentence, reason=reason, expected=expected, observed=observed)


class Check(BaseModel):
    """One check type. Its fields are the options, its docstring is the documentation.

    A plugin writes ``async def run(self, probe)`` or a plain ``def run(self, probe)``, which then runs in a bounded
    pool of threads. It returns None when the round trip was true, and raises otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @abstractmethod
    def run(self, probe: Any) -> Any:
        """Do one round trip. Raises ``CheckFailed`` where the target is bad, ``CheckBroken`` where the check is."""
        raise NotImplementedError

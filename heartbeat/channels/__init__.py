"""Ways out: the contract of a channel, and what a failed attempt says. One file per kind."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from heartbeat.check import Duration
from heartbeat.core.batch import Batch

SLOW_RETRY = 600.0
"""Seconds to wait after an answer that only a person can change: a wrong password, an address that must not send."""

NOT_TRIED = "nothing could be tried without telling somebody"
"""The only step towards a receiver that nobody can come nearer without a message."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A message ready to leave."""

    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Departure:
    """What crosses to the receiver in one attempt, for people who want to see it before it does.

    Attributes:
        to: where it goes, in one line: a method and a URL, an envelope, a program.
        body: the very bytes.
        headers: what goes with them: of a request its own headers, of a program its variables.
        hidden: what of all this is secret, and must not be shown.
    """

    to: str = field(repr=False)
    body: bytes = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    hidden: tuple[str, ...] = field(default=(), repr=False)


class DeliveryFailed(Exception):  # noqa: N818 - the word of the domain, beside CheckFailed
    """An attempt was not acknowledged.

    ``permanent`` says that trying again cannot help. ``retry_after`` is the least number of seconds that the receiver
    asked us to wait. ``ambiguous`` says that the receiver may have the message: the same bytes are sent again, where
    otherwise a message is made anew that tells what has happened since.
    """

    def __init__(
        self, sentence: str, *, permanent: bool = False, retry_after: float | None = None, ambiguous: bool = False
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.permanent = permanent
        self.retry_after = retry_after
        self.ambiguous = ambiguous


class Channel(BaseModel):
    """One way out: a frozen model whose fields are its options. ``render`` is pure; ``send`` is the last hop."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    kind: ClassVar[str]
    name: str = ""
    """Needed only where a receiver has two channels of a kind."""
    timeout: Duration = Field(default=30.0, gt=0, le=300)
    """Seconds for one attempt, from the connection to the receiver's answer."""

    def recipients(self) -> tuple[str, ...]:
        """Return the recipients that are tracked one by one; a single empty one where the channel is the recipient."""
        return ("",)

    @abstractmethod
    def render(self, batch: Batch, at: float) -> Rendered:
        """Turn a batch into the message as it reads at a time: pure, the same bytes for the same arguments."""

    @abstractmethod
    async def send(self, batch: Batch, message: Rendered) -> str:
        """Hand the message over; return the receiver's answer. Raises ``DeliveryFailed``."""

    def departure(self, batch: Batch, message: Rendered) -> Departure:
        """Return what ``send`` would hand over now, without doing so."""
        return Departure(batch.address.recipient or self.kind, message.body, message.headers)

    async def reach(self) -> tuple[str, ...]:
        """Go as far towards the receiver as is possible without telling anybody, and return the steps that were made.

        Raises ``DeliveryFailed`` with a sentence on the step that failed.
        """
        return (NOT_TRIED,)

    async def aclose(self) -> None:
        """Let go of what is kept open between messages. The channel can be used again."""
        return


class ForPeople(Channel):
    """A channel that people read: what comes up together travels in one message, and there is a cap on how many.

    Its ``render`` gets batches of one delivery or more; ``core.batch.stories`` sorts them by incident.
    """

    group_wait: Duration = Field(default=10.0, ge=0, le=3600)
    """Seconds that a first piece of news waits for others, so that they travel in one message."""
    max_per_hour: int = Field(default=30, ge=1, le=3600)
    """Messages to one recipient within an hour; what comes up beyond that is told together in the next one."""

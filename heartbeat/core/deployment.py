"""Deployments as data: what is being rolled out, which checks it concerns, and what began after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, ClassVar

from heartbeat.core.quiet import OVER, Matcher, QuietKind
from heartbeat.core.times import lasting, readable

RELATED = 3600.0
"""How many seconds after its end what begins is still told together with a deployment."""
ABANDONED = 86_400.0
"""Seconds after which one that nobody finished counts as ended."""
EVERYTHING = Matcher(("*",))
"""What a deployment concerns that does not say what: all but the daemon's checks of itself."""


class DeploymentState(StrEnum):
    """How it stands, or how it ended; the word in the store, in metrics and in the API."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    """The next one of the same name began before this one was finished."""
    ABANDONED = "abandoned"
    """Nobody said for a day that it is finished."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment; its times are wall-clock times, in seconds since the epoch.

    Attributes:
        id: names it in the store and in the API.
        name: what is deployed.
        version: which version of it, as whoever deploys calls it; may be empty.
        owner: who deploys.
        matcher: which checks it concerns.
        start: when it began.
        hold: until when messages about them are kept back, at most; None where they are not.
        state: how it stands.
        ended: when it was over.
        released: since when it keeps nothing back any more.
    """

    kind: ClassVar[QuietKind] = QuietKind.DEPLOYMENT

    id: str
    name: str
    version: str
    owner: str
    matcher: Matcher
    start: float
    hold: float | None = None
    state: DeploymentState = DeploymentState.RUNNING
    ended: float | None = None
    released: float | None = None

    @property
    def title(self) -> str:
        """What it is called in a sentence."""
        return f"deployment {self.version} of {self.name}" if self.version else f"a deployment of {self.name}"

    def until(self, now: float) -> float:
        """Return until when it keeps messages back, and ``OVER`` where it does not."""
        return self.hold if self.hold is not None and self.released is None and now < self.hold else OVER

    @property
    def is_holding(self) -> bool:
        """Say whether it keeps messages back, as far as nobody looked at the time."""
        return self.hold is not None and self.released is None

    def say(self) -> str:
        """Return why nobody is told while it holds."""
        until = "" if self.hold is None else f", until {readable(self.hold)} at most"
        return f"held during {self.title} by {self.owner}{until}"

    def explains(self, since: float) -> bool:
        """Say whether what began then began while it went on, or soon after."""
        latest = self.start + ABANDONED if self.ended is None else self.ended
        return self.start <= since <= latest + RELATED


def finish(deployment: Deployment, state: DeploymentState, now: float) -> Deployment:
    """Return a deployment that is over. What it holds it goes on holding until it is released."""
    return replace(deployment, state=state, ended=now)


def release(deployment: Deployment, now: float) -> Deployment:
    """Return a deployment that keeps nothing back any more."""
    return replace(deployment, released=now)


def latest_before(deployments: Iterable[Deployment], since: float) -> Deployment | None:
    """Return the deployment after which something began: of several the one that began last."""
    return max((one for one in deployments if one.explains(since)), key=lambda one: one.start, default=None)


def context_of(deployment: Deployment) -> dict[str, Any]:
    """Return what an event keeps of a deployment, for its messages."""
    return {
        "id": deployment.id,
        "name": deployment.name,
        "version": deployment.version,
        "by": deployment.owner,
        "start": deployment.start,
        "state": deployment.state.value,
    }


def began_after(context: Mapping[str, Any], since: float) -> str:
    """Say how long after a deployment something began: ``began 3 min after deployment 4f2c of shop``."""
    name, version = context.get("name", ""), context.get("version", "")
    title = f"deployment {version} of {name}" if version else f"a deployment of {name}"
    how = {"running": ", which is under way", "failed": ", which failed"}.get(context.get("state", ""), "")
    return f"began {lasting(since - context.get('start', since))} after {title}{how}"

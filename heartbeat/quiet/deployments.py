"""The deployments that matter now: those under way, and the latest of those that are over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from heartbeat.config.model import CheckConfig
from heartbeat.core.deployment import Deployment, DeploymentState, context_of, latest_before
from heartbeat.core.quiet import covers

KNOWN = 100
"""How many are known at most, the latest."""
SHOWN = 50
"""Of how many names the metrics show the latest deployment, at most."""


class Deployments:
    """What was marked as a deployment. Belongs to the main thread."""

    def __init__(self) -> None:
        self.known: dict[str, Deployment] = {}
        """By id, the oldest first."""

    def put(self, deployment: Deployment) -> None:
        """Take in a deployment, or what has become of it; beyond those that are known the oldest is let go of."""
        self.known[deployment.id] = deployment
        while len(self.known) > KNOWN:
            over = (one.id for one in self.known.values() if one.state is not DeploymentState.RUNNING)
            del self.known[next(over, next(iter(self.known)))]

    def running(self, name: str = "") -> list[Deployment]:
        """Return those under way, of one name or of all; the latest last."""
        under_way = (one for one in self.known.values() if one.state is DeploymentState.RUNNING)
        return [one for one in under_way if name in ("", one.name)]

    def holding(self) -> Iterable[Deployment]:
        """Return those that keep messages back."""
        return (one for one in self.known.values() if one.is_holding)

    def context(self, check: CheckConfig, since: float) -> dict[str, Any]:
        """Return what a message on a check has to say of the deployment after which its trouble began."""
        if not self.known:  # nearly always
            return {}
        concerned = (one for one in self.known.values() if is_concerned(check, one))
        found = latest_before(concerned, since)
        return {"deployment": context_of(found)} if found else {}

    def latest(self) -> list[Deployment]:
        """Return the latest deployment of each name, of the names that were deployed last."""
        by_name = {one.name: one for one in sorted(self.known.values(), key=lambda one: one.start)}
        return sorted(by_name.values(), key=lambda one: one.start)[::-1][:SHOWN]


def is_concerned(check: CheckConfig, deployment: Deployment) -> bool:
    """Say whether a deployment concerns a check."""
    return covers(deployment.matcher, check.name, check.type, check.labels, check.tags)

"""What is done about deployments: marked, finished, looked after until they are over, recalled at the start.

A mark is recorded before it is confirmed; where the store fails it holds in memory all the same, and the answer says
so. When a deployment is over the checks that it concerns run at once, and only then what it held is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from os import urandom
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict

from heartbeat.config.problem import quoted
from heartbeat.control import Refused
from heartbeat.core.deployment import ABANDONED, EVERYTHING, Deployment, DeploymentState, finish, release
from heartbeat.core.quiet import LABEL_NAME, PATTERN, Matcher
from heartbeat.core.text import plain
from heartbeat.core.times import readable
from heartbeat.core.units import format_duration, parse_duration
from heartbeat.dispatch import Dispatch
from heartbeat.orders.asking import NAME, read
from heartbeat.quiet.deployments import KNOWN, Deployments, is_concerned
from heartbeat.quiet.times import Quiet
from heartbeat.store import StoreFailed
from heartbeat.store.deployments import load
from heartbeat.web.deployments import describe_deployment

log = structlog.get_logger()

HOLD_MOST = 86_400.0
"""The longest that a deployment may keep messages back, in seconds."""
LOOKS_WITHIN = 120.0
"""Seconds after its end within which the checks that it concerns are to have run; then what it held is told anyhow."""
AT_ONCE = 20
"""How many of them run at once."""
RUN_AT_MOST = 1000
"""How many of them run out of turn; the rest runs at its slots."""
BUSY = 0.2
"""Seconds after which a check that is at work is asked again: that run may have begun before the end."""
Answer = dict[str, Any]


class Start(BaseModel):
    """The body of a request that marks the start; ``hold`` is written like 10m."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str = ""
    by: str = ""
    hold: str = ""
    checks: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    tags: tuple[str, ...] = ()


class Finish(BaseModel):
    """The body of a request that marks the end."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    failed: bool = False
    by: str = ""


@dataclass(slots=True)
class Deploying:
    """Takes marks, one method for each, and sees to what follows from them."""

    dispatch: Dispatch
    quiet: Quiet
    redact: Callable[[str], str] = str
    unrecorded: dict[str, Deployment] = field(default_factory=dict)
    """What the store could not take, by id."""

    @property
    def deployments(self) -> Deployments:
        """Those that matter now."""
        return self.quiet.deployments

    @property
    def now(self) -> float:
        """The time on the daemon's clock."""
        return self.dispatch.line.clock.now()

    async def recall(self) -> None:
        """Take over what was marked in an earlier life of the daemon; what was over holds nothing any more."""
        for one in await self.dispatch.line.store.ask(partial(load, limit=KNOWN)):
            is_over = one.is_holding and one.state is not DeploymentState.RUNNING
            self.quiet.mark(release(one, self.now) if is_over else one)

    async def start_deployment(self, _: str, body: object, by: str = "") -> Answer:
        """Mark that a deployment begins; one of the same name that nobody finished is over by that."""
        self._refuse_at_the_end()
        now, asked = self.now, read(Start, body)
        new = replace(self._deployment(asked, now), owner=self._who(asked.by, by))
        for old in self.deployments.running(new.name):
            self._record_soon(self._put(release(finish(old, DeploymentState.SUPERSEDED, now), now)))
        self._put(new)
        names = self._concerned(new)
        log.info("deployment", deployment=new.id, name=new.name, version=new.version or None, by=new.owner,
                 concerns=str(new.matcher), hold=asked.hold or None)  # fmt: skip
        held = f"; nobody is told of them until it is over, at most until {readable(new.hold)}" if new.hold else ""
        return await self._answer(new, f"{new.title} began; it concerns {_count(names)}{held}")

    async def finish_deployment(self, name: str, body: object, by: str = "") -> Answer:
        """Mark that a deployment is over, run what it concerns, and tell then what it held and still fails."""
        self._refuse_at_the_end()
        asked = read(Finish, body)
        found = [one for one in self.deployments.running() if name in (one.name, one.id)]
        if not found:
            raise Refused(
                f"no deployment {quoted(name)} is under way; heartbeat deployment list shows them", status=404
            )
        state = DeploymentState.FAILED if asked.failed else DeploymentState.FINISHED
        over = self._put(finish(found[-1], state, self.now))
        names = self._concerned(over)
        log.info("deployment_over", deployment=over.id, name=over.name, state=state.value, by=self._who(asked.by, by))
        self.dispatch.spawn(self._see_out(over, names), over.id)
        runs = f"; {_count(names[:RUN_AT_MOST])} {'runs' if len(names) == 1 else 'run'} now" if names else ""
        return await self._answer(over, f"{over.title} {state.value}{runs}")

    def tick(self) -> None:
        """Let go of what has come to its end; called once a second."""
        now = self.now
        for one in list(self.deployments.known.values()):
            if one.state is DeploymentState.RUNNING and now >= one.start + ABANDONED:
                log.warning("nobody finished this deployment", deployment=one.id, name=one.name)
                self._record_soon(self._put(release(finish(one, DeploymentState.ABANDONED, now), now)))
            elif one.is_holding and not one.until(now):
                self._record_soon(self._put(release(one, now)))
        if self.unrecorded and not self.dispatch.line.store.failing:
            for one in list(self.unrecorded.values()):
                self._record_soon(one)

    # --- how that is done ----------------------------------------------------------------------------------------

    async def _see_out(self, over: Deployment, names: list[str]) -> None:
        """Run what a deployment concerns, and then tell what it held."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOKS_WITHIN):
                waiting = iter(names[:RUN_AT_MOST])
                await asyncio.gather(*(self._run(waiting) for _ in range(min(AT_ONCE, len(names)))))
        latest = self.deployments.known.get(over.id, over)
        if latest.is_holding:
            await self._record(self._put(release(latest, self.now)))

    async def _run(self, names: Any) -> None:
        for name in names:
            while not (self.quiet.is_disabled(name) or self.dispatch.line.closing.is_set()):
                live = self.dispatch.state.checks.get(name)
                if live is None or await self.dispatch.run_now(live) is not None:
                    break
                await asyncio.sleep(BUSY)

    def _concerned(self, deployment: Deployment) -> list[str]:
        return [name for name, live in self.dispatch.state.checks.items() if is_concerned(live.config, deployment)]

    def _deployment(self, asked: Start, now: float) -> Deployment:
        if not NAME.fullmatch(asked.name):
            raise Refused(f"{quoted(asked.name)} is no name: use letters, digits, _ . - (at most 100)", status=400)
        if plain(asked.version, 80) != asked.version:
            raise Refused("the version must be one line of at most 80 characters", status=400)
        version = self.redact(asked.version)
        hold = now + _hold(asked.hold) if asked.hold else None
        return Deployment(f"dep_{urandom(5).hex()}", asked.name, version, "", _matcher(asked), now, hold)

    def _who(self, said: str, known: str) -> str:
        """Return who it is: as they say, and by which token they are known."""
        said = plain(self.redact(said), 100)
        if not (said or known):
            raise Refused("it must be known who deploys: --by NAME", status=400)
        return f"{said} (token {known})" if said and known else said or f"token {known}"

    def _refuse_at_the_end(self) -> None:
        if self.dispatch.line.closing.is_set():
            raise Refused("the daemon is stopping")

    def _put(self, deployment: Deployment) -> Deployment:
        self.quiet.mark(deployment)
        return deployment

    async def _answer(self, deployment: Deployment, message: str) -> Answer:
        warning = await self._record(deployment)
        return {"message": message, "warning": warning, "deployment": describe_deployment(deployment, self.redact)}

    async def _record(self, deployment: Deployment) -> str:
        self.unrecorded.pop(deployment.id, None)
        try:
            await self.dispatch.line.store.mark(deployment)
        except StoreFailed as error:
            self.unrecorded[deployment.id] = self.deployments.known.get(deployment.id, deployment)
            log.error("not recorded", deployment=deployment.id, error=str(error))
            return f"it is marked in memory only, and forgotten if the daemon ends before this is over: {error}"
        return ""

    def _record_soon(self, deployment: Deployment) -> None:
        self.unrecorded.pop(deployment.id, None)
        self.dispatch.spawn(self._record(deployment), deployment.id)


def _hold(written: str) -> float:
    try:
        seconds = parse_duration(written)
    except ValueError as error:
        raise Refused(f"hold {error}, such as 10m", status=400) from None
    if not 0 < seconds <= HOLD_MOST:
        raise Refused(f"hold must be longer than nothing and at most {format_duration(HOLD_MOST)}", status=400)
    return seconds


def _matcher(asked: Start) -> Matcher:
    for pattern in (*asked.checks, *asked.tags):
        if not PATTERN.fullmatch(pattern):
            raise Refused(f"{quoted(pattern)} is no pattern: use letters, digits, _ . - and * for anything", status=400)
    for name, value in asked.labels.items():
        if not LABEL_NAME.fullmatch(name) or not value or plain(value, 200) != value:
            raise Refused(f"{quoted(f'{name}={value}')} is no label: write it like team=shop", status=400)
    matcher = Matcher(asked.checks, (), tuple(asked.labels.items()), asked.tags)
    return EVERYTHING if matcher.is_empty else matcher


def _count(names: list[str]) -> str:
    return "1 check" if len(names) == 1 else f"{len(names)} checks"

"""One daemon with its targets and receivers: killed as often as asked for, and then left alone until all is told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx

from heartbeat.crash import POINTS
from heartbeat.testing.soak.facts import Facts, Sample, read_facts, sample
from heartbeat.testing.soak.journal import Journal
from heartbeat.testing.soak.life import CRASHED, Life, SoakFailed
from heartbeat.testing.soak.receivers import MAILS, POSTS, Mood, Target, mail_server, web_server

CHECKS = 12
RECIPIENTS = ("a@example.com", "b@example.com")
WAYS = ("steady", "moody", *(f"mail {recipient}" for recipient in RECIPIENTS))
SETTLES_WITHIN = 150.0
SAMPLE_EVERY = 10
DURING_START = 0.15
"""The share of kills that do not wait until the daemon serves."""
AT_A_POINT = 0.25
"""The share of lives that end at a named point of the code, if they come to it."""


@dataclass(slots=True)
class Score:
    """How the lives ended. ``samples`` are looks at the store between two of them."""

    during_start: int = 0
    at_a_point: int = 0
    kills: int = 0
    faults: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)


@dataclass(slots=True)
class World:
    """One daemon's surroundings. All that is random follows from the seed."""

    folder: Path
    random: Random
    journal: Journal
    target: Target
    moods: dict[str, Mood]
    web: int = 0
    mail: int = 0
    score: Score = field(default_factory=Score)

    @property
    def config(self) -> Path:
        """The daemon's configuration."""
        return self.folder / "config.yaml"

    @property
    def store(self) -> Path:
        """The daemon's store."""
        return self.folder / "heartbeat.db"

    def write_config(self, timeout: str) -> None:
        """Write the configuration; another timeout makes other channels, which are tried at once after a reload."""
        hook, to = f"http://127.0.0.1:{self.web}/hook", ", ".join(RECIPIENTS)
        checks = "\n".join(
            f'  check-{n:02}: {{http: {{url: "http://127.0.0.1:{self.web}/target/{n}"}}}}' for n in range(1, CHECKS + 1)
        )
        self.config.write_text(f"""
store: sqlite:///{self.store}
web: {{listen: 127.0.0.1:0}}
log: {{format: json, level: info}}
grace: 5s
receivers:
  oncall:
    - webhook: {{name: steady, url: "{hook}/steady", timeout: {timeout}}}
    - webhook: {{name: moody, url: "{hook}/moody", timeout: {timeout}}}
    - email: {{name: mail, to: [{to}], from: hb@example.com, server: "smtp://127.0.0.1:{self.mail}", tls: none,
              timeout: {timeout}, group_wait: 500ms, max_per_hour: 3600}}
  fallback:
    - webhook: {{name: spare, url: "{hook}/spare"}}
self_notify: [oncall]
defaults: {{every: 1s, timeout: 1s, policy: {{raise: 1, clear: 1, remind: never, flapping: never}}, notify: [oncall]}}
checks:
{checks}
""")


@asynccontextmanager
async def opened(folder: Path, seed: int) -> AsyncIterator[World]:
    """Serve what a daemon needs."""
    random, hooks, mails, turns = (Random(seed + number) for number in range(4))  # noqa: S311 - to be repeated
    well = Mood(random, POSTS, healthy=True)
    moods = {"steady": well, "spare": well, "moody": Mood(hooks, POSTS), "mail": Mood(mails, MAILS)}
    journal = Journal()
    world = World(folder, random, journal, Target(turns), moods)
    async with AsyncExitStack() as stack:
        world.web = await stack.enter_async_context(web_server(journal, world.moods, world.target))
        world.mail = await stack.enter_async_context(mail_server(journal, moods["mail"], "mail"))
        world.write_config("1500ms")
        yield world


async def torment(world: World, kills: int) -> None:
    """Start the daemon and kill it, so many times. Raises ``SoakFailed`` where it does not come up again."""
    for number in range(kills):
        await live(world)
        if number % SAMPLE_EVERY == SAMPLE_EVERY - 1 and (found := await asyncio.to_thread(sample, world.store)):
            world.score.samples.append(found)


async def live(world: World) -> None:
    """Let the daemon live for a moment."""
    random, score = world.random, world.score
    point = f"{random.choice(POINTS)}:{random.randint(1, 3)}" if random.random() < AT_A_POINT else ""
    starting, early, late = random.random() < DURING_START, random.uniform(0.05, 1.5), random.uniform(0.0, 1.5)
    life = await Life.begin(world.config, point)
    try:
        if not starting:
            await life.serves()
        code = await life.kill(early if starting else late)
    finally:
        if life.process.returncode is None:
            await life.kill()
    score.kills += 1
    score.during_start += not life.serving.result()
    score.at_a_point += code == CRASHED
    score.faults += life.faults


async def settle(world: World) -> Facts:
    """Let all be well and all be told, and return what the store says then. Raises ``SoakFailed``."""
    world.target.healthy = True
    for mood in world.moods.values():
        mood.healthy = True
    life = await Life.begin(world.config)
    try:
        page = await life.serves()
        world.write_config("5s")  # in place: what waits for a mended receiver is tried at once
        await _until_quiet(page)
        await life.stop()
    finally:
        if life.process.returncode is None:
            await life.kill()
    world.score.faults += life.faults
    return read_facts(world.store)


async def _until_quiet(page: str) -> None:
    """Wait until every check is well and nothing waits, three looks in a row; what is late then is lost."""
    quiet = 0
    try:
        async with asyncio.timeout(SETTLES_WITHIN), httpx.AsyncClient(trust_env=False) as client:
            while quiet < 3:
                await asyncio.sleep(0.7)
                said = (await client.get(page, timeout=20)).text
                quiet = 0 if any(_open(said)) or said.count("heartbeat_check_severity{") < CHECKS else quiet + 1
    except TimeoutError:
        return
    except httpx.HTTPError as error:
        raise SoakFailed(f"the daemon did not answer: {type(error).__name__}") from error


def _open(page: str) -> Iterator[float]:
    """Yield how bad each of our checks is, and how much waits for each channel."""
    ours = re.compile(r'^heartbeat_(?:check_severity\{.*check="check-|outbox_pending\{).*\} (\S+)$', re.MULTILINE)
    yield from (float(value) for value in ours.findall(page))

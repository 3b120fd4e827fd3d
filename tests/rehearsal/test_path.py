"""A dry run takes the daemon's path: its parts are the same, and so are the functions that one failing run calls."""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import BuiltinFunctionType, FrameType, FunctionType, MethodType
from typing import Any, Self

from heartbeat import http
from heartbeat.assembly import Assembly, assemble
from heartbeat.channels.attempt import send
from heartbeat.config import Config
from heartbeat.daemon import Daemon
from heartbeat.line import run_slot
from heartbeat.metrics.instruments import Instruments
from heartbeat.rehearsal import ASSUMED, DIFFERENCES, Assumption, Shelf, dry_run, rehearse, staged
from heartbeat.rehearsal.play import Pretence
from heartbeat.state import Live
from heartbeat.store import Store
from heartbeat.testing.smtp import Inbox, mail_server
from heartbeat.testing.webhook import Receiver, webhook_receiver

Make = Callable[..., Config]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ON_THE_LINE = ("heartbeat.line", "heartbeat.outbox", "heartbeat.channels", "heartbeat.core", "heartbeat.dispatch",
               "heartbeat.runner", "heartbeat.quiet", "heartbeat.state", "heartbeat.store.store")  # fmt: skip


def find_differences(one: Any, other: Any) -> set[str]:
    """Return where two graphs of objects differ in what they do: in a class or in a function. Data is not compared.

    Each pair of objects is looked at once, at the shortest way to it. What a scrape asks for is left out: those are
    hooks that the daemon puts into its metrics, and nothing on the line calls them.
    """
    found, seen, ahead = set(), set(), deque([("", one, other)])
    while ahead:
        path, left, right = ahead.popleft()
        if left is right or (id(left), id(right)) in seen:
            continue
        seen.add((id(left), id(right)))
        if is_other(path, left, right):
            found.add(path)
        elif not isinstance(left, Instruments):
            ahead += parts_of(path, left, right)
    return found


RUN = (
    "heartbeat.line.run_slot",
    "heartbeat.line.perform",
    "heartbeat.runner.run_check",
    "heartbeat.core.judge.judge",
    "heartbeat.core.advance.advance",
    "heartbeat.line.address",
    "heartbeat.core.decide.decide",
    "heartbeat.outbox.outbox.Outbox.assign",
    "heartbeat.line.tell",
    "heartbeat.store.store.Store.write",
    "heartbeat.outbox.outbox.Outbox.accept",
)
"""Every step from a slot to the outbox."""
DELIVERY = (
    "heartbeat.outbox.flight.deliver",
    "heartbeat.outbox.flight.seal",
    "heartbeat.outbox.flight.hand_over",
    "heartbeat.channels.email.Email.render",
    "heartbeat.channels.attempt.attempt",
    "heartbeat.outbox.flight.conclude",
)
"""Every step from the outbox to its acknowledgement, but for the last hop."""


def is_other(path: str, one: Any, other: Any) -> bool:
    """Say whether two things do something else, leaving aside what they are made of."""
    if one is None or other is None:  # what has not begun, or was not needed; but to do nothing is to do something else
        return callable(one) or callable(other)
    if type(one) is not type(other):
        return True
    if isinstance(one, FunctionType):
        if path.endswith("<config>"):  # what each says is the configuration: it must be the same
            return one() is not other()
        return one.__code__ is not other.__code__
    if isinstance(one, MethodType):
        return one.__func__ is not other.__func__
    return isinstance(one, (BuiltinFunctionType, type))


def parts_of(  # noqa: C901 - one way to take each kind of thing apart
    path: str, one: Any, other: Any
) -> Iterator[tuple[str, Any, Any]]:
    """Yield what two things of one kind are made of, pair by pair."""
    if path.endswith("<config>"):
        return
    if isinstance(one, FunctionType):
        for name, left, right in zip(
            one.__code__.co_freevars, one.__closure__ or (), other.__closure__ or (), strict=True
        ):
            yield f"{path}.<{name}>", left.cell_contents, right.cell_contents
    elif isinstance(one, MethodType):
        yield f"{path}.__self__", one.__self__, other.__self__
    elif isinstance(one, partial):
        for name in ("func", "args", "keywords"):
            yield f"{path}.{name}", getattr(one, name), getattr(other, name)
    elif isinstance(one, dict):
        for key in one.keys() & other.keys():
            yield f"{path}[{key!r}]", one[key], other[key]
    elif isinstance(one, (list, tuple)):
        for number, (left, right) in enumerate(zip(one, other, strict=False)):
            yield f"{path}[{number}]", left, right
    elif type(one).__module__.startswith("heartbeat"):
        for name in sorted(attributes_of(one) | attributes_of(other)):
            yield f"{path}.{name}".lstrip("."), getattr(one, name, None), getattr(other, name, None)


def attributes_of(thing: Any) -> set[str]:
    slots = {name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())}
    return {name for name in slots | set(getattr(thing, "__dict__", ())) if hasattr(thing, name)}


@asynccontextmanager
async def daemons_parts(config: Config, folder: Path) -> AsyncIterator[Assembly]:
    """Give the parts that the real daemon makes for itself, delivering; nothing else of it is started."""
    daemon = Daemon([folder / "config.yaml"], config)
    daemon.store = await Store.open(folder / "daemons.db", history=config.history, clock=daemon.clock.now)
    daemon._assemble()
    daemon.parts.state.checks.update({name: Live(check) for name, check in config.checks.items()})
    daemon.lag.start()
    await daemon.parts.outbox.start()
    try:
        yield daemon.parts
    finally:
        await daemon.parts.dispatch.drain(5)
        await daemon.parts.outbox.drain(5)
        await daemon.store.close()
        daemon.lag.stop()
        http.close()


def channels_of(inbox: Inbox, receiver: Receiver) -> list[dict[str, Any]]:
    mail = {"to": ["a@example.com"], "from": "hb@example.com", "server": f"smtp://127.0.0.1:{inbox.port}",
            "tls": "none", "group_wait": "300ms"}  # fmt: skip
    return [{"email": mail}, {"webhook": {"url": receiver.url, "secret": SECRET}}]


async def test_the_parts_of_a_dry_run_differ_from_the_daemons_in_what_is_named_and_nothing_else(
    make: Make, tmp_path: Path
) -> None:
    config = make({"shop": {"told": {"says": "gone"}, "limits": {"p95 duration 10m": {"warn": "1s"}}}})
    async with daemons_parts(config, tmp_path) as parts, staged(config, Shelf().show) as stage:
        found = find_differences(parts, stage.parts)
    assert found == set(DIFFERENCES)


async def test_but_for_the_time_nothing_differs_where_the_transport_is_the_daemons(make: Make, tmp_path: Path) -> None:
    config = make({"shop": {"told": {}}})
    async with daemons_parts(config, tmp_path) as parts, staged(config) as stage:
        found = find_differences(parts, stage.parts)
    assert found == set(DIFFERENCES) - {"outbox._desk.transport"}


async def test_what_is_assumed_takes_the_place_of_the_runs_and_of_nothing_else(make: Make, tmp_path: Path) -> None:
    config = make({"shop": {"told": {}}})
    async with daemons_parts(config, tmp_path) as parts, staged(config, Shelf().show) as stage:
        Pretence(stage, frozenset(), Assumption.FAIL).take_over(stage.parts.line)
        found = find_differences(parts, stage.parts)
    assert found == {*DIFFERENCES, *ASSUMED}


async def test_the_walk_finds_a_second_difference(make: Make, tmp_path: Path) -> None:
    config = make({"shop": {"told": {}}})
    async with daemons_parts(config, tmp_path) as parts, staged(config, Shelf().show) as stage:
        stage.parts.surroundings.look_at = lambda _: None
        stage.parts.line.ways_out = lambda _: ()
        found = find_differences(parts, stage.parts)
    assert found - set(DIFFERENCES) == {"line.ways_out", "surroundings.look_at"}


def test_the_daemon_hands_in_the_last_hop_of_its_own_and_everybody_assembles_in_one_place() -> None:
    assert assemble.__defaults__ == (send,)
    assert run_slot.__module__ == "heartbeat.line"


class Recorder:
    """Notes the functions that are called in the modules of the line, in order, for each task by its name."""

    def __init__(self) -> None:
        self.called: defaultdict[str, dict[str, None]] = defaultdict(dict)

    def __enter__(self) -> Self:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        module = frame.f_globals.get("__name__", "")
        if event != "call" or not module.startswith(ON_THE_LINE) or frame.f_code.co_name.startswith("<"):
            return
        try:
            task = asyncio.current_task()
        except RuntimeError:
            return
        if task is not None and task.get_name().startswith(("line ", "run ", "delivery ", "outbox oncall")):
            self.called[task.get_name()][f"{module}.{frame.f_code.co_qualname}"] = None

    def courses(self) -> dict[str, list[str]]:
        """Return the functions of each task in the order of their first calls; of workers, which wait, without one."""
        return {
            name: sorted(calls) if name.startswith("outbox") else list(calls) for name, calls in self.called.items()
        }


async def test_a_failing_run_calls_the_same_functions_in_the_same_order_up_to_the_last_hop(
    make: Make, tmp_path: Path
) -> None:
    async with mail_server() as inbox, webhook_receiver() as receiver:
        config = make({"shop": {"told": {"says": "the order is gone"}}}, channels_of(inbox, receiver))
        _ = await dry_run(config, ["shop"], [])  # what is remembered for later calls is remembered then
        async with daemons_parts(config, tmp_path) as parts:
            with Recorder() as real:
                _ = await parts.dispatch.run_now(parts.state.checks["shop"])
                mails, requests = await inbox.wait(1), await receiver.wait(1)
                await parts.outbox.drain(5)
        shelf = Shelf()
        async with staged(config, shelf.show) as stage:
            with Recorder() as rehearsed:
                _ = await rehearse(stage, shelf, ["shop"])
                await stage.parts.outbox.drain(5)
    assert (len(mails), len(requests), len(shelf.shown)) == (1, 1, 2)
    assert rehearsed.courses() == real.courses()
    told = real.courses()
    assert set(told) >= {"line shop", "run shop", "delivery to oncall/email", "delivery to oncall/webhook"}
    assert [name for name in told["line shop"] if name in RUN] == list(RUN)
    assert [name for name in told["delivery to oncall/email"] if name in DELIVERY] == list(DELIVERY)


def test_every_difference_says_what_it_is_for() -> None:
    assert all(sentence for sentence in {**DIFFERENCES, **ASSUMED}.values())

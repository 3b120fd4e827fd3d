"""A whole world around one check, second by second, and what must hold of all that it tells, whatever happens.

The world does what the daemon does (``line.take``, ``line.tick_of``); what is asserted is taken from its log alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from heartbeat.core.advance import Absence, Change, Removal, Taken, advance, is_steady
from heartbeat.core.decide import NONE, Objections, decide, find_objection, find_released
from heartbeat.core.model import (
    OPENING,
    OVER,
    Address,
    Delivery,
    DeliveryState,
    Event,
    Finding,
    Kind,
    Outcome,
    Reason,
    Run,
    Severity,
    Track,
    Verdict,
)
from heartbeat.core.passing import Tick
from heartbeat.core.policy import Flapping, Latch, Policy, Routes
from heartbeat.core.status import FRESH, Acknowledgement, Status, incidents, shift

STATUS = TypeAdapter(Status)
START = 1_000_000.0
WAYS = {
    "oncall": (Address("oncall", "oncall/email", "a@example.com"), Address("oncall", "oncall/webhook")),
    "team": (Address("team", "team/slack"),),
    "boss": (Address("boss", "boss/email", "boss@example.com"),),
}
ALL = Routes(("oncall",), escalation=("boss",))
APART = Routes(("team",), (("fail", ("oncall",)), ("check_broken", ("boss",))), ("boss",))
LEVELLED = Routes((), (("warn", ("team",)), ("fail", ("oncall", "team"))), ("boss",))
ONLY_FAILURES = Routes((), (("fail", ("oncall",)),), ("boss",))
NOBODY = Routes()
GRADED = (Track.TARGET, Track.BUDGET)
WORDS = {
    "ok": (Outcome.OK, Severity.OK),
    "warn": (Outcome.OK, Severity.WARN),
    "fail": (Outcome.FAIL, Severity.FAIL),
    "error": (Outcome.ERROR, Severity.OK),
}


def verdict(word: str, at: float) -> Verdict:
    """Return what a run finds: ``~fail`` is distorted, ``ok+warn`` burns its error budget."""
    plain, _, burning = word.lstrip("~").partition("+")
    outcome, severity = WORDS[plain]
    burns = (Finding("burn 1h", Severity[burning.upper()], "at most 6", "7"),) if burning else ()
    reason = None if severity is Severity.OK else Reason.STATUS
    run = Run(f"run_{at}", "shop", at, 0, at, 5.0)
    return Verdict(run, at, outcome, severity, reason, f"it was {plain}", (), word.startswith("~"), burns)


@dataclass
class Told:
    """One event with what was decided."""

    event: Event
    deliveries: tuple[Delivery, ...]
    acknowledged: bool
    """Somebody had acknowledged the incident before."""

    @property
    def heard(self) -> tuple[Address, ...]:
        return tuple(one.address for one in self.deliveries if one.state is DeliveryState.PENDING)


@dataclass
class World:
    policy: Policy
    routes: Routes = ALL
    against: Objections = NONE
    now: float = START
    status: Status = FRESH
    saved: Status = FRESH
    """What a crash would find."""
    log: list[Told] = field(default_factory=list)
    watch: Callable[[World], None] = lambda _world: None
    """Looks at the world after every second."""
    stepped: float = 0.0

    def change(self, change: Change) -> None:
        before = self.status
        after, events = advance(before, change, self.policy, self.now)
        for event in events:
            open_before = {one.id: one.acknowledged for _, one in incidents(before)}
            ways_out = tuple(to for name in self.routes.receivers(event) for to in WAYS[name])
            after, deliveries = decide(after, event, self.against, ways_out, self.policy)
            self.log.append(Told(event, deliveries, bool(open_before.get(event.incident))))
        self.status = after
        if isinstance(change, Verdict):
            must_save = not is_steady(before, after, change)
        else:
            must_save = bool(events) or isinstance(change, Taken | Removal)
        if must_save:
            self.saved = after

    def reaches(self, kind: Kind, severity: Severity) -> bool:
        return bool(self.routes.named(kind, severity))

    def tick(self) -> None:
        """Do what the ticker does once a second."""
        if self.status.wake_at is None or self.status.wake_at > self.now:
            return
        self.change(Tick("shop", self.released()))

    def released(self) -> tuple[Track, ...]:
        return find_released(self.status, self.against, self.policy, self.now, self.reaches)

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1.0
            self.tick()
            self.watch(self)

    def do(self, step: tuple[object, ...]) -> None:
        match step:
            case ("run", str(word), int(gap)):
                self.wait(gap)
                self.change(verdict(word, self.now))
            case ("burst", str(words), int(gap)):
                for word in words.split():
                    self.do(("run", word, gap))
            case ("wait", int(seconds)):
                self.wait(seconds)
            case ("against", Objections() as against):
                self.against = against
            case ("routes", Routes() as routes):
                self.routes = routes
            case ("take",):
                self.change(Taken("shop", Acknowledgement("ann", "on it", self.now)))
            case ("absent",):
                self.change(Absence("shop", self.now - 30.0, "it did not run"))
            case ("remove",):
                self.change(Removal("shop"))

    def step_clock(self, seconds: float) -> None:
        self.now += seconds
        self.stepped += seconds
        self.status, self.saved = shift(self.status, seconds), shift(self.saved, seconds)

    def restart(self) -> None:
        self.status = STATUS.validate_json(STATUS.dump_json(self.status))

    def crash(self) -> None:
        self.status = STATUS.validate_json(STATUS.dump_json(self.saved))

    def messages(self) -> list[tuple[object, ...]]:
        """Return what was told, to whom and when, without what a clock or a crash may change."""
        return [
            (told.event.kind, told.event.track, told.event.severity, told.event.at - self.stepped, told.heard)
            for told in self.log
        ]


latches = st.sampled_from([Latch(), Latch(2, 3, 2), Latch(1, 1, 3), Latch(2, 2, 1)])
policies = st.builds(
    Policy,
    warn=latches,
    fail=latches,
    broken=st.sampled_from([Latch(), Latch(2, 2, 1)]),
    remind=st.sampled_from([None, 25.0, 60.0]),
    hold=st.sampled_from([0.0, 0.0, 15.0]),
    escalate=st.sampled_from([None, 20.0, 50.0]),
    flapping=st.sampled_from([Flapping(0.16, 0.155), Flapping(), None]),
    interval=st.sampled_from([None, 10.0]),
)
routes = st.sampled_from([ALL, APART, LEVELLED])
objections = st.sampled_from(
    [
        Objections(),
        Objections(),
        Objections(quiet="a silence"),
        Objections(dependency="gateway fails"),
        Objections(storm="most checks fail", quiet="a silence"),
    ]
)
runs = st.tuples(
    st.just("run"),
    st.sampled_from(["ok", "ok", "warn", "fail", "fail", "error", "~fail", "ok+warn", "ok+fail"]),
    st.sampled_from([1, 10, 10, 10, 40]),
)
bursts = st.tuples(
    st.just("burst"),
    st.sampled_from(
        ["fail fail fail", "ok ok ok", "fail warn fail warn", "fail ok fail ok fail ok", "ok " * 12, "fail " * 9]
    ),
    st.sampled_from([10, 10, 30]),
)
rest = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([2, 30, 70])),
    st.tuples(st.just("wait"), st.sampled_from([2, 30, 70])),
    st.tuples(st.just("against"), objections),
    st.tuples(st.just("against"), objections),
    st.sampled_from([("take",), ("take",), ("absent",), ("remove",)]),
)
stories = st.lists(st.one_of(runs, bursts, bursts, rest), min_size=8, max_size=40)
quick = settings(max_examples=70)


def play(story: list[tuple[object, ...]], world: World) -> World:
    for step in story:
        world.do(step)
    world.wait(5)
    return world


def by_incident(world: World) -> dict[str, list[Told]]:
    found = defaultdict(list)
    for told in world.log:
        found[told.event.incident].append(told)
    return found


def heard_before(told: list[Told], place: int) -> set[Address]:
    return {to for one in told[:place] for to in one.heard}


@quick
@given(policies, routes, stories)
def test_every_event_is_told_or_says_why_not_and_all_ids_differ(
    policy: Policy, told_to: Routes, story: list[tuple[object, ...]]
) -> None:
    log = play(story, World(policy, told_to)).log
    for told in log:
        states = [one.state for one in told.deliveries]
        assert states
        assert set(states) == {DeliveryState.PENDING} or states == [DeliveryState.SUPPRESSED]
        if not told.heard:
            assert told.deliveries[0].note
    events = [told.event.id for told in log]
    deliveries = [one.id for told in log for one in told.deliveries]
    assert len({*events}) == len(events)
    assert len({*deliveries}) == len(deliveries)


@quick
@given(policies, routes, stories, st.data())
def test_an_end_reaches_exactly_those_who_heard_of_the_incident_and_nothing_follows_it(
    policy: Policy, told_to: Routes, story: list[tuple[object, ...]], data: st.DataObject
) -> None:
    for at in sorted(data.draw(st.lists(st.integers(0, len(story)), max_size=3)), reverse=True):
        story.insert(at, ("routes", data.draw(st.sampled_from([ALL, APART, LEVELLED, ONLY_FAILURES, NOBODY]))))
    for told in by_incident(play(story, World(policy, told_to))).values():
        assert [one.event.sequence for one in told] == list(range(1, len(told) + 1))
        assert len({one.event.track for one in told}) == 1
        for place, one in enumerate(told):
            if one.event.kind in OVER:
                assert set(one.heard) == heard_before(told, place)
                assert one is told[-1]


@quick
@given(policies, routes, stories)
def test_nobody_hears_twice_that_an_incident_began_unless_it_grew_worse(
    policy: Policy, told_to: Routes, story: list[tuple[object, ...]]
) -> None:
    for told in by_incident(play(story, World(policy, told_to))).values():
        known: dict[Address, Severity] = {}
        for one in told:
            for to in one.heard:
                if one.event.kind in OPENING.values() and to in known:
                    assert one.event.severity > known[to]
                known[to] = one.event.severity


@quick
@given(policies, routes, stories)
def test_reminders_keep_their_distance_and_end_when_somebody_takes_care(
    policy: Policy, told_to: Routes, story: list[tuple[object, ...]]
) -> None:
    for told in by_incident(play(story, World(policy, told_to))).values():
        last = None
        for one in told:
            if one.event.kind is Kind.REMINDER:
                assert policy.remind is not None
                assert not one.acknowledged
                assert one.event.why or (last is not None and one.event.at >= last + policy.remind)
            if one.heard:
                last = one.event.at


@quick
@given(policies, routes, stories)
def test_others_are_told_once_and_not_before_it_is_time(
    policy: Policy, told_to: Routes, story: list[tuple[object, ...]]
) -> None:
    for told in by_incident(play(story, World(policy, told_to))).values():
        escalated = [one for one in told if one.event.kind is Kind.ESCALATED]
        assert sum(bool(one.heard) for one in escalated) <= 1
        for one in escalated:
            assert policy.escalate is not None
            assert not one.acknowledged
            bad_enough = Severity.FAIL if one.event.track is Track.TARGET else Severity.OK
            heard = [other.event.at for other in told if other.heard and other.event.severity >= bad_enough]
            assert one.event.at >= heard[0] + policy.escalate
            assert one.event.severity is bad_enough


class Believing:
    """After each second: what people believe is what is so, once nothing has stood against telling for two seconds."""

    def __init__(self) -> None:
        self.clear_since: dict[str, float] = {}

    def __call__(self, world: World) -> None:
        status, told = world.status, by_incident(world)
        opened = {incident.id for _, incident in incidents(status)}
        self.clear_since = {one: at for one, at in self.clear_since.items() if one in opened}
        for track, incident in incidents(status):
            stands = find_objection(track, incident, world.against, world.policy, world.now)
            if stands or (track is Track.TARGET and status.flapping):
                self.clear_since.pop(incident.id, None)
                continue
            if world.now < self.clear_since.setdefault(incident.id, world.now) + 2:
                continue
            heard = [one.event for one in told[incident.id] if one.heard and one.event.kind is not Kind.ESCALATED]
            if not world.reaches(OPENING[track], incident.severity):
                continue
            assert heard
            if track is Track.TARGET:
                assert heard[-1].severity is incident.severity is status.severity
            if track is Track.BUDGET:
                assert heard[-1].severity is incident.severity


@quick
@given(policies, routes, stories, st.data())
def test_what_is_so_is_told_as_soon_as_nothing_stands_against_it(
    policy: Policy, told_to: Routes, story: list[tuple[object, ...]], data: st.DataObject
) -> None:
    for at in sorted(data.draw(st.lists(st.integers(0, len(story)), max_size=2)), reverse=True):
        story.insert(at, ("routes", data.draw(st.sampled_from([ALL, LEVELLED, NOBODY]))))
    play(story, World(policy, told_to, watch=Believing()))


@quick
@given(policies, stories)
def test_nothing_comes_due_while_the_ticker_sleeps(policy: Policy, story: list[tuple[object, ...]]) -> None:
    def watch(world: World) -> None:
        asleep = world.status.wake_at is None or world.status.wake_at > world.now
        if asleep:
            assert advance(world.status, Tick("shop", world.released()), policy, world.now)[1] == ()
        if world.status.wake_at is None:
            assert advance(world.status, Tick("shop", tuple(Track)), policy, world.now + 1e9)[1] == ()

    play(story, World(policy, watch=watch))


@quick
@given(policies, stories)
def test_a_restart_between_any_two_steps_changes_no_message(policy: Policy, story: list[tuple[object, ...]]) -> None:
    plain, restarted = World(policy), World(policy)
    for step in story:
        plain.do(step)
        restarted.do(step)
        restarted.restart()
    assert restarted.status == plain.status
    assert [(one.event, one.deliveries) for one in restarted.log] == [(one.event, one.deliveries) for one in plain.log]


@quick
@given(policies, stories)
def test_a_crash_between_any_two_steps_changes_no_message(policy: Policy, story: list[tuple[object, ...]]) -> None:
    """What is steady was not saved: all of it is lost, each time."""
    policy = replace(policy, interval=None)
    plain, crashing = World(policy), World(policy)
    for step in story:
        plain.do(step)
        crashing.do(step)
        crashing.crash()
    assert crashing.messages() == plain.messages()


@quick
@given(policies, stories, st.lists(st.tuples(st.integers(0, 40), st.sampled_from([-7200.0, 3600.0])), max_size=3))
def test_a_step_of_the_clock_changes_no_message(
    policy: Policy, story: list[tuple[object, ...]], leaps: list[tuple[int, float]]
) -> None:
    plain, stepped = World(policy), World(policy)
    told: list[tuple[object, ...]] = []
    for place, step in enumerate(story):
        plain.do(step)
        before = len(stepped.log)
        stepped.do(step)
        told += stepped.messages()[before:]
        for at, seconds in leaps:
            if at == place:
                stepped.step_clock(seconds)
    assert told == plain.messages()


@quick
@given(policies, stories)
def test_what_stands_against_telling_changes_no_event(policy: Policy, story: list[tuple[object, ...]]) -> None:
    """Apart from reminders and escalation, and what is told late, the same happens."""
    quiet, loud = World(policy), World(policy)
    for step in story:
        if step[0] != "against":
            loud.do(step)
        quiet.do(step)
    changes = [kind for kind in Kind if kind not in (Kind.REMINDER, Kind.ESCALATED)]
    for world in (quiet, loud):
        world.log = [one for one in world.log if one.event.kind in changes and not one.event.why]
    assert [one[:4] for one in quiet.messages()] == [one[:4] for one in loud.messages()]

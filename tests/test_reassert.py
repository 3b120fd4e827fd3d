from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from heartbeat import Check, Probe
from heartbeat.channels.alertmanager import Alert, Alertmanager
from heartbeat.clock import Clock
from heartbeat.config import Config
from heartbeat.config.model import CheckConfig, Receiver
from heartbeat.core.model import Address, Event, Kind, Outcome, Reason, Result, Run, Severity, Track, Verdict
from heartbeat.core.policy import Policy, Routes
from heartbeat.core.schedule import Interval
from heartbeat.core.status import Incident, Status
from heartbeat.core.trace import trace_id
from heartbeat.http import engine
from heartbeat.metrics.instruments import Instruments
from heartbeat.reassert import ALERTS_AT_ONCE, Rounds, alerts_of, open_on, reasserting
from heartbeat.redaction import Redactor
from heartbeat.state import Live, State
from heartbeat.store import StoreFailed
from heartbeat.testing.webhook import Answer, Misbehaviour, webhook_receiver

NOW = 1_795_269_731.0
IDENTITY = "oncall/alertmanager"
TOLD = Address("oncall", IDENTITY, "am.test:9093")


class Nothing(Check):
    async def run(self, probe: Probe) -> None: ...


def live(name: str = "shop", status: Status | None = None, every: float | None = 30.0) -> Live:
    policy = Policy(interval=every)
    config = CheckConfig(name, "http", Nothing(), name, Interval(every or 1), 5.0, policy, labels={"team": "web"})
    failing = Status(
        fail=True, since=NOW - 20, reason=Reason.STATUS, sentence="it was 500", incident=incident("inc_1", 60)
    )
    return Live(config, status or failing)


def incident(identity: str = "inc_1", age: float = 60.0) -> Incident:
    return Incident(identity, NOW - age, 1, NOW, NOW - age, Severity.FAIL, (TOLD,), NOW - age, Severity.FAIL)


def over(kind: Kind = Kind.RESOLVED, age: float = 100.0, check: str = "shop") -> Event:
    return Event(
        f"evt_{age}",
        kind,
        check,
        "inc_0",
        2,
        NOW - age,
        Severity.FAIL,
        Severity.OK,
        NOW - age - 60,
        None,
        "",
        context={"type": "http", "labels": {"team": "web"}},
    )


CONTEXT = {**over().context, "location": "eu"}


def channel(*urls: str, **options: Any) -> Alertmanager:
    return Alertmanager.model_validate({"urls": urls or ["http://am.test:9093"]} | options)


def alerts(checks: list[Live], ended: list[Event], **options: Any) -> list[Alert]:
    stands = ((one, open_on(one, IDENTITY, (), "eu", NOW)) for one in checks)
    return list(alerts_of(channel(**options), stands, ended, now=NOW))


def name_of(alert: Alert) -> str:
    return dict(alert.labels)["alertname"]


# What an Alertmanager should hold true


def test_an_open_incident_fires_since_it_began_and_for_four_rounds_more() -> None:
    (alert,) = alerts([live()], [])
    assert (alert.starts, alert.ends) == (NOW - 60, NOW + 4 * 60)
    assert dict(alert.labels) == {
        "alertname": "HeartbeatCheckFailed",
        "check": "shop",
        "type": "http",
        "team": "web",
        "location": "eu",
    }
    assert dict(alert.annotations)["summary"] == "shop: it was 500"


@pytest.mark.parametrize(("every", "ends"), [(3600.0, 4 * 3600.0), (30.0, 240.0), (None, 240.0)])
def test_it_stands_longer_where_the_check_runs_seldom(every: float | None, ends: float) -> None:
    (alert,) = alerts([live(every=every)], [])
    assert alert.ends == NOW + ends


def test_a_check_that_is_well_says_nothing() -> None:
    assert alerts([live(status=Status(since=NOW))], []) == []


def test_the_target_and_the_check_can_be_in_trouble_at_once() -> None:
    status = replace(live().status, broken=True, broken_incident=incident("inc_2", 5), broken_reason=Reason.PLUGIN)
    failed, broken = alerts([live(status=status)], [])
    assert (name_of(failed), name_of(broken)) == ("HeartbeatCheckFailed", "HeartbeatCheckBroken")
    assert dict(broken.annotations)["reason"] == "plugin"
    assert broken.starts == NOW - 5


OPEN = {
    Track.TARGET: ("incident", Kind.RAISED, "HeartbeatCheckFailed", "fail"),
    Track.CHECK: ("broken_incident", Kind.CHECK_BROKEN, "HeartbeatCheckBroken", None),
    Track.RUNS: ("absent", Kind.MISSED, "HeartbeatCheckNotRunning", None),
    Track.BUDGET: ("burning", Kind.BUDGET_BURNING, "HeartbeatErrorBudgetBurning", "fail"),
    Track.FLAPPING: ("flapping", Kind.FLAPPING, "HeartbeatCheckFlapping", "fail"),
}


@pytest.mark.parametrize("track", Track)
def test_an_edge_and_a_round_are_the_same_alert_on_every_track(track: Track) -> None:
    name, kind, title, severity = OPEN[track]
    edge = channel().alert(replace(over(kind), track=track, since=NOW - 60, context=CONTEXT), None)
    (alert,) = alerts([live(status=replace(Status(), **{name: incident()}))], [])  # type: ignore[arg-type]  # the name is that of an incident
    assert edge.labels == alert.labels
    assert edge.starts == alert.starts
    assert name_of(alert) == title
    assert dict(alert.annotations).get("severity") == severity


@pytest.mark.parametrize("track", Track)
def test_an_end_is_that_of_its_track_alone(track: Track) -> None:
    name, *_ = OPEN[track]
    status = replace(Status(), **{name: incident()})  # type: ignore[arg-type]  # the name is that of an incident
    ends = [replace(over(Kind.WITHDRAWN), track=one, severity=Severity.FAIL, id=one) for one in Track]
    stands, *ended = alerts([live(status=status)], ends)
    assert (stands.ends or 0) > NOW
    assert len(ended) == len(Track) - 1
    assert name_of(stands) not in [name_of(alert) for alert in ended]


def test_while_a_check_flaps_its_alert_stands_as_it_was_told() -> None:
    told = replace(incident(), severity=Severity.FAIL, told_severity=Severity.WARN)
    status = Status(incident=told, flapping=incident("inc_2"), states=(Severity.FAIL, Severity.OK))
    target, flapping = alerts([live(status=status)], [])
    assert (name_of(target), name_of(flapping)) == ("HeartbeatCheckFailed", "HeartbeatCheckFlapping")
    assert dict(target.annotations)["severity"] == "warn"
    said = "shop: its state changed 2 times in the last 20 runs; now it is ok"
    assert [dict(alert.annotations)["summary"] for alert in (target, flapping)] == [said, said]


def test_what_grew_worse_in_a_quiet_time_stands_as_bad_as_was_told() -> None:
    told = replace(incident(), severity=Severity.FAIL, told_severity=Severity.WARN, untold="silenced by anna")
    (alert,) = alerts([live(status=Status(fail=True, sentence="it was 500", incident=told))], [])
    assert dict(alert.annotations)["severity"] == "warn"


def test_an_end_is_told_for_a_quarter_of_an_hour_with_its_own_time() -> None:
    (alert,) = alerts([], [over(age=1000), over(age=899)])
    assert (alert.starts, alert.ends) == (NOW - 959, NOW - 899)


def test_of_several_ends_the_last_one_counts() -> None:
    (alert,) = alerts([], [over(age=500), over(age=100)])
    assert alert.ends == NOW - 100


def test_an_end_says_nothing_against_an_incident_that_is_open_since() -> None:
    (alert,) = alerts([live()], [over()])
    assert (alert.ends or 0) > NOW


def test_the_end_of_a_broken_check_is_told_beside_an_incident_of_its_target() -> None:
    assert [(alert.ends or 0) > NOW for alert in alerts([live()], [over(Kind.CHECK_REPAIRED)])] == [True, False]


# Telling it


@dataclass
class Ended:
    """Stands in for the store."""

    events: list[Event] = field(default_factory=list)
    problem: str = ""
    asked: list[tuple[str, float]] = field(default_factory=list)

    async def ended(self, channel: str, since: float) -> list[Event]:
        self.asked.append((channel, since))
        if self.problem:
            raise StoreFailed(self.problem)
        return self.events


class Host:
    def __init__(self, *urls: str, **options: Any) -> None:
        self.channel = channel(*urls, **{"timeout": "2s"} | options)
        oncall = Receiver("oncall", {IDENTITY: self.channel})
        self.config = Config((), Path("db"), Path("sock"), {}, {"oncall": oncall}, Redactor(), location="eu")
        self.state = State({"shop": live()})
        self.clock = Clock()
        self.store: Any = Ended()
        self.instruments = Instruments()

    def ways_out(self, receivers: tuple[str, ...]) -> tuple[Address, ...]:
        others = (Address("oncall", "oncall/email", "a@example.com"),)
        mine = tuple(Address("oncall", IDENTITY, to) for to in self.channel.recipients())
        return (*others, *mine) if "oncall" in receivers else others

    def redact(self, text: str) -> str:
        return text.replace("CANARY", "***")

    def count(self, outcome: str) -> float:
        labels = {"receiver": "oncall", "channel": IDENTITY, "outcome": outcome}
        return self.instruments.registry.get_sample_value("heartbeat_reassertions_total", labels) or 0.0

    async def round(self, rounds: Rounds) -> None:
        await rounds.tell("oncall", IDENTITY, self.channel)


@pytest.fixture(autouse=True)
async def _closed_engine() -> AsyncIterator[None]:
    yield
    engine().close()


@pytest.fixture
def logged() -> Any:
    with structlog.testing.capture_logs() as lines:
        yield lines


def url(receiver: Any) -> str:
    return f"http://127.0.0.1:{receiver.port}"


async def test_every_instance_is_told_at_once_and_again() -> None:
    async with (
        webhook_receiver() as first,
        webhook_receiver() as second,
        reasserting(Host(url(first), url(second), resend_every="1s")),
    ):
        await asyncio.gather(first.wait(2), second.wait(2))
    (alert,) = json.loads(first.requests[0].body)
    assert alert["labels"]["check"] == "shop"


def untold(name: str, why: str = "", notify: tuple[str, ...] = ()) -> Live:
    """Return a failing check whose incident this channel was not told of."""
    mail = (Address("oncall", "oncall/email", "a@example.com"),) if not why and not notify else ()
    one = live(name)
    one.config = replace(one.config, notify=Routes(notify))
    one.status = replace(one.status, incident=replace(incident(), told=mail, untold=why))
    return one


async def test_only_incidents_that_this_channel_was_told_of_are_told() -> None:
    async with webhook_receiver() as receiver:
        host = Host(url(receiver))
        for one in (
            untold("to-others"),
            untold("silenced", why="silenced by anna", notify=("oncall",)),
            untold("of-an-older-release", notify=("oncall",)),
            untold("of-an-older-release-to-others", notify=("others",)),
        ):
            host.state.checks[one.config.name] = one
        await host.round(Rounds(host))
    (request,) = receiver.requests
    assert [alert["labels"]["check"] for alert in json.loads(request.body)] == ["shop", "of-an-older-release"]


async def test_what_the_store_knows_to_have_ended_is_told() -> None:
    async with webhook_receiver() as receiver:
        host = Host(url(receiver))
        host.state.checks.clear()
        now = host.clock.now()
        host.store.events = [replace(over(), at=now - 10, since=now - 20)]
        await host.round(Rounds(host))
    (request,) = receiver.requests
    assert len(json.loads(request.body)) == 1
    ((identity, since),) = host.store.asked
    assert identity == IDENTITY
    assert since == pytest.approx(now - 900, abs=5)


async def test_many_alerts_travel_in_several_requests_and_others_run_in_between() -> None:
    async with webhook_receiver() as receiver:
        host = Host(url(receiver))
        names = [f"check-{n}" for n in range(2 * ALERTS_AT_ONCE + 1)]
        host.state.checks = {name: live(name) for name in names}
        await host.round(Rounds(host))
    sent = [json.loads(request.body) for request in receiver.requests]
    assert [len(part) for part in sent] == [ALERTS_AT_ONCE, ALERTS_AT_ONCE, 1]
    assert [alert["labels"]["check"] for part in sent for alert in part] == names


async def test_an_instance_that_is_silent_holds_up_nobody_and_is_logged_once(logged: list[Any]) -> None:
    async with webhook_receiver() as hanging, webhook_receiver() as well:
        host = Host(url(hanging), url(well), timeout="200ms")
        rounds = Rounds(host)
        hanging.script(Misbehaviour.HANG, Misbehaviour.HANG)
        for _ in range(3):
            await host.round(rounds)
    assert len(well.requests) == 3
    ours = [line["event"] for line in logged if "told" in line["event"]]  # the server of the test may complain, too
    assert ours == ["not told how things stand; trying on", "told again how things stand"]
    assert (host.count("acknowledged"), host.count("failed")) == (4.0, 2.0)


async def test_a_refused_part_is_counted_and_the_rest_is_sent(logged: list[Any]) -> None:
    async with webhook_receiver() as receiver:
        host = Host(url(receiver))
        host.state.checks = {name: live(name) for name in map(str, range(ALERTS_AT_ONCE + 1))}
        receiver.script(Answer(400, body=b"CANARY is no label"))
        await host.round(Rounds(host))
    assert len(receiver.requests) == 2
    assert (host.count("acknowledged"), host.count("failed")) == (1.0, 1.0)
    assert "*** is no label" in logged[0]["answer"]


async def test_the_rest_of_a_round_is_left_to_the_next_one_where_nobody_answers() -> None:
    async with webhook_receiver() as receiver:
        host = Host(url(receiver))
        host.state.checks = {name: live(name) for name in map(str, range(ALERTS_AT_ONCE + 1))}
        receiver.script(Answer(503))
        await host.round(Rounds(host))
    assert len(receiver.requests) == 1


async def test_secrets_are_taken_out() -> None:
    async with webhook_receiver() as receiver:
        host = Host(url(receiver))
        host.state.checks["shop"].status = replace(live().status, sentence="the password CANARY was refused")
        await host.round(Rounds(host))
    assert b"CANARY" not in receiver.requests[0].body


async def test_a_store_that_fails_leaves_what_is_open_standing(logged: list[Any]) -> None:
    async with webhook_receiver() as receiver:
        host = Host(url(receiver))
        host.store.problem = "the disk is gone"
        rounds = Rounds(host)
        await host.round(rounds)
        await host.round(rounds)
    assert len(receiver.requests) == 2
    assert [line["answer"] for line in logged] == ["the disk is gone"]


async def test_a_round_begins_when_it_is_due_and_no_second_one_beside_it() -> None:
    async with webhook_receiver() as receiver:
        host = Host(url(receiver), resend_every="60s")
        rounds = Rounds(host)
        receiver.script(Misbehaviour.HANG)
        rounds.begin(1000.0)
        await receiver.wait(1)
        first = dict(rounds.under_way)
        rounds.begin(1059.0)
        rounds.begin(1061.0)
        assert rounds.under_way == first
        first[IDENTITY].cancel()
        await asyncio.gather(*first.values(), return_exceptions=True)
        rounds.begin(1062.0)
        assert not rounds.under_way
        rounds.begin(1121.0)
        await receiver.wait(2)
        await asyncio.gather(*rounds.under_way.values())


async def test_a_mistake_of_ours_is_logged_and_the_next_round_comes(logged: list[Any]) -> None:
    host = Host()
    host.store = cast("Any", None)
    rounds = Rounds(host)
    rounds.begin(1000.0)
    await asyncio.gather(*rounds.under_way.values(), return_exceptions=True)
    assert not rounds.under_way
    assert logged[0]["log_level"] == "critical"


@pytest.mark.parametrize(
    ("severity", "told"), [(Severity.FAIL, {"run": "run_1", "trace_id": trace_id("run_1")}), (Severity.OK, {})]
)
def test_the_latest_run_that_found_the_trouble_is_named(severity: Severity, told: dict[str, str]) -> None:
    run, failing = Run("run_1", "shop", NOW, 0, NOW, 5.0), live()
    failing.run, failing.result = run, Result(Outcome.FAIL, 0.1, Reason.STATUS, "it was 500", marked=True)
    failing.verdict = Verdict(run, NOW, Outcome.FAIL, severity, Reason.STATUS, "it was 500")
    (alert,) = alerts([failing], [])
    assert {name: text for name, text in alert.annotations if name in ("run", "trace_id")} == told

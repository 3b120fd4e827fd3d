"""Upper bounds of what the pure parts cost: about three times what they take, so that a regression shows.

`make bench-pure` shows what they take. A bound that is in the way is moved together with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count as count_from
from itertools import cycle, islice
from random import Random

import pytest
from pydantic import SecretStr

from heartbeat import Check, Probe
from heartbeat.channels.email import Email
from heartbeat.channels.webhook import Webhook
from heartbeat.config.model import CheckConfig
from heartbeat.core.advance import advance
from heartbeat.core.batch import single
from heartbeat.core.decide import NONE, decide
from heartbeat.core.judge import judge
from heartbeat.core.limits import Bound, Limit
from heartbeat.core.message import compose
from heartbeat.core.model import Address, Event, Outcome, Reason, Result, Run, Severity, Verdict
from heartbeat.core.objectives import Objective
from heartbeat.core.payload import encode, payload
from heartbeat.core.policy import Latch, Policy
from heartbeat.core.schedule import Interval, next_slot, skipped_slots, slot_at
from heartbeat.core.status import FRESH, Status
from heartbeat.core.windows import Windows, plan_windows
from heartbeat.metrics.page import Page
from heartbeat.redaction import Redactor
from heartbeat.state import Live, State
from heartbeat.store.rows import result_row

Takes = Callable[..., None]

AT = 1_795_269_731.25
RUN = Run("run_0123456789abcdef", "shop-login", AT - 0.1, 0, AT - 0.1, 10.0)
PHASES = {"resolve": 0.001, "connect": 0.002, "tls": 0.01, "send": 0.0001, "wait": 0.02, "transfer": 0.0005}
MEASURED = {"response_status": 200.0, "body_bytes": 5120.0, "certificate_expiry_seconds": 1e6}
GOOD = Result(Outcome.OK, 0.035, measurements=MEASURED, phases=PHASES)
BAD = Result(
    Outcome.FAIL, 0.035, Reason.STATUS, "the status is 503", expected="200", observed="503", measurements=MEASURED,
    phases=PHASES, evidence={"request": "GET /login HTTP/1.1", "body": "<html>no</html>\n" * 60},
)  # fmt: skip
LIMITS = (
    Limit("duration", (Bound(Severity.WARN, above=0.8), Bound(Severity.FAIL, above=2.0)), "s"),
    Limit("phase.tls", (Bound(Severity.WARN, above=0.5),), "s"),
)
POLICY = Policy(Latch(2, 3, 2), Latch(2, 3, 2), recheck=5.0, remind=3600.0, interval=30.0)
RANDOM = Random(7)
DURATIONS = [RANDOM.lognormvariate(-2, 0.3) for _ in range(997)]
BUCKETS = (0.05, 0.25, 1.0, 5.0)
ONCALL = (Address("oncall", "oncall/webhook"), Address("oncall", "oncall/email", "oncall@example.com"))
TEXT = "GET /api/v1/orders?page=17 HTTP/1.1 host: shop.example.com accept: application/json user-agent: heartbeat"


def verdict_of(result: Result, at: float = AT) -> Verdict:
    return judge(RUN, result, LIMITS, at)


def settled(result: Result) -> Status:
    """Return the status after some runs of one kind."""
    status = FRESH
    for count in range(5):
        at = AT - 30 * (5 - count)
        status, _ = advance(status, verdict_of(result, at), POLICY, at)
    return status


def raised() -> Event:
    """Return the event that a second failure makes, as it is told."""
    once, _ = advance(settled(GOOD), verdict_of(BAD, AT - 5), POLICY, AT - 5)
    _, (event,) = advance(once, verdict_of(BAD), POLICY, AT)
    context = {"type": "http", "labels": {"team": "shop"}, "runbook": "https://wiki.example.com/shop", "location": "eu"}
    return replace(event, result=BAD, context=context)


def test_judging_a_good_result(takes: Takes) -> None:
    takes(12, judge, RUN, GOOD, LIMITS, AT)


def test_judging_a_good_result_without_limits(takes: Takes) -> None:
    takes(4.5, judge, RUN, GOOD, (), AT)


def test_judging_a_result_outside_its_limits(takes: Takes) -> None:
    takes(20, judge, RUN, replace(GOOD, duration=1.0), LIMITS, AT)


def test_judging_a_good_result_that_clears_what_was_held(takes: Takes) -> None:
    takes(16, judge, RUN, GOOD, LIMITS, AT, (("duration", Severity.WARN),))


@pytest.mark.parametrize(("interval", "at_most"), [(30.0, 50), (7.5, 50)])
def test_judging_against_five_limits_and_an_hour(takes: Takes, interval: float, at_most: float) -> None:
    over_time = [("p50", "duration"), ("p95", "duration"), ("max", "phase.wait"), ("availability", "")]
    bounds = (Bound(Severity.WARN, above=2.0), Bound(Severity.FAIL, above=3.0))
    limits = (LIMITS[0], *(Limit(measure, bounds, "s", made, 3600.0) for made, measure in over_time))
    windows, now = past_hour(limits, None, interval)
    results = cycle([replace(GOOD, duration=seconds) for seconds in DURATIONS])
    takes(at_most, lambda: judge(RUN, next(results), limits, next(now), (), windows))


def test_judging_against_an_objective(takes: Takes) -> None:
    windows, now = past_hour((), Objective(0.999), 30.0)
    takes(40, lambda: judge(RUN, GOOD, (), next(now), (), windows))


def test_saving_an_hour_of_a_check(takes: Takes) -> None:
    limits = (Limit("duration", (Bound(Severity.WARN, above=2.0),), "s", "p95", 3600.0),)
    windows, _ = past_hour(limits, None, 30.0)
    takes(20, windows.dump)


def past_hour(
    limits: tuple[Limit, ...], objective: Objective | None, interval: float
) -> tuple[Windows, Iterator[float]]:
    """Return windows that are full, and the times from then on."""
    plan = plan_windows(limits, objective, interval)
    assert plan is not None
    windows, now = Windows(plan), count_from(AT, interval)
    for seconds in islice(cycle(DURATIONS), 1000):
        windows.take(next(now), Outcome.OK if seconds > 0.08 else Outcome.FAIL, replace(GOOD, duration=seconds))
    return windows, now


def test_advancing_while_all_is_well(takes: Takes) -> None:
    takes(15, advance, settled(GOOD), verdict_of(GOOD), POLICY, AT)


def test_advancing_into_a_failure_that_is_told(takes: Takes) -> None:
    once, _ = advance(settled(GOOD), verdict_of(BAD, AT - 5), POLICY, AT - 5)
    takes(140, advance, once, verdict_of(BAD), POLICY, AT)


def test_advancing_while_it_lasts(takes: Takes) -> None:
    takes(100, advance, settled(BAD), verdict_of(BAD), POLICY, AT)


def test_deciding_who_is_told(takes: Takes) -> None:
    takes(25, decide, FRESH, raised(), NONE, ONCALL, POLICY)


def test_finding_the_next_slot(takes: Takes) -> None:
    takes(8, next_slot, "shop-login", 30.0, AT)


def test_counting_skipped_slots(takes: Takes) -> None:
    takes(14, skipped_slots, "shop-login", 30.0, slot_at("shop-login", 30.0, AT), AT + 1)


def test_the_row_of_a_good_result(takes: Takes) -> None:
    takes(10, result_row, RUN, GOOD, verdict_of(GOOD))


def test_the_row_of_a_bad_result(takes: Takes) -> None:
    takes(16, result_row, RUN, BAD, verdict_of(BAD))


class Quiet(Check):
    async def run(self, probe: Probe) -> None:
        """Do nothing."""


def test_taking_a_result_into_the_state(takes: Takes) -> None:
    config = CheckConfig("shop-login", "http", Quiet(), "print", Interval(30), 10.0, POLICY)
    takes(3.5, Live(config).observe, verdict_of(GOOD), GOOD, settled(GOOD), BUCKETS)


def test_a_changed_check_on_the_page(takes: Takes) -> None:
    # A hundred at once: what the page costs without any check then hardly counts.
    config = CheckConfig("shop-login", "http", Quiet(), "print", Interval(30), 10.0, POLICY, labels={"team": "shop"})
    checks = {f"shop-{number}": Live(replace(config, name=f"shop-{number}")) for number in range(100)}
    page = Page(State(checks), str, lambda: BUCKETS)

    def change_and_render() -> int:
        for live in checks.values():
            live.observe(verdict_of(GOOD), GOOD, FRESH, BUCKETS)
        return sum(map(len, page.slices()))

    takes(6000, change_and_render)


def test_redacting_a_line_without_secrets(takes: Takes) -> None:
    redact = Redactor({f"SECRET_{number}": f"correct-horse-battery-{number}" for number in range(20)})
    redact(TEXT)
    takes(6, redact, TEXT)


def test_redacting_a_line_with_a_secret(takes: Takes) -> None:
    redact = Redactor({f"SECRET_{number}": f"correct-horse-battery-{number}" for number in range(20)})
    takes(220, redact, f"{TEXT} authorization: Bearer correct-horse-battery-7")


def test_recording_a_measurement(takes: Takes) -> None:
    takes(2.5, Probe().record, "response_bytes", 5120.0)


def test_recording_a_phase(takes: Takes) -> None:
    takes(3, Probe().record_phase, "connect", 0.002)


def test_what_machines_are_told(takes: Takes) -> None:
    takes(310, lambda event: encode(payload(event)), raised())


def test_what_people_are_told(takes: Takes) -> None:
    _, (delivery, *_) = decide(FRESH, raised(), NONE, ONCALL, POLICY)
    takes(260, compose, single(delivery), AT + 1)


def test_a_webhook_as_it_is_sent(takes: Takes) -> None:
    _, (delivery, *_) = decide(FRESH, raised(), NONE, ONCALL, POLICY)
    takes(220, Webhook(url=SecretStr("https://alerts.example.com/hook")).render, single(delivery), AT + 1)


def test_a_mail_as_it_is_sent(takes: Takes) -> None:
    delivery = decide(FRESH, raised(), NONE, ONCALL, POLICY)[1][1]
    mail = Email.model_validate(
        {"to": ["oncall@example.com"], "from": "heartbeat@example.com", "server": "smtp://127.0.0.1:25", "tls": "none"}
    )
    takes(3000, mail.render, single(delivery), AT + 1)

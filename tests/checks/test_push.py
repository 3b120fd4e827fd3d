from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from heartbeat import CheckFailed, Expected, Probe, Reply, Report
from heartbeat.backing import MEMORY_BYTES, Backing, Memory
from heartbeat.core.schedule import Cron, Interval
from heartbeat.plugins import discover, load_type
from heartbeat.timetable import expect

Push: Any = load_type(discover().sources["push"])
TOKEN = "0123456789abcdef-token"
UUID = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"
RID = "728b3763-ba80-4113-9fc0-f4e0a8c1e1a4"
OTHER = "11111111-ba80-4113-9fc0-f4e0a8c1e1a4"
NOON = 1_800_000_000.0  # Fri 15 Jan 2027 08:00:00 UTC
HOUR = 3600.0
NO_QUERY: dict[str, str] = {}


def push(**options: Any) -> Any:
    return Push.model_validate({"token": TOKEN, "grace": "30m", **options})


def hourly(listening: float = 0.0) -> Expected:
    return expect(Interval(HOUR), listening)


class Job:
    """A check, what it keeps, and the time."""

    def __init__(self, **options: Any) -> None:
        self.check = push(**options)
        self.kept = Memory()
        self.now = NOON
        self.probe = Probe()

    def ping(self, rest: str = "", body: bytes = b"", rid: str = "", query: Mapping[str, str] = NO_QUERY) -> Reply:
        asked = {"rid": rid} if rid else query
        reply: Reply = self.check.take(Report("POST", rest, asked, body), self.kept, self.now)
        return reply

    def due(self, expected: Expected | None = None) -> float:
        return float(self.check.due(self.kept, expected or hourly(), self.now))

    def after(self, seconds: float) -> Job:
        self.now += seconds
        return self

    def judge(self) -> CheckFailed | None:
        self.probe = Probe(backing=Backing(memory=lambda _: self.kept))
        try:
            with suppress(StopIteration):
                self.check.run(self.probe).send(None)
        except CheckFailed as failed:
            return failed
        assert not self.probe.refused
        return None

    def reason(self) -> str:
        failed = self.judge()
        return failed.reason.value if failed else "warn" if self.probe.caution else ""


# Options and addresses


def test_the_addresses_are_those_of_healthchecks() -> None:
    assert list(push().routes()) == [f"/ping/{TOKEN}"]
    assert list(push(token=UUID.upper()).routes()) == [f"/ping/{UUID}", f"/{UUID}"]
    assert list(push(token="fqOOd6-F4MMNuCEnzTU01w/db-backups").routes()) == [
        "/ping/fqOOd6-F4MMNuCEnzTU01w/db-backups",
        "/fqOOd6-F4MMNuCEnzTU01w/db-backups",
    ]


@pytest.mark.parametrize(
    "token",
    ["short", "a" * 15, "with spaces in between", "a" * 16 + "/b/c", "ä" * 16, "a" * 16 + "/start", f"{TOKEN}/7"],
)
def test_a_token_that_can_be_guessed_or_is_no_address_is_refused(token: str) -> None:
    with pytest.raises(ValidationError) as caught:
        push(token=token)
    assert token not in str(caught.value)


def test_the_token_is_shown_nowhere() -> None:
    assert TOKEN not in repr(push())
    job = Job()
    job.ping("fail", f"curl https://beat.example.com/ping/{TOKEN}/fail".encode())
    job.judge()
    assert TOKEN not in json.dumps(job.kept.data)
    assert job.probe.evidence["report"] == "curl https://beat.example.com/ping/[token]/fail"


def test_bounds_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(ValidationError, match="at_least must be less than at_most"):
        push(at_least="2h", at_most="1h")


# What is taken


def test_a_report_is_answered_as_healthchecks_does() -> None:
    assert Job().ping() == Reply(200, "OK", runs=True, headers={"Ping-Body-Limit": "100000"})
    assert Job().ping("log").runs is False


@pytest.mark.parametrize("word", ["log", "start"])
def test_what_tells_of_no_end_is_not_judged(word: str) -> None:
    job = Job()
    assert job.ping(word).runs is False
    assert job.due() == NOON + HOUR + 1800


@pytest.mark.parametrize(
    ("rest", "query", "status"),
    [
        ("0", {}, 200),
        ("255", {}, 200),
        ("007", {}, 200),
        ("256", {}, 400),
        ("9" * 5000, {}, 400),
        ("٣", {}, 404),
        ("-1", {}, 404),
        ("done", {}, 404),
        ("start/now", {}, 404),
        ("start", {"rid": RID.upper()}, 200),
        ("", {"rid": "1"}, 400),
        ("", {"rid": ""}, 400),
        ("", {"rid": RID.replace("-", "")}, 400),
        ("", {"create": "1"}, 200),
    ],
)
def test_what_is_no_report_is_refused_and_changes_nothing(rest: str, query: dict[str, str], status: int) -> None:
    job = Job()
    assert job.ping(rest, query=query).status == status
    assert bool(job.kept) is (status == 200)


def test_what_is_kept_is_bounded_whatever_is_sent() -> None:
    job = Job()
    for number in range(100):
        job.ping("start", "\U0001f600".encode() * 25_000, rid=f"{number:08}-ba80-4113-9fc0-f4e0a8c1e1a4")
        job.ping("log", b"\xff\x00" * 50_000)
    job.ping("fail", b"\xf0\x9f\x98\x80" * 25_000)
    assert len(json.dumps(job.kept.data)) < MEMORY_BYTES
    assert job.reason() == "status"
    assert not job.probe.dropped


def test_of_a_long_report_the_beginning_and_the_end_are_evidence() -> None:
    job = Job()
    job.ping("1", b"dumping shop\n" + b"." * 50_000 + b"\nno space left on device\n")
    failed = job.judge()
    assert failed is not None
    text = str(job.probe.evidence["report"])
    assert text.startswith("dumping shop")
    assert text.endswith("no space left on device")


# What is told apart


def test_a_job_of_which_nothing_is_known_yet_is_not_bad() -> None:
    assert Job().judge() is None


def test_a_run_that_ended_well_is_well_and_how_long_it_took_is_measured() -> None:
    job = Job()
    job.ping("start")
    job.after(90).ping("0")
    assert job.judge() is None
    assert job.probe.measurements == {"job_seconds": 90.0}
    job.after(10).ping()
    assert job.judge() is None
    assert job.probe.measurements == {}


@pytest.mark.parametrize(("word", "said"), [("fail", "it reported a failure"), ("3", "it ended with exit code 3")])
def test_a_failure_is_told_with_what_the_job_said(word: str, said: str) -> None:
    job = Job()
    job.ping("log", b"12 tables")
    job.ping(word, b"disk full")
    failed = job.judge()
    assert failed is not None
    assert (failed.reason, failed.sentence) == ("status", f"{said} at Fri 15 Jan 2027 08:00:00 UTC")
    assert job.probe.evidence == {"report": "disk full", "log": "12 tables"}
    job.ping()
    assert job.judge() is None


def test_a_report_that_does_not_come_is_missing_after_the_grace() -> None:
    job = Job()
    job.ping()
    assert job.judge() is None
    assert job.due() == NOON + HOUR + 1800
    job.after(HOUR + 1799)
    assert job.due() > job.now
    assert job.judge() is None
    job.after(1)
    assert job.due() <= job.now
    failed = job.judge()
    assert failed is not None
    assert failed.reason == "absent"
    assert failed.sentence == (
        "nothing since Fri 15 Jan 2027 08:00:00 UTC; "
        "a report was expected at Fri 15 Jan 2027 09:00:00 UTC, with 30 min of grace"
    )


def test_what_is_missing_is_looked_at_again_when_the_next_report_is_missing_and_not_before() -> None:
    job = Job()
    job.ping()
    job.judge()
    for number in range(1, 5):
        assert job.due() == NOON + number * HOUR + 1800
        job.now = job.due()
        job.due()
        assert job.due() <= job.now
        assert job.reason() == "absent"
    job.ping("start")
    job.ping("log")
    assert job.reason() == "absent"
    job.ping()
    assert job.reason() == ""


def test_of_reports_that_were_missing_while_nobody_asked_one_is_told() -> None:
    job = Job()
    job.ping()
    job.judge()
    job.after(1000 * HOUR)
    assert job.due() <= job.now
    assert job.reason() == "absent"
    assert job.due() > job.now


def test_a_job_that_never_reported_is_missing_counted_from_when_it_was_first_seen() -> None:
    job = Job()
    assert job.due() == NOON + HOUR + 1800
    job.after(HOUR + 1800).due()
    failed = job.judge()
    assert failed is not None
    assert failed.sentence.startswith("nothing was ever reported; a report was expected at Fri 15 Jan 2027 09:00:00")


def test_by_cron_each_slot_is_expected_on_the_clocks_of_its_zone_and_a_little_early_is_in_time() -> None:
    nightly = expect(Cron("0 3 * * *", "Europe/Stockholm"), 0.0)
    job = Job()
    job.now = two = 1_799_978_400.0  # 02:00 UTC, 03:00 in Stockholm
    job.now -= 3
    job.ping()
    job.judge()
    assert job.due(nightly) == two + 86_400 + 1800
    job.now = two + 1700
    job.ping()
    job.judge()
    assert job.due(nightly) == two + 86_400 + 1800


def test_a_run_that_does_not_end_is_told_and_while_it_may_go_on_no_report_is_missing() -> None:
    job = Job(at_most="2h")
    job.ping()
    job.judge()
    job.after(HOUR).ping("start", rid=RID)
    job.after(1800)
    assert job.due() == NOON + 3 * HOUR
    job.now = NOON + 3 * HOUR
    assert job.due() <= job.now
    failed = job.judge()
    assert failed is not None
    assert failed.reason == "timeout"
    assert failed.sentence == "it started at Fri 15 Jan 2027 09:00:00 UTC and has not ended within 2 h"
    assert job.due() == NOON + 4 * HOUR + 1800
    job.after(600).ping(rid=RID)
    failed = job.judge()
    assert failed is not None
    assert (failed.reason, failed.sentence) == ("timeout", "it took 2 h 10 min, and should take 2 h at most")
    assert job.probe.measurements == {"job_seconds": 7800.0}


def test_a_run_that_is_missing_says_that_it_started_where_nothing_bounds_it() -> None:
    job = Job()
    job.ping("start")
    job.due()
    job.after(HOUR + 1800).due()
    failed = job.judge()
    assert failed is not None
    assert failed.sentence.endswith("; a run started at Fri 15 Jan 2027 08:00:00 UTC and has not ended")


def test_a_run_that_was_too_short_has_not_done_its_work() -> None:
    job = Job(at_least="10s")
    job.ping("start")
    job.after(2.5).ping("0")
    failed = job.judge()
    assert failed is not None
    assert (failed.reason, failed.sentence) == ("content", "it took 2.5 s only, and should take at least 10 s")
    job.ping("0")
    assert job.judge() is None  # it did not tell when it started


@pytest.mark.parametrize(("overlap", "reason"), [("allow", ""), ("warn", "warn"), ("fail", "mismatch")])
def test_runs_that_overlap_are_told_apart_by_their_ids(overlap: str, reason: str) -> None:
    job = Job(overlap=overlap)
    assert job.ping("start", rid=RID).runs is False
    assert job.after(60).ping("start", rid=OTHER).runs is (overlap != "allow")
    assert job.reason() == reason
    if reason == "warn":
        assert job.probe.caution is not None
        assert job.probe.caution.sentence == (
            "a run started at Fri 15 Jan 2027 08:01:00 UTC while the one of Fri 15 Jan 2027 08:00:00 UTC was under way"
        )
    job.after(30).ping(rid=RID)
    assert job.reason() == ""
    assert job.probe.measurements == {"job_seconds": 90.0}
    job.after(30).ping(rid=OTHER)
    assert job.reason() == ""
    assert job.probe.measurements == {"job_seconds": 60.0}


def test_a_run_that_died_is_forgotten_once_a_later_one_ended_well() -> None:
    job = Job(overlap="fail")
    job.ping("start", rid=RID)
    job.after(60).ping("start", rid=OTHER)
    assert job.reason() == "mismatch"
    job.after(60).ping(rid=OTHER)
    job.ping("start", rid=OTHER)
    assert job.reason() == ""


def test_what_a_run_tells_twice_as_no_answer_came_counts_once() -> None:
    job = Job(at_least="10s", at_most="1m")
    job.ping("start", rid=RID)
    job.after(2).ping("0", rid=RID)
    assert job.after(4).ping("start", rid=RID).runs is False
    assert "open" not in job.kept
    job.after(4).ping("0", rid=RID)
    assert job.reason() == "content"
    assert job.kept["last"]["seconds"] == 2
    job.after(300).ping("start", rid=RID)
    assert "open" in job.kept  # a job that has but one id for all of its runs


def test_a_start_without_an_id_is_the_start_of_the_same_run_and_an_end_without_ends_all() -> None:
    job = Job(overlap="fail")
    job.ping("start")
    job.after(60).ping("start")
    assert job.reason() == ""
    job.ping("start", rid=RID)
    job.after(60).ping()
    assert "open" not in job.kept
    assert job.reason() == ""
    assert job.probe.measurements == {"job_seconds": 60.0}


def test_what_nobody_judged_is_due_at_once() -> None:
    job = Job()
    job.ping("fail")
    assert job.due() <= job.now
    assert job.reason() == "status"
    assert job.due() > job.now


# What we could not hear


def test_a_report_that_could_not_reach_us_is_not_missing() -> None:
    job = Job()
    job.ping()
    job.judge()
    job.after(5 * HOUR)
    woke = hourly(listening=job.now - 60)  # the one of now may have come before, as the last one may have been late
    assert job.due(woke) == NOON + 6 * HOUR + 1800
    assert job.judge() is None
    job.now = NOON + 6 * HOUR + 1800
    assert job.due(woke) <= job.now
    assert job.reason() == "absent"


def test_a_job_that_dies_is_found_out_although_we_restart_whenever_it_should_report() -> None:
    job = Job()
    job.ping()
    job.judge()
    for number in range(1, 3):
        job.now = NOON + number * HOUR + 60
        assert job.due(hourly(listening=job.now)) == NOON + (number + 1) * HOUR + 1800
        assert job.judge() is None
    job.now = woke = NOON + 3 * HOUR + 60
    assert job.due(hourly(listening=woke)) == woke + 1800
    job.now = woke + 1800
    assert job.due(hourly(listening=woke)) <= job.now
    assert job.reason() == "absent"


def test_an_end_that_could_not_reach_us_is_neither_missing_nor_an_overlap() -> None:
    job = Job(at_most="2h", overlap="fail")
    job.ping("start", rid=RID)
    woke = hourly(listening=NOON + HOUR)
    job.after(HOUR)
    assert job.due(woke) == NOON + 2 * HOUR + 1800
    job.ping("start", rid=OTHER)
    assert job.reason() == ""
    assert job.due(woke) == NOON + 3 * HOUR


def test_a_clock_that_was_set_back_delays_nothing() -> None:
    job = Job(at_most="2h")
    job.ping()
    job.ping("start")
    job.judge()
    job.now -= 1000 * HOUR
    assert job.due(hourly(listening=job.now)) == job.now + 2 * HOUR


# All of it, against a model that looks every second

WORDS = st.sampled_from(["", "fail", "3", "0", "start", "start", "log"])
RIDS = st.sampled_from(["", RID, OTHER])
EVENTS = st.lists(st.tuples(st.integers(1, 25), WORDS, RIDS), max_size=25)
END = 60
"""Seconds after the last report."""


class Model:
    """What is wrong with a job, found out second by second."""

    def __init__(self, every: int, grace: int, at_least: int | None, at_most: int | None) -> None:
        self.every, self.grace, self.at_least, self.at_most = every, grace, at_least, at_most
        self.since = 0
        self.open: dict[str, int] = {}
        self.late: tuple[str, str, int] | None = None
        self.clash = False
        self.last: tuple[bool, int | None] = (True, None)
        self.ended: tuple[str, int] = ("", 0)

    def take(self, now: int, word: str, rid: str) -> None:
        if word == "log":
            return
        again = rid and rid == self.ended[0] and rid not in self.open and now <= self.ended[1] + 30
        if word == "start" and again:
            return
        if word == "start":
            self.clash = self.clash or any(other != rid for other in self.open)
            self.open[rid] = now
            return
        began = self.open.pop(rid, None)
        if began is None and self.late and self.late[:2] == ("timeout", rid):
            began = self.late[2]
        is_ok = word in ("", "0")
        if not rid:
            self.open = {}
        elif is_ok and began is not None and self.at_most is None:
            self.open = {other: at for other, at in self.open.items() if at > began}
        self.since, self.late, self.clash = now, None, False
        took = self.last[1] if again else None
        self.last = (is_ok, took if began is None else now - began)
        self.ended = (rid, now)

    def look(self, now: int) -> None:
        under_way = [at for at in self.open.values() if self.at_most is not None]
        for rid, at in sorted(self.open.items(), key=lambda item: (item[1], item[0])):
            if self.at_most is not None and now >= at + self.at_most:
                self.late, self.since = ("timeout", rid, at), at + self.at_most
                del self.open[rid]
                return
        if not under_way and now >= self.since + self.every + self.grace:
            self.late = ("absent", "", 0)
            self.since += self.every
            if now >= self.since + self.every + self.grace:
                self.since = now - self.grace

    @property
    def reason(self) -> str:
        is_ok, seconds = self.last
        if self.late:
            return self.late[0]
        if self.clash:
            return "mismatch"
        if not is_ok:
            return "status"
        if seconds is not None and self.at_least is not None and seconds < self.at_least:
            return "content"
        return "timeout" if seconds is not None and self.at_most is not None and seconds > self.at_most else ""


def moments(job: Job, expected: Expected, start: int, end: int) -> Iterator[int]:
    """Yield the seconds at which the check is due, as the daemon asks: at the time, and not again within a second."""
    at = max(job.due(expected), start + 1)
    while at < end:
        job.now = at
        if job.due(expected) <= at:
            yield int(at)
        at = max(job.due(expected), at + 1)


@settings(max_examples=400, deadline=None)
@given(
    EVENTS,
    st.integers(1, 20),
    st.integers(0, 10),
    st.sampled_from([None, 2, 5]),
    st.sampled_from([None, 6, 15, 40]),
)
def test_it_finds_what_a_model_finds_that_looks_every_second(
    events: list[tuple[int, str, str]], every: int, grace: int, at_least: int | None, at_most: int | None
) -> None:
    bounds = {name: f"{one}s" for name, one in (("at_least", at_least), ("at_most", at_most)) if one}
    job = Job(grace=f"{grace}s", overlap="fail", **bounds)
    model, expected = Model(every, grace, at_least, at_most), expect(Interval(float(every)), 0.0)
    job.now, now = 0.0, 0
    job.due(expected)
    for wait, word, rid in (*events, (END, "log", "")):
        told = {0: model.reason}
        looked = {at: job.reason() for at in moments(job, expected, now, now + wait)}
        for second in range(now + 1, now + wait):
            model.look(second)
            told[second] = model.reason
        assert all(told[at] == reason for at, reason in looked.items())
        assert job.reason() == model.reason
        now = now + wait
        job.now = float(now)
        job.ping(word, rid=rid)
        model.take(now, word, rid)
        assert job.reason() == model.reason
        job.due(expected)
        model.look(now)
        job.kept = Memory(json.dumps(job.kept.data))  # as after a restart
        assert job.reason() == model.reason


SCHEDULES = [Interval(HOUR), Cron("0 * * * *", "UTC"), Cron("30 3 * * *", "America/New_York")]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SCHEDULES),
    st.lists(st.tuples(st.floats(0, 40 * HOUR), st.floats(1, 30 * HOUR)), max_size=2),
    st.lists(st.floats(0, 500), min_size=60, max_size=60),
    st.booleans(),
)
def test_a_job_that_does_its_work_is_never_told_of_whatever_we_slept_through(
    schedule: Any, sleeps: list[tuple[float, float]], delays: list[float], starts: bool
) -> None:
    job = Job(grace="30m", at_most="20m", overlap="fail")
    every = expect(schedule, 0.0)
    pings: list[tuple[float, str, str]] = []
    at = NOON
    for number, delay in enumerate(delays):
        at, rid = every(at), f"{number:08}-ba80-4113-9fc0-f4e0a8c1e1a4"
        pings += [(at + delay, "start", rid)] * starts + [(at + delay + 600, "", rid)]
    awake = NOON
    job.due(expect(schedule, awake))
    for gap, length in [*sleeps, (1e9, 0.0)]:
        heard = [ping for ping in pings if awake <= ping[0] < awake + gap]
        for when, word, rid in [*heard, (min(awake + gap, pings[-1][0]), "log", RID)]:
            while (due := job.due(expect(schedule, awake))) < when:
                job.now = max(due, job.now + 1)
                if job.due(expect(schedule, awake)) <= job.now:
                    assert job.reason() == ""
            job.now = when
            job.ping(word, rid=rid)
            assert job.reason() == ""
        awake = awake + gap + length
        job.now = max(job.now, awake)
        if awake >= pings[-1][0]:
            return


@settings(deadline=None)
@given(st.sampled_from(SCHEDULES), st.floats(0, 40 * HOUR), st.booleans())
def test_a_job_that_does_nothing_any_more_is_noticed_after_the_next_time_that_we_hear(
    schedule: Any, woke: float, started: bool
) -> None:
    job = Job(at_most="2h")
    job.ping()
    if started:
        job.ping("start")
    job.judge()
    job.after(woke)
    expected = expect(schedule, job.now)
    for _ in range(3):
        if (due := job.due(expected)) <= job.now and job.reason():
            break
        job.now = max(due, job.now)
    assert job.reason() in ("absent", "timeout")
    assert job.now <= expected(NOON + woke) + max(1800, 2 * HOUR)

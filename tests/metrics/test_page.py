from __future__ import annotations

import shutil
import subprocess
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from heartbeat import Check, Probe
from heartbeat.config.model import CheckConfig
from heartbeat.core.model import Outcome, Reason, Result
from heartbeat.core.objectives import Objective
from heartbeat.core.policy import Policy
from heartbeat.core.schedule import Interval
from heartbeat.core.status import Acknowledgement, Incident, Status
from heartbeat.metrics.instruments import Backlog, Instruments
from heartbeat.metrics.page import CHUNK, FAMILIES, SELDOM, SLICE, STEP, Page
from heartbeat.state import Live, State

BUCKETS = (0.05, 0.25, 1.0, 5.0)
Make = Callable[..., Live]
Sample = tuple[str, tuple[tuple[str, str], ...]]

GOLDEN = """\
# HELP heartbeat_check_info A configured check, with its labels.
# TYPE heartbeat_check_info gauge
heartbeat_check_info{check="shop",type="http",location="eu",team="web"} 1
heartbeat_check_info{check="new",type="http",location="eu"} 1
# HELP heartbeat_check_up Whether the target was good in the latest run that says anything about it.
# TYPE heartbeat_check_up gauge
heartbeat_check_up{check="shop",type="http",location="eu",team="web"} 0
# HELP heartbeat_check_severity How bad it is after the policy: 0 ok, 1 warn, 2 fail.
# TYPE heartbeat_check_severity gauge
heartbeat_check_severity{check="shop",type="http",location="eu",team="web"} 2
# HELP heartbeat_check_broken Whether the check itself is bad, so that nothing is known of the target.
# TYPE heartbeat_check_broken gauge
heartbeat_check_broken{check="shop",type="http",location="eu",team="web"} 0
# HELP heartbeat_check_runs_total Runs by outcome.
# TYPE heartbeat_check_runs_total counter
heartbeat_check_runs_total{check="shop",type="http",location="eu",team="web",outcome="ok"} 1
heartbeat_check_runs_total{check="shop",type="http",location="eu",team="web",outcome="fail"} 1
heartbeat_check_runs_total{check="shop",type="http",location="eu",team="web",outcome="error"} 0
heartbeat_check_runs_total{check="shop",type="http",location="eu",team="web",outcome="missed"} 2
heartbeat_check_runs_total{check="new",type="http",location="eu",outcome="ok"} 0
heartbeat_check_runs_total{check="new",type="http",location="eu",outcome="fail"} 0
heartbeat_check_runs_total{check="new",type="http",location="eu",outcome="error"} 0
heartbeat_check_runs_total{check="new",type="http",location="eu",outcome="missed"} 0
# HELP heartbeat_check_run_duration_seconds How long the runs took.
# TYPE heartbeat_check_run_duration_seconds histogram
heartbeat_check_run_duration_seconds_bucket{check="shop",type="http",location="eu",team="web",le="0.25"} 1
heartbeat_check_run_duration_seconds_bucket{check="shop",type="http",location="eu",team="web",le="1.0"} 2
heartbeat_check_run_duration_seconds_bucket{check="shop",type="http",location="eu",team="web",le="+Inf"} 2
heartbeat_check_run_duration_seconds_sum{check="shop",type="http",location="eu",team="web"} 0.625
heartbeat_check_run_duration_seconds_count{check="shop",type="http",location="eu",team="web"} 2
heartbeat_check_run_duration_seconds_bucket{check="new",type="http",location="eu",le="0.25"} 0
heartbeat_check_run_duration_seconds_bucket{check="new",type="http",location="eu",le="1.0"} 0
heartbeat_check_run_duration_seconds_bucket{check="new",type="http",location="eu",le="+Inf"} 0
heartbeat_check_run_duration_seconds_sum{check="new",type="http",location="eu"} 0.0
heartbeat_check_run_duration_seconds_count{check="new",type="http",location="eu"} 0
# HELP heartbeat_check_phase_seconds How long the phases of the latest run took.
# TYPE heartbeat_check_phase_seconds gauge
heartbeat_check_phase_seconds{check="shop",type="http",location="eu",team="web",phase="resolve"} 0.001
# HELP heartbeat_check_timeout_seconds The deadline of each run.
# TYPE heartbeat_check_timeout_seconds gauge
heartbeat_check_timeout_seconds{check="shop",type="http",location="eu",team="web"} 10.0
heartbeat_check_timeout_seconds{check="new",type="http",location="eu"} 10.0
# HELP heartbeat_check_last_run_timestamp_seconds When the latest run ended.
# TYPE heartbeat_check_last_run_timestamp_seconds gauge
heartbeat_check_last_run_timestamp_seconds{check="shop",type="http",location="eu",team="web"} 1030.5
# HELP heartbeat_check_last_success_timestamp_seconds When the latest run ended that was ok.
# TYPE heartbeat_check_last_success_timestamp_seconds gauge
heartbeat_check_last_success_timestamp_seconds{check="shop",type="http",location="eu",team="web"} 1000.5
# HELP heartbeat_check_failure_info Why the latest run was not ok; absent when it was.
# TYPE heartbeat_check_failure_info gauge
heartbeat_check_failure_info{check="shop",type="http",location="eu",team="web",reason="connect"} 1
# HELP heartbeat_probe_depth What the latest run measured as depth.
# TYPE heartbeat_probe_depth gauge
heartbeat_probe_depth{check="shop",type="http",location="eu",team="web"} 3.0
"""


def text_of(page: Page) -> str:
    return b"".join(page.slices()).decode()


def page_of(*lives: Live, location: str = "", buckets: tuple[float, ...] = BUCKETS) -> Page:
    return Page(State({live.config.name: live for live in lives}), lambda: location, lambda: buckets)


def samples(text: str) -> dict[Sample, float]:
    """Read the page as Prometheus' own client does; no family and no series may come twice."""
    found: dict[Sample, float] = {}
    names = set()
    for family in text_string_to_metric_families(text):
        assert family.name not in names
        names.add(family.name)
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def names_of(text: str) -> set[str]:
    return {name for name, _ in samples(text)}


def test_the_page_is_as_it_should_be(make: Make, run: Make) -> None:
    bounds = (0.25, 1.0)
    shop = make("shop", {"team": "web"})
    measured = Result(Outcome.FAIL, 0.5, Reason.CONNECT, "x", measurements={"depth": 3.0}, phases={"resolve": 0.001})
    run(shop, Result(Outcome.OK, 0.125), bounds=bounds)
    run(shop, measured, at=1030.5, bounds=bounds)
    shop.status = replace(shop.status, fail=True)
    shop.miss(Reason.LATE, 2)

    assert text_of(page_of(shop, make("new"), location="eu", buckets=bounds)) == GOLDEN


def test_the_parser_reads_every_series(make: Make, run: Make, good: Result) -> None:
    read = samples(text_of(page_of(run(make(), good), make("new"))))
    shop = (("check", "shop"), ("type", "http"))

    assert read["heartbeat_check_up", shop] == 1
    assert read["heartbeat_check_severity", shop] == 0
    assert read["heartbeat_probe_body_bytes", shop] == 5120
    assert read["heartbeat_check_run_duration_seconds_bucket", (*shop[:1], ("le", "0.25"), *shop[1:])] == 1


def test_a_check_that_has_not_run_has_no_result_series(make: Make) -> None:
    assert names_of(text_of(page_of(make()))) == {
        "heartbeat_check_info",
        "heartbeat_check_timeout_seconds",
        "heartbeat_check_runs_total",
        "heartbeat_check_run_duration_seconds_bucket",
        "heartbeat_check_run_duration_seconds_sum",
        "heartbeat_check_run_duration_seconds_count",
    }


def test_a_good_run_has_no_failure(make: Make, run: Make, good: Result, bad: Result) -> None:
    live = run(make(), bad)
    page = page_of(live)
    assert 'heartbeat_check_failure_info{check="shop",type="http",reason="connect"} 1\n' in text_of(page)

    run(live, good)

    assert "heartbeat_check_failure_info" not in text_of(page)


def test_an_error_is_no_verdict_on_the_target(make: Make, run: Make, good: Result) -> None:
    live = run(make(), good)

    run(live, Result(Outcome.ERROR, 0.1, Reason.PLUGIN, "bang"))

    text = text_of(page_of(live))
    assert 'heartbeat_check_up{check="shop",type="http"} 1\n' in text
    assert 'heartbeat_check_broken{check="shop",type="http"} 1\n' in text
    assert 'reason="plugin"} 1\n' in text


def test_a_status_that_is_broken_still_is_told(make: Make, run: Make, good: Result) -> None:
    live = run(make(), good)
    live.status = replace(live.status, broken=True)

    assert 'heartbeat_check_broken{check="shop",type="http"} 1\n' in text_of(page_of(live))


def test_what_is_true_of_few_checks_has_families_of_its_own(make: Make, run: Make, good: Result) -> None:
    shop, cart, calm = (run(make(name), good) for name in ("shop", "cart", "calm"))
    shop.status = replace(shop.status, flapping=Incident("inc_1", 1.0, 1, 1.0))
    asked: list[str] = []
    page = page_of(shop, cart, calm)

    def suppressed(live: Live) -> str:
        asked.append(live.config.name)
        return "" if live is calm else "silence"

    page.suppressed = suppressed
    assert samples(text_of(page)) == samples(text_of(page_of(shop, cart, calm))) | {
        ("heartbeat_check_suppressed", (("check", "shop"), ("reason", "silence"), ("type", "http"))): 1.0
    }
    assert asked == ["shop"], "where nothing is quiet only those with something open are asked about"

    page.quiet = lambda: True

    found = {dict(labels)["check"] for name, labels in samples(text_of(page)) if name == "heartbeat_check_suppressed"}
    assert found == {"shop", "cart"}


def test_calm_checks_have_none_of_the_families_that_are_true_of_few(make: Make, run: Make, good: Result) -> None:
    text = text_of(page_of(run(make(), good)))
    assert [name for name, _, _ in SELDOM if name in text] == []


def test_a_removed_check_vanishes(make: Make, run: Make, good: Result) -> None:
    page = page_of(run(make("old"), good), make("kept"))
    assert 'check="old"' in text_of(page)

    del page.state.checks["old"]

    assert 'check="old"' not in text_of(page)
    assert 'check="kept"' in text_of(page)
    assert list(page._labels) == ["kept"]


def test_kept_text_follows_every_change(make: Make, run: Make, good: Result, bad: Result) -> None:
    live = run(make(), good)
    where = ["here"]
    bounds: list[tuple[float, ...]] = [BUCKETS]
    page = Page(State({"shop": live}), lambda: where[0], lambda: bounds[0])
    first = text_of(page)
    assert text_of(page) == first

    run(live, bad)
    second = text_of(page)
    live.config = replace(live.config, labels={"team": "web"})
    third = text_of(page)
    where[0] = "there"
    fourth = text_of(page)
    bounds[0] = (1.0,)
    fifth = text_of(page)

    assert "heartbeat_check_up" in first
    assert 'reason="connect"' in second
    assert 'team="web"' in third
    assert 'location="there"' in fourth
    assert 'le="5.0"' not in fifth


def test_a_check_that_is_replaced_by_its_namesake_is_written_anew(make: Make, run: Make, good: Result) -> None:
    page = page_of(run(make(), good))
    text_of(page)

    page.state.checks["shop"] = run(make(), replace(good, duration=3.0))

    assert "heartbeat_check_run_duration_seconds_sum" in text_of(page)
    assert 'heartbeat_check_run_duration_seconds_sum{check="shop",type="http"} 3.0\n' in text_of(page)


def test_counts_for_other_bounds_are_not_shown(make: Make, run: Make, good: Result) -> None:
    page = page_of(run(make(), good), buckets=(1.0,))

    assert 'heartbeat_check_run_duration_seconds_count{check="shop",type="http"} 0\n' in text_of(page)


def test_a_secret_in_a_label_is_redacted(make: Make) -> None:
    page = page_of(make("shop", {"tenant": "hunter2"}))
    page.redact = lambda text: text.replace("hunter2", "<redacted:X>")

    assert "hunter2" not in text_of(page)
    assert 'tenant="<redacted:X>"' in text_of(page)


def test_an_http_check_has_at_most_twenty_series_besides_the_histogram(make: Make, run: Make, bad: Result) -> None:
    live = run(make(), Result(Outcome.OK, 0.1))
    fixed = run(live, bad)  # the reason of a failure is a series, too
    read = samples(text_of(page_of(fixed)))

    assert len([name for name, _ in read if "duration" not in name]) <= 12


def test_values_that_are_no_numbers_are_left_out(make: Make, run: Make) -> None:
    live = run(make(), Result(Outcome.OK, 0.1, measurements={"depth": float("nan"), "size_bytes": float("inf")}))

    assert "heartbeat_probe" not in text_of(page_of(live))


def test_a_large_page_comes_in_small_chunks_and_whole(make: Make, run: Make, good: Result) -> None:
    page = page_of(*(run(make(f"check-{i}"), good) for i in range(1500)))
    page.clock = lambda: 0.0  # no slice is ever too long

    chunks = list(page.slices())

    assert CHUNK <= max(map(len, chunks)) < 2 * CHUNK
    assert len(samples(b"".join(chunks).decode())) == 1500 * (11 + 7 + 5 + 3)


def test_a_slice_ends_when_its_time_is_over(make: Make, run: Make, good: Result) -> None:
    page = page_of(*(run(make(f"check-{i}"), good) for i in range(12 * STEP)))
    looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return looks * SLICE * 0.26

    page.clock = clock
    seen, chunks = [], []
    for chunk in page.slices():
        seen.append(looks)
        chunks.append(chunk)

    # One look sets the end, the fourth after it finds it; between two looks there are STEP checks, and the longest
    # family has seven lines for each: four buckets, +Inf, sum and count.
    assert max(after - before for before, after in pairwise(seen)) <= 5
    assert chunks[:3] == [b""] * 3, "twelve steps of noting, four to a slice"
    assert max(chunk.count(b"\n") for chunk in chunks) <= 4 * STEP * 7 + 2 * 4
    assert len(samples(b"".join(chunks).decode())) == 12 * STEP * (11 + 7 + 5 + 3)


def test_a_page_costs_little_memory_while_it_is_written_and_less_afterwards(
    make: Make, run: Make, good: Result, bad: Result
) -> None:
    checks = 3000
    page = page_of(*(run(make(f"check-{i}", {"team": "web"}), good) for i in range(checks)))
    tracemalloc.start()
    for result in (good, bad, good):
        for live in page.state.checks.values():
            run(live, result)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        size = sum(map(len, page.slices()))
        peak = tracemalloc.get_traced_memory()[1] - before
        assert size / checks > 1500
        assert peak / checks < 800, "the labels, the values, and a few chunks"
    page._labels.clear()
    kept = before - tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert 100 < kept / checks < 250, "the labels"


def test_a_page_shows_each_check_as_it_was_at_one_moment(make: Make, run: Make, good: Result, bad: Result) -> None:
    lives = [run(make(f"check-{i}"), good) for i in range(4 * STEP)]
    page = page_of(*lives)
    page.clock = count().__next__  # each step is a slice
    before, chunks = text_of(page), []

    for chunk in page.slices():
        chunks.append(chunk)
        if chunk:  # all are noted
            for live in lives:
                run(live, bad, at=2000.0)
                live.miss(Reason.LATE)
                live.status = replace(live.status, fail=True)

    assert b"".join(chunks).decode() == before
    assert 'reason="connect"' in text_of(page)


def test_labels_are_made_once_per_configuration(make: Make, run: Make, good: Result) -> None:
    lives = [make(f"check-{i}") for i in range(3)]
    page = page_of(*lives)
    asked: list[str] = []

    def redact(text: str) -> str:
        asked.append(text)
        return text

    page.redact = redact
    text_of(page)
    first = len(asked)

    run(lives[0], good)
    text_of(page)
    lives[1].config = replace(lives[1].config, labels={"team": "web"})
    text_of(page)

    assert asked[first:] == ["check-1", "http", "web"]


def test_two_pages_at_once_do_not_mix_their_locations(make: Make) -> None:
    page = page_of(*(make(f"check-{i}") for i in range(3 * STEP)))
    page.clock = count().__next__
    where = ["here"]
    page.location = lambda: where[0]

    first = page.slices()
    begun = next(first)
    where[0] = "there"
    second = text_of(page)
    old = (begun + b"".join(first)).decode()

    assert ("there" in old, "here" in second.replace("there", "")) == (False, False)
    assert text_of(page) == second


def test_checks_that_come_and_go_while_a_page_is_written_do_not_break_it(make: Make, run: Make, good: Result) -> None:
    page = page_of(*(run(make(f"check-{i}"), good) for i in range(200)))
    page.clock = count().__next__  # each step is a slice
    chunks = []

    for at, chunk in enumerate(page.slices()):
        chunks.append(chunk)
        page.state.checks.pop(f"check-{at}", None)
        page.state.checks[f"late-{at}"] = make(f"late-{at}")

    assert 'check="check-199"' in b"".join(chunks).decode()
    samples(b"".join(chunks).decode())
    assert 'check="late-0"' in text_of(page)
    assert 'check="check-0"' not in text_of(page)


class Quiet(Check):
    async def run(self, probe: Probe) -> None:
        """Do nothing."""


values = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)


@given(
    labels=st.dictionaries(st.sampled_from(["team", "env", "a_b", "x1"]), values),
    location=values,
    measured=st.dictionaries(st.from_regex(r"\A[a-z][a-z0-9_]{0,8}x\Z"), st.floats(allow_nan=True), max_size=4),
    phases=st.dictionaries(st.from_regex(r"\A[a-z]{1,5}(\.[a-z]{1,5})?\Z"), st.floats(0, 100), max_size=4),
)
def test_whatever_the_labels_and_names_the_page_reads_back(
    labels: dict[str, str], location: str, measured: dict[str, float], phases: dict[str, float]
) -> None:
    live = Live(CheckConfig('c\\"\n', "http", Quiet(), "", Interval(1), 1.0, Policy(), labels=labels))
    live.result = Result(Outcome.OK, 0.1, measurements=measured, phases=phases)
    expected = {"check": 'c\\"\n', "type": "http", "location": location, **labels}
    common = tuple(sorted((key, value) for key, value in expected.items() if value))

    read = samples(text_of(page_of(live, location=location)))

    assert read["heartbeat_check_info", common] == 1
    for name, value in measured.items():
        wanted = value if abs(value) < float("inf") else None
        assert read.get((f"heartbeat_probe_{name}", common)) == wanted
    for name, value in phases.items():
        assert read["heartbeat_check_phase_seconds", tuple(sorted((*common, ("phase", name))))] == value


def test_lone_surrogates_do_not_stop_the_page(make: Make) -> None:
    assert b'team="?"' in b"".join(page_of(make("shop", {"team": "\ud800"})).slices())


def promtool(text: bytes) -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("promtool")
    assert program
    return subprocess.run([program, "check", "metrics"], input=text, capture_output=True, timeout=50, check=False)


@pytest.mark.system("prometheus")
def test_promtool_accepts_the_page_without_a_word(make: Make, run: Make, good: Result, bad: Result) -> None:
    instruments = Instruments()
    instruments.know_channels([("oncall", "oncall/email")])
    instruments.backlogs = lambda: [Backlog("oncall", "oncall/email", 2, 3.5)]
    troubled = run(make("troubled"), good)
    taken = Incident("inc_1", 1.0, 1, 1.0, acknowledged=Acknowledgement("anna", "", 1.0))
    troubled.status = Status(flapping=taken, absent=taken)
    policy = Policy(recheck=5.0, interval=30.0)
    promised = Live(replace(make("promised").config, policy=policy, objective=Objective(0.99)))
    assert promised.windows is not None
    promised.windows.take(1000.0, good.outcome, good)
    lives = (run(make(), good), run(make("bad", {"team": "web"}), bad), make("new"), troubled, run(promised, good))
    page = page_of(*lives, location="eu")
    page.suppressed = lambda _: "silence"
    text = b"".join(page.slices())
    assert [name for name, _, _ in FAMILIES if f"# HELP {name} ".encode() not in text] == []

    done = promtool(text + instruments.text())

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    noisy: Any = promtool(b"# HELP x_total x\n# TYPE x_total gauge\nx_total 1\n")
    assert noisy.returncode != 0

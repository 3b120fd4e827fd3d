from __future__ import annotations

from collections.abc import Callable

import pytest

from heartbeat.config import Config
from heartbeat.core.limits import Bound, Limit
from heartbeat.core.model import Severity
from heartbeat.core.objectives import Objective

Load = Callable[..., Config]
Complain = Callable[..., list[str]]
WARN, FAIL = Severity.WARN, Severity.FAIL
AGGREGATES = "min, max, mean, p50, p95, p99, rate, delta, availability, count"
A_DURATION = "must be a duration such as 300ms, 30s, 5m, 1m30s, 4h or 7d"
TOO_FAST = "not even nothing but failures would use up the budget so fast; promise more"


@pytest.mark.parametrize(
    ("written", "limit"),
    [
        ("duration: {fail: 2s}", Limit("duration", (Bound(FAIL, 2.0),), "s")),
        ("phase.tls: {warn: 1s}", Limit("phase.tls", (Bound(WARN, 1.0),), "s")),
        ("p95 duration 10m: {warn: 500ms}", Limit("duration", (Bound(WARN, 0.5),), "s", "p95", 600.0)),
        ("p99.9 depth 1d: {warn: 5}", Limit("depth", (Bound(WARN, 5.0),), "", "p99.9", 86400.0)),
        ("mean phase.connect 1h: {fail: 1s}", Limit("phase.connect", (Bound(FAIL, 1.0),), "s", "mean", 3600.0)),
        ("availability 1h: {fail: {below: 99.5%}}",
         Limit("", (Bound(FAIL, below=0.995),), "ratio", "availability", 3600.0)),
        ("count error 10m: {warn: 0}", Limit("error", (Bound(WARN, 0.0),), "", "count", 600.0)),
        ("rate body_bytes 10m: {warn: 64KiB/s}", Limit("body_bytes", (Bound(WARN, 65536.0),), "B/s", "rate", 600.0)),
        ("rate jobs 10m: {warn: {below: 3}}", Limit("jobs", (Bound(WARN, below=3.0),), "/s", "rate", 600.0)),
        ("rate jobs 10m: {warn: 0.5/s}", Limit("jobs", (Bound(WARN, 0.5),), "/s", "rate", 600.0)),
        ("delta depth 10m: {warn: {below: -5}}", Limit("depth", (Bound(WARN, below=-5.0),), "", "delta", 600.0)),
        ("delta body_bytes 10m: {warn: {below: -1KiB}}",
         Limit("body_bytes", (Bound(WARN, below=-1024.0),), "B", "delta", 600.0)),
        ("delta body_bytes 10m: {warn: {below: -7}}",
         Limit("body_bytes", (Bound(WARN, below=-7.0),), "B", "delta", 600.0)),
        ("p95 duration 600s: {warn: 1s}",
         Limit("duration", (Bound(WARN, 1.0),), "s", "p95", 600.0, key="p95 duration 600s")),
        ("p95 duration 1h: {warn: 1s, samples: 20}", Limit("duration", (Bound(WARN, 1.0),), "s", "p95", 3600.0, 20)),
    ],
)  # fmt: skip
def test_a_limit_is_on_the_current_run_or_on_a_window(load_text: Load, written: str, limit: Limit) -> None:
    config = load_text(f"checks: {{a: {{every: 30s, shop: {{}}, limits: {{{written}}}}}}}")
    assert config.checks["a"].limits == (limit,)


@pytest.mark.parametrize(
    ("written", "bounds"),
    [
        ("{fail: {above: 2, clear: 1.5}}", (Bound(FAIL, 2.0, clear_above=1.5),)),
        ("{fail: {below: 2, clear: 3}}", (Bound(FAIL, below=2.0, clear_below=3.0),)),
        ("{warn: 2, fail: 3, clear: 1}", (Bound(WARN, 2.0, clear_above=1.0), Bound(FAIL, 3.0, clear_above=1.0))),
        ("{fail: {above: 3, clear: 2.5}, warn: 2, clear: 1}",
         (Bound(WARN, 2.0, clear_above=1.0), Bound(FAIL, 3.0, clear_above=2.5))),
        ("{fail: {above: 9, below: 1, clear: {above: 8, below: 2}}}", (Bound(FAIL, 9.0, 1.0, 8.0, 2.0),)),
        ("{fail: {above: 9, below: 1, clear: {below: 2}}}", (Bound(FAIL, 9.0, 1.0, clear_below=2.0),)),
        ("{warn: {above: 9}, fail: {below: 1}, clear: {above: 8, below: 2}}",
         (Bound(WARN, 9.0, clear_above=8.0), Bound(FAIL, below=1.0, clear_below=2.0))),
    ],
)  # fmt: skip
def test_what_clears_a_level_stands_in_it_or_beside_all_of_them(
    load_text: Load, written: str, bounds: tuple[Bound, ...]
) -> None:
    (limit,) = load_text(f"checks: {{a: {{shop: {{}}, limits: {{depth: {written}}}}}}}").checks["a"].limits
    assert limit.bounds == bounds


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [
        ("avg duration 10m: {warn: 1s}", 'avg duration 10m: unknown aggregate "avg"; did you mean "mean"?'),
        ("duration p95 10m: {warn: 1s}",
         f'duration p95 10m: unknown aggregate "duration"; use {AGGREGATES}'),
        ("p95 duration: {warn: 1s}",
         'p95 duration: must be written "p95 MEASURE WINDOW", such as "p95 duration 10m"'),
        ("availability fail 1h: {warn: {below: 9%}}",
         'availability fail 1h: must be written "availability WINDOW", such as "availability 1h"'),
        ("availability: {warn: {below: 9%}}", "availability: needs a window: write availability 1h"),
        ("p95 latency! 10m: {warn: 1s}",
         'p95 latency! 10m: unknown measure "latency!"; did you mean "duration"?'),
        ("p0 duration 10m: {warn: 1s}", 'p0 duration 10m: unknown aggregate "p0"; did you mean "p50"?'),
        ("count failed 1h: {warn: 3}", 'count failed 1h: unknown outcome "failed"; did you mean "fail"?'),
        ("p95 duration 10: {warn: 1s}",
         f'p95 duration 10: the window {A_DURATION}, not "10"'),
        ("p95 duration 500ms: {warn: 1s}", "p95 duration 500ms: the window must be from 1s to 366d"),
        ("p95 duration 9999d: {warn: 1s}", "p95 duration 9999d: the window must be from 1s to 366d"),
        ("p95 duration 30s: {warn: 1s}", "p95 duration 30s: the window (30s) is shorter than every (1m)"),
        ("delta depth 1m: {warn: 1}",
         "delta depth 1m: delta needs two runs: the window (1m) must be at least twice every (1m)"),
        ("p95 duration 10m: {warn: 1s, samples: 11}",
         "p95 duration 10m: never has 11 samples: 10 runs fit into 10m"),
        ("count fail 10m: {fail: 11}", "count fail 10m: never fires: 10 runs fit into 10m"),
        ("availability 1h: {fail: 99.5%}",
         'availability 1h.fail: would fire above "99.5%": write {below: …}'),
        ("availability 1h: {fail: {above: 100%}}", "availability 1h.fail: never fires: it is never above 100%"),
        ("availability 1h: {fail: {below: 0%}}", "availability 1h.fail: never fires: it is never below zero"),
        ("count ok 1h: {fail: {below: 0}}", "count ok 1h.fail: never fires: it is never below zero"),
        ("count ok 1h: {fail: 1.5}", "count ok 1h.fail: must be a whole number of runs"),
        ("count fail 1h: {fail: 3, samples: 5}",
         "count fail 1h.samples: has no effect here: only what is made of the samples of a window needs some"),
        ("duration: {fail: 3s, samples: 5}",
         "duration.samples: has no effect here: only what is made of the samples of a window needs some"),
        ("duration: {fail: 0s}", "duration.fail: fires for every value: it is always above zero"),
        ("duration: {fail: {below: 0s}}", "duration.fail: never fires: it is never below zero"),
        ("duration: {clear: 1s}", "duration: needs warn: or fail: with a value"),
        ("duration: {critical: 1s}", 'duration: unknown key "critical"; did you mean "fail"?'),
        ("duration: {fail: {over: 1s}}", 'duration.fail: unknown key "over"; did you mean "above"?'),
        ("duration: {fail: {clear: 1s}}", "duration.fail: needs above: or below: with a value"),
        ("duration: {fail: {above: 1s, clear: 1s}}",
         "duration.fail.clear: must be smaller than the value above which it fires"),
        ("depth: {fail: {below: 5, clear: 4}}",
         "depth.fail.clear: must be larger than the value below which it fires"),
        ("duration: {warn: 1s, fail: 2s, clear: 1500ms}",
         "duration.clear: must be smaller than the value above which it fires"),
        ("depth: {fail: {above: 9, clear: {below: 3}}}",
         "depth.fail.clear: has no effect on below, which the level does not have"),
        ("depth: {fail: {above: 9, below: 1, clear: 5}}",
         "depth.fail.clear: needs above: or below:, as the level has both"),
        ("depth: {fail: {above: 9, below: 1, clear: {above: 3, below: 4}}}",
         "depth.fail.clear: nothing ever clears it: above must not be smaller than below here"),
        ("depth: {warn: {below: 1}, fail: {above: 9}, clear: 5}",
         "depth.clear: needs above: or below:, as the levels have both"),
        ("depth: {warn: 9, clear: {above: 8, below: 3}}", "depth.clear: has no effect on below, which no level has"),
        ("depth: {warn: {above: 9, clear: 8}, clear: 7}", "depth.clear: has no effect: each level has its own"),
        ("depth: {warn: {above: 9, clear: {}}}", "depth.warn.clear: needs above: or below: with a value"),
    ],
)  # fmt: skip
def test_what_can_never_come_true_is_refused(complaints: Complain, limits: str, complaint: str) -> None:
    assert complaints(f"checks: {{a: {{shop: {{}}, limits: {{{limits}}}}}}}") == [f"checks.a.limits.{complaint}"]


def test_two_keys_for_one_window_are_refused(complaints: Complain) -> None:
    limits = "p95 duration 10m: {warn: 1s}, p95 duration 600s: {fail: 2s}"
    assert complaints(f"checks: {{a: {{shop: {{}}, limits: {{{limits}}}}}}}") == [
        'checks.a.limits.p95 duration 600s: says the same as "p95 duration 10m"'
    ]


@pytest.mark.parametrize(
    ("written", "objective"),
    [
        ("{availability: 99.9%}", Objective(0.999)),
        ("{availability: 0.99, window: 7d, failures: 5}", Objective(0.99, 7 * 86400.0, 5)),
    ],
)
def test_an_objective_is_a_promise_over_a_window(load_text: Load, written: str, objective: Objective) -> None:
    config = load_text(f"checks: {{a: {{shop: {{}}, objective: {written}}}}}")
    assert config.checks["a"].objective == objective


@pytest.mark.parametrize(
    ("every", "written", "complaint"),
    [
        ("1m", "{window: 30d}", "objective: needs availability: such as 99.9%"),
        ("1m", "{availability: 100%}", "objective.availability: leaves no error budget: it must be less than 100%"),
        ("1m", "{availability: 10%}", "objective.availability: must be at least 50%"),
        ("1m", "{availability: 99%, window: 1h}", "objective.window: must be at least 1d"),
        ("1m", "{slo: 99%}", 'objective: unknown key "slo"; did you mean "availability"?'),
        ("1m", "{availability: 50%, window: 366d}", f"objective: never fires: {TOO_FAST}"),
        ("2d", "{availability: 99%}", "objective: never fires: 3 failures do not fit into 3d at this interval"),
    ],
)  # fmt: skip
def test_an_objective_that_never_fires_is_refused(
    complaints: Complain, every: str, written: str, complaint: str
) -> None:
    found = complaints(f"checks: {{a: {{every: {every}, shop: {{}}, objective: {written}}}}}")
    assert f"checks.a.{complaint}" in found

from __future__ import annotations

import pytest

from heartbeat.config.requirement import read_required
from heartbeat.core.gate import Required
from heartbeat.core.limits import Bound
from heartbeat.core.model import Severity


def only(text: str) -> tuple[str, str, tuple[Bound, ...]]:
    """Return name, aggregate and levels of the one limit in a text."""
    required = read_required([text])
    [limit] = required.each + required.whole
    return limit.name, limit.aggregate, limit.bounds


@pytest.mark.parametrize(("text", "share"), [("100%", 1.0), ("99.5%", 0.995), ("0.9", 0.9), (" 50 % ", 0.5)])
def test_a_ratio_is_the_share_of_good_runs(text: str, share: float) -> None:
    assert read_required([text]) == Required(share)


def test_without_anything_every_run_must_be_good() -> None:
    assert read_required([]) == Required(1.0)
    assert read_required(["p95 duration: 500ms"]).share == 1.0


def test_a_value_fails_above_it() -> None:
    assert only("p95 duration: 500ms") == ("p95 duration", "p95", (Bound(Severity.FAIL, above=0.5),))
    assert only("count fail: 0") == ("count fail", "count", (Bound(Severity.FAIL, above=0.0),))


def test_an_availability_fails_below_it() -> None:
    assert only("availability: 99%") == ("availability", "availability", (Bound(Severity.FAIL, below=0.99),))


def test_levels_are_written_as_in_the_configuration() -> None:
    assert only("mean hits: {below: 5}") == ("mean hits", "mean", (Bound(Severity.FAIL, below=5.0),))
    assert only("p50 phase.tls: {warn: 100ms, fail: 1s}") == (
        "p50 phase.tls",
        "p50",
        (Bound(Severity.WARN, above=0.1), Bound(Severity.FAIL, above=1.0)),
    )


def test_a_limit_without_an_aggregate_is_one_on_each_run_and_has_a_name_of_its_own() -> None:
    required = read_required(["duration: 2s", "90%"])
    assert (required.share, required.whole, required.each[0].name) == (0.9, (), "duration (required)")


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["nope"], "must be a share of good runs such as 99%, or a limit"),
        (["{}"], "must be a share of good runs such as 99%, or a limit"),
        (["150%"], "must be more than 0% and at most 100%"),
        (["0%"], "must be more than 0% and at most 100%"),
        (["99"], "write 99% for a percentage"),
        (["99%", "98%"], "says the share of good runs twice"),
        (["p95 duration: 1s", "p95 duration: 2s"], 'says "p95 duration" twice'),
        (["p95 duration 5m: 1s"], "leave out the window: all runs are looked at"),
        (["p195 duration: 1s"], 'p195 duration: unknown aggregate "p195"; did you mean "p95"?'),
        (["p95 duration: 500"], "p95 duration.fail: needs a unit: write 500s"),
        (["p95 duration: [1s]"], "p95 duration.fail: must be a duration"),
        (["p95 duration: {wran: 1s}"], 'unknown key "wran"; did you mean "warn"?'),
        (["count fial: 0"], 'unknown outcome "fial"; did you mean "fail"?'),
        (["count ok: {below: 5}"], "a count cannot be required to be reached"),
        (["a: [b"], "a ',' or the closing bracket is missing"),
    ],
)
def test_what_cannot_be_required_is_refused_with_a_sentence(texts: list[str], said: str) -> None:
    with pytest.raises(ValueError, match="--require") as caught:
        read_required(texts)
    assert said in str(caught.value)
    assert " 1h" not in str(caught.value)

from __future__ import annotations

import pytest
from pydantic import ValidationError

import heartbeat
from heartbeat import Check, CheckBroken, CheckFailed, Probe
from heartbeat.core.model import BROKEN_REASONS, MISSED_REASONS, TARGET_REASONS


class Queue(Check):
    url: str
    depth: int = 3

    async def run(self, probe: Probe) -> None:
        probe.record("depth", self.depth)


def test_what_a_plugin_imports_is_this_and_no_more() -> None:
    every_check = {"Check", "CheckBroken", "CheckFailed", "Probe"}
    steps = {"Answer", "Part", "Reference", "late"}
    reports = {"Expected", "Kept", "Reply", "Report", "Reported"}
    options = {"Duration", "Size", "configured_module", "configured_path"}
    words = {"lasting", "measurement_name", "readable"}
    assert set(heartbeat.__all__) == every_check | steps | reports | options | words


async def test_a_plugin_is_tested_without_a_kit() -> None:
    probe = Probe()
    await Queue(url="amqp://localhost").run(probe)
    assert probe.measurements == {"depth": 3.0}


def test_options_are_closed_and_frozen_and_mistakes_show_no_values() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Queue(url="x", urll="y")  # type: ignore[call-arg]  # the mistake
    queue = Queue(url="x")
    with pytest.raises(ValidationError, match="frozen"):
        queue.url = "y"  # type: ignore[misc]  # the mistake
    with pytest.raises(ValidationError) as caught:
        Queue(url="x", depth="hunter2")
    assert "hunter2" not in str(caught.value)


def test_the_reasons_are_three_lists_without_overlap() -> None:
    assert not BROKEN_REASONS & TARGET_REASONS
    assert not MISSED_REASONS & (BROKEN_REASONS | TARGET_REASONS)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [(CheckFailed, TARGET_REASONS, BROKEN_REASONS), (CheckBroken, BROKEN_REASONS, TARGET_REASONS)],
)
def test_each_error_takes_the_reasons_of_its_side(
    kind: type[CheckFailed], good: frozenset[str], bad: frozenset[str]
) -> None:
    for reason in good:
        assert kind("x", reason=reason).reason == reason
    for reason in bad | MISSED_REASONS | {"typo"}:
        with pytest.raises(ValueError, match="is no reason here"):
            kind("x", reason=reason)


def test_what_was_expected_and_seen_becomes_text() -> None:
    failed = CheckFailed("x", expected=200, observed=None)
    assert (failed.sentence, failed.expected, failed.observed) == ("x", "200", None)


def test_a_check_that_says_nothing_of_running_has_nothing_to_run() -> None:
    class Empty(Check):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Empty()  # type: ignore[abstract]  # the mistake

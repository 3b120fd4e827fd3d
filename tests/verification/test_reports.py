from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from heartbeat import Check
from heartbeat.config import CheckConfig
from heartbeat.core.gate import Assessment, Grade, Look
from heartbeat.core.model import Outcome, Reason, Result, Run, Severity, Verdict
from heartbeat.core.policy import Policy
from heartbeat.core.schedule import Interval
from heartbeat.core.trace import trace_id
from heartbeat.state import Live
from heartbeat.verification import Judged, Summary, Trial
from heartbeat.verification.reports import BLOCK_CHARACTERS, DETAILED, ROWS, junit, markdown


class Nothing(Check):
    """Nothing."""

    async def run(self, probe: object) -> None:
        """Do nothing."""


CONFIG = CheckConfig("shop", "http", Nothing(), "f", Interval(60.0), 5.0, Policy())
RUN = Run("run_1", "shop", 1.0, 0, 1.0, 5.0)


def summary(sentence: str, count: int = 1, grade: Grade = Grade.FAILED) -> Summary:
    verdict = Verdict(RUN, 1.0, Outcome.FAIL, Severity.FAIL, Reason.CONTENT, sentence)
    result = Result(Outcome.FAIL, 0.1, Reason.CONTENT, sentence, sentence, sentence, evidence={"body": sentence * 3})
    assessment = Assessment(grade, sentence, 1, 0, 1, shown=Look(verdict, result))
    trials = [Trial(replace(CONFIG, name=f"shop-{number}"), Live(CONFIG), 1.0) for number in range(count)]
    return Summary(tuple(Judged(trial, assessment) for trial in trials), began=1.0, took=1.0)


@given(st.text(min_size=1))
def test_whatever_a_target_says_the_junit_report_is_xml_with_all_cases(said: str) -> None:
    root = ET.fromstring(junit(summary(said, 2)))
    assert len(list(root.iter("failure"))) == 2


@given(st.text(alphabet="`~<>|[]()!@#*_\\&$ab\n:/.w", min_size=1))
def test_whatever_a_target_says_nothing_of_it_is_markdown(said: str) -> None:
    text = markdown(summary(said))
    row = next(line for line in text.splitlines() if line.startswith("| ❌"))
    assert row.count("|") == 9
    assert not set("`<[*_@") & set(row)
    fence = next(line for line in text.splitlines() if line.endswith("`text")).removesuffix("text")
    assert text.splitlines().count(fence) == 1


def test_reports_are_bounded_however_much_is_bad() -> None:
    text = markdown(summary("x" * 4096, 2000))
    assert len(text.encode()) < 1024 * 1024
    assert f"{2000 - ROWS} more are not listed." in text
    assert f"{2000 - DETAILED} more are not told of in detail." in text
    [failure] = ET.fromstring(junit(summary("x" * 4096))).iter("failure")
    assert len(failure.text or "") <= BLOCK_CHARACTERS


def test_of_many_checks_those_that_passed_are_counted_only() -> None:
    text = markdown(summary("", ROWS + 1, Grade.PASSED))
    assert f"{ROWS + 1} more are not listed." in text
    assert "shop-0" not in text


def test_the_trace_and_the_steps_of_a_run_are_told() -> None:
    whole = summary("order: the status is 500")
    judged = whole.checks[0]
    assert judged.assessment.shown is not None
    evidence = {"order body": "one\ntwo"}
    look = replace(
        judged.assessment.shown, result=replace(judged.assessment.shown.result, marked=True, evidence=evidence)
    )
    judged = replace(judged, assessment=replace(judged.assessment, shown=look))
    [failure] = ET.fromstring(junit(replace(whole, checks=(judged,)))).iter("failure")
    assert failure.get("message") == "order: the status is 500"
    assert f"\ntrace     {trace_id('run_1')}\n" in (failure.text or "")
    assert (failure.text or "").endswith("evidence  order body\n  one\n  two")

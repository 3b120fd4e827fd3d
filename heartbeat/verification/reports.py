"""What a verification tells a pipeline: JUnit XML for its test page, Markdown for the summary of a GitHub job.

What comes from a target is hostile text: in XML no character is left that XML forbids, in Markdown none that means
something, and all of it is bounded.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from heartbeat import __version__
from heartbeat.core.baseline import DURATION
from heartbeat.core.gate import Grade, Look
from heartbeat.core.limits import show
from heartbeat.core.text import cut
from heartbeat.core.trace import trace_id
from heartbeat.verification.records import good_share, written
from heartbeat.verification.summary import Judged, Summary

SUITE = "heartbeat verify"
BLOCK_CHARACTERS = 10_000
"""Of what is told of one check in detail."""
DETAILED = 30
"""Checks that are told of in detail in Markdown; a GitHub job summary has room for 1 MiB."""
ROWS = 500
"""Rows of its table; beyond it those that passed are counted only."""
SENTENCE_CHARACTERS = 500
_NOT_XML = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 forbids (its production 2), and the controls that it advises against."""
_MEANS_SOMETHING = re.compile(r"[\\`*_{}\[\]()#!|~>@$]|:(?=//)|(?<=www)\.")
MARKS = {Grade.PASSED: "✅", Grade.WARNED: "⚠️", Grade.BROKEN: "🔧", Grade.FAILED: "❌"}


def junit(summary: Summary) -> bytes:
    """Return a report in the format that Ant began and every CI reads: one test case for each check.

    It has what the schemas of Ant (Windy Road's ``JUnit.xsd``) and of Jenkins' xUnit plugin (``junit-10.xsd``) both
    know. A bad target is a ``failure``, a broken check an ``error``.
    """
    cases = [_case(judged) for judged in summary.checks] + [_fault(sentence) for sentence in summary.faults]
    cases += [_skipped(name, why) for name, why in summary.off.items()]
    kinds = ("failure", "error", "skipped")
    counts = {kind: str(sum(1 for case in cases if case.find(kind) is not None)) for kind in kinds}
    root = ET.Element("testsuites")
    suite = ET.SubElement(
        root,
        "testsuite",
        {
            "name": SUITE,
            "id": "0",
            "package": "heartbeat",
            "timestamp": written(summary.began).rstrip("Z"),
            "hostname": _clean(socket.gethostname()) or "localhost",
            "tests": str(len(cases)),
            "failures": counts["failure"],
            "errors": counts["error"],
            "skipped": counts["skipped"],
            "time": f"{summary.took:.3f}",
        },
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(summary):
        ET.SubElement(properties, "property", {"name": _clean(name), "value": _clean(value)})
    suite.extend(cases)
    ET.SubElement(suite, "system-out")
    ET.SubElement(suite, "system-err")
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _properties(summary: Summary) -> Iterator[tuple[str, str]]:
    yield "heartbeat.version", __version__
    for name, value in summary.targets.items():
        yield f"target.{name}", value
    for text in summary.required:
        yield "require", text
    if summary.interrupted:
        yield "interrupted", summary.interrupted


def _case(judged: Judged) -> ET.Element:
    check, found = judged.trial.config, judged.assessment
    named = {"classname": f"heartbeat.{check.type}", "name": check.name, "time": f"{judged.seconds:.3f}"}
    case = ET.Element("testcase", {key: _clean(value) for key, value in named.items()})
    kind = {Grade.FAILED: "failure", Grade.BROKEN: "error"}.get(found.grade)
    text = _clean(cut("\n".join(_details(judged)), BLOCK_CHARACTERS))
    if kind:
        reason = found.shown.verdict.reason if found.shown else None
        message = _clean(cut(found.sentence, SENTENCE_CHARACTERS))
        ET.SubElement(case, kind, {"message": message, "type": reason or found.grade}).text = text
    return case


def _fault(sentence: str) -> ET.Element:
    case = ET.Element("testcase", {"classname": "heartbeat.verify", "name": "requirements", "time": "0"})
    told = {"message": _clean(cut(sentence, SENTENCE_CHARACTERS)), "type": "requirement"}
    ET.SubElement(case, "error", told).text = _clean(sentence)
    return case


def _skipped(name: str, why: str) -> ET.Element:
    case = ET.Element("testcase", {"classname": "heartbeat.off", "name": _clean(name), "time": "0"})
    ET.SubElement(case, "skipped", {"message": _clean(cut(why, SENTENCE_CHARACTERS))})
    return case


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def _details(judged: Judged) -> Iterator[str]:
    """Yield lines that tell all there is of a check that is not good."""
    found = judged.assessment
    yield found.sentence
    yield f"runs      {tell_runs(judged)}"
    for note in found.notes:
        yield f"note      {note}"
    for finding in found.findings:
        yield f"required  {finding.limit} is {finding.observed}, {finding.expected} ({finding.severity.word})"
    if found.shown:
        yield from _details_of(found.shown)
    if judged.trial.config.runbook:
        yield f"runbook   {judged.trial.config.runbook}"


def _details_of(look: Look) -> Iterator[str]:
    verdict, result = look.verdict, look.result
    yield f"run       {verdict.run.id} at {written(verdict.at)}, {show(result.duration, 's')}"
    if result.marked:
        yield f"trace     {trace_id(verdict.run.id)}"
    if verdict.reason:
        yield f"reason    {verdict.reason}"
    if result.expected is not None:
        yield f"expected  {result.expected}"
    if result.observed is not None:
        yield f"observed  {result.observed}"
    for finding in verdict.findings:
        yield f"limit     {finding.limit} is {finding.observed}, {finding.expected} ({finding.severity.word})"
    for name, seconds in result.phases.items():
        yield f"phase     {name} {show(seconds, 's')}"
    for name, text in result.evidence.items():
        yield f"evidence  {name}"
        yield from (f"  {line}" for line in text.splitlines())


def tell_runs(judged: Judged) -> str:
    """Return how many runs there were, and how many of them were good."""
    found = judged.assessment
    unclear = found.runs - found.good - found.bad
    silent = f", {unclear} said nothing" if unclear else ""
    return f"{found.runs}, {found.good} good, {found.bad} bad{silent}"


def row(judged: Judged) -> tuple[str, str, str, str, str, str, str]:
    """Return a check for a table: name, verdict, runs, good share, p50, p95, and what is wrong in one sentence."""
    found = judged.assessment
    spread, share = (found.measured or {}).get(DURATION), good_share(found)
    p50, p95 = (show(spread.p50, "s"), show(spread.p95, "s")) if spread else ("", "")
    told = "; ".join(filter(None, (cut(found.sentence, SENTENCE_CHARACTERS), *found.notes)))
    good = "" if share is None else show(share, "ratio")
    return judged.trial.name, found.grade.value, str(found.runs), good, p50, p95, told


COLUMNS = ("check", "verdict", "runs", "good", "p50", "p95", "what is wrong")


def headline(summary: Summary) -> str:
    """Return in one line what it comes to."""
    grades = [judged.assessment.grade for judged in summary.checks]
    counts = [f"{grades.count(grade)} {grade}" for grade in Grade if grade in grades]
    counts += [f"{len(summary.off)} switched off"] if summary.off else []
    ended = f", interrupted by {summary.interrupted}" if summary.interrupted else ""
    return f"{summary.grade}: {', '.join(counts)} in {show(round(summary.took, 1), 's')}{ended}"


def markdown(summary: Summary) -> str:
    """Return a report for the summary of a GitHub job, in its Markdown."""
    lines = [f"### {MARKS[summary.grade]} heartbeat verify: {_inert(headline(summary))}", ""]
    lines += [f"**{_inert(sentence)}**\n" for sentence in summary.faults]
    if summary.targets:
        told = (f"`{name}` is {_inert(value)}" for name, value in summary.targets.items())
        lines += [f"Targets: {', '.join(told)}", ""]
    lines += [f"| {' | '.join(['', *COLUMNS])} |", "|---" * (len(COLUMNS) + 1) + "|"]
    many = len(summary.checks) > ROWS
    listed = [one for one in summary.checks if not many or one.assessment.grade is not Grade.PASSED][:ROWS]
    for judged in listed:
        cells = " | ".join(map(_inert, row(judged)))
        lines.append(f"| {MARKS[judged.assessment.grade]} | {cells} |")
    lines += [f"| ⏸️ | {_inert(name)} | off ||||| {_inert(cut(why, SENTENCE_CHARACTERS))} |"
              for name, why in list(summary.off.items())[:ROWS]]  # fmt: skip
    lines += ["", f"{len(summary.checks) - len(listed)} more are not listed."] if many else []
    bad = [one for one in summary.checks if one.assessment.grade in (Grade.FAILED, Grade.BROKEN)]
    for judged in bad[:DETAILED]:
        lines += [
            "",
            f"<details><summary>{_inert(judged.trial.name)}</summary>",
            "",
            *_fenced(judged),
            "",
            "</details>",
        ]
    if len(bad) > DETAILED:
        lines += ["", f"{len(bad) - DETAILED} more are not told of in detail."]
    return "\n".join(lines) + "\n\n"


def _fenced(judged: Judged) -> list[str]:
    """Return the details in a fence that nothing in them can close."""
    text = _clean(cut("\n".join(_details(judged)), BLOCK_CHARACTERS))
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", text, fence]


def _inert(text: str) -> str:
    """Return text in which nothing is Markdown, HTML, a mention or a link."""
    plain = _clean(" ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;")
    return _MEANS_SOMETHING.sub(lambda found: f"&#{ord(found[0])};", plain)

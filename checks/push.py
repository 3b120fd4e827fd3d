"""Jobs that report to us: each run's start and end, as Healthchecks takes them, so that only the host changes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from heartbeat import CheckFailed, Duration, Expected, Kept, Probe, Reply, Report, Reported, lasting, readable

from . import _push_journal as journal

BODY_BYTES = 100_000
CODE_MOST = 255
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,200}(/[A-Za-z0-9_-]{1,200})?")
_WORDS = ("start", "fail", "log")
_HEADERS = {"Ping-Body-Limit": str(BODY_BYTES)}
_UNKNOWN = Reply(404, "not found", runs=False)


class Push(Reported):
    """Wait for the reports of a job, and tell when it fails, takes too long, or does not report at all.

    The job asks for ``/ping/TOKEN`` when it ended well, ``/ping/TOKEN/start`` when it begins, ``/fail`` when it failed,
    ``/EXITCODE`` (0 to 255) at its end, and ``/log`` in between, by GET, HEAD, POST or PUT, with what it has to say as
    the body. ``?rid=UUID`` tells runs apart that overlap. These are the addresses of Healthchecks: jobs that report
    there only change the host, and a UUID as token also works without ``/ping``.

    A report is expected by ``every`` after the latest one, or at each time of ``cron``; ``grace`` later it is missing.
    The reasons: ``absent`` nothing came, ``timeout`` a run does not end or took longer than ``at_most``, ``status`` it
    reported a failure, ``content`` it took less than ``at_least``, ``mismatch`` it started while it was under way. What
    is wrong stays wrong until a run ends well. ``job_seconds`` is how long the latest run took that told its start.
    """

    token: str = Field(
        description="the secret part of the address: at least 16 letters, digits, - and _, such as a UUID; or KEY/slug",
        repr=False,
    )
    grace: Duration = Field(300.0, description="how long a report may be late", ge=0)
    at_least: Duration | None = Field(
        None, description="a run that took less has not done its work; it must tell its start", gt=0
    )
    at_most: Duration | None = Field(
        None, description="how long a run may take; while it is under way no report is missing", gt=0
    )
    overlap: Literal["fail", "warn", "allow"] = Field(
        "warn", description="what it is when a run starts before the last one has ended"
    )

    @field_validator("token")
    @classmethod
    def _is_secret(cls, value: str) -> str:
        if not _TOKEN.fullmatch(value):
            raise ValueError("must be at least 16 letters, digits, - and _ (a UUID, for example), or KEY/slug")
        slug = value.partition("/")[2]
        if slug in _WORDS or slug.isdigit():
            raise ValueError("a slug cannot be start, fail, log or a number: that says how a run went")
        return value.lower() if _UUID.fullmatch(value) else value

    @model_validator(mode="after")
    def _has_room(self) -> Push:
        if self.at_least is not None and self.at_most is not None and self.at_least >= self.at_most:
            raise ValueError("at_least must be less than at_most")
        return self

    def routes(self) -> Iterator[str]:
        """Yield the addresses; those of the hosted Healthchecks have no /ping."""
        yield f"/ping/{self.token}"
        if "/" in self.token or _UUID.fullmatch(self.token):
            yield f"/{self.token}"

    def take(self, report: Report, kept: Kept, now: float) -> Reply:
        """Note what a job tells."""
        word = report.rest
        is_code = word.isascii() and word.isdigit()
        if word and word not in _WORDS and not is_code:
            return _UNKNOWN
        if is_code and (len(word) > 3 or int(word) > CODE_MOST):
            return Reply(400, "invalid url format", runs=False)
        rid = report.query.get("rid", "")
        if "rid" in report.query and not _UUID.fullmatch(rid):
            return Reply(400, "invalid uuid format", runs=False)
        return Reply(runs=self._note(word, rid.lower(), self._text_of(report.body), kept, now), headers=_HEADERS)

    def due(self, kept: Kept, expected: Expected, now: float) -> float:
        """Return when a report, or the end of a run, is missing."""
        return journal.find_due(kept, self.grace, self.at_most, expected, now)

    async def run(self, probe: Probe) -> None:
        """Judge what was reported, and what was not."""
        kept = probe.state
        kept.pop("new", None)
        last = kept.get("last", {})
        for name, text in (("report", last.get("text")), ("log", kept.get("log") or last.get("log"))):
            if text:
                probe.note(name, text)
        if "late" in kept:
            raise self._late(kept["late"], kept.get("open"))
        if "seconds" in last:
            probe.record("job_seconds", last["seconds"])
        if "clash" in kept:
            self._tell_of_overlap(probe, kept)
        self._judge(last)

    def _note(self, word: str, rid: str, text: str, kept: Kept, now: float) -> bool:
        """Note one report; say whether there is something to judge."""
        if word == "log":
            journal.say(kept, text)
            return False
        if word == "start":
            journal.say(kept, text)
            return journal.begin(kept, rid, now, alone=self.overlap != "allow")
        what: dict[str, Any] = {"ok": word != "fail"}
        if word.isdigit():
            what = {"ok": int(word) == 0, "code": int(word)}
        if text:
            what["text"] = text
        journal.end(kept, rid, now, what, bounded=self.at_most is not None)
        return True

    def _text_of(self, body: bytes) -> str:
        """Return the beginning and the end of what was sent, without our own address in it."""
        text = body[:BODY_BYTES].decode("utf-8", "replace").strip().replace(self.token, "[token]")
        half = journal.TEXT // 2
        return text if len(text) <= journal.TEXT else f"{text[:half]}\n…\n{text[-half:]}"

    def _late(self, late: dict[str, Any], still: dict[str, float] | None) -> CheckFailed:
        if "began" in late:
            within = lasting(late["within"])
            said = f"it started at {readable(late['began'])} and has not ended within {within}"
            return CheckFailed(said, reason="timeout", expected=f"at most {within}", observed="no end")
        before = "nothing was ever reported" if late["after"] is None else f"nothing since {readable(late['after'])}"
        said = f"{before}; a report was expected at {readable(late['slot'])}, with {lasting(self.grace)} of grace"
        if still:
            said += f"; a run started at {readable(max(still.values()))} and has not ended"
        return CheckFailed(said, reason="absent", expected=f"a report at {readable(late['slot'])}", observed="none")

    def _tell_of_overlap(self, probe: Probe, kept: Kept) -> None:
        if self.overlap == "allow":
            return
        began = max(kept.get("open", {}).values(), default=kept["clash"])
        said = f"a run started at {readable(began)} while the one of {readable(kept['clash'])} was under way"
        if self.overlap == "fail":
            raise CheckFailed(said, reason="mismatch", expected="one run at a time", observed="two")
        probe.warn(said, reason="mismatch", expected="one run at a time", observed="two")

    def _judge(self, last: dict[str, Any]) -> None:
        if not last.get("ok", True):
            code = last.get("code")
            said = "it reported a failure" if code is None else f"it ended with exit code {code}"
            raise CheckFailed(f"{said} at {readable(last['at'])}", reason="status", expected=0, observed=code or "fail")
        if (seconds := last.get("seconds")) is None:
            return
        if self.at_least is not None and seconds < self.at_least:
            said = f"it took {_show(seconds)} only, and should take at least {_show(self.at_least)}"
            raise CheckFailed(said, expected=f"at least {_show(self.at_least)}", observed=_show(seconds))
        if self.at_most is not None and seconds > self.at_most:
            said = f"it took {_show(seconds)}, and should take {_show(self.at_most)} at most"
            raise CheckFailed(
                said, reason="timeout", expected=f"at most {_show(self.at_most)}", observed=_show(seconds)
            )


def _show(seconds: float) -> str:
    return lasting(seconds) if seconds >= 60 else f"{seconds:.3g} s"

"""Mails as mail programs see them: the golden files are whole mails, to be read in review.

HEARTBEAT_GOLDEN=write pytest tests/channels/test_mime.py writes them anew.
"""

from __future__ import annotations

import email
import os
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from email import policy
from email.message import Message
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartbeat.channels.email import Email
from heartbeat.channels.mime import MAIL_BYTES, mail, plain_mail, roots
from heartbeat.core.batch import Batch, single
from heartbeat.core.model import Address, Delivery, Event, Finding, Kind, Outcome, Reason, Result, Run, Severity, Track
from heartbeat.core.trace import trace_id

GOLDEN = Path(__file__).parent / "golden/email"
AT = 1_795_269_731.25  # Sat 21 Nov 2026 14:02:11 UTC
SENDER = "heartbeat@example.org"
Deliver = Callable[..., Delivery]
HOSTILE = (
    "x\r\nBcc: evil@example.com\r\n\r\n<script>alert(1)</script> =?utf-8?q?=0ABcc:_evil?= \x1b[2J\u202egnp.exe "
    '"><img src=//evil.test> @everyone {{7*7}} \ud800'
)

FAILED = Result(
    Outcome.FAIL,
    0.4213,
    Reason.STATUS,
    "the answer was 500, expected 200",
    expected="200",
    observed="500",
    measurements={"body_bytes": 312.0},
    phases={"resolve": 0.0021, "connect": 0.0134, "tls": 0.0312, "wait": 0.3746},
    evidence={
        "request": "POST https://shop.example.com/api/login",
        "curl": "curl -sS -i --max-time 30 -H 'Authorization: Bearer '\"$AUTHORIZATION\" --data-raw '{}' "
        "--resolve shop.example.com:443:192.0.2.10 https://shop.example.com/api/login",
        "address": "192.0.2.10",
        "certificate": "subject: shop.example.com\nissuer: Example CA\nexpires: 2027-02-01 00:00 UTC",
        "status": "500",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "body": "<html><body>Ein Fehler ist aufgetreten: größer als erwartet</body></html>",
    },
)
RAISED = Event(
    id="evt_0123456789abcdef0123456789abcd",
    kind=Kind.RAISED,
    check="shop-login",
    incident="inc_fedcba9876543210fedcba98765432",
    sequence=1,
    at=AT,
    was=Severity.OK,
    severity=Severity.FAIL,
    since=AT - 30,
    reason=Reason.STATUS,
    sentence="the answer was 500, expected 200",
    findings=(Finding("duration", Severity.WARN, "at most 300 ms allowed", "421.3 ms"),),
    run=Run("run_1122334455667788", "shop-login", AT - 1, 1, AT - 1, 10.0),
    result=FAILED,
    context={
        "type": "http",
        "labels": {"team": "shop", "tier": "1"},
        "runbook": "https://wiki.example.com/shop-login",
        "page": "https://heartbeat.example.com/checks/shop-login",
        "location": "eu-west-1",
        "also_failing": ("shop-cart",),
        "trace_id": trace_id("run_1122334455667788"),
    },
)
RESOLVED = replace(
    RAISED,
    id="evt_resolved",
    kind=Kind.RESOLVED,
    sequence=2,
    at=AT + 1740,
    was=Severity.FAIL,
    severity=Severity.OK,
    reason=None,
    sentence="",
    findings=(),
    result=Result(Outcome.OK, 0.0823, measurements={"body_bytes": 64.0}, phases={"connect": 0.013, "wait": 0.0512}),
)
REMINDER = replace(RAISED, id="evt_reminder", kind=Kind.REMINDER, sequence=2, at=AT + 14_400, was=Severity.FAIL)
BROKEN = replace(
    RAISED,
    id="evt_broken",
    kind=Kind.CHECK_BROKEN,
    check="shop-queue",
    incident="inc_22220000222200002222000022220000",
    severity=Severity.OK,
    reason=Reason.PLUGIN,
    sentence="TypeError at queue.py:41 in run",
    findings=(),
    result=Result(Outcome.ERROR, 0.0012, Reason.PLUGIN, "TypeError at queue.py:41 in run"),
    context={"type": "queue", "labels": {"team": "shop"}},
)
WITHDRAWN = replace(
    RAISED, id="evt_withdrawn", kind=Kind.WITHDRAWN, sequence=2, at=AT + 600, was=Severity.FAIL, run=None, result=None
)
SLOW = replace(
    RAISED,
    id="evt_slow",
    check="shop-cart",
    incident="inc_11110000111100001111000011110000",
    at=AT + 4,
    since=AT + 4,
    severity=Severity.WARN,
    reason=Reason.LIMIT,
    sentence="duration is 1.2 s, at most 800 ms allowed",
    findings=(Finding("duration", Severity.WARN, "at most 800 ms allowed", "1.2 s"),),
    result=Result(Outcome.OK, 1.2, phases={"connect": 0.013, "wait": 1.1}),
)
CHANGES = "its state changed 14 times in the last 20 runs; now it is fail: the answer was 500, expected 200"
FLAPPING = replace(
    RAISED,
    id="evt_flapping",
    kind=Kind.FLAPPING,
    track=Track.FLAPPING,
    incident="inc_33330000333300003333000033330000",
    sentence=CHANGES,
)
STILL_FLAPPING = replace(
    FLAPPING, id="evt_digest", kind=Kind.REMINDER, sequence=2, at=AT + 14_400, was=Severity.FAIL, run=None, result=None
)
SETTLED = replace(FLAPPING, id="evt_settled", kind=Kind.SETTLED, sequence=3, at=AT + 15_000, sentence=RAISED.sentence)
MISSED = replace(
    BROKEN,
    id="evt_missed",
    kind=Kind.MISSED,
    track=Track.RUNS,
    incident="inc_44440000444400004444000044440000",
    since=AT - 90,
    reason=Reason.OVERLOAD,
    sentence="it did not run in 3 slots in a row",
    run=None,
    result=None,
)
ESCALATED = replace(
    RAISED, id="evt_escalated", kind=Kind.ESCALATED, sequence=2, at=AT + 900, was=Severity.FAIL, run=None, result=None
)
BURNING = replace(
    RAISED,
    id="evt_burning",
    kind=Kind.BUDGET_BURNING,
    track=Track.BUDGET,
    incident="inc_55550000555500005555000055550000",
    since=AT,
    reason=Reason.LIMIT,
    sentence="burn rate 1h is 20 (33 in 5m), at most 14.4 allowed",
    findings=(Finding("burn rate 1h", Severity.FAIL, "at most 14.4 allowed", "20 (33 in 5m)"),),
)
KEPT_BACK = replace(
    RAISED,
    id="evt_kept_back",
    sequence=2,
    at=AT + 3600,
    was=Severity.FAIL,
    run=None,
    result=None,
    why="it was kept back until now: silenced by anna until Sat 21 Nov 2026 15:02:00 UTC: deploy",
)
GATEWAY = replace(
    RAISED, id="evt_gateway", check="gateway", context={"type": "tcp", "holds_back": ["a", "b"], "holds_back_more": 3}
)
EVIL = replace(
    RAISED,
    id="evt_evil",
    check="shop\r\nBcc: evil@example.com",
    sentence=HOSTILE,
    findings=(Finding(HOSTILE, Severity.FAIL, HOSTILE, HOSTILE),),
    result=replace(FAILED, expected=HOSTILE, observed=HOSTILE, evidence={HOSTILE: HOSTILE, "body": HOSTILE * 40}),
    context={"labels": {HOSTILE: HOSTILE}, "runbook": "javascript:alert(1)", "page": 'https://x/"onclick="alert(1)'},
)


def batch(*events: Event, why: str = "", identity: str = "bat_0f1e2d3c4b5a69788796a5b4c3d2e1") -> Batch:
    address = Address("oncall", "oncall/email", "oncall@example.com")
    deliveries = tuple(Delivery(f"dlv_{number}", event, address, why=why) for number, event in enumerate(events))
    return single(deliveries[0]) if len(events) == 1 else Batch(identity, address, deliveries)


MAILS: dict[str, tuple[Batch, float]] = {
    "raised": (batch(RAISED), AT + 10),
    "resolved": (batch(RESOLVED), AT + 1750),
    "reminder": (batch(REMINDER), AT + 14_410),
    "check_broken": (batch(BROKEN), AT + 10),
    "withdrawn": (batch(WITHDRAWN), AT + 610),
    "flapping": (batch(FLAPPING), AT + 10),
    "flapping_digest": (batch(STILL_FLAPPING), AT + 14_410),
    "settled": (batch(SETTLED), AT + 15_010),
    "missed": (batch(MISSED), AT + 10),
    "escalated": (batch(ESCALATED), AT + 910),
    "budget_burning": (batch(BURNING), AT + 10),
    "kept_back": (batch(KEPT_BACK), AT + 3610),
    "switched_off": (batch(replace(WITHDRAWN, why="disabled by anna: until the move")), AT + 610),
    "holds_back": (batch(GATEWAY), AT + 10),
    "all_tracks": (batch(RAISED, FLAPPING, BURNING, MISSED, BROKEN), AT + 10),
    "batch_of_three": (batch(RAISED, SLOW, BROKEN), AT + 10),
    "superseded": (batch(RAISED, RESOLVED), AT + 1755),
    "delayed": (batch(RAISED), AT + 430),
    "fallback": (batch(RAISED, why="oncall/email could not tell a@example.com: 550 5.1.1 no such user"), AT + 40),
    "unrecorded": (batch(replace(RAISED, context={"recorded": False})), AT + 10),
    "hostile": (batch(EVIL, why=HOSTILE), AT + 10),
}


@pytest.mark.parametrize("name", MAILS)
def test_the_mail_is_the_one_that_was_read_in_review(name: str) -> None:
    told, at = MAILS[name]
    written = mail(told, SENDER, at, group_wait=10)
    path = GOLDEN / f"{name}.eml"
    if os.environ.get("HEARTBEAT_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written)
    assert written == path.read_bytes()


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(MAILS)


class Tags(HTMLParser):
    """Collects the tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links |= {value or "" for name, value in attrs if name == "href"}
        assert {name for name, _ in attrs} <= {"style", "href"}


def body_of(message: Message, subtype: str) -> str:
    part = next(part for part in message.walk() if part.get_content_subtype() == subtype)
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode()


@pytest.mark.parametrize("name", MAILS)
def test_the_html_has_our_tags_only_and_loads_nothing(name: str) -> None:
    parser = Tags()
    parser.feed(body_of(email.message_from_bytes(mail(MAILS[name][0], SENDER, MAILS[name][1])), "html"))
    known = {"html", "body", "p", "b", "table", "tr", "td", "h4", "pre", "a", "ul", "li", "hr"}
    assert parser.tags <= known
    assert all(link.startswith("https://") and '"' not in link for link in parser.links)


def test_what_is_no_web_address_is_no_link() -> None:
    html = body_of(email.message_from_bytes(mail(batch(EVIL), SENDER, AT)), "html")
    assert "javascript:alert(1)" in html
    assert 'href="javascript' not in html


def test_the_mail_says_the_same_in_text_and_html() -> None:
    message = email.message_from_bytes(mail(*MAILS["batch_of_three"][:1], SENDER, AT + 10))
    for subtype in ("plain", "html"):
        text = body_of(message, subtype)
        for part in ("1 FAILING, 1 WARNING, 1 CHECK BROKEN", "shop-cart", "TypeError at queue.py:41", "at most 800 ms"):
            assert part in text


def test_a_mail_on_several_incidents_joins_the_threads_of_all() -> None:
    message = email.message_from_bytes(mail(MAILS["batch_of_three"][0], SENDER, AT))
    assert message["References"].split() == [
        "<incident-inc_22220000222200002222000022220000@example.org>",
        "<incident-inc_fedcba9876543210fedcba98765432@example.org>",
        "<incident-inc_11110000111100001111000011110000@example.org>",
    ]
    assert message["In-Reply-To"] == message["References"].split()[-1]
    alone = email.message_from_bytes(mail(batch(RESOLVED), SENDER, AT))
    assert alone["References"] in message["References"].split()


def test_the_chain_of_threads_is_the_same_in_every_mail() -> None:
    many = [replace(RAISED, incident=f"inc_{number}", since=AT - number % 7) for number in range(40)]
    chains = roots(batch(*many), "x.test"), roots(batch(*reversed(many)), "x.test")
    assert chains[0] == chains[1]
    assert len(chains[0]) == 20


def test_many_long_references_are_folded_and_stay_whole() -> None:
    many = [replace(RAISED, incident=f"inc_{number:030}") for number in range(40)]
    domain = "x" * 60 + ".example." + "y" * 60 + ".test"
    written = mail(batch(*many), f"hb@{domain}", AT)
    assert all(len(line) <= 998 for line in written.split(b"\r\n"))
    found = email.message_from_bytes(written)["References"].split()
    assert found == roots(batch(*many), domain)


def test_the_date_is_that_of_leaving() -> None:
    assert email.message_from_bytes(mail(batch(RAISED), SENDER, AT + 3600))["Date"] == "Sat, 21 Nov 2026 15:02:11 +0000"


def test_the_plain_mail_names_the_incidents_of_a_batch() -> None:
    message = email.message_from_bytes(plain_mail(MAILS["batch_of_three"][0], SENDER, AT, "No more."))
    text = body_of(message, "plain")
    for part in ("raised: shop-login: the answer was 500", "raised: shop-cart: duration", "check_broken: shop-queue"):
        assert part in text
    assert message["Message-ID"] == email.message_from_bytes(mail(MAILS["batch_of_three"][0], SENDER, AT))["Message-ID"]


@settings(max_examples=15)
@given(
    text=st.sampled_from(["&" * 4000, "💩" * 4000, "\"'<" * 2000, "=" * 4000, "x\n" * 2000, "\x00\ud800" * 900, "ok"]),
    count=st.integers(1, 30),
)
def test_a_mail_has_at_most_100_kb_whatever_a_target_sends(text: str, count: int) -> None:
    result = replace(FAILED, expected=text, observed=text, evidence=dict.fromkeys("abcdef", text))
    finding = Finding(text, Severity.FAIL, text, text)
    events = [
        replace(RAISED, check=f"{number}{text}", incident=f"inc_{number}", sentence=text, result=result,
                findings=(finding,) * 30, context={"labels": {f"{n}{text}": text for n in range(30)}})
        for number in range(count)
    ]  # fmt: skip
    written = mail(batch(*events, why=text), SENDER, AT)
    assert len(written) <= MAIL_BYTES
    assert all(len(line) <= 998 for line in written.split(b"\r\n"))
    assert b"\n" not in written.replace(b"\r\n", b"")


def render(delivery: Delivery) -> bytes:
    return (
        Email.model_validate({"to": ["a@b.test"], "from": "hb@b.test", "server": "smtp://b.test"})
        .render(single(delivery), 0.0)
        .body
    )


def test_a_mail_is_the_same_bytes_every_time(deliver: Deliver) -> None:
    assert render(deliver()) == render(deliver())


def test_the_messages_of_an_incident_share_subject_and_thread(deliver: Deliver) -> None:
    raised = email.message_from_bytes(render(deliver()))
    resolved = email.message_from_bytes(
        render(deliver(id="evt_2", kind=Kind.RESOLVED, was=Severity.FAIL, severity=Severity.OK, sequence=2))
    )
    for header in ("Subject", "References", "In-Reply-To", "Thread-Index"):
        assert raised[header] == resolved[header]
    assert raised["References"] == "<incident-inc_fedcba9876543210fedcba98765432@b.test>"
    assert raised["Message-ID"] != resolved["Message-ID"]


def test_recipients_get_ids_of_their_own(deliver: Deliver) -> None:
    ids = {email.message_from_bytes(render(deliver(name)))["Message-ID"] for name in ("a@x.test", "b@x.test")}
    assert len(ids) == 2


def test_the_headers_tell_machines_what_this_is(deliver: Deliver) -> None:
    message = email.message_from_bytes(render(deliver()))
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["X-Auto-Response-Suppress"] == "All"
    assert message["List-Id"] == "Heartbeat <heartbeat.b.test>"
    assert message["X-Heartbeat-Severity"] == "fail"
    assert message["Date"] == "Sat, 21 Nov 2026 14:02:11 +0000"
    assert len(b64decode(message["Thread-Index"], validate=True)) == 22


@pytest.mark.parametrize(
    "hostile",
    [
        "a\nBcc: evil@example.com",
        "a\r\nBcc: evil@example.com",
        "a\x00\x85\u2028Bcc: evil@example.com",
        "💩 subject=?UTF-8?Q?=0A?=Bcc: evil@example.com",
        "=?UTF-8?Q?=0ABcc:_evil@example.com?=",
        "=?=?utf-8?q?=0A?=?=Bcc: evil@example.com",
        "\ud800 lone",
        "å" * 500,
        "x" * 5000,
    ],
)
def test_no_name_of_a_check_breaks_out_of_a_header(deliver: Deliver, hostile: str) -> None:
    body = render(deliver(check=hostile, sentence=hostile, incident=hostile, id=hostile))
    expected = set(email.message_from_bytes(render(deliver())).keys())
    for rules in (policy.compat32, policy.default):
        message = email.message_from_bytes(body, policy=rules)
        assert set(message.keys()) == expected
        assert message["Bcc"] is None
    assert b"\n\n" not in body.replace(b"\r\n", b"").partition(b"--=_")[0]
    assert all(len(line) <= 998 for line in body.split(b"\r\n"))


def test_evidence_is_inert_in_html(deliver: Deliver) -> None:
    html = body_of(email.message_from_bytes(render(deliver(sentence="<script>alert(1)</script>"))), "html")
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "&lt;b&gt;oops&lt;/b&gt;" in html


def test_a_message_that_cannot_be_rendered_still_goes_out(deliver: Deliver, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **_more: object) -> object:
        raise ValueError("no")

    monkeypatch.setattr("heartbeat.channels.mime.compose", broken)
    message = email.message_from_bytes(render(deliver()))
    assert message["Subject"] == "heartbeat: shop-login (incident fedcba98)"
    assert "the answer was 500" in body_of(message, "plain")

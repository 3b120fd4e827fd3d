from __future__ import annotations

import json
import os
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from heartbeat.core.model import Address, Delivery, Event, Finding, Kind, Outcome, Reason, Result, Run, Severity
from heartbeat.core.trace import trace_id

GOLDEN = Path(__file__).parent / "golden"
AT = 1_795_269_731.25  # Sat 21 Nov 2026


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trust") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def event() -> Event:
    result = Result(
        Outcome.FAIL,
        0.42,
        Reason.STATUS,
        "the answer was 500",
        expected="200",
        observed="500",
        measurements={"body_bytes": 312.0},
        phases={"connect": 0.02, "wait": 0.4},
        evidence={"body": "<b>oops</b>"},
    )
    return Event(
        id="evt_0123456789abcdef0123456789abcd",
        kind=Kind.RAISED,
        check="shop-login",
        incident="inc_fedcba9876543210fedcba98765432",
        sequence=1,
        at=AT,
        was=Severity.OK,
        severity=Severity.FAIL,
        since=AT - 60,
        reason=Reason.STATUS,
        sentence="the answer was 500",
        findings=(Finding("duration", Severity.WARN, "at most 300 ms allowed", "420 ms"),),
        run=Run("run_1", "shop-login", AT - 1, 0, AT - 1, 10.0),
        result=result,
        context={
            "type": "http",
            "labels": {"team": "shop"},
            "runbook": "https://wiki.test/shop",
            "location": "eu",
            "trace_id": trace_id("run_1"),
        },
    )


@pytest.fixture
def deliver(event: Event) -> Callable[..., Delivery]:
    """Make a delivery of the event, changed as the keywords say."""

    def make(recipient: str = "oncall@example.com", **changes: Any) -> Delivery:
        return Delivery("dlv_1", replace(event, **changes), Address("oncall", "oncall/email", recipient))

    return make


@pytest.fixture
def golden() -> Callable[[str, Any], None]:
    """Hold a document against its file under ``golden/``; HEARTBEAT_GOLDEN=write writes the file instead."""

    def compare(name: str, found: Any) -> None:
        path = GOLDEN / f"{name}.json"
        text = json.dumps(found, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
        if os.environ.get("HEARTBEAT_GOLDEN") == "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.read_text() == text, f"{path} says otherwise; HEARTBEAT_GOLDEN=write writes it anew"

    return compare

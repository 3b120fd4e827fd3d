from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time
from typing import Any

import pytest
import trustme
import uvloop
from pydantic import ValidationError

from heartbeat import CheckBroken, CheckFailed, Probe
from heartbeat.http import close
from heartbeat.plugins import discover, load_type
from heartbeat.testing.dns import NameServer, serve_names
from heartbeat.testing.http import refusing_port
from heartbeat.testing.tcp import Talk, hang_up, reset, say, serve_tcp, silent, upgrade

Tls: Any = load_type(discover().sources["tls"])
CA = trustme.CA()
DAY = 86400.0


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    CA.cert_pem.write_to_path(str(path))
    return str(path)


def context_of(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def in_days(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


GOOD = context_of(CA.issue_cert("127.0.0.1", "localhost", "shop.test", not_after=in_days(30.5)))


@asynccontextmanager
async def secured(context: ssl.SSLContext = GOOD, talk: Talk = silent) -> AsyncIterator[int]:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # servers complain when clients refuse them
    async with serve_tcp(talk, tls=context) as port:
        yield port


async def failure_of(check: Any, seconds: float = 2) -> tuple[CheckFailed, Probe]:
    probe = Probe(timeout=seconds)
    with pytest.raises(CheckFailed) as caught:
        await check.run(probe)
    assert probe.remaining > 0
    assert not probe.refused
    return caught.value, probe


def evidence(probe: Probe) -> dict[str, str]:
    return {name: text() if callable(text) else str(text) for name, text in probe.evidence.items()}


async def test_a_good_certificate_is_measured(ca_file: str) -> None:
    async with secured() as port:
        probe = Probe()
        await Tls(host="127.0.0.1", port=port, ca_file=ca_file).run(probe)
    found = probe.measurements
    assert found["certificate_remaining_seconds"] == pytest.approx(30.5 * DAY, abs=3600)
    assert found["certificate_expiry_timestamp_seconds"] == pytest.approx(time() + 30.5 * DAY, abs=3600)
    assert found["chain_expiry_timestamp_seconds"] == found["certificate_expiry_timestamp_seconds"]
    assert found["certificate_verified"] == 1
    assert found["tls_version"] == 1.3
    assert list(probe.phases) == ["resolve", "connect", "tls"]
    assert "shop.test" in evidence(probe)["certificates"]
    assert evidence(probe)["session"].startswith("TLSv1.3, TLS_")


async def test_the_first_certificate_of_the_chain_to_end_is_told(tmp_path: Path) -> None:
    root = trustme.CA()
    root.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    leaf = root.create_child_ca().issue_cert("127.0.0.1", not_after=in_days(500_000))
    async with secured(context_of(leaf)) as port:
        probe = Probe()
        await Tls(host="127.0.0.1", port=port, ca_file=str(tmp_path / "ca.pem")).run(probe)
    found = probe.measurements
    assert found["chain_expiry_timestamp_seconds"] < found["certificate_expiry_timestamp_seconds"]
    assert len(evidence(probe)["certificates"].splitlines()) == 3


@pytest.mark.parametrize(
    ("issue", "sentence", "remaining"),
    [
        (lambda: CA.issue_cert("127.0.0.1", not_before=in_days(-9), not_after=in_days(-3.2)),
         "the certificate of 127.0.0.1 expired 3 days ago", -3.2 * DAY),
        (lambda: CA.issue_cert("127.0.0.1", not_before=in_days(-9), not_after=in_days(-0.1)),
         "the certificate of 127.0.0.1 expired 2 hours ago", -0.1 * DAY),
        (lambda: CA.issue_cert("127.0.0.1", not_before=in_days(2), not_after=in_days(9)),
         "the certificate of 127.0.0.1 is not valid before 20", 9 * DAY),
        (lambda: CA.issue_cert("other.test", not_after=in_days(9)),
         "the certificate of 127.0.0.1 is made for other.test, not for this name", 9 * DAY),
        (lambda: trustme.CA().issue_cert("127.0.0.1", not_after=in_days(9)),
         "the certificate of 127.0.0.1 is not signed by an authority that we trust", 9 * DAY),
    ],
    ids=["expired", "just expired", "not yet", "other name", "other authority"],
)  # fmt: skip
async def test_a_bad_certificate_is_named_and_measured_all_the_same(
    ca_file: str, issue: Callable[[], trustme.LeafCert], sentence: str, remaining: float
) -> None:
    async with secured(context_of(issue())) as port:
        failed, probe = await failure_of(Tls(host="127.0.0.1", port=port, ca_file=ca_file))
    assert failed.reason == "certificate"
    assert failed.sentence.startswith(sentence), failed.sentence
    assert probe.measurements["certificate_remaining_seconds"] == pytest.approx(remaining, abs=60)
    assert probe.measurements["certificate_verified"] == 0
    assert {"target", "session", "certificates", "verification"} <= set(evidence(probe))


async def test_a_missing_link_in_the_chain_is_a_bad_certificate(tmp_path: Path) -> None:
    root = trustme.CA()
    root.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    leaf = root.create_child_ca().issue_cert("127.0.0.1")
    alone, key = tmp_path / "leaf.pem", tmp_path / "key.pem"
    alone.write_bytes(leaf.cert_chain_pems[0].bytes())
    key.write_bytes(leaf.private_key_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(alone, key)
    async with secured(context) as port:
        failed, _ = await failure_of(Tls(host="127.0.0.1", port=port, ca_file=str(tmp_path / "ca.pem")))
    assert failed.reason == "certificate"
    assert "or a link is missing" in failed.sentence


async def test_without_verification_the_certificate_is_only_measured() -> None:
    async with secured(context_of(CA.issue_cert("other.test", not_before=in_days(-9), not_after=in_days(-3)))) as port:
        probe = Probe()
        await Tls(host="127.0.0.1", port=port, verify=False).run(probe)
    assert probe.measurements["certificate_remaining_seconds"] < 0
    assert "certificate_verified" not in probe.measurements


async def test_the_facts_are_left_out_where_the_second_handshake_fails(ca_file: str) -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.append(writer)
        if len(server) == 1:
            await writer.start_tls(context_of(CA.issue_cert("other.test")))

    server: list[asyncio.StreamWriter] = []
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    async with serve_tcp(once) as port:
        failed, probe = await failure_of(Tls(host="127.0.0.1", port=port, ca_file=ca_file))
    assert failed.reason == "certificate"
    assert failed.sentence.startswith("the certificate of 127.0.0.1 does not verify: IP address mismatch")
    assert probe.measurements == {"certificate_verified": 0}


async def test_another_name_can_be_asked_for_and_verified(ca_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    context = context_of(CA.issue_cert("shop.test"))
    context.sni_callback = lambda _, name, __: asked.append(name)
    async with secured(context) as port:
        await Tls(host="127.0.0.1", port=port, server_name="shop.test", ca_file=ca_file).run(Probe())
        async with serve_names(NameServer("shop.test. 60 IN A 127.0.0.1")) as names:
            monkeypatch.setenv("HEARTBEAT_DNS_SERVERS", names.address)
            await Tls(host="shop.test", port=port, ca_file=ca_file).run(Probe())
    assert asked == ["shop.test", "shop.test"]


async def test_a_version_that_is_too_old_is_no_tls(ca_file: str) -> None:
    context = context_of(CA.issue_cert("127.0.0.1"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with secured(context) as port:
        probe = Probe()
        await Tls(host="127.0.0.1", port=port, ca_file=ca_file).run(probe)
        assert probe.measurements["tls_version"] == 1.2
        failed, _ = await failure_of(Tls(host="127.0.0.1", port=port, ca_file=ca_file, min_version="1.3"))
    assert failed.reason in {"tls", "reset"}  # asyncio's server may hang up without the alert


async def test_an_alert_is_told_in_its_words() -> None:
    async with serve_tcp(say(bytes.fromhex("15 0303 0002 02 46"))) as port:  # fatal, protocol_version
        failed, _ = await failure_of(Tls(host="127.0.0.1", port=port))
    assert failed.reason == "tls"
    assert failed.sentence == f"no TLS with 127.0.0.1:{port}: tlsv1 alert protocol version"


async def test_a_protocol_is_chosen_or_missing(ca_file: str) -> None:
    context = context_of(CA.issue_cert("127.0.0.1"))
    context.set_alpn_protocols(["h2"])
    async with secured(context) as port:
        await Tls(host="127.0.0.1", port=port, ca_file=ca_file, alpn=["h2", "http/1.1"]).run(Probe())
    async with secured() as port:
        failed, _ = await failure_of(Tls(host="127.0.0.1", port=port, ca_file=ca_file, alpn=["h2"]))
    assert (failed.reason, failed.expected) == ("protocol", "h2")


async def test_a_client_certificate_is_shown(ca_file: str, tmp_path: Path) -> None:
    mine = CA.issue_cert("me@shop.test")
    pem = tmp_path / "me.pem"
    mine.private_key_and_cert_chain_pem.write_to_path(str(pem))
    context = context_of(CA.issue_cert("127.0.0.1"))
    context.verify_mode, context.maximum_version = ssl.CERT_REQUIRED, ssl.TLSVersion.TLSv1_2
    CA.configure_trust(context)
    async with secured(context) as port:
        await Tls(host="127.0.0.1", port=port, ca_file=ca_file, cert_file=str(pem)).run(Probe())
        failed, _ = await failure_of(Tls(host="127.0.0.1", port=port, ca_file=ca_file))
    assert failed.reason in {"tls", "reset"}


async def hang_up_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(65536)
    await hang_up(reader, writer)


@pytest.mark.parametrize(
    ("talk", "reasons", "words"),
    [
        (say(b"220 plain text here\r\n" * 20), {"tls"}, "no TLS with"),
        (silent, {"timeout"}, "the TLS handshake with"),
        (hang_up_later, {"reset"}, "closed the connection during the TLS handshake"),
        (reset, {"reset", "connect"}, "connection reset by peer"),
    ],
    ids=["plain", "silent", "closed", "reset"],
)
async def test_a_target_without_tls_is_bad(talk: Talk, reasons: set[str], words: str) -> None:
    async with serve_tcp(talk) as port:
        failed, probe = await failure_of(Tls(host="127.0.0.1", port=port), 0.3)
    assert failed.reason in reasons
    assert words in failed.sentence
    assert "certificate_verified" not in probe.measurements


async def test_a_refused_connection_is_a_bad_target() -> None:
    with refusing_port() as port:
        failed, _ = await failure_of(Tls(host="127.0.0.1", port=port))
    assert (failed.reason, failed.sentence) == ("connect", f"no connection to 127.0.0.1:{port}: connection refused")


STARTTLS = {
    "smtp": upgrade(GOOD, b"220-mail\r\n220 ready\r\n",
                    (b"EHLO heartbeat.invalid\r\n", b"250-hello\r\n250 STARTTLS\r\n"),
                    (b"STARTTLS\r\n", b"220 go\r\n")),
    "imap": upgrade(GOOD, b"* OK ready\r\n", (b"a STARTTLS\r\n", b"* NOTE well\r\na OK go\r\n")),
    "pop3": upgrade(GOOD, b"+OK ready\r\n", (b"STLS\r\n", b"+OK go\r\n")),
    "ftp": upgrade(GOOD, b"220 ready\r\n", (b"AUTH TLS\r\n", b"234 go\r\n")),
    "postgres": upgrade(GOOD, b"", (bytes.fromhex("0000000804d2162f"), b"S")),
}  # fmt: skip


@pytest.mark.parametrize("protocol", STARTTLS)
async def test_tls_is_asked_for_inside_another_protocol(ca_file: str, protocol: str) -> None:
    async with serve_tcp(STARTTLS[protocol]) as port:
        probe = Probe()
        await Tls(host="localhost", family="ip4", port=port, ca_file=ca_file, starttls=protocol).run(probe)
    assert list(probe.phases) == ["resolve", "connect", "starttls", "tls"]
    assert probe.measurements["certificate_verified"] == 1


async def test_a_bad_certificate_behind_starttls_is_measured_too() -> None:
    async with serve_tcp(STARTTLS["smtp"]) as port:
        failed, probe = await failure_of(Tls(host="127.0.0.1", port=port, starttls="smtp"))
    assert failed.reason == "certificate"
    assert probe.measurements["certificate_remaining_seconds"] > 0


@pytest.mark.parametrize(
    ("protocol", "words", "reason", "sentence"),
    [
        ("smtp", (b"554 go away\r\n",), "protocol", "greets wrongly: 554 go away"),
        ("smtp", (b"220 hi\r\n", b"250 hi\r\n", b"502 no\x1b[1m\r\n"), "tls", "refuses STARTTLS: 502 no"),
        (
            "smtp",
            (b"220 hi\r\n", b"250 hi\r\n", b"220 go\r\n250 injected\r\n"),
            "protocol",
            "sent more than its answer",
        ),
        ("imap", (b"* OK hi\r\n", b"a NO\r\n"), "tls", "refuses a STARTTLS: a NO"),
        ("pop3", (b"-ERR\r\n",), "protocol", "greets wrongly"),
        ("ftp", (b"220 hi\r\n", b"500 what\r\n"), "tls", "refuses AUTH TLS: 500 what"),
        ("ftp", (b"x" * 9000,), "protocol", "does not speak in lines"),
        ("imap", (b"220 hi\r\n" * 101,), "protocol", "does not come to an end"),
        ("smtp", (b"220-hi\r\n",), "timeout", "did not begin TLS over smtp within"),
        ("postgres", (b"N",), "tls", "does not offer TLS"),
    ],
)
async def test_a_refused_starttls_is_a_bad_target(
    protocol: str, words: tuple[bytes, ...], reason: str, sentence: str
) -> None:
    async with serve_tcp(say(*words)) as port:
        failed, _ = await failure_of(Tls(host="127.0.0.1", port=port, starttls=protocol), 0.5)
    assert failed.reason == reason
    assert sentence in failed.sentence
    assert failed.sentence.isprintable()


async def test_certificate_files_that_cannot_be_used_are_the_checks_fault(tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    async with secured() as port:
        for options in ({"ca_file": "/no/such/file"}, {"ca_file": str(nonsense)}, {"cert_file": str(nonsense)}):
            failed, _ = await failure_of(Tls(host="127.0.0.1", port=port, **options))
            assert isinstance(failed, CheckBroken), options
            assert failed.reason == "config"
            assert next(iter(options.values())) in failed.sentence


async def test_authorities_are_read_again_when_their_file_changes(tmp_path: Path) -> None:
    authorities = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(authorities))
    async with secured() as port:
        check = Tls(host="127.0.0.1", port=port, ca_file=str(authorities))
        await failure_of(check)
        CA.cert_pem.write_to_path(str(authorities))
        await check.run(Probe())


@pytest.mark.parametrize(
    "wrong", [{"port": 0}, {"key_file": "x"}, {"min_version": "1.0"}, {"starttls": "http"}, {"alpn": [""]}]
)
def test_wrong_options_are_refused_at_load(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Tls(**{"host": "shop.test"} | wrong)


def test_it_works_on_uvloop_and_leaves_no_descriptor_open(ca_file: str) -> None:
    async def story() -> None:
        async with secured() as port:
            for _ in range(3):
                await Tls(host="localhost", family="ip4", port=port, ca_file=ca_file).run(Probe())
                await failure_of(Tls(host="localhost", family="ip4", port=port))
        close()  # what a loop keeps for the next request

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    for run in (asyncio.run, uvloop.run):
        run(story())
        before = descriptors()
        run(story())
        assert descriptors() == before

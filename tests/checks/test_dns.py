from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
from pydantic import ValidationError

from heartbeat import CheckFailed, Probe
from heartbeat.plugins import discover, load_type
from heartbeat.testing.dns import NameServer, serve_names
from heartbeat.testing.http import refusing_port
from heartbeat.testing.tcp import hang_up, serve_tcp, silent

Dns: Any = load_type(discover().sources["dns"])
ZONE = """
shop.test.       300 IN A     192.0.2.1
shop.test.        60 IN A     192.0.2.2
shop.test.       300 IN AAAA  2001:db8::1
www.shop.test.    30 IN CNAME shop.test.
shop.test.       300 IN MX    10 Mail.Shop.test.
shop.test.       300 IN TXT   "v=spf1 " "-all"
shop.test.       300 IN NS    ns.shop.test.
shop.test.       300 IN SOA   ns.shop.test. admin.shop.test. 2026112101 7200 3600 1209600 300
_sip._tcp.shop.test. 300 IN SRV 0 5 5060 sip.shop.test.
shop.test.       300 IN CAA   0 issue "ca.test"
1.2.0.192.in-addr.arpa. 300 IN PTR shop.test.
big.test.        300 IN A     192.0.2.9
"""


def misbehaving() -> NameServer:
    return NameServer(
        ZONE,
        silent=frozenset({"hang.test"}),
        rcodes={"broken.test": "SERVFAIL"},
        truncated=frozenset({"big.test"}),
        malformed=frozenset({"noise.test"}),
    )


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    async with serve_names(misbehaving()) as names:
        yield names


async def failure_of(check: Any, seconds: float = 2) -> tuple[CheckFailed, Probe]:
    probe = Probe(timeout=seconds)
    with pytest.raises(CheckFailed) as caught:
        await check.run(probe)
    assert probe.remaining > 0
    assert not probe.refused
    return caught.value, probe


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_an_answer_is_measured(server: NameServer, transport: str) -> None:
    probe = Probe()
    await Dns(name="shop.test", server=server.address, transport=transport).run(probe)
    assert probe.measurements == {"answer_records": 2, "ttl_seconds": 60}
    assert list(probe.phases) == ["resolve", "request"]
    assert server.questions == [(transport, "shop.test", "A")]
    answer = probe.evidence["answer"]
    assert callable(answer)
    assert "192.0.2.1" in answer()


@pytest.mark.parametrize(
    ("kind", "name", "records"),
    [
        ("A", "shop.test", ["192.0.2.2", "192.0.2.1"]),
        ("A", "www.shop.test", ["192.0.2.1", "192.0.2.2"]),
        ("AAAA", "shop.test", ["2001:0db8:0::1"]),
        ("MX", "SHOP.test.", ["10 mail.shop.test."]),
        ("TXT", "shop.test", ["v=spf1 -all"]),
        ("NS", "shop.test", "ns.shop.test"),
        ("CNAME", "www.shop.test", ["shop.test"]),
        ("PTR", "192.0.2.1", ["shop.test"]),
        ("PTR", "1.2.0.192.in-addr.arpa", ["shop.test"]),
        ("SRV", "_sip._tcp.shop.test", ["0 5 5060 sip.shop.test"]),
        ("CAA", "shop.test", ['0 issue "ca.test"']),
        ("SOA", "shop.test", ["ns.shop.test admin.shop.test 2026112101 7200 3600 1209600 300"]),
    ],
)
async def test_records_of_every_type_are_compared(server: NameServer, kind: str, name: str, records: Any) -> None:
    probe = Probe()
    await Dns(name=name, type=kind, server=server.address, expect={"answers": records}).run(probe)
    assert probe.measurements.get("soa_serial") == (2026112101 if kind == "SOA" else None)


@pytest.mark.parametrize(
    "answers",
    [
        {"contains": "192.0.2.2"},
        {"contains": ["192.0.2.1", "192.0.2.2"], "count": 2},
        {"matches": r"^192\.0\.2\."},
        {"count": {"above": 1, "below": 3}},
    ],
)
async def test_looser_expectations_hold(server: NameServer, answers: Any) -> None:
    await Dns(name="shop.test", server=server.address, expect={"answers": answers, "authoritative": True}).run(Probe())


@pytest.mark.parametrize(
    ("options", "reason", "sentence"),
    [
        ({"name": "absent.test"}, "status", "the server answers the question for absent.test A with NXDOMAIN, not NOE"),
        ({"name": "broken.test"}, "status", "with SERVFAIL, not NOERROR"),
        ({"name": "shop.test", "expect": {"rcode": "nxdomain"}}, "status", "with NOERROR, not NXDOMAIN"),
        ({"name": "big.test", "type": "TXT"}, "absent", "there is no record big.test TXT"),
        ({"name": "shop.test", "expect": {"answers": ["192.0.2.1"]}}, "mismatch", "are not those expected"),
        ({"name": "shop.test", "expect": {"answers": []}}, "mismatch", "are not those expected"),
        ({"name": "shop.test", "expect": {"answers": {"contains": "192.0.2.7"}}}, "content", "192.0.2.7 is not among"),
        ({"name": "shop.test", "expect": {"answers": {"matches": r"\.1$"}}}, "content", "does not match"),
        ({"name": "big.test", "type": "MX", "expect": {"answers": {"matches": "x"}}}, "absent", "there is no record"),
        ({"name": "shop.test", "expect": {"answers": {"count": {"above": 2}}}}, "content", "the number of records"),
        ({"name": "shop.test", "expect": {"authoritative": False}}, "mismatch", "comes with authority"),
        ({"name": "noise.test"}, "protocol", "no answer from 127.0.0.1"),
    ],
)  # fmt: skip
async def test_a_wrong_answer_is_a_bad_target(
    server: NameServer, options: dict[str, Any], reason: str, sentence: str
) -> None:
    failed, probe = await failure_of(Dns(server=server.address, **options))
    assert failed.reason == reason, failed
    assert sentence in failed.sentence
    assert "server" in probe.evidence


async def test_what_was_seen_instead_is_told(server: NameServer) -> None:
    check = Dns(name="shop.test", server=server.address, expect={"answers": ["192.0.2.9", "192.0.2.1"]})
    failed, _ = await failure_of(check)
    assert (failed.expected, failed.observed) == ("192.0.2.1; 192.0.2.9", "192.0.2.1; 192.0.2.2")


@pytest.mark.parametrize(
    ("name", "expect"),
    [("absent.test", {"rcode": "NXDOMAIN"}), ("big.test", {"answers": []}), ("big.test", {"answers": {"count": 0}})],
)
async def test_nothing_can_be_what_is_expected(server: NameServer, name: str, expect: Any) -> None:
    probe = Probe()
    await Dns(name=name, type="TXT", server=server.address, expect=expect).run(probe)
    assert probe.measurements == {"answer_records": 0}


async def test_a_cut_off_answer_is_fetched_over_tcp(server: NameServer) -> None:
    await Dns(name="big.test", server=server.address, expect={"answers": ["192.0.2.9"]}).run(Probe())
    assert [transport for transport, _, _ in server.questions] == ["udp", "tcp"]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_silent_server_ends_before_the_deadline(server: NameServer, transport: str) -> None:
    failed, _ = await failure_of(Dns(name="hang.test", server=server.address, transport=transport), 0.3)
    assert failed.reason == "timeout"
    assert "did not answer the question for hang.test A within 0.2" in failed.sentence


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_a_server_that_is_not_there_is_refused(transport: str) -> None:
    with refusing_port() as port:
        failed, _ = await failure_of(Dns(name="shop.test", server=f"127.0.0.1:{port}", transport=transport))
    assert failed.reason == "connect"
    assert failed.sentence == f"no answer from 127.0.0.1:{port}: connection refused"


async def test_a_server_that_hangs_up_is_a_bad_target() -> None:
    async with serve_tcp(hang_up) as port:
        failed, _ = await failure_of(Dns(name="shop.test", server=f"127.0.0.1:{port}", transport="tcp"))
    assert failed.reason == "reset"


async def test_a_server_is_found_by_its_name_and_by_default(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = server.address.rpartition(":")[2]
    await Dns(name="shop.test", server=f"localhost:{port}").run(Probe())
    monkeypatch.setenv("HEARTBEAT_DNS_SERVERS", server.address)
    await Dns(name="shop.test").run(Probe())
    failed, _ = await failure_of(Dns(name="shop.test", server="absent.test"))
    assert failed.reason == "resolve"
    assert server.questions.count(("udp", "shop.test", "A")) == 2


async def test_recursion_is_asked_for_or_not(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    packets: list[bytes] = []
    answer = NameServer.answer

    def listen(self: NameServer, packet: bytes, transport: str) -> bytes | None:
        packets.append(packet)
        return answer(self, packet, transport)

    monkeypatch.setattr(NameServer, "answer", listen)
    for desired in (True, False):
        await Dns(name="shop.test", server=server.address, recursion_desired=desired).run(Probe())
    assert [packet[2] & 1 for packet in packets] == [1, 0]


async def test_the_question_is_asked_over_tls_and_the_server_verified(tmp_path: Path) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("ns.test").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    options = {"name": "shop.test", "transport": "tls", "ca_file": str(tmp_path / "ca.pem")}
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the server complains when it is refused
    async with serve_names(misbehaving(), tls=context) as server:
        probe = Probe()
        await Dns(server=server.tls_address, server_name="ns.test", **options).run(probe)
        assert server.questions == [("tls", "shop.test", "A")]
        failed, _ = await failure_of(Dns(server=server.tls_address, **options))
        assert failed.reason == "certificate"
        assert "IP address mismatch" in failed.sentence
        await Dns(server=server.tls_address, name="shop.test", transport="tls", verify=False).run(Probe())
    async with serve_tcp(silent) as port:
        failed, _ = await failure_of(Dns(server=f"127.0.0.1:{port}", **options), 0.3)
    assert failed.reason == "timeout"


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a..b"},
        {"name": ""},
        {"name": "x" * 64 + ".test"},
        {"type": "ANY"},
        {"server": "192.0.2.1:port"},
        {"server": ":53"},
        {"expect": {"rcode": "FINE"}},
        {"expect": {"answers": {"matches": "("}}},
        {"expect": {"answers": {"equal": []}}},
        {"transport": "udp", "verify": False},
    ],
)
def test_wrong_options_are_refused_at_load(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Dns(**{"name": "shop.test"} | wrong)


@pytest.mark.parametrize("server", ["::1", "[::1]:5353", "[2001:db8::1]", "ns.test", "ns.test:53", "192.0.2.1"])
def test_servers_are_written_in_many_ways(server: str) -> None:
    assert Dns(name="shop.test", server=server).server == server


def test_it_works_on_uvloop_and_leaves_no_descriptor_open() -> None:
    async def story() -> None:
        async with serve_names(misbehaving()) as server:
            for transport in ("udp", "tcp"):
                await Dns(name="shop.test", server=server.address, transport=transport).run(Probe())
                await failure_of(Dns(name="hang.test", server=server.address, transport=transport), 0.1)
                task = asyncio.create_task(
                    Dns(name="hang.test", server=server.address, transport=transport).run(Probe())
                )
                await server.wait_for_questions(len(server.questions) + 1)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    for run in (asyncio.run, uvloop.run):
        run(story())
        before = descriptors()
        run(story())
        assert descriptors() == before

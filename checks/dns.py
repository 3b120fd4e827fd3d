"""The check type `dns`: one question to a name server, and what its answer should be."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address
from os import environ
from typing import Annotated, Any, Literal

import dns.asyncbackend
import dns.asyncquery
import dns.exception
import dns.flags
import dns.inet
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.reversename
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from heartbeat import Check, CheckBroken, CheckFailed, Probe
from heartbeat.http import Expectation, resolve
from heartbeat.http.expectation import pattern, require
from heartbeat.http.handle import system_bundle
from heartbeat.http.resolver import SERVERS_VARIABLE
from heartbeat.http.stream import blame, limit, patience, place
from heartbeat.http.text import clean

PORTS = {"udp": 53, "tcp": 53, "tls": 853}
TYPES = Literal["A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"]
NAMES = frozenset({"CNAME", "MX", "NS", "PTR", "SOA", "SRV"})  # these hold names: case and the last dot mean nothing
PAYLOAD = 1232  # bytes that a datagram may have on any path (DNS Flag Day 2020)
MODEL = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _is_rcode(value: str) -> str:
    try:
        dns.rcode.from_text(value)
    except dns.exception.DNSException:
        raise ValueError("a response code is a word like NOERROR, NXDOMAIN or REFUSED") from None
    return value.upper()


def _is_pattern(value: str) -> str:
    pattern(value)
    return value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _tagged(value: Any) -> Any:
    return {"equals": value} if isinstance(value, (str, list, tuple)) else value


def _split(server: str) -> tuple[str, int]:
    """Take ``name``, ``name:53``, ``::1`` or ``[::1]:53`` apart; port 0 where there is none."""
    host, colon, port = server.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        host, port = server, "0"
    if not host.strip("[]") or not port.isdecimal() or int(port) > 65535:
        raise ValueError("a server is a name or an address, with a port if it is not the usual one: 192.0.2.53:5353")
    return host.strip("[]"), int(port)


def _is_server(value: str) -> str:
    if value:
        _split(value)
    return value


Listed = str | tuple[str, ...]


class Answers(BaseModel):
    """What the records should be. Everything that is given must hold."""

    model_config = MODEL
    equals: Annotated[tuple[str, ...] | None, BeforeValidator(_listed, json_schema_input_type=Listed | None)] = Field(
        None, description="exactly these records, in any order; the same as writing the list bare"
    )
    contains: Annotated[tuple[str, ...], BeforeValidator(_listed, json_schema_input_type=Listed)] = Field(
        (), description="these records must be among the answers"
    )
    matches: Annotated[str, AfterValidator(_is_pattern)] | None = Field(
        None, description="an RE2 regular expression that every record must match"
    )
    count: Expectation | None = Field(None, description="how many records there are, like 2 or {above: 1, below: 9}")


class DnsExpect(BaseModel):
    """What the answer should be."""

    model_config = MODEL
    rcode: Annotated[str, AfterValidator(_is_rcode)] = Field("NOERROR", description="the response code")
    answers: Annotated[Answers | None, BeforeValidator(_tagged, json_schema_input_type=Answers | Listed | None)] = (
        Field(None, description="the records of the asked type; if left out, with NOERROR there must be one at least")
    )
    authoritative: bool | None = Field(None, description="whether the server must (not) answer with authority")


class Dns(Check):
    """Ask a name server one question, once, and look at the answer.

    Records are compared in their presentation form (RFC 1035): ``10 mail.example.com``, names without regard to case
    and the last dot, addresses by value, texts without quotes. An alias (CNAME) is followed in the answer. A cut-off
    answer over UDP is fetched again over TCP. Reasons: ``status`` another response code; ``absent`` no record;
    ``mismatch`` other records, or authority; ``content`` records that do not contain, match or count as expected.
    """

    name: str = Field(description="the name to ask for; an address will do for PTR", min_length=1, max_length=255)
    type: TYPES = Field("A", description="the type of record to ask for")
    server: Annotated[str, AfterValidator(_is_server)] = Field(
        "",
        description="the name server: an address or a name, with a port if it is not 53 (853 for tls); "
        "the first of the system's if left out",
    )
    transport: Literal["udp", "tcp", "tls"] = Field("udp", description="how to ask; tls is DNS over TLS (RFC 7858)")
    family: Literal["any", "ip4", "ip6"] = Field("any", description="which addresses of a server given by name to use")
    server_name: str = Field("", description="with tls: the name to verify; the server's if left out", max_length=255)
    verify: bool = Field(True, description="with tls: whether the certificate must be valid")
    ca_file: str = Field("", description="with tls: PEM file of the authorities to trust; the system's if left out")
    recursion_desired: bool = Field(True, description="whether the server should ask others; false asks only itself")
    expect: DnsExpect = Field(DnsExpect(), description="what the answer should be")

    @model_validator(mode="after")
    def _is_consistent(self) -> Dns:
        if self.transport != "tls" and self.model_fields_set & {"server_name", "verify", "ca_file"}:
            raise ValueError("server_name, verify and ca_file need transport: tls")
        try:
            self._question()
        except (dns.exception.DNSException, UnicodeError) as error:
            raise ValueError(f"{clean(self.name, 80)!r} is no name that can be asked for: {clean(error)}") from None
        return self

    async def run(self, probe: Probe) -> None:
        """Ask, record, look."""
        host, port = _split(self.server or _system_server())
        with probe.phase("resolve"):
            address = (await resolve(host, family=self.family, timeout=patience(probe.remaining)))[0]
        name = place(host, port or PORTS[self.transport], address)
        probe.note("server", f"{name} over {self.transport}")
        library = (dns.exception.DNSException, EOFError, ssl.SSLError)
        with probe.phase("request"), blame(f"no answer from {name}", *library):
            async with limit(probe.remaining, f"{name} did not answer the question for {self._asked}"):
                answer = await self._ask(address, port or PORTS[self.transport], host)
        probe.note("answer", answer.to_text)
        records = self._record(probe, answer)
        self._hold(answer, records)

    @property
    def _asked(self) -> str:
        return f"{clean(self.name, 100)} {self.type}"

    def _question(self) -> dns.message.QueryMessage:
        if self.type == "PTR" and _is_address(self.name):
            name = dns.reversename.from_address(self.name)
        else:
            name = dns.name.from_text(self.name)
        question = dns.message.make_query(name, self.type, use_edns=0, payload=PAYLOAD)
        if not self.recursion_desired:
            question.flags &= ~dns.flags.RD
        return question

    async def _ask(self, address: str, port: int, host: str) -> dns.message.Message:
        question = self._question()
        if self.transport == "udp":
            return await _ask_over_udp(question, address, port)
        if self.transport == "tcp":
            return await dns.asyncquery.tcp(question, address, port=port)
        context = _make_context((self.ca_file or system_bundle()) if self.verify else "")
        hostname = self.server_name or host
        return await dns.asyncquery.tls(question, address, port=port, ssl_context=context, server_hostname=hostname)

    def _record(self, probe: Probe, answer: dns.message.Message) -> list[str]:
        """Record what was answered; return the records of the asked type in comparable form."""
        wanted = dns.rdatatype.from_text(self.type)
        sets = [found for found in answer.answer if found.rdtype == wanted]
        records = [record for found in sets for record in found]
        probe.record("answer_records", len(records))
        if sets:
            probe.record("ttl_seconds", min(found.ttl for found in answer.answer))
        if self.type == "SOA" and records:
            probe.record("soa_serial", records[0].serial)
        return sorted(_comparable(_text(record), self.type) for record in records)

    def _hold(self, answer: dns.message.Message, records: list[str]) -> None:
        rcode, wanted = dns.rcode.to_text(answer.rcode()), self.expect.rcode
        if rcode != wanted:
            words = f"the server answers the question for {self._asked} with {rcode}, not {wanted}"
            raise CheckFailed(words, reason="status", expected=wanted, observed=rcode)
        authority = bool(answer.flags & dns.flags.AA)
        if self.expect.authoritative not in (None, authority):
            words = f"the answer for {self._asked} comes {'with' if authority else 'without'} authority"
            raise CheckFailed(words, reason="mismatch", expected=self.expect.authoritative, observed=authority)
        if self.expect.answers is not None:
            self._hold_records(self.expect.answers, records)
        elif wanted == "NOERROR" and not records:
            raise CheckFailed(f"there is no record {self._asked}", reason="absent")

    def _hold_records(self, answers: Answers, records: list[str]) -> None:
        seen = clean("; ".join(records) or "no records", 300)
        if answers.equals is not None and (wanted := self._wanted(answers.equals)) != set(records):
            words = f"the records {self._asked} are not those expected"
            listed = clean("; ".join(sorted(wanted)) or "no records", 300)
            raise CheckFailed(words, reason="mismatch" if records else "absent", expected=listed, observed=seen)
        if missing := self._wanted(answers.contains) - set(records):
            listed = clean("; ".join(sorted(missing)), 300)
            raise CheckFailed(f"{listed} is not among the records {self._asked}", expected=listed, observed=seen)
        if answers.matches is not None and not (records and all(map(pattern(answers.matches).search, records))):
            words = f"a record {self._asked} does not match" if records else f"there is no record {self._asked}"
            reason = "content" if records else "absent"
            raise CheckFailed(words, reason=reason, expected=f"matches {clean(answers.matches)}", observed=seen)
        if answers.count is not None:
            require(answers.count, len(records), f"the number of records {self._asked}")

    def _wanted(self, records: Iterable[str]) -> set[str]:
        return {_comparable(record, self.type) for record in records}


async def _ask_over_udp(question: dns.message.Message, address: str, port: int) -> dns.message.Message:
    """Ask over a connected socket: only there the kernel says that nobody listens. Cut-off answers come over TCP."""
    backend, family = dns.asyncbackend.get_default_backend(), dns.inet.af_for_address(address)
    make: Any = backend.make_socket  # dnspython left it untyped
    async with await make(family, socket.SOCK_DGRAM, destination=(address, port)) as sock:
        answer, _ = await dns.asyncquery.udp_with_fallback(question, address, port=port, udp_sock=sock)
    return answer


def _system_server() -> str:
    """Return the name server that the system asks first (or the resolver for checks, where one is set)."""
    named = environ.get(SERVERS_VARIABLE, "").split(",")[0].strip()
    try:
        return named or str(dns.resolver.Resolver().nameservers[0])
    except dns.resolver.NoResolverConfiguration:
        raise CheckBroken("this system names no name server; set the option server", reason="config") from None


@lru_cache(maxsize=16)
def _make_context(authorities: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if authorities:
        context.load_verify_locations(authorities)
    else:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _text(record: Any) -> str:
    """Return a record in its presentation form; a text without its quotes and in one piece."""
    if record.rdtype == dns.rdatatype.TXT:
        return b"".join(record.strings).decode("utf-8", "replace")
    return str(record.to_text())


def _comparable(record: str, kind: str) -> str:
    if kind in NAMES:
        return " ".join(word.rstrip(".").lower() or "." for word in record.split())
    return str(ip_address(record)) if kind in {"A", "AAAA"} and _is_address(record) else record.strip()

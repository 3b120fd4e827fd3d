"""The check type `tls`: a TLS handshake, and until when the certificate holds."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from time import time
from typing import Any, Literal

from pydantic import Field, model_validator

from heartbeat import Check, CheckBroken, CheckFailed, Probe
from heartbeat.http import resolve
from heartbeat.http.handle import system_bundle
from heartbeat.http.starttls import ask_for_tls
from heartbeat.http.stream import blame, connect, limit, patience, place
from heartbeat.http.text import clean

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

# What OpenSSL finds wrong with a certificate (X509_STORE_CTX_get_error(3)), where we can say it better.
EXPIRED, NOT_YET, SELF_SIGNED, SELF_SIGNED_ROOT, UNKNOWN_ISSUER, NO_ISSUER = 10, 9, 18, 19, 20, 21
OTHER_NAME, OTHER_ADDRESS = 62, 64


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says of itself; times are seconds since the epoch."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: float
    not_after: float


@dataclass(frozen=True, slots=True)
class Session:
    """What a handshake came to. ``chain`` begins with the server's own certificate."""

    chain: tuple[Certificate, ...]
    version: str
    cipher: str
    alpn: str | None


class Tls(Check):
    """Do a TLS handshake, also behind STARTTLS, and record until when the certificates hold.

    How many days must be left is a limit on ``certificate_remaining_seconds`` (of the server's own certificate) or
    ``chain_expiry_timestamp_seconds`` (of the first in the chain to end: the chain that verified, or that was sent).
    They are recorded also when the certificate does not verify: a second handshake, whose only purpose this is, reads
    them then.
    """

    host: str = Field(description="name or address to connect to", min_length=1, max_length=255)
    port: int = Field(443, description="port to connect to", ge=1, le=65535)
    family: Literal["any", "ip4", "ip6"] = Field("any", description="which addresses of the host to connect to")
    server_name: str = Field(
        "", description="name to ask for (SNI) and to verify; the host's if left out", max_length=255
    )
    starttls: Literal["", "smtp", "imap", "pop3", "ftp", "postgres"] = Field(
        "", description="the protocol in which to ask for TLS first; if left out, TLS begins at once"
    )
    verify: bool = Field(True, description="whether the certificate must be valid for the name")
    ca_file: str = Field("", description="PEM file of the authorities to trust; the system's if left out")
    cert_file: str = Field("", description="PEM file of the client certificate (and its chain)")
    key_file: str = Field("", description="PEM file of the client certificate's key; in cert_file if left out")
    min_version: Literal["1.2", "1.3"] = Field("1.2", description="the oldest version of TLS to accept")
    alpn: tuple[str, ...] = Field((), description="protocols to offer (ALPN), like h2; one of them must be chosen")

    @model_validator(mode="after")
    def _is_consistent(self) -> Tls:
        if self.key_file and not self.cert_file:
            raise ValueError("key_file needs cert_file")
        if any(not 0 < len(name.encode()) < 256 for name in self.alpn):
            raise ValueError("a protocol in alpn has 1 to 255 bytes")
        return self

    async def run(self, probe: Probe) -> None:
        """Shake hands, record, verify."""
        with probe.phase("resolve"):
            found = await resolve(self.host, family=self.family, timeout=patience(probe.remaining))
        name = place(self.host, self.port, found[0])
        probe.note("target", name)
        try:
            session = await self._shake_hands(probe, found[0], verify=self.verify)
        except ssl.SSLCertVerificationError as error:
            probe.record("certificate_verified", 0)
            chain = await self._read_chain(probe, found[0])
            problem = _problem(error, self._verified_name, chain)
            probe.note("verification", clean(error.verify_message))
            raise CheckFailed(problem, reason="certificate") from error
        if self.verify:
            probe.record("certificate_verified", 1)
        _record(probe, session)
        if self.alpn and session.alpn is None:
            wanted = ", ".join(self.alpn)
            raise CheckFailed(f"{name} chose none of the protocols {wanted}", reason="protocol", expected=wanted)

    @property
    def _verified_name(self) -> str:
        return (self.server_name or self.host).strip("[]").rstrip(".")

    async def _read_chain(self, probe: Probe, address: str) -> tuple[Certificate, ...]:
        """Read what the certificates say although they do not verify; nothing else is done with that connection."""
        with suppress(CheckFailed, ssl.SSLError, OSError):
            session = await self._shake_hands(Probe(timeout=probe.remaining), address, verify=False)
            _record(probe, session)
            return session.chain
        return ()

    async def _shake_hands(self, probe: Probe, address: str, *, verify: bool) -> Session:
        name = place(self.host, self.port, address)
        context = self._context(verify=verify)
        with probe.phase("connect"):
            sock = await connect(address, self.port, remaining=probe.remaining, name=name)
        with sock, blame(f"{name} broke off before TLS was established"):
            if self.starttls:
                with probe.phase("starttls"):
                    async with limit(probe.remaining, f"{name} did not begin TLS over {self.starttls}"):
                        await ask_for_tls(sock, self.starttls, name)
            with probe.phase("tls"):
                async with limit(probe.remaining, f"the TLS handshake with {name} was not done"):
                    tls = await _handshake(sock, context, self._verified_name, name)
        return _session(tls, verified=verify)

    def _context(self, *, verify: bool) -> ssl.SSLContext:
        authorities = (self.ca_file or system_bundle()) if verify else ""
        files = (authorities, self.cert_file, self.key_file)
        try:
            changed = tuple(Path(file).stat().st_mtime_ns for file in files if file)
            return _make_context(*files, self.min_version, self.alpn, changed)
        except (OSError, ValueError) as error:
            words = clean(error.strerror or error) if isinstance(error, OSError) else clean(error)
            named = ", ".join(file for file in files if file)
            raise CheckBroken(f"the certificates in {named} cannot be used: {words}", reason="config") from error


@lru_cache(maxsize=64)
def _make_context(
    authorities: str, cert_file: str, key_file: str, min_version: str, alpn: tuple[str, ...], _changed: tuple[int, ...]
) -> ssl.SSLContext:
    """Make a context once for all checks that need the same: parsing the authorities takes 40 ms."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = VERSIONS[min_version]
    if authorities:
        context.load_verify_locations(authorities)
    else:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if cert_file:
        context.load_cert_chain(cert_file, key_file or None, password=_refuse_password)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _refuse_password() -> str:
    """Keep OpenSSL from asking for a passphrase on the terminal."""
    raise ValueError("the key is encrypted; a daemon needs one that is not")


async def _handshake(sock: socket.socket, context: ssl.SSLContext, server_name: str, name: str) -> ssl.SSLObject:
    """Do the handshake over memory: asyncio's own TLS costs four times the memory and hides how it failed."""
    loop, incoming, outgoing = asyncio.get_running_loop(), ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=server_name)
    while True:
        done = _advance(tls, outgoing, sock, name)
        if words := outgoing.read():
            await loop.sock_sendall(sock, words)
        if done:
            return tls
        if chunk := await loop.sock_recv(sock, 16384):
            incoming.write(chunk)
        else:
            raise CheckFailed(f"{name} closed the connection during the TLS handshake", reason="reset")


def _advance(tls: ssl.SSLObject, outgoing: ssl.MemoryBIO, sock: socket.socket, name: str) -> bool:
    """Go on as far as it goes; say whether that was the end. Raises what OpenSSL finds wrong."""
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLError as error:
        with suppress(OSError):
            sock.send(outgoing.read())  # the alert that tells the other side why
        if isinstance(error, ssl.SSLCertVerificationError):
            raise
        said = clean((error.reason or str(error)).replace("_", " ").lower())
        raise CheckFailed(f"no TLS with {name}: {said}", reason="tls") from error
    return True


def _session(tls: ssl.SSLObject, *, verified: bool) -> Session:
    """Take out what was agreed on, and the certificates.

    Python's public methods decode a certificate only if it verified, and give only the server's own before 3.13; the
    object beneath has given all of them, decoded by OpenSSL, since 3.10.
    """
    beneath: Any = tls._sslobj  # type: ignore[attr-defined]  # noqa: SLF001 - see above
    certificates = beneath.get_verified_chain() if verified else beneath.get_unverified_chain()
    chain = tuple(_certificates(certificate.get_info() for certificate in certificates or ()))
    cipher = tls.cipher()
    return Session(chain, tls.version() or "", cipher[0] if cipher else "", tls.selected_alpn_protocol())


def _certificates(infos: Iterable[Mapping[str, Any]]) -> Iterator[Certificate]:
    for info in infos:
        with suppress(ValueError):  # a time that is none, which only a certificate that does not verify can have
            yield Certificate(
                subject=_distinguished(info.get("subject", ())),
                issuer=_distinguished(info.get("issuer", ())),
                names=tuple(clean(value) for _, value in info.get("subjectAltName", ())),
                not_before=float(ssl.cert_time_to_seconds(info["notBefore"])),
                not_after=float(ssl.cert_time_to_seconds(info["notAfter"])),
            )


def _distinguished(parts: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    return clean(", ".join(f"{key}={value}" for part in parts for key, value in part))


def _record(probe: Probe, session: Session) -> None:
    probe.note("session", f"{session.version}, {session.cipher}, ALPN {session.alpn or 'none'}")
    if version := re.fullmatch(r"TLSv(\d\.\d)", session.version):
        probe.record("tls_version", float(version[1]))
    if session.chain:
        leaf = session.chain[0]
        probe.record("certificate_expiry_timestamp_seconds", leaf.not_after)
        probe.record("certificate_remaining_seconds", leaf.not_after - time())
        probe.record("chain_expiry_timestamp_seconds", min(each.not_after for each in session.chain))
        probe.note("certificates", lambda: "\n".join(map(_describe, session.chain[:10])))


def _describe(certificate: Certificate) -> str:
    names = clean(", ".join(certificate.names), 300)
    return f"{certificate.subject} for {names or '-'}, until {_date(certificate.not_after)}, by {certificate.issuer}"


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _problem(error: ssl.SSLCertVerificationError, name: str, chain: tuple[Certificate, ...]) -> str:
    """Say in one sentence why a certificate does not verify."""
    whose, code, now = f"the certificate of {name}", error.verify_code, time()
    if chain and code == EXPIRED:
        ended = min(chain, key=lambda each: each.not_after)
        which = whose if ended is chain[0] else f"an intermediate certificate of {name}"
        return f"{which} expired {_ago(now - ended.not_after)} ago"
    if chain and code == NOT_YET:
        return f"{whose} is not valid before {_date(chain[0].not_before)}"
    if chain and code in {OTHER_NAME, OTHER_ADDRESS}:
        return f"{whose} is made for {clean(', '.join(chain[0].names), 200) or chain[0].subject}, not for this name"
    if code == SELF_SIGNED:
        return f"{whose} is signed by itself, not by an authority that we trust"
    if chain and code in {SELF_SIGNED_ROOT, UNKNOWN_ISSUER, NO_ISSUER}:
        return f"{whose} is not signed by an authority that we trust, or a link is missing (issuer {chain[-1].issuer})"
    return f"{whose} does not verify: {clean(error.verify_message)}"


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{max(0, int(seconds))} seconds"

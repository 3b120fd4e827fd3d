"""Names to addresses, without threads and without a cache: a hanging name delays nobody who asks for another.

Every lookup has a c-ares channel for itself. That is what keeps lookups apart (sockets, timers, failures), and what
makes them end at once when nobody waits any more. A channel that served one lookup well serves another one later;
c-ares' own cache is emptied in between, as a probe that is told yesterday's address does not see today's dead server.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Literal
from weakref import WeakKeyDictionary

import pycares
from pycares import errno as ares

from heartbeat.check import CheckBroken, CheckFailed
from heartbeat.faults import has_route
from heartbeat.http.cares import stubs
from heartbeat.waiting import wait_for_one

Family = Literal["any", "ip4", "ip6"]

SERVERS_VARIABLE = "HEARTBEAT_DNS_SERVERS"
"""Environment variable that replaces the name servers of the system: ``127.0.0.1:5353,[::1]:53``."""

_FAMILIES = {"any": socket.AF_UNSPEC, "ip4": socket.AF_INET, "ip6": socket.AF_INET6}
_WORDS = {"any": "address", "ip4": "IPv4 address", "ip6": "IPv6 address"}
_SAID = {
    ares.ARES_ENOTFOUND: "does not exist",
    ares.ARES_EBADNAME: "is no valid name",
    ares.ARES_ESERVFAIL: "could not be looked up: the name server failed (SERVFAIL)",
    ares.ARES_EREFUSED: "could not be looked up: the name server refused the question",
    ares.ARES_ENOTIMP: "could not be looked up: the name server does not know how",
    ares.ARES_ECONNREFUSED: "could not be looked up: no name server can be reached",
    ares.ARES_ETIMEOUT: "could not be looked up: no name server answers",
    ares.ARES_EBADRESP: "could not be looked up: the answer of the name server is malformed",
    ares.ARES_EFORMERR: "could not be looked up: the name server did not understand the question",
}
_UNREACHED = frozenset({ares.ARES_ECONNREFUSED, ares.ARES_ETIMEOUT})
_Key = tuple[str, Family, tuple[str, ...]]


async def resolve(
    host: str,
    *,
    family: Family = "any",
    timeout: float,  # noqa: ASYNC109 - the deadline is part of the sentence that a failure says
    servers: Sequence[str] = (),
) -> tuple[str, ...]:
    """Look a name up as the system would: hosts file first, then the name servers with their search list.

    Lookups of one name that overlap share one question. Nothing is remembered afterwards.

    Args:
        host: a name, or an address (``::1`` and ``[::1]`` alike), which returns at once.
        family: which addresses are wanted.
        timeout: seconds; the only deadline, c-ares' own waits are made longer than this.
        servers: ``address:port`` of the name servers to ask; by default those in ``HEARTBEAT_DNS_SERVERS``, else the
            system's.

    Returns:
        The addresses in the order in which a client should try them (RFC 6724), at least one.

    Raises:
        CheckFailed: reason ``resolve``, with what the resolver said.
        CheckBroken: no file descriptor (``resource``), no network (``network``), malformed servers (``config``).
    """
    if (literal := _literal(host)) is not None:
        return _of_family(host, literal, family)
    if not host or not host.isprintable():  # c-ares would stop reading at a NUL
        raise _refusal(host, family, ares.ARES_EBADNAME)
    lookup = _join((host.lower(), family, _servers(servers)), timeout)
    try:
        await wait_for_one(lookup.answer, timeout)
        if not lookup.answer.done():
            _require_resources(lookup.stub.channel, ares.ARES_ETIMEOUT)
            raise CheckFailed(f"the name {host} was not resolved: no answer within {timeout:.3g} s", reason="resolve")
        status, addresses = lookup.answer.result()
        if not addresses:
            _require_resources(lookup.stub.channel, status)
            raise _refusal(host, family, status)
        return addresses
    finally:
        lookup.leave()


def close_resolver() -> None:
    """End all lookups of the running loop; who still waits is told that the check is at fault, not the name."""
    for lookup in list(_lookups().values()):
        lookup.close()
    stubs(asyncio.get_running_loop()).close()


def _literal(host: str) -> str | None:
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return str(ip_address(bare))
    except ValueError:
        return None


def _of_family(host: str, literal: str, family: Family) -> tuple[str, ...]:
    if (family == "ip4" and ":" in literal) or (family == "ip6" and ":" not in literal):
        raise CheckFailed(f"{host} is no {_WORDS[family]}", reason="resolve")
    return (literal,)


def _servers(chosen: Sequence[str]) -> tuple[str, ...]:
    named = chosen or os.environ.get(SERVERS_VARIABLE, "").split(",")
    return tuple(server.strip() for server in named if server.strip())


class _Lookup:
    """One question in flight, on a channel that is its own meanwhile, shared by all who ask it at the same time."""

    __slots__ = ("_key", "_loop", "answer", "stub", "waiters")

    def __init__(self, key: _Key, timeout: float) -> None:
        name, family, servers = self._key = key
        self._loop = asyncio.get_running_loop()
        self.waiters = 0
        self.answer: asyncio.Future[tuple[int, tuple[str, ...]]] = self._loop.create_future()
        self.stub = stubs(self._loop).take(servers, timeout)
        self.stub.ask(name, _FAMILIES[family], self._take)

    def _take(self, found: pycares.AddrInfoResult | None, status: int | None) -> None:
        addresses = [] if found is None else [node.addr[0].decode() for node in found.nodes]
        if self._key[0] == "localhost":  # c-ares puts ::1 first (RFC 6761), where few services listen
            addresses.sort(key=lambda address: ":" in address)
        self._settle(status or ares.ARES_ENODATA, tuple(dict.fromkeys(addresses)))

    def _settle(self, status: int, addresses: tuple[str, ...]) -> None:
        if not self.answer.done():
            self.answer.set_result((status, addresses))

    def leave(self) -> None:
        """One waiter less; the last one ends the lookup."""
        self.waiters -= 1
        if not self.waiters:
            self.close()

    def close(self) -> None:
        """Stop asking, and give the channel back where it did its work."""
        lookups = _lookups()
        if lookups.get(self._key) is self:
            del lookups[self._key]
        served = self.answer.done() and bool(self.answer.result()[1])
        stubs(self._loop).give_back(self.stub, good=served)
        self._settle(ares.ARES_ECANCELLED, ())


_running: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Key, _Lookup]] = WeakKeyDictionary()


def _lookups() -> dict[_Key, _Lookup]:
    return _running.setdefault(asyncio.get_running_loop(), {})


def _join(key: _Key, timeout: float) -> _Lookup:
    lookups = _lookups()
    lookup = lookups.get(key)
    if lookup is None:
        lookup = lookups[key] = _Lookup(key, timeout)
    lookup.waiters += 1
    return lookup


def _require_resources(channel: pycares.Channel, status: int) -> None:
    """Raise where a lookup failed by our own fault, which c-ares reports as a name server that cannot be reached."""
    if status in {ares.ARES_ECANCELLED, ares.ARES_EDESTRUCTION}:
        raise CheckBroken("the lookup was stopped, because heartbeat is shutting down", reason="resource")
    if status == ares.ARES_ENOMEM:
        raise CheckBroken("the resolver ran out of memory", reason="resource")
    if status not in _UNREACHED:
        return
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        raise CheckBroken(f"no name can be resolved: {error.strerror}", reason="resource") from error
    if not has_route() and not all(server.startswith(("127.", "[::1]")) for server in channel.servers):
        raise CheckBroken("no name can be resolved: this machine has no network", reason="network")


def _refusal(host: str, family: Family, status: int) -> CheckFailed:
    name = host if host.isprintable() and len(host) < 254 and status != ares.ARES_EBADNAME else repr(host[:254])
    if status == ares.ARES_ENODATA:
        return CheckFailed(f"the name {name} has no {_WORDS[family]}", reason="resolve")
    said = _SAID.get(status) or f"could not be looked up: c-ares error {status}"
    return CheckFailed(f"the name {name} {said}", reason="resolve")

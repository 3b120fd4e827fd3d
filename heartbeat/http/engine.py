"""The http engine: libcurl on the running loop, one fresh connection per request, names resolved by us.

One engine belongs to one loop. Handles are used again; connections, looked-up names and TLS sessions never are, so
that every run makes the whole round trip.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from time import perf_counter
from typing import NamedTuple

import pycurl

from heartbeat.check import CheckBroken, CheckFailed
from heartbeat.http.certificates import Certificates
from heartbeat.http.cookies import Cookies
from heartbeat.http.errors import Ending, failure
from heartbeat.http.handle import Easy, Exchange, Profile, aim, configure, profile_of, system_bundle, write
from heartbeat.http.measure import read_back, system_error
from heartbeat.http.message import Certificate, Pairs, Request, Response, Target, Trace, target
from heartbeat.http.multi import Multi
from heartbeat.http.redirects import next_request, same_origin
from heartbeat.http.resolver import close_resolver, resolve

HANDLES_KEPT = 128
ATTRIBUTE = "_heartbeat_http_engine"
WELL = Ending(0, "", 0, 0.0, overflow=False, refused="")
"""How nearly all exchanges end."""


class Limit(NamedTuple):
    """Until when a request may take, and how many seconds that were from the start."""

    deadline: float
    seconds: float


class Engine:
    """Sends requests over libcurl. Get the running loop's with ``engine()``."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._free: dict[Profile, list[Easy]] = {}
        self._idle = 0
        self._multis: dict[str, tuple[int, Multi]] = {}
        self._certificates = Certificates()

    async def fetch(
        self,
        request: Request,
        *,
        timeout: float,  # noqa: ASYNC109 - one deadline for all hops, told to libcurl too
        trace: Trace | None = None,
        marks: Pairs = (),
        cookies: Cookies | None = None,
    ) -> Response:
        """Send a request, follow redirects if it says so, and return the final answer.

        Args:
            request: what to send.
            timeout: seconds for all of it: names, connections, redirects, bodies.
            trace: filled in on the way, also when this fails or is cancelled.
            marks: headers of this run alone. The request's own win, and like those they never leave the origin.
            cookies: sent along, and taken from every answer; None where there are none.

        Raises:
            CheckFailed: the target is bad (resolve, connect, tls, certificate, timeout, reset, protocol).
            CheckBroken: we are (config, resource).
        """
        trace = trace if trace is not None else Trace()
        limit = Limit(perf_counter() + timeout, timeout)
        while True:
            extra = marks if cookies is None else (*marks, *_cookie(cookies, request, trace))
            response = await self._exchange(request, limit, trace, extra)
            if cookies is not None:
                trace.set_cookies += cookies.take(response)
            following = next_request(request, response) if request.follow_redirects else None
            if following is None:
                return response
            if trace.redirects >= request.max_redirects:
                raise CheckFailed(
                    f"{target(request.url)} redirects more than {request.max_redirects} times", reason="protocol"
                )
            trace.redirects += 1
            if not same_origin(request.url, following.url):
                marks = ()
            request = following

    def close(self) -> None:
        """Drop everything at once; requests in flight are cancelled."""
        for _, multi in self._multis.values():
            multi.close()
        for easy in chain.from_iterable(self._free.values()):
            easy.curl.close()
        self._multis.clear()
        self._free.clear()
        self._idle = 0
        if getattr(self._loop, ATTRIBUTE, None) is self:
            delattr(self._loop, ATTRIBUTE)

    async def _exchange(
        self,
        request: Request,
        limit: Limit,
        trace: Trace,
        extra: Pairs = (),
        *,
        look: bool = False,
    ) -> Response:
        """Make one hop: resolve, connect, send, receive.

        ``extra`` are headers of this hop alone; ``look`` asks for the certificate even where it is known.
        """
        there = _target_of(request.url)
        trace.begin(request)
        entry = await self._look_up(request, there, limit.deadline, trace)
        multi = self._multi_for(request, there)
        profile = profile_of(request, there)
        known = None if look else self._certificates.recall(request, there)
        exchange = Exchange(self._acquire(profile), request, there, trace, looks=known is None, extra=extra)
        usable = False
        try:
            _prepare(exchange, profile, limit.deadline - perf_counter(), entry)
            end = await _perform(multi, exchange, limit.seconds)
            usable = end.code == 0 and not request.connect_only
        finally:
            self._release(exchange.easy, usable=usable)
        if known:
            failed = end.code == pycurl.E_PEER_FAILED_VERIFICATION
            trace.certificate = await self._look(request, limit) if failed else known
        elif trace.certificate:
            self._certificates.keep(request, there, trace.certificate)
        if end.code:
            self._certificates.forget(request, there)
        if request.connect_only and not end.code:
            return Response(request.url, 0, (), b"", truncated=False, http_version="")
        if trace.response is None or (end.code and not trace.response.truncated):
            raise failure(end, request, there, trace)
        _demand_version(request, there, trace.response)
        return trace.response

    async def _look(self, request: Request, limit: Limit) -> Certificate | None:
        """Shake hands once more, to see a certificate that is not the known one: it failed, so nothing is sent."""
        seen, harmless = Trace(), replace(request, method="HEAD", body=None)
        with suppress(CheckFailed):
            await self._exchange(harmless, limit, seen, look=True)
        return seen.certificate

    async def _look_up(self, request: Request, there: Target, deadline: float, trace: Trace) -> list[str]:
        """Resolve the host to dial (the proxy's, where there is one); return libcurl's RESOLVE entries."""
        dial = _target_of(request.proxy) if request.proxy else there
        if dial.literal:
            trace.addresses = (dial.host,)
            return []
        started = perf_counter()
        try:
            trace.addresses = await resolve(dial.host, family=request.family, timeout=max(0.001, deadline - started))
        finally:
            trace.add("resolve", perf_counter() - started)
        shown = ",".join(f"[{address}]" if ":" in address else address for address in trace.addresses)
        return [f"+{dial.host}:{dial.port}:{shown}"]

    def _multi_for(self, request: Request, there: Target) -> Multi:
        """Return the multi for the request's authorities: libcurl keeps one parsed store in each.

        With a single multi, two checks with different authorities would parse 140 certificates on every run. A file
        that has changed gets a new one, or libcurl would go on with the old store for a day.
        """
        checked = request.tls.verify and (there.scheme == "https" or request.proxy)
        bundle = (request.tls.ca_file or system_bundle()) if checked else ""
        try:
            stamp = os.stat(bundle).st_mtime_ns if bundle else 0  # noqa: PTH116 - at each run: making a Path costs as much as looking
        except OSError as error:
            raise CheckBroken(f"the certificate authorities in {bundle}: {error.strerror}", reason="config") from None
        known = self._multis.get(bundle)
        if known is None or known[0] != stamp:
            known = self._multis[bundle] = (stamp, Multi(self._loop))
        return known[1]

    def _acquire(self, profile: Profile) -> Easy:
        """Return a handle: the best is one that was set up for the same, then any that nobody uses."""
        if kept := self._free.get(profile):
            easy = kept.pop()
            if not kept:
                del self._free[profile]
        elif self._idle >= HANDLES_KEPT:
            other = next(iter(self._free))
            easy = self._free[other].pop()
            if not self._free[other]:
                del self._free[other]
            easy.forget()
        else:
            return Easy()
        self._idle -= 1
        return easy

    def _release(self, easy: Easy, *, usable: bool) -> None:
        """Keep a handle for the next exchange like this one, but never in a state that nobody can know."""
        easy.sink.begin(0)
        if usable and easy.profile is not None and self._idle < HANDLES_KEPT:
            self._free.setdefault(easy.profile, []).append(easy)
            self._idle += 1
        else:
            easy.curl.close()


def engine() -> Engine:
    """Return the running loop's engine, made when first asked for; it lives on the loop and goes with it."""
    loop = asyncio.get_running_loop()
    found: Engine | None = getattr(loop, ATTRIBUTE, None)
    if found is None:
        found = Engine()
        setattr(loop, ATTRIBUTE, found)
    return found


def close() -> None:
    """Drop all that the running loop has under way: requests and lookups."""
    engine().close()
    close_resolver()


async def fetch(
    request: Request,
    *,
    timeout: float,  # noqa: ASYNC109 - as in Engine.fetch
    trace: Trace | None = None,
    marks: Pairs = (),
    cookies: Cookies | None = None,
) -> Response:
    """Send a request on the running loop's engine; see ``Engine.fetch``."""
    return await engine().fetch(request, timeout=timeout, trace=trace, marks=marks, cookies=cookies)


def _target_of(url: str) -> Target:
    try:
        return target(url)
    except ValueError as error:
        raise CheckBroken(str(error), reason="config") from None


def _cookie(cookies: Cookies, request: Request, trace: Trace) -> Pairs:
    """Return the header with the cookies for a request; one that its caller wrote is left alone."""
    is_own = any(name.lower() == "cookie" for name, _ in request.headers)
    sent = "" if is_own else cookies.header(request.url)
    trace.has_cookies = bool(sent)
    return (("Cookie", sent),) if sent else ()


def _prepare(exchange: Exchange, profile: Profile, seconds: float, entry: list[str]) -> None:
    if seconds <= 0:
        raise CheckFailed(f"no time was left to connect to {exchange.target}", reason="timeout")
    try:
        if exchange.easy.profile is None:
            configure(exchange, profile)
        write(exchange.easy, exchange.request)
        aim(exchange, seconds, entry)
    except (pycurl.error, UnicodeError, KeyError) as error:
        raise CheckBroken(f"libcurl refuses an option of the request: {error}", reason="config") from None


async def _perform(multi: Multi, exchange: Exchange, timeout: float) -> Ending:  # noqa: ASYNC109 - only told in a sentence
    """Run the exchange; its trace is filled in also when it is cancelled."""
    started, ended = perf_counter(), False
    try:
        code, message = await multi.perform(exchange.handle)
        ended = True
    finally:
        read_back(exchange, None if ended else perf_counter() - started)
    if not code:
        return WELL
    number = system_error(exchange.handle)
    return Ending(code, message, number, timeout, exchange.sink.overflow, "; ".join(exchange.refused))


def _demand_version(request: Request, there: Target, response: Response) -> None:
    if request.http_version in ("2", "3") and response.http_version != request.http_version:
        raise CheckFailed(
            f"{there} spoke another version of HTTP than the one demanded",
            reason="protocol",
            expected=f"HTTP/{request.http_version}",
            observed=f"HTTP/{response.http_version}",
        )

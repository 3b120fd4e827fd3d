from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from time import perf_counter

import pytest
import uvloop
from pycares import errno as ares

from heartbeat import CheckBroken, CheckFailed
from heartbeat.core.model import Reason
from heartbeat.http import resolver
from heartbeat.http.resolver import close_resolver, resolve
from heartbeat.testing.dns import NameServer, serve_names

ZONE = """
both.test.    300 IN A     192.0.2.1
both.test.    300 IN AAAA  2001:db8::1
only4.test.   300 IN A     192.0.2.4
alias.test.   300 IN CNAME only4.test.
text.test.    300 IN TXT   "no address"
xn--bcher-kva.test. 300 IN A 192.0.2.7
"""
HANGING = frozenset({"hang.test", *(f"hang{number}.test" for number in range(40))})


def misbehaving() -> NameServer:
    return NameServer(
        ZONE,
        silent=HANGING,
        rcodes={"broken.test": "SERVFAIL", "refused.test": "REFUSED"},
        malformed=frozenset({"noise.test"}),
        truncated=frozenset({"only4.test"}),
    )


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NameServer]:
    async with serve_names(misbehaving()) as server:
        monkeypatch.setenv("HEARTBEAT_DNS_SERVERS", server.address)
        yield server


async def test_a_name_has_addresses_of_both_families(names: NameServer) -> None:
    assert set(await resolve("both.test", timeout=5)) == {"192.0.2.1", "2001:db8::1"}


@pytest.mark.parametrize(("family", "address"), [("ip4", "192.0.2.1"), ("ip6", "2001:db8::1")])
async def test_a_family_narrows_the_addresses(names: NameServer, family: resolver.Family, address: str) -> None:
    assert await resolve("both.test", family=family, timeout=5) == (address,)


async def test_an_alias_is_followed_and_a_cut_off_answer_fetched_over_tcp(names: NameServer) -> None:
    assert await resolve("alias.test", family="ip4", timeout=5) == ("192.0.2.4",)
    assert await resolve("only4.test", family="ip4", timeout=5) == ("192.0.2.4",)
    assert ("tcp", "only4.test", "A") in names.questions


async def test_an_international_name_is_asked_for_in_its_ascii_form(names: NameServer) -> None:
    assert await resolve("bücher.test", family="ip4", timeout=5) == ("192.0.2.7",)


@pytest.mark.parametrize(
    ("literal", "address"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("[::1]", "::1"), ("fe80::1%lo", "fe80::1%lo")]
)
async def test_an_address_returns_at_once(literal: str, address: str) -> None:
    assert await resolve(literal, timeout=0, servers=("127.0.0.1:1",)) == (address,)


async def test_an_address_of_the_other_family_is_refused() -> None:
    with pytest.raises(CheckFailed, match=r"127\.0\.0\.1 is no IPv6 address"):
        await resolve("127.0.0.1", family="ip6", timeout=1)


async def test_localhost_needs_no_server_and_starts_with_ipv4() -> None:
    assert (await resolve("localhost", timeout=5, servers=("127.0.0.1:1",)))[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "family", "sentence"),
    [
        ("absent.test", "any", "the name absent.test does not exist"),
        ("text.test", "any", "the name text.test has no address"),
        ("only4.test", "ip6", "the name only4.test has no IPv6 address"),
        ("broken.test", "any", "the name broken.test could not be looked up: the name server failed (SERVFAIL)"),
        ("refused.test", "any", "the name refused.test could not be looked up: the name server refused the question"),
        ("a..b", "any", "the name 'a..b' is no valid name"),
        ("", "any", "the name '' is no valid name"),
        ("evil\x00.test", "any", "the name 'evil\\x00.test' is no valid name"),
        ("ö" * 300, "any", "is no valid name"),
    ],
)
async def test_a_failed_lookup_says_which_name_and_what_the_resolver_said(
    names: NameServer, host: str, family: resolver.Family, sentence: str
) -> None:
    with pytest.raises(CheckFailed) as caught:
        await resolve(host, family=family, timeout=5)
    assert sentence in caught.value.sentence
    assert caught.value.reason is Reason.RESOLVE
    assert type(caught.value) is CheckFailed


async def test_a_silent_server_fails_at_the_callers_deadline(names: NameServer) -> None:
    started = perf_counter()
    with pytest.raises(CheckFailed, match=r"hang.test was not resolved: no answer within 0.2 s"):
        await resolve("hang.test", timeout=0.2)
    assert 0.19 < perf_counter() - started < 1


async def test_an_answer_of_noise_is_no_answer(names: NameServer) -> None:
    with pytest.raises(CheckFailed) as caught:
        await resolve("noise.test", timeout=0.3)
    assert caught.value.reason is Reason.RESOLVE


async def test_a_server_that_cannot_be_reached_is_named_as_such() -> None:
    with pytest.raises(CheckFailed, match="no name server can be reached"):
        await resolve("shop.test", timeout=5, servers=("127.0.0.1:1",))


async def test_overlapping_lookups_of_one_name_share_one_question(names: NameServer) -> None:
    answers = await asyncio.gather(*(resolve("both.test", family="ip4", timeout=5) for _ in range(20)))
    assert set(answers) == {("192.0.2.1",)}
    assert names.questions == [("udp", "both.test", "A")]


async def test_nothing_is_remembered_between_lookups(names: NameServer) -> None:
    assert await resolve("both.test", family="ip4", timeout=5) == ("192.0.2.1",)
    names.zone = "both.test. 300 IN A 192.0.2.99"
    assert await resolve("both.test", family="ip4", timeout=5) == ("192.0.2.99",)


async def test_cancelling_one_waiter_leaves_the_others_waiting(names: NameServer) -> None:
    names.silent = frozenset({"both.test"})
    first, second = (asyncio.create_task(resolve("both.test", family="ip4", timeout=5)) for _ in range(2))
    await names.wait_for_questions(1)
    names.silent = frozenset()
    first.cancel()
    assert await second == ("192.0.2.1",)  # answered when c-ares asks again
    assert first.cancelled()


async def test_the_shorter_deadline_of_one_waiter_does_not_end_the_other(names: NameServer) -> None:
    hurried, patient = await asyncio.gather(
        resolve("hang.test", timeout=0.05), resolve("hang.test", timeout=0.4), return_exceptions=True
    )
    assert "0.05 s" in str(hurried)
    assert "0.4 s" in str(patient)


async def test_lookups_that_end_leave_no_descriptor_and_no_entry(names: NameServer) -> None:
    await asyncio.gather(*(resolve(name, timeout=0.1) for name in HANGING), return_exceptions=True)
    before = descriptors()
    for _ in range(3):
        await asyncio.gather(*(resolve(name, timeout=0.1) for name in HANGING), return_exceptions=True)
        task = asyncio.create_task(resolve("hang.test", timeout=5))
        await names.wait_for_questions(len(names.questions) + 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert descriptors() <= before  # an engine of an earlier test may go in between
    assert not resolver._lookups()


async def test_closing_ends_every_lookup_and_blames_nobody(names: NameServer) -> None:
    waiting = [asyncio.create_task(resolve(name, timeout=5)) for name in ("hang.test", "hang1.test")]
    await names.wait_for_questions(4)
    close_resolver()
    for task in waiting:
        with pytest.raises(CheckBroken, match="shutting down"):
            await task
    assert not resolver._lookups()
    assert await resolve("both.test", family="ip4", timeout=5) == ("192.0.2.1",)


async def test_malformed_servers_are_a_mistake_in_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEARTBEAT_DNS_SERVERS", "not a server")
    with pytest.raises(CheckBroken) as caught:
        await resolve("shop.test", timeout=1)
    assert caught.value.reason is Reason.CONFIG


async def test_a_machine_without_network_is_not_a_bad_target(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf:
        servers = ("192.0.2.53:53",)

    monkeypatch.setattr(resolver, "has_route", lambda: False)
    with pytest.raises(CheckBroken) as caught:
        resolver._require_resources(Deaf(), ares.ARES_ETIMEOUT)  # type: ignore[arg-type]  # a fake last hop
    assert caught.value.reason is Reason.NETWORK


async def test_a_process_without_descriptors_is_not_a_bad_target(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CheckBroken, match="Too many open files") as caught:
        resolver._require_resources(None, ares.ARES_ECONNREFUSED)  # type: ignore[arg-type]  # never reached
    assert caught.value.reason is Reason.RESOURCE


async def test_forty_hanging_names_do_not_delay_a_healthy_one(names: NameServer) -> None:
    hanging = [asyncio.create_task(resolve(name, timeout=10)) for name in sorted(HANGING)]
    await names.wait_for_questions(80)
    durations = []
    for _ in range(5):
        started = perf_counter()
        await resolve("both.test", timeout=5)
        durations.append(perf_counter() - started)
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    assert min(durations) < 0.05, durations


def test_all_of_it_works_on_uvloop() -> None:
    async def story() -> None:
        async with serve_names(misbehaving()) as server:
            ask = partial(resolve, servers=(server.address,))
            await asyncio.gather(*(ask(name, timeout=0.05) for name in HANGING), return_exceptions=True)
            before = descriptors()
            hanging = [asyncio.create_task(ask(name, timeout=5)) for name in HANGING]
            await server.wait_for_questions(80)
            assert await ask("alias.test", timeout=5) == ("192.0.2.4",)
            assert await ask("only4.test", family="ip4", timeout=5) == ("192.0.2.4",)
            with pytest.raises(CheckFailed, match="does not exist"):
                await ask("absent.test", timeout=5)
            hanging[0].cancel()
            close_resolver()
            await asyncio.gather(*hanging, return_exceptions=True)
            assert descriptors() <= before + 1  # the TCP connection that the server still holds
            assert not resolver._lookups()

    uvloop.run(story())

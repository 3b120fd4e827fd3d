from __future__ import annotations

import pytest

from heartbeat.http import certificates
from heartbeat.http.certificates import LOOK_AGAIN, Certificates
from heartbeat.http.message import Certificate, Request, target

REQUEST = Request(url="https://shop.test/")
THERE = target(REQUEST.url)
ONE = Certificate("CN=shop.test", "CN=authority", "DNS:shop.test", 2e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(certificates, "monotonic", lambda: now[0])
    return now


def test_a_certificate_that_was_looked_at_again_and_is_the_same_is_known_for_another_minute(clock: list[float]) -> None:
    seen = Certificates()
    for _ in range(3):
        assert seen.recall(REQUEST, THERE) is None
        seen.keep(REQUEST, THERE, ONE)
        clock[0] += LOOK_AGAIN - 1
        assert seen.recall(REQUEST, THERE) is ONE
        clock[0] += 1


def test_what_failed_is_not_known_any_more(clock: list[float]) -> None:
    seen = Certificates()
    seen.keep(REQUEST, THERE, ONE)
    seen.forget(REQUEST, THERE)
    assert seen.recall(REQUEST, THERE) is None


def test_only_so_many_are_kept_and_the_latest_of_them(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "KEPT", 2)
    seen, places = Certificates(), [target(f"https://{number}.test/") for number in range(3)]
    for there in places:
        seen.keep(REQUEST, there, ONE)
    assert [seen.recall(REQUEST, there) is ONE for there in places] == [False, True, True]

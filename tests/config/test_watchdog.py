from __future__ import annotations

from collections.abc import Callable

import pytest

from heartbeat.config import Config

Load = Callable[..., Config]
Complaints = Callable[..., list[str]]


def test_a_watchdog_needs_only_a_url(load_text: Load) -> None:
    watchdog = load_text("checks: {}\nwatchdog: {url: https://ping.example.com/abc}").watchdog

    assert watchdog is not None
    assert watchdog.url.get_secret_value() == "https://ping.example.com/abc"
    assert (watchdog.every, watchdog.timeout, watchdog.method) == (60.0, 10.0, "GET")
    assert "abc" not in repr(watchdog)


def test_a_watchdog_takes_its_rhythm_and_its_method(load_text: Load) -> None:
    watchdog = load_text("checks: {}\nwatchdog: {url: http://ping, every: 5s, method: POST}").watchdog

    assert watchdog is not None
    assert (watchdog.every, watchdog.timeout, watchdog.method) == (5.0, 5.0, "POST")


def test_an_empty_url_is_no_watchdog(load_text: Load) -> None:
    assert load_text('checks: {}\nwatchdog: {url: "${PING_URL:-}"}').watchdog is None
    assert load_text("checks: {}").watchdog is None


@pytest.mark.parametrize(
    ("watchdog", "said"),
    [
        ("{every: 1m}", 'watchdog: needs "url"'),
        ("{url: ping.example.com}", "watchdog.url: must be written as https://host/path"),
        ("{url: ftp://ping.example.com}", "must be written as https://host/path"),
        ("{url: 'https://me:hunter2@ping.example.com'}", "without a user name"),
        ("{url: 'https://[ping'}", "must be written as https://host/path"),
        ("{url: https://ping.example.com, every: 5s, timeout: 6s}", "the timeout (6s) is longer than every (5s)"),
        ("{url: https://ping.example.com, method: PUT}", "must be one of GET, POST"),
    ],
)
def test_a_wrong_watchdog_is_refused_with_a_sentence(complaints: Complaints, watchdog: str, said: str) -> None:
    (complaint,) = complaints(f"checks: {{}}\nwatchdog: {watchdog}")

    assert said in complaint
    assert "hunter2" not in complaint

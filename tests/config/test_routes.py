from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

PLUGIN = '''
from heartbeat import Kept, Probe, Reply, Report, Reported


class Door(Reported):
    """Be told."""

    route: str

    def routes(self):
        """Yield one."""
        if self.route == "broken":
            raise RuntimeError("hunter2")
        return [self.route]

    def take(self, report, kept, now):
        """Take it."""
        return Reply()

    def due(self, kept, expected, now):
        """Never."""
        return float("inf")

    async def run(self, probe: Probe) -> None:
        """Do nothing."""
'''
UUID = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"

Complaints = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def plugin(folder: Path) -> None:
    (folder / "checks.d" / "door.py").write_text(PLUGIN)


def doors(*routes: str) -> str:
    return "checks:\n" + "".join(f"  door-{n}: {{door: {{route: '{route}'}}}}\n" for n, route in enumerate(routes))


def test_addresses_of_their_own_are_taken(load_text: Callable[..., object]) -> None:
    load_text(doors("/ping/a", "/ping/b", "/a", "/ping/a/b"))


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ("/api/a", "it cannot be reported to below /api, which is the daemon's own"),
        ("/metrics", "it cannot be reported to below /metrics, which is the daemon's own"),
        ("/-/healthy", "it cannot be reported to below /-, which is the daemon's own"),
        ("/", "an address that it is reported to on must be one to three parts like /ping/TOKEN"),
        ("ping/a", "an address that it is reported to on must be one to three parts like /ping/TOKEN"),
        ("/a/b/c/d", "an address that it is reported to on must be one to three parts like /ping/TOKEN"),
        ("/a?b", "an address that it is reported to on must be one to three parts like /ping/TOKEN"),
        ("broken", "failed while it said where it is reported to: RuntimeError"),
    ],
)
def test_what_cannot_be_served_is_refused(complaints: Complaints, route: str, said: str) -> None:
    assert complaints(doors(route)) == [f"checks.door-0.door: {said}"]


def test_two_checks_cannot_share_an_address_and_the_message_does_not_show_it(complaints: Complaints) -> None:
    text = f"  one: {{push: {{token: {UUID}}}}}\n  two: {{push: {{token: {UUID.upper()}}}}}\n"
    (said,) = complaints(f"checks:\n{text}")
    assert said == 'checks.two.push: it is reported to at the same address as "one"; give each its own'


def test_a_matrix_needs_a_token_for_each(complaints: Complaints) -> None:
    text = "checks:\n  job:\n    matrix: {shop: [eu, us]}\n    push: {token: 0123456789abcdef-TOKEN}\n"
    assert "it is reported to at the same address as" in complaints(text)[0]

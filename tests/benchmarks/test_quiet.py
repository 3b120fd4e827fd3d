"""What is asked once a second for each check of which something is untold, and for each check of a metrics page."""

from __future__ import annotations

from collections.abc import Callable

from heartbeat.core.quiet import Maintenance, Matcher, Order, QuietKind, Recurring
from heartbeat.core.schedule import Cron
from heartbeat.quiet.times import Quiet
from heartbeat.testing.bench import NOON, a_check

Takes = Callable[..., None]
SHOP = a_check("shop")


def with_silences(count: int, *, covering: bool) -> Quiet:
    quiet = Quiet()
    for number in range(count):
        matcher = Matcher(("shop" if covering else f"other-{number}",))
        quiet.put(Order(f"sil_{number}", QuietKind.SILENCE, matcher, "alice", "deploy", NOON, NOON + 3600 + number))
    night = Maintenance("night", Matcher(("*",)), Recurring(Cron("0 2 * * *"), 3600.0), "backup")
    quiet.adopt([night] * 10)
    return quiet


def test_the_reason_among_silences_of_other_checks(takes: Takes) -> None:
    takes(5, with_silences(100, covering=False).reason, SHOP, NOON)


def test_the_reason_where_all_silences_cover_the_check(takes: Takes) -> None:
    takes(30, with_silences(100, covering=True).reason, SHOP, NOON)


def test_the_reason_where_nothing_is_quiet(takes: Takes) -> None:
    takes(0.5, Quiet().reason, SHOP, NOON)

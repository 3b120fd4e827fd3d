from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from heartbeat.config.model import CheckConfig
from heartbeat.core.quiet import Maintenance, Matcher, Order, QuietKind, Recurring, Span, covers, end
from heartbeat.core.schedule import Cron
from heartbeat.quiet.times import Quiet
from heartbeat.testing.bench import NOON, a_check

NAMES = ["shop-a", "shop-b", "mail", "heartbeat.store"]
CHECKS = {name: a_check(name, type="http", labels={"team": name[:4]} if "shop" in name else {}) for name in NAMES}
matchers = st.sampled_from(
    [
        Matcher(("*",)),
        Matcher(("shop-*",)),
        Matcher(("mail",)),
        Matcher(labels=(("team", "shop"),)),
        Matcher(types=("http",)),
        Matcher(("heartbeat.*",)),
    ]
)
kinds = st.sampled_from([QuietKind.SILENCE, QuietKind.MAINTENANCE, QuietKind.ACKNOWLEDGEMENT])
MOVES = ("add", "off", "end", "reload", "pass", "rename")


def midday(day: int) -> float:
    return datetime(2027, 1, 15 + day, 12, tzinfo=UTC).timestamp()


@dataclass
class Naive:
    """Remembers everything that was ever asked for, and asks all of it each time."""

    orders: list[Order] = field(default_factory=list)
    windows: list[Maintenance] = field(default_factory=list)

    def standing(self, check: CheckConfig, now: float) -> dict[str, float]:
        """Return until when what covers a check holds, by what is said of it."""
        found: dict[str, float] = {}
        for order in self.orders:
            until = inf if order.end is None else order.end
            if order.ended is None and now < until and order.kind is not QuietKind.ACKNOWLEDGEMENT:
                found |= {order.say(): until} if is_in(order.matcher, check) else {}
        for entry in self.windows:
            spans = (
                [entry.when]
                if isinstance(entry.when, Span)
                else [Span(midday(d), midday(d) + 7200) for d in range(-2, 9)]
            )
            for span in spans:
                if span.start <= now < span.end and is_in(entry.matcher, check):
                    found[entry.say(span.end)] = span.end
        return found


def is_in(matcher: Matcher, check: CheckConfig) -> bool:
    return covers(matcher, check.name, check.type, check.labels)


@given(st.data())
def test_it_says_what_a_naive_memory_of_everything_says(data: st.DataObject) -> None:
    quiet, naive, now = Quiet(), Naive(), NOON
    checks = dict(CHECKS)
    for number in range(data.draw(st.integers(1, 12))):
        move = data.draw(st.sampled_from(MOVES))
        if move in ("add", "off"):
            kind = QuietKind.DISABLED if move == "off" else data.draw(kinds)
            lasts = None if move == "off" else data.draw(st.sampled_from([None, 60.0, 3600.0, 90_000.0]))
            matcher = Matcher((data.draw(st.sampled_from(NAMES)),)) if move == "off" else data.draw(matchers)
            order = Order(f"o{number}", kind, matcher, f"who{number}", "why", now, lasts and now + lasts)
            quiet.put(order)
            naive.orders.append(order)
        elif move == "end" and naive.orders:
            index = data.draw(st.integers(0, len(naive.orders) - 1))
            naive.orders[index] = end(naive.orders[index], now, "over")
            quiet.put(naive.orders[index])
        elif move == "reload":
            noon = Maintenance("noon", data.draw(matchers), Recurring(Cron("0 12 * * *"), 7200.0), "lunch")
            once = Maintenance("once", data.draw(matchers), Span(now + 30, now + 5000), "move")
            naive.windows = data.draw(st.sampled_from([[], [noon], [once], [noon, once]]))
            quiet.adopt(naive.windows)
        elif move == "rename":
            checks["mail"] = replace(checks["mail"], labels={"team": data.draw(st.sampled_from(["shop", "x"]))})
        now += data.draw(st.sampled_from([0.0, 45.0, 3600.0, 40_000.0, -50.0]))
        for check in checks.values():
            expected = naive.standing(check, now)
            reason = quiet.reason(check, now)
            assert bool(reason) == bool(quiet.kind(check, now)) == bool(expected)
            if reason:
                assert expected[reason] == max(expected.values())
            off = any(check.name in one.matcher.checks for one in naive.orders if is_off(one))
            assert quiet.is_disabled(check.name) == off
            assert (quiet.kind(check, now) == "disabled") == off


def is_off(order: Order) -> bool:
    return order.kind is QuietKind.DISABLED and order.ended is None


def test_without_anything_nothing_is_kept_back_nor_remembered() -> None:
    quiet = Quiet()
    assert quiet.reason(CHECKS["mail"], NOON) == quiet.kind(CHECKS["mail"], NOON) == ""
    assert quiet._covering == {}


def test_what_is_remembered_of_a_check_is_that_of_its_present_configuration() -> None:
    quiet = Quiet()
    quiet.put(Order("sil_1", QuietKind.SILENCE, Matcher(labels=(("team", "shop"),)), "a", "b", NOON))
    assert quiet.kind(CHECKS["mail"], NOON) == ""
    assert quiet.kind(replace(CHECKS["mail"], labels={"team": "shop"}), NOON) == "silence"


def test_that_a_check_is_off_says_more_than_any_silence() -> None:
    quiet = Quiet()
    quiet.put(Order("sil_1", QuietKind.SILENCE, Matcher(("*",)), "alice", "deploy", NOON))
    quiet.put(Order("dis_1", QuietKind.DISABLED, Matcher(("mail",)), "bob", "moved", NOON))
    assert quiet.reason(CHECKS["mail"], NOON) == "disabled by bob: moved"
    assert quiet.kind(CHECKS["shop-a"], NOON) == "silence"


def test_a_step_of_the_clock_moves_no_end() -> None:
    quiet = Quiet()
    quiet.put(Order("sil_1", QuietKind.SILENCE, Matcher(("*",)), "alice", "deploy", NOON, NOON + 3600))
    assert quiet.kind(CHECKS["mail"], NOON + 3599) == "silence"
    assert quiet.kind(CHECKS["mail"], NOON + 3600) == ""  # set forward by an hour: it is that time
    assert quiet.kind(CHECKS["mail"], NOON - 86_400) == "silence"  # set back by a day: it is not yet


def test_of_several_the_one_that_ends_last_is_named_in_whatever_order_they_came() -> None:
    for ends in ((60.0, 3600.0), (3600.0, 60.0)):
        quiet = Quiet()
        for number, seconds in enumerate(ends):
            who = "long" if seconds == 3600.0 else "short"
            quiet.put(Order(f"sil_{number}", QuietKind.SILENCE, Matcher(("*",)), who, "why", NOON, NOON + seconds))
        assert "long" in quiet.reason(CHECKS["mail"], NOON)

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from heartbeat.config import Config, load_in_child
from heartbeat.core.quiet import Maintenance, Matcher, Recurring, Span
from heartbeat.core.schedule import Cron

Load = Callable[..., Config]
Complaints = Callable[..., list[str]]

FULL = """
checks: {}
maintenance:
  nightly: {checks: ["shop-*", mail], cron: "0 2 * * *", duration: 90m, timezone: Europe/Stockholm, reason: backup}
  move:
    labels: {team: shop, tier: "*"}
    types: [http]
    from: 2026-12-05T22:00
    until: 2026-12-06 04:00
    timezone: Europe/Stockholm
    reason: the racks move
  abroad: {checks: ["*"], from: "2026-12-05T22:00+01:00", until: 2026-12-05T23:00Z, reason: theirs}
"""


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


WINDOWS = (
    Maintenance(
        "nightly",
        Matcher(("shop-*", "mail")),
        Recurring(Cron("0 2 * * *", "Europe/Stockholm"), 5400.0),
        "backup",
    ),
    Maintenance(
        "move",
        Matcher((), ("http",), (("team", "shop"), ("tier", "*"))),
        Span(at("2026-12-05T21:00Z"), at("2026-12-06T03:00Z")),
        "the racks move",
    ),
    Maintenance("abroad", Matcher(("*",)), Span(at("2026-12-05T21:00Z"), at("2026-12-05T23:00Z")), "theirs"),
)


def test_windows_are_read_once_and_again_and_again(load_text: Load) -> None:
    assert load_text(FULL).maintenance == WINDOWS


async def test_the_child_that_reads_hands_them_over(folder: Path) -> None:
    (folder / "config.yaml").write_text(FULL)
    assert (await load_in_child([folder / "config.yaml"])).maintenance == WINDOWS


def test_without_any_there_are_none(load_text: Load) -> None:
    assert load_text("checks: {}").maintenance == ()


ONCE = "from: 2026-12-05T22:00Z, until: 2026-12-06T04:00Z"
LOCAL = "timezone: Europe/Stockholm"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (f"reason: x, {ONCE}", 'maintenance.a: needs "checks", "types" or "labels" that say what it covers'),
        (f'checks: ["*"], {ONCE}', 'maintenance.a: needs "reason"'),
        ('checks: ["*"], reason: x', "needs from and until (once), or cron and duration (again and again)"),
        (f'checks: ["*"], reason: x, {ONCE}, duration: 1h', "needs from and until (once), or cron and duration"),
        ('checks: ["*"], reason: x, from: 2026-12-05T22:00Z', 'needs "until", beside "from"'),
        ('checks: ["*"], reason: x, cron: "0 2 * * *"', 'needs "duration", beside "cron"'),
        ('checks: ["*"], reason: x, duration: 1h', 'needs "cron", beside "duration"'),
        ('checks: ["*"], reason: x, cron: "0 2 * *", duration: 1h', "maintenance.a.cron: must have five fields"),
        ('checks: ["*"], reason: x, cron: "0 2 * * *", duration: 0s', "maintenance.a.duration: must be at least 1s"),
        (
            f'checks: ["*"], reason: x, {ONCE}, timezone: Europe/Stokholm',
            "maintenance.a.timezone: there is no time zone",
        ),
        (
            f'checks: ["*"], reason: x, from: 2026-12-05T22:00Z, until: 2026-12-06T04:00, {LOCAL}',
            "maintenance.a.from: has an offset; leave that out, or the timezone",
        ),
        (
            'checks: ["*"], reason: x, from: 2026-12-05T22:00, until: 2026-12-06T04:00Z',
            "maintenance.a.from: needs an offset, as in 2026-12-05T22:00+01:00, or a timezone beside it",
        ),
        (
            'checks: ["*"], reason: x, from: tomorrow, until: 2026-12-06T04:00Z',
            "maintenance.a.from: must be a time such as 2026-12-05T22:00",
        ),
        (
            'checks: ["*"], reason: x, from: 2026-12-06T04:00Z, until: 2026-12-06T04:00Z',
            "maintenance.a.until: must be later than from",
        ),
        (
            f'checks: ["*"], reason: x, from: 2026-03-29T02:30, until: 2026-03-29T04:00, {LOCAL}',
            "maintenance.a.from: the clocks of Europe/Stockholm show this time never, as they are set forward",
        ),
        (
            f'checks: ["*"], reason: x, from: 2026-10-25T01:30, until: 2026-10-25T02:30, {LOCAL}',
            "maintenance.a.until: the clocks of Europe/Stockholm show this time twice, as they are set back",
        ),
        (f"checks: [], reason: x, {ONCE}", 'maintenance.a.checks: must name at least one; ["*"] is all'),
        (f'checks: ["shop/*"], reason: x, {ONCE}', 'maintenance.a.checks.0: "shop/*" is no pattern'),
        (f"checks: shop, reason: x, {ONCE}", "maintenance.a.checks: must be a list"),
        (f"labels: {{}}, reason: x, {ONCE}", "maintenance.a.labels: must name at least one label"),
        (f"labels: {{te-am: x}}, reason: x, {ONCE}", 'maintenance.a.labels.te-am: "te-am" is no name for a label'),
        (f'checks: ["*"], reason: "", {ONCE}', "maintenance.a.reason: must not be empty"),
        (f'checks: ["*"], reason: "${{secret:KEY}}", {ONCE}', "must not be a secret: it is shown in messages"),
        (f'checks: ["*"], why: x, reason: x, {ONCE}', 'unknown key "why"; did you mean "reason"?'),
    ],
)
def test_a_wrong_window_is_refused_with_a_sentence(complaints: Complaints, entry: str, said: str) -> None:
    (complaint,) = complaints(f"checks: {{}}\nmaintenance: {{a: {{{entry}}}}}", KEY="hunter2-hunter2")
    assert said in complaint


def test_a_name_and_every_mistake_are_told_at_once(complaints: Complaints) -> None:
    said = complaints('checks: {}\nmaintenance: {"a b": 5, c: {checks: ["?"], reason: 5}}')
    assert [one.partition(":")[0] for one in said] == [
        "maintenance.a b",
        "maintenance.a b",
        "maintenance.c",
        "maintenance.c.checks.0",
        "maintenance.c.reason",
    ]


def test_a_list_of_windows_is_refused(complaints: Complaints) -> None:
    assert complaints("checks: {}\nmaintenance: []") == ["maintenance: must be a mapping (key: value), not a list"]

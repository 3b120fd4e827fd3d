from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from heartbeat.channels.command import Command
from heartbeat.cli.rehearsed import exit_of, lines_of
from heartbeat.config import Config
from heartbeat.core.model import DeliveryState, Kind, Outcome, Severity
from heartbeat.rehearsal import Assumption, Rehearsed, dry_run
from heartbeat.rehearsal.account import why_silent
from heartbeat.rehearsal.play import find_unwarnable
from heartbeat.rehearsal.reach import receivers_of

Make = Callable[..., Config]
Runs = Callable[[], list[str]]
GONE = {"told": {"says": "the order is gone"}}


def told(rehearsed: Rehearsed) -> list[tuple[Kind, str]]:
    return [(one.event.kind, one.event.check) for shown in rehearsed.shown for one in shown.batch.deliveries]


def text(rehearsed: Rehearsed) -> str:
    return "\n".join(lines_of(rehearsed))


async def test_what_is_well_tells_nobody_and_says_so(make: Make) -> None:
    rehearsed = await dry_run(make({"shop": {"told": {}}}), ["shop"], [])
    assert rehearsed.shown == ()
    assert exit_of(rehearsed) == 0
    assert "event     none: nothing is wrong" in text(rehearsed)
    assert "No message would leave." in text(rehearsed)


async def test_what_fails_is_told_and_shows_to_whom_and_why(make: Make) -> None:
    rehearsed = await dry_run(make({"shop": GONE}), ["shop"], [])
    assert told(rehearsed) == [(Kind.RAISED, "shop")]
    assert exit_of(rehearsed) == 2
    assert "event     FAILING would be told by oncall/command" in text(rehearsed)
    assert "why: the check rose from ok to fail; message is the first of this incident" in text(rehearsed)
    assert '"sentence":"the order is gone"' in text(rehearsed)


async def test_a_policy_that_waits_is_named(make: Make) -> None:
    rehearsed = await dry_run(make({"shop": {**GONE, "policy": {"raise": "2 of 3"}}}), ["shop"], [])
    assert rehearsed.shown == ()
    (shop,) = rehearsed.checks
    assert why_silent(shop.live) == ("the policy waits: it tells a failure after 2 of 3 runs, and so far it is 1")
    assert exit_of(rehearsed) == 2


async def test_a_broken_check_waits_for_its_own_policy(make: Make) -> None:
    rehearsed = await dry_run(make({"shop": {"told": {"broken": "the account is locked"}}}), ["shop"], [])
    assert "it tells that the check itself is broken after 3 of 3 runs, and so far it is 1" in text(rehearsed)
    assert exit_of(rehearsed) == 3


@pytest.mark.parametrize(
    ("assumed", "policy", "kind", "runs_needed"),
    [
        (Assumption.FAIL, {"raise": "3 of 4"}, Kind.RAISED, 3),
        (Assumption.FAIL, {"raise": "2 of 3", "recheck": "30s"}, Kind.RAISED, 2),
        (Assumption.WARN, {"raise": "2 of 2"}, Kind.RAISED, 2),
        (Assumption.ERROR, {}, Kind.CHECK_BROKEN, 3),
    ],
)
async def test_what_is_assumed_is_made_up_as_often_as_the_policy_needs_and_the_plugin_runs_once(
    make: Make, runs: Runs, *, assumed: Assumption, policy: dict[str, Any], kind: Kind, runs_needed: int
) -> None:
    config = make({"shop": {"told": {}, "policy": policy, "limits": {"depth": {"warn": 9}}}})
    rehearsed = await dry_run(config, ["shop"], [], assumed)
    (shop,) = rehearsed.checks
    assert runs() == ["shop"]
    assert told(rehearsed) == [(kind, "shop")]
    assert shop.runs == runs_needed
    assert shop.found is not None
    assert (shop.found.outcome, shop.found.measurements["depth"]) == (Outcome.OK, 7)
    assert exit_of(rehearsed) == 0
    assert f"assumed   {assumed}; it really found ok in" in text(rehearsed)


def test_a_warning_needs_a_limit_that_only_warns(make: Make) -> None:
    config = make({"shop": {"told": {}, "limits": {"depth": {"warn": 9}}}, "bare": {"told": {}}})
    assert find_unwarnable(config, ["shop"]) == ""
    assert find_unwarnable(config, ["shop", "bare"]).startswith("bare: no limit of this check only warns")


async def test_nobody_waits_for_messages_to_be_put_together_and_they_are(make: Make) -> None:
    mail = {"to": ["a@example.com"], "from": "hb@example.com", "server": "smtp://127.0.0.1:9", "tls": "none",
            "group_wait": "1h"}  # fmt: skip
    rehearsed = await dry_run(make({"shop": GONE, "depot": GONE}, [{"email": mail}]), ["shop", "depot"], [])
    (mail_shown,) = rehearsed.shown
    assert sorted(event.check for event in mail_shown.batch.events) == ["depot", "shop"]
    (first, _) = mail_shown.batch.deliveries
    assert first.sealed_at - first.event.at == pytest.approx(3600, abs=5)
    assert b"delayed" not in mail_shown.message.body


async def test_each_message_leaves_when_its_own_channel_would_let_it(make: Make) -> None:
    mail = {"to": ["a@example.com"], "from": "hb@example.com", "server": "smtp://127.0.0.1:9", "tls": "none"}
    channels = [
        {"email": {**mail, "name": "soon", "group_wait": "10s"}},
        {"email": {**mail, "name": "late", "group_wait": "20m"}},
        {"command": {"command": ["cat"]}},
    ]
    rehearsed = await dry_run(make({"shop": GONE}, channels), ["shop"], [])
    waits = [round(one.batch.deliveries[0].sealed_at - one.batch.events[0].at) for one in rehearsed.shown]
    assert waits == [0, 10, 1200]


async def test_what_depends_on_a_failing_check_is_held_back_and_the_other_runs_too(make: Make) -> None:
    config = make({"gateway": GONE, "shop": {**GONE, "depends_on": ["gateway"]}})
    rehearsed = await dry_run(config, ["shop"], [])
    assert told(rehearsed) == [(Kind.RAISED, "gateway")]
    assert [one.name for one in rehearsed.asked] == ["gateway"]
    (shop,) = rehearsed.checks
    (held,) = [one for one in shop.deliveries if one.state is DeliveryState.SUPPRESSED]
    assert "gateway" in held.note
    assert "FAILING is told to nobody: it" in text(rehearsed)


async def test_what_depends_on_a_check_that_is_well_is_told_once_that_is_known(make: Make, runs: Runs) -> None:
    config = make({"gateway": {"told": {}}, "shop": {**GONE, "depends_on": ["gateway"]}})
    rehearsed = await dry_run(config, ["shop"], [])
    assert (Kind.RAISED, "shop") in told(rehearsed)
    assert "gateway" in runs()


async def test_a_quiet_time_of_the_configuration_keeps_messages_back(make: Make) -> None:
    always = {"from": "2020-01-01T00:00Z", "until": "2099-01-01T00:00Z", "checks": ["*"], "reason": "a move"}
    rehearsed = await dry_run(make({"shop": GONE}, maintenance={"move": always}), ["shop"], [])
    assert rehearsed.shown == ()
    assert "is told to nobody: " in text(rehearsed)


async def test_a_message_that_cannot_be_made_is_a_fault_of_its_own(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret may stand here")

    monkeypatch.setattr("heartbeat.rehearsal.shelf.PATIENCE", 0.2)
    monkeypatch.setattr(Command, "render", broken)
    rehearsed = await dry_run(make({"shop": GONE}), ["shop"], [], Assumption.FAIL)
    (unmade,) = rehearsed.unmade
    assert unmade.note == "the message cannot be made: RuntimeError"
    assert exit_of(rehearsed) == 2
    assert "could not be told by oncall/command: the message cannot be made: RuntimeError" in text(rehearsed)


async def test_receivers_are_reached_for_and_one_that_is_not_there_counts(make: Make) -> None:
    config = make(
        {"shop": {"told": {}}},
        [{"command": {"command": ["cat"]}}, {"webhook": {"url": "http://127.0.0.1:9/hook/CANARY-path"}}],
    )
    rehearsed = await dry_run(config, ["shop"], receivers_of(config, ["shop"]))
    assert [(one.channel, bool(one.problem)) for one in rehearsed.reached] == [
        ("oncall/command", False),
        ("oncall/webhook", True),
    ]
    assert exit_of(rehearsed) == 2
    assert "oncall/webhook: fail: connection refused by 127.0.0.1:9" in text(rehearsed)
    assert "CANARY" not in text(rehearsed)


def test_the_receivers_of_a_check_are_all_it_may_tell_and_the_fallback(make: Make) -> None:
    mail = {"email": {"to": ["a@example.com"], "from": "hb@example.com", "server": "smtp://127.0.0.1:9", "tls": "none"}}
    receivers = {name: [mail] for name in ("team", "lead", "fallback", "others")}
    check = {"told": {}, "notify": ["team"], "escalate": {"after": "1h", "to": ["lead"]}}
    config = make({"shop": check}, receivers=receivers, self_notify=["team"], defaults={})
    assert receivers_of(config, ["shop"]) == ("team", "lead", "fallback")


async def test_what_it_did_not_prove_is_said(make: Make) -> None:
    rehearsed = await dry_run(make({"shop": {"told": {}}}), ["shop"], [])
    said = text(rehearsed)
    assert "This did not prove:" in said
    assert "heartbeat test-alert" in said
    assert rehearsed.checks[0].live.severity is Severity.OK

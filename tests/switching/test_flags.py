from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from threading import Event
from types import ModuleType
from typing import Any

import pytest
from openfeature import api
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from heartbeat.config.model import FlagProvider
from heartbeat.core.switches import Found, InFlag, Source, Switch
from heartbeat.pool import Pool
from heartbeat.switching.flags import Flags, Question, ask_flags, question_of
from heartbeat.switching.helper import Helper
from heartbeat.testing.bench import a_check, until

MODULE = "heartbeat_test_flags"
SOURCE = '''
"""Flags of a shop, as a company would write them down."""

from openfeature.event import ProviderEventDetails
from openfeature.exception import ProviderNotReadyError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

seen = []


def by_team(flag, context):
    seen.append(context)
    team = context.attributes["labels"].get("team")
    return FlagResolutionDetails(value=team == "shop", reason=Reason.TARGETING_MATCH)


def provider(canary="on"):
    switch = {"on": True, "off": False}
    return InMemoryProvider({
        "canary": InMemoryFlag(canary, switch),
        "by-team": InMemoryFlag("on", switch, context_evaluator=by_team),
        "word": InMemoryFlag("a", {"a": "red"}),
        "broken": InMemoryFlag("on", switch, context_evaluator=lambda flag, context: 1 / 0),
    })


def grumpy():
    raise RuntimeError("the flags are out\\nfor lunch")


class Unready(InMemoryProvider):
    def initialize(self, context):
        raise ConnectionError("nobody is there")


def unready():
    return Unready({})


ended = []


class Mute(InMemoryProvider):
    def initialize(self, context):
        try:
            open("/nowhere/flags.json")
        except OSError as error:
            raise ProviderNotReadyError from error

    def shutdown(self):
        ended.append(self)


def mute():
    return Mute({})


def leaving():
    raise SystemExit("FLAGS_KEY is not set")


class Cut(InMemoryProvider):
    """Goes on answering from memory after its source is gone."""

    def resolve_boolean_details(self, flag_key, default_value, evaluation_context=None):
        if flag_key == "cut":
            self.emit_provider_error(ProviderEventDetails(message="the stream broke"))
        if flag_key == "stale":
            self.emit_provider_stale(ProviderEventDetails())
        if flag_key == "back":
            self.emit_provider_ready(ProviderEventDetails())
        return FlagResolutionDetails(flag_key != "cut")


def cut():
    return Cut({})
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / f"{MODULE}.py").write_text(dedent(SOURCE))
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop(MODULE, None)
    api.clear_providers()


def flags(name: str = "provider", **options: Any) -> Flags:
    return Flags(FlagProvider(f"{MODULE}:{name}", options))


def answers(flags: Flags, questions: list[Question]) -> list[Found]:
    return list(flags.ask(questions))


def question(flag: str, **context: Any) -> Question:
    return Question(flag, "shop", {"labels": {}} | context)


@pytest.mark.usefixtures("module")
def test_a_provider_is_made_with_its_options_and_says_on_or_off() -> None:
    assert MODULE not in sys.modules
    asked = flags(canary="off")
    assert answers(asked, [question("canary")]) == [False]
    assert answers(flags(), [question("canary")]) == [True]
    asked.close()
    asked.close()


@pytest.mark.usefixtures("module")
def test_a_provider_is_told_of_the_check() -> None:
    shop = a_check("shop", type="http", labels={"team": "shop"})
    mail = a_check("mail", labels={"team": "mail"})
    asks = InFlag("by-team", '{"tier":"gold"}')
    assert answers(flags(), [question_of(asks, shop, "eu-west-1"), question_of(asks, mail, "eu-west-1")]) == [
        True,
        False,
    ]
    first: Any = sys.modules[MODULE].__dict__["seen"][0]
    assert first.targeting_key == "shop"
    told = {"check": "shop", "type": "http", "labels": {"team": "shop"}, "location": "eu-west-1", "tier": "gold"}
    assert told.items() <= dict(first.attributes).items()


@pytest.mark.usefixtures("module")
def test_what_the_provider_does_not_know_is_not_known_and_never_its_default() -> None:
    missing, word, broken, good = answers(flags(), [question(name) for name in ("no-such", "word", "broken", "canary")])
    assert str(missing).startswith("the provider says FLAG_NOT_FOUND")
    assert str(word).startswith("the provider says ")
    assert str(broken).startswith("the provider ")
    assert "division by zero" in str(broken)
    assert good is True


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("grumpy", "the provider does not work: RuntimeError: the flags are out\nfor lunch"),
        ("unready", "the provider does not work: ConnectionError: nobody is there"),
        (
            "mute",
            "the provider does not work: FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/flags.json'",
        ),
        ("leaving", "the provider does not work: SystemExit: FLAGS_KEY is not set"),
        ("nothing", f"the provider does not work: AttributeError: module '{MODULE}' has no attribute 'nothing'"),
    ],
)
@pytest.mark.usefixtures("module")
def test_a_provider_that_does_not_come_up_says_why(name: str, said: str) -> None:
    asked = flags(name)
    assert answers(asked, [question("canary"), question("canary")]) == [said, said]
    assert answers(asked, [question("canary")]) == [said]


@pytest.mark.usefixtures("module")
async def test_a_provider_that_did_not_come_up_is_let_go_of() -> None:
    answers(flags("mute"), [question("canary")])
    await until(lambda: sys.modules[MODULE].__dict__["ended"])


@pytest.mark.usefixtures("module")
def test_what_plugins_do_with_open_feature_is_left_alone() -> None:
    api.set_provider(InMemoryProvider({"canary": InMemoryFlag("off", {"off": False})}))
    assert answers(flags(), [question("canary")]) == [True]
    assert api.get_client().get_boolean_value("canary", True) is False


@pytest.mark.usefixtures("module")
def test_a_provider_that_has_lost_its_source_is_not_taken_at_its_word() -> None:
    said = answers(flags("cut"), [question(name) for name in ("fine", "cut", "fine", "back", "stale", "back")])
    old = "the provider is in the state {}: what it knows may be old"
    assert said == [True, old.format("ERROR"), old.format("ERROR"), True, old.format("STALE"), True]


async def test_what_was_said_before_a_provider_hung_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = Event()

    class Tired(InMemoryProvider):
        def resolve_boolean_details(self, flag_key: str, *_: Any, **__: Any) -> FlagResolutionDetails[bool]:
            return FlagResolutionDetails(flag_key != "mail" or hanging.wait(10))

    tired = ModuleType("heartbeat_tired_flags")
    vars(tired)["provider"] = lambda: Tired({})
    monkeypatch.setitem(sys.modules, "heartbeat_tired_flags", tired)
    asked = {Source(InFlag("canary"), name): Question(name, name, {}) for name in ("shop", "mail", "till")}
    try:
        found = await ask_flags(Helper(Pool(), 0.5), Flags(FlagProvider("heartbeat_tired_flags:provider")), asked)
    finally:
        hanging.set()
        api.clear_providers()
    silent = "the provider did not answer within 0.5 s"
    assert list(found.values()) == [True, silent, silent]


@pytest.mark.usefixtures("module")
async def test_a_provider_that_hangs_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, slow = Event(), ModuleType("heartbeat_slow_flags")
    vars(slow)["provider"] = lambda: hanging.wait(10) and InMemoryProvider({})
    monkeypatch.setitem(sys.modules, "heartbeat_slow_flags", slow)
    helper, source = Helper(Pool(), 0.05), Source(InFlag("canary"), "shop")
    asked = Flags(FlagProvider("heartbeat_slow_flags:provider"))
    try:
        found = await ask_flags(helper, asked, {source: question("canary")})
        assert found == {source: "the provider did not answer within 0.05 s"}
        assert not helper.is_free
    finally:
        hanging.set()


def test_where_no_provider_is_configured_nothing_is_known() -> None:
    check = a_check(enabled=Switch(InFlag("x"), default=False))
    assert answers(Flags(None), [question_of(InFlag("x"), check, "")]) == [
        "the provider does not work: RuntimeError: none is configured"
    ]

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
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from heartbeat import sources as sources_module
from heartbeat.config.model import FlagProvider
from heartbeat.core.switches import InFlag, Source, Switch
from heartbeat.flags import Flags, Question, question_of
from heartbeat.pool import Pool
from heartbeat.sources import Helper, ask_flags
from heartbeat.testing.bench import a_check

MODULE = "heartbeat_test_flags"
SOURCE = '''
"""Flags of a shop, as a company would write them down."""

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


def question(flag: str, **context: Any) -> Question:
    return Question(flag, "shop", {"labels": {}} | context)


@pytest.mark.usefixtures("module")
def test_a_provider_is_made_with_its_options_and_says_on_or_off() -> None:
    assert MODULE not in sys.modules
    asked = flags(canary="off")
    assert asked.ask([question("canary")]) == [False]
    assert flags().ask([question("canary")]) == [True]
    asked.close()
    asked.close()


@pytest.mark.usefixtures("module")
def test_a_provider_is_told_of_the_check() -> None:
    shop = a_check("shop", type="http", labels={"team": "shop"})
    mail = a_check("mail", labels={"team": "mail"})
    asks = InFlag("by-team", '{"tier":"gold"}')
    assert flags().ask([question_of(asks, shop, "eu-west-1"), question_of(asks, mail, "eu-west-1")]) == [True, False]
    first: Any = sys.modules[MODULE].__dict__["seen"][0]
    assert first.targeting_key == "shop"
    told = {"check": "shop", "type": "http", "labels": {"team": "shop"}, "location": "eu-west-1", "tier": "gold"}
    assert told.items() <= dict(first.attributes).items()


@pytest.mark.usefixtures("module")
def test_what_the_provider_does_not_know_is_not_known_and_never_its_default() -> None:
    missing, word, broken, good = flags().ask([question(name) for name in ("no-such", "word", "broken", "canary")])
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
        ("nothing", f"the provider does not work: AttributeError: module '{MODULE}' has no attribute 'nothing'"),
    ],
)
@pytest.mark.usefixtures("module")
def test_a_provider_that_does_not_come_up_says_why(name: str, said: str) -> None:
    asked = flags(name)
    assert asked.ask([question("canary"), question("canary")]) == [said, said]
    assert asked.ask([question("canary")]) == [said]


@pytest.mark.usefixtures("module")
def test_what_plugins_do_with_open_feature_is_left_alone() -> None:
    api.set_provider(InMemoryProvider({"canary": InMemoryFlag("off", {"off": False})}))
    assert flags().ask([question("canary")]) == [True]
    assert api.get_client().get_boolean_value("canary", True) is False


@pytest.mark.usefixtures("module")
async def test_a_provider_that_hangs_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, slow = Event(), ModuleType("heartbeat_slow_flags")
    vars(slow)["provider"] = lambda: hanging.wait(10) and InMemoryProvider({})
    monkeypatch.setitem(sys.modules, "heartbeat_slow_flags", slow)
    monkeypatch.setattr(sources_module, "TIMEOUT", 0.05)
    monkeypatch.setattr(Helper.run, "__defaults__", (0.05,))
    helper, source = Helper(Pool()), Source(InFlag("canary"), "shop")
    asked = Flags(FlagProvider("heartbeat_slow_flags:provider"))
    try:
        found = await ask_flags(helper, asked, {source: question("canary")})
        assert found == {source: "the provider did not answer within 0.05 s"}
        assert not helper.is_free
    finally:
        hanging.set()


def test_where_no_provider_is_configured_nothing_is_known() -> None:
    check = a_check(enabled=Switch(InFlag("x"), default=False))
    assert Flags(None).ask([question_of(InFlag("x"), check, "")]) == [
        "the provider does not work: RuntimeError: none is configured"
    ]

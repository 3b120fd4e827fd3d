"""From a plan to the configuration: models of plugins and channels are built here, in the process that uses them."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path

from pydantic import ValidationError

from heartbeat.channels.registry import load_kind
from heartbeat.check import Check
from heartbeat.config.checks import Draft
from heartbeat.config.load import Plan
from heartbeat.config.model import CheckConfig, Config, Receiver
from heartbeat.config.problem import ConfigError, Place, problem_at
from heartbeat.config.receivers import Way
from heartbeat.redaction import Redactor


def building(plan: Plan, types: dict[str, type[Check]], known: Config | None) -> Generator[None, None, Config]:
    """Build step by step, so that the caller can let others run between two steps.

    Args:
        plan: what the configuration says; its checks are used up.
        types: the classes of the check types whose models are not in the plan.
        known: the configuration in use; its checks are kept where nothing about them changed, and its secrets stay
            secrets.
    """
    redactor = Redactor()
    for name, value in plan.secrets:
        redactor.add(name, value)
    if known is not None:
        redactor.adopt(known.redactor)
    checks = {}
    plan.checks.reverse()
    while plan.checks:  # taken one by one, as letting go of thousands at once takes long
        draft = plan.checks.pop()
        checks[draft.name] = _check(draft, types, known)
        yield
    receivers = {name: _receiver(name, ways) for name, ways in plan.receivers.items()}
    return Config(checks=checks, receivers=receivers, redactor=redactor, **plan.settings)


def changed_types(drafts: Iterable[Draft], known: Config | None) -> set[str]:
    """Return the types of which at least one check is new or changed."""
    return {draft.type for draft in drafts if draft.model is None and not _same(draft, known)}


def _same(draft: Draft, known: Config | None) -> CheckConfig | None:
    old = known.checks.get(draft.name) if known is not None else None
    return old if old is not None and old.fingerprint == draft.fingerprint else None


def _check(draft: Draft, types: dict[str, type[Check]], known: Config | None) -> CheckConfig:
    old = _same(draft, known)
    new = CheckConfig(
        name=draft.name,
        type=draft.type,
        check=old.check if old else draft.model or _model(draft, types[draft.type]),
        fingerprint=draft.fingerprint,
        schedule=draft.schedule,
        timeout=draft.timeout,
        policy=draft.policy,
        limits=draft.limits,
        notify=draft.notify,
        labels=draft.labels,
        runbook=draft.runbook,
        was=draft.was,
    )
    return old if old is not None and old == new else new


def _model(draft: Draft, kind: type[Check]) -> Check:
    try:
        return kind.model_validate(draft.options)
    except ValidationError as error:  # it was valid a moment ago, in the child: it must depend on something else
        sentence = f"{error.errors(include_url=False)[0]['msg']}; it was valid when it was checked just before"
        raise ConfigError([problem_at(Place(Path("checks")), f"checks.{draft.name}.{draft.type}", sentence)]) from None


def _receiver(name: str, ways: tuple[Way, ...]) -> Receiver:
    return Receiver(name, {way.key: load_kind(way.kind).model_validate(way.options) for way in ways})

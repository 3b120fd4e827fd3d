"""From a plan to the configuration: models of plugins and channels are built here, in the process that uses them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from heartbeat.channels.registry import load_kind
from heartbeat.check import Check
from heartbeat.config.making import make_check
from heartbeat.config.model import CheckConfig, Config, Receiver
from heartbeat.config.plan import Draft, Plan, Way
from heartbeat.config.problem import ConfigError, Place, problem_at
from heartbeat.config.sharing import Shared
from heartbeat.redaction import Redactor
from heartbeat.steps import Reading


@dataclass(frozen=True, slots=True)
class Imported:
    """What checks are built with: the classes of types by name, and the modules of Python files that options name."""

    types: dict[str, type[Check]] = field(default_factory=dict)
    modules: dict[Path, ModuleType] = field(default_factory=dict)


def build_all(plan: Plan, checks: Mapping[str, CheckConfig], redactor: Redactor) -> Config:
    """Return the configuration of a plan and its checks, built before."""
    receivers = {name: _receiver(name, ways) for name, ways in plan.receivers.items()}
    return Config(checks=checks, receivers=receivers, redactor=redactor, **plan.settings)


def build_redactor(plan: Plan, known: Config | None) -> Redactor:
    """Return what hides the secrets of a plan, and those of the configuration in use; the same where none is new."""
    redactor = Redactor()
    for name, value in plan.secrets:
        redactor.add(name, value)
    if known is None:
        return redactor
    if known.redactor.knows(redactor):
        return known.redactor
    redactor.adopt(known.redactor)
    return redactor


def build_check(draft: Draft, imported: Imported, known: Config | None, shared: Shared) -> CheckConfig:
    """Return one check; of the configuration in use what is the same, be it the plugin's model or all of it."""
    old = _same(draft, known)
    new = CheckConfig(
        name=draft.name,
        type=shared(draft.type),
        check=old.check if old else draft.model or _model(draft, imported, shared),
        fingerprint=draft.fingerprint,
        schedule=shared(draft.schedule),
        timeout=shared(draft.timeout),
        policy=shared(draft.policy),
        limits=shared(draft.limits),
        notify=shared(draft.notify),
        labels=shared.labels(draft.labels),
        runbook=shared(draft.runbook),
        was=draft.was,
        depends_on=shared(draft.depends_on),
        objective=shared(draft.objective),
        family=shared(draft.family),
        tags=shared(draft.tags),
        enabled=shared(draft.enabled),
        digest=draft.digest,
    )
    return old if old is not None and old == new and old.digest == new.digest else new


def _same(draft: Draft, known: Config | None) -> CheckConfig | None:
    old = known.checks.get(draft.name) if known is not None else None
    return old if old is not None and old.fingerprint == draft.fingerprint else None


def _model(draft: Draft, imported: Imported, shared: Shared) -> Check:
    around = Reading(imported.types.__getitem__, draft.folder, modules=imported.modules)
    try:
        return shared.model(make_check(draft.type, imported.types[draft.type], draft.options, around))
    except ValidationError as error:  # it was valid a moment ago, in the child: it must depend on something else
        sentence = f"{error.errors(include_url=False)[0]['msg']}; it was valid when it was checked just before"
        raise ConfigError([problem_at(Place(Path("checks")), f"checks.{draft.name}.{draft.type}", sentence)]) from None


def _receiver(name: str, ways: tuple[Way, ...]) -> Receiver:
    return Receiver(name, {way.key: load_kind(way.kind).model_validate(way.options) for way in ways})

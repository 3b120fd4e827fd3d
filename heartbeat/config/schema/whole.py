"""The schema of a whole configuration, put together from its parts."""

from __future__ import annotations

from collections.abc import Mapping

from heartbeat.channels.registry import KINDS, load_kind
from heartbeat.check import Check
from heartbeat.config.schema import checks
from heartbeat.config.schema.inner import with_checks
from heartbeat.config.schema.models import schema_of, summary
from heartbeat.config.schema.parts import NAME_PATTERN, REFERENCE, Schema, admit_references, items, mapping, ref
from heartbeat.config.schema.settings import top

DIALECT = "http://json-schema.org/draft-07/schema#"
"""What editors understand best."""
MISSING = "A check type that does not load here"


def configuration_schema(kinds: Mapping[str, type[Check] | None]) -> Schema:
    """Return the JSON Schema of a configuration.

    Args:
        kinds: the check types by name; None for one that does not load here, whose options may be anything.
    """
    whole = {
        "$schema": DIALECT,
        "title": "Heartbeat",
        **mapping(
            "The configuration of Heartbeat, or one of several files of it",
            top({kind: summary(load_kind(kind)) for kind in KINDS}),
        ),
    }
    return {**admit_references(whole), "$defs": _definitions(kinds)}


def _definitions(kinds: Mapping[str, type[Check] | None]) -> dict[str, Schema]:
    found = {
        **_words(),
        "policy": checks.policy(),
        "notify": checks.notify(),
        "escalate": checks.escalate(),
        "enabled": checks.enabled(),
        "limits": checks.limits(),
        "objective": checks.objective(),
        "labels": checks.labels(),
        "defaults": checks.defaults(),
        "check": checks.check({name: summary(kind) if kind else MISSING for name, kind in kinds.items()}),
    }
    for channel in KINDS:
        found |= schema_of(load_kind(channel), f"channel.{channel}")
    for name, kind in kinds.items():
        found |= _type(name, kind)
    found = with_checks(found, {name: summary(kind) if kind else MISSING for name, kind in kinds.items()})
    return {"reference": REFERENCE, **{name: admit_references(one) for name, one in found.items()}}


def _words() -> dict[str, Schema]:
    cron: Schema = {"type": "string", "pattern": r"^\S+( +\S+){4}$", "examples": ["*/5 * * * *", "0 9 * * 1-5"]}
    return {
        "name": {"type": "string", "pattern": NAME_PATTERN},
        "names": items("Names, each once", ref("name"), uniqueItems=True),
        "receivers": items("Names of receivers, each once", ref("name"), uniqueItems=True),
        "cron": {**cron, "description": "Minute, hour, day of month, month, day of week"},
        "timezone": {"type": "string", "examples": ["UTC", "Europe/Stockholm"], "description": "A time zone"},
    }


def _type(name: str, kind: type[Check] | None) -> dict[str, Schema]:
    if kind is None:
        return {f"type.{name}": {"type": ["object", "null"], "description": MISSING}}
    found = schema_of(kind, f"type.{name}")
    own = found[f"type.{name}"]
    if not own.get("required"):  # nothing at all stands for no options
        found[f"type.{name}"] = {**own, "type": ["object", "null"]}
    return found

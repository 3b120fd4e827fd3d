"""References that are filled in while a check runs: where they may stand, and what they may refer to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from heartbeat.check import Check, Reported
from heartbeat.config.credentials import FIELDS, AccountConfig
from heartbeat.config.options import NOT_HERE
from heartbeat.config.problem import nearest, quoted
from heartbeat.config.reading import Spot
from heartbeat.filled import ROOTS, RUN, late_texts
from heartbeat.plugins.source import CHECK_KEYS
from heartbeat.references import Late, Reference, fill, references
from heartbeat.steps import STAND_IN

Accounts = Mapping[str, AccountConfig]


def refuse_late(root: Spot, checks: list[Spot]) -> None:
    """Note every reference that stands where nothing is ever filled in: outside of the options of a check's type.

    Args:
        root: the whole configuration.
        checks: the checks, as they are after matrices were expanded.
    """
    top = [child for key, child in root.entries().items() if key != "checks"]
    own = [
        replace(check, node=node, path=f"{check.path}.{key}")
        for check in checks
        if isinstance(check.node.value, dict)
        for key, node in check.node.value.items()
        if key in CHECK_KEYS
    ]
    for spot in (*top, *own):
        for one in late_spots(spot):
            first = next(references(one.node.value))
            one.wrong(f"{first} is known only while a check runs: it stands in the options of a check's type alone")


def check_references(kind: type[Check], spot: Spot, accounts: Accounts) -> frozenset[str]:
    """Note what is wrong with the references in the options of a type.

    Returns:
        What references begin with that the type does not fill in itself, so that it is done for it.
    """
    wanted = set()
    for one in late_spots(spot):
        for reference in references(one.node.value):
            if problem := _objection(reference, kind, accounts):
                one.wrong(problem)
            if reference.root not in kind.fills:
                wanted.add(reference.root)
    return frozenset(wanted)


def stand_in(options: dict[str, Any], roots: frozenset[str]) -> dict[str, Any]:
    """Return options in which something stands in for what begins with these."""
    done: dict[str, Any] = fill(options, lambda one: STAND_IN if one.root in roots else one)
    return done


def refuse_lost(check: Check, spot: Spot) -> None:
    """Note references that a type took for plain text, so that it would never fill them in."""
    kept = {id(text) for text in late_texts(check)}
    for one in late_spots(spot):
        if id(one.node.value) not in kept:
            one.wrong(NOT_HERE)


def late_spots(spot: Spot) -> Iterator[Spot]:
    """Yield the spots of texts with references at and below a spot."""
    value = spot.node.value
    if isinstance(value, Late):
        yield spot
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, child in children:
        yield from late_spots(replace(spot, node=child, path=f"{spot.path}.{step}"))


def _objection(reference: Reference, kind: type[Check], accounts: Accounts) -> str:
    """Say what is wrong with a reference, or nothing."""
    if reference.root == "accounts":
        problem = _objection_to_account(reference, accounts)
    elif reference.root in kind.fills:
        return ""
    elif reference.root not in ROOTS:
        return f"only a type that runs steps knows {reference}"
    else:
        known = len(reference.path) == 1 and reference.path[0] in RUN
        hint = nearest(".".join(reference.path), RUN) or f"; there is {' and '.join(RUN)}"
        problem = "" if known else f"{reference}: nothing of a run is called that{hint}"
    if not problem and reference.root not in kind.fills and issubclass(kind, Reported):
        return f"{reference} cannot stand here: others report to this check at any time, not while it runs"
    return problem


def _objection_to_account(reference: Reference, accounts: Accounts) -> str:
    name, *fields = reference.path
    if name not in accounts:
        hint = nearest(name, accounts) or "; name it under accounts: at the top of the configuration"
        return f"there is no account {quoted(name)}{hint}"
    has = accounts[name].current.fields
    if len(fields) == 1 and fields[0] in has:
        return ""
    wrong = ".".join(fields)
    if wrong in FIELDS:
        return f"the account {quoted(name)} has no {wrong}; it has {' and '.join(has)}"
    hint = nearest(wrong, FIELDS) or f"; there is {', '.join(FIELDS)}"
    return f"{reference}: nothing of an account is called that{hint}"

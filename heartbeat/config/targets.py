"""Targets: addresses with a name, referred to as ``${target.NAME}``, so that a gate can replace one by another."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from heartbeat.config.document import Node
from heartbeat.config.expansion import Deferred, Surroundings, Target, expand, needs_matrix
from heartbeat.config.problem import quoted
from heartbeat.config.reading import TEXT_CHARACTERS, Spot, Wrong, attempt, check_name
from heartbeat.references import Late

_NAMED = re.compile(r"\$\{target\.([^{}$]*)")


def take_targets(root: Spot, around: Surroundings, replaced: Mapping[str, str]) -> None:
    """Learn the targets of a configuration. Those that are replaced have their new value; others cannot be added."""
    if "targets" not in root.node.value:
        return
    for name, child in attempt(root.entries()["targets"], Spot.entries, {}).items():
        value = attempt(child, partial(_target, name))
        if value is not None:
            around.targets[name] = Target(value, child.node.secret)
            if name in replaced:
                _replace(name, replaced[name], child, around)


def _target(name: str, spot: Spot) -> str:
    check_name(name)
    value = spot.node.value
    if isinstance(value, Deferred):
        raise Wrong(f"{quoted(value.text)} must not refer to other targets, or to a matrix")
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not text or len(text) > TEXT_CHARACTERS or not text.isprintable():
        raise Wrong(f"must be text on one line, such as https://shop.example.com, not {spot.shown()}")
    return text


def _replace(name: str, text: str, spot: Spot, around: Surroundings) -> None:
    """Put another value in the place of a target. What takes the place of a secret is one, too."""
    try:
        value, secret = expand(text, Path.cwd(), around)
    except ValueError as error:
        spot.wrong(f"cannot be replaced: {error}")
        return
    if isinstance(value, Late):
        spot.wrong(f"cannot be replaced by what is known only while a check runs: {value}")
        return
    if spot.node.secret and not secret and around.redactor.add(f"target.{name}", value):
        around.secrets[f"target.{name}", value] = None
    around.targets[name] = Target(value, secret or spot.node.secret)


def fill_targets(spot: Spot, fill: Callable[[Node], Node]) -> Node:
    """Return the tree below a spot with what waited for the targets; what waits for a matrix still does."""
    node = spot.node
    if isinstance(node.value, Deferred):
        if needs_matrix(node.value.text):
            return node
        try:
            return fill(node)
        except ValueError as error:
            spot.wrong(str(error))
            return node._replace(value=None)
    if isinstance(node.value, dict):
        steps = {key: _below(spot, key, child) for key, child in node.value.items()}
        made = {key: new for key, one in steps.items() if (new := fill_targets(one, fill)) is not one.node}
        return node._replace(value={**node.value, **made}) if made else node
    if isinstance(node.value, list):
        items = [fill_targets(_below(spot, str(step), child), fill) for step, child in enumerate(node.value)]
        changed = any(new is not old for new, old in zip(items, node.value, strict=True))
        return node._replace(value=items) if changed else node
    return node


def _below(spot: Spot, step: str, child: Node) -> Spot:
    return replace(spot, node=child, path=f"{spot.path}.{step}" if spot.path else step)


def targets_of_checks(root: Node) -> dict[str, frozenset[str]]:
    """Return to which targets each check refers that does, by its name as written.

    A name is empty where a matrix completes it.
    """
    checks = root.value.get("checks")
    entries = checks.value if checks is not None and isinstance(checks.value, dict) else {}
    return {name: found for name, node in entries.items() if (found := frozenset(_named_in(node)))}


def _named_in(node: Node) -> Iterator[str]:
    if isinstance(node.value, Deferred):
        yield from _NAMED.findall(node.value.text.replace("$${", ""))
    children = node.value.values() if isinstance(node.value, dict) else node.value
    if isinstance(node.value, (dict, list)):
        for child in children:
            yield from _named_in(child)

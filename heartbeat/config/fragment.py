"""Fragments: a configuration that says only what matters, for simulations; the rest is made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from heartbeat.config import load
from heartbeat.config.model import Config
from heartbeat.config.problem import ConfigError
from heartbeat.plugins import discover

FRAGMENT = "fragment.yaml"
RECEIVERS = """
oncall: [{webhook: {url: https://oncall.example.com/}}]
owners: [{webhook: {url: https://owners.example.com/}}]
manager: [{webhook: {url: https://manager.example.com/}}]
"""
"""Who there is to be told where a fragment names nobody."""
NOTIFY = "[oncall]"
TYPE = "tcp"
OPTIONS = "{host: shop.example.com, port: 443}"


def complete(fragment: str, origin: str = "fragment") -> Config:
    """Load a fragment of a configuration. Who is told, and what the checks do, is made up where it says nothing of it.

    Args:
        fragment: the YAML; its ``checks`` may leave out their types.
        origin: what is named where something is wrong with it.

    Raises:
        ConfigError: with all mistakes at once.
        ValueError: where it is no YAML.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / FRAGMENT
        try:
            path.write_text(_fill_in(fragment), encoding="utf-8")
        except yaml.YAMLError as error:
            raise ValueError(f"{origin} cannot be read: {error}") from None
        try:
            return load([path], {})
        except ConfigError as error:
            raise ConfigError([replace(problem, file=origin, line=0) for problem in error.problems]) from None


def _fill_in(fragment: str) -> str:
    root = yaml.compose(fragment, Loader=yaml.BaseLoader)
    if not isinstance(root, yaml.MappingNode):
        raise yaml.YAMLError("it must be a mapping (key: value)")
    _put(root, "receivers", RECEIVERS)
    _put(root, "self_notify", NOTIFY)
    _put(root, "defaults", "{}")
    _put(_get(root, "defaults"), "notify", NOTIFY)
    types = discover().sources
    for _, check in _get(root, "checks").value:
        if not {key.value for key, _ in check.value} & types.keys():
            _put(check, TYPE, OPTIONS)
    return yaml.serialize(root, Dumper=yaml.BaseDumper, allow_unicode=True)


def _get(mapping: yaml.MappingNode, name: str) -> yaml.MappingNode:
    found: yaml.MappingNode = next(node for key, node in mapping.value if key.value == name)
    return found


def _put(mapping: yaml.MappingNode, name: str, text: str) -> None:
    """Add a key with this YAML, unless it is there."""
    if name not in {key.value for key, _ in mapping.value}:
        key = yaml.ScalarNode("tag:yaml.org,2002:str", name)
        mapping.value.append((key, yaml.compose(text, Loader=yaml.BaseLoader)))

"""Configuration: models, loading with line numbers, secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from heartbeat.config.advice import warnings
from heartbeat.config.build import building
from heartbeat.config.child import load_in_child
from heartbeat.config.collection import no_collection
from heartbeat.config.load import read
from heartbeat.config.model import CheckConfig, Config, History, Log, Receiver, Web
from heartbeat.config.problem import ConfigError, Place, Problem

__all__ = [
    "CheckConfig",
    "Config",
    "ConfigError",
    "History",
    "Log",
    "Place",
    "Problem",
    "Receiver",
    "Web",
    "load",
    "load_in_child",
    "warnings",
]


def load(paths: Sequence[Path], environ: Mapping[str, str]) -> Config:
    """Load a configuration in this process.

    Args:
        paths: files, and folders of ``*.yaml`` and ``*.yml`` files.
        environ: what ``${NAME}`` and ``${secret:NAME}`` are looked up in first.

    Raises:
        ConfigError: with all mistakes at once.
    """
    with no_collection(freeze=False):
        steps = building(read(paths, environ), {}, None)
        while True:
            try:
                next(steps)
            except StopIteration as finished:
                config: Config = finished.value
                return config

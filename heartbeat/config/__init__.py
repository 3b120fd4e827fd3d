"""Configuration: models, loading with line numbers, secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from heartbeat.collection import no_collection
from heartbeat.config.build import Imported, build_all, build_check, build_redactor
from heartbeat.config.child import load_in_child
from heartbeat.config.model import CheckConfig, Config, History, Log, Receiver, Web
from heartbeat.config.problem import ConfigError, Place, Problem
from heartbeat.config.sharing import Shared
from heartbeat.core.model import NOTHING

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
]


def load(
    paths: Sequence[Path],
    environ: Mapping[str, str],
    *,
    targets: Mapping[str, str] = NOTHING,
    over: Sequence[Path] = (),
) -> Config:
    """Load a configuration in this process.

    Args:
        paths: files, and folders of ``*.yaml`` and ``*.yml`` files.
        environ: what ``${NAME}`` and ``${secret:NAME}`` are looked up in first.
        targets: what takes the place of targets of the configuration, by name; references in it are expanded, too.
        over: files that are laid over them: what they say holds, and the rest stays.

    Raises:
        ConfigError: with all mistakes at once.
    """
    from heartbeat.config.reader import read  # noqa: PLC0415 - the daemon reads in a child, and needs no YAML

    with no_collection():
        plan, shared = read(paths, environ, targets=targets, over=over), Shared()
        imported = Imported()  # nothing is needed: the models are built already
        checks = {draft.name: build_check(draft, imported, None, shared) for draft in plan.checks}
        return build_all(plan, checks, build_redactor(plan, None))

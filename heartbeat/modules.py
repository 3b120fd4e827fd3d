"""Python files of the configuration's folder, as options of checks: loaded as plugins are."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from heartbeat.steps import READING, configured_path


def configured_module(file: str) -> ModuleType:
    """Return the module in a file that an option names; for use in a validator.

    The path is relative to the configuration's folder, and a change of the file, or of the helpers beside it, changes
    the check: when the configuration is loaded, never while it runs. It becomes a module of its own, never on
    ``sys.path``. Raises ``ValueError`` with file and line.
    """
    path, around = configured_path(file), READING.get()
    modules = around.modules if around is not None else {}
    if path not in modules:
        modules[path] = _load(path)
    return modules[path]


def _load(path: Path) -> ModuleType:
    from heartbeat.plugins import PluginError, helpers_of, load_file  # noqa: PLC0415 - most checks need none of it

    try:
        module = load_file(path)
    except PluginError as error:
        place = f"{error.file or path}:{error.line}" if error.line else str(error.file or path)
        raise ValueError(f"{place}: {error.sentence}") from None
    for helper in helpers_of(path):
        configured_path(str(helper.absolute()))
    return module

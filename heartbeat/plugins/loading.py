"""Loading a check type: its file becomes a module ``heartbeat_checks.<source>.<name>``, outside of ``sys.path``."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from inspect import isabstract
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from heartbeat.check import Check
from heartbeat.core.text import cut
from heartbeat.plugins.source import PluginError, Source, digest_of, read_source, refuse_writable

ROOT = "heartbeat_checks"
NO_WORD = re.compile(r"\W")
MESSAGE_CHARACTERS = 300
IMPORT_SECONDS = 20.0
"""How long the import of one plugin may take."""


def load_type(source: Source) -> type[Check]:
    """Return the check class of a source.

    The same source gives the same class every time; changed text gives a new one, and runs of the old one go on.

    Raises:
        PluginError: if it does not import, holds no check or several, or changed since it was found.
    """
    found = _load_installed(source) if source.path is None else _only_check(_load_module(source, source.path), source)
    _refuse_shadows(found, source)
    return found


def load_file(file: Path) -> ModuleType:
    """Return a file of Python that is no check type as a module, loaded as those are, with the helpers beside it.

    The same text gives the same module; changed text gives a new one, and what runs of the old one goes on.

    Raises:
        PluginError: if it cannot be read, anybody may write to it, or it does not import.
    """
    file = file.absolute()
    try:
        refuse_writable(file.parent)
        texts = [read_source(one) for one in (file, *helpers_of(file))]
    except OSError as error:
        raise PluginError(f"cannot be read: {error.strerror}", file=file) from error
    package = f"file_{digest_of(str(file.parent))[:8]}"
    return _load_module(Source(file.name, str(file), digest_of(*texts), package, file, kind="file"), file)


def helpers_of(file: Path) -> list[Path]:
    """Return the files beside a plugin that it can import with ``from . import _name``."""
    return sorted(one for one in file.parent.glob("_*.py") if one.name != file.name)


def _load_module(source: Source, path: Path) -> ModuleType:
    name = f"{ROOT}.{source.package}.{NO_WORD.sub('_', path.stem)}"
    loaded = sys.modules.get(name)
    if loaded is None or getattr(loaded, "__digest__", "") != source.digest:
        loaded = _execute(source, path, name)
    return loaded


def _execute(source: Source, path: Path, name: str) -> ModuleType:
    """Run the file's text in a new module. The old module stays in place if that fails."""
    text = read_source(path)
    helpers = [read_source(one) for one in helpers_of(path)]
    if digest_of(text, *helpers) != source.digest:
        raise PluginError("changed while it was being read; load it again", file=path)
    module = ModuleType(name)
    module.__file__, module.__package__ = str(path), name.rpartition(".")[0]
    module.__dict__["__digest__"] = source.digest
    _package(module.__package__, path.parent, digest_of(*helpers))
    old = sys.modules.get(name)
    sys.modules[name] = module
    try:
        with _held():
            exec(compile(text, str(path), "exec", dont_inherit=True, optimize=0), module.__dict__)  # noqa: S102 - this is what loading a plugin is
            _complete(module)
    except (Exception, SystemExit) as error:  # a plugin may raise anything, and none stops the others
        _restore(name, old)
        raise _explain(error, source, path) from error
    return module


@contextmanager
def _held() -> Iterator[None]:
    """Let code that is being imported neither end the process without a word nor go on for ever.

    Only the main thread can be interrupted. A reload imports in one of the others, but in a child process first.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(_number: int, _frame: object) -> NoReturn:
        raise TimeoutError(f"it was still running after {IMPORT_SECONDS:g} s; what takes long belongs into run")

    def leave(status: int) -> None:
        if os.getpid() != process:
            ended(status)
        raise SystemExit(f"it called os._exit({status!r})")

    process, ended, before = os.getpid(), os._exit, signal.signal(signal.SIGALRM, late)
    os._exit = leave  # type: ignore[assignment]  # never returns, which a plain function cannot promise
    signal.setitimer(signal.ITIMER_REAL, IMPORT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        os._exit = ended


def _restore(name: str, old: ModuleType | None) -> None:
    if old is None:
        sys.modules.pop(name, None)
    else:
        sys.modules[name] = old


def _package(name: str, folder: Path, helpers: str) -> None:
    """Make the package that lets a plugin say ``from . import _helper``; changed helpers are imported anew."""
    if ROOT not in sys.modules:
        sys.modules[ROOT] = ModuleType(ROOT)
        sys.modules[ROOT].__path__ = []
    package = sys.modules.get(name)
    if package is not None and getattr(package, "__digest__", "") == helpers:
        return
    for one in [one for one in sys.modules if one.startswith(f"{name}._")]:
        del sys.modules[one]
    package = ModuleType(name)
    package.__path__ = [str(folder)]
    package.__dict__["__digest__"] = helpers
    sys.modules[name] = package


def _load_installed(source: Source) -> type[Check]:
    module, _, attribute = source.entry.partition(":")
    try:
        loaded = import_module(module)
        found = getattr(loaded, attribute) if attribute else _only_check(loaded, source)
    except PluginError:
        raise
    except (Exception, SystemExit) as error:  # as above: strangers' code
        raise _explain(error, source, None) from error
    if not (isinstance(found, type) and issubclass(found, Check)):
        raise PluginError(f'the type "{source.name}" of {source.origin} is no Check class')
    return found


def _checks_of(module: ModuleType) -> Iterator[type[Check]]:
    for one in dict.fromkeys(value for value in vars(module).values() if isinstance(value, type)):
        if issubclass(one, Check) and one.__module__ == module.__name__ and not one.__name__.startswith("_"):
            yield one


def _complete(module: ModuleType) -> None:
    """Resolve annotations that pydantic has put off, so that an undefined name shows now."""
    for one in _checks_of(module):
        if not one.__pydantic_complete__:
            one.model_rebuild(_types_namespace=vars(module))


def _only_check(module: ModuleType, source: Source) -> type[Check]:
    found = list(_checks_of(module))
    if not found:
        raise PluginError("holds no class that derives from heartbeat.Check", file=source.path)
    if len(found) > 1:
        names = " and ".join(one.__name__ for one in found[:3])
        raise PluginError(f"holds {len(found)} checks, {names}; one file is one check type", file=source.path)
    if isabstract(found[0]):
        raise PluginError(f"{found[0].__name__} has no method run(self, probe)", file=source.path)
    return found[0]


def _refuse_shadows(found: type[Check], source: Source) -> None:
    """Refuse options that hide what a model needs (``copy``, ``json``, ``run``)."""
    for name in found.model_fields:
        if hasattr(Check, name):
            sentence = (
                f'the option "{name}" hides a method of every check; name the field otherwise, with alias="{name}"'
            )
            raise PluginError(sentence, file=source.path)


def _explain(error: BaseException, source: Source, path: Path | None) -> PluginError:
    """Say what went wrong and in which line of the plugin."""
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith((ROOT, "heartbeat")):
        missing = error.name.partition(".")[0]
        remedy = f"pip install 'heartbeat[{source.name}]'" if source.bundled else f"install {missing}"
        sentence = f'the {source.kind} "{source.name}" needs the library {missing}, which is not installed: {remedy}'
        return PluginError(sentence, file=path, line=_line_of(error, path), missing=missing)
    said = re.sub(r"\s+", " ", cut(str(error.msg if isinstance(error, SyntaxError) else error), MESSAGE_CHARACTERS))
    sentence = f'the {source.kind} "{source.name}" does not import: {type(error).__name__}' + (
        f": {said}" if said else ""
    )
    return PluginError(sentence, file=path, line=_line_of(error, path))


def _line_of(error: BaseException, path: Path | None) -> int:
    if path is None:
        return 0
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 0
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return (lines[-1] or 0) if lines else 0

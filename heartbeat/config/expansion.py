"""Expansion of ``${NAME}``, ``${secret:NAME}`` and ``${file:PATH}`` in values that were already parsed.

What has ``${matrix.NAME}`` in it waits until the check that it stands in is expanded into its members, and what has
``${target.NAME}`` until all files are read, as the targets may stand in any of them. ``${steps.login.token}`` and the
like stay in the text (``Late``): they are filled in while a check runs.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from heartbeat.config.problem import nearest, quoted
from heartbeat.redaction import MINIMUM, Redactor
from heartbeat.references import ROOTS, Late, Part, Reference, parse_reference

SECRET_BYTES = 1024 * 1024
_TOKEN = re.compile(r"\$(\$\{)|\$\{([^{}]*)\}|\$\{")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_SECRET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_MATRIX = re.compile(r"\$(\$\{)|\$\{matrix\.([^{}]*)\}")
_LATER = tuple(f"{root}." for root in sorted(ROOTS))
_FILTERS = ("quote",)
_TARGET = "target."


class NotExpanded(ValueError):  # noqa: N818 - a sentence for the operator, beside Wrong
    """A ``${...}`` that cannot be replaced; the message says why."""


class Deferred(NamedTuple):
    """A text with ``${matrix.NAME}`` or ``${target.NAME}`` in it, as written; ``plain`` says that it had no quotes."""

    text: str
    plain: bool


class Target(NamedTuple):
    """The value of a target, and whether a secret is in it."""

    value: str
    secret: bool = False


@dataclass(slots=True)
class Surroundings:
    """What values may refer to, and what was taken from it.

    Attributes:
        environ: the environment variables.
        redactor: learns every secret.
        secrets: all secrets that were used, as name and value.
        files: all files that were read or looked for.
        targets: the targets, once all files are read.
    """

    environ: Mapping[str, str]
    redactor: Redactor = field(default_factory=Redactor)
    secrets: dict[tuple[str, str], None] = field(default_factory=dict)
    files: dict[Path, None] = field(default_factory=dict)
    targets: dict[str, Target] = field(default_factory=dict)


def expand(text: str, folder: Path, around: Surroundings) -> tuple[str, bool]:
    """Replace all references in a text.

    Args:
        text: the value as written.
        folder: what relative paths are relative to.
        around: where values come from.

    Returns:
        The text, and whether a secret is in it. It is ``Late`` where something is filled in while a check runs.

    Raises:
        NotExpanded: with one sentence about all references that do not work.
    """
    complaints: list[str] = []
    secret = False
    parts: list[Part] = []
    end = 0
    for token in _TOKEN.finditer(text):
        parts.append(text[end : token.start()])
        end = token.end()
        try:
            value, is_secret = ("${", False) if token[1] else _look_up(token[2], folder, around)
        except NotExpanded as error:
            complaints.append(str(error))
        else:
            parts.append(value)
            secret = secret or is_secret
    if complaints:
        raise NotExpanded("; ".join(complaints))
    return _joined([*parts, text[end:]]), secret


def _joined(parts: Sequence[Part]) -> str:
    """Return the text of parts; what stands between two references becomes one of them."""
    whole: list[Part] = [""]
    for part in parts:
        if isinstance(part, str) and isinstance(whole[-1], str):
            whole[-1] += part
        else:
            whole.append(part)
    if len(whole) == 1:
        return str(whole[0])
    return Late(tuple(part for part in whole if part != ""))


def is_one_variable(text: str) -> bool:
    """Say whether a text is one reference to a variable and nothing else, so that it may become a number."""
    token = _TOKEN.fullmatch(text)
    if token is None or not token[2]:
        return False
    return bool(_NAME.fullmatch(token[2]) or _MATRIX.fullmatch(text)) or token[2].startswith(_TARGET)


def needs_matrix(text: str) -> bool:
    """Say whether a text refers to the values of a matrix."""
    return "${matrix." in text and any(token[1] is None for token in _MATRIX.finditer(text))


def needs_targets(text: str) -> bool:
    """Say whether a text refers to targets."""
    return "${target." in text and any((token[2] or "").startswith(_TARGET) for token in _TOKEN.finditer(text))


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put the values of a matrix into a text; other references stay, also those that such a value completes.

    So ``${secret:TOKEN_${matrix.region}}`` is one secret per region. Raises ``NotExpanded`` for names that the matrix
    has not.
    """

    def replace(token: re.Match[str]) -> str:
        if token[1]:
            return token[0]
        if token[2] not in values:
            raise NotExpanded(f"the matrix has no {quoted(token[2])}{nearest(token[2], values)}")
        return values[token[2]]

    return _MATRIX.sub(replace, text)


def _look_up(reference: str | None, folder: Path, around: Surroundings) -> tuple[Part, bool]:
    if not reference:
        raise NotExpanded('"${" opens a reference that does not end; write $${ where you mean the characters')
    if reference.startswith("secret:"):
        return _secret(reference.removeprefix("secret:"), folder, around), True
    if reference.startswith("file:"):
        path = folder / reference.removeprefix("file:")
        return _keep(path.name, read_secret(path, around), around), True
    if reference.startswith(_TARGET):
        return _target(reference.removeprefix(_TARGET), around)
    if reference.startswith(_LATER):
        return _later(reference), False
    return _variable(reference, around.environ), False


def _later(written: str) -> Reference:
    """Return a reference that is filled in while a check runs."""
    found = parse_reference(written)
    if found is not None:
        return found
    path, has_filter, word = written.partition("|")
    if has_filter and parse_reference(path) is not None:
        hint = nearest(word, _FILTERS) or f"; there is {' and '.join(_FILTERS)}"
        raise NotExpanded(f"{_shown(written)} has the unknown filter {quoted(word)}{hint}")
    raise NotExpanded(
        f"{_shown(written)} is no reference: between its dots stand names of letters, digits, _ and -, as in "
        "${steps.login.token} and ${accounts.shopper.password}"
    )


def _shown(written: str) -> str:
    return quoted("${" + written + "}")


def _target(name: str, around: Surroundings) -> Target:
    if name not in around.targets:
        hint = nearest(name, around.targets) or "; name it under targets: at the top of the configuration"
        raise NotExpanded(f"there is no target {quoted(name)}{hint}")
    return around.targets[name]


def _variable(reference: str, environ: Mapping[str, str]) -> str:
    found = _NAME.fullmatch(reference)
    if not found:
        raise NotExpanded(
            f"{_shown(reference)} is no reference; there are ${{NAME}}, ${{NAME:-default}}, ${{secret:NAME}}, "
            "${file:PATH} and ${target.NAME}, and $${ for the characters"
        )
    name, default = found.groups()
    value = environ.get(name)
    if default is not None:
        return value or default
    if value is None and name in ROOTS:
        raise NotExpanded(f"${{{name}}} needs to say what of it: ${{{name}.NAME}}")
    if value is None:
        hint = nearest(name, [one for one in environ if one.isidentifier()][:1000])
        raise NotExpanded(f"the environment variable {name} is not set{hint}")
    return value


def _secret(name: str, folder: Path, around: Surroundings) -> str:
    """Find a secret: the variable NAME, the file named by NAME_FILE, systemd's credentials, Docker's secrets."""
    if not _SECRET_NAME.fullmatch(name):
        raise NotExpanded(f"{quoted(name)} is no name of a secret (letters, digits, _ . -)")
    environ = around.environ
    if name in environ:
        return _keep(name, environ[name], around)
    if named := environ.get(f"{name}_FILE"):
        return _keep(name, read_secret(folder / named, around), around)
    folders = [Path(found) for found in [environ.get("CREDENTIALS_DIRECTORY")] if found] + [Path("/run/secrets")]
    for path in (one / name for one in folders):
        around.files[path] = None
        if _is_there(path):
            return _keep(name, read_secret(path, around), around)
    places = " and ".join(str(one / name) for one in folders)
    raise NotExpanded(f"the secret {name} is nowhere: set {name} or {name}_FILE (looked also for {places})")


def _is_there(path: Path) -> bool:
    """Say whether a file is there, or may be: to read one that we may not even look for says why."""
    try:
        return path.exists()
    except OSError:
        return True


def read_secret(path: Path, around: Surroundings) -> str:
    """Return a file's text without its last line ends. Raises ``NotExpanded`` for one that cannot be read."""
    around.files[path] = None
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise NotExpanded(f"{path} is no file")
        if status.st_size > SECRET_BYTES:
            raise NotExpanded(f"{path} is larger than 1 MiB")
        return path.read_text(encoding="utf-8-sig").rstrip("\r\n")
    except OSError as error:
        raise NotExpanded(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        if isinstance(error, NotExpanded):
            raise
        raise NotExpanded(f"{path} is no UTF-8 text") from None


def _keep(name: str, value: str, around: Surroundings) -> str:
    if not value:
        raise NotExpanded(f"the secret {name} is empty")
    if (name, value) not in around.secrets and not around.redactor.add(name, value):
        raise NotExpanded(f"the secret {name} has fewer than {MINIMUM} characters: too few to keep it out of messages")
    around.secrets[name, value] = None
    return value

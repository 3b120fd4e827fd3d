"""Whether a check runs, in the configuration: yes or no, or where that is asked; and the provider of flags."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from heartbeat.config.document import to_python
from heartbeat.config.model import FlagProvider
from heartbeat.config.problem import nearest, quoted
from heartbeat.config.reading import Reader, Spot, Wrong, attempt, duration, fields, path, text
from heartbeat.core.switches import OFF, ON, WORDS, AtUrl, InFile, InFlag, Switch

KINDS = {
    "env": ("default",),
    "file": ("exists", "default"),
    "http": ("json", "headers", "every", "default"),
    "flag": ("context", "every", "default"),
}
"""What can be asked, each with the keys that go with it."""
_OTHER_WORDS = {
    **dict.fromkeys(("environment", "variable", "var"), "env"),
    **dict.fromkeys(("url", "uri", "https"), "http"),
    **dict.fromkeys(("openfeature", "feature", "toggle"), "flag"),
    **dict.fromkeys(("fallback", "otherwise", "else"), "default"),
    **dict.fromkeys(("interval", "period"), "every"),
    "path": "file", "jsonpath": "json",
}  # fmt: skip
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_FLAG_CHARACTERS = 200
_CONTEXT = 10_000
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_PROVIDER = re.compile(r"([A-Za-z_]\w*)(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def enabled_reader(environ: Mapping[str, str], *, has_flags: bool) -> Reader:
    """Return what reads ``enabled``.

    Args:
        environ: where variables are looked up, once.
        has_flags: whether a provider of flags is configured.
    """

    def read(spot: Spot) -> Switch:
        value = spot.node.value
        if not isinstance(value, dict):
            return ON if word(spot) else OFF
        kind = _kind_of(spot)
        given = fields(spot, _READERS, _OTHER_WORDS)
        _refuse_others(spot, kind)
        if "flag" in given and not has_flags:
            raise Wrong("a flag needs flags: {provider: module:callable} at the top of the configuration")
        default = given.get("default", True)
        if not {kind} <= given.keys() <= {kind, *KINDS[kind]}:  # what is wrong was noted
            return ON
        return _env(given["env"], default, environ) if kind == "env" else _asking(kind, given, default)

    return read


def word(spot: Spot) -> bool:
    """Read yes or no: true and false, on and off, yes and no, 1 and 0."""
    value = spot.node.value
    found = WORDS.get(str(value).strip().lower()) if isinstance(value, (bool, int, str)) else None
    if found is None:
        raise Wrong(f"must be true or false, or say what is asked ({', '.join(KINDS)}), not {spot.shown()}"
                    if spot.path.endswith("enabled") else f"must be true or false, not {spot.shown()}")  # fmt: skip
    return found


def _kind_of(spot: Spot) -> str:
    """Return the one key that says what is asked."""
    keys: list[str] = list(spot.node.value)
    kinds = [key for key in keys if key in KINDS]
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        raise Wrong(f"asks {' and '.join(kinds)}; one of them has to be enough")
    hints = [f"{quoted(key)}{nearest(key, KINDS, _OTHER_WORDS)}" for key in keys]
    raise Wrong(f"needs one of {', '.join(KINDS)}" + (f", not {', '.join(hints)}" if hints else ""))


def _refuse_others(spot: Spot, kind: str) -> None:
    """Note keys that do not go with what is asked: they would have no effect."""
    for key, child in spot.entries().items():
        if key in _READERS and key not in (kind, *KINDS[kind]):
            owners = " and ".join(one for one in KINDS if key in KINDS[one])
            child.wrong(f'"{key}" goes with {owners}, not with {kind}', child.key)


def _env(name: str, default: bool, environ: Mapping[str, str]) -> Switch:
    """Return what a variable says now. One that says neither is a mistake: a typing error must switch nothing."""
    value = environ.get(name)
    if value is None or not value.strip():
        return ON if default else Switch(default=False, said=f"{name}, which is not set")
    found = WORDS.get(value.strip().lower())
    if found is None:
        raise Wrong(f"the variable {name} must be one of {', '.join(WORDS)}, or not be set")
    return ON if found else Switch(default=False, said=f"the variable {name}")


def _asking(kind: str, given: Mapping[str, Any], default: bool) -> Switch:
    asks: InFile | AtUrl | InFlag
    if kind == "file":
        asks = InFile(str(given["file"]), given.get("exists"))
    elif kind == "http":
        asks = AtUrl(given["http"], given.get("headers", ()), given.get("json", ""))
    else:
        asks = InFlag(given["flag"], given.get("context", ""))
    return Switch(asks, default, given["every"]) if "every" in given else Switch(asks, default)


def _variable(spot: Spot) -> str:
    value = text(spot)
    if not _VARIABLE.fullmatch(value):
        raise Wrong(f"{spot.shown()} is no name of a variable; write it without $")
    return value


def http_url(spot: Spot) -> str:
    """Read an address that is asked: a whole one, with no user in it."""
    value = text(spot)
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or "@" in parts.netloc or not re.fullmatch(r"[!-~]+", value):
        raise Wrong("must be written as https://host/path, in ASCII, without spaces and without a user name")
    return value


def _json(spot: Spot) -> str:
    from heartbeat.http.expect import path as json_path  # noqa: PLC0415 - most configurations need none of it

    try:
        json_path(text(spot))
    except ValueError as error:
        raise Wrong(str(error)) from None
    return text(spot)


def _headers(spot: Spot) -> tuple[tuple[str, str], ...]:
    for name, child in spot.entries().items():
        if not _HEADER.fullmatch(name):
            child.wrong(f"{quoted(name)} is no name of a header", child.key)
    return tuple((name, attempt(child, text, "")) for name, child in spot.entries().items())


def _flag(spot: Spot) -> str:
    value = text(spot)
    if spot.node.secret:
        raise Wrong("must not be a secret: it is shown")
    if not 1 <= len(value.strip()) <= _FLAG_CHARACTERS:
        raise Wrong(f"must be the key of a flag, of at most {_FLAG_CHARACTERS} characters")
    return value


def _context(spot: Spot) -> str:
    spot.entries()
    told: str = json.dumps(to_python(spot.node), separators=(",", ":"))
    if len(told) > _CONTEXT:
        raise Wrong(f"must be shorter: at most {_CONTEXT} characters as JSON")
    return told


_READERS: dict[str, Reader] = {
    "env": _variable,
    "file": path,
    "http": http_url,
    "flag": _flag,
    "exists": word,
    "json": _json,
    "headers": _headers,
    "context": _context,
    "every": duration(1.0, 86_400.0),
    "default": word,
}


def flags(spot: Spot, find: Callable[[str], object] = find_spec) -> FlagProvider | None:
    """Read which provider answers for flags. It is imported where a check asks for a flag, and not here."""
    found = fields(spot, {"provider": _provider, "options": _options}, {"module": "provider", "settings": "options"})
    if "provider" not in found:
        if "provider" not in spot.entries():
            raise Wrong('needs "provider", such as mycompany.flags:provider')
        return None
    module = found["provider"].partition(":")[0].partition(".")[0]
    if find("openfeature") is None:
        raise Wrong("flags need the library openfeature-sdk: pip install 'heartbeat[openfeature]'")
    if find(module) is None:
        raise Wrong(f"there is no module {module}; install it where heartbeat runs, or add its folder to PYTHONPATH")
    return FlagProvider(found["provider"], found.get("options", {}))


def _provider(spot: Spot) -> str:
    value = text(spot)
    if not _PROVIDER.fullmatch(value):
        raise Wrong(f"must be module:callable, such as mycompany.flags:provider, not {spot.shown()}")
    return value


def _options(spot: Spot) -> dict[str, Any]:
    spot.entries()
    options: dict[str, Any] = to_python(spot.node)
    return options

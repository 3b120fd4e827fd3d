"""The top level of the configuration: all that is not a check or a receiver."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from heartbeat.config.api import api
from heartbeat.config.enabled import flags, http_url
from heartbeat.config.labels import LABEL_CHARACTERS, labels
from heartbeat.config.maintenance import maintenance
from heartbeat.config.model import History, Log, Watchdog, Web
from heartbeat.config.notify import Notify, make_routes
from heartbeat.config.policy import broken, make_policy, policy
from heartbeat.config.problem import Place
from heartbeat.config.reading import (
    Reader,
    Spot,
    Wrong,
    attempt,
    boolean,
    choice,
    duration,
    fields,
    itself,
    names,
    path,
    text,
    whole,
)
from heartbeat.config.storm import storm
from heartbeat.core.policy import Policy, Routes
from heartbeat.core.schedule import Interval
from heartbeat.core.units import format_duration

STORE = Path("/var/lib/heartbeat/heartbeat.db")
SOCKET_BYTES = 100
"""Linux takes 107 bytes for the path of a unix socket, others fewer."""
LATER = frozenset(
    [
        "flows",
        "steps",
        "templates",
        "routes",
        "groups",
        "tests",
        "comparisons",
        "canaries",
        "logs",
        "status_page",
    ]
)
_OTHER_WORDS = {
    **dict.fromkeys(("endpoints", "monitors", "probes"), "checks"),
    **dict.fromkeys(("contacts", "notifications", "alerting"), "receivers"),
    **dict.fromkeys(("database", "storage"), "store"),
    "logging": "log", "retention": "history", "listen": "web", "default": "defaults", "socket": "control",
    **dict.fromkeys(("dead_mans_switch", "deadman", "healthcheck"), "watchdog"), "drills": "drill",
    "target": "targets", **dict.fromkeys(("account", "credentials", "logins", "users"), "accounts"),
}  # fmt: skip
_LISTEN = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


def read_top(root: Spot) -> dict[str, Any]:
    """Read the top level. ``checks``, ``receivers`` and ``notify`` lists of names stay spots, to be read later."""
    return fields(root, _TOP, _OTHER_WORDS, LATER)


def read_defaults(spot: Spot, readers: Mapping[str, Reader]) -> dict[str, Any]:
    """Read what checks take where they say nothing themselves; what does not go together is left out.

    Args:
        spot: the value of ``defaults``.
        readers: what reads the keys that name receivers.
    """
    given = fields(spot, {**DEFAULTS, **readers}, {"escalation": "escalate"})
    for key, making in (("policy", _policy_of), ("escalate", _routes_of)):
        if key in given and attempt(spot.entries()[key], partial(making, given[key])) is None:
            del given[key]
    return given


def _policy_of(given: Mapping[str, Any], _: Spot) -> Policy:
    return make_policy(given, {}, {}, Interval(1.0))


def _routes_of(given: Mapping[str, Any], _: Spot) -> Routes:
    return make_routes(Notify(), given)


def control_path(top: Mapping[str, Any], root: Spot) -> Path:
    """Return the socket: as configured, or beside the store; a path that no socket can have is noted."""
    given: Path | None = top.get("control")
    found = given or top.get("store", STORE).parent / "heartbeat.sock"
    if len(str(found).encode()) > SOCKET_BYTES:
        spot = root.entries().get("control" if given else "store", root)
        remedy = "use a shorter path" if given else f'set "control" to a shorter path than {found}'
        spot.wrong(f"a unix socket's path has at most {SOCKET_BYTES} bytes; {remedy}")
    return found


def _store(spot: Spot) -> Path:
    value = text(spot)
    scheme, found, rest = value.partition(":///")
    if scheme.partition("+")[0] not in ("sqlite", "") and "://" in value:
        raise Wrong(f"{scheme.partition(':')[0]} is not supported; one daemon keeps its own SQLite: sqlite:///path")
    if not found or scheme != "sqlite" or not rest or rest == "/" or "?" in rest:
        raise Wrong("must be sqlite:///path, or sqlite:////path from the root")
    if rest == ":memory:":
        raise Wrong("must be a file: what is only in memory is lost when the daemon ends")
    return (spot.node.place.file.parent / rest).absolute()


def _web(spot: Spot) -> Web:
    found: tuple[str, int] = fields(spot, {"listen": _listen}, {"port": "listen", "address": "listen"}).get(
        "listen", (Web().host, Web().port)
    )
    return Web(*found)


def _listen(spot: Spot) -> tuple[str, int]:
    value = spot.node.value
    found = _LISTEN.fullmatch(value) if isinstance(value, str) else None
    if not found or int(found[2]) > 65535:
        raise Wrong('must be host:port, such as 127.0.0.1:9780, 0.0.0.0:9780 or "[::]:9780"')
    return found[1].strip("[]"), int(found[2])


def _history(spot: Spot) -> History:
    usual = History()
    found = fields(spot, {"keep": duration(60.0), "keep_failures": duration(60.0), "rows": whole(1000, 10**9)})
    keep = found.get("keep", usual.keep)
    failures = found.get("keep_failures", max(keep, usual.keep_failures))
    if failures < keep:
        raise Wrong("keep_failures must not be shorter than keep: failures are kept at least as long as the rest")
    return History(keep=keep, keep_failures=failures, rows=found.get("rows", usual.rows))


def _log(spot: Spot) -> Log:
    readers = {"format": choice("auto", "json", "console"), "level": choice("debug", "info", "warning", "error")}
    return Log(**fields(spot, readers))


def _watchdog(spot: Spot) -> Watchdog | None:
    readers = {"url": _url, "every": duration(1.0), "timeout": duration(0.1, 300.0), "method": choice("GET", "POST")}
    before = len(spot.problems)
    found = fields(spot, readers)
    if "url" not in found:
        if len(spot.problems) == before:
            raise Wrong('needs "url", the address to call')
        return None
    if not found["url"].get_secret_value():
        return None
    watchdog = Watchdog(**found)
    if "timeout" not in found:
        return replace(watchdog, timeout=min(watchdog.timeout, watchdog.every))
    if watchdog.timeout > watchdog.every:
        longer = f"{format_duration(watchdog.timeout)}) is longer than every ({format_duration(watchdog.every)}"
        raise Wrong(f"the timeout ({longer})")
    return watchdog


def _url(spot: Spot) -> SecretStr:
    """Read an address to call, which is a secret: who knows it can call in our place. An empty one stands for none."""
    return SecretStr(http_url(spot) if text(spot) else "")


def _metrics(spot: Spot) -> tuple[float, ...] | None:
    found: tuple[float, ...] | None = fields(spot, {"duration_buckets": _buckets}).get("duration_buckets")
    return found


def _buckets(spot: Spot) -> tuple[float, ...]:
    found = tuple(attempt(item, duration(), 0.0) for item in spot.items())
    if not 1 <= len(found) <= 20 or (0.0 not in found and any(a >= b for a, b in pairwise(found))):
        raise Wrong("must be 1 to 20 durations, each longer than the one before")
    return found


def _location(spot: Spot) -> str:
    value = text(spot)
    if len(value) > LABEL_CHARACTERS or spot.node.secret:
        raise Wrong(f"must be a word of at most {LABEL_CHARACTERS} characters, and no secret")
    return value


def _plugins(spot: Spot) -> tuple[tuple[Path, Place], ...]:
    found = ((attempt(item, path), item.node.place) for item in spot.items())
    return tuple((folder, place) for folder, place in found if folder)


DEFAULTS: dict[str, Reader] = {
    "every": duration(1.0),
    "timeout": duration(0.01),
    "policy": policy,
    "broken": broken,
    "enabled": itself,
    "notify": itself,
    "escalate": itself,
    "labels": labels,
    "tags": names,
}
_TOP: dict[str, Reader] = {
    "location": _location,
    "store": _store,
    "control": path,
    "plugins": _plugins,
    "web": _web,
    "api": api,
    "watchdog": _watchdog,
    "drill": itself,
    "receivers": itself,
    "self_notify": itself,
    "history": _history,
    "log": _log,
    "metrics": _metrics,
    "grace": duration(0.0, 3600.0),
    "stall_limit": duration(5.0, 3600.0),
    "concurrency": whole(1, 100_000),
    "maintenance": maintenance,
    "flags": flags,
    "storm": storm,
    "mark_traffic": boolean,
    "accounts": itself,
    "targets": itself,
    "defaults": itself,
    "checks": itself,
}

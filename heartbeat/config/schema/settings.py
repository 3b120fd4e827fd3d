"""The schema of all that is not a check or a channel: the top level of a configuration."""

from __future__ import annotations

from collections.abc import Mapping

from heartbeat.config.accounts import NAME_PATTERN, NEXT
from heartbeat.config.credentials import FIELDS
from heartbeat.config.schema.checks import LABEL_PATTERN
from heartbeat.config.schema.parts import Schema, choice, duration, items, mapping, named, ref, share, text, whole

_PATTERNS = {"type": "string", "pattern": r"^[a-zA-Z0-9_.*-]{1,100}$"}


def top(kinds: Mapping[str, str]) -> dict[str, Schema]:
    """The keys of the top level.

    Args:
        kinds: the kinds of channels, with a line of description of each.
    """
    return {
        "location": text("Where this daemon runs: a label on every metric and in every message", maxLength=200),
        "store": text("The SQLite file: sqlite:///path, or sqlite:////path from the root", pattern="^sqlite:///.+",
                      default="sqlite:////var/lib/heartbeat/heartbeat.db"),
        "control": text("The unix socket for changes at run time (mode 0600); beside the store if left out"),
        "plugins": items("Folders with check types of your own; one file is one type", {"type": "string"}),
        "web": mapping("Where metrics, health and the API are served", {
            "listen": text("host:port", pattern=r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$",
                           default="127.0.0.1:9780")}),
        "api": mapping("Who may write over HTTP", {"tokens": named(
            "Tokens by the name of who has them, each a ${secret:NAME}; an empty one stands for none",
            {"type": "string"})}),
        "watchdog": _watchdog(),
        "drill": {"anyOf": [_drill(), items("", _drill())],
                  "description": "Tries the way to a receiver on a schedule, with a marked message; several as a list"},
        "receivers": named("Named sets of ways out; an alert goes to each channel of its receivers", items(
            "The channels of this receiver", _channel(kinds), minItems=1)),
        "self_notify": ref("receivers", "Who hears of trouble of Heartbeat itself: the checks named heartbeat.*"),
        "history": _history(),
        "log": _log(),
        "metrics": mapping("What the metrics page shows", {"duration_buckets": items(
            "The buckets of heartbeat_check_run_duration_seconds, each longer than the one before; each is a series "
            "per check", duration(""), minItems=1, maxItems=20)}),
        "grace": duration("What a stop waits for runs and deliveries in flight", "10s"),
        "stall_limit": duration("How long a plugin may hold the main loop before the daemon ends itself; the next "
                                "start leaves its check out", "30s"),
        "concurrency": whole("Runs at once; one that finds no place is missed", 1, 100_000, default=500),
        "maintenance": named("Windows in which nobody is told of some checks, by name", _window()),
        "storm": _storm(),
        "mark_traffic": {"type": "boolean", "default": True, "description": "Whether requests say that they are "
                         "synthetic, and of which run: X-Synthetic-Check, traceparent, baggage"},
        "accounts": named("Test accounts by name; ${accounts.NAME.FIELD} in the options of a check is filled in while "
                          "it runs, and no other run has the account meanwhile", _account(), f"^{NAME_PATTERN}$"),
        "flags": _flags(),
        "targets": named("Addresses by name, which ${target.NAME} stands for, and a gate can replace by others", {
            "anyOf": [{"type": "string", "minLength": 1, "maxLength": 2000}, {"type": "integer"}]}),
        "defaults": ref("defaults", "For every check that does not say otherwise"),
        "checks": named("The checks by name; a name is a check's identity, over restarts and reloads", ref("check")),
    }  # fmt: skip


def _history() -> Schema:
    keys = {
        "keep": duration("How long results are kept", "7d"),
        "keep_failures": duration("How long failures and events are kept, with their evidence", "30d"),
        "rows": whole("The most rows of results, whatever their age", 1000, 10**9, default=1_000_000),
    }
    return mapping("How long results are kept", keys)


def _log() -> Schema:
    levels = ("debug", "info", "warning", "error")
    keys = {
        "format": choice("auto is console on a terminal, else json", "auto", "json", "console", default="auto"),
        "level": choice("The least that is logged; debug shows each run", *levels, default="info"),
    }
    return mapping("How the log is written", keys)


def _account() -> Schema:
    said = {
        "user": "The name that it logs in with",
        "password": "The password",
        "token": "A token, such as an API key",
        "totp": "The secret of one-time codes (RFC 6238), in base32; ${accounts.NAME.totp} is a fresh code",
    }
    fields = {name: text(said[name]) for name in FIELDS}
    later = mapping("What takes the place of these soon: it is tried where they are refused", fields)
    return mapping("", {**fields, NEXT: {**later, "type": ["object", "null"]}},
                   anyOf=[{"required": [name]} for name in FIELDS])  # fmt: skip


def _watchdog() -> Schema:
    keys = {
        "url": text("The address to call, as https://hc-ping.com/UUID; nobody is called if empty"),
        "every": duration("How long lies between two calls", "60s"),
        "timeout": duration("The deadline of one call", "10s"),
        "method": choice("How to call it", "GET", "POST", default="GET"),
    }
    said = "Somebody outside, who is called while all is well here and raises the alarm when we fall silent"
    return mapping(said, keys, required=["url"])


def _drill() -> Schema:
    keys = {
        "receiver": ref("name", "Whose ways out are tried"),
        "cron": ref("cron", "When"),
        "timezone": ref("timezone", "Whose clocks cron goes by; UTC if left out"),
        "within": duration("How soon it must be acknowledged", "5m"),
        "alert": ref("receivers", "Who hears of a drill that failed; self_notify if left out"),
    }
    return mapping("", keys, required=["receiver", "cron"])


def _channel(kinds: Mapping[str, str]) -> Schema:
    said = "A way out: the kind of channel, and its options"
    properties = {kind: ref(f"channel.{kind}", line) for kind, line in kinds.items()}
    return mapping(said, properties, minProperties=1, maxProperties=1)


def _window() -> Schema:
    keys = {
        "checks": items('Patterns of names of checks; "*" stands for anything', _PATTERNS, minItems=1),
        "types": items("Patterns of check types", _PATTERNS, minItems=1),
        "labels": named("Labels, and a pattern for the value of each", {"type": "string"}, LABEL_PATTERN,
                        minProperties=1),
        "reason": text("Why; whoever is not told will want to know"),
        "from": text("When it begins, as 2026-12-05T22:00, with an offset or beside a timezone"),
        "until": text("When it ends"),
        "cron": ref("cron", "When it begins, again and again"),
        "duration": duration("How long it lasts each time"),
        "timezone": ref("timezone", "On whose clocks the times are"),
    }  # fmt: skip
    when = [{"required": ["from", "until"]}, {"required": ["cron", "duration"]}]
    whom = [{"required": [key]} for key in ("checks", "types", "labels")]
    return mapping("One window: once, or again and again", keys, required=["reason"], oneOf=when, anyOf=whom)


def _flags() -> Schema:
    keys = {
        "provider": text("module:callable, which returns a provider of OpenFeature when it is called",
                         pattern=r"^\w+(\.\w+)*:\w+$"),
        "options": {"type": "object", "description": "What it is called with, by name"},
    }  # fmt: skip
    said = "Who answers for the flags of enabled: {flag: NAME}; needs heartbeat[openfeature]"
    return mapping(said, keys, required=["provider"])


def _storm() -> Schema:
    keys = {
        "checks": whole("How many checks must fail", 2, 100_000, default=5),
        "share": share("Which share of those that ran must fail", default="50%"),
        "within": duration("Within how long", "60s"),
    }
    said = "From when on so many failures at once are our own trouble, and are told as one; or never"
    return {"anyOf": [mapping("", keys), {"const": "never"}], "description": said}

"""The schema of a check, and of what its defaults may say."""

from __future__ import annotations

from collections.abc import Mapping

from heartbeat.config.labels import LABEL_CHARACTERS, LABELS
from heartbeat.config.limits import AGGREGATES
from heartbeat.config.matrix import EXCLUDE, MEMBERS
from heartbeat.config.notify import OTHERWISE, WORDS
from heartbeat.config.objective import MOST_FAILURES
from heartbeat.config.policy import SLOTS, WINDOW
from heartbeat.config.schema.parts import (
    NAME_PATTERN,
    Schema,
    duration,
    items,
    mapping,
    named,
    ref,
    share,
    text,
    whole,
)

LABEL_PATTERN = "^[a-zA-Z_][a-zA-Z0-9_]*$"
_MEASURE = r"([a-z][a-z0-9_]*|phase\.[a-z][a-z0-9_.]*)"
_LENGTH = r"([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+"
_OF_VALUES = "|".join(
    (*(one for one in AGGREGATES if one not in ("availability", "count")), r"p[0-9]{1,2}(\.[0-9]{1,3})?")
)
LIMIT_PATTERN = (
    rf"^({_MEASURE}|({_OF_VALUES}) {_MEASURE} {_LENGTH}|availability {_LENGTH}|count (ok|fail|error) {_LENGTH})$"
)
_TOLD = {
    "warn": "Who is told of warnings",
    "fail": "Who is told of failures",
    "check_broken": "Who is told that the check itself is at fault, so that nothing is known of its target",
    "missed": "Who is told that a check does not run",
    "budget_burning": "Who is told that an objective is at stake",
    "flapping": "Who is told that a check keeps changing",
    "reminder": "Who is told again of what lasts",
}

_WORDS = [True, False, "on", "off", "yes", "no", "true", "false", "1", "0", 1, 0]
_VALUE: Schema = {"type": ["number", "string"]}
_ABOVE = {**_VALUE, "description": "For values above this one, with its unit: 800ms, 64KiB, 95%"}
_BELOW = {**_VALUE, "description": "For values below this one, with its unit: 800ms, 64KiB, 95%"}


def _clear() -> Schema:
    sides = mapping("", {"above": _ABOVE, "below": _BELOW}, minProperties=1)
    return {
        "anyOf": [_VALUE, sides],
        "description": "What a value must come back to before it is well again; the limit itself if left out",
    }


def _level(description: str) -> Schema:
    sides = mapping("", {"above": _ABOVE, "below": _BELOW, "clear": _clear()})
    return {"anyOf": [_VALUE, {**sides, "anyOf": [{"required": [side]} for side in ("above", "below")]}],
            "description": description}  # fmt: skip


def _latch() -> dict[str, Schema]:
    return {
        "raise": {
            "anyOf": [{"type": "integer", "minimum": 1, "maximum": WINDOW},
                      {"type": "string", "pattern": "^[0-9]{1,4} of [0-9]{1,4}$"}],
            "description": "After how many bad runs it is raised: 3 in a row, or 2 of 3",
            "default": 1,
        },
        "clear": whole("After how many good runs in a row it is over", 1, WINDOW, default=1),
    }  # fmt: skip


def _flapping() -> Schema:
    shares = {
        "start": share("From which share of changes among the last runs on it flaps", default="30%"),
        "stop": share("Below which share it has settled", default="20%"),
    }
    return {
        "anyOf": [mapping("", shares), {"enum": ["never", True, False]}],
        "description": "When a check that keeps changing is told once, and its changes are not; or never",
    }


def policy() -> Schema:
    """When to raise, clear, look again, remind and keep back."""
    keys = {
        **_latch(),
        "recheck": duration("How soon after a first failure to look again, instead of waiting for the next run",
                            never=True),
        "remind": duration("How long lies between two reminders of what lasts", never=True),
        "hold": duration("How long news is kept back after it was raised, in case it passes", "0s"),
        "missed": {
            "anyOf": [{"type": "integer", "minimum": 1, "maximum": SLOTS}, {"enum": ["never", None]}],
            "description": "After how many slots in a row without a run that is told, or never",
            "default": 3,
        },
        "flapping": _flapping(),
        "warn": mapping("What warnings have otherwise", _latch()),
        "fail": mapping("What failures have otherwise", _latch()),
    }  # fmt: skip
    return mapping("When to raise and clear, look again, remind and keep back", keys)


def notify() -> Schema:
    """Who is told: a list, or a mapping of words to lists."""
    keys = {word: ref("receivers", f"{_TOLD[word]}, instead of otherwise") for word in WORDS}
    rest = {OTHERWISE: ref("receivers", "Who is told of all that is not told apart")}
    return {
        "anyOf": [ref("receivers"), mapping("", {**keys, **rest})],
        "description": "Receivers that are told; a list for everything, or a mapping by severity and kind of news",
    }


def escalate() -> Schema:
    """Who else is told of what nobody acknowledged."""
    keys = {
        "after": duration("How long nobody may have acknowledged it"),
        "to": ref("receivers", "Who is told then"),
    }
    return {
        "anyOf": [mapping("", keys), {"enum": ["never", False]}],
        "description": "Who else is told of a failure that nobody has acknowledged in time; never: nobody",
    }


def limits() -> Schema:
    """What must hold of what was measured."""
    keys = {
        "warn": _level("When it is a warning: a value fires above it, {below: ...} below it"),
        "fail": _level("When it is a failure: a value fires above it, {below: ...} below it"),
        "clear": _clear(),
        "samples": whole("How many values a window must have before the limit says anything", 2, 1_000_000),
    }
    one = {**mapping("", keys), "anyOf": [{"required": [level]} for level in ("warn", "fail")]}
    return named(
        "What must hold, by what is measured: duration, phase.NAME, a measurement of the check; over a window "
        "p95 duration 10m, rate NAME 5m, availability 1h, count fail 1h",
        one,
        LIMIT_PATTERN,
        properties={"duration": {**one, "description": "Of how long a run takes"}},
    )


def objective() -> Schema:
    """What a check promises."""
    keys = {
        "availability": share("Which share of runs is good, less than 100%"),
        "window": duration("The time that it is promised for", "30d"),
        "failures": whole("How many failures there must be before anything is said", 1, MOST_FAILURES),
    }
    said = "What is promised over weeks; told when the error budget burns too fast to last"
    return mapping(said, keys, required=["availability"])


def labels() -> Schema:
    """Labels of a check."""
    value = {"type": "string", "maxLength": LABEL_CHARACTERS}
    return named("Labels on metrics and in messages", value, LABEL_PATTERN, maxProperties=LABELS)


def _matrix() -> Schema:
    value: Schema = {"anyOf": [{"type": "string", "pattern": NAME_PATTERN}, {"type": "integer"}]}
    without = items("Combinations to leave out", {"type": "object", "additionalProperties": value})
    axis = items("", value, minItems=1)
    said = f"Makes one check of each combination of values (at most {MEMBERS}), which ${{matrix.NAME}} stands for"
    return named(said, axis, LABEL_PATTERN, properties={EXCLUDE: without})


def enabled() -> Schema:
    """Whether it runs."""
    default = {"description": "Where nothing was ever said: true or false", "default": True, "enum": _WORDS}
    every = duration("How often it is asked", "30s")
    headers = named("Headers that are sent", {"type": "string"}, "^[!-~]+$")
    said = {"type": "string", "minLength": 1}
    ways: list[dict[str, Schema]] = [
        {"env": text("A variable, as it is when the configuration is loaded: on, off, true, false, yes, no, 1, 0")},
        {
            "file": {**said, "description": "A file whose first word is on or off; it is looked at all the time"},
            "exists": {
                "enum": _WORDS,
                "description": "On while the file is there (true), or is not (false); its content is not looked at",
            },
        },
        {
            "http": text("An address that answers on or off", pattern="^https?://"),
            "headers": headers,
            "every": every,
            "json": text("Where it stands in JSON (RFC 9535), such as $.checks.shop"),
        },
        {
            "flag": {**said, "description": "A flag of the provider under flags: at the top"},
            "every": every,
            "context": {"type": "object", "description": "What else the provider is told"},
        },
    ]
    asked = [mapping("", {**way, "default": default}, required=[next(iter(way))]) for way in ways]
    return {
        "anyOf": [{"enum": _WORDS}, *asked],
        "default": True,
        "description": "Whether it runs: true or false, or who is asked: env, file, http, flag",
    }


def common() -> dict[str, Schema]:
    """What checks and defaults have in common."""
    return {
        "every": duration("How often it runs", "60s"),
        "timeout": duration("The deadline of a whole run", "10s"),
        "policy": ref("policy", "When to raise and clear, look again, remind and keep back"),
        "broken": mapping("When to raise and clear where the check itself is at fault", _latch()),
        "enabled": ref("enabled", "Whether it runs: true or false, or who is asked: env, file, http, flag"),
        "notify": ref("notify", "Receivers that are told"),
        "escalate": ref("escalate", "Who else is told of what nobody acknowledged"),
        "labels": ref("labels", "Labels on metrics and in messages"),
        "tags": ref("names", "Words by which checks are chosen on the command line: --tag post-deploy"),
    }


def keys_of_a_check() -> dict[str, Schema]:
    """The keys of a check but for its type."""
    return {
        **common(),
        "cron": ref("cron", "When it runs, instead of every: minute, hour, day of month, month, day of week"),
        "timezone": ref("timezone", "Whose clocks cron goes by; UTC if left out"),
        "depends_on": {
            "anyOf": [ref("name"), ref("names")],
            "description": "Checks that this one needs: while one of them fails, nobody is told of this one",
        },
        "limits": ref("limits", "What must hold of what is measured"),
        "objective": ref("objective", "What is promised over weeks"),
        "matrix": _matrix(),
        "runbook": text("Where help is; goes into every message", maxLength=2000),
        "was": ref("name", "The name it had before, whose history it takes over"),
    }


def check(kinds: Mapping[str, str]) -> Schema:
    """One check: its keys, and exactly one that names its type. Of each type there is a line of description."""
    return mapping(
        "A check: when it runs, who is told, and one key that names its type, with its options",
        {**keys_of_a_check(), **{kind: ref(f"type.{kind}", said) for kind, said in kinds.items()}},
        oneOf=[{"required": [kind]} for kind in kinds],
        dependencies={"timezone": ["cron"], "cron": {"not": {"required": ["every"]}}},
    )


def defaults() -> Schema:
    """What checks take where they say nothing themselves."""
    return mapping("For every check that does not say otherwise", common())

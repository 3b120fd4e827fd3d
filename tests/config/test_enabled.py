from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from heartbeat.config import Config
from heartbeat.config.answering import _as_sent
from heartbeat.config.reader import read
from heartbeat.core.switches import OFF, ON, AtUrl, InFile, InFlag, Switch

Load = Callable[..., Config]
Complaints = Callable[..., list[str]]
FLAGS = "flags: {provider: 'json:loads', options: {s: '{}'}}\n"


def check(enabled: str, more: str = "") -> str:
    return f"{more}checks: {{a: {{enabled: {enabled}, shop: {{}}}}}}\n"


def read_one(load_text: Load, enabled: str, more: str = "", **environ: str) -> Switch:
    return load_text(check(enabled, more), **environ).checks["a"].enabled


@pytest.mark.parametrize("word", ["true", "on", "yes", "'1'", "1", "ON", "'${CANARY:-on}'"])
def test_what_is_simply_on(load_text: Load, word: str) -> None:
    if word == "ON":  # an editor offers small letters only
        word = "on"
    assert read_one(load_text, word) is ON


@pytest.mark.parametrize("word", ["false", "off", "no", "'0'", "0", "'${CANARY:-off}'"])
def test_what_is_simply_off_is_there_all_the_same(load_text: Load, word: str) -> None:
    assert read_one(load_text, word) == OFF


def test_a_check_that_says_nothing_is_on(load_text: Load) -> None:
    assert load_text("checks: {a: {shop: {}}}").checks["a"].enabled is ON


def test_a_check_says_otherwise_than_the_defaults(load_text: Load) -> None:
    checks = load_text(
        "defaults: {enabled: {file: /run/all}}\nchecks: {a: {shop: {}}, b: {enabled: true, shop: {}}}"
    ).checks
    assert checks["a"].enabled == Switch(InFile("/run/all"))
    assert checks["b"].enabled is ON


@pytest.mark.parametrize(
    ("value", "default", "expected"),
    [
        ("yes", "", ON),
        ("FALSE", "", Switch(default=False, said="the variable CANARY")),
        (" off ", ", default: on", Switch(default=False, said="the variable CANARY")),
        ("1", ", default: off", ON),
        (None, "", ON),
        (None, ", default: true", ON),
        (None, ", default: off", Switch(default=False, said="CANARY, which is not set")),
        ("", ", default: off", Switch(default=False, said="CANARY, which is not set")),
    ],
)
def test_a_variable_says_it_and_else_the_default(
    load_text: Load, value: str | None, default: str, expected: Switch
) -> None:
    environ = {} if value is None else {"CANARY": value}
    assert read_one(load_text, f"{{env: CANARY{default}}}", **environ) == expected


def test_files_addresses_and_flags_are_read_whole(load_text: Load, folder: Path) -> None:
    assert read_one(load_text, "{file: canary}") == Switch(InFile(str(folder / "canary")))
    assert read_one(load_text, "{file: /run/x, exists: no, default: off}") == Switch(InFile("/run/x", False), False)
    page = "{http: 'http://flags/x', json: $.a, headers: {Authorization: '${secret:KEY}'}, every: 5s}"
    asks = AtUrl("http://flags/x", (("Authorization", "Bearer swordfish"),), "$.a")
    assert read_one(load_text, page, KEY="Bearer swordfish") == Switch(asks, every=5.0)
    flag = "{flag: canary, context: {tier: gold, n: 1}, default: off}"
    assert read_one(load_text, flag, FLAGS) == Switch(InFlag("canary", '{"tier":"gold","n":1}'), default=False)


def test_each_check_of_a_matrix_has_its_own(load_text: Load) -> None:
    text = "checks: {a: {matrix: {r: [x, y]}, enabled: {file: '/run/${matrix.r}'}, shop: {}}}"
    assert [str(one.enabled) for one in load_text(text).checks.values()] == ["the file /run/x", "the file /run/y"]


def test_the_provider_of_flags_gets_its_options_and_does_not_show_them(load_text: Load) -> None:
    flags = load_text("checks: {}\nflags: {provider: 'json:loads', options: {key: '${secret:K}'}}", K="swordfish").flags
    assert flags is not None
    assert (flags.provider, flags.options) == ("json:loads", {"key": "swordfish"})
    assert "swordfish" not in repr(flags)
    assert load_text("checks: {}").flags is None


@pytest.mark.parametrize(
    ("enabled", "said"),
    [
        ("maybe", 'enabled: must be true or false, or say what is asked (env, file, http, flag), not "maybe"'),
        ("2", "enabled: must be true or false, or say what is asked"),
        ("[on]", "enabled: must be true or false, or say what is asked"),
        ("{}", "enabled: needs one of env, file, http, flag"),
        ("{url: 'http://x'}", 'enabled: needs one of env, file, http, flag, not "url"; did you mean "http"?'),
        ("{file: /x, env: X}", "enabled: asks file and env; one of them has to be enough"),
        ("{file: /x, json: $.a}", 'enabled.json: "json" goes with http, not with file'),
        ("{env: X, every: 5s}", 'enabled.every: "every" goes with http and flag, not with env'),
        ("{file: /x, defualt: off}", 'enabled: unknown key "defualt"; did you mean "default"?'),
        ("{file: /x, default: maybe}", 'enabled.default: must be true or false, not "maybe"'),
        ("{env: $X}", "is no name of a variable; write it without $"),
        ("{env: BAD}", "enabled: the variable BAD must be one of 1, true, yes, on, 0, false, no, off, or not be set"),
        ("{http: flags.example.com}", "enabled.http: must be written as https://host/path"),
        ("{http: 'http://me:secret@x/'}", "without a user name"),
        ("{http: 'http://x', json: 'a['}", "is no JSONPath (RFC 9535)"),
        ("{http: 'http://x', every: 10ms}", "enabled.every: must be at least 1s"),
        ("{http: 'http://x', headers: {'a b': c}}", '"a b" is no name of a header'),
        ("{flag: ''}", "enabled.flag: must be the key of a flag"),
        ("{flag: canary}", "a flag needs flags: {provider: module:callable} at the top of the configuration"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(complaints: Complaints, enabled: str, said: str) -> None:
    found = complaints(check(enabled), BAD="flase")
    assert len(found) == 1, found
    assert said in found[0]
    assert found[0].startswith("checks.a")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("{}", 'flags: needs "provider", such as mycompany.flags:provider'),
        ("{provider: json}", "flags.provider: must be module:callable, such as mycompany.flags:provider"),
        ("{provider: 'no_such_module_here:make'}", "there is no module no_such_module_here; install it"),
        ("{provider: 'json:loads', options: [1]}", "flags.options: must be a mapping"),
    ],
)
def test_a_provider_that_cannot_be_is_refused(complaints: Complaints, flags: str, said: str) -> None:
    found = complaints(f"checks: {{}}\nflags: {flags}\n")
    assert said in found[0]


def test_a_changed_switch_is_a_changed_check_also_where_a_secret_changed(folder: Path) -> None:
    def digest(key: str) -> bytes:
        text = check("{http: 'http://x', headers: {A: '${secret:K}'}}", "plugins: [./checks.d]\n")
        (folder / "config.yaml").write_text(text)
        (draft,) = read([folder / "config.yaml"], {"K": key}).checks
        return _as_sent(draft).digest

    assert digest("swordfish-1") == digest("swordfish-1") != digest("swordfish-2")

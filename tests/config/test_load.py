from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from heartbeat.config import Config, ConfigError, load
from heartbeat.config.advice import warnings
from heartbeat.core.limits import Bound, Limit
from heartbeat.core.model import Severity
from heartbeat.core.policy import Latch, Policy, Routes
from heartbeat.core.schedule import Cron, Interval

Load = Callable[..., Config]
NOBODY = 65534
CHECK = "checks: {a: {shop: {url: x}}}\n"


def problems_of(*paths: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(paths, {})
    return [str(one) for one in caught.value.problems]


def test_a_small_configuration_is_complete(load_text: Load, folder: Path) -> None:
    config = load_text(CHECK)

    check = config.checks["a"]
    assert (check.name, check.type, check.schedule, check.timeout) == ("a", "shop", Interval(60), 10)
    assert check.policy == Policy(interval=60)
    assert config.store == Path("/var/lib/heartbeat/heartbeat.db")
    assert config.control == Path("/var/lib/heartbeat/heartbeat.sock")
    assert {folder / "config.yaml", folder / "checks.d", folder / "checks.d" / "shop.py"} <= set(config.files)


def test_the_example_of_the_design_loads(tmp_path: Path) -> None:
    (tmp_path / "smtp").write_text("sesame-open")
    (tmp_path / "checks.d").mkdir()
    (tmp_path / "config.yaml").write_text(EXAMPLE.replace("/run/secrets/smtp", str(tmp_path / "smtp")))
    environ = {
        "ONCALL_URL": "https://hook.example.com/x",
        "ONCALL_SECRET": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "SYNTHETIC_USER": "robot",
        "SYNTHETIC_PASSWORD": "hunter2hunter2",
    }

    config = load([tmp_path / "config.yaml"], environ)

    check = config.checks["shop-login"]
    assert (config.location, config.self_notify) == ("eu-west-1", ("fallback",))
    assert check.notify == Routes(("oncall",))
    assert check.policy == Policy(Latch(2, 3, 2), Latch(2, 3, 2), recheck=5.0, remind=4 * 3600.0, interval=30.0)
    assert check.limits == (Limit("duration", (Bound(Severity.WARN, 0.8), Bound(Severity.FAIL, 2.0)), "s"),)
    assert list(config.receivers["oncall"].channels) == ["oncall/email", "oncall/webhook"]
    assert "hunter2hunter2" not in config.redactor("{'password': 'hunter2hunter2'}")


EXAMPLE = """
location: eu-west-1
store: sqlite:////var/lib/heartbeat/heartbeat.db
plugins: [./checks.d]
web: {listen: 127.0.0.1:9780}
receivers:
  oncall:
    - email: {to: [oncall@example.com], from: heartbeat@example.com, server: smtp://mail.example.com:587, tls: starttls,
             username: hb, password: "${file:/run/secrets/smtp}"}
    - webhook: {url: "${secret:ONCALL_URL}", secret: "${secret:ONCALL_SECRET}"}
  fallback:
    - email: {to: [ops@example.com], server: smtp://other.example.net:25, tls: none}
self_notify: [fallback]
defaults:
  every: 1m
  timeout: 10s
  policy: {raise: 2 of 3, clear: 2, recheck: 5s, remind: 4h}
  notify: [oncall]
checks:
  shop-login:
    every: 30s
    http:
      url: https://shop.example.com/api/login
      method: POST
      json: {user: "${secret:SYNTHETIC_USER}", password: "${secret:SYNTHETIC_PASSWORD}"}
      expect: {status: 200, json: {$.token: {exists: true}, $.plan: basic}}
    limits:
      duration: {warn: 800ms, fail: 2s}
    labels: {team: shop}
    runbook: https://wiki.example.com/shop-login
"""


def test_every_setting_arrives(load_text: Load, folder: Path) -> None:
    config = load_text(
        CHECK + "location: here\nstore: sqlite:///data/h.db\ncontrol: run/h.sock\ngrace: 1m\nconcurrency: 7\n"
        'web: {listen: "[::1]:0"}\nlog: {format: json, level: debug}\n'
        "history: {keep: 60d, rows: 5000}\nmetrics: {duration_buckets: [50ms, 1s]}\n"
    )

    assert (config.location, config.grace, config.concurrency) == ("here", 60.0, 7)
    assert (config.store, config.control) == (folder / "data/h.db", folder / "run/h.sock")
    assert (config.web.host, config.web.port) == ("::1", 0)
    assert (config.log.format, config.log.level) == ("json", "debug")
    assert (config.history.keep, config.history.keep_failures, config.history.rows) == (60 * 86400, 60 * 86400, 5000)
    assert config.duration_buckets == (0.05, 1.0)
    assert config.plugins == (folder / "checks.d",)


def test_a_check_says_otherwise_than_the_defaults(load_text: Load) -> None:
    config = load_text("""
defaults: {every: 5m, timeout: 20s, policy: {raise: 3, clear: 2, remind: 1h}, labels: {team: shop, tier: one}}
checks:
  a: {shop: {}, every: 30s, policy: {raise: 1, remind: never}, labels: {tier: two}, broken: {raise: 2 of 5}}
  b: {shop: {}, cron: "*/5 8-18 * * mon-fri", timezone: Europe/Stockholm, runbook: see the wiki, was: old}
""")

    a, b = config.checks["a"], config.checks["b"]
    assert (a.schedule, a.timeout, a.labels) == (Interval(30), 20, {"team": "shop", "tier": "two"})
    assert a.policy == Policy(Latch(1, 1, 2), Latch(1, 1, 2), Latch(2, 5, 1), interval=30.0)
    assert b.schedule == Cron("*/5 8-18 * * mon-fri", "Europe/Stockholm")
    assert (b.policy.fail, b.policy.remind, b.runbook, b.was) == (Latch(3, 3, 2), 3600, "see the wiki", "old")


def test_the_usual_timeout_gives_way_to_a_short_interval(load_text: Load) -> None:
    assert load_text("checks: {a: {shop: {}, every: 5s}}\n").checks["a"].timeout == 5


def test_a_plain_variable_becomes_a_number_and_a_quoted_one_stays_text(load_text: Load) -> None:
    text = 'checks:\n  a:\n    shop:\n      port: ${PORT}\n      url: "${PORT}"\n      token: ${EMPTY}\n'
    check = load_text(text, PORT="8443", EMPTY="").checks["a"].check

    assert check.model_dump() == {"port": 8443, "url": "8443", "token": ""}


def test_a_secret_is_always_text(load_text: Load) -> None:
    check = load_text("checks:\n  a:\n    shop:\n      token: ${secret:PIN}\n", PIN="123456").checks["a"].check

    assert check.model_dump()["token"] == "123456"


def test_keys_are_never_expanded(complaints: Callable[..., list[str]]) -> None:
    assert complaints("checks:\n  '${A}': {shop: {}}\n", A="a") == [
        'checks.${A}: "${A}" is no name: use letters, digits, _ . - (at most 100, a letter or digit first)'
    ]


def test_a_fingerprint_follows_from_options_and_plugin_and_from_nothing_else(load_text: Load, folder: Path) -> None:
    def fingerprint(text: str, **environ: str) -> str:
        return load_text(text, **environ).checks["a"].fingerprint

    first = fingerprint('checks: {a: {shop: {url: "${A}"}}}\n', A="x")
    assert fingerprint("checks: {a: {every: 5m, labels: {team: x}, shop: {url: x}}}\n") == first
    assert fingerprint("checks: {a: {shop: {url: y}}}\n") != first
    plugin = folder / "checks.d" / "shop.py"
    plugin.write_text(plugin.read_text() + "# changed\n")
    assert fingerprint("checks: {a: {shop: {url: x}}}\n") != first


def test_all_mistakes_are_told_at_once_and_in_order(complaints: Callable[..., list[str]]) -> None:
    found = complaints("locatoin: x\nchecks:\n  a: {shop: {prot: 1, port: x}}\n  b: {every: 3, shop: {url: '${NO}'}}\n")

    paths = [one.partition(":")[0] for one in found]
    assert paths == ["", "checks.a.shop", "checks.a.shop.port", "checks.b.every", "checks.b.shop.url"]


def test_a_secret_is_in_no_message(complaints: Callable[..., list[str]]) -> None:
    found = complaints(
        "checks:\n  a: {every: '${secret:S}', timeout: '${secret:S}', shop: {port: '${secret:S}'}}\n"
        "  b: {shop: {}, notify: ['${secret:S}'], cron: '${secret:S}', runbook: '${secret:S}', was: '${secret:S}'}\n"
        "log: {level: '${secret:S}'}\nstore: '${secret:S}'\nweb: {listen: '${secret:S}'}\n",
        S="swordfish-swordfish",
    )

    assert len(found) >= 8
    assert "swordfish" not in "".join(found)


def test_limits_know_their_units(load_text: Load) -> None:
    limits = (
        load_text("""
checks:
  a:
    shop: {}
    limits:
      phase.tls: {warn: 1m30s}
      body_bytes: {fail: {above: 64KiB, below: 1KiB}}
      hit_ratio: {fail: {below: 99.5%}}
      queue_seconds: {warn: {above: 5s}}
      not_after_timestamp_seconds: {fail: {below: 1800000000}}
      depth: {warn: 10, fail: 20}
""")
        .checks["a"]
        .limits
    )

    assert limits == (
        Limit("phase.tls", (Bound(Severity.WARN, above=90.0),), "s"),
        Limit("body_bytes", (Bound(Severity.FAIL, above=65536.0, below=1024.0),), "B"),
        Limit("hit_ratio", (Bound(Severity.FAIL, below=0.995),), "ratio"),
        Limit("queue_seconds", (Bound(Severity.WARN, above=5.0),), "s"),
        Limit("not_after_timestamp_seconds", (Bound(Severity.FAIL, below=1_800_000_000.0),), ""),
        Limit("depth", (Bound(Severity.WARN, above=10.0), Bound(Severity.FAIL, above=20.0)), ""),
    )


def test_a_folder_and_further_files_are_merged(folder: Path) -> None:
    (folder / "conf.d").mkdir()
    (folder / "conf.d" / "one.yaml").write_text(
        "plugins: [../checks.d]\ndefaults: {every: 5m}\nchecks: {a: {shop: {}}}\n"
    )
    (folder / "conf.d" / "two.yml").write_text("defaults: {timeout: 3s}\nchecks: {b: {shop: {}}}\n")
    (folder / "conf.d" / "notes.txt").write_text("not: [yaml")
    (folder / "extra.yaml").write_text("checks: {c: {shop: {}}}\n")

    config = load([folder / "conf.d", folder / "extra.yaml"], {})

    assert list(config.checks) == ["a", "b", "c"]
    assert {(one.schedule, one.timeout) for one in config.checks.values()} == {(Interval(300), 3.0)}
    assert folder / "conf.d" in config.files


def test_nothing_may_be_said_in_two_files(folder: Path) -> None:
    one, two = folder / "one.yaml", folder / "two.yaml"
    one.write_text("plugins: [checks.d]\nlocation: x\nchecks: {a: {shop: {}}}\n")
    two.write_text("location: y\nchecks: {a: {shop: {}}}\n")

    assert problems_of(one, two) == [
        f'{two}:1:1 location: "location" is already there, at {one}:2:1',
        f'{two}:2:10 checks.a: "a" is already there, at {one}:3:10',
    ]


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "latin.yaml").write_bytes(b"location: \xe5\n")
    (folder / "none.d").mkdir()

    assert problems_of(folder / "gone.yaml", folder / "latin.yaml", folder / "none.d") == [
        f"{folder}/gone.yaml: cannot be read: No such file or directory",
        f"{folder}/latin.yaml: is no UTF-8 text (byte 10)",
        f"{folder}/none.d: has no *.yaml file in it",
    ]


def test_a_file_beyond_the_size_is_not_read(folder: Path) -> None:
    with (folder / "big.yaml").open("wb") as file:
        file.truncate(11 * 1024 * 1024)

    assert problems_of(folder / "big.yaml") == [f"{folder}/big.yaml: is larger than 10 MiB"]


def test_the_error_names_the_files_whose_change_may_be_the_repair(folder: Path) -> None:
    (folder / "config.yaml").write_text('location: "${file:place}"\nchecks: {}\n')

    with pytest.raises(ConfigError) as caught:
        load([folder / "config.yaml"], {})

    assert {folder / "config.yaml", folder / "place"} <= set(caught.value.files)


def test_two_channels_of_a_kind_are_told_apart_by_name(load_text: Load) -> None:
    hook = "webhook: {url: 'https://hook.example.com/x'"
    config = load_text(CHECK + f"receivers:\n  ops:\n  - {hook}}}\n  - {hook}, name: second}}\n")

    assert list(config.receivers["ops"].channels) == ["ops/webhook", "second"]


def test_a_broken_plugin_is_told_with_its_line_beside_the_other_mistakes(complaints: Any, folder: Path) -> None:
    (folder / "checks.d" / "wild.py").write_text("import json\n\n1 / 0\n")

    found = complaints("checks: {a: {shop: {prot: 1}}, b: {wild: {}}}\n")

    assert found == [
        ': the check type "wild" does not import: ZeroDivisionError: division by zero',
        'checks.a.shop: unknown key "prot"; did you mean "port"?',
    ]


def test_what_is_legal_but_hardly_meant_is_a_warning(load_text: Load) -> None:
    config = load_text(
        "checks: {a: {shop: {}, limits: {duration: {fail: 30s}}}}\n"
        "receivers: {ops: [webhook: {url: 'https://hook.example.com/x'}]}\n"
    )

    assert warnings(config) == (
        "checks.a: notifies nobody; its failures show only in metrics and on the page",
        "checks.a: the limit duration above 30s is never reached: the timeout comes first",
        "receivers.ops: nothing sends to it",
        "self_notify: nobody is told when Heartbeat itself is in trouble",
    )


def test_a_long_secret_is_not_left_standing_where_a_message_is_cut(complaints: Any, folder: Path) -> None:
    (folder / "checks.d" / "picky.py").write_text(
        "from heartbeat import Check\nfrom pydantic import field_validator\n\n\n"
        "class Picky(Check):\n    url: str\n\n"
        "    @field_validator('url')\n    @classmethod\n"
        "    def _no(cls, url):\n        raise ValueError('no: ' + url)\n\n"
        "    async def run(self, probe): ...\n"
    )

    assert complaints("checks: {a: {picky: {url: '${secret:LONG}'}}}\n", LONG="sword fish  " * 100) == [
        "checks.a.picky.url: no: <redacted:LONG>"
    ]


@pytest.fixture
def unreadable(folder: Path) -> Iterator[Path]:
    """A folder with a file that we may not look into, whoever we are."""
    inside = folder / "conf.d"
    inside.mkdir()
    (inside / "a.yaml").write_text(CHECK)
    inside.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    yield inside
    if is_root:
        os.seteuid(0)
    inside.chmod(0o755)


def test_a_folder_that_may_not_be_looked_into_is_named(unreadable: Path) -> None:
    for path in (unreadable, unreadable / "a.yaml"):
        assert problems_of(path) == [f"{path}: cannot be read: Permission denied"]

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from heartbeat.config import Config
from heartbeat.config.document import Node
from heartbeat.config.inline import find_inline
from heartbeat.config.reader import read_as_written
from heartbeat.config.review import remarks_on

Load = Callable[..., Config]
Written = Callable[[str], Node]

CONFIG = """\
receivers:
  oncall: [command: {command: [/bin/true]}]
  unused: [command: {command: [/bin/true]}]
self_notify: [oncall]
defaults:
  notify: [oncall]
  policy: {hold: 2m, remind: 1m}
checks:
  a:
    shop: {token: hunter2hunter2}
    limits:
      phase.connect: {fail: 30s}
  b.c:
    shop: {}
    notify: {fail: [oncall], missed: [oncall], warn: [oncall]}
"""


def test_each_warning_has_its_place_in_the_order_of_the_file(load_text: Load, folder: Path) -> None:
    config = load_text(CONFIG)

    found = [
        (one.problem.line - 1, one.problem.column, one.rule) for one in remarks_on(config, [folder / "config.yaml"])
    ]

    assert found == [
        (3, 3, "unreachable-route"),  # receivers.unused
        (7, 12, "held-too-long"),  # in the defaults, where it stands
        (10, 12, "secret-inline"),
        (12, 7, "limit-never-holds"),  # a key with a dot in it
        (15, 48, "unreachable-route"),  # notify.warn of a check with a dot in its name
    ]


def test_a_warning_about_a_member_of_a_matrix_stands_where_the_matrix_is_written(load_text: Load, folder: Path) -> None:
    config = load_text("checks:\n  a:\n    matrix: {region: [eu, us]}\n    shop: {url: '${matrix.region}'}\n")

    (remark,) = remarks_on(config, [folder / "config.yaml"])

    assert str(remark.problem).endswith(":3:3 checks.a.eu and 1 more: notifies nobody; "
                                        "its failures show only in metrics and on the page")  # fmt: skip


def test_places_are_those_of_each_file(load_text: Load, folder: Path) -> None:
    load_text("checks: {}\n")
    other = folder / "receivers.yaml"
    other.write_text("receivers: {spare: [command: {command: [/bin/true]}]}\n")
    from heartbeat.config import load

    config = load([folder / "config.yaml", other], {})

    places = {(Path(one.problem.file).name, one.rule) for one in remarks_on(config, [folder / "config.yaml", other])}
    assert places == {
        ("config.yaml", "no-checks"),
        ("receivers.yaml", "unreachable-route"),
        ("receivers.yaml", "self-told-to-nobody"),
    }


# Secrets that stand in the file


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(text: str) -> Node:
        (tmp_path / "config.yaml").write_text(text)
        return read_as_written([tmp_path / "config.yaml"])

    return write


@pytest.mark.parametrize(
    "text",
    [
        "checks: {a: {http: {auth: {basic: {user: x, password: hunter2}}}}}",
        "checks: {a: {http: {auth: {bearer: hunter2}}}}",
        "checks: {a: {http: {json: {user: x, Password: hunter2}}}}",
        "checks: {a: {http: {headers: {Authorization: Bearer hunter2}}}}",
        "checks: {a: {http: {headers: {X-Api-Key: hunter2}}}}",
        "checks: {a: {http: {url: 'https://x.example.com/?token=hunter2'}}}",
        "checks: {a: {http: {form: {login_token: 123456}}}}",
        "checks: {a: {queue: {url: 'amqp://shop:hunter2@q.example.com/'}}}",
        "checks: {a: {queue: {secret: '${SECRET:-hunter2}'}}}",
        "receivers: {ops: [email: {password: hunter2}]}",
        "receivers: {ops: [webhook: {secret: [whsec_hunter2]}]}",
        "receivers: {ops: [slack: {url: 'https://hooks.slack.com/services/T0/B0/hunter2'}]}",
        "receivers: {ops: [ntfy: {url: 'https://ntfy.sh/hunter2'}]}",
        "receivers: {ops: [command: {environment: {API_TOKEN: hunter2}}]}",
        "receivers: {ops: [pagerduty: {routing_key: hunter2}]}",
        "targets: {base: 'https://shop:hunter2@example.com'}",
        "watchdog: {url: 'https://hc-ping.com/hunter2'}",
        "api: {tokens: {ci: hunter2}}",
    ],
)
def test_a_secret_that_stands_in_the_file_is_found_and_not_shown(written: Written, text: str) -> None:
    (found,) = find_inline(written(text))

    assert found.sentence == "a secret stands here for all to read: write ${secret:NAME} or ${file:PATH}"
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    "text",
    [
        "checks: {a: {http: {json: {password: '${secret:PASSWORD}'}}}}",
        "checks: {a: {http: {headers: {Authorization: 'Bearer ${file:token}'}}}}",
        "checks: {a: {http: {json: {password: '${secret:PASSWORD_${matrix.region}}'}}}}",
        "checks: {a: {http: {json: {password: ''}, cert_file: x, key_file: x}}}",
        "checks: {a: {http: {expect: {json: {$.token: {exists: true}}, headers: {token: x}}}}}",
        "checks: {a: {http: {url: 'https://x.example.com/?page=2'}}}",
        "checks: {a: {http: {url: x}, labels: {token: x}, limits: {token: {fail: 3}}}}",
        "receivers: {ops: [slack: {url: 'http://127.0.0.1:8499/services/T0/B0/key'}]}",
        "receivers: {ops: [webhook: {url: 'https://alerts.example.com/hook'}]}",
        "receivers: {ops: [alertmanager: {labels: {severity: page}}]}",
        "watchdog: {url: '${WATCHDOG_URL:-}'}",
        "targets: {base: 'https://shop.example.com'}",
        "checks: []",
        "receivers: {ops: {slack: 1}}",
    ],
)
def test_what_is_no_secret_or_is_kept_is_left_alone(written: Written, text: str) -> None:
    assert list(find_inline(written(text))) == []


def test_a_secret_in_a_plain_variable_is_told_how_to_keep_it(written: Written) -> None:
    (found,) = find_inline(written("receivers: {ops: [telegram: {token: '${BOT_TOKEN}'}]}"))

    assert str(found) == (
        "receivers.ops.0.telegram.token: comes from a plain variable, which nothing keeps out of messages: "
        "write ${secret:BOT_TOKEN}"
    )

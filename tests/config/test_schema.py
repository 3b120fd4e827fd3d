from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from jsonschema.exceptions import SchemaError

import heartbeat.config
from heartbeat.channels.registry import KINDS, load_kind
from heartbeat.config import ConfigError, load
from heartbeat.config.notify import _ELSEWHERE
from heartbeat.config.reading import Spot
from heartbeat.config.schema import configuration_schema
from heartbeat.plugins import discover, load_type

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config.example.yaml"
BAD = ROOT / "tests/configs"
TYPES = {name: load_type(source) for name, source in discover().sources.items()}
SCHEMA = configuration_schema(TYPES)
Objections = Callable[..., list[str]]


def resolved(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A schema, what it refers to, and its alternatives."""
    yield schema
    if "$ref" in schema:
        yield from resolved(SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")])
    for one in schema.get("anyOf", ()):
        yield from resolved(one)


def below(schema: Mapping[str, Any], step: str) -> Iterator[Mapping[str, Any]]:
    for one in resolved(schema):
        if step.isdecimal() and "items" in one:
            yield one["items"]
        elif step in one.get("properties", {}):
            yield one["properties"][step]
        elif isinstance(one.get("additionalProperties"), dict):
            yield one["additionalProperties"]


def at(path: str) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = [SCHEMA]
    for step in path.split(".") if path else ():
        found = [child for one in found for child in below(one, step)]
    return [one for each in found for one in resolved(each)]


def keys_at(path: str) -> set[str]:
    return {key for one in at(path) for key in one.get("properties", {})}


def test_it_is_a_json_schema() -> None:
    try:
        Draft7Validator.check_schema(SCHEMA)
    except SchemaError as error:
        pytest.fail(str(error))
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


def test_all_that_it_refers_to_is_there_and_all_that_is_there_is_used() -> None:
    named = set(re.findall(r'"#/\$defs/([^"]+)"', json.dumps(SCHEMA)))
    assert named == set(SCHEMA["$defs"])


def test_the_example_fits(schema_objections: Objections) -> None:
    assert schema_objections(EXAMPLE) == []


def can_be_known(file: Path) -> bool:
    """Whether an editor can know that this is wrong; which measures a type has it cannot."""
    first = file.read_text().partition("\n")[0]
    words = "unknown key|unknown kind|unknown check type|must be one of|needs a unit|has 2 types"
    return re.search(words, first) is not None and not file.stem.startswith("limit-")


@pytest.mark.parametrize("file", [*filter(can_be_known, sorted(BAD.glob("*.yaml")))], ids=lambda file: file.stem)
def test_what_an_editor_can_know_to_be_wrong_is_refused(file: Path, schema_objections: Objections) -> None:
    assert schema_objections(file, BAD / "checks.d"), file.read_text()


# One source of truth


def keys_of_readers(monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, set[str]]:
    """Load configurations that have everything in them, and note by path the keys that the readers know."""
    known: dict[str, set[str]] = defaultdict(set)

    def noting(real: Callable[..., Any]) -> Callable[..., Any]:
        def fields(spot: Spot, readers: Mapping[str, Any], *rest: Any, **more: Any) -> Any:
            known[spot.path] |= set(readers)
            return real(spot, readers, *rest, **more)

        return fields

    for one in pkgutil.iter_modules(heartbeat.config.__path__, "heartbeat.config."):
        module = importlib.import_module(one.name)
        if hasattr(module, "fields"):
            monkeypatch.setattr(module, "fields", noting(module.fields))
    path = folder / "everything.yaml"
    path.write_text(EVERYTHING)
    load([path], {})
    return known


EVERYTHING = """
receivers: {ops: [command: {command: [/bin/true]}]}
self_notify: [ops]
web: {listen: "127.0.0.1:0"}
api: {}
log: {}
history: {}
metrics: {}
storm: {}
mark_traffic: true
accounts: {shopper: {user: x, next: {}}}
watchdog: {url: ""}
drill: {receiver: ops, cron: 0 9 * * 1}
maintenance: {move: {checks: [shop], reason: x, cron: 0 1 * * *, duration: 1h}}
flags: {provider: "json:loads"}
defaults:
  enabled: {env: X}
  policy: {flapping: {}, warn: {}, fail: {}}
  broken: {}
  notify: {}
  escalate: {after: 5m, to: [ops]}
checks:
  shop:
    tcp: {host: shop.example.com, port: 443}
    enabled: {file: /run/x}
    notify: {}
    escalate: {}
    policy: {flapping: {}, warn: {}, fail: {}}
    broken: {}
    objective: {availability: 99%}
    limits:
      duration: {fail: {above: 1s, clear: {above: 500ms}}, warn: 900ms, clear: {above: 400ms}}
"""


def test_the_readers_and_the_schema_know_the_same_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = keys_of_readers(monkeypatch, tmp_path)
    assert len(known) > 25
    for path, keys in known.items():
        words = keys - set(map(str, _ELSEWHERE)) if path.endswith("notify") else keys
        assert keys_at(path) == words, path


def test_every_mapping_of_the_schema_has_a_reader_that_was_compared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = keys_of_readers(monkeypatch, tmp_path)

    def mappings(schema: Mapping[str, Any], path: str) -> Iterator[str]:
        for one in resolved(schema):
            if "properties" in one and one.get("additionalProperties") is False:
                yield path
            for key, child in one.get("properties", {}).items():
                if key not in TYPES and not (key in KINDS and ".ops." in path):
                    yield from mappings(child, f"{path}.{key}".strip("."))
            if isinstance(one.get("additionalProperties"), dict):
                name = {"maintenance": "move", "checks": "shop", "receivers": "ops", "limits": "duration"}
                name["accounts"] = "shopper"
                if (last := path.rpartition(".")[2]) in name:
                    yield from mappings(one["additionalProperties"], f"{path}.{name[last]}")
            if isinstance(one.get("items"), dict) and path.startswith("receivers"):
                yield from mappings(one["items"], f"{path}.0")

    # a check, a way out and a level that has its own `clear` are read without `fields`, or only where they are given
    elsewhere = {"checks.shop", "receivers.ops.0"}
    assert {
        path for path in mappings(SCHEMA, "") if not re.search("warn$|clear$|fail.clear$", path)
    } - elsewhere <= set(known)


def test_the_keys_of_a_check_are_those_of_its_readers_and_the_types() -> None:
    from heartbeat.config.checks import _READERS
    from heartbeat.plugins.source import CHECK_KEYS

    assert keys_at("checks.shop") == {*_READERS, *TYPES}
    assert set(_READERS) <= CHECK_KEYS


@pytest.mark.parametrize("name", [*TYPES, *KINDS])
def test_the_options_of_a_model_are_those_of_the_schema(name: str) -> None:
    model = TYPES[name] if name in TYPES else load_kind(name)
    where = f"checks.shop.{name}" if name in TYPES else f"receivers.ops.0.{name}"
    assert keys_at(where) == {field.alias or key for key, field in model.model_fields.items()}


def test_every_key_is_described() -> None:
    def undescribed(node: Any, path: str) -> Iterator[str]:
        if isinstance(node, dict):
            for key, one in node.get("properties", {}).items():
                if not one.get("description"):
                    yield f"{path}/{key}"
            for key, one in node.items():
                yield from undescribed(one, f"{path}/{key}")
        elif isinstance(node, list):
            for index, one in enumerate(node):
                yield from undescribed(one, f"{path}/{index}")

    assert list(undescribed(SCHEMA, "")) == []


def test_defaults_are_values_that_the_schema_takes() -> None:
    def told(node: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
        if isinstance(node, dict):
            if "default" in node and node.keys() & {"type", "anyOf", "enum", "$ref"}:
                yield path, node, node["default"]
            for key, one in node.items():
                yield from told(one, f"{path}/{key}")

    for path, schema, default in told(SCHEMA, ""):
        if path.endswith(("/status", "/expect")):  # the models keep ranges of statuses
            continue
        whole = {**schema, "$defs": SCHEMA["$defs"]}
        assert list(Draft7Validator(whole).iter_errors(default)) == [], path


def test_a_reference_stands_for_every_value_that_is_no_text(tmp_path: Path, schema_objections: Objections) -> None:
    text = (
        "concurrency: ${RUNS}\nlog: {level: '${LEVEL}', format: json}\ngrace: ${GRACE:-5s}\n"
        "checks: {shop: {every: '${EVERY}', tcp: {host: '${HOST}', port: '${secret:PORT}'},"
        " limits: {duration: {fail: '${LIMIT}'}}, policy: {raise: '${RAISE}', flapping: '${FLAPPING}'}}}\n"
    )
    (tmp_path / "config.yaml").write_text(text)
    assert schema_objections(tmp_path / "config.yaml") == []


# Own plugins

PLUGIN = '''
from pydantic import Field, SecretStr

from heartbeat import Check, Probe


class Queue(Check):
    """Send a message and receive it back."""

    url: str = Field(description="where the queue is")
    token: SecretStr = SecretStr("")
    """The account, where one is needed."""
    bytes_: int = Field(7, alias="bytes", ge=1)

    async def run(self, probe: Probe) -> None:
        """Do nothing."""
'''


@pytest.mark.parametrize(
    ("options", "is_right"),
    [
        ("{url: x}", True),
        ("{url: x, bytes: 8, token: '${secret:T}'}", True),
        ("{url: x, bytes: '${BYTES}'}", True),
        ("{url: x, bytes: 0}", False),
        ("{bytes: 8}", False),
        ("{url: x, size: 8}", False),
        ("[x]", False),
    ],
)
def test_options_of_an_own_type_are_known(
    tmp_path: Path, options: str, *, is_right: bool, schema_objections: Objections
) -> None:
    (tmp_path / "checks.d").mkdir()
    (tmp_path / "checks.d/queue.py").write_text(PLUGIN)
    (tmp_path / "config.yaml").write_text(f"checks: {{a: {{queue: {options}}}}}\n")
    assert (schema_objections(tmp_path / "config.yaml", tmp_path / "checks.d") == []) == is_right


def test_what_is_said_below_a_field_describes_it() -> None:
    channel = SCHEMA["$defs"]["channel.email"]["properties"]
    assert channel["server"]["description"].startswith("The mail server: `smtp://host:port`")
    assert channel["group_wait"]["default"] == "10s"
    assert channel["from"]["description"] == "The address that the mails come from."


def test_a_type_that_does_not_load_takes_anything() -> None:
    schema = configuration_schema({**TYPES, "queue": None})
    assert Draft7Validator(schema).is_valid({"checks": {"a": {"queue": {"anything": 1}}}})


def test_a_type_without_options_needs_none() -> None:
    class Idle(heartbeat.Check):
        """Do nothing."""

        async def run(self, probe: Any) -> None:
            """Do nothing."""

    schema = configuration_schema({"idle": Idle})
    assert Draft7Validator(schema).is_valid({"checks": {"a": {"idle": None}}})


def test_all_it_takes_of_the_example_the_loader_takes_too() -> None:
    # so that the two agree on the example in both directions, with any one key misspelt
    whole = yaml.safe_load(EXAMPLE.read_text())
    validator = Draft7Validator(SCHEMA)
    for key in whole:
        wrong = {**{other: value for other, value in whole.items() if other != key}, f"{key}x": whole[key]}
        assert not validator.is_valid(wrong), key


def test_a_wrong_configuration_is_wrong_for_both(tmp_path: Path, schema_objections: Objections) -> None:
    (tmp_path / "config.yaml").write_text("checks: {a: {every: 5, tcp: {host: x, port: 1}}}\n")
    with pytest.raises(ConfigError):
        load([tmp_path / "config.yaml"], {})
    assert len(schema_objections(tmp_path / "config.yaml")) == 1


def documented() -> Iterator[tuple[str, dict[str, str], str]]:
    """Every configuration in the documents, with the plugins of its document."""
    for document in ("README.md", "checks/README.md"):
        text = (ROOT / document).read_text()
        files = dict(re.findall(r"^<!-- file: (\S+) -->\n```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
        for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            yield document, files, block


@pytest.mark.parametrize(("document", "files", "text"), list(documented()))
def test_the_configurations_of_the_documents_fit(
    tmp_path: Path, document: str, files: dict[str, str], text: str, schema_objections: Objections
) -> None:
    (tmp_path / "checks.d").mkdir()
    for name, source in files.items():
        (tmp_path / "checks.d" / name).write_text(source)
    (tmp_path / "config.yaml").write_text(text)
    assert schema_objections(tmp_path / "config.yaml", tmp_path / "checks.d") == []

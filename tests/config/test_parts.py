from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from heartbeat.config import Config, ConfigError, load, load_in_child
from heartbeat.config.reader import read
from heartbeat.config.schema import configuration_schema
from heartbeat.filled import Filled
from heartbeat.plugins import discover, load_type
from heartbeat.references import Late, references
from heartbeat.steps import Part

SEVERAL = '''
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from heartbeat import Check, Part, Probe, configured_path


def _read(path: str) -> str:
    return configured_path(path).read_text()


class Step(BaseModel):
    """One of several."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field("", description="what it is called")
    check: Part = Field(description="what to run", json_schema_extra={"x-heartbeat-beside": True})

    @model_validator(mode="before")
    @classmethod
    def _move(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        own = {key: one for key, one in value.items() if key == "name"}
        return {**own, "check": {key: one for key, one in value.items() if key != "name"}}


class Several(Check):
    """Run several checks."""

    fills: ClassVar[frozenset[str]] = frozenset({"steps", "accounts", "run"})
    steps: tuple[Step, ...] = Field((), description="what to run")
    first: Part | None = Field(None, description="what to run first")
    text: Annotated[str, AfterValidator(_read)] = Field("", description="a file with a text in it")
    plain: str = Field("", description="a text")

    async def run(self, probe: Probe) -> None:
        """Do nothing."""
'''
WRAP = '''
from heartbeat import Check, Part, Probe


class Wrap(Check):
    """Run another check, and know nothing of references."""

    check: Part

    async def run(self, probe: Probe) -> None:
        """Do nothing."""
'''
SHOP = '''
from heartbeat import Check, Probe
from pydantic import field_validator, Field


class Shop(Check):
    """Buy something."""

    url: str = ""
    port: int = Field(443, ge=1)

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: str) -> str:
        if url and not url.startswith("http"):
            raise ValueError("a URL begins with http")
        return url

    async def run(self, probe: Probe) -> None:
        """Do nothing."""
'''
BROKEN = "import no_such_library_anywhere\n"

Load = Callable[..., Config]
Complaints = Callable[..., list[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with plugins in ``checks.d``: checks that run others, and one that does not import."""
    plugins = tmp_path / "checks.d"
    plugins.mkdir()
    for name, text in {"several": SEVERAL, "wrap": WRAP, "shop": SHOP}.items():
        (plugins / f"{name}.py").write_text(text)
    return tmp_path


@pytest.fixture
def load_text(folder: Path) -> Load:
    def load_it(text: str, **environ: str) -> Config:
        (folder / "config.yaml").write_text(f"plugins: [./checks.d]\n{text}")
        return load([folder / "config.yaml"], environ)

    return load_it


@pytest.fixture
def placed(load_text: Load, folder: Path) -> Complaints:
    """Loads a text that is wrong and returns what is said, with line and column; the text begins in line 2."""

    def complain(text: str, **environ: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load_text(text, **environ)
        return [str(one).removeprefix(f"{folder / 'config.yaml'}:") for one in caught.value.problems]

    return complain


def model_of(config: Config) -> Any:
    return config.checks["a"].check


# Parts


def test_a_check_within_is_of_any_type(load_text: Load) -> None:
    found = model_of(load_text("checks: {a: {several: {steps: [{shop: {port: 7}}, {tcp: {host: x, port: 1}}]}}}\n"))
    assert [step.check.kind for step in found.steps] == ["shop", "tcp"]
    assert found.steps[0].check.ready.port == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "checks:\n  a:\n    several:\n      steps:\n        - name: x\n          shop:\n            port: 0\n",
            "8:19 checks.a.several.steps.0.shop.port: must be greater than or equal to 1",
        ),
        (
            "checks:\n  a:\n    several:\n      steps:\n        - shop: {prt: 1}\n",
            '6:18 checks.a.several.steps.0.shop: unknown key "prt"; did you mean "port"?',
        ),
        (
            "checks:\n  a:\n    several:\n      steps:\n        - shp: {port: 1}\n",
            '6:11 checks.a.several.steps.0: unknown check type "shp"; did you mean "shop"?',
        ),
        (
            "checks:\n  a:\n    several:\n      first: {http: {url: x, expect: {status: {}}}}\n",
            "5:27 checks.a.several.first.http.url: a URL begins with http:// or https://",
        ),
        (
            "checks:\n  a:\n    several:\n      first: {tcp: {host: x}}\n",
            '5:20 checks.a.several.first.tcp: needs "port"',
        ),
        (
            "checks:\n  a:\n    several:\n      first: {tcp: 5}\n",
            "5:15 checks.a.several.first: tcp must be a mapping of options",
        ),
    ],
)
def test_what_is_wrong_within_is_said_at_its_place(placed: Complaints, text: str, said: str) -> None:
    assert said in placed(text)


def test_all_that_is_wrong_within_is_said_at_once(placed: Complaints) -> None:
    text = "checks: {a: {several: {steps: [{shop: {port: 0, url: x}}, {shop: {prot: 1}}]}}}\n"
    assert [one.partition(" ")[2].partition(":")[0] for one in placed(text)] == [
        "checks.a.several.steps.0.shop.port",
        "checks.a.several.steps.0.shop.url",
        "checks.a.several.steps.1.shop",
    ]


def test_a_type_within_that_does_not_import_says_why(placed: Complaints, folder: Path) -> None:
    (folder / "checks.d" / "torn.py").write_text(BROKEN)
    said = placed("checks: {a: {several: {first: {torn: {}}}}}\n")
    needs = 'the check type "torn" needs the library no_such_library_anywhere, which is not installed'
    assert [one for one in said if one.startswith(f"2:32 checks.a.several.first: {needs}")], said


# What the fingerprint follows from


def test_a_changed_type_within_changes_every_check_that_uses_it(load_text: Load, folder: Path) -> None:
    text = "checks: {a: {several: {steps: [{shop: {}}]}}, b: {several: {first: {tcp: {host: x, port: 1}}}}}\n"
    before = load_text(text).checks
    with (folder / "checks.d" / "shop.py").open("a") as file:
        file.write("\n# changed\n")
    after = load_text(text).checks
    assert after["a"].fingerprint != before["a"].fingerprint
    assert after["b"].fingerprint == before["b"].fingerprint


def test_a_changed_file_changes_the_check_that_names_it_and_is_watched(load_text: Load, folder: Path) -> None:
    (folder / "text.txt").write_text("one")
    text = "checks: {a: {several: {text: ./text.txt}}, b: {several: {}}}\n"
    before = load_text(text)
    assert model_of(before).text == "one"
    assert folder / "text.txt" in before.files
    (folder / "text.txt").write_text("two")
    after = load_text(text)
    assert model_of(after).text == "two"
    assert after.checks["a"].fingerprint != before.checks["a"].fingerprint
    assert after.checks["b"].fingerprint == before.checks["b"].fingerprint


def test_a_file_that_is_missing_is_watched_too(load_text: Load, folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text("checks: {a: {several: {text: ./text.txt}}}\n")
    assert folder / "text.txt" in caught.value.files


def test_a_path_is_relative_to_the_file_that_its_check_stands_in(folder: Path) -> None:
    (folder / "conf" / "more").mkdir(parents=True)
    (folder / "conf" / "more" / "text.txt").write_text("more")
    (folder / "conf" / "one.yaml").write_text("plugins: [../checks.d]\nchecks: {b: {shop: {}}}\n")
    (folder / "conf" / "more" / "two.yaml").write_text("checks: {a: {several: {text: text.txt}}}\n")
    config = load([folder / "conf" / "one.yaml", folder / "conf" / "more" / "two.yaml"], {})
    assert model_of(config).text == "more"


def test_a_reference_and_the_text_that_looks_like_it_are_not_the_same(load_text: Load) -> None:
    one, other = (
        load_text(f'checks: {{a: {{several: {{steps: [{{shop: {{url: "http{text}"}}}}]}}}}}}\n').checks["a"].fingerprint
        for text in ("${run.id}", "$${run.id}")
    )
    assert one != other


async def test_what_a_child_reads_is_what_this_process_reads(folder: Path) -> None:
    (folder / "text.txt").write_text("one")
    (folder / "config.yaml").write_text(
        "plugins: [./checks.d]\n"
        "accounts: {shopper: {password: swordfish, next: {password: marlinfish}}}\n"
        "mark_traffic: false\n"
        "checks:\n"
        "  a:\n"
        "    several: {text: text.txt, steps: [{shop: {url: 'http://${steps.x.y|quote}$${run.id}'}}]}\n"
        "  b: {shop: {url: 'http://x/${accounts.shopper.password}'}}\n"
    )
    here = load([folder / "config.yaml"], {})
    there = await load_in_child([folder / "config.yaml"])
    assert {name: (one.check, one.fingerprint) for name, one in here.checks.items()} == {
        name: (one.check, one.fingerprint) for name, one in there.checks.items()
    }
    assert set(here.files) == set(there.files)
    assert (here.accounts, here.mark_traffic) == (there.accounts, there.mark_traffic)
    again = await load_in_child([folder / "config.yaml"], there)
    assert all(again.checks[name] is one for name, one in there.checks.items())
    (folder / "text.txt").write_text("two")
    assert model_of(await load_in_child([folder / "config.yaml"], there)).text == "two"


# References


def late_of(text: str, load_text: Load, **environ: str) -> Any:
    config = load_text(f"checks: {{a: {{several: {{steps: [{{shop: {{url: {json.dumps(text)}}}}}]}}}}}}\n", **environ)
    return model_of(config).steps[0].check.options["url"]


def test_references_are_left_for_the_run_and_the_rest_of_the_text_is_expanded(load_text: Load) -> None:
    text = "http://${HOST}/${steps.a.b}/${secret:KEY}/$${steps.c.d}/${run.id|quote}"
    late = late_of(text, load_text, HOST="shop", KEY="${steps.no.reference}")
    assert str(late) == "http://shop/${steps.a.b}/${steps.no.reference}/${steps.c.d}/${run.id|quote}"
    assert [str(one) for one in references(late)] == ["${steps.a.b}", "${run.id|quote}"]


def test_they_survive_matrices_targets_and_the_way_out_of_the_child(load_text: Load, folder: Path) -> None:
    load_text(
        "targets: {shop: http://shop}\n"
        "checks:\n  a:\n    matrix: {region: [eu, us]}\n"
        "    several: {steps: [{shop: {url: '${target.shop}/${matrix.region}/${steps.${matrix.region}.id}'}}]}\n"
    )
    plan = read([folder / "config.yaml"], {})
    found = [pickle.loads(pickle.dumps(draft.options))["steps"][0]["shop"]["url"] for draft in plan.checks]
    assert all(isinstance(one, Late) for one in found)
    assert [one.parts for one in found] == [
        (f"http://shop/{region}/", next(references(one))) for region, one in zip(("eu", "us"), found, strict=True)
    ]
    assert [str(next(references(one))) for one in found] == ["${steps.eu.id}", "${steps.us.id}"]


def test_they_survive_files_that_are_laid_over(load_text: Load, folder: Path) -> None:
    load_text("checks: {a: {several: {steps: [{shop: {url: 'http${steps.a.b}'}}]}}}\n")
    (folder / "over.yaml").write_text("checks: {a: {every: 5m}}\n")
    config = load([folder / "config.yaml"], {}, over=[folder / "over.yaml"])
    assert isinstance(model_of(config).steps[0].check.options["url"], Late)


def test_what_is_only_known_later_is_not_checked_now(load_text: Load) -> None:
    part = model_of(load_text("checks: {a: {several: {first: {shop: {url: '${steps.a.where}'}}}}}\n")).first
    assert isinstance(part, Part)
    assert part.ready is None
    assert vars(part.build(lambda _: "http://shop"))["url"] == "http://shop"


def test_what_is_known_beside_it_is(placed: Complaints) -> None:
    text = "checks: {a: {several: {first: {shop: {url: '${steps.a.where}', port: 0}}}}}\n"
    assert placed(text) == ["2:70 checks.a.several.first.shop.port: must be greater than or equal to 1"]


def test_a_type_that_takes_a_reference_for_text_is_no_place_for_it(placed: Complaints) -> None:
    sentence = "nothing is filled in here: ${...} like this stands in the options of a check within"
    assert placed("checks: {a: {several: {plain: '${steps.a.b}'}}}\n") == [f"2:31 checks.a.several.plain: {sentence}"]


def test_only_who_knows_steps_may_be_asked_for_them(placed: Complaints) -> None:
    text = "checks: {a: {wrap: {check: {shop: {url: 'http${steps.a.b}'}}}}}\n"
    assert placed(text) == ["2:41 checks.a.wrap.check.shop.url: only a type that runs steps knows ${steps.a.b}"]


def test_accounts_are_filled_in_for_types_that_do_not_know_them(load_text: Load) -> None:
    found = load_text(
        "accounts: {shopper: {user: synthetic, token: swordfish}}\n"
        "checks: {a: {wrap: {check: {shop: {url: 'http${accounts.shopper.token}', port: 7}}}}}\n"
    ).checks["a"]
    assert isinstance(found.check, Filled)
    assert found.type == "wrap"
    assert found.check.check.kind == "wrap"


def test_what_is_wrong_beside_an_account_is_said(placed: Complaints) -> None:
    text = (
        "accounts: {shopper: {token: swordfish}}\n"
        "checks: {a: {wrap: {check: {shop: {url: '${accounts.shopper.token}', port: 0}}}}}\n"
    )
    assert placed(text) == ["3:76 checks.a.wrap.check.shop.port: must be greater than or equal to 1"]


REPORTED = '''
from heartbeat import Reply, Reported


class Told(Reported):
    """Wait."""

    token: str

    def routes(self):
        return [f"/ping/{self.token}"]

    def take(self, report, kept, now):
        return Reply()

    def due(self, kept, expected, now):
        return now

    async def run(self, probe):
        """Do nothing."""
'''


def test_what_is_reported_to_is_never_filled_in(placed: Complaints, folder: Path) -> None:
    (folder / "checks.d" / "told.py").write_text(REPORTED)
    text = "accounts: {a: {token: swordfish}}\nchecks: {a: {told: {token: '${accounts.a.token}'}}}\n"
    (said,) = placed(text)
    assert said.startswith("3:28 checks.a.told.token: ${accounts.a.token} cannot stand here")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("location: '${run.id}'\nchecks: {a: {shop: {}}}\n", "location"),
        ("targets: {x: '${accounts.a.b}'}\nchecks: {a: {shop: {}}}\n", "targets.x"),
        ("checks: {a: {shop: {}, limits: {duration: {fail: '${steps.a.b}'}}}}\n", "checks.a.limits.duration.fail"),
        ("checks: {a: {shop: {}, every: '${steps.a.b}'}}\n", "checks.a.every"),
        ("checks: {a: {shop: {}, runbook: 'https://x/${run.id}'}}\n", "checks.a.runbook"),
        ("defaults: {labels: {x: '${run.id}'}}\nchecks: {a: {shop: {}}}\n", "defaults.labels.x"),
        ("accounts: {x: {token: '${accounts.y.token}'}}\nchecks: {a: {shop: {}}}\n", "accounts.x.token"),
    ],
)
def test_references_stand_in_options_of_checks_alone(placed: Complaints, text: str, path: str) -> None:
    (said,) = placed(text)
    assert said.partition(" ")[2].startswith(f"{path}: ${{")
    assert "is known only while a check runs" in said


def test_what_takes_the_place_of_a_target_is_no_reference(folder: Path) -> None:
    (folder / "config.yaml").write_text("plugins: [./checks.d]\ntargets: {x: a}\nchecks: {a: {shop: {}}}\n")
    with pytest.raises(ConfigError, match="known only while a check runs"):
        load([folder / "config.yaml"], {}, targets={"x": "${run.id}"})


# Editors


def test_editors_know_the_options_of_every_type_within(folder: Path) -> None:
    kinds: Mapping[str, Any] = {name: load_type(one) for name, one in discover([folder / "checks.d"]).sources.items()}
    validator = Draft7Validator(configuration_schema(kinds))

    def fits(options: object) -> bool:
        return validator.is_valid({"checks": {"a": {"several": options}}})

    assert fits({"steps": [{"name": "x", "shop": {"port": 7}}, {"tcp": {"host": "x", "port": 1}}]})
    assert fits({"steps": [{"shop": {"port": "${steps.a.port}"}}], "first": {"several": {"steps": []}}})
    assert not fits({"steps": [{"name": "x"}]})
    assert not fits({"steps": [{"shop": {}, "tcp": {"host": "x", "port": 1}}]})
    assert not fits({"steps": [{"shop": {"prt": 7}}]})
    assert not fits({"steps": [{"check": {"shop": {}}}]})
    assert not fits({"first": {"shop": {"port": 0}}})
    assert not fits({"first": {}})

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from heartbeat.config import Config, ConfigError, load
from heartbeat.config.document import to_python
from heartbeat.config.reader import read_as_written
from heartbeat.config.schema import configuration_schema
from heartbeat.plugins import Source, discover, load_type

PLUGIN = '''
from heartbeat import Check, Probe


class Shop(Check):
    """Buy something."""

    url: str = ""
    port: int = 443
    token: str = ""

    async def run(self, probe: Probe) -> None:
        """Do nothing."""
'''

Load = Callable[..., Config]


VALIDATORS: dict[frozenset[tuple[str, str]], Draft7Validator] = {}


def schema_with(sources: Mapping[str, Source]) -> Draft7Validator:
    """One for all tests that have the same plugins, wherever they stand."""
    key = frozenset((one.name, one.digest) for one in sources.values())
    if key not in VALIDATORS:
        VALIDATORS[key] = Draft7Validator(configuration_schema({name: load_type(one) for name, one in sources.items()}))
    return VALIDATORS[key]


def objections(path: Path, *plugins: Path) -> list[str]:
    """What the JSON Schema says of a file, its references as they are written."""
    validator = schema_with(discover(plugins).sources)
    tree = to_python(read_as_written([path]))
    return [f"{'.'.join(map(str, one.absolute_path))}: {one.message}" for one in validator.iter_errors(tree)]


@pytest.fixture
def schema_objections() -> Callable[..., list[str]]:
    return objections


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one plugin, ``shop``, in ``checks.d``."""
    (tmp_path / "checks.d").mkdir()
    (tmp_path / "checks.d" / "shop.py").write_text(PLUGIN)
    return tmp_path


@pytest.fixture
def load_text(folder: Path) -> Load:
    """Loads a text as ``config.yaml`` beside the plugin; ``${NAME}`` comes from the keyword arguments."""

    def load_it(text: str, **environ: str) -> Config:
        (folder / "config.yaml").write_text(f"plugins: [./checks.d]\n{text}")
        config = load([folder / "config.yaml"], environ)
        assert objections(folder / "config.yaml", *config.plugins) == []  # editors must not object to what is right
        return config

    return load_it


@pytest.fixture
def complaints(load_text: Load) -> Callable[..., list[str]]:
    """Loads a text that is wrong and returns what is said, each without its file and place."""

    def complain(text: str, **environ: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load_text(text, **environ)
        return [f"{one.path}: {one.message}" for one in caught.value.problems]

    return complain

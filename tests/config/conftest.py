from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from heartbeat.config import Config, ConfigError, load

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
        return load([folder / "config.yaml"], environ)

    return load_it


@pytest.fixture
def complaints(load_text: Load) -> Callable[..., list[str]]:
    """Loads a text that is wrong and returns what is said, each without its file and place."""

    def complain(text: str, **environ: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load_text(text, **environ)
        return [f"{one.path}: {one.message}" for one in caught.value.problems]

    return complain

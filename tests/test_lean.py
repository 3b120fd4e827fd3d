from __future__ import annotations

import subprocess
import sys

import pytest

from heartbeat.lean import hidden


def test_a_hidden_module_is_not_found_and_is_there_afterwards() -> None:
    sys.modules.pop("colorsys", None)
    with hidden("colorsys"), pytest.raises(ImportError):
        import colorsys
    import colorsys

    assert sys.modules["colorsys"] is colorsys


def test_what_is_imported_already_stays() -> None:
    import json

    with hidden("json"):
        import json as again

        assert again is json
    assert sys.modules["json"] is json


def test_httpx_comes_without_its_command_line() -> None:
    code = (
        "from heartbeat.http import client; import sys; print(sorted({'rich', 'pygments', 'click'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"

from __future__ import annotations

from pathlib import Path

import pytest

from heartbeat.config import ConfigError, load

FOLDER = Path(__file__).parents[1] / "configs"
ENVIRON = {"EMPTY": "", "SHORT": "abc", "BLANK": "swordfish with a blank"}


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_bad_configuration_is_refused_with_one_sentence_at_its_place(file: Path) -> None:
    expected = file.read_text().partition("\n")[0].removeprefix("# ")

    with pytest.raises(ConfigError) as caught:
        load([file], ENVIRON)

    place = expected.format(here=FOLDER, file=file) if "{here}" in expected or "{file}" in expected else expected
    assert str(caught.value) == f"{file}:{place}"

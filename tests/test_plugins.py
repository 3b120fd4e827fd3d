from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import ModuleType

import pytest

from heartbeat.check import Check
from heartbeat.plugins import PluginError, Source, discover, load_type, loading, source

CHECK = "from heartbeat import Check\n\n\nclass {}(Check):\n    url: str = ''\n\n    async def run(self, probe): ...\n"


@pytest.fixture(autouse=True)
def _no_modules_left() -> Iterator[None]:
    before = _loaded()
    yield
    for name in _loaded().keys() - before.keys():
        del sys.modules[name]
    sys.modules.update(before)  # a package may have been replaced from which more is imported later


def _loaded() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.startswith("heartbeat_checks")}


def write(folder: Path, name: str, text: str = CHECK) -> Path:
    (folder / name).write_text(text.format("Thing") if text is CHECK else text)
    return folder / name


def found(folder: Path, name: str) -> Source:
    return discover([folder]).sources[name]


def refusal(folder: Path, name: str) -> PluginError:
    with pytest.raises(PluginError) as caught:
        load_type(found(folder, name))
    return caught.value


def test_the_bundled_types_are_found_without_importing_them() -> None:
    sources = discover().sources

    assert sources["http"].bundled
    assert sources["http"].path == source.bundled_folder() / "http.py"


def test_every_file_of_a_folder_is_a_type_but_helpers_and_notes(tmp_path: Path) -> None:
    for name in ("queue.py", "_helper.py", "README.md", ".hidden.py", "ldap.py"):
        write(tmp_path, name)

    assert sorted(set(discover([tmp_path]).sources) - set(discover().sources)) == ["ldap", "queue"]


def test_a_type_is_the_check_of_its_file(tmp_path: Path) -> None:
    write(tmp_path, "queue.py", CHECK.format("_Base") + CHECK.format("Queue").replace("(Check)", "(_Base)"))

    kind = load_type(found(tmp_path, "queue"))

    assert issubclass(kind, Check)
    assert kind.__name__ == "Queue"
    assert kind.__module__.startswith("heartbeat_checks.")
    assert str(tmp_path) not in sys.path


def test_the_same_source_is_loaded_once_and_a_changed_one_anew(tmp_path: Path) -> None:
    file = write(tmp_path, "queue.py")
    first = load_type(found(tmp_path, "queue"))
    assert load_type(found(tmp_path, "queue")) is first

    file.write_text(file.read_text() + "# changed\n")

    assert load_type(found(tmp_path, "queue")) is not first


def test_a_file_that_changes_between_finding_and_loading_is_not_loaded(tmp_path: Path) -> None:
    file = write(tmp_path, "queue.py")
    before = found(tmp_path, "queue")
    file.write_text("1 / 0\n")

    with pytest.raises(PluginError, match="changed while it was being read"):
        load_type(before)


def test_a_helper_is_imported_from_beside_and_anew_when_it_changes(tmp_path: Path) -> None:
    write(tmp_path, "_helper.py", "WORD = 'one'\n")
    write(tmp_path, "queue.py", CHECK.format("Queue").replace("url: str = ''", "url: str = WORD") + "")
    file = tmp_path / "queue.py"
    file.write_text("from ._helper import WORD\n" + file.read_text())
    first = load_type(found(tmp_path, "queue"))()

    write(tmp_path, "_helper.py", "WORD = 'another'\n")
    second = load_type(found(tmp_path, "queue"))()

    assert (first.model_dump(), second.model_dump()) == ({"url": "one"}, {"url": "another"})


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("import json\n1 / 0\n", 2, "ZeroDivisionError: division by zero"),
        ("def f(:\n", 1, "SyntaxError"),
        ("\n\nraise SystemExit(3)\n", 3, "SystemExit: 3"),
        ("import no_such_library_here\n", 1, "needs the library no_such_library_here, which is not installed"),
        ("def f():\n    raise ValueError('two\\nlines')\nf()\n", 2, "ValueError: two lines"),
        (CHECK.format("Queue").replace("str = ''", "Undefined"), 5, "Undefined"),
        ("X = 1\n", 0, "holds no class that derives from heartbeat.Check"),
        ("from heartbeat import Check\n", 0, "holds no class"),
        (CHECK.format("One") + CHECK.format("Two"), 0, "holds 2 checks, One and Two"),
        ("from heartbeat import Check\nclass Queue(Check):\n    url: str\n", 0, "has no method run"),
    ],
)
def test_what_is_no_plugin_is_refused_with_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    write(tmp_path, "queue.py", text)

    error = refusal(tmp_path, "queue")

    assert said in error.sentence
    assert (error.file, error.line) == (tmp_path / "queue.py", line)


def test_an_annotation_that_stays_undefined_is_found_when_loading(tmp_path: Path) -> None:
    text = "from __future__ import annotations\n" + CHECK.format("Queue").replace("url: str = ''", "url: Undefined")
    write(tmp_path, "queue.py", text)

    assert "Undefined" in refusal(tmp_path, "queue").sentence


def test_a_plugin_that_fails_leaves_no_module_and_the_old_one_in_place(tmp_path: Path) -> None:
    file = write(tmp_path, "queue.py")
    kind = load_type(found(tmp_path, "queue"))
    file.write_text("1 / 0\n")
    refusal(tmp_path, "queue")
    assert vars(sys.modules[kind.__module__])["Thing"] is kind

    write(tmp_path, "other.py", "1 / 0\n")
    refusal(tmp_path, "other")
    assert not [name for name in sys.modules if name.startswith("heartbeat_checks") and name.endswith(".other")]


def test_a_missing_library_of_a_bundled_check_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "bundled_folder", lambda: tmp_path)
    write(tmp_path, "dns.py", "import no_such_library_here.resolver\n")

    error = refusal(tmp_path, "dns")

    assert error.missing == "no_such_library_here"
    assert error.sentence.endswith("pip install 'heartbeat[dns]'")


def test_two_types_of_one_name_are_told_with_both_places(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "queue.py")
    write(tmp_path / "two", "http.py")

    sentences = [one.sentence for one in discover([tmp_path / "one", tmp_path / "two"]).faults]

    assert sentences == [
        f'there are two check types "http": the bundled http and {tmp_path}/two/http.py; rename one',
        f'there are two check types "queue": {tmp_path}/one/queue.py and {tmp_path}/two/queue.py; rename one',
    ]


def test_a_folder_named_twice_is_one_folder(tmp_path: Path) -> None:
    write(tmp_path, "queue.py")

    assert discover([tmp_path, tmp_path / "."]).faults == ()


@pytest.mark.parametrize(
    ("name", "said"), [("limits.py", "a key of every check"), ("Queue-2.py", "no name for a check type")]
)
def test_a_file_whose_name_cannot_be_a_type_is_refused(tmp_path: Path, name: str, said: str) -> None:
    write(tmp_path, name)

    (fault,) = discover([tmp_path]).faults

    assert said in fault.sentence


@pytest.mark.parametrize("what", [".", "queue.py", "_helper.py"])
def test_what_anybody_may_write_is_not_loaded(tmp_path: Path, what: str) -> None:
    write(tmp_path, "queue.py")
    write(tmp_path, "_helper.py")
    (tmp_path / what).chmod(0o777)

    found = discover([tmp_path])

    assert "anybody may write" in found.faults[0].sentence
    assert "queue" not in found.sources


def test_an_option_that_hides_a_method_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "queue.py", CHECK.format("Queue").replace("url: str", "copy: str"))

    with pytest.warns(UserWarning, match="shadows"):
        error = refusal(tmp_path, "queue")

    assert 'the option "copy" hides a method' in error.sentence


class Ldap(Check):
    def run(self, probe: object) -> None: ...


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    points = EntryPoints(
        [
            EntryPoint("ldap", f"{__name__}:Ldap", "heartbeat.checks"),
            EntryPoint("bad", "json:dumps", "heartbeat.checks"),
        ]
    )
    monkeypatch.setattr(source, "entry_points", lambda group: points.select(group=group))
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or type(sys)(__name__))
    monkeypatch.setattr(sys.modules[__name__], "Ldap", Ldap, raising=False)
    source._entries.cache_clear()
    yield
    source._entries.cache_clear()


@pytest.mark.usefixtures("installed")
def test_an_installed_package_brings_types() -> None:
    sources = discover().sources

    assert load_type(sources["ldap"]) is Ldap
    with pytest.raises(PluginError, match="is no Check class"):
        load_type(sources["bad"])


def test_a_plugin_whose_import_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "IMPORT_SECONDS", 0.2)
    (tmp_path / "slow.py").write_text("\nwhile True:\n    pass\n")

    with pytest.raises(PluginError, match=r"slow.*still running after 0.2 s") as caught:
        load_type(discover([tmp_path]).sources["slow"])
    assert caught.value.line in (2, 3)


def test_a_plugin_that_ends_the_process_when_imported_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gone.py").write_text("import os\nos._exit(3)\n")
    before = os._exit

    with pytest.raises(PluginError, match=r"called os._exit\(3\)") as caught:
        load_type(discover([tmp_path]).sources["gone"])
    assert caught.value.line == 2
    assert os._exit is before

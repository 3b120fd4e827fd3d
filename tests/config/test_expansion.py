from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.config.expansion import NotExpanded, Surroundings, expand
from heartbeat.references import ROOTS, Late, Reference, fill, late, references


def expanded(text: str, folder: Path = Path(), **environ: str) -> str:
    return expand(text, folder, Surroundings(environ))[0]


def test_variables_are_replaced_wherever_they_stand() -> None:
    assert expanded("http://${HOST}:${PORT}/", HOST="shop", PORT="80") == "http://shop:80/"


def test_the_default_is_for_what_is_unset_or_empty() -> None:
    assert expanded("${A:-x}${B:-y}${C:-}", B="") == "xy"


def test_two_dollars_escape() -> None:
    assert expanded("$${A} $A $$A ${A}", A="1") == "${A} $A $$A 1"


def test_what_a_variable_holds_is_not_expanded_again() -> None:
    assert expanded("${A}", A="${B}") == "${B}"


def test_all_that_is_missing_is_said_at_once() -> None:
    with pytest.raises(NotExpanded, match=r"ONE is not set.*; .*TWO is not set"):
        expanded("${ONE} ${TWO}")


def test_a_name_that_is_nearly_right_is_suggested() -> None:
    with pytest.raises(NotExpanded, match='did you mean "SHOP_URL"'):
        expanded("${SHOP_ULR}", SHOP_URL="x")


def test_a_secret_comes_from_the_variable_first_then_from_the_named_file_then_from_credentials(tmp_path: Path) -> None:
    (tmp_path / "named").write_text("from the named file\n")
    (tmp_path / "TOKEN").write_text("from the credentials\r\n")
    environ = {"TOKEN": "from the variable", "TOKEN_FILE": "named", "CREDENTIALS_DIRECTORY": str(tmp_path)}

    found = []
    for gone in ("", "TOKEN", "TOKEN_FILE"):
        environ.pop(gone, None)
        found.append(expanded("${secret:TOKEN}", tmp_path, **environ))

    assert found == ["from the variable", "from the named file", "from the credentials"]


def test_secrets_are_known_to_the_redactor_and_their_files_are_watched(tmp_path: Path) -> None:
    (tmp_path / "smtp").write_text("swordfish\n")
    around = Surroundings({"TOKEN": "marlinfish"})

    text, secret = expand("${file:smtp} and ${secret:TOKEN}", tmp_path, around)

    assert (text, secret) == ("swordfish and marlinfish", True)
    assert around.redactor(text) == "<redacted:smtp> and <redacted:TOKEN>"
    assert tmp_path / "smtp" in around.files


def test_a_file_that_is_looked_for_in_vain_is_watched_too(tmp_path: Path) -> None:
    around = Surroundings({"CREDENTIALS_DIRECTORY": str(tmp_path)})

    with pytest.raises(NotExpanded, match="the secret TOKEN is nowhere"):
        expand("${secret:TOKEN}", tmp_path, around)

    assert tmp_path / "TOKEN" in around.files


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "is empty"), (b"\xff\xfe", "no UTF-8"), (b"x" * 1_100_000, "larger than 1 MiB")]
)
def test_a_file_that_holds_no_secret_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "secret").write_bytes(content)

    with pytest.raises(NotExpanded, match=said):
        expanded("${file:secret}", tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(NotExpanded, match="is no file"):
        expanded("${file:pipe}", tmp_path)


@pytest.mark.parametrize(
    "text", ["${secret:../etc/passwd}", "${secret:}", "${}", "${a b}", "${", "${A:default}", "${steps.}", "${step.a}"]
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(NotExpanded):
        expanded(text)


# References that are filled in while a check runs

words = st.text("abcXYZ_-019", min_size=1, max_size=8)
made = st.builds(Reference, st.sampled_from(sorted(ROOTS)), st.lists(words, min_size=1).map(tuple), st.booleans())
plain = st.text(max_size=20)


@given(st.lists(st.one_of(plain, made), max_size=6), plain)
def test_what_is_written_with_references_comes_back_with_them(parts: list[str | Reference], value: str) -> None:
    """Texts, references and a secret whose value may be anything: only what was written as a reference is one."""
    value = f"{value}${{steps.x.y}}$${{run.id}}"
    written, expected = "${secret:KEY}", value
    for part in parts:
        written += str(part) if isinstance(part, Reference) else part.replace("${", "$${")
        expected += str(part) if not isinstance(part, str) else part
    if any(isinstance(one, str) and one.endswith("$") for one in parts):  # it would escape what follows
        return

    text, secret = expand(written, Path(), Surroundings({"KEY": value}))

    assert secret
    assert str(text) == expected
    assert list(references(text)) == [part for part in parts if isinstance(part, Reference)]
    assert isinstance(text, Late) == any(isinstance(part, Reference) for part in parts)


@given(st.lists(st.one_of(plain.filter(lambda text: "$" not in text), made), min_size=1))
def test_it_is_filled_in_as_code_would(parts: list[str | Reference]) -> None:
    written = "".join(map(str, parts))
    text, _ = expand(written, Path(), Surroundings({}))
    assert fill(text, lambda _: "v") == fill(late(written), lambda _: "v")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${steps.a|upper}", 'has the unknown filter "upper"; there is quote'),
        ("${steps.a|quot}", 'has the unknown filter "quot"; did you mean "quote"?'),
        ("${steps.}", "is no reference: between its dots"),
        ("${accounts.a b.c}", "is no reference: between its dots"),
        ("${steps.a:-x}", "is no reference: between its dots"),
        ("${steps}", "needs to say what of it: ${steps.NAME}"),
        ("${NAME|quote}", "is no reference; there are"),
    ],
)
def test_what_is_wrong_with_a_reference_is_said(text: str, said: str) -> None:
    with pytest.raises(NotExpanded, match=re.escape(said)):
        expanded(text)


def test_a_variable_may_be_called_like_what_references_begin_with() -> None:
    assert expanded("${run}", run="1") == "1"


def test_a_folder_of_secrets_that_may_not_be_looked_into_is_named(tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir(mode=0)
    around = Surroundings({"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")})
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        with pytest.raises(NotExpanded, match=r"cannot read .*/credentials/TOKEN: Permission denied"):
            expand("${secret:TOKEN}", tmp_path, around)
    finally:
        if is_root:
            os.seteuid(0)


def test_the_mark_that_some_editors_put_before_a_text_is_no_part_of_a_secret(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xef\xbb\xbfswordfish\r\n")
    assert expand("${file:token}", tmp_path, Surroundings({})) == ("swordfish", True)

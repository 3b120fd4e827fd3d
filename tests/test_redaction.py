from __future__ import annotations

import html
import json
import shlex
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from time import perf_counter
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartbeat.redaction import Redactor, concealer

AWKWARD = "pä\"ss w/&<+'ö\\rd>?~"
FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "base64": lambda text: b64encode(text.encode()).decode(),
    "base64 for urls": lambda text: urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "basic authentication": lambda text: b64encode(f"user:{text}".encode()).decode(),
    "percent": lambda text: quote(text, safe=""),
    "percent, lower case": lambda text: quote(text, safe="").replace("%2F", "%2f").replace("%3C", "%3c"),
    "percent, twice": lambda text: quote(quote(text, safe=""), safe=""),
    "a path": quote,
    "a form": quote_plus,
    "json": json.dumps,
    "json for people": lambda text: json.dumps(text, ensure_ascii=False),
    "json in json": lambda text: json.dumps(json.dumps(text)),
    "json for html": lambda text: json.dumps(text).replace("<", "\\u003c").replace("&", "\\u0026").replace("/", "\\/"),
    "html": html.escape,
    "html with numbers": lambda text: "".join(c if c.isalnum() else f"&#{ord(c)};" for c in text),
    "html, twice": lambda text: html.escape(html.escape(text)),
    "shell": shlex.quote,
    "shell with backslashes": lambda text: "".join(c if c.isalnum() else f"\\{c}" for c in text),
    "a python string": repr,
    "python bytes": lambda text: repr(text.encode()),
    "ascii": ascii,
    "hex": lambda text: text.encode().hex(),
    "hex, upper case": lambda text: text.encode().hex().upper(),
    "json with base64": lambda text: json.dumps({"a": b64encode(text.encode()).decode()}),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", [AWKWARD, "hunter2-hunter2", "Aa0+/Aa0+/", "a b c d", "????>>>>"])
def test_a_secret_is_found_in_every_form(secret: str, form: str) -> None:
    written = FORMS[form](secret)
    clean = Redactor({"PASSWORD": secret})(f"before {written} after")

    assert "<redacted:PASSWORD>" in clean
    assert clean.startswith("before ")
    assert clean.endswith(" after")
    assert len(clean) <= len("before <redacted:PASSWORD> after") + len(written) - len(secret)
    assert secret[2:-2] not in clean


@given(
    secret=st.text(st.characters(codec="utf-8"), min_size=4, max_size=24).filter(lambda text: len(text.strip()) >= 4),
    form=st.sampled_from(sorted(FORMS)),
    around=st.text(st.characters(codec="utf-8"), max_size=8),
)
def test_no_form_of_any_secret_survives(secret: str, form: str, around: str) -> None:
    written = FORMS[form](secret.strip())

    assert "<redacted:X>" in Redactor({"X": secret})(around + written + around)


@given(
    secret=st.binary(min_size=4, max_size=20).map(lambda raw: raw.hex()),
    before=st.binary(max_size=7),
    after=st.binary(max_size=7),
)
def test_base64_hides_a_secret_wherever_it_lies(secret: str, before: bytes, after: bytes) -> None:
    text = b64encode(before + secret.encode() + after).decode()

    clean = Redactor({"X": secret})(text)

    assert "<redacted:X>" in clean
    longest = max(len(before), len(after)) * 4 // 3 + 4
    assert all(len(part) <= longest for part in clean.split("<redacted:X>"))


@given(texts=st.lists(st.text(min_size=4, max_size=12), max_size=4), text=st.text(max_size=60))
def test_redacting_twice_changes_nothing_more(texts: list[str], text: str) -> None:
    redactor = Redactor({f"name{i}": secret for i, secret in enumerate(texts)})
    once = redactor(text + "".join(texts))

    assert redactor(once) == once


@given(text=st.text(max_size=60))
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert Redactor({"X": "a secret that nobody writes"})(text) == text


def test_a_secret_that_is_its_own_name_is_redacted_once() -> None:
    redactor = Redactor({"password": "password"})

    assert redactor(redactor("the password")) == "the <redacted:password>"


def test_the_longer_of_two_secrets_wins() -> None:
    redactor = Redactor({"short": "abcd", "long": "abcdefgh"})

    assert redactor("abcdefgh abcd") == "<redacted:long> <redacted:short>"


def test_a_short_secret_is_refused_aloud_and_destroys_no_text() -> None:
    redactor = Redactor({"tiny": "a"})

    assert redactor.add("small", "abc") is False
    assert redactor.add("long", " abcd\n") is True
    assert redactor("a abc abcd") == "a abc <redacted:long>"


def test_an_old_value_stays_known_after_a_rotation() -> None:
    redactor = Redactor({"token": "the first value"})
    assert redactor("the first value") == "<redacted:token>"

    redactor.add("token", "the second value")

    assert redactor("the first value, the second value") == "<redacted:token>, <redacted:token>"


def test_the_oldest_values_are_forgotten_after_very_many_rotations() -> None:
    redactor = Redactor()
    for i in range(100):
        redactor.add("token", f"value-{i:03}-")

    assert redactor("value-099-") == "<redacted:token>"
    assert redactor("value-000-") == "value-000-"


def test_a_redactor_adopts_what_another_knows() -> None:
    new, old = Redactor({"a": "secret of now"}), Redactor({"a": "secret of old", "b": "another one"})

    new.adopt(old)

    assert new("secret of now, secret of old, another one") == "<redacted:a>, <redacted:a>, <redacted:b>"


def test_the_lines_of_a_key_are_secrets_too() -> None:
    lines = ["MIIEvQIBADANBgkqhkiG9w0B", "AQEFAASCBKcwggSjAgEAAoIB"]
    key = "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----"])
    redactor = Redactor({"key": key})

    assert redactor(f"x {key} y") == "x <redacted:key> y"
    assert redactor(f"bad line {lines[1]}") == "bad line <redacted:key>"
    assert redactor("-----BEGIN PRIVATE KEY-----") == "-----BEGIN PRIVATE KEY-----"


def test_bytes_that_were_no_text_do_not_stop_redaction() -> None:
    text = b"\xff\xfe secret value".decode(errors="surrogateescape")

    assert Redactor({"X": "secret value"})(text) == "\\udcff\\udcfe <redacted:X>"


def test_data_is_redacted_in_depth_with_its_keys() -> None:
    data = {"secret!": ["a secret!", ("secret!", 1, None)], "raw": b"secret!", "n": 1.5}

    assert Redactor({"X": "secret!"}).redact_data(data) == {
        "<redacted:X>": ["a <redacted:X>", ("<redacted:X>", 1, None)],
        "raw": b"<redacted:X>",
        "n": 1.5,
    }


def test_data_that_contains_itself_is_cut() -> None:
    data: list[object] = []
    data.append(data)

    assert "…" in str(Redactor({"X": "secret!"}).redact_data(data))


def test_a_form_with_parameters_is_readable_still() -> None:
    body = urlencode({"user": "bob", "password": AWKWARD, "next": "/"})

    assert Redactor({"PASSWORD": AWKWARD})(body) == "user=bob&password=<redacted:PASSWORD>&next=%2F"


def test_many_secrets_and_a_hostile_text_stay_fast() -> None:
    redactor = Redactor({f"s{i}": f"{i:04}" + "\\/" * 20 for i in range(200)})
    redactor("warm")
    started = perf_counter()

    redactor("\\" * 100_000 + "0001" + "\\/" * 19)

    assert perf_counter() - started < 2


@pytest.mark.parametrize("form", ["plain", "percent", "json", "html", "hex", "base64", "basic authentication"])
@pytest.mark.parametrize("kept", [8, 12, 20])
def test_the_beginning_of_a_secret_is_redacted_where_a_text_was_cut(form: str, kept: int) -> None:
    written = FORMS[form]('Zq7fWx2KdPmRt9Lb"<>/long enough')
    start = written.find("Zq7f") if "Zq7f" in written else 8
    clean = Redactor({"TOKEN": 'Zq7fWx2KdPmRt9Lb"<>/long enough'})(f"it said {written[: start + kept]}… and more")

    assert clean.endswith("<redacted:TOKEN>… and more")


def test_a_text_that_was_cut_elsewhere_stays_as_it_is() -> None:
    redactor = Redactor({"TOKEN": "correct horse battery staple"})

    assert redactor("the corr… is not a correct…ion") == "the corr… is not a <redacted:TOKEN>…ion"
    assert redactor(redactor("correct ho…")) == "<redacted:TOKEN>…"


@pytest.mark.parametrize(
    "shown",
    [
        "/services/T0AB/XXXXXXXXXXXXXXXXXXXXXXXX",
        "https://hooks.example.com/services/T0AB/XXXXXXXXXXXXXXXXXXXXXXXX?'key=",
        "XXXXXXXXXXXXXXXXXXXXXXXX",
        "key=YYYYYYYYYYYYYYYYYYYY",
        "YYYYYYYYYYYYYYYYYYYY",
    ],
)
def test_the_parts_of_a_secret_url_are_secret_but_its_host_is_not(shown: str) -> None:
    url = "https://hooks.example.com/services/T0AB/XXXXXXXXXXXXXXXXXXXXXXXX?key=YYYYYYYYYYYYYYYYYYYY&v=1"
    redactor = Redactor({"URL": url})

    assert redactor(shown).count("<redacted:URL>") == 1
    assert "XXXXXX" not in redactor(shown)
    assert "YYYYYY" not in redactor(shown)
    assert redactor("connection refused by hooks.example.com:443") == "connection refused by hooks.example.com:443"


@pytest.mark.parametrize("outer", ["percent", "hex", "base64", "basic authentication"])
def test_a_secret_in_json_is_found_when_the_json_is_encoded(outer: str) -> None:
    written = FORMS[outer](json.dumps({"password": 'he"llo<&/world'}, ensure_ascii=False))

    assert "<redacted:X>" in Redactor({"X": 'he"llo<&/world'})(written)


@pytest.mark.parametrize("form", ["plain", "base64", "basic authentication", "percent"])
def test_what_is_concealed_for_a_moment_is_found_in_its_usual_spellings(form: str) -> None:
    conceal = concealer([("session", AWKWARD), ("short", "abc")])
    assert "<redacted:session>" in conceal(f"abc {FORMS[form](AWKWARD)} abc")
    assert conceal("abc") == "abc"
    assert conceal(f"it began {AWKWARD[:9]}…") == "it began <redacted:session>…"
    assert conceal(json.dumps([AWKWARD])) == '["<redacted:session>"]'

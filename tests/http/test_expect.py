from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from heartbeat.check import CheckFailed
from heartbeat.http.expect import Expect
from heartbeat.http.message import Response


def response(
    body: bytes = b"", status: int = 200, headers: tuple[tuple[str, str], ...] = (), *, truncated: bool = False
) -> Response:
    return Response("http://a/", status, headers, body, truncated, "1.1")


def failure(expect: dict[str, Any], answer: Response) -> CheckFailed | None:
    try:
        Expect.model_validate(expect).hold(answer)
    except CheckFailed as failed:
        return failed
    return None


@pytest.mark.parametrize(
    ("wanted", "good", "bad"),
    [
        (200, [200], [201, 204, 404]),
        ("200", [200], [201]),
        ("200-299", [200, 299], [199, 300, 500]),
        ("2xx", [200, 299], [300]),
        ([200, 204], [200, 204], [201]),
        ([200, "400-404"], [200, 404], [405]),
    ],
)
def test_a_status_is_a_number_a_range_or_a_list(wanted: Any, good: list[int], bad: list[int]) -> None:
    assert [status for status in good if failure({"status": wanted}, response(status=status))] == []
    for status in bad:
        failed = failure({"status": wanted}, response(status=status))
        assert failed is not None
        assert (failed.reason, failed.observed) == ("status", str(status))


@pytest.mark.parametrize("status", [199, 300, 302, 404, 500])
def test_left_out_the_status_must_be_a_success(status: int) -> None:
    assert failure({}, response(status=204)) is None
    failed = failure({}, response(status=status))
    assert failed is not None
    assert failed.sentence == f"the status is {status}, not 200-299"


@pytest.mark.parametrize("wanted", ["fine", 20, 1000, "300-200", "200-", [], True, None, {"above": 3}, "99xx"])
def test_a_status_that_is_none_is_an_error_at_load(wanted: Any) -> None:
    with pytest.raises(ValidationError, match="status"):
        Expect.model_validate({"status": wanted})


JSON = b'{"n": 5, "f": 1.0, "t": true, "s": "hello world", "z": null, "l": [1, 2, 3], "o": {"k": [{"p": 1}, {"p": 2}]}}'


@pytest.mark.parametrize(
    ("path", "expectation"),
    [
        ("$.n", 5),
        ("$.f", 1),
        ("$.t", True),
        ("$.z", None),
        ("$.s", "hello world"),
        ("$.l", [1, 2, 3]),
        ("$.o.k[0]", {"equals": {"p": 1}}),
        ("$.n", {"exists": True}),
        ("$.nope", {"exists": False}),
        ("$.nope", {"not": 5}),
        ("$.s", {"matches": "^hello"}),
        ("$.s", {"contains": "lo wo"}),
        ("$.l", {"contains": 2}),
        ("$.o", {"contains": "k"}),
        ("$.n", {"above": 4, "below": 6}),
        ("$.n", {"in": [4, 5]}),
        ("$.n", {"not": 6}),
        ("$.n", {"not": {"above": 5}}),
        ("$.o.k[*].p", {"above": 0}),
        ("$['s']", {"not": {"contains": "error"}}),
    ],
)
def test_what_holds_is_silent(path: str, expectation: Any) -> None:
    assert failure({"json": {path: expectation}}, response(JSON)) is None


@pytest.mark.parametrize(
    ("path", "expectation", "reason"),
    [
        ("$.n", 6, "mismatch"),
        ("$.t", 1, "mismatch"),
        ("$.n", True, "mismatch"),
        ("$.n", "5", "mismatch"),
        ("$.z", 0, "mismatch"),
        ("$.l", [1, 2], "mismatch"),
        ("$.nope", 5, "absent"),
        ("$.nope", None, "absent"),
        ("$.nope", {"exists": True}, "absent"),
        ("$.n", {"exists": False}, "content"),
        ("$.s", {"matches": "^world"}, "content"),
        ("$.s", {"contains": "nothing"}, "content"),
        ("$.l", {"contains": 4}, "content"),
        ("$.n", {"above": 5}, "content"),
        ("$.n", {"below": 5}, "content"),
        ("$.s", {"above": 5}, "content"),
        ("$.t", {"above": 0}, "content"),
        ("$.n", {"in": [1, 2]}, "content"),
        ("$.n", {"not": 5}, "content"),
        ("$.o.k[*].p", {"above": 1}, "content"),
    ],
)
def test_what_does_not_hold_says_what_and_why(path: str, expectation: Any, reason: str) -> None:
    failed = failure({"json": {path: expectation}}, response(JSON))
    assert failed is not None
    assert failed.reason == reason
    assert path in failed.sentence
    assert failed.expected
    assert (failed.observed is None) == (reason == "absent")


def test_headers_are_found_in_any_case_and_compared_as_text() -> None:
    answer = response(headers=(("X-Count", "5"), ("Cache-Control", "a"), ("cache-control", "b")))
    assert failure({"headers": {"x-count": 5, "X-COUNT": {"above": 4}, "Cache-Control": "a, b"}}, answer) is None
    assert failure({"headers": {"X-None": {"exists": False}}}, answer) is None
    failed = failure({"headers": {"X-None": 1}}, answer)
    assert failed is not None
    assert (failed.reason, failed.sentence) == ("absent", "the header X-None is missing")


def test_the_body_is_text_in_its_charset() -> None:
    latin = response("größe".encode("latin-1"), headers=(("Content-Type", "text/plain; charset=ISO-8859-1"),))
    assert failure({"body": {"contains": "größe"}}, latin) is None
    assert failure({"body": "größe"}, latin) is None
    odd = response(b"\xff\xfeabc", headers=(("Content-Type", "text/plain; charset=rot13"),))
    assert failure({"body": {"matches": "abc$"}}, odd) is None


def test_all_assertions_see_the_same_body() -> None:
    assert failure({"body": {"matches": "hello"}, "json": {"$.n": 5}}, response(JSON)) is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>", "the body is not JSON"),
        (b"", "the body is empty"),
        (b'{"n": NaN}', "NaN is no JSON value"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"n": "\xff"}', "the body is not JSON"),
        (b'{"n": ' + b"9" * 5000 + b"}", "the body is not JSON"),
        (b"\x00\x01", "the body is not JSON"),
    ],
)
def test_what_is_not_json_is_a_bad_target(body: bytes, words: str) -> None:
    failed = failure({"json": {"$.n": 5}}, response(body))
    assert failed is not None
    assert failed.reason == "content"
    assert words in failed.sentence
    assert (failed.observed or "").isprintable()


def test_json_nested_as_deep_as_it_can_be_read_does_not_crash_a_search() -> None:
    body = b'{"a":' * 900 + b"1" + b"}" * 900
    for path in ("$..n", "$..a", "$.a"):
        failed = failure({"json": {path: 5}}, response(body))
        assert failed is not None


def test_lone_surrogates_do_not_crash_a_pattern() -> None:
    assert failure({"json": {"$.n": {"matches": "^.x$"}}}, response(b'{"n": "\\ud800x"}')) is None


def test_cut_json_is_told_from_bad_json() -> None:
    failed = failure({"json": {"$.n": 5}}, response(b'{"n": ', truncated=True))
    assert failed is not None
    assert "longer than 6 bytes" in failed.sentence


def test_observed_text_is_bounded_and_printable() -> None:
    failed = failure({"body": "x"}, response(b"\x1b[31m\r\n" + b"y" * 10_000))
    assert failed is not None
    assert failed.observed is not None
    assert failed.observed.isprintable()
    assert len(failed.observed) <= 200


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        ({"body": {"matches": "(["}}, "no regular expression"),
        ({"body": {"matches": r"(a)\1"}}, "no regular expression"),
        ({"json": {"$.a[": 1}}, "no JSONPath"),
        ({"json": {"a b": 1}}, "no JSONPath"),
        ({"body": {"match": "x"}}, "match"),
        ({"body": {}}, "needs one of"),
        ({"body": {"not": {"matches": "(["}}}, "no regular expression"),
        ({"headers": {"X": {"above": "much"}}}, "above"),
        ({"stauts": 200}, "stauts"),
    ],
)
def test_mistakes_are_errors_at_load(expect: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Expect.model_validate(expect)


def test_an_evil_pattern_ends_in_linear_time() -> None:
    assert failure({"body": {"matches": "(a+)+$"}}, response(b"a" * 100_000 + b"b")) is not None


def test_the_schema_for_editors_takes_bare_values() -> None:
    schema = Expect.model_json_schema()
    assert {"type", "anyOf"} & schema["$defs"]["Expectation"].keys()
    assert schema["properties"]["status"]["anyOf"][0]["type"] == "integer"
    assert all(field.get("description") for field in schema["properties"].values())

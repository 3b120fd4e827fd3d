from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping

import pytest

from heartbeat.http.engine import fetch
from heartbeat.http.evidence import curl_command, note_evidence
from heartbeat.http.message import TLS, Certificate, Request, Response, Trace
from heartbeat.probe import Probe
from heartbeat.testing.http import answer, serve


def read(probe: Probe) -> Mapping[str, str]:
    return {name: str(note() if callable(note) else note) for name, note in probe.evidence.items()}


def trace_of(request: Request, response: Response | None = None) -> Trace:
    return Trace(request=request, response=response)


def test_nothing_is_noted_where_nothing_was_sent() -> None:
    probe = Probe()
    note_evidence(probe, Trace())
    assert probe.evidence == {}


async def test_evidence_shows_request_answer_and_address() -> None:
    probe, trace = Probe(), Trace()
    async with serve(answer(503, {"X-Why": "tired"}, b"line\nbreak\x1b[31m")) as server:
        await fetch(Request(url=server.url + "a"), timeout=5, trace=trace)
    note_evidence(probe, trace)
    texts = read(probe)
    assert texts["request"] == f"GET {server.url}a"
    assert (texts["status"], texts["address"], texts["http_version"]) == ("503", "127.0.0.1", "1.1")
    assert "X-Why: tired" in texts["headers"]
    assert texts["body"] == "line\nbreak [31m"


def test_a_long_body_is_cut() -> None:
    probe = Probe()
    request = Request(url="http://a/")
    note_evidence(probe, trace_of(request, Response("http://a/", 200, (), b"x" * 1_000_000, False, "1.1")))
    assert len(read(probe)["body"]) < 1100


def test_a_certificate_is_shown() -> None:
    probe, trace = Probe(), trace_of(Request(url="https://a/"))
    trace.certificate = Certificate("CN = a", "CN = ca", "DNS:a", 1577836800.0, "it has expired")
    note_evidence(probe, trace)
    assert "expires: 2020-01-01 00:00 UTC" in read(probe)["certificate"]
    assert "it has expired" in read(probe)["certificate"]


def test_credentials_are_never_shown() -> None:
    request = Request(
        url="https://user:s3cret@a.example/x?api_key=s3cret&q=1&access_token=s3cret",
        method="POST",
        headers=(("Authorization", "Bearer s3cret"), ("Cookie", "sid=s3cret"), ("X-Api-Key", "s3cret"), ("X-A", "b")),
        body=b'{"password": "s3cret"}',
        content_type="application/json",
        proxy="http://me:s3cret@proxy:3128",
    )
    headers = (("Set-Cookie", "sid=s3cret"), ("Location", "https://b/?token=s3cret"), ("X-Auth-Token", "s3cret"))
    probe = Probe()
    note_evidence(probe, trace_of(request, Response(request.url, 200, headers, b"", False, "1.1")))
    texts = read(probe)
    assert "s3cret" not in str(texts)
    assert "q=1" in texts["request"]
    assert '"Authorization: Bearer "' not in texts["curl"]
    assert "'Authorization: Bearer '\"$AUTHORIZATION\"" in texts["curl"]
    assert '"$COOKIE"' in texts["curl"]
    assert '"$API_KEY"' in texts["curl"]


@pytest.mark.parametrize("value", ["it's", 'say "hi"', "$(rm -rf /)", "`id`", "a\\b"])
def test_the_curl_line_quotes_what_a_shell_would_read(value: str) -> None:
    request = Request(
        url="http://a/?q=" + value.replace(" ", "%20"), method="PUT", headers=(("X", value),), body=value.encode()
    )
    words = shlex.split(curl_command(request, Trace()))
    assert f"X: {value}" in words
    assert value in words
    assert words[-1] == request.url


def test_options_of_the_request_are_in_the_curl_line() -> None:
    tls = TLS(verify=False, ca_file="/ca.pem", cert_file="/me.pem", key_file="/key.pem")
    words = shlex.split(curl_command(Request(url="https://shop/", tls=tls, method="HEAD"), Trace(address="::1")))
    assert {"--insecure", "--cacert", "/ca.pem", "--cert", "/me.pem", "--key", "/key.pem", "--head"} <= set(words)
    assert words[words.index("--resolve") + 1] == "shop:443:[::1]"


def test_the_shell_runs_the_line() -> None:
    line = curl_command(Request(url="http://a/?token=x", headers=(("X-Token", "y"),)), Trace())
    said = subprocess.run(
        ["sh", "-c", 'curl() { for word; do echo "$word"; done; }; ' + line],
        env={"TOKEN": "set", "X_TOKEN": "me"}, capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert "http://a/?token=set" in said.stdout
    assert "X-Token: me" in said.stdout

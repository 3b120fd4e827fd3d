"""The check type `http`: one request, and what its answer should be."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from functools import cached_property, lru_cache, partial
from ipaddress import IPv4Address
from json import dumps
from re import fullmatch
from sys import intern
from typing import Annotated, Any, Literal
from urllib.parse import urlencode, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from heartbeat import Answer, Check, CheckFailed, Probe
from heartbeat.http import (
    BODY_LIMIT,
    TLS,
    USER_AGENT,
    Cookies,
    Expect,
    Request,
    Response,
    Trace,
    ascii_url,
    cookies_of,
    decode,
    fetch,
    note_evidence,
    target,
)
from heartbeat.http.stream import patience

MODEL = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
LONGEST = 65536
LARGE = 64 * 1024
"""Bytes of a body from which on its JSON is looked into in a thread: for some bodies a path takes many seconds."""
SHORT = 8  # characters of a cookie's value: what is shorter is a word like "true", and no secret
NAME = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"  # RFC 9110 section 5.6.2


_WELL = Expect()


def _well() -> Expect:
    """Return what is expected where nothing is said: one for all, as to copy it costs more than all other options."""
    return _WELL


@lru_cache(maxsize=1024)
def _is_http(url: str) -> str:
    """Check a URL, and put its host into ASCII form (IDNA). A step of a flow is often read anew with the same one."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError("a URL begins with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("a URL holds no user and password; write them under auth")
    if any(c <= " " or c == "\x7f" for c in url):
        raise ValueError("a URL holds no spaces and control characters; write %20")
    if not url.isascii():
        url = ascii_url(url)
    elif problem := _objection(url):
        raise ValueError(f"this is no URL: {problem}")
    target(url)
    return url.partition("#")[0]


def _objection(url: str) -> str:
    """Say what is wrong with a URL in ASCII that `urlsplit` lets pass, or nothing."""
    if len(url) > LONGEST:
        return f"it has more than {LONGEST} characters"
    parts = urlsplit(url)
    try:
        if fullmatch(r"[0-9]+(\.[0-9]+){3}", parts.hostname or ""):
            IPv4Address(parts.hostname or "")
        _ = parts.port
    except ValueError as error:
        return str(error)
    return ""


def _is_proxy(url: str) -> str:
    if url and urlsplit(url).scheme not in ("http", "https", "socks5h"):
        raise ValueError("a proxy is http://, https:// or socks5h:// (names are looked up by the proxy)")
    if url:
        target(url)
    return url


def _is_value(value: str) -> str:
    if any(c in value for c in "\r\n\0"):
        raise ValueError("a header holds no line breaks and nulls")
    return value


HeaderName = Annotated[str, Field(pattern=NAME)]
HeaderValue = Annotated[str, AfterValidator(_is_value)]


class Basic(BaseModel):
    """A user and a password (RFC 7617)."""

    model_config = MODEL
    user: str = Field(description="the user's name, without a colon", pattern="^[^:]*$")
    password: str = Field(description="the password", repr=False)


class Auth(BaseModel):
    """How the request proves who it is: one of the two."""

    model_config = MODEL
    basic: Basic | None = Field(None, description="a user and a password, sent as Basic")
    bearer: HeaderValue | None = Field(None, description="a token, sent as Bearer", repr=False)

    @model_validator(mode="after")
    def _is_one(self) -> Auth:
        if (self.basic is None) == (self.bearer is None):
            raise ValueError("auth is either basic or bearer")
        return self

    def header(self) -> str:
        """Return the value of the Authorization header."""
        if self.basic is None:
            return f"Bearer {self.bearer}"
        return "Basic " + b64encode(f"{self.basic.user}:{self.basic.password}".encode()).decode("ascii")


class Http(Check):
    """Send one HTTP request over a fresh connection, and look at the answer."""

    url: Annotated[str, AfterValidator(_is_http)] = Field(description="where to, http:// or https://")
    method: str = Field("GET", description="the method; POST if left out and there is a body", pattern=NAME)
    headers: Mapping[HeaderName, HeaderValue] = Field(
        default_factory=dict, description="headers to send; they never leave the origin of the url"
    )
    body: str | None = Field(None, description="text to send")
    json_: Any = Field(None, alias="json", description="a value to send as JSON")
    form: Mapping[str, str | int | float | bool] | None = Field(None, description="fields to send as an HTML form")
    auth: Auth | None = Field(None, description="credentials; they never leave the origin of the url")
    expect: Expect = Field(default_factory=_well, description="what the answer should be; a status of 2xx if left out")
    follow_redirects: bool = Field(True, description="whether to follow redirects to the final answer")
    max_redirects: int = Field(10, description="how many redirects may follow each other", ge=0, le=50)
    body_limit: int = Field(BODY_LIMIT, description="bytes of the (unpacked) body to read at most", ge=0, le=2**26)
    family: Literal["any", "ip4", "ip6"] = Field("any", description="which addresses of the host to connect to")
    verify: bool = Field(True, description="whether the server's certificate must be valid for the host")
    ca_file: str = Field("", description="PEM file of the authorities to trust; the system's if left out")
    cert_file: str = Field("", description="PEM file of the client certificate (and its chain)")
    key_file: str = Field("", description="PEM file of the client certificate's key; in cert_file if left out")
    min_tls: Literal["1.2", "1.3"] = Field("1.2", description="the oldest version of TLS to accept")
    http_version: Literal["", "1.1", "2", "3"] = Field(
        "", description="the version of HTTP to demand; if left out, 2 or 1.1 as the server likes"
    )
    proxy: Annotated[str, AfterValidator(_is_proxy)] = Field(
        "",
        description="a proxy to go through, http://, https:// or socks5h://; the environment's are not used",
        repr=False,
    )
    user_agent: HeaderValue = Field("", description="the User-Agent to send; heartbeat/VERSION if left out")

    @model_validator(mode="after")
    def _is_consistent(self) -> Http:
        bodies = [name for name in ("body", "json_", "form") if name in self.model_fields_set]
        if len(bodies) > 1:
            raise ValueError("only one of body, json and form can be sent")
        if self.key_file and not self.cert_file:
            raise ValueError("key_file needs cert_file")
        there = target(self.url)
        if there.literal and self.family == ("ip4" if ":" in there.host else "ip6"):
            raise ValueError(f"the url's address is not of the family {self.family}")
        if self.http_version == "3" and (there.scheme == "http" or self.proxy):
            raise ValueError("HTTP/3 needs an https:// url and no proxy")
        if self.auth and any(name.lower() == "authorization" for name in self.headers):
            raise ValueError("auth and a header Authorization cannot both be sent")
        return self

    def model_post_init(self, _context: Any, /) -> None:
        """Make the request at once, so that what is wrong with it is an error when the configuration is loaded."""
        _ = self.request

    async def run(self, probe: Probe) -> None:
        """Send the request and hold the answer against what is expected."""
        trace, cookies = Trace(), cookies_of(probe.session)
        try:
            response = await fetch(
                self.request, timeout=patience(probe.remaining), trace=trace, marks=probe.marks, cookies=cookies
            )
            if probe.asked:
                probe.answer(partial(_answer, response, trace))
            await self._hold(response, probe)
        except CheckFailed:
            note_evidence(probe, trace)
            raise
        finally:
            _record(probe, trace)
            if cookies is not None and trace.set_cookies:
                _conceal(probe, cookies)

    async def _hold(self, response: Response, probe: Probe) -> None:
        if self.expect.json_ and len(response.body) >= LARGE:
            await probe.backing.in_thread(partial(self.expect.hold, response), probe.keep_busy)
        else:
            self.expect.hold(response)

    @cached_property
    def request(self) -> Request:
        """The request: nothing of it changes from run to run."""
        content, content_type = self._content()
        authorization = (("Authorization", self.auth.header()),) if self.auth else ()
        tls = TLS(
            verify=self.verify,
            ca_file=self.ca_file,
            cert_file=self.cert_file,
            key_file=self.key_file,
            min_version=self.min_tls,
        )
        is_post = content is not None and "method" not in self.model_fields_set
        return Request(
            url=self.url,
            method="POST" if is_post else intern(self.method.upper()),
            headers=(*self.headers.items(), *authorization),
            body=content,
            content_type=content_type,
            follow_redirects=self.follow_redirects,
            max_redirects=self.max_redirects,
            body_limit=self.body_limit,
            family=self.family,
            tls=tls,
            http_version=self.http_version,
            proxy=self.proxy,
            user_agent=self.user_agent or USER_AGENT,
        )

    def _content(self) -> tuple[bytes | None, str]:
        """Return what to send, and its type."""
        if "json_" in self.model_fields_set:
            return dumps(self.json_, ensure_ascii=False, allow_nan=False).encode(), "application/json"
        if self.form is not None:
            pairs = {key: str(value).lower() if isinstance(value, bool) else value for key, value in self.form.items()}
            return urlencode(pairs).encode("ascii"), "application/x-www-form-urlencoded"
        if self.body is not None:
            return self.body.encode(), "text/plain; charset=utf-8"
        return None, ""


def _answer(response: Response, trace: Trace) -> Answer:
    """Return the answer for who takes values from it: with the cookies of those that redirected here."""
    own = tuple(value for name, value in response.headers if name.lower() == "set-cookie")
    before = trace.set_cookies[: len(trace.set_cookies) - len(own)]
    headers = (*(("Set-Cookie", value) for value in before), *response.headers)
    return Answer(text=decode(response.body, response.header("content-type")), headers=headers)


def _conceal(probe: Probe, cookies: Cookies) -> None:
    """Keep cookies out of what is told of the run: error pages like to show them."""
    for value in cookies.values():
        if len(value) >= SHORT:
            probe.conceal("cookie", value)


def _record(probe: Probe, trace: Trace) -> None:
    """Record what was measured; what was not reached is absent."""
    for phase, seconds in trace.phases.items():
        probe.record_phase(phase, seconds)
    if trace.response is not None:
        probe.record_duration(sum(trace.phases.values()))
    if trace.request is not None:
        probe.record("redirects", trace.redirects)
        probe.record("tls", trace.request.url.startswith("https:"))
    if trace.certificate is not None and trace.certificate.not_after is not None:
        probe.record("certificate_expiry_timestamp_seconds", trace.certificate.not_after)
    if trace.response is not None:
        probe.record("status_code", trace.response.status)
        probe.record("body_bytes", len(trace.response.body))
        if trace.http_version:
            probe.record("http_version", float(trace.http_version))

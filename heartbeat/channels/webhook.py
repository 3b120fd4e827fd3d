"""The channel ``webhook``: an event as JSON, signed as Standard Webhooks 1.0.0 says, to one URL."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import time
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from heartbeat.channels import Rendered
from heartbeat.channels.formats import FORMATS, JSON, native, without_evidence
from heartbeat.channels.posting import Letter, OverHTTP, SecretURL, check_header
from heartbeat.channels.templates import TemplateFailed, compile_body, render_body
from heartbeat.core.batch import Batch
from heartbeat.core.model import OVER
from heartbeat.core.payload import encode
from heartbeat.core.sentences import sentence_of
from heartbeat.core.text import plain

SECRET_PREFIX = "whsec_"  # noqa: S105 - the mark of a secret, not one
SECRET_BYTES = 24
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,80}/[\w.+-]{1,80}(; ?[\w-]{1,40}=[\w.-]{1,80}){0,5}", re.ASCII)


def _as_tuple(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else (value,) if value else ()


class Webhook(OverHTTP):
    """One request per event. Any 2xx acknowledges it; redirects are not followed."""

    kind: ClassVar[str] = "webhook"

    url: SecretURL
    """Where to: http or https. It is kept secret, as many receivers know their callers by it alone."""
    method: Literal["POST", "PUT"] = "POST"
    """``PUT`` for receivers that want it."""
    secret: Annotated[
        tuple[SecretStr, ...], BeforeValidator(_as_tuple, json_schema_input_type=str | tuple[str, ...])
    ] = Field(default=(), max_length=2)
    """The key of the signature: ``whsec_`` and base64 of 24 to 64 bytes, or at least 24 bytes as they are. Two keys,
    the new one and the old one, sign twice: receivers can change over one by one."""
    headers: Mapping[str, SecretStr] = Field(default_factory=dict)
    """Headers to add, as for authorization."""
    format: Literal["native", "alertmanager", "cloudevents"] = "native"
    """``native`` is our own, ``alertmanager`` what Alertmanager's webhook sends (version 4), ``cloudevents`` 1.0."""
    body: str = ""
    """A template (jinja2) of the body instead: of ``event`` (the native payload's data), ``type``, ``timestamp``,
    ``headline``, ``status`` (firing or resolved) and ``receiver``. Where it fails, the format is sent, and says so."""
    content_type: str = ""
    """Of the body that the template makes; application/json if left out. What claims to be JSON is checked to be."""

    @field_validator("secret")
    @classmethod
    def _check_secret(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in value:
            key_of(secret.get_secret_value())
        return value

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, value: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        for name, text in value.items():
            check_header(name, text)
        return value

    @field_validator("body")
    @classmethod
    def _check_body(cls, value: str) -> str:
        compile_body(value)
        return value

    @model_validator(mode="after")
    def _check_content_type(self) -> Webhook:
        if self.content_type and not self.body:
            raise ValueError("content_type is that of a body of your own: it needs body")
        if self.content_type and not _MEDIA_TYPE.fullmatch(self.content_type):
            raise ValueError("the content_type must be written as text/plain or text/plain; charset=utf-8")
        return self

    def render(self, batch: Batch, at: float) -> Rendered:  # noqa: ARG002 - machines are told the event, not the delay
        """Turn a delivery into the body and the headers that are the same on every attempt."""
        # The quotes are those of a structured field, as draft-ietf-httpapi-idempotency-key-header asks.
        headers = (("webhook-id", batch.id), ("Idempotency-Key", f'"{batch.id}"'))
        whole, content_type = FORMATS[self.format](batch)
        if not self.body:
            return Rendered(encode(whole), headers, content_type)
        try:
            own = self.content_type or JSON
            body = render_body(compile_body(self.body), values(batch), is_json="json" in own.lower())
        except TemplateFailed as error:
            problem = plain(f"the template failed: {error}", 200).encode("ascii", "replace").decode()
            body = encode(whole | {"template_error": problem})
            return Rendered(body, (*headers, ("Heartbeat-Template-Error", problem)), content_type)
        return Rendered(body, headers, own)

    def shorten(self, body: bytes) -> bytes:
        """Return the body without evidence; one from a template is what its receiver wants, and stays."""
        return body if self.body else without_evidence(body)

    def letter(self, batch: Batch, message: Rendered) -> Letter:
        """Return the request, with what is new on every attempt: the time and the signatures."""
        at = int(time.time())
        keys = (key_of(secret.get_secret_value()) for secret in self.secret)
        signatures = " ".join(sign(key, batch.id, at, message.body) for key in keys)
        signed = (("webhook-signature", signatures),) if signatures else ()
        own = tuple((name, value.get_secret_value()) for name, value in self.headers.items())
        headers = (*message.headers, ("webhook-timestamp", str(at)), *signed, *own)
        return Letter(self.url, message.body, headers, message.content_type, self.method)


def values(batch: Batch) -> dict[str, Any]:
    """Return what a template can use."""
    (event,) = batch.events
    whole, _ = native(batch)
    return {
        "event": whole["data"],
        "type": whole["type"],
        "timestamp": whole["timestamp"],
        "headline": f"{plain(event.check, 200)}: {sentence_of(event)}",
        "status": "resolved" if event.kind in OVER else "firing",
        "receiver": plain(batch.address.receiver, 200),
    }


def sign(key: bytes, identity: str, at: int, body: bytes) -> str:
    """Return the symmetric signature of Standard Webhooks 1.0.0 over id, time and body."""
    content = b".".join((identity.encode(), str(at).encode(), body))
    return f"v1,{base64.b64encode(hmac.digest(key, content, 'sha256')).decode()}"


def key_of(secret: str) -> bytes:
    """Return the key that a secret stands for. Raises ``ValueError`` where it is too weak."""
    if secret.startswith(SECRET_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            raise ValueError("the secret must be base64 after whsec_") from None
    else:
        key = secret.encode()
    if len(key) < SECRET_BYTES:
        raise ValueError(f"the secret has {len(key)} bytes; make one of at least {SECRET_BYTES} random bytes")
    return key

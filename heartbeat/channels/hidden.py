"""What of a channel is secret, and what of a secret is one by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from pydantic import SecretStr

from heartbeat.channels import Channel

WORD = 8
"""Shorter words of a secret are none by themselves: ``Bearer`` and ``hook`` are in many."""


def secrets_of(value: object) -> Iterator[str]:
    """Yield every secret among the options of a channel."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, Channel):
        for name in type(value).model_fields:
            yield from secrets_of(getattr(value, name))
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from secrets_of(one)
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from secrets_of(one)


def parts_of(secret: str) -> Iterator[str]:
    """Yield a secret and its longer words: a token without its ``Bearer``, a URL's path. The host is none."""
    yield secret
    text = secret
    if "://" in secret:
        url = urlsplit(secret)
        text = f"{url.path}?{url.query}"
        yield url.path
    yield from (word for word in re.split(r"[\s/:?&=]+", text) if len(word) >= WORD)


def words_of(channel: Channel) -> Iterator[str]:
    """Yield every secret of a channel, and its words: a token without ``Bearer``, of a URL all but the host."""
    for secret in secrets_of(channel):
        if "://" in secret:
            url = urlsplit(secret)
            yield secret.partition(url.netloc)[2]
        else:
            yield secret
            yield from (word for word in secret.split() if len(word) >= WORD)

"""The body of a request as JSON, bounded, however it is sent."""

from __future__ import annotations

import json

from starlette.requests import Request

BODY_BYTES = 64 * 1024


class BadBody(Exception):  # noqa: N818 - what is wrong is the body, and the sentence says how
    """The body cannot be used.

    Args:
        sentence: why, for who sent it.
        status: as in HTTP.
    """

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status


async def read_json(request: Request) -> object:
    """Return the JSON of a request's body; of none an empty mapping. Raises ``BadBody``."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_BYTES:
            raise BadBody(f"a request may have at most {BODY_BYTES} bytes", 413)
    try:
        return json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise BadBody("the body of the request must be JSON", 400) from None

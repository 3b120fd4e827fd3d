"""Small things over HTTP: free ports, and fetching a page without any library of ours."""

from __future__ import annotations

import socket
from http.client import HTTPConnection, HTTPException


def free_port() -> int:
    """Return a port of loopback that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def get(port: int, path: str, within: float = 30.0) -> bytes:
    """Fetch a page of a server on loopback. Raises OSError or HTTPException."""
    connection = HTTPConnection("127.0.0.1", port, timeout=within)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(f"{path} answered {answer.status}: {body[:300]!r}")
    return body


def answers(port: int, path: str) -> bool:
    """Say whether a page is there."""
    try:
        get(port, path, 2.0)
    except (OSError, HTTPException):
        return False
    return True

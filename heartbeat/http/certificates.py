"""Certificates that were looked at: libcurl writes each out in full, which costs a twentieth of a handshake."""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic

from heartbeat.http.message import Certificate, Request, Target

LOOK_AGAIN = 60.0
"""Seconds after which a certificate is looked at again; every handshake verifies the one that is presented."""
KEPT = 1024
_Key = tuple[object, ...]


class Certificates:
    """The latest certificate of each server, as long as nothing fails there."""

    def __init__(self) -> None:
        self._seen: OrderedDict[_Key, tuple[float, Certificate]] = OrderedDict()

    def recall(self, request: Request, there: Target) -> Certificate | None:
        """Return what is known of a server's certificate, or None where it has to be looked at."""
        at, certificate = self._seen.get(_key(request, there), (0.0, None))
        return certificate if certificate is not None and monotonic() - at < LOOK_AGAIN else None

    def keep(self, request: Request, there: Target, certificate: Certificate) -> None:
        """Remember a certificate that was looked at just now."""
        key = _key(request, there)
        self._seen[key] = (monotonic(), certificate)
        self._seen.move_to_end(key)
        if len(self._seen) > KEPT:
            self._seen.popitem(last=False)

    def forget(self, request: Request, there: Target) -> None:
        """Look again the next time, as something failed."""
        self._seen.pop(_key(request, there), None)


def _key(request: Request, there: Target) -> _Key:
    return (there.host, there.port, request.tls, request.proxy, request.family)

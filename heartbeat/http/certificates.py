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
        if there.scheme != "https":
            return None
        at, certificate = self._seen.get(_key(request, there), (0.0, None))
        return certificate if certificate is not None and monotonic() - at < LOOK_AGAIN else None

    def keep(
        self, request: Request, there: Target, certificate: Certificate | None, *, good: bool
    ) -> Certificate | None:
        """Remember a certificate after a good exchange, forget it after a bad one; return it."""
        if there.scheme != "https":
            return certificate
        key = _key(request, there)
        known = self._seen.get(key)
        if not good or certificate is None:
            self._seen.pop(key, None)
        elif known is None or known[1] is not certificate:
            self._seen[key] = (monotonic(), certificate)
            self._seen.move_to_end(key)
            if len(self._seen) > KEPT:
                self._seen.popitem(last=False)
        return certificate


def _key(request: Request, there: Target) -> _Key:
    return (there.host, there.port, request.tls, request.proxy, request.family)

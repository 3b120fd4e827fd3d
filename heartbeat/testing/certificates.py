"""Certificates for servers in tests, right ones and wrong ones. Needs trustme (extra ``demo``).

authority = Authority()
async with serve(answer(200), tls=authority.context("localhost")) as server: ...
async with serve(answer(200), tls=authority.context("other.test")) as server: ...        # made for another name
async with serve(answer(200), tls=authority.context("localhost", days=-1)) as server: ...    # expired yesterday
async with serve(answer(200), tls=Authority().context("localhost")) as server: ...       # of an unknown authority
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


class Authority:
    """An authority that issues certificates; one that nobody trusts unless told to."""

    def __init__(self) -> None:
        self._authority = trustme.CA()

    def context(self, *names: str, days: float = 30.0) -> ssl.SSLContext:
        """Return a server's context with a certificate for names or addresses that ends in so many days."""
        ends = datetime.now(UTC) + timedelta(days=days)
        begins = min(datetime.now(UTC), ends) - timedelta(days=1)
        issued = self._authority.issue_cert(*(names or ("localhost", "127.0.0.1")), not_before=begins, not_after=ends)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(context)
        return context

    def write(self, path: Path) -> str:
        """Write the authority's own certificate into a file, for ``ca_file``; return its path as text."""
        self._authority.cert_pem.write_to_path(str(path))
        return str(path)

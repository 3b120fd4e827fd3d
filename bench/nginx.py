"""The target of all: nginx with a page of 512 bytes, plain and over TLS (ECDSA, a full handshake each time)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from bench.program import Program
from bench.web import answers, free_port, get

NAMES = ("one.bench.test", "two.bench.test", "three.bench.test", "four.bench.test")


@dataclass(frozen=True, slots=True)
class Site:
    """Where it serves; ``authority`` is the PEM file to trust."""

    http: str
    https: str
    authority: Path
    program: Program
    status: int
    """The port that tells how many requests it has answered."""

    def requests(self) -> int:
        """Return how many requests it has taken; what asks is one of them."""
        lines = get(self.status, "/").decode("ascii").splitlines()
        return int(lines[2].split()[2])


@contextmanager
def serving(folder: Path, cores: Sequence[int] | None = None) -> Iterator[Site]:
    """Serve until the block ends."""
    plain, secure, status = free_port(), free_port(), free_port()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("127.0.0.1", *NAMES).private_key_and_cert_chain_pem.write_to_path(folder / "nginx.pem")
    (folder / "index.html").write_text("x" * 512, encoding="ascii")
    (folder / "nginx.conf").write_text(_settings(folder, plain, secure, status), encoding="utf-8")
    command: list[str | Path] = [
        "nginx",
        *("-p", folder),
        *("-c", folder / "nginx.conf"),
        *("-e", folder / "nginx.error"),
    ]
    with Program(command, folder, name="nginx", cores=cores) as program:
        program.wait_until(lambda: answers(plain, "/"))
        yield Site(f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{secure}", folder / "ca.pem", program, status)


def _settings(folder: Path, plain: int, secure: int, status: int) -> str:
    return f"""
daemon off;
{"user root;" if os.geteuid() == 0 else ""}
worker_processes 1;
worker_rlimit_nofile 16384;
pid {folder}/nginx.pid;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    keepalive_timeout 60;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    server {{
        listen 127.0.0.1:{plain} backlog=8192;
        listen 127.0.0.1:{secure} ssl backlog=8192;
        ssl_certificate {folder}/nginx.pem;
        ssl_certificate_key {folder}/nginx.pem;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache off;
        ssl_session_tickets off;
        root {folder};
    }}
    server {{
        listen 127.0.0.1:{status};
        location / {{ stub_status; }}
    }}
}}
"""

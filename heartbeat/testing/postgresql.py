"""A real PostgreSQL in a folder of its own, without a trace in /etc. Needs Debian's package `postgresql`.

with postgresql() as server:
    server.run("create role monitor login password 'right'", "create table orders (id int)")
    url = f"postgresql://monitor@{server.host}:{server.port}/{server.database}"
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = '{folder}'
max_connections = 20
shared_buffers = '16MB'
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
lc_messages = 'C'
timezone = 'UTC'
"""
TLS = """
ssl = on
ssl_cert_file = '{folder}/pair.pem'
ssl_key_file = '{folder}/pair.pem'
"""
ACCESS = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
"""Whoever has the socket is whom they say; whoever comes over TCP needs a password."""
USER = "postgres"
"""As whom Debian's package lets the server run, and its superuser: PostgreSQL refuses to run as root."""
PORTS_TRIED = 5
PATIENCE = 60


@dataclass(frozen=True, slots=True)
class Postgresql:
    """A server that runs. Over TCP a role needs its password; over the socket in ``folder`` everybody is let in."""

    folder: Path
    port: int
    host: str = "127.0.0.1"
    database: str = "postgres"

    def run(self, *statements: str) -> str:
        """Have the superuser run statements, each in a transaction of its own; return what psql prints.

        Raises RuntimeError with what the server says.
        """
        there = ["-h", str(self.folder), "-p", str(self.port), "-U", USER, "-d", self.database]
        orders = [word for statement in statements for word in ("-c", statement)]
        return _run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", *there, *orders]).strip()

    def stop(self, how: str = "immediate") -> None:
        """Stop it: ``immediate`` as a crash, ``fast`` by ending its sessions, ``smart`` by waiting for their end."""
        _as_server("pg_ctl", "-D", self._data, "-m", how, "-t", PATIENCE, "-w", "stop")

    def start(self) -> None:
        """Start it, again on the same port. Raises RuntimeError with the end of its log."""
        options = f"-p {self.port}"
        try:
            _as_server(
                "pg_ctl", "-D", self._data, "-l", self.folder / "log", "-o", options, "-t", PATIENCE, "-w", "start"
            )
        except RuntimeError as failed:
            raise RuntimeError(f"PostgreSQL does not start: {self.log()[-2000:] or failed}") from None

    def log(self) -> str:
        """Return what the server has logged."""
        log = self.folder / "log"
        return log.read_text(errors="replace") if log.exists() else ""

    @property
    def _data(self) -> Path:
        return self.folder / "data"


@contextmanager
def postgresql(certificate: bytes = b"") -> Iterator[Postgresql]:
    """Run a server; its data is gone afterwards, and it would not survive a crash of the machine.

    Args:
        certificate: private key and certificate chain, in PEM; then it speaks TLS too.
    """
    folder = Path(tempfile.mkdtemp(prefix="heartbeat-postgresql-"))
    try:
        _make(folder, certificate)
        server = _start(folder)
        try:
            yield server
        finally:
            if (folder / "data/postmaster.pid").exists():
                server.stop()
    finally:
        shutil.rmtree(folder)


def _make(folder: Path, certificate: bytes) -> None:
    if os.geteuid() == 0:
        shutil.chown(folder, USER, USER)
    _as_server("initdb", "-D", folder / "data", "-U", USER, "--no-sync", "-E", "UTF8", "--locale", "C.UTF-8")
    with (folder / "data/postgresql.conf").open("a") as settings:
        settings.write(SETTINGS.format(folder=folder))
        if certificate:
            settings.write(TLS.format(folder=folder))
    (folder / "data/pg_hba.conf").write_text(ACCESS)
    if certificate:
        pair = folder / "pair.pem"
        pair.touch(mode=0o600)
        pair.write_bytes(certificate)
        if os.geteuid() == 0:
            shutil.chown(pair, USER, USER)


def _start(folder: Path) -> Postgresql:
    """Start on a port that was free a moment ago; should another have taken it meanwhile, on the next."""
    failed = RuntimeError("PostgreSQL was never started")
    for _ in range(PORTS_TRIED):
        server = Postgresql(folder, _free_port())
        try:
            server.start()
        except RuntimeError as error:
            failed = error
        else:
            return server
    raise failed


def _as_server(program: str, *words: object) -> str:
    """Run one of the server's programs, as a user who is not root."""
    prefix = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups"] if os.geteuid() == 0 else []
    return _run([*prefix, str(_programs() / program), *map(str, words)])


def _programs() -> Path:
    """Return the folder with the newest server's programs, which Debian keeps off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    there = shutil.which("initdb")
    if not found and there is None:
        raise RuntimeError("there is no PostgreSQL here: apt-get install postgresql")
    return found[-1].parent if found else Path(there or "").parent


def _run(command: list[str]) -> str:
    """Run a program with an environment that leads it nowhere else, and return what it prints."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
    with tempfile.TemporaryFile() as output:  # no pipe: a server that goes on would hold its end
        done = subprocess.run(  # noqa: S603 - a test's
            command, cwd="/", env=environment, stdout=output, stderr=subprocess.STDOUT, timeout=PATIENCE, check=False
        )
        output.seek(0)
        printed = output.read().decode(errors="replace")
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:6])}: {printed[-2000:]}")
    return printed


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port

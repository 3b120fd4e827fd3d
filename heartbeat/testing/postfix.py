"""A real mail server on loopback: Postfix in a folder of its own, without a trace in /etc. Needs root and Postfix."""

from __future__ import annotations

import email
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/data/log
maillog_file_prefixes = {folder}
myhostname = mail.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
local_recipient_maps =
alias_maps =
alias_database =
virtual_mailbox_domains = example.com
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:all/
virtual_minimum_uid = 1
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtpd_recipient_restrictions = check_recipient_access texthash:{folder}/answers, permit_mynetworks, reject
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {certificate}
smtpd_tls_security_level = encrypt
"""
# Nothing is chrooted, and each smtpd serves one connection, so that the next one reads the answers anew.
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd -o max_use=1
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
virtual unix - n n - - virtual
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
"""
NOBODY = 65534
PORTS_TRIED = 5


@dataclass(slots=True)
class Postfix:
    """A mail server that runs; ``example.com`` is its own domain, and every address there exists."""

    folder: Path
    port: int
    host: str = "127.0.0.1"
    _answers: dict[str, str] = field(default_factory=dict)

    def answer(self, recipient: str, reply: str | None) -> None:
        """Refuse a recipient with a reply, as ``450 4.2.0 greylisted``; with None, take it again."""
        self._answers = {**self._answers, recipient: reply or "OK"}
        self._write_answers()

    def configure(self, setting: str) -> None:
        """Change the configuration: ``message_size_limit=3000``."""
        subprocess.run(["postconf", "-c", self.folder / "etc", "-e", setting], check=True)  # noqa: S603, S607 - a test's
        os.utime(self.folder / "etc/main.cf", (0, 0))  # or it waits for more changes
        _run(self.folder, "reload")

    def mails(self, count: int, within: float = 10.0) -> list[Message]:
        """Wait until that many mails lie in the mailbox, and return all, the oldest first. Raises TimeoutError."""
        end = time.monotonic() + within
        while (
            len(found := sorted(self.folder.glob("mail/all/new/*"), key=lambda path: path.stat().st_mtime_ns)) < count
        ):
            if time.monotonic() > end:
                raise TimeoutError(f"{len(found)} mails instead of {count}; the log: {self.log()[-2000:]}")
            time.sleep(0.05)
        return [email.message_from_bytes(path.read_bytes()) for path in found]

    def empty(self) -> None:
        """Throw away the mails, and the answers."""
        shutil.rmtree(self.folder / "mail/all", ignore_errors=True)
        self._answers = {}
        self._write_answers()

    def log(self) -> str:
        """Return what the server has logged."""
        log = self.folder / "data/log"
        return log.read_text() if log.exists() else ""

    def _write_answers(self) -> None:
        """Replace the table at once, and as if it were old: of one just written Postfix waits for more to come."""
        written = self.folder / "answers.new"
        written.write_text("".join(f"{name} {text}\n" for name, text in self._answers.items()))
        os.utime(written, (0, 0))
        written.replace(self.folder / "answers")


@contextmanager
def postfix(certificate: bytes) -> Iterator[Postfix]:
    """Run a mail server that insists on STARTTLS.

    Args:
        certificate: private key and certificate chain, in PEM.
    """
    folder = Path(tempfile.mkdtemp(prefix="heartbeat-postfix-"))
    try:
        server = _start(folder, certificate)
        try:
            yield server
        finally:
            _run(folder, "stop")
    finally:
        shutil.rmtree(folder)


def _start(folder: Path, certificate: bytes) -> Postfix:
    """Start on a port that was free a moment ago; should another have taken it meanwhile, on the next."""
    folder.chmod(0o755)  # its daemons are not root
    for name in ("etc", "queue", "data", "mail"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")
    shutil.chown(folder / "mail", NOBODY)
    (folder / "etc/pair.pem").write_bytes(certificate)
    (folder / "etc/main.cf").write_text(MAIN.format(folder=folder, certificate=folder / "etc/pair.pem"))
    for _ in range(PORTS_TRIED):
        server = Postfix(folder, _free_port())
        server.empty()
        (folder / "etc/master.cf").write_text(MASTER.format(port=server.port))
        try:
            _run(folder, "start")
        except subprocess.CalledProcessError:
            continue
        return server
    raise RuntimeError(f"Postfix does not start: {server.log()[-2000:]}")


def _run(folder: Path, command: str) -> None:
    subprocess.run(["postfix", "-c", folder / "etc", command], check=True, capture_output=True, timeout=30)  # noqa: S603, S607 - a test's


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port

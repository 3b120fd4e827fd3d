"""Who is bad: one table that sorts what libraries raise into faults of the target and faults of the check.

Connections, lookups, TLS, protocols and timeouts of any client speak of the target. Exhausted descriptors, memory or
ports, a machine without network, and local files speak of the check, and so does every exception that nobody knows.
Classes are found by their qualified names along the MRO, so nothing is imported for the sake of the table; those of
databases are in ``databases``.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from traceback import walk_tb
from typing import Any

from heartbeat import databases
from heartbeat.check import CheckBroken, CheckFailed
from heartbeat.core.model import BROKEN_REASONS, Outcome, Reason
from heartbeat.core.text import plain, words_of

DETAIL_CHARACTERS = 300
PLUGIN_MODULES = "heartbeat_checks."
"""Under which names check modules are loaded; the last frame among them is the place of an unknown exception."""

Row = tuple[Reason, str]


@dataclass(frozen=True, slots=True)
class Fault:
    """What an exception means: who is bad (``fail`` the target, ``error`` the check), why, in one sentence."""

    outcome: Outcome
    reason: Reason
    sentence: str
    expected: str | None = None
    observed: str | None = None


REFUSED = (Reason.CONNECT, "the connection was refused")
UNREACHED = (Reason.CONNECT, "the target cannot be reached")
CLOSED = (Reason.RESET, "the target broke the connection off")
SILENT = (Reason.TIMEOUT, "the target did not answer in time")
UNRESOLVED = (Reason.RESOLVE, "the name could not be looked up")
UNSECURED = (Reason.TLS, "TLS failed")
UNTRUSTED = (Reason.CERTIFICATE, "the certificate does not verify")
GARBLED = (Reason.PROTOCOL, "the target does not keep to the protocol")
DENIED = (Reason.AUTH, "the target refused the login")
ANSWERED = (Reason.STATUS, "the target answered with an error")
UNREADABLE = (Reason.CONTENT, "the answer cannot be read")
EXHAUSTED = (Reason.RESOURCE, "this process ran out of something that it needs")
MISWRITTEN = (Reason.CONFIG, "the options of the check cannot work")
LOCAL_FILE = (Reason.CONFIG, "a local file cannot be used")
MISUSED = (Reason.PLUGIN, "the plugin used a library wrongly")
CUT_OFF = (Reason.NETWORK, "this machine has no network")

# What the operating system says, whatever library passes it on.
ERRNOS: dict[int, Row] = {
    **dict.fromkeys((errno.ECONNREFUSED,), REFUSED),
    **dict.fromkeys((errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN), UNREACHED),
    **dict.fromkeys((errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ESHUTDOWN, errno.ENETRESET), CLOSED),
    **dict.fromkeys((errno.EPERM, errno.EACCES, errno.ENOENT, errno.ENOTCONN), UNREACHED),  # of sockets; see FILES
    **dict.fromkeys((errno.ETIMEDOUT,), SILENT),
    **dict.fromkeys((errno.EPROTO, errno.EMSGSIZE), GARBLED),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN), EXHAUSTED),
    **dict.fromkeys((errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.ENOSPC, errno.EDQUOT), EXHAUSTED),
    **dict.fromkeys((errno.EROFS, errno.EAFNOSUPPORT), MISWRITTEN),
}
FILES = {errno.EPERM, errno.EACCES, errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
"""With a file name these speak of a local file; without one, of a socket."""
ADRIFT = frozenset({errno.ENETUNREACH, errno.ENETDOWN})  # our own fault where the machine has no route at all

# libcurl's codes (libcurl-errors(3)); one that is not here is a conversation that went wrong.
CURL: dict[int, Row] = {
    **dict.fromkeys((5, 6), UNRESOLVED),
    **dict.fromkeys((7, 96, 97), UNREACHED),
    **dict.fromkeys((28,), SILENT),
    **dict.fromkeys((35, 64), UNSECURED),
    **dict.fromkeys((51, 60, 83, 90, 91), UNTRUSTED),
    **dict.fromkeys((18, 52, 55, 56, 81), CLOSED),
    **dict.fromkeys((9, 67), DENIED),
    **dict.fromkeys((19, 22, 25, 78), ANSWERED),
    **dict.fromkeys((61, 63), UNREADABLE),
    **dict.fromkeys((27,), EXHAUSTED),
    **dict.fromkeys((1, 3, 4, 37, 45, 53, 54, 58, 59, 66, 77, 82), MISWRITTEN),
    **dict.fromkeys((2, 23, 26, 42, 43, 48, 93), MISUSED),
}

# These say it all by themselves.
CLASSES: dict[str, Row] = {
    "builtins.MemoryError": EXHAUSTED,
    "builtins.TimeoutError": SILENT,
    "builtins.EOFError": CLOSED,
    "builtins.ConnectionRefusedError": REFUSED,
    "builtins.ConnectionError": CLOSED,
    "asyncio.exceptions.LimitOverrunError": GARBLED,
    "socket.herror": UNRESOLVED,
    "subprocess.TimeoutExpired": SILENT,
    "ssl.SSLCertVerificationError": UNTRUSTED,
    "ssl.SSLEOFError": CLOSED,
    "ssl.SSLZeroReturnError": CLOSED,
    "http.client.InvalidURL": MISWRITTEN,
    "http.client.ImproperConnectionState": MISUSED,
    "http.client.IncompleteRead": CLOSED,
    "http.client.HTTPException": GARBLED,
    "urllib.error.HTTPError": ANSWERED,
    "urllib.error.ContentTooShortError": CLOSED,
    "httpx.TimeoutException": SILENT,
    "httpx.PoolTimeout": EXHAUSTED,
    "httpx.HTTPStatusError": ANSWERED,
    "httpx.TooManyRedirects": GARBLED,
    "httpx.DecodingError": UNREADABLE,
    "httpx.LocalProtocolError": MISUSED,
    "httpx.UnsupportedProtocol": MISWRITTEN,
    "httpx.InvalidURL": MISWRITTEN,
    "smtplib.SMTPAuthenticationError": DENIED,
    "smtplib.SMTPNotSupportedError": GARBLED,
    "smtplib.SMTPException": ANSWERED,
    "aiosmtplib.errors.SMTPAuthenticationError": DENIED,
    "aiosmtplib.errors.SMTPTimeoutError": SILENT,
    "aiosmtplib.errors.SMTPNotSupported": GARBLED,
    "aiosmtplib.errors.SMTPConnectResponseError": ANSWERED,
    "ftplib.error_proto": GARBLED,
    "ftplib.Error": ANSWERED,
    "imaplib.IMAP4.abort": CLOSED,
    "dns.exception.Timeout": SILENT,
    "dns.exception.SyntaxError": MISWRITTEN,
    "dns.resolver.NoResolverConfiguration": MISWRITTEN,
    **dict.fromkeys(("dns.resolver.NXDOMAIN", "dns.resolver.YXDOMAIN"), UNRESOLVED),
    **dict.fromkeys(("dns.resolver.NoAnswer", "dns.resolver.NoNameservers"), UNRESOLVED),
    "dns.exception.DNSException": GARBLED,
    "sqlalchemy.exc.TimeoutError": EXHAUSTED,
}

# These wrap something: what lies beneath says more, and only where there is nothing does the row count.
WRAPPERS: dict[str, Row] = {
    "asyncio.exceptions.IncompleteReadError": CLOSED,
    "smtplib.SMTPServerDisconnected": CLOSED,
    "urllib.error.URLError": UNREACHED,
    "httpx.ConnectError": UNREACHED,
    "httpx.ProxyError": UNREACHED,
    "httpx.NetworkError": CLOSED,
    "anyio.EndOfStream": CLOSED,
    "anyio.BrokenResourceError": CLOSED,
    "httpx.RequestError": GARBLED,
    "aiosmtplib.errors.SMTPServerDisconnected": CLOSED,
    "aiosmtplib.errors.SMTPConnectError": UNREACHED,
    "aiosmtplib.errors.SMTPException": ANSWERED,
}

PROGRAMMING = (
    TypeError, ValueError, LookupError, AttributeError, NameError, AssertionError, ArithmeticError, ImportError,
    SyntaxError, NotImplementedError, RecursionError, StopIteration, StopAsyncIteration,
)  # fmt: skip
"""Mistakes of the plugin, even where they happened while it handled a fault of the target."""
DEPTH = 20
"""How many exceptions deep causes are followed."""


def has_route() -> bool:
    """Say whether this machine has any route besides loopback; where the kernel does not tell, yes."""
    try:
        four = [row.split() for row in Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]]
        six = [row.split() for row in Path("/proc/net/ipv6_route").read_text(encoding="ascii").splitlines()]
    except OSError:
        return True
    # The flags are RTF_UP 0x1 and RTF_REJECT 0x200; link-local and multicast routes lead nowhere.
    return any(row[0] != "lo" and int(row[3], 16) & 0x201 == 0x1 for row in four) or any(
        row[9] != "lo" and int(row[8], 16) & 0x201 == 0x1 and not row[0].startswith(("fe8", "ff")) for row in six
    )


def sort_fault(error: BaseException, *, has_route: Callable[[], bool] = has_route) -> Fault:
    """Sort what a plugin let through.

    A group counts as its worst known leaf. What is not in the table is sorted by the error beneath it (its cause),
    unless it is a plain programming mistake; what nobody knows is ``error/plugin``, with its type and place.
    """
    try:
        found = _sort(error, has_route, DEPTH)
    except Exception:  # noqa: BLE001 - its words and attributes are the plugin's code too, and may raise in their turn
        found = None
    return found or Fault(Outcome.ERROR, Reason.PLUGIN, f"the plugin raised {_describe(error)}{_place(error)}")


def _sort(error: BaseException, routed: Callable[[], bool], depth: int) -> Fault | None:
    if isinstance(error, CheckFailed):
        outcome = Outcome.ERROR if isinstance(error, CheckBroken) else Outcome.FAIL
        return Fault(outcome, error.reason, error.sentence, error.expected, error.observed)
    if isinstance(error, BaseExceptionGroup):
        return _worst(_sort(leaf, routed, depth - 1) for leaf in error.exceptions)
    names = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__]
    for name in names:
        if name in WRAPPERS:
            return _beneath(error, routed, depth) or _fault(WRAPPERS[name], error, routed)
        if row := CLASSES.get(name) or (REFINED[name](error) if name in REFINED else None):
            return _fault(row, error, routed)
    if said := databases.sort(error):
        return _fault(databases.ROWS[said[0]], error, routed, said[1])
    return None if isinstance(error, PROGRAMMING) else _beneath(error, routed, depth)


def _beneath(error: BaseException, routed: Callable[[], bool], depth: int) -> Fault | None:
    """Sort the first known error that this one was made of."""
    context = None if error.__suppress_context__ else error.__context__
    for cause in (*error.args[:1], getattr(error, "reason", None), error.__cause__, context):
        if isinstance(cause, BaseException) and depth > 0 and (found := _sort(cause, routed, depth - 1)):
            return found
    return None


def _worst(faults: Iterator[Fault | None]) -> Fault | None:
    known = [fault for fault in faults if fault]
    return max(known, key=lambda fault: fault.outcome is Outcome.ERROR, default=None)


def _fault(row: Row, error: BaseException, routed: Callable[[], bool], said: str = "") -> Fault:
    if (_is_adrift(error) or "Network is unreachable" in said) and not routed():
        row = CUT_OFF
    reason, words = row
    if reason is Reason.PLUGIN:
        return Fault(Outcome.ERROR, reason, f"{words}: {_describe(error)}{_place(error)}")
    detail = plain(said or str(getattr(error, "verify_message", "") or error), DETAIL_CHARACTERS)
    outcome = Outcome.ERROR if reason in BROKEN_REASONS else Outcome.FAIL
    return Fault(outcome, reason, f"{words}: {detail}" if detail else words)


def _is_adrift(error: BaseException) -> bool:
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    return isinstance(error, OSError) and error.errno in ADRIFT


def _describe(error: BaseException) -> str:
    return f"{plain(type(error).__qualname__, 80)}: {plain(words_of(error), DETAIL_CHARACTERS)}".rstrip(": ")


def _place(error: BaseException) -> str:
    """Name the last line of the plugin that the exception passed; the last line of all where none is the plugin's."""
    frames = list(walk_tb(error.__traceback__))
    ours = [frame for frame in frames if str(frame[0].f_globals.get("__name__")).startswith(PLUGIN_MODULES)]
    for frame, number in (ours or frames)[-1:]:
        return f" ({PurePath(frame.f_code.co_filename).name}:{number})"
    return ""


def _of_system(error: Any) -> Row | None:
    if error.errno in FILES and error.filename is not None:
        return LOCAL_FILE
    if error.errno is not None:
        return ERRNOS.get(error.errno)
    # asyncio joins the errors of several addresses into the text of one that has no number
    numbers = (int(number) for number in re.findall(r"\[Errno (-?\d{1,4})\]", str(error)[:4096]))
    return next((ERRNOS[number] for number in numbers if number in ERRNOS), None)


def _of_tls(error: Any) -> Row:
    """Tell our own files and settings, which OpenSSL's PEM and X509 readers refuse, from the other side's TLS."""
    if getattr(error, "library", None) in {"PEM", "X509", "ASN1", "CONF"} or "PEM lib" in str(error):
        return LOCAL_FILE
    return LOCAL_FILE if "KEY_VALUES_MISMATCH" in str(error) else UNSECURED


def _of_curl(error: Any) -> Row:
    code = error.args[0] if error.args else None
    if not isinstance(code, int):
        return MISUSED
    return GARBLED if "HTTP/0.9" in str(error) else CURL.get(code, GARBLED)


def _of_smtp(error: Any) -> Row:
    code = getattr(error, "smtp_code", None) or getattr(error, "code", None)
    return DENIED if code in {530, 534, 535, 538} else ANSWERED


def _of_answer(error: Any) -> Row:
    """Read the words of FTP, IMAP and POP3 servers, whose clients have one class for all refusals."""
    if str(error) == "-ERR EOF":  # how poplib puts a closed connection
        return CLOSED
    return DENIED if re.match(r"530|.*\[?AUTH|.*LOGIN failed", str(error), re.IGNORECASE) else ANSWERED


REFINED: Mapping[str, Callable[[Any], Row | None]] = {
    "builtins.OSError": _of_system,
    "builtins.RuntimeError": lambda error: EXHAUSTED if "can't start new thread" in str(error) else None,
    "builtins.UnicodeError": lambda error: MISWRITTEN if "'idna' codec" in str(error) else None,
    "socket.gaierror": lambda error: EXHAUSTED if error.errno == socket.EAI_MEMORY else UNRESOLVED,
    "ssl.SSLError": _of_tls,
    "pycurl.error": _of_curl,
    "httpx.RemoteProtocolError": lambda error: CLOSED if "disconnected" in str(error) else GARBLED,
    "smtplib.SMTPResponseException": _of_smtp,
    "aiosmtplib.errors.SMTPResponseException": _of_smtp,
    "ftplib.error_perm": _of_answer,
    "imaplib.IMAP4.error": _of_answer,
    "poplib.error_proto": _of_answer,
}
"""What is told apart by a number or a word inside the exception."""

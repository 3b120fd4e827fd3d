"""What the errors of databases mean, whatever library passes them on: by code, number or name, else by words.

Whatever speaks with a database is judged by these tables, be it a plugin of somebody's own. What was there yesterday
and is not there today is the target's fault, even though it may be a mistake in a query that never worked. Libraries
are known by the names of their modules: nothing is imported.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from heartbeat.core.model import Reason

# PostgreSQL's codes (appendix A of its manual); a class is its first two characters.
SQLSTATES = {
    "42P01": "absent", "42703": "absent", "3F000": "absent", "3D000": "absent",
    "42501": "auth",
    "55P03": "timeout", "57014": "reset",
    "57P01": "reset", "57P02": "reset", "57P05": "reset", "25P03": "reset", "25P04": "reset",
    "57P03": "connect", "53300": "connect",
    "08P01": "protocol", "08001": "connect", "08004": "connect",
    "25006": "status",
    "08": "reset", "28": "auth",
    "22": "content", "23": "content", "P0": "content",
    "42": "config", "0A": "config", "25": "config", "2B": "config", "2D": "config", "34": "config", "54": "config",
}  # fmt: skip

# MySQL's and MariaDB's numbers, and from 2000 on those of their clients.
NUMBERS = {
    **dict.fromkeys((1044, 1045, 1130, 1142, 1143, 1227, 1370, 1698), "auth"),
    **dict.fromkeys((1049, 1054, 1109, 1146, 1305), "absent"),
    **dict.fromkeys((1040, 1129, 1203, 1226, 2002, 2003), "connect"),
    **dict.fromkeys((1053, 1317, 1927, 2006, 2013), "reset"),
    **dict.fromkeys((1205, 1969, 3024), "timeout"),
    **dict.fromkeys((1048, 1062, 1264, 1292, 1365, 1366, 1406, 1451, 1452, 1690, 3819, 4025), "content"),
    **dict.fromkeys((1064, 1065, 1149, 1210, 1222, 1251, 1582, 2059), "config"),
    **dict.fromkeys((2026, 3159), "tls"),
    2005: "resolve",
}

# SQLite's names, without what comes before and after. The file is the target: what is wrong with it is its own fault.
NAMES = {
    **dict.fromkeys(("BUSY", "LOCKED", "INTERRUPT"), "timeout"),
    **dict.fromkeys(("CANTOPEN", "PERM"), "connect"),
    **dict.fromkeys(("CONSTRAINT", "MISMATCH", "CORRUPT", "NOTADB"), "content"),
    **dict.fromkeys(("READONLY", "FULL", "IOERR"), "status"),
    "NOMEM": "resource",
}

# What PostgreSQL's library says before there is a session comes without a code, and in the server's language: known is
# the English one. ``network`` asks whether this machine has any.
WORDS = tuple(
    (re.compile(words), reason)
    for words, reason in (
        (r"SSL negotiation|expected .*, but received|unexpected (message|response)|synchronization", "protocol"),
        (r"invalid \S+ value|file \"[^\"]*\" does not exist|could not (read|load|open|access) .*file", "config"),
        (r"no password supplied", "config"),
        (r"[Tt]oo many open files|out of memory", "resource"),
        (r"could not translate host name|failed to resolve host", "resolve"),
        (r"Network is unreachable", "network"),
        (r"too many (connections|clients)|connection slots are reserved", "connect"),
        (r"starting up|shutting down|recovery mode|accepting connections$", "connect"),
        (r"database \".*\" does not exist", "absent"),
        (r"authentication|pg_hba\.conf|not permitted to log in|permission denied|role \".*\" does not exist", "auth"),
        (r"session is (not )?read-only|hot standby", "status"),
        (r"timeout expired|timed out", "timeout"),
        (r"closed the connection|reset by peer|EOF|Broken pipe|terminating connection", "reset"),
        (r"certificate", "certificate"),
        (r"SSL|TLS", "tls"),
    )
)
CONNECTING = re.compile(r"connection (failed|to server)|could not connect|connection is bad")

ROWS = {
    "absent": (Reason.ABSENT, "the database has no such thing"),
    "auth": (Reason.AUTH, "the database refused the login, or a right"),
    "certificate": (Reason.CERTIFICATE, "the certificate does not verify"),
    "config": (Reason.CONFIG, "what is asked of the database cannot work"),
    "connect": (Reason.CONNECT, "no connection to the database"),
    "content": (Reason.CONTENT, "the database refused the values"),
    "network": (Reason.CONNECT, "no connection to the database"),
    "protocol": (Reason.PROTOCOL, "the database does not keep to the protocol"),
    "reset": (Reason.RESET, "the database broke the connection or the query off"),
    "resolve": (Reason.RESOLVE, "the name could not be looked up"),
    "resource": (Reason.RESOURCE, "this process ran out of something that it needs"),
    "status": (Reason.STATUS, "the database answered with an error"),
    "timeout": (Reason.TIMEOUT, "the database did not answer in time"),
    "tls": (Reason.TLS, "TLS failed"),
}


def by_sqlstate(code: str, said: str) -> str:
    """Return the reason for a code of PostgreSQL; one that nobody knows is a refusal (``status``)."""
    if code == "57014" and "timeout" in said:
        return "timeout"
    return SQLSTATES.get(code) or SQLSTATES.get(code[:2]) or "status"


def by_number(number: int, said: str) -> str:
    """Return the reason for a number of MySQL; one that nobody knows is a refusal."""
    return "timeout" if "timed out" in said else NUMBERS.get(number, "status")


def by_name(name: str, said: str) -> str:
    """Return the reason for an error of SQLite, such as ``SQLITE_BUSY_SNAPSHOT``; ``said`` tells more of the rest."""
    if reason := NAMES.get(name.partition("_")[2].partition("_")[0]):
        return reason
    return "absent" if said.startswith(("no such table", "no such column")) else "config"


def by_words(said: str, whole: str) -> str:
    """Return the reason for what came without a code: what was said last, and all that was said."""
    known = (reason for words, reason in WORDS if words.search(said))
    return next(known, "connect" if CONNECTING.search(whole) else "reset")


def last_words(error: Exception) -> str:
    """Return what PostgreSQL's library says of the last thing that it tried, without the addresses before it."""
    lines = [line for line in str(error).splitlines() if line and not line.startswith("\t")]
    tried = [line.rpartition(" failed: ")[2] for line in lines if " failed: " in line]
    return re.sub(r"^[A-Z]+: +", "", tried[-1] if tried else lines[0] if lines else type(error).__name__)


def sort(error: BaseException) -> tuple[str, str] | None:
    """Return the reason for an error, and what the database says; None where it says nothing, or is none of these.

    What is not in the words is what stood around them: the statement, the row that broke a constraint.
    """
    for kind in type(error).__mro__:
        if found := LIBRARIES.get(kind.__module__.partition(".")[0]):
            return found(error)
    return None


def _of_postgresql(error: Any) -> tuple[str, str] | None:
    code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    said = getattr(getattr(error, "diag", None), "message_primary", None) or last_words(error)
    if isinstance(code, str):
        return by_sqlstate(code, said), said
    is_known = any(kind.__qualname__ == "OperationalError" for kind in type(error).__mro__)
    return (by_words(said, str(error)), said) if is_known else None  # else the library was misused


def _of_mysql(error: Any) -> tuple[str, str] | None:
    number, said = (*error.args, None, None)[:2]
    if isinstance(number, int) and number and not hasattr(error, "original_exception"):  # that one says more
        return by_number(number, str(said)), str(said)
    return ("protocol", str(error)) if type(error).__qualname__ == "InternalError" and number else None


def _of_sqlite(error: Any) -> tuple[str, str] | None:
    name = getattr(error, "sqlite_errorname", None)
    return (by_name(name, str(error)), str(error)) if name else None


def _of_sqlalchemy(error: Any) -> None:
    """Leave it to what lies beneath. Where nothing does, values that were handed over are not for messages."""
    error.hide_parameters = True


LIBRARIES: dict[str, Callable[[Any], tuple[str, str] | None]] = {
    **dict.fromkeys(("psycopg", "psycopg2", "asyncpg"), _of_postgresql),
    **dict.fromkeys(("pymysql", "MySQLdb"), _of_mysql),
    "sqlite3": _of_sqlite,
    "sqlalchemy": _of_sqlalchemy,
}
"""By the package of the library."""

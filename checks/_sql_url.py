"""The URL of a database: what it says, what it must not hold, and whether there is a driver for it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from ._sql_session import Place

DRIVERS = {
    "postgresql": ("psycopg", "'heartbeat[sql]'"),
    "mysql": ("pymysql", "pymysql"),
    "mariadb": ("pymysql", "pymysql"),
    "sqlite": ("sqlite3", ""),
}
"""The library that speaks with each kind of database, and how pip knows it."""
PORTS = {"postgresql": "5432", "mysql": "3306"}
SECRET = frozenset({"password", "passwd"})
OURS = {
    "connect_timeout": "the timeout of the check holds for connecting too",
    "read_timeout": "the timeout of the check holds for reading too",
    "write_timeout": "the timeout of the check holds for writing too",
    "user": "it stands before the host, or under user",
    "hostaddr": "names are looked up by heartbeat",
}


def read_url(text: str) -> Place:
    """Read a URL as SQLAlchemy writes them. Raises ``ValueError`` with what is to be changed."""
    try:
        url = make_url(text)
        _ = url.port
    except (ArgumentError, ValueError):
        raise ValueError("this is no URL of a database; one is postgresql://user@host:5432/database") from None
    kind, _, driver = url.drivername.partition("+")
    if kind not in DRIVERS:
        raise ValueError("a URL begins with postgresql://, mysql://, mariadb:// or sqlite:////")
    if driver and driver != {"sqlite3": "pysqlite"}.get(DRIVERS[kind][0], DRIVERS[kind][0]):
        raise ValueError(f"{kind} is spoken with {DRIVERS[kind][0]}; write {kind}://")
    options = {name: value if isinstance(value, str) else ",".join(value) for name, value in url.query.items()}
    if url.password is not None or SECRET & {name.lower() for name in options}:
        raise ValueError("a URL holds no password, as it is shown; write it under password")
    for name, why in OURS.items():
        if name in options:
            raise ValueError(f"the URL must not set {name}: {why}")
    _find_driver(kind)
    return _read_file(url, options) if kind == "sqlite" else _read_server(url, kind, options)


def _read_file(url: URL, options: Mapping[str, str]) -> Place:
    path = url.database or ""
    if url.host or url.username or options or not path.startswith("/"):
        raise ValueError(
            "SQLite wants the whole path of a file and nothing else, with four slashes: sqlite:////srv/a.db"
        )
    return Place("sqlite", database=path)


def _read_server(url: URL, kind: str, options: dict[str, str]) -> Place:
    kind = "mysql" if kind == "mariadb" else kind
    host, port = url.host or options.pop("host", ""), str(url.port or options.pop("port", PORTS[kind]))
    if not host:
        raise ValueError("the URL names no host; for a socket of PostgreSQL add ?host=/var/run/postgresql")
    if options.keys() & {"host", "port"}:
        raise ValueError("the URL names the host or the port twice")
    if kind == "mysql" and ("," in host or host.startswith("/")):
        raise ValueError("MySQL is spoken over TCP, with one host")
    if not url.database:
        raise ValueError("the URL names no database; it stands after the host: postgresql://user@host/database")
    if kind == "postgresql":
        _know_options(options)
    elif options.keys() - {"ssl_ca", "ssl_cert", "ssl_key", "ssl_verify_cert", "ssl_verify_identity", "charset"}:
        raise ValueError("of the options of MySQL's URLs only charset, ssl_ca, ssl_cert, ssl_key and ssl_verify_* work")
    return Place(kind, host, port, url.database, url.username or "", options)


def _know_options(options: Mapping[str, str]) -> None:
    from psycopg import ProgrammingError  # noqa: PLC0415 - only where it is spoken
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - as above

    for name in options:
        try:
            make_conninfo("", **{name: "1"})
        except ProgrammingError:
            raise ValueError(f"PostgreSQL's library knows no option {name}") from None


def _find_driver(kind: str) -> None:
    library, package = DRIVERS[kind]
    try:
        import_module(library)
    except ImportError as error:
        why = "" if isinstance(error, ModuleNotFoundError) and error.name == library else f" ({error})"
        needs = f"{kind}:// needs the library {library}, which is not installed{why}"
        raise ValueError(f"{needs}: pip install {package}") from None

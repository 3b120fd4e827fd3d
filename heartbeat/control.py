"""Changes at run time: an app on a unix socket that only our own user may use, and the command line's side of it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from heartbeat.web.body import BadBody, read_json
from heartbeat.web.serve import BACKLOG, ListenError, serving

LONGEST_PATH = 107
"""Bytes that Linux takes for the path of a unix socket (unix(7): 108 with the closing zero)."""
PATIENCE = 120.0
"""Seconds that a command waits for its answer: a run takes as long as the check's timeout."""


ORDERS = {
    "silence": "/silences",
    "end_silence": "/silences/{name:path}/end",
    "maintain": "/maintenance",
    "end_maintenance": "/maintenance/{name:path}/end",
    "acknowledge": "/acknowledgements/{name:path}",
    "disable": "/checks/{name:path}/disable",
    "enable": "/checks/{name:path}/enable",
    "start_deployment": "/deployments",
    "finish_deployment": "/deployments/{name:path}/finish",
}
"""What people can ask for while the daemon runs, and where."""


class Refused(Exception):  # noqa: N818 - it is the daemon's answer, not a mistake of ours
    """The daemon does not do what was asked.

    Args:
        sentence: why, for the operator.
        problems: all that is wrong, one per line, where it is more than one thing.
        status: as in HTTP; 404 for a name that is not there, 409 for not now, 422 for a bad configuration.
    """

    def __init__(self, sentence: str, problems: Sequence[str] = (), *, status: int = 409) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.problems = tuple(problems)
        self.status = status


class Unreachable(Exception):  # noqa: N818 - the word of the domain
    """No daemon answers on the socket; the sentence says what to look at."""


class NoDaemon(Unreachable):
    """Nobody listens on the socket."""


class Controls(Protocol):
    """What the daemon can be asked to do. Each raises ``Refused``; what they return must be fit for JSON."""

    async def reload(self) -> str:
        """Load the configuration anew; return one sentence on what changed."""

    async def run_now(self, name: str) -> Mapping[str, Any]:
        """Run a check at once, and return what it found."""

    async def replay(self, delivery: str) -> str:
        """Send a delivery again that was given up or acknowledged; return one sentence on what happens now."""

    async def test_alert(self, receiver: str, body: object) -> Mapping[str, Any]:
        """Send a test alert to a receiver, and return what was answered; ``body`` says of which check, and how long."""

    async def order(self, word: str, name: str, body: object) -> Mapping[str, Any]:
        """Do what somebody asks for: one of ``ORDERS``, about what ``name`` names; ``body`` says who, why and how."""

    async def quiet(self, *, everything: bool) -> Mapping[str, Any]:
        """Return what keeps messages back; ``everything`` has what has ended, too."""

    def status(self) -> Mapping[str, Any]:
        """Return how things stand."""


def create_control_app(controls: Controls) -> Starlette:
    """Return the app: POST /reload, POST /checks/NAME/run, POST /deliveries/ID/replay, GET /status, GET /quiet.

    And POST for each of ``ORDERS``, with a JSON body. Errors are ``{"error", "problems"}``.
    """

    async def reload(_: Request) -> Response:
        return JSONResponse({"message": await controls.reload()})

    async def run_now(request: Request) -> Response:
        return JSONResponse(dict(await controls.run_now(request.path_params["name"])))

    async def replay(request: Request) -> Response:
        return JSONResponse({"message": await controls.replay(request.path_params["id"])})

    async def test_alert(request: Request) -> Response:
        return JSONResponse(dict(await controls.test_alert(request.path_params["name"], await _read(request))))

    def ordering(word: str) -> Callable[[Request], Awaitable[Response]]:
        async def order(request: Request) -> Response:
            body = await _read(request)
            return JSONResponse(dict(await controls.order(word, request.path_params.get("name", ""), body)))

        return order

    async def quiet(request: Request) -> Response:
        return JSONResponse(dict(await controls.quiet(everything="all" in request.query_params)))

    async def status(_: Request) -> Response:
        return JSONResponse(dict(controls.status()))

    async def refuse(_: Request, error: Exception) -> Response:
        sentence, problems, code = error.sentence, list(error.problems), error.status  # type: ignore[attr-defined]  # Starlette's handlers are typed for any exception
        return JSONResponse({"error": sentence, "problems": problems}, code)

    routes = [
        Route("/reload", reload, methods=["POST"]),
        Route("/checks/{name:path}/run", run_now, methods=["POST"]),
        Route("/deliveries/{id:path}/replay", replay, methods=["POST"]),
        Route("/receivers/{name:path}/test", test_alert, methods=["POST"]),
        *(Route(path, ordering(word), methods=["POST"]) for word, path in ORDERS.items()),
        Route("/quiet", quiet),
        Route("/status", status),
    ]
    return Starlette(routes=routes, exception_handlers={Refused: refuse})


async def _read(request: Request) -> object:
    """Return the JSON of a request's body, however it is sent. Raises ``Refused``."""
    try:
        return await read_json(request)
    except BadBody as error:
        raise Refused(error.sentence, status=error.status) from None


@asynccontextmanager
async def serving_controls(controls: Controls, path: Path) -> AsyncIterator[str]:
    """Serve the controls on a unix socket while the block runs, and remove it afterwards. Raises ``ListenError``."""
    listener = open_socket(path)
    mine = _inode(path)
    try:
        async with serving(create_control_app(controls), listener) as address:
            yield address
    finally:
        _remove(path, mine)


def _inode(path: Path) -> int:
    return path.stat().st_ino


def _remove(path: Path, mine: int) -> None:
    with suppress(OSError):
        if _inode(path) == mine:  # another daemon may have taken the place
            path.unlink()


def open_socket(path: Path) -> socket.socket:
    """Listen on a unix socket of mode 0600; one that nobody listens on is replaced. Raises ``ListenError``."""
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise ListenError(f"cannot listen on {path}: a socket's path has at most {LONGEST_PATH} bytes; change control")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear_the_way(path)
        os.fchmod(listener.fileno(), 0o600)  # Linux gives the file this mode when it makes it: there is no gap
        listener.bind(str(path))
        listener.listen(BACKLOG)
    except ListenError:
        listener.close()
        raise
    except OSError as error:
        listener.close()
        raise ListenError(
            f"cannot listen on {path}: {error.strerror}; make {path.parent} writable for this user, or change control"
        ) from error
    return listener


def _clear_the_way(path: Path) -> None:
    if not path.exists():
        return
    if not path.is_socket():
        raise ListenError(f"cannot listen on {path}: a file that is no socket is there; move it, or change control")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.settimeout(5)
        try:
            other.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise ListenError(f"cannot listen on {path}: {error}; see who listens there, or change control") from error
    raise ListenError(f"cannot listen on {path}: another daemon does; stop it, or change control")


def call(
    path: Path, method: str, route: str, body: Mapping[str, Any] | None = None, *, timeout: float = PATIENCE
) -> tuple[int, dict[str, Any]]:
    """Ask the daemon that listens on ``path``; return the status and the answer. Raises ``Unreachable``."""
    sent = None if body is None else json.dumps(body).encode()
    connection = HTTPConnection("heartbeat", timeout=timeout)
    try:
        connection.sock = _connect(path)
        connection.sock.settimeout(timeout)
        connection.request(method, route, sent, {} if sent is None else {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, _object(answer.read())
    except TimeoutError as error:
        raise Unreachable(f"the daemon on {path} gave no answer within {timeout:g} s; look at its log") from error
    except (OSError, HTTPException) as error:
        raise Unreachable(f"the daemon on {path} broke off: {error}; look at its log") from error
    finally:
        connection.close()


def _connect(path: Path) -> socket.socket:
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    door.settimeout(5)
    try:
        door.connect(str(path))
    except PermissionError as error:
        door.close()
        raise Unreachable(f"you may not use {path}: run this as the user of the daemon, or as root") from error
    except OSError as error:
        door.close()
        raise NoDaemon(f"no daemon listens on {path}; is it running, with this configuration?") from error
    return door


def _object(body: bytes) -> dict[str, Any]:
    text = body.decode(errors="replace")
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    return content if isinstance(content, dict) else {"error": text[:500].strip()}

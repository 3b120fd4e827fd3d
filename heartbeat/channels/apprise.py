"""The channel ``apprise``: everything else that people read, by a URL of the library Apprise (an extra)."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import Any, ClassVar

from pydantic import SecretStr, field_validator

from heartbeat.channels import NOT_TRIED, DeliveryFailed, Departure, ForPeople, Rendered
from heartbeat.core.batch import Batch
from heartbeat.core.message import GOOD, TROUBLES, compose

THREADS = 8
"""Attempts of all channels of this kind at once, also those that never end."""
TYPES = {**dict.fromkeys(TROUBLES, "warning"), **dict.fromkeys(GOOD, "success"), "FAILING": "failure"}

_threads: set[threading.Thread] = set()


class Apprise(ForPeople):
    """Messages to one of the services that Apprise knows: https://github.com/caronc/apprise lists their URLs.

    It says no more than whether a service took a message, so whatever went wrong is tried again. Addresses are not
    guarded, and the proxies of the environment are used: the requests are the library's own.
    """

    kind: ClassVar[str] = "apprise"

    url: SecretStr
    """Where to, as ``gotifys://host/token``; one service."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: SecretStr) -> SecretStr:
        if service_at(value.get_secret_value()) is None:
            raise ValueError("is no URL that apprise understands; see the page of the service in its documentation")
        return value

    def render(self, batch: Batch, at: float) -> Rendered:
        """Turn a batch into title and text, as plain text that calls nobody in any service."""
        message = compose(batch, at, group_wait=self.group_wait)
        whole = {
            "title": inert(message.subject),
            "body": inert(message.text),
            "type": TYPES.get(message.state, "info"),
        }
        return Rendered(json.dumps(whole, ensure_ascii=False).encode(), (), "application/json")

    async def send(self, batch: Batch, message: Rendered) -> str:  # noqa: ARG002 - all goes to one place
        """Hand the message to the library, in a thread. Raises ``DeliveryFailed``."""
        answer = in_thread(partial(notify, self.url.get_secret_value(), json.loads(message.body)))
        try:
            problem = await asyncio.wait_for(answer, self.timeout)
        except TimeoutError:
            sentence = f"the service did not answer within {self.timeout:g} s"
            raise DeliveryFailed(sentence, ambiguous=True) from None
        if problem:
            raise DeliveryFailed(problem)
        return "taken"

    def departure(self, batch: Batch, message: Rendered) -> Departure:  # noqa: ARG002 - all goes to one place
        """Return the URL, and what the library is handed."""
        url = self.url.get_secret_value()
        return Departure(url, message.body, hidden=(url,))

    async def reach(self) -> tuple[str, ...]:
        """Look whether the library understands the URL; it offers no more than that. Raises ``DeliveryFailed``."""
        service = await asyncio.to_thread(service_at, self.url.get_secret_value())
        if service is None:
            raise DeliveryFailed("apprise does not understand the url", permanent=True)
        return (f"apprise understands the url, as that of {service.service_name}", NOT_TRIED)


def inert(text: str) -> str:
    """Return a text in which no service finds a mention, a tag or a link that is not what it says."""
    brackets = text.replace("<", "\u2039").replace(">", "\u203a")
    return brackets.replace("](", "] (").replace("@", "@\u200b")


def notify(url: str, message: dict[str, str]) -> str:
    """Send a message, which may take any time; return what went wrong, or nothing.

    Of what the library says only the status of the answer is passed on: the rest may hold parts of the URL.
    """
    service = service_at(url)
    if service is None:
        return "apprise does not understand the url any more"
    sender = library().Apprise(asset=service.asset)
    sender.add(service)
    result = sender.notify(
        body=message["body"], title=message["title"], notify_type=message["type"], body_format="text"
    )
    if result:
        return ""
    said = " ".join(str(entry.message) for entry in result.logs())
    status = re.search(r"error=(\d{3})\b", said)
    return f"the service refused the message with {status[1]}" if status else "the service could not be told"


def service_at(url: str) -> Any:
    """Return the library's object for a URL, or None where it knows no such service."""
    asset = library().AppriseAsset(async_mode=False, service_timeout=0, secure_logging=True)
    with warnings.catch_warnings():  # it loads all of its plugins, and they import what Python is to lose
        warnings.simplefilter("ignore")
        return library().Apprise.instantiate(url, asset=asset)


@cache
def library() -> Any:
    """Return the library. Raises ``ValueError`` where it is not installed."""
    try:
        import apprise  # noqa: PLC0415 - an extra, and half a second: only for those who use it
    except ImportError:
        raise ValueError("needs the library apprise; install it with: pip install 'heartbeat[apprise]'") from None
    log = logging.getLogger("apprise")
    log.addHandler(logging.NullHandler())
    log.propagate = False  # its lines name parts of the URL
    return apprise


async def in_thread(work: Callable[[], str]) -> str:
    """Do something that blocks in a daemonic thread of its own, which may never end. Raises ``DeliveryFailed``."""
    _threads.intersection_update([thread for thread in _threads if thread.is_alive()])
    if len(_threads) >= THREADS:
        raise DeliveryFailed(f"{THREADS} earlier messages by apprise are still under way")
    loop = asyncio.get_running_loop()
    done: asyncio.Future[str] = loop.create_future()

    def settle(answer: str, error: BaseException | None) -> None:
        if not done.done():
            done.set_exception(error) if error else done.set_result(answer)

    def target() -> None:
        answer, failure = "", None
        try:
            answer = work()
        except Exception as error:  # noqa: BLE001 - a last hop: `attempt` names it to those who wait
            failure = error
        with suppress(RuntimeError):  # the loop has closed meanwhile: nobody waits any more
            loop.call_soon_threadsafe(settle, answer, failure)

    thread = threading.Thread(target=target, name="heartbeat-apprise", daemon=True)
    _threads.add(thread)
    thread.start()
    return await done

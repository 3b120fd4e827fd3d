"""The stage of the demo: the shop, its receivers and the daemon, each on loopback, in a temporary folder."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from tempfile import TemporaryDirectory, gettempdir

from heartbeat.demo.arrivals import Arrivals
from heartbeat.demo.daemon import daemon
from heartbeat.demo.job import work
from heartbeat.demo.mail import Mail, mail_server
from heartbeat.demo.narrator import Narrator
from heartbeat.demo.serving import LOOPBACK, free_port, http_server, listen, port_of
from heartbeat.demo.shop import PASSWORD, USER, Fault, Shop
from heartbeat.demo.webhook import Post, receiver
from heartbeat.testing.dns import NameServer, serve_names

JOB_TOKEN = "6a1c6f0e-6f0b-4d3c-9a55-5b2b1f0a7c11"  # noqa: S105 - of the demo alone
LONGEST_ROOM = 60
"""Bytes; a socket's path has at most 100, and the folder and the socket take 38."""
SHOP_NAME = "shop.example"
SIGNING_SECRET = "whsec_aGVhcnRiZWF0IGRlbW8sIG5vdCBhIHNlY3JldA=="  # noqa: S105 - says so itself, in base64


@dataclass(frozen=True, slots=True)
class Sockets:
    """Where everything listens: on the ports that the example names, or on free ones where those are taken."""

    shop: socket
    shop_tls: socket
    mail: socket
    alerts: socket


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that is running, and what has arrived at it."""

    narrator: Narrator
    shop: Shop
    mails: Arrivals[Mail]
    posts: Arrivals[Post]
    shop_url: str
    daemon_url: str
    process: Process


def example() -> Path:
    """Return where the example configuration is: in the package, or beside it in a checkout."""
    packaged = Path(__file__).parents[1] / "_example.yaml"
    return packaged if packaged.is_file() else Path(__file__).parents[2] / "config.example.yaml"


def variables(sockets: Sockets, name_server: str, web_port: int, folder: Path) -> dict[str, str]:
    """Return a value for each variable in the example, so that nothing from outside leads it elsewhere."""
    return {
        "HEARTBEAT_LOCATION": "demo",
        "HEARTBEAT_STORE": f"sqlite:///{folder}/heartbeat.db",
        "HEARTBEAT_CONTROL": f"{folder}/heartbeat.sock",
        "HEARTBEAT_LISTEN": f"{LOOPBACK}:{web_port}",
        "HEARTBEAT_LOG": "console",
        "WATCHDOG_URL": "",
        "DEPLOY_TOKEN": "",
        "FALLBACK_SERVER": f"smtp://{LOOPBACK}:{port_of(sockets.mail)}",
        "MAIL_SERVER": f"smtp://{LOOPBACK}:{port_of(sockets.mail)}",
        "WEBHOOK_URL": f"http://{LOOPBACK}:{port_of(sockets.alerts)}/alerts",
        "WEBHOOK_SECRET": SIGNING_SECRET,
        "SHOP_URL": f"http://{LOOPBACK}:{port_of(sockets.shop)}",
        "SHOP_PORT": str(port_of(sockets.shop)),
        "SHOP_TLS_PORT": str(port_of(sockets.shop_tls)),
        "SHOP_CA": f"{folder}/ca.pem",
        "SHOP_NAMESERVER": name_server,
        "SHOP_ORDERS": f"sqlite:///{folder}/shop.db",
        "SHOP_USER": USER,
        "SHOP_PASSWORD": PASSWORD,
        "SHOP_NEXT_PASSWORD": "",
        "JOB_TOKEN": JOB_TOKEN,
    }


@asynccontextmanager
async def stage(narrator: Narrator) -> AsyncIterator[Stage]:
    """Set everything up, tell where it is, and take it down again, the daemon first."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="heartbeat-demo-", dir=room())))
        sockets = Sockets(listen(8480), listen(8443), listen(8425), listen(8481))
        shop = Shop(folder / "shop.db")
        stack.callback(shop.orders.close)
        mails = Arrivals[Mail](lambda mail: narrator.say("mail", f"arrived:\n{mail}"))
        posts = Arrivals[Post](lambda post: narrator.say("webhook", f"arrived:\n{post}"))
        pem = certify(folder)
        await stack.enter_async_context(http_server(shop.app(), sockets.shop))
        await stack.enter_async_context(http_server(shop.app(), sockets.shop_tls, pem))
        await stack.enter_async_context(http_server(receiver(posts, SIGNING_SECRET), sockets.alerts))
        await stack.enter_async_context(mail_server(mails, sockets.mail))
        names = await stack.enter_async_context(serve_names(NameServer(zone=f"{SHOP_NAME}. 60 IN A {LOOPBACK}")))
        given = variables(sockets, names.address, free_port(9780), folder)
        announce(narrator, given)
        process = await stack.enter_async_context(
            daemon(example(), {**os.environ, **given, "NO_COLOR": "1"}, lambda line: narrator.say("daemon", line))
        )
        daemon_url = f"http://{given['HEARTBEAT_LISTEN']}"
        job = asyncio.create_task(work(f"{daemon_url}/ping/{JOB_TOKEN}", lambda: shop.fault is Fault.JOB))
        stack.callback(job.cancel)
        narrator.say("story", f"The daemon is starting (process {process.pid}); its metrics: {daemon_url}/metrics")
        yield Stage(narrator, shop, mails, posts, given["SHOP_URL"], daemon_url, process)


def room() -> str:
    """Return where temporary folders go; /tmp where the usual place leaves a unix socket's path no room."""
    usual = gettempdir()
    return usual if len(os.fsencode(usual)) <= LONGEST_ROOM else "/tmp"  # noqa: S108 - the folder in it is ours alone


def certify(folder: Path) -> Path:
    """Write the shop's certificate and key, and the authority that signed it; return the first.

    Raises:
        ModuleNotFoundError: trustme, of the extra ``demo``, is not installed.
    """
    import trustme  # noqa: PLC0415 - an extra, which only the demo needs

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    own = authority.issue_cert(LOOPBACK, SHOP_NAME)
    own.private_key_and_cert_chain_pem.write_to_path(str(folder / "shop.pem"))
    return folder / "shop.pem"


def announce(narrator: Narrator, given: Mapping[str, str]) -> None:
    """Say what is where."""
    narrator.say("story", f"A small shop is open at {given['SHOP_URL']} (try /api/products).")
    narrator.say("story", f"Mail is taken at {given['MAIL_SERVER']}, webhooks at {given['WEBHOOK_URL']}.")
    narrator.say("story", f"The daemon gets {example()} as it is, and addresses by environment variables.")

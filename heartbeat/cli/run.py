"""The command that is the daemon: ``run``."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from threading import Timer
from typing import Any

import structlog
import uvloop

from heartbeat.cli.common import ConfigOption, complain
from heartbeat.cli.exits import EX_CONFIG, EX_UNAVAILABLE
from heartbeat.config import Config, ConfigError, load_in_child
from heartbeat.daemon import Daemon
from heartbeat.log import PrintCapture, catch_strays, configure
from heartbeat.selfwatch.watchdog import really_exit
from heartbeat.store import StoreError
from heartbeat.web.serve import ListenError

log = structlog.get_logger()

PATIENCE = 300.0
"""Seconds that reading the configuration may take: nothing waits for it yet but the start."""
FAREWELL = 2.0
"""Seconds that threads of others have to end after we did."""


def run(config: ConfigOption) -> int:
    """Run the daemon until SIGTERM; SIGHUP or a changed file reloads the configuration."""
    config = [path.absolute() for path in config]  # a plugin may change the folder that we are in
    try:
        loaded = _load(config)
    except ConfigError as error:
        complain(error)
        return EX_CONFIG
    # A descriptor of its own: where a plugin closes 2, the log would flow into whatever is opened next.
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    configure(loaded.log, loaded.redactor)
    catch_strays()
    sys.stdout = PrintCapture()  # what plugins print becomes lines of the log
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            _run_to_its_end(runner.get_loop(), _serve(config, loaded))
    except (StoreError, ListenError) as error:
        log.critical("cannot start", error=str(error))
        return EX_UNAVAILABLE
    return 0


def _load(paths: list[Path]) -> Config:
    """Load in a child: what reading a large file leaves behind ends with it. Raises ``ConfigError``."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(load_in_child(paths, patience=PATIENCE))


def _run_to_its_end(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> None:
    """Run the daemon. A plugin's task or timer that calls ``sys.exit`` ends the loop, and we go on with it."""
    main = loop.create_task(work, name="daemon")
    while not main.done():
        try:
            loop.run_until_complete(main)
        except SystemExit as left:
            if main.done():
                raise
            log.error("something that a plugin left behind called sys.exit; going on", exc_info=left)


async def _serve(paths: list[Path], config: Config) -> None:
    daemon = Daemon(paths, config)
    await daemon.run()
    last = Timer(FAREWELL, really_exit, (0,))  # Python waits at its end for threads that plugins left behind
    last.daemon = True
    last.start()
    if daemon.stuck:  # closing the loop would wait for plugins that do not end, for ever
        sys.stderr.flush()
        really_exit(0)

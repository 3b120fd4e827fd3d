"""What runs need where there is no daemon around them: test accounts, threads, marks."""

from __future__ import annotations

from time import time

from heartbeat.accounts import Accounts
from heartbeat.backing import Backing
from heartbeat.config import Config
from heartbeat.lag import LagMeter
from heartbeat.pool import Pool
from heartbeat.runner import Workshop


def alone(config: Config, lag: LagMeter) -> Workshop:
    """Return a workshop of our own. What checks remember ends with it, and a daemon knows nothing of its leases."""
    pool, accounts = Pool(), Accounts(time)
    accounts.adopt(config.accounts)
    backing = Backing(in_thread=pool.run, lease=accounts.lease, marks=lambda: config.mark_traffic)
    return Workshop(pool, lag, config.redactor, backing)

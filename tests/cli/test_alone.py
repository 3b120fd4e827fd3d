from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from heartbeat.check import CheckBroken
from heartbeat.cli.alone import alone
from heartbeat.config import Config
from heartbeat.config.credentials import AccountConfig, Credentials
from heartbeat.lag import LagMeter
from heartbeat.probe import Probe
from heartbeat.redaction import Redactor


@pytest.mark.parametrize("is_marked", [True, False])
async def test_runs_without_a_daemon_have_accounts_one_at_a_time_and_mark_their_traffic_as_configured(
    *, is_marked: bool
) -> None:
    accounts = {"shopper": AccountConfig("shopper", Credentials("synthetic", SecretStr("hunter2")))}
    config = Config(
        (), Path("db"), Path("sock"), {}, {}, Redactor(), accounts=accounts, mark_traffic=is_marked
    )  # fmt: skip
    workshop = alone(config, LagMeter())
    probe = Probe(check="shop", run="run_0123456789abcdef", timeout=0.0, backing=workshop.backing)
    assert bool(probe.marks) is is_marked
    async with probe.account("shopper") as account:
        assert account["password"] == "hunter2"
        with pytest.raises(CheckBroken, match="was not free"):
            async with probe.account("shopper"):
                pass

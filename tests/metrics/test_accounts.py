from __future__ import annotations

from heartbeat.metrics.accounts import Use
from heartbeat.metrics.instruments import Instruments


def shown(instruments: Instruments) -> list[str]:
    lines = instruments.text().decode().splitlines()
    return [line for line in lines if line.startswith("heartbeat_account_")]


def test_each_account_shows_who_waits_for_it_and_what_is_refused() -> None:
    instruments = Instruments()
    assert shown(instruments) == []
    instruments.accounts = lambda: [
        Use("shopper", is_taken=True, waiting=2, refused={"current": True, "next": False}),
        Use("editor", is_taken=False, waiting=0, refused={"current": False}),
    ]
    assert shown(instruments) == [
        'heartbeat_account_leased{account="shopper"} 1.0',
        'heartbeat_account_leased{account="editor"} 0.0',
        'heartbeat_account_leases_waiting{account="shopper"} 2.0',
        'heartbeat_account_leases_waiting{account="editor"} 0.0',
        'heartbeat_account_credential_refused{account="shopper",slot="current"} 1.0',
        'heartbeat_account_credential_refused{account="shopper",slot="next"} 0.0',
        'heartbeat_account_credential_refused{account="editor",slot="current"} 0.0',
    ]

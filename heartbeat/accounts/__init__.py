"""Test accounts while the daemon runs: one run has an account at a time, with the credentials that work."""

from heartbeat.accounts.accounts import Accounts

__all__ = ["Accounts"]

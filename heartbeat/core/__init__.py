"""Decisions only: no clock, no network, no files, no asyncio, no third-party import. Time comes in as an argument."""

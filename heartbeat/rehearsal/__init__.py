"""Rehearsals: the daemon's own line and outbox, on a store that is thrown away; only the last hop is another."""

from __future__ import annotations

from heartbeat.rehearsal.play import Assumption, Performed, Rehearsed, dry_run, rehearse
from heartbeat.rehearsal.shelf import Shelf, Shown
from heartbeat.rehearsal.stage import ASSUMED, DIFFERENCES, Stage, staged

__all__ = [
    "ASSUMED",
    "DIFFERENCES",
    "Assumption",
    "Performed",
    "Rehearsed",
    "Shelf",
    "Shown",
    "Stage",
    "dry_run",
    "rehearse",
    "staged",
]

"""Verification: the daemon's checks as a gate in a pipeline, on the daemon's own line; nothing is stored or told."""

from heartbeat.verification.summary import Judged, Summary, conclude
from heartbeat.verification.terms import Terms, choose, untouched
from heartbeat.verification.trial import Stage, Trial, Verification

__all__ = [
    "Judged",
    "Stage",
    "Summary",
    "Terms",
    "Trial",
    "Verification",
    "choose",
    "conclude",
    "untouched",
]

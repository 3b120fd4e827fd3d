"""All that a check plugin imports."""

from heartbeat.check import (
    Answer,
    Check,
    CheckBroken,
    CheckFailed,
    Expected,
    Kept,
    Reply,
    Report,
    Reported,
)
from heartbeat.probe import Probe
from heartbeat.references import Reference, late
from heartbeat.steps import Part, configured_path

__all__ = [
    "Answer",
    "Check",
    "CheckBroken",
    "CheckFailed",
    "Expected",
    "Kept",
    "Part",
    "Probe",
    "Reference",
    "Reply",
    "Report",
    "Reported",
    "configured_path",
    "late",
]
__version__ = "0.1.0"

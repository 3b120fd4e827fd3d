"""All that a check plugin imports."""

from heartbeat.check import (
    Answer,
    Check,
    CheckBroken,
    CheckFailed,
    Duration,
    Expected,
    Kept,
    Reply,
    Report,
    Reported,
    Size,
)
from heartbeat.core.times import lasting, readable
from heartbeat.modules import configured_module
from heartbeat.probe import Probe
from heartbeat.records import measurement_name
from heartbeat.references import Reference, late
from heartbeat.steps import Part, configured_path

__all__ = [
    "Answer",
    "Check",
    "CheckBroken",
    "CheckFailed",
    "Duration",
    "Expected",
    "Kept",
    "Part",
    "Probe",
    "Reference",
    "Reply",
    "Report",
    "Reported",
    "Size",
    "configured_module",
    "configured_path",
    "lasting",
    "late",
    "measurement_name",
    "readable",
]
__version__ = "0.1.0"

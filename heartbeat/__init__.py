"""All that a check plugin imports."""

from heartbeat.check import Check, CheckBroken, CheckFailed
from heartbeat.probe import Probe

__all__ = ["Check", "CheckBroken", "CheckFailed", "Probe"]
__version__ = "0.1.0"

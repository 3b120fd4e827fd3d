"""The outbox: every delivery is tried until its receiver has acknowledged it, or it is dead."""

from heartbeat.outbox.outbox import Outbox
from heartbeat.outbox.pace import Pace

__all__ = ["Outbox", "Pace"]

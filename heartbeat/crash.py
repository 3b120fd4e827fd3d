"""Named places at which a test ends the process as a power cut would; without the variable nothing happens there.

``HEARTBEAT_CRASH_AT=after_send`` ends it the first time that this place is reached, ``after_send:3`` the third time.
"""

from __future__ import annotations

import os
from itertools import count
from os import _exit  # the plain one: the watchdog replaces it, to find out which plugin has called it

VARIABLE = "HEARTBEAT_CRASH_AT"
POINTS = (
    "before_commit", "after_commit", "after_assign", "after_seal", "before_render", "before_send", "after_send",
    "before_ack", "after_ack", "during_fallback", "during_migration", "during_checkpoint", "during_retention",
)  # fmt: skip
STATUS = 137
"""What a shell reports of a process that was killed."""

_name, _, _which = os.environ.get(VARIABLE, "").partition(":")
_passes = count(1)


def crash_point(name: str) -> None:
    """End the process here and now, without any farewell, where the variable names this place."""
    if _name and name == _name and next(_passes) >= int(_which or 1):
        _exit(STATUS)

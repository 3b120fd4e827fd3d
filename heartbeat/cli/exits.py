"""Exit statuses, as sysexits.h has them."""

from __future__ import annotations

EX_USAGE = 64
"""The command line is wrong."""
EX_DATAERR = 65
"""The daemon refuses what was asked."""
EX_UNAVAILABLE = 69
"""The daemon cannot start, or does not answer."""
EX_CANTCREAT = 73
"""A file that was asked for cannot be written."""
EX_CONFIG = 78
"""The configuration is wrong."""

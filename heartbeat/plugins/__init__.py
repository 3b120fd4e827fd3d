"""Check types: finding them without importing them, and loading one.

A type is one file with one ``Check`` class; the file's stem is its name. Types come with Heartbeat (``checks/``), from
folders named in the configuration, and from installed packages (entry points ``heartbeat.checks``).
"""

from heartbeat.plugins.loading import helpers_of, load_file, load_type
from heartbeat.plugins.source import CHECK_KEYS, Found, PluginError, Source, discover

__all__ = ["CHECK_KEYS", "Found", "PluginError", "Source", "discover", "helpers_of", "load_file", "load_type"]

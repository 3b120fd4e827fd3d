"""What was measured on, and with which versions."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import subprocess
from importlib.metadata import version
from pathlib import Path

import pycurl

ROOT = Path(__file__).parents[1]


def describe() -> dict[str, str]:
    """Return the machine in a few words."""
    return {
        "cpu": _first(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8")) or "unknown",
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Return the versions of all that takes part."""
    return {
        "heartbeat": _commit(),
        "uvloop": version("uvloop"),
        "libcurl": _first(r"libcurl/(\S+)", pycurl.version),
        "OpenSSL": _first(r"OpenSSL/(\S+)", pycurl.version),
        "SQLite": sqlite3.sqlite_version,
        "nginx": _first(r"nginx/(\S+)", _said("nginx", "-v")),
        "prometheus": _first(r"version (\S+)", _said("prometheus", "--version")),
        "blackbox_exporter": _first(r"version (\S+)", _said("prometheus-blackbox-exporter", "--version")),
        "SimpleMonitor": _first(r"(?m)^simplemonitor==(\S+)", (ROOT / "requirements/bench.txt").read_text("utf-8")),
    }


def kind() -> str:
    """Return a short word for the kind of machine, fit for the name of a file."""
    machine = describe()
    words = re.findall(r"[a-z0-9]+", f"{machine['cpu']} {machine['cores']} cores".lower())
    return "-".join(word for word in words if word not in ("r", "tm", "cpu", "processor", "core"))[:60]


def _commit() -> str:
    said = _said("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude", "*")
    return f"{version('heartbeat')} ({said.strip()})" if re.fullmatch(r"[0-9a-f]+(-dirty)?\s*", said) else "unknown"


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except OSError:
        return ""
    return done.stdout


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1].strip() if found else ""

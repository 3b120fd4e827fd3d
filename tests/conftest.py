"""What every test shares: how hard Hypothesis looks, and which tests need a Debian package."""

from __future__ import annotations

import os
import shutil
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

# Other work on the machine must not decide a property, so there is no deadline. CI looks harder, and at the same
# examples each time.
settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile(
    "ci", max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))

PROGRAMS = {
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "faketime": "faketime",
    "monitoring-plugins-basic": "/usr/lib/nagios/plugins/check_disk",
    "nginx-light": "nginx",
    "postfix": "postfix",
    "postgresql": "pg_ctlcluster",
    "prometheus": "promtool",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "prometheus-blackbox-exporter": "prometheus-blackbox-exporter",
    "strace": "strace",
}
"""The Debian packages that tests may need, each with the program that tells whether it is there."""

REQUIRED = bool(os.environ.get("HEARTBEAT_REQUIRE_SYSTEM"))
"""CI has installed the packages: there a test that was left out fails the run."""

LEFT_OUT = "left out for want of"


def missing(item: pytest.Item) -> list[str]:
    """Return the Debian packages that the test is marked to need and that are not here."""
    wanted = [package for mark in item.iter_markers("system") for package in mark.args]
    return [package for package in wanted if shutil.which(PROGRAMS[package]) is None]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    packages = missing(item)
    if packages:
        item.user_properties += [(LEFT_OUT, package) for package in packages]
        pytest.skip(f"needs the Debian package {' and '.join(packages)}")


def skipped(reporter: pytest.TerminalReporter) -> list[pytest.TestReport]:
    return [report for report in reporter.stats.get("skipped", []) if isinstance(report, pytest.TestReport)]


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if REQUIRED and reporter is not None and reporter.stats.get("skipped") and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = skipped(terminalreporter)
    packages = Counter(str(package) for report in reports for key, package in report.user_properties if key == LEFT_OUT)
    for package, count in sorted(packages.items()):
        tests = "1 test" if count == 1 else f"{count} tests"
        line = f"LEFT OUT {tests}: needs the Debian package {package} (apt-get install {package})"
        terminalreporter.write_line(line, yellow=True, bold=True)
    if REQUIRED and terminalreporter.stats.get("skipped"):
        count = len(terminalreporter.stats["skipped"])
        terminalreporter.write_line(f"FAILED: {count} left out, and here none may be", red=True, bold=True)

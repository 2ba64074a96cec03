"""What every test shares: hypothesis's profiles, and the rule that continuous integration skips nothing quietly.

Where ``CI=true`` or ``TRIMQ_CI=1`` is set, a test (or a whole file) that is skipped fails, unless its reason
begins with one of `ALLOWED`: a missing peer or an unsuitable machine must not look like a pass. On a
developer's machine skips stay skips.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Generator

import hypothesis
import pytest

ALLOWED = ("platform:",)
"""What the reason of a skip begins with that may also happen in continuous integration."""

IN_CI = os.environ.get("CI") == "true" or os.environ.get("TRIMQ_CI") == "1"

# No test talks to this machine's own hypervisor or cluster: outside of the guest (tests/guest) Python knows no such sockets.
IN_GUEST = os.environ.get("TRIMQ_GUEST") == "1"
if not IN_GUEST:
    for family in ("AF_VSOCK", "AF_TIPC"):
        if hasattr(socket, family):
            delattr(socket, family)

# A busy machine is no failure of an example; and a red run must be red again when tried.
hypothesis.settings.register_profile("trimq", deadline=None)
hypothesis.settings.register_profile("trimq-ci", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("trimq-ci" if IN_CI else "trimq")


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not IN_CI or not report.skipped or hasattr(report, "wasxfail"):
        return
    # a skip's longrepr is (path, line, "Skipped: reason")
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not reason.startswith(ALLOWED):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be skipped, but for a reason that begins with {ALLOWED}: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _forbid_skip(report)
    return report

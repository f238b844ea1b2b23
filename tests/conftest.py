"""What holds for all tests: CI takes no skip that it doesn't know, and nothing may hide in the environment."""

from __future__ import annotations

import os

import pytest

EXPECTED_SKIPS = ("the folder ../shared is not here", "not for this adapter")
"""Reasons for which a test may be skipped in CI. Whatever else is skipped there is a check that does not check."""


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("HOPBACK_"):
            monkeypatch.delenv(name)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None:
        return
    skipped = [str(report.longrepr) for report in reporter.stats.get("skipped", [])]
    unexpected = [reason for reason in skipped if not any(known in reason for known in EXPECTED_SKIPS)]
    if unexpected:
        reporter.write_line("")
        for reason in unexpected:
            reporter.write_line(f"unexpected skip in CI: {reason}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED

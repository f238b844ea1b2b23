"""What libraries log comes as events of the coordinator's own log, and repeats no text of theirs."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from coordinator.commands.library_log import LibraryLog


@pytest.fixture
def library() -> Iterator[logging.Logger]:
    handler, logger = LibraryLog(), logging.getLogger("tests.a_library")
    logger.addHandler(handler)
    logger.propagate = False
    yield logger
    logger.removeHandler(handler)


def test_an_error_is_told_by_its_kind_and_without_its_text(library: logging.Logger) -> None:
    with capture_logs() as events:
        library.error("no +12025550143", exc_info=ValueError("not written: +12025550143"))
    assert events == [
        {"event": "library", "log_level": "error", "logger": "tests.a_library", "error": "ValueError"},
    ]


def test_a_warning_that_is_about_no_error_names_none(library: logging.Logger) -> None:
    with capture_logs() as events:
        library.warning("this goes on")
    assert events == [{"event": "library", "log_level": "warning", "logger": "tests.a_library", "error": None}]

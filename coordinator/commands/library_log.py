"""What libraries log, as events of this program's own log.

An event says which library, how grave, and what kind of error. Its text is left out: a database's error may repeat what
was to be written, numbers included.
"""

from __future__ import annotations

import logging

import structlog


class LibraryLog(logging.Handler):
    """Tells every record as one event, `library`."""

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one."""
        kind = record.exc_info[0] if record.exc_info else None
        log = structlog.get_logger()
        log.log(record.levelno, "library", logger=record.name, error=kind.__name__ if kind else None)


def listen_to_libraries() -> None:
    """Let warnings and errors of libraries come as events, unless somebody listens to them already."""
    logging.basicConfig(level=logging.WARNING, handlers=[LibraryLog()])

"""What can be wrong with an audit log, as errors that name file, entry and byte, and say what to do.

An agent that meets any of these answers nothing: what can't be logged is not disclosed.
"""

from __future__ import annotations

from pathlib import Path


class AuditError(Exception):
    """The log can't be used; the message says where and what to do."""


class AuditBrokenError(AuditError):
    """What a signed checkpoint covers, or a file's own frame, is altered, missing or cut off.

    Attributes:
        path: the file.
        entry: which record of the file, from 0; None where it can't be told.
        byte: where in the file the first thing is wrong; None where the whole file is.
    """

    def __init__(self, path: Path, problem: str, entry: int | None = None, byte: int | None = None) -> None:
        place = "".join([f", entry {entry}" if entry is not None else "", f", byte {byte}" if byte is not None else ""])
        super().__init__(
            f"{path}{place}: {problem}; keep the directory as it is, find out who or what changed it, "
            "and restore it from its copy"
        )
        self.path = path
        self.problem = problem
        self.entry = entry
        self.byte = byte


class AuditUnavailableError(AuditError):
    """The disk refused, now or before: nothing may be answered until the log is opened again."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(
            f"{path}: the audit log can't be written ({problem}); nothing is answered: "
            "put the disk right (space, rights, health) and start the agent again"
        )
        self.path = path
        self.problem = problem


class AuditBusyError(AuditError):
    """Another process writes to this log."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: another process writes to this audit log; only one agent may use a directory")
        self.path = path

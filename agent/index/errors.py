"""What can be wrong with an index, as errors that name the file and say what to do.

None of these may ever be turned into "no match": a caller that catches `IndexUnusableError` answers that its records
can't be read now.
"""

from __future__ import annotations

from pathlib import Path


class IndexUnusableError(Exception):
    """The index can't answer; the message says which file, what is wrong with it, what to do."""


class IndexCorruptError(IndexUnusableError):
    """A file of the index is torn, altered, missing or not where it belongs."""

    def __init__(self, path: Path, problem: str, remedy: str | None = None) -> None:
        super().__init__(f"{path}: {problem}; {remedy or 'index its source file again to replace it'}")
        self.path = path
        self.problem = problem


class UnknownVersionError(IndexUnusableError):
    """A file was written in a format that this release does not read."""

    def __init__(self, path: Path, found: int, known: int) -> None:
        super().__init__(
            f"{path}: written in format version {found}, but this release reads version {known}; "
            "run the release that wrote it, or index the sources again into an empty directory"
        )
        self.path = path


class WrongKeyError(IndexUnusableError):
    """The root key is not the one that this index was made with."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path}: the root key is not the one that this index was made with; "
            "configure that key, or index the sources again into an empty directory"
        )
        self.path = path


class DaySecretError(IndexUnusableError):
    """The secret of a day is missing, unreadable or another one: the day's rows tell nothing any more."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(
            f"{path}: {problem}; the rows of that day can't be read: restore the file, "
            "or let the day expire or index its sources again"
        )
        self.path = path
        self.problem = problem


class IndexWriteError(IndexUnusableError):
    """The disk refused. What was indexed before is untouched; the file that was being indexed is not."""

    def __init__(self, directory: Path, problem: str) -> None:
        super().__init__(
            f"{directory}: could not be written ({problem}); what was indexed before is untouched; "
            "put the disk right (space, rights, health) and index again"
        )
        self.path = directory


class IndexBusyError(IndexUnusableError):
    """Another process writes to this index now. Reading goes on undisturbed."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: another process is indexing into this directory; wait for it to end")
        self.path = path

"""What became of the files that were to be indexed, in words and numbers."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cdr_adapters.schema import RejectReason


class FileStatus(enum.Enum):
    """What became of a file."""

    INDEXED = "indexed"
    ALREADY_INDEXED = "already indexed"
    """Its content was known, under this name or another; nothing was done."""
    REPLACED = "replaced"
    """It had grown, or the mapping had changed; what it brings now took the place of what it brought before."""
    REPAIRED = "repaired"
    """Its content was known, but some of its rows were lost; they were made anew."""
    FAILED = "failed"
    """It could not be read; nothing of it was indexed."""


class OldRows(enum.Enum):
    """What becomes of rows that were read by another mapping, when some of their files are gone."""

    REFUSE = "refuse"
    """Nothing is done and nothing is indexed: somebody has to decide."""
    KEEP = "keep"
    """They stay, all of them, as they were read."""
    FORGET = "forget"
    """They go, and with them what else the missing files brought."""


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of one file.

    Attributes:
        path, status: as named.
        calls: call legs indexed now.
        rejected: rows that could not be read, by reason; rejects: where they are kept, raw, None without any.
        skipped: rows that the mapping leaves out on purpose.
        earliest, latest: first and last possible seizure time of what was indexed now.
        problem: why it failed, and what to do; empty otherwise.
    """

    path: Path
    status: FileStatus
    calls: int = 0
    rejected: Mapping[RejectReason, int] = field(default_factory=dict)
    rejects: Path | None = None
    skipped: int = 0
    earliest: datetime | None = None
    latest: datetime | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of the files of one source, in the order in which they were given."""

    source: str
    files: tuple[FileReport, ...]

    @property
    def calls(self) -> int:
        """Call legs indexed now."""
        return sum(file.calls for file in self.files)

    @property
    def skipped(self) -> int:
        """Rows left out on purpose."""
        return sum(file.skipped for file in self.files)

    @property
    def rejected(self) -> Mapping[RejectReason, int]:
        """Rows that could not be read, by reason."""
        total: Counter[RejectReason] = Counter()
        for file in self.files:
            total.update(file.rejected)
        return total

    @property
    def failed(self) -> tuple[FileReport, ...]:
        """Files of which nothing was indexed, because they could not be read."""
        return tuple(file for file in self.files if file.status is FileStatus.FAILED)

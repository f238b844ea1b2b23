"""The embedded index: immutable, sorted, memory-mapped segments of call legs under keyed pseudonyms (ADR 0003)."""

from agent.index.coverage import Coverage, CoverageState, SourceCoverage
from agent.index.errors import (
    IndexBusyError,
    IndexCorruptError,
    IndexUnusableError,
    UnknownVersionError,
    WrongKeyError,
)
from agent.index.keys import Keys, RootKeyError, create_root_key_file, root_key_from
from agent.index.reader import Index, Query

__all__ = [
    "Coverage",
    "CoverageState",
    "Index",
    "IndexBusyError",
    "IndexCorruptError",
    "IndexUnusableError",
    "Keys",
    "Query",
    "RootKeyError",
    "SourceCoverage",
    "UnknownVersionError",
    "WrongKeyError",
    "create_root_key_file",
    "root_key_from",
]

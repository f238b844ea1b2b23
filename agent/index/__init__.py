"""The embedded index: immutable, sorted, memory-mapped segments of call legs under keyed pseudonyms (ADR 0007)."""

from agent.index.coverage import Coverage, CoverageState, SourceCoverage
from agent.index.errors import (
    DaySecretError,
    IndexBusyError,
    IndexCorruptError,
    IndexUnusableError,
    UnknownVersionError,
    WrongKeyError,
)
from agent.index.keys import Keys
from agent.index.reader import Index, Query
from agent.index.root_key import RootKeyError, create_root_key_file, root_key_from

__all__ = [
    "Coverage",
    "CoverageState",
    "DaySecretError",
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

"""The registry: which provider has which agent, by which names and numbers it is known, whom to write to.

`files` reads registry files, `aliases`, `names`, `suggest` and `rmd` decide and are pure, `changes` says what may be
changed and how, `book` keeps it all in the database.
"""

from __future__ import annotations

from coordinator.registry.files import (
    FIELDS,
    Reading,
    RegistryFileError,
    RegistrySnapshot,
    RejectedRow,
    read_registry,
)

__all__ = ["FIELDS", "Reading", "RegistryFileError", "RegistrySnapshot", "RejectedRow", "read_registry"]

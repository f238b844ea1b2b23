"""Where a lab stands: in a directory that is kept, or in one of the system's that goes away with it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def workplace(keep: Path | None, prefix: str) -> Iterator[Path]:
    """The directory `keep`, made where it is not there; without one, a temporary directory with this prefix."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    # what a process that was just ended still writes must not spoil the end
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        yield Path(name)

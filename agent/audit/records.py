"""Files of records that only grow: made whole or not at all, read with every byte accounted for, their torn ends cut.

What is cut off is not destroyed: it is kept beside the file under a name of its own, for whoever asks what it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agent.audit.errors import AuditBrokenError
from agent.audit.layout import HEADER_SIZE, LARGEST_RECORD, frames, header
from agent.index.files import Files, publish

CUT: Final = "cut"
"""What the name of a kept torn end begins with."""


def make(files: Files, path: Path) -> None:
    """A file without records."""
    publish(files, path, [header(path.name)])


def check_header(path: Path, data: bytes) -> None:
    """Raise AuditBrokenError unless `data`, the first bytes of the file, are its header."""
    expected = header(path.name)
    if data[:HEADER_SIZE] == expected:
        return
    wrong = next((i for i, (a, b) in enumerate(zip(data, expected, strict=False)) if a != b), min(len(data), 32))
    raise AuditBrokenError(path, "it does not begin as such a file of this version does", byte=wrong)


def read(path: Path) -> tuple[list[bytes], int]:
    """All records, and where the last whole one ends.

    Raises:
        AuditBrokenError: the header is none.
        OSError: it can't be read.
    """
    data = path.read_bytes()
    check_header(path, data)
    payloads, end = [], HEADER_SIZE
    for at, payload, _ in frames(data, HEADER_SIZE, LARGEST_RECORD):
        payloads.append(payload)
        end = at + 12 + len(payload)
    return payloads, end


def append(files: Files, path: Path, framed: bytes) -> None:
    """Add a record and return when it is durable."""
    descriptor = files.append_to(path)
    try:
        files.write(descriptor, framed)
        files.fsync(descriptor)
    finally:
        files.close(descriptor)


def cut(files: Files, path: Path, end: int) -> int:
    """Cut the file off at `end`, after what is cut is kept beside it; returns how many bytes that were."""
    size = path.stat().st_size
    if size <= end:
        return 0
    with path.open("rb") as file:
        file.seek(end)
        torn = file.read()
    number = sum(1 for other in path.parent.iterdir() if other.name.startswith(CUT))
    publish(files, path.with_name(f"{CUT}-{number:04d}-{path.name}-{end}"), [torn])
    descriptor = files.append_to(path)
    try:
        files.truncate(descriptor, end)
        files.fsync(descriptor)
    finally:
        files.close(descriptor)
    return len(torn)

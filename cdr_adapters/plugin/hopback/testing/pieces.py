"""How a file is cut between its records, for tests that read it in pieces and in another order."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lines:
    """One record a line, after `header` lines that every piece needs."""

    header: int = 0

    def __call__(self, sample: bytes) -> tuple[bytes, list[bytes]]:
        """What stands before the records, and the records."""
        lines = sample.splitlines(keepends=True)
        if lines and not lines[-1].endswith((b"\n", b"\r")):
            lines[-1] += b"\n"
        return b"".join(lines[: self.header]), [line for line in lines[self.header :] if line.strip()]


@dataclass(frozen=True, slots=True)
class Blocks:
    """Records that end where `end`, a regular expression, matches; by default at an empty line."""

    end: bytes = rb"\n[ \t\r]*\n"

    def __call__(self, sample: bytes) -> tuple[bytes, list[bytes]]:
        """What stands before the records (nothing), and the records."""
        records, begin = [], 0
        for match in re.finditer(self.end, sample):
            records.append(sample[begin : match.end()])
            begin = match.end()
        if sample[begin:].strip():
            records.append(sample[begin:])
        return b"", [record for record in records if record.strip()]

"""Call records of Bluebird switches (a switch that doesn't exist): `BLUE 3;called;caller;start;end;from;to;code`.

Times are UTC, `20261120150000`. A line `ROTATED ...` ends each file and is no record. Of releases before 3 the columns
aren't known: their lines are rejected.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cdr_adapters import raw
from cdr_adapters.records import RecordBuffer, batches
from cdr_adapters.stream import Encoding, read_lines

SUMMARY = "Bluebird switches, release 3"
GRADE = raw.Grade.DOCUMENTATION
ZONE = "UTC"
COLUMNS = {
    "called_in": "called",
    "calling": "caller",
    "seizure": {"column": "start", "format": "%Y%m%d%H%M%S"},
    "release": {"column": "end", "format": "%Y%m%d%H%M%S"},
    "ingress_trunk": "from",
    "egress_trunk": "to",
    "disposition": {"column": "code", "values": {"0": "answered", "16": "unanswered", "*": "failed"}},
}
NAMES = ("called", "caller", "start", "end", "from", "to", "code")


class Options(raw.Options):
    """The reader's own; unknown ones are refused."""

    encoding: Encoding = "utf-8"


def identify(head: raw.Head) -> bool:
    """Every line bears the switch's mark."""
    lines = head.lines()
    return bool(lines) and all(line.startswith(("BLUE ", "ROTATED ")) for line in lines)


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """The records, as text; what the columns mean stands in COLUMNS."""
    buffer = RecordBuffer(columns, NAMES)

    def steps() -> Iterator[None]:
        for number, line in read_lines(path, options.encoding):
            mark, *values = line.split(";")
            if not line or line.startswith("ROTATED "):
                buffer.skip()
            elif mark != "BLUE 3":
                buffer.reject(number, "not a record of release 3", line)
            elif len(values) != len(NAMES):
                buffer.reject(number, f"{len(values)} values instead of {len(NAMES)}", line)
            else:
                buffer.add(number, dict(zip(NAMES, values, strict=True)))
            yield

    return batches(buffer, steps)

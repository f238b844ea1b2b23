"""Reading a part of a file of lines: what came since it was last read, without a last line that has no end.

A row must never be taken from half a line: a trunk's name that was cut off may be another trunk's. And a log of a day
must not be read from its beginning every minute. So the new whole lines are copied behind the file's heading into a
private file, which is read in place of it; row numbers are those in the whole file.

Only for formats in which a line is a record by itself: delimited text without line ends in its fields, and JSON lines.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agent.intake import Read
    from cdr_adapters.mapping import SourceMapping, TrunkFormats
    from cdr_adapters.schema import Batch

_COPY: Final = 1 << 20
_PLAIN: Final = frozenset({"utf-8", "utf8", "ascii", "latin-1", "latin1", "iso-8859-1", "cp1252"})


def heading_lines(mapping: SourceMapping) -> int | None:
    """How many lines stand before the records of a file; None where a line is not a record."""
    if mapping.format == "jsonl":
        return 0
    if mapping.format != "delimited":
        return None
    options = mapping.options
    if options.get("multiline") or str(options.get("encoding", "utf-8")).lower() not in _PLAIN:
        return None
    return int(options.get("skip_lines", 0)) + bool(options.get("header", True))


@dataclass(frozen=True, slots=True)
class Slice:
    """Whole lines of a file.

    Attributes:
        begin, end: where they begin and end, in bytes. lines_before: line ends before `begin`.
        heading: how many lines stand before the file's records.
    """

    begin: int
    end: int
    lines_before: int
    heading: int

    def read(self, path: Path, mapping: SourceMapping, formats: TrunkFormats, read: Read) -> Iterator[Batch]:
        """Their records, as `read` gives them.

        Raises:
            AdapterError: they can't be read as the mapping says.
            OSError: there is no room for a copy of them.
        """
        from cdr_adapters.raw import AdapterError

        with tempfile.TemporaryDirectory(prefix="hopback-") as directory:
            copy = Path(directory) / path.name
            with path.open("rb") as source, copy.open("xb") as target:
                if self.begin:
                    target.writelines(source.readline() for _ in range(self.heading))
                    source.seek(self.begin)
                _copy(source, target, self.end - self.begin)
            shift = self.lines_before - self.heading if self.begin else 0
            try:
                for batch in read(copy, mapping, formats):
                    rejected = tuple(replace(row, row=row.row + shift) for row in batch.rejected)
                    yield replace(batch, rejected=rejected)
            except AdapterError as error:
                raise AdapterError(str(error).replace(str(copy), str(path))) from None


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> None:
    while size > 0:
        data = source.read(min(size, _COPY))
        if not data:
            return
        target.write(data)
        size -= len(data)

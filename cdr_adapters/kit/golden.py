"""A golden: what a file was read as, once looked at and kept, so that a later reading can be held to it.

A text file, one line a record in the order of rows, made to be reviewed and compared by eye and by `diff`:

    row 2  call  seizure=2026-11-22T04:22:40.000Z/1s  called_in=+1…(11 digits)#3fa9c  ingress_trunk=TG1
    row 7  reject  bad-time  seizure: is not in the format '%Y-%m-%d %H:%M:%S'

Numbers are masked, with five hexadecimal digits of their SHA-256 beside: a number that is read otherwise shows, while
some eight thousand numbers of the North American plan share each mark. That hides a number from the reader of a diff;
it does not hide it from somebody who has a list of numbers to try. With `--show-numbers` (for fictitious numbers) they
stand in full.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cdr_adapters.kit.inspection import NUMBERS, iso
from cdr_adapters.raw import AdapterError
from cdr_adapters.schema import CALLS, Batch
from protos.e164 import masked
from protos.printable import printable

_MARK: Final = "# hopback-cdr golden 1"
_SHOWN: Final = "numbers shown"
_MASKED: Final = "numbers masked"
_MOST: Final = 100_000
_REST: Final = tuple(name for name in CALLS.names if name not in ("row", "seizure_earliest", "seizure_latest"))


class NoGoldenError(AdapterError):
    """The file that should be a golden is none."""


@dataclass(frozen=True, slots=True)
class Golden:
    """What stands in a golden: whether numbers are shown in full, and its lines."""

    show_numbers: bool
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The file's content."""
        head = f"{_MARK}, {_SHOWN if self.show_numbers else _MASKED}"
        return "\n".join((head, *self.lines)) + "\n"


def golden_of(batches: Iterable[Batch], format_name: str, *, show_numbers: bool) -> Golden:
    """The golden of what was read.

    Raises:
        AdapterError: there are more records than anybody would look at.
    """
    calls: list[tuple[int, str]] = []
    rejects: list[tuple[int, str]] = []
    skipped = 0
    for batch in batches:
        calls += [(row["row"], _call(row, show_numbers)) for row in batch.calls.to_pylist()]
        rejects += [(r.row, f"row {r.row}  reject  {r.reason.value}  {printable(r.detail)}") for r in batch.rejected]
        skipped += batch.skipped
        if len(calls) + len(rejects) > _MOST:
            raise AdapterError(f"more than {_MOST:,} records: nobody looks at so many; make a golden of a smaller file")
    head = f"# {format_name}: {len(calls)} calls, {len(rejects)} rejected, {skipped} skipped"
    return Golden(show_numbers, (head, *(line for _, line in sorted(calls + rejects))))


def _call(row: dict[str, Any], show_numbers: bool) -> str:
    earliest, latest = row["seizure_earliest"], row["seizure_latest"]
    parts = [f"row {row['row']}  call", f"seizure={iso(earliest)}/{(latest - earliest).total_seconds():g}s"]
    for name in _REST:
        value = row[name]
        if value is None:
            continue
        if name in NUMBERS:
            value = value if show_numbers else _mask(value)
        elif isinstance(value, datetime):
            value = iso(value)
        parts.append(f"{name}={printable(value)}")
    return "  ".join(parts)


def _mask(number: str) -> str:
    return f"{masked(number)}#{hashlib.sha256(number.encode()).hexdigest()[:5]}"


def read_golden(path: Path) -> Golden:
    """What stands in a golden.

    Raises:
        NoGoldenError: it is none, or can't be read.
    """
    try:
        return parse_golden(path.read_text("utf-8"))
    except NoGoldenError as error:
        raise NoGoldenError(f"{path}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise NoGoldenError(f"{path} can't be read as a golden: {error}") from None


def parse_golden(text: str) -> Golden:
    """What stands in a golden's text.

    Raises:
        NoGoldenError: it is none.
    """
    head, *lines = text.splitlines() or [""]
    mark, _, numbers = head.partition(", ")
    if mark != _MARK or numbers not in (_SHOWN, _MASKED):
        raise NoGoldenError(f"its first line is not {_MARK!r}: make one with hopback-cdr golden")
    return Golden(numbers == _SHOWN, tuple(lines))


def differences(expected: Golden, found: Golden) -> Iterator[str]:
    """What differs, line by line: `-` was expected, `+` was found; where a line changed, `?` says which parts."""
    matcher = difflib.SequenceMatcher(None, expected.lines, found.lines, autojunk=False)
    for tag, a1, a2, b1, b2 in matcher.get_opcodes():
        if tag == "equal":
            continue
        gone, come = expected.lines[a1:a2], found.lines[b1:b2]
        by_row = {_row(line): line for line in come}
        for line in gone:
            yield f"- {line}"
            other = by_row.pop(_row(line), None)
            if other is not None:
                yield f"+ {other}"
                yield f"? {_changed(line, other)}"
        yield from (f"+ {line}" for line in by_row.values())


def _row(line: str) -> str:
    return line.split("  ", 1)[0] if line.startswith("row ") else line[:2]


def _changed(expected: str, found: str) -> str:
    """Which parts of a record differ, by name."""
    before, after = (dict.fromkeys(line.split("  ")[1:]) for line in (expected, found))
    names = [part.partition("=")[0] for part in [*before, *after] if (part in before) != (part in after)]
    return ", ".join(dict.fromkeys(names))

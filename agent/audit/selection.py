"""Which entries somebody wants to see: of days, a campaign, a coordinator, a question; newest first, or in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from agent.audit.book import Filed, read_entry
from agent.audit.reader import AuditReader
from agent.audit.sealing import AuditKey
from protos.codec import unix_ms

_BLOCK: Final = 4096


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an entry must be; None leaves it open.

    Attributes:
        first_day, last_day: UTC days, both included.
        campaign: the exact name.
        asker: the end of what stands in `Filed.asker`: a coordinator's name, its URI, or "operator:NAME".
    """

    first_day: date | None = None
    last_day: date | None = None
    campaign: str | None = None
    asker: str | None = None

    def takes(self, entry: Filed) -> bool:
        """Whether campaign and asker are what is wanted."""
        if self.campaign is not None and entry.campaign != self.campaign:
            return False
        return self.asker is None or entry.asker == self.asker or name_of(entry.asker) == self.asker

    @property
    def span_ms(self) -> tuple[int, int] | None:
        """The time wanted, in ms, both ends included; None for any."""
        if self.first_day is None and self.last_day is None:
            return None
        first = unix_ms(_midnight(self.first_day)) if self.first_day else 0
        last = unix_ms(_midnight(self.last_day) + timedelta(days=1)) - 1 if self.last_day else 2**63
        return first, last


def name_of(asker: str) -> str:
    """Who asked or acted, as people say it: "lab" for hopback://coordinator/lab."""
    return asker.rpartition("/")[2] if asker.startswith("hopback://") else asker


def selected(reader: AuditReader, key: AuditKey | None, wanted: Wanted, *, newest_first: bool) -> Iterator[Filed]:
    """The entries wanted.

    Raises:
        agent.audit.errors.AuditBrokenError: one was altered.
        agent.audit.sealing.SealBrokenError: one was sealed under another key.
    """
    for index, exact in _candidates(reader, wanted, newest_first=newest_first):
        closed = read_entry(reader, index, exact, None)
        if wanted.takes(closed):
            yield read_entry(reader, index, exact, key) if key is not None else closed


def about(reader: AuditReader, which: str) -> list[int]:
    """The entries that `which` names: an index, a question's digest in hex, or a question's id, which is searched for.

    Raises:
        LookupError: there is none.
        ValueError: it is neither of them.
    """
    from uuid import UUID

    if which.isascii() and which.isdecimal():
        if int(which) >= reader.size:
            raise LookupError(f"there is no entry {which}: the log has {reader.size}, counted from 0")
        return [int(which)]
    if len(which) == 64:
        found = reader.find(bytes.fromhex(which))
    else:
        wanted = UUID(which).bytes
        found = [
            index
            for index, exact in reader.entries()
            if wanted in exact and read_entry(reader, index, exact, None).question_id == wanted
        ]
    if not found:
        raise LookupError("no entry is about that question")
    return found


def _candidates(reader: AuditReader, wanted: Wanted, *, newest_first: bool) -> Iterator[tuple[int, bytes]]:
    span = wanted.span_ms
    if span is not None:
        found: Iterable[int] = reader.between(*span)
        for index in reversed(list(found)) if newest_first else found:
            yield index, reader.entry(index)
    elif not newest_first:
        yield from reader.entries()
    else:
        for end in range(reader.size, 0, -_BLOCK):
            yield from reversed(list(reader.entries(max(0, end - _BLOCK), end)))


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)

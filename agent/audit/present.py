"""Entries of the audit log as a compliance officer reads them: in words, as JSON, as CSV that no spreadsheet executes.

Telephone numbers are shown only where that was asked for; everything else of a question and its answer may be seen by
whoever holds the key, because the coordinator saw it, too.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TextIO
from uuid import UUID

from agent.audit.book import Filed
from agent.audit.selection import name_of
from agent.tables import iso, time_text
from hopback.v1 import audit_pb2 as pb
from protos.codec import ContractError
from protos.hops import decode_naming, decode_question
from protos.printable import printable

KINDS: Final[dict[int, str]] = {
    pb.AUDIT_KIND_INTENT: "asked",
    pb.AUDIT_KIND_ANSWER: "answered",
    pb.AUDIT_KIND_REFUSED: "refused",
    pb.AUDIT_KIND_REPLAYED: "answered again",
    pb.AUDIT_KIND_REVIEWED: "reviewed",
    pb.AUDIT_KIND_RELEASED: "identity released",
    pb.AUDIT_KIND_STARTED: "agent started",
    pb.AUDIT_KIND_WITNESSED: "witness",
}
_NOTHING: Final = "nothing"
_DISCLOSED: Final = {
    "ORIGINATED_HERE": "that the call began with a customer here",
    "NOT_FOUND": "that no such call is recorded",
    "RECORDS_EXPIRED": "nothing; the records are expired",
    "NOT_YET_AVAILABLE": "nothing; the records are not in yet",
    "AMBIGUOUS": "nothing; several calls fit",
    "UNMAPPED": "nothing; the trunk belongs to no known party",
    "NOT_RECORDED": "nothing; the upstream is not recorded",
    "NEEDS_HUMAN": "nothing; held for a person",
}
_TELLING: Final = (
    pb.AUDIT_KIND_ANSWER,
    pb.AUDIT_KIND_REFUSED,
    pb.AUDIT_KIND_REPLAYED,
    pb.AUDIT_KIND_REVIEWED,
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
COLUMNS: Final = (
    "entry",
    "when",
    "what",
    "who",
    "question",
    "order",
    "campaign",
    "outcome",
    "disclosed",
    "called",
    "call_time",
    "calling",
    "ask_next_called",
    "note",
)
NUMBERS: Final = ("called", "calling", "ask_next_called")


@dataclass(frozen=True, slots=True)
class Shown:
    """One entry in words. `numbers` are called, calling, and the called number for the upstream; all None if hidden."""

    filed: Filed
    what: str
    who: str
    outcome: str
    disclosed: str
    call_time: str | None
    numbers: tuple[str | None, str | None, str | None]
    note: str

    @property
    def question(self) -> str | None:
        """The question's id, as the coordinator knows it."""
        found = self.filed.question_id
        return str(UUID(bytes=found)) if len(found) == 16 else None

    @property
    def order(self) -> str | None:
        """The order's digest, in hex."""
        return self.filed.order_sha256.hex() or None


def shown(filed: Filed, *, numbers: bool = False) -> Shown:
    """An entry in words, with telephone numbers or without."""
    opened = filed.opened
    upstream, called, calling, next_called, call_time = None, None, None, None, None
    if opened is not None:
        try:
            if opened.naming:
                naming = decode_naming(opened.naming)
                upstream, next_called = naming.upstream, naming.called
            if opened.question:
                question = decode_question(opened.question).question
                called, calling, call_time = question.called, question.calling, iso(question.at)
        except ContractError:
            call_time = "unreadable"
    return Shown(
        filed,
        KINDS.get(filed.kind, f"kind {filed.kind}"),
        name_of(filed.asker),
        " ".join(part for part in (filed.outcome, filed.refusal) if part),
        _disclosed(filed, upstream),
        call_time,
        (called, calling, next_called) if numbers else (None, None, None),
        opened.note if opened is not None else "",
    )


def _disclosed(filed: Filed, upstream: str | None) -> str:
    if filed.kind not in _TELLING:
        return "a customer's identity, sealed" if filed.kind == pb.AUDIT_KIND_RELEASED else _NOTHING
    again = "again: " if filed.kind == pb.AUDIT_KIND_REPLAYED else ""
    if filed.outcome in ("UPSTREAM", "FOREIGN_UPSTREAM"):
        named = upstream or ("sealed: the root key shows it" if filed.opened is None else "not kept")
        return f"{again}the upstream provider: {named}"
    return again + _DISCLOSED.get(filed.outcome, _NOTHING)


def as_json(entry: Shown) -> dict[str, Any]:
    """An entry for machines."""
    called, calling, next_called = entry.numbers
    return {
        "entry": entry.filed.index,
        "when": iso(entry.filed.at),
        "what": entry.what,
        "who": entry.filed.asker,
        "question": entry.question,
        "question_sha256": entry.filed.question_sha256.hex() or None,
        "order": entry.order,
        "campaign": entry.filed.campaign or None,
        "outcome": entry.filed.outcome or None,
        "refusal": entry.filed.refusal or None,
        "disclosed": entry.disclosed,
        "called": called,
        "call_time": entry.call_time,
        "calling": calling,
        "ask_next_called": next_called,
        "note": entry.note or None,
    }


def write_csv(entries: Iterable[Shown], to: TextIO) -> int:
    """A header and a line an entry; returns how many. A cell that a spreadsheet would execute begins with '."""
    writer = csv.writer(to, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for entry in entries:
        told = as_json(entry) | {"who": entry.who, "outcome": entry.outcome}
        writer.writerow([cell(told[column]) for column in COLUMNS])
        count += 1
    return count


def cell(value: object) -> str:
    """A value as a cell that is text in every spreadsheet."""
    text = "" if value is None else str(value)
    plain = printable(text, 4096)
    return "'" + plain if text.startswith(_FORMULA) or plain.lstrip().startswith(_FORMULA) else plain


def lines(entry: Shown) -> Iterator[tuple[str, object]]:
    """An entry as names and values, for one that is shown alone."""
    called, calling, next_called = entry.numbers
    filed = entry.filed
    yield from (
        ("when", time_text(filed.at)),
        ("what", entry.what),
        ("who", filed.asker),
        ("question", entry.question),
        ("its digest", filed.question_sha256.hex() or None),
        ("order", entry.order),
        ("campaign", filed.campaign or None),
        ("outcome", entry.outcome or None),
        ("disclosed", entry.disclosed),
        ("answer (signed leaf)", filed.answer_leaf.hex() or None),
        ("time of the call", entry.call_time),
    )
    if called is not None:
        yield from (("called", called), ("calling, as claimed", calling), ("to ask the upstream for", next_called))
    if filed.opened is not None and filed.opened.record:
        yield "matched record", filed.opened.record.decode("utf-8", "replace")
        yield "salt of the commitment", filed.opened.salt.hex()
    if entry.note:
        yield "note", entry.note

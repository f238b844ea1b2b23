"""Transaction accounting of SIP proxies, before it is put anywhere: which rows, with which columns.

Modelled on Kamailio's acc and acc_cdrs (module documentation of 5.6): a row for the final reply to an INVITE, with the
time of that reply and not of the setup; a row for the BYE, without numbers; a table of missed calls with one row for
every branch that failed; a table of dialogs that knows when they began. Which of these exist, and which extra columns
(numbers, addresses, trunks) they carry under which names, is each operator's own choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deploy.lab.stores.records import (
    DISPOSITIONS,
    REASONS,
    Record,
    a_call,
    calling_text,
    expected,
    failed_attempts,
    replies,
)
from deploy.lab.stores.source import Log, Source

Row = dict[str, Any]
Columns = Mapping[str, Callable[[Log, Record], Any]]
"""An operator's extra columns: their names, and how they are filled."""


def calling(log: Log, record: Record) -> str:
    """The calling number, in the provider's habit."""
    return calling_text(log, record.passage.calling)


def called(_log: Log, record: Record) -> str:
    """The called number in E.164 form."""
    return record.passage.called


def called_11d(_log: Log, record: Record) -> str:
    """The called number as 1 and ten digits."""
    return record.passage.called[1:]


def received(_log: Log, record: Record) -> str:
    """The called number as it came in over the wire."""
    return record.received


def sent(_log: Log, record: Record) -> str:
    """The called number as it went out over the wire."""
    return record.sent


def in_address(_log: Log, record: Record) -> str:
    """The address of the side that handed the call over."""
    return record.in_address


def in_trunk(_log: Log, record: Record) -> str:
    """The trunk that it came in on."""
    return record.in_trunk


def out_trunk(_log: Log, record: Record) -> str:
    """The trunk that it went out on."""
    return record.out_trunk


ISO = "%Y-%m-%d %H:%M:%S"
JULIAN = {"format": "julian", "shift": "0.5s", "resolution": "1s"}
EPOCH = {"format": "epoch_s", "resolution": "1s"}
LOCAL = {"format": ISO, "resolution": "1s"}


@dataclass(frozen=True)
class Table:
    """One table as a proxy fills it: (true time of writing, row) in that order, and what a right reading gives."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[datetime, Row], ...]
    setups: tuple[Record, ...]
    skipped: int


def _tags(record: Record) -> Row:
    tag = record.passage.record_id[:8]
    return {"from_tag": f"f{tag}", "to_tag": f"t{tag}" if record.attempt else ""}


def acc(log: Log, extras: Columns, time: Callable[[datetime], Any], call_id: str = "callid") -> Table:
    """The table of transactions: a row an INVITE, and (where several rows are on) a row a BYE."""
    setups = replies(log)
    rows = [(r.written, _transaction(log, r, "INVITE", r.code, extras, time, call_id)) for r in setups]
    byes = [r for r in a_call(log) if r.released] if log.several_rows else []
    rows += [(r.written, _bye(log, r, extras, time, call_id)) for r in byes]
    return Table(
        "acc",
        _transaction_columns(extras, call_id),
        tuple(sorted(rows, key=lambda row: row[0])),
        tuple(setups),
        len(byes),
    )


def _transaction(
    log: Log, record: Record, method: str, code: int, extras: Columns, time: Callable[[datetime], Any], call_id: str
) -> Row:
    return {
        "method": method,
        **_tags(record),
        call_id: record.passage.record_id,
        "sip_code": str(code),
        "sip_reason": REASONS[code],
        "time": time(log.switch.reads(record.written)),
        **_filled(extras, log, record),
    }


def _filled(extras: Columns, log: Log, record: Record) -> Row:
    return {name: fill(log, record) for name, fill in extras.items()}


def _transaction_columns(extras: Columns, call_id: str) -> tuple[str, ...]:
    return ("method", "from_tag", "to_tag", call_id, "sip_code", "sip_reason", "time", *extras)


def _bye(log: Log, record: Record, extras: Columns, time: Callable[[datetime], Any], call_id: str) -> Row:
    row = _transaction(log, record, "BYE", 200, extras, time, call_id)
    kept = {"method", "from_tag", "to_tag", call_id, "sip_code", "sip_reason", "time", "time_sec", "time_usec"}
    return {name: value if name in kept or "src" in name or name in _CALLERS else "" for name, value in row.items()}


_CALLERS = frozenset({"caller", "ani", "src_user"})


def missed(log: Log, extras: Columns, time: Callable[[datetime], Any]) -> Table:
    """The table of missed calls: every failed branch, and every call that nobody took."""
    setups = sorted([*failed_attempts(log), *(r for r in replies(log) if not r.answered)], key=lambda r: r.written)
    rows = [(r.written, _transaction(log, r, "INVITE", r.code, extras, time, "callid")) for r in setups]
    return Table("missed_calls", _transaction_columns(extras, "callid"), tuple(rows), tuple(setups), 0)


def dialogs(log: Log, extras: Columns, time: Callable[[datetime], Any], *, from_setup: bool) -> Table:
    """The table of dialogs, from setup or (cdr_start_on_confirmed) from the answer to the end."""
    setups = [r for r in a_call(log) if from_setup or r.answered]
    rows = []
    for r in setups:
        begin = r.passage.seized if from_setup else r.finished
        rows.append(
            (
                r.written,
                {
                    "start_time": time(log.switch.reads(begin)),
                    "end_time": time(log.switch.reads(r.ended)),
                    "duration": round((r.ended - begin).total_seconds(), 3),
                    "callid": r.passage.record_id,
                    **_filled(extras, log, r),
                },
            )
        )
    columns = ("start_time", "end_time", "duration", "callid", *extras)
    return Table("acc_cdrs", columns, tuple(rows), tuple(setups), 0)


def source_of(
    log: Log,
    table: Table,
    path: str,
    fmt: str,
    sides: dict[str, Any],
    time: dict[str, Any],
    options: dict[str, Any],
    *,
    out: bool = True,
    from_setup: bool = True,
    zone: str | None = None,
) -> Source:
    """The [[sources]] table of one of the proxy's tables, with the columns that this kind of table has."""
    columns = dict(sides)
    where = {}
    if table.name == "acc_cdrs":
        columns["seizure" if from_setup else "answer"] = {"column": "start_time", **time}
        columns["release"] = {"column": "end_time", **time}
    else:
        columns["answer"] = {"column": "time", **time}
        columns["disposition"] = {"column": "sip_code", "values": DISPOSITIONS}
        where["method"] = "INVITE"
    return Source(
        name=f"{log.prefix}{table.name}",
        path=path,
        format=fmt,
        options=options,
        where=where,
        zone=zone,
        clock_offset=log.clock_offset,
        columns=columns,
        expected=tuple(expected(r, out=out, disposition=table.name != "acc_cdrs") for r in table.setups),
        skipped=table.skipped,
    )

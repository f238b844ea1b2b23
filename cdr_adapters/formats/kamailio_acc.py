"""Accounting tables of Kamailio and OpenSIPS (acc, missed_calls, acc_cdrs): SQLite files, SQL dumps, CSV with header.

All tables that look like one of them and have a column for the called number are read; `table` chooses one. `_acc` says
what the columns mean and which of the operator's own need no mapping, `_cdr_tables` where tables are looked for. Times
in dumps of MySQL and PostgreSQL are the server's local time: the source needs a zone. db_sqlite writes Julian days
(Kamailio) or seconds since 1970 (OpenSIPS), both UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cdr_adapters import raw
from cdr_adapters.formats import _acc, _cdr_tables

SUMMARY = "Kamailio/OpenSIPS accounting tables in SQLite files, SQL dumps and exports"
GRADE = raw.Grade.REAL_FILES

_FORMAT = ["epoch_s", "iso8601"]
COLUMNS = _acc.columns(
    seizure={"column": ["start_time", "created"], "format": _FORMAT},
    answer={"column": "answered_at", "format": _FORMAT},
    release={"column": ["ended_at", "end_time"], "format": _FORMAT},
)
WHERE = _acc.WHERE

_TIMES = ("time", "start_time", "end_time", "created")
_TABLES = _cdr_tables.CdrTables(
    (
        _cdr_tables.Shape(frozenset(("method", "from_tag", "to_tag", "callid", "sip_code", "time"))),
        _cdr_tables.Shape(frozenset(("start_time", "end_time", "duration", "callid")), "acc"),
    ),
    (*sorted(_cdr_tables.names_of(COLUMNS)), "method"),
    one_of=_acc.CALLED_IN,
)

Options = _cdr_tables.Options
identify = _TABLES.identify


def read(path: Path, options: _cdr_tables.Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    for batch in _TABLES.read(path, options, _acc.needed(columns)):
        yield _acc.with_outcome(_cdr_tables.whole_seconds(batch, _TIMES), columns)

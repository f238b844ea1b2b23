"""Call detail records of FreeSWITCH in SQL: the table cdr of mod_cdr_sqlite, mod_cdr_pg_csv and mod_odbc_cdr.

In SQLite files, SQL dumps, and exports with a header; columns, in whatever order, are called as the channel variables
are, those that the operator added too. `_freeswitch` says what they mean, `_cdr_tables` where tables are looked for.
The stamps are the box's local time: the source needs a zone. The tables that the modules ship with record no peer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cdr_adapters import raw
from cdr_adapters.formats import _cdr_tables, _freeswitch

SUMMARY = "FreeSWITCH's cdr table in SQLite files, SQL dumps and exports"
GRADE = raw.Grade.DOCUMENTATION
COLUMNS = _freeswitch.columns(["iso8601"])
WHERE = _freeswitch.WHERE

_TABLES = _cdr_tables.CdrTables(
    (_cdr_tables.Shape(frozenset(("caller_id_number", "destination_number", "start_stamp", "hangup_cause", "uuid"))),),
    sorted(_cdr_tables.names_of(COLUMNS)),
)

Options = _cdr_tables.Options
identify = _TABLES.identify


def read(path: Path, options: _cdr_tables.Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    for batch in _TABLES.read(path, options, _freeswitch.needed(columns)):
        yield _freeswitch.completed(batch, columns)

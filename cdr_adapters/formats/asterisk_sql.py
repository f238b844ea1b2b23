"""Call detail records of Asterisk in SQL: the table cdr in SQLite files, SQL dumps, and exports with a header.

After cdr_odbc, cdr_adaptive_odbc, cdr_pgsql, cdr_sqlite3_custom and FreePBX: columns are called as the CDR variables
are, the start also `calldate`; FreePBX's `did` is the number that was dialled and goes before dst. `_asterisk` says
what the columns mean, `_cdr_tables` where tables are looked for. Times are the server's local time unless usegmtime is
set: the source needs a zone.
"""

from __future__ import annotations

from cdr_adapters import raw
from cdr_adapters.formats import _asterisk, _cdr_tables

SUMMARY = "Asterisk's cdr table in SQLite files, SQL dumps and exports"
GRADE = raw.Grade.DOCUMENTATION
COLUMNS = _asterisk.columns(["start", "calldate"])

_TABLES = _cdr_tables.CdrTables(
    (_cdr_tables.Shape(frozenset(("dcontext", "channel", "dstchannel", "lastapp", "disposition"))),),
    sorted(_cdr_tables.names_of(COLUMNS)),
    one_of=("dst", "destination"),
)

Options = _cdr_tables.Options
identify = _TABLES.identify
read = _TABLES.read

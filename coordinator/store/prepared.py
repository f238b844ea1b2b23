"""Statements that are compiled once and then run as text, for the few that every hop of every traceback costs.

SQLAlchemy looks a statement up in its cache and builds an execution context each time that it runs; for the three short
statements of a step that takes longer than the database does. So they run on the driver's own cursor, inside the
connection's transaction. Types are still converted by SQLAlchemy's own processors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import Insert, Update


class Prepared:
    """One INSERT or UPDATE for one dialect; `columns` are those that an INSERT fills."""

    def __init__(self, statement: Insert | Update, dialect: Dialect, columns: Iterable[str] | None = None) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=None if columns is None else list(columns))
        self._text = str(compiled)
        self._positional = compiled.positional
        self._refusal: type[Exception] = dialect.loaded_dbapi.Error
        names = compiled.positiontup if compiled.positional else list(compiled.binds)
        self._parameters = [
            (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect)) for name in names or ()
        ]

    def run(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Run it with these values and give the number of rows that it touched; a missing value is a KeyError.

        Raises:
            sqlalchemy.exc.DBAPIError: the database refused.
        """
        given: Sequence[Any] | Mapping[str, Any]
        if self._positional:
            given = tuple([process(values[name]) if process else values[name] for name, process in self._parameters])
        else:
            given = {name: process(values[name]) if process else values[name] for name, process in self._parameters}
        cursor = connection.connection.cursor()
        try:
            cursor.execute(self._text, given)
            return int(cursor.rowcount)
        except self._refusal as error:
            raise DBAPIError.instance(self._text, None, error, self._refusal) from error  # its own subclass
        finally:
            cursor.close()

"""Statements that are compiled once and then run as text, for the few that every hop of every traceback costs.

SQLAlchemy looks a statement up in its cache and builds an execution context each time that it runs; for the three short
statements of a step that took as long as the database did. Types are still converted by SQLAlchemy's own processors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, CursorResult, Dialect
from sqlalchemy.sql.dml import Insert, Update


class Prepared:
    """One INSERT or UPDATE for one dialect; `columns` are those that an INSERT fills."""

    def __init__(self, statement: Insert | Update, dialect: Dialect, columns: Iterable[str] | None = None) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=None if columns is None else list(columns))
        self._text = str(compiled)
        self._positional = compiled.positional
        names = compiled.positiontup if compiled.positional else list(compiled.binds)
        self._parameters = [
            (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect)) for name in names or ()
        ]

    def run(self, connection: Connection, values: Mapping[str, Any]) -> CursorResult[Any]:
        """Run it with these values; a missing one is a KeyError, none too many matters."""
        if self._positional:
            return connection.exec_driver_sql(
                self._text,
                tuple([process(values[name]) if process else values[name] for name, process in self._parameters]),
            )
        return connection.exec_driver_sql(
            self._text, {name: process(values[name]) if process else values[name] for name, process in self._parameters}
        )

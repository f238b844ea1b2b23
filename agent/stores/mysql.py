"""Records in MariaDB (10.1 or later) and MySQL (5.7 or later), over PyMySQL.

A batch is one statement whose conditions, one a question, the range optimizer merges over the index. The session is
read-only, in UTC, and each statement ends after the store's timeout (`max_statement_time`, `max_execution_time`).
Values are handed to the driver apart from the statement; it quotes them itself, for the text protocol has no others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from agent.stores.engine import Absent, Advice, Kind, Sought, StoreColumn, Table, Value, shown_time
from agent.stores.errors import ConnectionLostError, StoreError, StoreSetupError, TooManyRowsError, harmless
from agent.stores.pool import Pool

if TYPE_CHECKING:
    from agent.stores.secrets import Password
    from agent.stores.settings import StoreTable

_KINDS: Final = {
    **dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext"), Kind.TEXT),
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint"), Kind.INTEGER),
    **dict.fromkeys(("decimal", "float", "double"), Kind.NUMBER),
    "timestamp": Kind.INSTANT,
    "datetime": Kind.LOCAL,
}
_COLUMNS: Final = (
    "select column_name, data_type, column_type from information_schema.columns "
    "where table_schema = coalesce(%s, database()) and table_name = %s"
)
_ESTIMATE: Final = (
    "select table_rows from information_schema.tables where table_schema = coalesce(%s, database()) and table_name = %s"
)
_LEADING: Final = (
    "select index_name, column_name from information_schema.statistics "
    "where table_schema = coalesce(%s, database()) and table_name = %s and seq_in_index = 1"
)
_TIMED_OUT: Final = (1969, 3024)
_SETUP: Final = (1044, 1045, 1049, 1054, 1142, 1143, 1146, 1698)
_LOST: Final = (1040, 1053, 1077, 1203, 1927, 2002, 2003, 2005, 2006, 2013, 2055)
_ZERO: Final = "0000-00-00 00:00:00"
_WRITES: Final = re.compile(r"\b(ALL PRIVILEGES|INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|SUPER|FILE)\b")


class MySql:
    """An `Engine` on a table in MariaDB or MySQL."""

    batch = 200

    def __init__(self, settings: StoreTable, password: Password | None) -> None:
        self._settings = settings
        self._password = password
        self._name = settings.name
        database, _, table = str(settings.table).rpartition(".")
        self._where = (database or settings.database, table)
        self._table = ".".join(map(_quoted, filter(None, (database, table))))
        self._driver = _driver(settings.name)
        wait = (settings.statement_timeout + settings.connect_timeout).total_seconds()
        self._pool: Pool[Any] = Pool(self._name, settings.connections, wait, self._connect, self._end)

    def _connect(self) -> Any:
        said, driver = self._settings, self._driver
        timeout = said.statement_timeout.total_seconds()
        socket = said.host if said.host.startswith("/") else None
        tls: dict[str, Any] = {}
        if said.tls_mode != "off":
            verify = said.tls_mode == "verify"
            tls = {"ssl": {"ca": None if said.tls_roots is None else str(said.tls_roots), "verify_mode": verify}}
            tls["ssl_verify_identity"] = verify
        else:
            tls = {"ssl_disabled": True}
        encoders = {key: value for key, value in driver.converters.conversions.items() if not isinstance(key, int)}
        try:
            connection = driver.connect(
                host=None if socket else said.host,
                unix_socket=socket,
                port=said.port or 3306,
                user=said.user,
                password="" if self._password is None else self._password.reveal(),
                database=said.database,
                charset="utf8mb4",
                conv=encoders,  # values come back as the texts that they are
                autocommit=True,
                connect_timeout=max(1, round(said.connect_timeout.total_seconds())),
                read_timeout=2 * timeout + 1,
                write_timeout=2 * timeout + 1,
                **tls,
            )
            with connection.cursor() as cursor:
                maria = "MariaDB" in connection.get_server_info()
                limit = f"max_statement_time = {timeout}" if maria else f"max_execution_time = {round(timeout * 1000)}"
                cursor.execute(f"set session time_zone = '+00:00', sql_mode = '', {limit}")
                cursor.execute("set session transaction read only")
        except (driver.MySQLError, OSError) as error:
            raise self._failure(error, connecting=True) from None
        return connection

    def _end(self, connection: Any) -> None:
        try:
            connection.close()
        except (self._driver.MySQLError, OSError):
            connection._force_close()

    def _run(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        def work(connection: Any) -> list[tuple[Any, ...]]:
            try:
                with connection.cursor() as cursor:
                    cursor.execute(statement, tuple(values) or None)
                    return list(cursor.fetchall())
            except (self._driver.MySQLError, OSError) as error:
                raise self._failure(error) from None

        return self._pool.run(work)

    def _failure(self, error: BaseException, *, connecting: bool = False) -> Exception:
        code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        said = f"{harmless(error.args[1] if len(error.args) > 1 else error)} (error {code})"
        if code in _TIMED_OUT:
            seconds = self._settings.statement_timeout.total_seconds()
            return StoreError(self._name, f"a statement took longer than {seconds:g} s")
        if code in _SETUP:
            return StoreSetupError(self._name, said)
        if connecting or code in _LOST or isinstance(error, (OSError, self._driver.InterfaceError)):
            return ConnectionLostError(said)
        return StoreError(self._name, said)

    def columns(self) -> Mapping[str, StoreColumn]:
        """See `Engine.columns`."""
        found = {
            name: StoreColumn(name, _KINDS.get(kind.lower(), Kind.OTHER), declared)
            for name, kind, declared in self._run(_COLUMNS, self._where)
        }
        if not found:
            raise StoreSetupError(
                self._name, f"there is no table {self._settings.table!r}, or the account can't see it"
            )
        return found

    def rows(self, select: Sequence[StoreColumn], sought: Sequence[Sought], limit: int) -> Table:
        """See `Engine.rows`."""
        found: list[tuple[Any, ...]] = []
        if sought:
            statement, values = self._statement(select, sought, limit)
            found = self._run(statement, values)
        if len(found) > limit:
            raise TooManyRowsError
        return _by_column(select, found)

    def _statement(self, select: Sequence[StoreColumn], sought: Sequence[Sought], limit: int) -> tuple[str, list[Any]]:
        parts, values = [], []
        for one in sought:
            condition, some = _condition(one)
            parts.append(f"select {_selected(select)} from {_escaped(self._table)} where {condition}")
            values += some
        text = parts[0] if len(parts) == 1 else " union all ".join(f"({part})" for part in parts)
        return f"{text} limit {limit + 1}", values

    def newest(self, select: Sequence[StoreColumn], by: StoreColumn, count: int, bounds: Sequence[Value]) -> Table:
        """See `Engine.newest`."""
        column = _escaped(_quoted(by.name))
        order = f"order by {column} desc limit {count}"
        what = f"select {_selected(select)} from {_escaped(self._table)}"
        for bound in bounds:
            found = self._run(f"{what} where {column} >= %s {order}", (bound,))
            if found:
                return _by_column(select, found)
        return _by_column(select, self._run(f"{what} where {column} is not null {order}"))

    def oldest(self, select: Sequence[StoreColumn], by: StoreColumn, count: int, never: Sequence[Value]) -> Table:
        """See `Engine.oldest`."""
        column = _escaped(_quoted(by.name))
        values = _never(Absent(by, tuple(never)))
        text = f"select {_selected(select)} from {_escaped(self._table)} where {column} is not null"
        if values:
            text += f" and {column} not in ({_marks(values)})"
        return _by_column(select, self._run(f"{text} order by {column} limit {count}", values))

    def estimate(self) -> int:
        """See `Engine.estimate`."""
        found = self._run(_ESTIMATE, self._where)
        return int(found[0][0] or 0) if found else 0

    def advise(self, sought: Sequence[Sought], select: Sequence[StoreColumn]) -> Advice:
        """See `Engine.advise`."""
        warnings = list(self._rights())
        leading: dict[str, str] = dict(self._run(_LEADING, self._where))
        for one in sought:
            statement, values = self._statement(select, [one], self._settings.max_rows)
            rows = self._run(f"explain {statement}", values)
            usable = {key for row in rows for key in str(row[4] if len(row) < 12 else row[5] or "").split(",") if key}
            if any(leading.get(key, one.called.name) == one.called.name for key in usable - {"None"}):
                continue
            columns = [column for column in (one.called, one.time) if column is not None]
            text = ", ".join(_quoted(column.name) + _prefix(column) for column in columns)
            warnings.append(
                f"no index serves lookups by {one.called.name}: each reads the whole table (EXPLAIN says so); create "
                f"one: CREATE INDEX {_quoted(f'hopback_{one.called.name}')} ON {self._table} ({text});"
            )
        return Advice(tuple(warnings), (str(self._run("select version()")[0][0]),))

    def _rights(self) -> Iterator[str]:
        for (grant,) in self._run("show grants"):
            rights, _, rest = str(grant).partition(" ON ")
            some = sorted(set(_WRITES.findall(rights)))
            if some:
                where = rest.partition(" TO ")[0]
                yield (
                    f"the account may {', '.join(some)} on {where}: it needs SELECT on one table alone: "
                    f"CREATE USER hopback ...; GRANT SELECT ON {self._table} TO hopback;"
                )

    def close(self) -> None:
        """See `Engine.close`."""
        self._pool.forget()


def _driver(store: str) -> Any:
    try:
        import pymysql
        import pymysql.converters
    except ImportError:
        raise StoreSetupError(
            store, "PyMySQL isn't installed: install hopback with the extra mysql: pip install 'hopback[mysql]'"
        ) from None
    return pymysql


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _prefix(column: StoreColumn) -> str:
    """A text without a length of its own is indexed by its beginning."""
    return "(32)" if column.declared.endswith("text") else ""


def _marks(values: Sequence[Any]) -> str:
    return ", ".join(["%s"] * len(values))


def _selected(select: Sequence[StoreColumn]) -> str:
    return ", ".join(_escaped(_quoted(column.name)) for column in select)


def _never(absent: Absent) -> list[Any]:
    """Zero dates, too, are no times."""
    some: list[Any] = list(absent.never)
    return [*some, _ZERO] if absent.column.kind in (Kind.INSTANT, Kind.LOCAL) else some


def _condition(one: Sought) -> tuple[str, list[Any]]:
    called = _escaped(_quoted(one.called.name))
    parts: list[str] = []
    values: list[Any] = []
    for span in one.spans:
        part = f"{called} in ({_marks(span.called)})"
        values += span.called
        if one.time is not None:
            part += f" and {_escaped(_quoted(one.time.name))} between %s and %s"
            values += [span.low, span.high]
        parts.append(part)
    text = parts[0] if len(parts) == 1 else "(" + " or ".join(f"({part})" for part in parts) + ")"
    for absent in one.absent:
        name, never = _escaped(_quoted(absent.column.name)), _never(absent)
        text += f" and ({name} is null or {name} in ({_marks(never)}))" if never else f" and {name} is null"
        values += never
    return text, values


def _text(value: Any, column: StoreColumn) -> str | None:
    if value is None:
        return None
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    if column.kind in (Kind.INSTANT, Kind.LOCAL):
        if text.startswith("0000"):
            return None
        return shown_time(text, instant=column.kind is Kind.INSTANT)
    return text


def _by_column(select: Sequence[StoreColumn], found: Sequence[tuple[Any, ...]]) -> Table:
    columns = zip(*found, strict=True) if found else [() for _ in select]
    return {
        column.name: [_text(value, column) for value in values] for column, values in zip(select, columns, strict=True)
    }

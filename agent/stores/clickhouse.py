"""Records in ClickHouse (18.16 or later), over clickhouse-driver and the native protocol.

A batch is one statement: neighbours in time share a condition, for the server reads blocks of rows in any case. The
account should have a profile with `readonly = 2`; with `readonly = 1` the statement timeout is the profile's. Times
are compared as instants; what zone a DateTime is shown in does not matter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from agent.stores.engine import Advice, Kind, Sought, StoreColumn, Table, Value, shown_time
from agent.stores.errors import ConnectionLostError, StoreError, StoreSetupError, TooManyRowsError, harmless
from agent.stores.pool import Pool
from agent.stores.spans import grouped

if TYPE_CHECKING:
    from agent.stores.secrets import Password
    from agent.stores.settings import StoreTable

_WRAPPED: Final = re.compile(r"(?:Nullable|LowCardinality)\((.*)\)")
_KINDS: Final = (
    (re.compile(r"String|FixedString"), Kind.TEXT),
    (re.compile(r"U?Int\d+$"), Kind.INTEGER),
    (re.compile(r"Float|Decimal"), Kind.NUMBER),
    (re.compile(r"DateTime"), Kind.INSTANT),
)
_TIMED_OUT: Final = (159, 160, 209)
_SETUP: Final = (36, 46, 47, 60, 81, 164, 192, 193, 194, 291, 497, 516)
_LAST: Final = 2**32 - 1
_EXPLAINS: Final = 21
"""The first release (year) that explains which indexes it uses."""


class Transport(Protocol):
    """What carries statements to a server: one connection, used by one thread at a time.

    `may_write` tells whether the account could write if the connection didn't forbid it.
    """

    may_write: bool

    def execute(self, statement: str, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """The columns of the answer.

        Raises:
            StoreError, ConnectionLostError: see there.
        """
        ...

    def close(self) -> None:
        """End the connection."""
        ...


class ClickHouse:
    """An `Engine` on a table in ClickHouse; `transport` makes connections, by default over the native protocol."""

    batch = 300

    def __init__(self, settings: StoreTable, password: Password | None, transport: type[Any] | None = None) -> None:
        self._settings = settings
        self._name = settings.name
        database, _, table = str(settings.table).rpartition(".")
        self._database, self._bare = database or settings.database or "default", table
        self._table = f"{_quoted(self._database)}.{_quoted(table)}"
        made = transport or NativeTransport
        wait = (settings.statement_timeout + settings.connect_timeout).total_seconds()
        self._pool: Pool[Transport] = Pool(
            self._name, settings.connections, wait, lambda: made(settings, password), lambda one: one.close()
        )

    def _run(self, statement: str, values: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        return self._pool.run(lambda connection: connection.execute(statement, values or {}))

    def columns(self) -> Mapping[str, StoreColumn]:
        """See `Engine.columns`."""
        found = self._run(
            "select name, type from system.columns where database = %(database)s and table = %(table)s",
            {"database": self._database, "table": self._bare},
        )
        columns = (
            {name: StoreColumn(name, _kind(kind), kind) for name, kind in zip(*found, strict=True)} if found else {}
        )
        if not columns:
            raise StoreSetupError(
                self._name, f"there is no table {self._settings.table!r}, or the account can't see it"
            )
        return columns

    def rows(self, select: Sequence[StoreColumn], sought: Sequence[Sought], limit: int) -> Table:
        """See `Engine.rows`."""
        if not sought:
            return _texts(select, [])
        statement, values = self._statement(select, sought)
        found = self._run(f"select * from ({statement}) limit {limit + 1}", values.all)
        if found and len(found[0]) > limit:
            raise TooManyRowsError
        return _texts(select, found)

    def _statement(self, select: Sequence[StoreColumn], sought: Sequence[Sought]) -> tuple[str, _Values]:
        values = _Values()
        parts = [
            f"select {_selected(select)} from {_escaped(self._table)} where {_condition(one, values)}" for one in sought
        ]
        return " union all ".join(parts), values

    def newest(self, select: Sequence[StoreColumn], by: StoreColumn, count: int, bounds: Sequence[Value]) -> Table:
        """See `Engine.newest`."""
        column = _escaped(_quoted(by.name))
        order = f"order by {column} desc limit {count}"
        what = f"select {_selected(select)} from {_escaped(self._table)}"
        for bound in bounds:
            values = _Values()
            found = self._run(f"{what} where {column} >= {values.put(bound, by)} {order}", values.all)
            if found and len(found[0]):
                return _texts(select, found)
        return _texts(select, self._run(f"{what} where isNotNull({column}) {order}"))

    def oldest(self, select: Sequence[StoreColumn], by: StoreColumn, count: int, never: Sequence[Value]) -> Table:
        """See `Engine.oldest`."""
        column, values = _escaped(_quoted(by.name)), _Values()
        text = f"select {_selected(select)} from {_escaped(self._table)} where isNotNull({column})"
        for one in never:
            text += f" and {column} != {values.put(one, by)}"
        return _texts(select, self._run(f"{text} order by {column} limit {count}", values.all))

    def estimate(self) -> int:
        """See `Engine.estimate`."""
        where = {"database": self._database, "table": self._bare}
        text = "select sum(rows) from system.parts where active and database = %(database)s and table = %(table)s"
        with suppress(StoreSetupError):  # an account may be kept from the system's tables
            found = self._run(text, where)
            return int(found[0][0] or 0) if found and found[0] else 0
        return 0

    def advise(self, sought: Sequence[Sought], select: Sequence[StoreColumn]) -> Advice:
        """See `Engine.advise`."""
        warnings = list(self._rights())
        version = str(self._run("select version()")[0][0])
        found = self._run(
            "select engine, sorting_key, partition_key from system.tables "
            "where database = %(database)s and name = %(table)s",
            {"database": self._database, "table": self._bare},
        )
        engine, order, partition = (column[0] for column in found)
        recent = int(version.partition(".")[0]) >= _EXPLAINS
        for one in sought:
            leading = order.partition(",")[0].strip(" `(")
            if leading == one.called.name or (recent and self._explained(select, one)):
                continue
            if not order:
                warnings.append(
                    f"{self._table} is a {engine}: whether an index serves lookups by {one.called.name} is decided by "
                    "the tables behind it; check those with check-config, too"
                )
                continue
            warnings.append(self._full_scan(one, order, partition, recent))
        return Advice(tuple(warnings), (f"ClickHouse {version}",))

    def _full_scan(self, one: Sought, order: str, partition: str, recent: bool) -> str:
        name = _quoted(one.called.name)
        if recent:
            index = f"hopback_{one.called.name}"
            remedy = (
                f"ALTER TABLE {self._table} ADD INDEX {index} {name} TYPE bloom_filter(0.001) GRANULARITY 1; "
                f"ALTER TABLE {self._table} MATERIALIZE INDEX {index};"
            )
        else:
            columns = ", ".join(_quoted(column.name) for column in (one.called, one.time) if column is not None)
            by = f"PARTITION BY {partition} " if partition else ""
            view = f"{_quoted(self._database)}.hopback_{one.called.name}"
            remedy = (
                f"CREATE MATERIALIZED VIEW {view} ENGINE = MergeTree() {by}"
                f"ORDER BY ({columns}) POPULATE AS SELECT * FROM {self._table}; and name that as the table"
            )
        return (
            f"the table is in the order ({order}), so that each lookup by {one.called.name} reads all rows of its time"
            f"{'' if partition else ' or the whole table'}; create an index: {remedy}"
        )

    def _explained(self, select: Sequence[StoreColumn], one: Sought) -> bool:
        """Whether an index of any kind says where a number is, by the server's own account."""
        statement, values = self._statement(select, [one])
        found = self._run(f"explain indexes = 1 {statement}", values.all)
        text = "\n".join(str(line) for line in found[0]) if found else ""
        return bool(re.search(rf"\b{re.escape(one.called.name)}\b", text.partition("Indexes:")[2])) or "Skip" in text

    def _rights(self) -> Iterator[str]:
        if self._pool.run(lambda connection: connection.may_write):
            yield (
                "the account may write: give it a profile with readonly = 2: CREATE USER hopback ... SETTINGS "
                f"readonly = 2 (or <readonly>2</readonly> in users.xml), and GRANT SELECT ON {self._table} TO hopback"
            )

    def close(self) -> None:
        """See `Engine.close`."""
        self._pool.forget()


class NativeTransport:
    """A connection over the native protocol."""

    def __init__(self, settings: StoreTable, password: Password | None) -> None:
        driver = _driver(settings.name)
        self._errors = driver.errors
        self._settings = settings
        timeout = settings.statement_timeout.total_seconds()
        mode = settings.tls_mode
        self._client = driver.Client(
            settings.host,
            port=settings.port or (9000 if mode == "off" else 9440),
            database=settings.database or "default",
            user=settings.user or "default",
            password="" if password is None else password.reveal(),
            client_name="hopback-agent",
            secure=mode != "off",
            verify=mode == "verify",
            ca_certs=None if settings.tls_roots is None else str(settings.tls_roots),
            connect_timeout=settings.connect_timeout.total_seconds(),
            send_receive_timeout=2 * timeout + 1,
            sync_request_timeout=timeout,
        )
        self._limits: dict[str, Any] = {}
        try:
            found = self._send("select value from system.settings where name = 'readonly'", {})
            self.may_write = not found or str(found[0][0]) == "0"
            if not found or str(found[0][0]) != "1":  # an account that is read-only to the utmost may set nothing
                self._limits = {"max_execution_time": math.ceil(timeout)}
                if self.may_write:
                    self._limits["readonly"] = 2
        except BaseException:
            self._client.disconnect()
            raise

    def execute(self, statement: str, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """See `Transport.execute`."""
        return self._send(statement, values)

    def _send(self, statement: str, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        name = self._settings.name
        try:
            # substitution is asked for with an empty mapping, too: a percent sign stands for itself then
            text = statement if values else statement.replace("%%", "%")
            found: Sequence[Sequence[Any]] = self._client.execute(
                text, dict(values) or None, settings=self._limits, columnar=True
            )
        except self._errors.SocketTimeoutError:
            raise StoreError(name, "its database did not answer in time") from None
        except (self._errors.NetworkError, EOFError, OSError) as error:
            raise ConnectionLostError(str(error)) from None
        except self._errors.ServerException as error:
            raise failure(name, error.code, str(error)) from None
        except self._errors.Error as error:
            raise ConnectionLostError(str(error)) from None
        return found

    def close(self) -> None:
        """See `Transport.close`."""
        self._client.disconnect()


def failure(store: str, code: int, words: str) -> StoreError:
    """What a server's refusal means."""
    if code in _TIMED_OUT:
        return StoreError(store, "a statement took longer than its database or [stores] allows")
    lines = [line for line in words.splitlines() if "Exception:" in line] or [words]
    said = f"{harmless(lines[0].split('Stack trace')[0])} (code {code})"
    return StoreSetupError(store, said) if code in _SETUP else StoreError(store, said)


class _Values:
    """The values of a statement, by the names under which it has them."""

    def __init__(self) -> None:
        self.all: dict[str, Any] = {}

    def put(self, value: Value, column: StoreColumn) -> str:
        """The expression that stands for `value`."""
        if isinstance(value, datetime):
            ms = math.floor(value.timestamp() * 1000) if value.tzinfo else 0
            if "DateTime64" in column.declared:
                return f"fromUnixTimestamp64Milli(toInt64({self._named(ms)}))"
            return f"toDateTime({self._named(min(max(ms // 1000, 0), _LAST))})"
        return self._named(value if isinstance(value, (int, str)) else str(value))

    def put_all(self, values: Sequence[Value]) -> str:
        """A list of values to be in."""
        return self._named(tuple(value if isinstance(value, (int, str)) else float(str(value)) for value in values))

    def _named(self, value: Any) -> str:
        name = f"v{len(self.all)}"
        self.all[name] = value
        return f"%({name})s"


def _driver(store: str) -> Any:
    try:
        import clickhouse_driver
    except ImportError:
        raise StoreSetupError(
            store,
            "clickhouse-driver isn't installed: install hopback with the extra clickhouse: "
            "pip install 'hopback[clickhouse]'",
        ) from None
    return clickhouse_driver


def _kind(declared: str) -> Kind:
    while (wrapped := _WRAPPED.fullmatch(declared)) is not None:
        declared = wrapped[1]
    return next((kind for pattern, kind in _KINDS if pattern.match(declared)), Kind.OTHER)


def _quoted(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _selected(select: Sequence[StoreColumn]) -> str:
    return ", ".join(f"{_as_text(column)} as c{number}" for number, column in enumerate(select))


def _as_text(column: StoreColumn) -> str:
    name = _escaped(_quoted(column.name))
    if column.kind is Kind.TEXT:
        return name
    return f"toString({name}, 'UTC')" if column.kind is Kind.INSTANT else f"toString({name})"


def _condition(one: Sought, values: _Values) -> str:
    called = _escaped(_quoted(one.called.name))
    parts = []
    for span in grouped(one.spans):
        part = f"{called} in {values.put_all(span.called)}"
        if one.time is not None and span.low is not None and span.high is not None:
            time = _escaped(_quoted(one.time.name))
            part += f" and {time} >= {values.put(span.low, one.time)} and {time} <= {values.put(span.high, one.time)}"
        parts.append(f"({part})")
    text = "(" + " or ".join(parts) + ")"
    for absent in one.absent:
        name = _escaped(_quoted(absent.column.name))
        tests = [f"isNull({name})", *(f"{name} = {values.put(never, absent.column)}" for never in absent.never)]
        text += f" and ({' or '.join(tests)})"
    return text


def _texts(select: Sequence[StoreColumn], found: Sequence[Sequence[Any]]) -> Table:
    columns = found or [() for _ in select]
    return {
        column.name: [_text(value, column) for value in values] for column, values in zip(select, columns, strict=True)
    }


_NEVER: Final = str(datetime.fromtimestamp(0, UTC))[:19]


def _text(value: Any, column: StoreColumn) -> str | None:
    if value is None:
        return None
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    if column.kind is Kind.INSTANT:
        return None if text == _NEVER else shown_time(text, instant=True)
    return text.rstrip("\0")

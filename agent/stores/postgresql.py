"""Records in PostgreSQL (9.5 or later, and what speaks as it does), over psycopg 3.

A single question is a prepared statement with the spellings as one array; a batch joins an array of searches with the
table laterally, so that each is one descent of the index. The session is read-only, in UTC, and each statement ends
after the store's timeout whatever happens. Partitions, views and foreign tables are the database's own affair.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from agent.stores.engine import Absent, Advice, Kind, Sought, StoreColumn, Table, Value
from agent.stores.errors import ConnectionLostError, StoreError, StoreSetupError, TooManyRowsError, harmless
from agent.stores.pool import Pool

if TYPE_CHECKING:
    import psycopg

    from agent.stores.secrets import Password
    from agent.stores.settings import StoreTable

_KINDS: Final = {
    **dict.fromkeys(("text", "varchar", "bpchar", "name", "citext"), Kind.TEXT),
    **dict.fromkeys(("int2", "int4", "int8"), Kind.INTEGER),
    **dict.fromkeys(("numeric", "float4", "float8"), Kind.NUMBER),
    "timestamptz": Kind.INSTANT,
    "timestamp": Kind.LOCAL,
}
_COLUMNS: Final = """
    select a.attname, b.typname, format_type(a.atttypid, a.atttypmod), a.attnotnull
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    join pg_type b on b.oid = case when t.typtype = 'd' then t.typbasetype else t.oid end
    where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped"""
_ESTIMATE: Final = """
    with recursive parts as (select %s::regclass::oid as oid
        union all select i.inhrelid from pg_inherits i join parts on i.inhparent = parts.oid)
    select coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint from parts join pg_class c on c.oid = parts.oid"""
_MAY_WRITE: Final = """
    select r.rolsuper, array(select p from unnest(array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) p
        where has_table_privilege(%s::regclass, p))
    from pg_roles r where r.rolname = current_user"""


class PostgreSql:
    """An `Engine` on a table in PostgreSQL."""

    batch = 10_000

    def __init__(self, settings: StoreTable, password: Password | None) -> None:
        self._settings = settings
        self._password = password
        self._name = settings.name
        self._table = ".".join(_quoted(part) for part in str(settings.table).split("."))
        self._driver = _driver(settings.name)
        wait = (settings.statement_timeout + settings.connect_timeout).total_seconds()
        self._pool: Pool[psycopg.Connection[Any]] = Pool(
            self._name, settings.connections, wait, self._connect, lambda connection: connection.close()
        )

    def _connect(self) -> psycopg.Connection[Any]:
        said = self._settings
        ms = round(said.statement_timeout.total_seconds() * 1000)
        options = {
            "host": said.host if said.host.startswith("/") else None,
            "port": said.port,
            "dbname": said.database,
            "user": said.user,
            "password": None if self._password is None else self._password.reveal(),
            "sslmode": {"off": "disable", "require": "require", "verify": "verify-full"}[said.tls_mode],
            "sslrootcert": None if said.tls_roots is None else str(said.tls_roots),
            "tcp_user_timeout": str(2 * ms),
        }
        if not said.host.startswith("/"):
            options["host"] = said.host
        try:
            connection = self._driver.connect(
                "",
                autocommit=True,
                application_name="hopback-agent",
                connect_timeout=max(2, round(said.connect_timeout.total_seconds())),
                options=f"-c statement_timeout={ms} -c default_transaction_read_only=on -c timezone=UTC "
                "-c datestyle=ISO -c client_encoding=UTF8",
                **{key: value for key, value in options.items() if value is not None},
            )
        except self._driver.OperationalError as error:
            raise ConnectionLostError(_words(error)) from None
        opened: psycopg.Connection[Any] = connection
        return opened

    def _run(self, statement: str, values: Sequence[Any] = (), *, prepare: bool | None = None) -> list[tuple[Any, ...]]:
        def work(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
            try:
                return connection.execute(statement.encode(), values or None, prepare=prepare).fetchall()
            except self._driver.errors.QueryCanceled:
                raise StoreError(
                    self._name, f"a statement took longer than {self._settings.statement_timeout.total_seconds():g} s"
                ) from None
            except self._driver.Error as error:
                if connection.broken or connection.closed:
                    raise ConnectionLostError(_words(error)) from None
                raise self._failure(error) from None

        return self._pool.run(work)

    def _failure(self, error: psycopg.Error) -> StoreError:
        state = error.sqlstate or ""
        said = f"{_words(error)} (SQLSTATE {state})"
        if state.startswith(("42", "3D", "3F", "28")):  # no such table or column, no such right, not let in
            return StoreSetupError(self._name, said)
        return StoreError(self._name, said)

    def columns(self) -> Mapping[str, StoreColumn]:
        """See `Engine.columns`."""
        found = self._run(_COLUMNS, (self._table,))
        return {
            name: StoreColumn(name, _KINDS.get(base, Kind.OTHER), declared, nullable=not required)
            for name, base, declared, required in found
        }

    def rows(self, select: Sequence[StoreColumn], sought: Sequence[Sought], limit: int) -> Table:
        """See `Engine.rows`."""
        statement, values = self._statement(select, sought, limit)
        single = all(len(one.spans) == 1 for one in sought)
        found = self._run(statement, values, prepare=single) if sought else []
        if len(found) > limit:
            raise TooManyRowsError
        return _by_column(select, found)

    def _statement(
        self, select: Sequence[StoreColumn], sought: Sequence[Sought], limit: int
    ) -> tuple[str, tuple[Any, ...]]:
        parts = [
            _single(self._table, select, one) if len(one.spans) == 1 else _many(self._table, select, one)
            for one in sought
        ]
        text = " union all ".join(part for part, _ in parts)
        return f"{text} limit {limit + 1}", tuple(chain.from_iterable(values for _, values in parts))

    def newest(self, select: Sequence[StoreColumn], by: StoreColumn, count: int, bounds: Sequence[Value]) -> Table:
        """See `Engine.newest`."""
        column = _escaped(_quoted(by.name))
        order = f"order by {column} desc limit {count}"
        what = f"select {_selected(select)} from {_escaped(self._table)}"
        for bound in bounds:
            found = self._run(f"{what} where {column} >= {_placeholder(by)} {order}", (bound,))
            if found:
                return _by_column(select, found)
        return _by_column(select, self._run(f"{what} where {column} is not null {order}"))

    def oldest(self, select: Sequence[StoreColumn], by: StoreColumn, count: int, never: Sequence[Value]) -> Table:
        """See `Engine.oldest`."""
        column = _escaped(_quoted(by.name))
        text = (
            f"select {_selected(select)} from {_escaped(self._table)} where {column} is not null "
            f"and {column} <> all({_placeholder(by)}[]) order by {column} limit {count}"
        )
        return _by_column(select, self._run(text, (list(never),)))

    def estimate(self) -> int:
        """See `Engine.estimate`."""
        return int(self._run(_ESTIMATE, (self._table,))[0][0])

    def advise(self, sought: Sequence[Sought], select: Sequence[StoreColumn]) -> Advice:
        """See `Engine.advise`."""
        warnings = list(self._rights())
        for one in sought:
            statement, values = self._statement(select, [one], self._settings.max_rows)
            if not self._served(statement, values, one):
                columns = ", ".join(_quoted(column.name) for column in (one.called, one.time) if column is not None)
                warnings.append(
                    f"no index serves lookups by {one.called.name}: each reads the whole table (EXPLAIN says so); "
                    f"create one: CREATE INDEX CONCURRENTLY ON {self._table} ({columns});"
                )
        return Advice(tuple(warnings), (str(self._run("select version()")[0][0]).split(" on ")[0],))

    def _rights(self) -> Iterator[str]:
        found = self._run(_MAY_WRITE, (self._table,))
        superuser, rights = found[0] if found else (False, [])
        if superuser:
            yield "the account is a superuser: make one that may read this table alone: " + self._grant()
        elif rights:
            yield f"the account may {', '.join(rights)}: it needs SELECT alone: {self._grant()}"

    def _grant(self) -> str:
        return f"CREATE ROLE hopback LOGIN; GRANT SELECT ON {self._table} TO hopback;"

    def _served(self, statement: str, values: Sequence[Any], one: Sought) -> bool:
        """Whether the planner can find the number by an index, also where a small table makes it read all of it."""

        def work(connection: psycopg.Connection[Any]) -> Any:
            try:
                with connection.transaction():
                    connection.execute("set local enable_seqscan = off")
                    # indexes that begin with the time are of no use for the number: cost alone would hide that
                    cursor = connection.execute(b"explain (format json, verbose) " + statement.encode(), values)
                    return cursor.fetchone()
            except self._driver.Error as error:
                raise self._failure(error) from None

        row = self._pool.run(work)
        plans = row[0] if not isinstance(row[0], str) else json.loads(row[0])
        return not any(_scans_all(node, one.called.name) for node in _scans(plans[0]["Plan"]))

    def close(self) -> None:
        """See `Engine.close`."""
        self._pool.forget()


def _scans(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The nodes of a plan that read a table."""
    if "Relation Name" in node:
        yield node
    for child in node.get("Plans", ()):
        yield from _scans(child)


def _scans_all(node: Mapping[str, Any], called: str) -> bool:
    """Whether a node reads more of its table than the rows of the number."""
    conditions = json.dumps([node.get("Index Cond", ""), node.get("Plans", [])])
    if node["Node Type"] == "Seq Scan":
        return True
    return called not in conditions


def _driver(store: str) -> Any:
    try:
        import psycopg
    except ImportError:
        raise StoreSetupError(
            store,
            "psycopg isn't installed: install hopback with the extra postgresql: pip install 'hopback[postgresql]'",
        ) from None
    return psycopg


def _words(error: BaseException) -> str:
    diagnosed = getattr(getattr(error, "diag", None), "message_primary", None)
    return harmless(diagnosed or error)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _escaped(text: str) -> str:
    """For a statement with parameters, where a percent sign would be one."""
    return text.replace("%", "%%")


def _base(column: StoreColumn) -> str:
    """The type to compare as: one that the column's index knows, and that cuts nothing off."""
    declared = column.declared.partition("(")[0].strip()
    if column.kind is Kind.TEXT:
        return {"character varying": "varchar", "character": "bpchar"}.get(
            declared, declared if declared == "citext" else "text"
        )
    if column.kind is Kind.LOCAL:
        return "timestamp"
    return "timestamptz" if column.kind is Kind.INSTANT else declared


def _placeholder(column: StoreColumn) -> str:
    return f"%s::{_base(column)}"


def _selected(select: Sequence[StoreColumn]) -> str:
    return ", ".join(_as_text(column) for column in select)


def _as_text(column: StoreColumn) -> str:
    name = _escaped(_quoted(column.name))
    if column.kind is Kind.INSTANT:
        return f"({name} at time zone 'UTC')::text || 'Z'"
    return f"host({name})" if column.declared in ("inet", "cidr") else f"{name}::text"


def _absent(absent: Sequence[Absent]) -> tuple[str, list[Any]]:
    parts, values = [], []
    for one in absent:
        name = _escaped(_quoted(one.column.name))
        if one.never:
            parts.append(f" and ({name} is null or {name} = any({_placeholder(one.column)}[]))")
            values.append(list(one.never))
        else:
            parts.append(f" and {name} is null")
    return "".join(parts), values


def _single(table: str, select: Sequence[StoreColumn], one: Sought) -> tuple[str, list[Any]]:
    (span,) = one.spans
    absent, never = _absent(one.absent)
    name = _escaped(_quoted(one.called.name))
    text = f"select {_selected(select)} from {_escaped(table)} where {name} = any({_placeholder(one.called)}[])"
    values: list[Any] = [list(span.called)]
    if one.time is not None:
        time = _escaped(_quoted(one.time.name))
        text += f" and {time} >= {_placeholder(one.time)} and {time} <= {_placeholder(one.time)}"
        values += [span.low, span.high]
    return f"({text}{absent})", [*values, *never]


def _many(table: str, select: Sequence[StoreColumn], one: Sought) -> tuple[str, list[Any]]:
    """Each spelling of each question is one row of an array, and one descent of the index."""
    absent, never = _absent(one.absent)
    counts = [len(span.called) for span in one.spans]
    called = [value for span in one.spans for value in span.called]
    name = _escaped(_quoted(one.called.name))
    inner = f"select {_selected(select)} from {_escaped(table)} as hopback_t where {name} = hopback_q.c"
    arrays, names, values = [f"{_placeholder(one.called)}[]"], ["c"], [called]
    if one.time is not None:
        time = _escaped(_quoted(one.time.name))
        inner += f" and {time} >= hopback_q.a and {time} <= hopback_q.b"
        for bound in ("low", "high"):
            arrays.append(f"{_placeholder(one.time)}[]")
            bounds = [getattr(span, bound) for span, count in zip(one.spans, counts, strict=True) for _ in range(count)]
            values.append(bounds)
        names += ["a", "b"]
    # offset 0 keeps the join lateral: the planner would else hash the whole table for a large array
    asked = f"unnest({', '.join(arrays)}) as hopback_q({', '.join(names)})"
    text = f"(select x.* from {asked}, lateral ({inner}{absent} offset 0) as x)"
    return text, [*values, *never]


def _by_column(select: Sequence[StoreColumn], found: Sequence[tuple[Any, ...]]) -> Table:
    columns = zip(*found, strict=True) if found else [() for _ in select]
    return {column.name: list(values) for column, values in zip(select, columns, strict=True)}

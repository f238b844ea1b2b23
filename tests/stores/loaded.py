"""Tables in real servers: created, indexed, filled, and the store that looks into them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from agent.stores.engine import Engine
from agent.stores.errors import ConnectionLostError
from agent.stores.opened import engine_of
from agent.stores.settings import StoreTable
from agent.stores.store import Store
from tests.stores.servers import Server
from tests.stores.tables import FORMATS, KEYS, Table, shown

TYPES = {
    "postgresql": {"text": "varchar(64)", "integer": "bigint", "instant": "timestamptz", "wall": "timestamp"},
    "mysql": {
        "text": "varchar(64)",
        "integer": "bigint",
        "instant": "timestamp(3) null default null",
        "wall": "datetime(3)",
    },
    "clickhouse": {
        "text": "Nullable(String)",
        "integer": "Nullable(Int64)",
        "instant": "Nullable(DateTime)",
        "wall": "Nullable(String)",
    },
    "chdb": {
        "text": "Nullable(String)",
        "integer": "Nullable(Int64)",
        "instant": "Nullable(DateTime64(3, 'America/New_York'))",
        "wall": "Nullable(String)",
    },
}
NOW = datetime.fromisoformat("2026-11-22T12:00:00+00:00")


def store(settings: StoreTable, engine: Engine | None = None) -> Store:
    """The store that a table of the configuration means."""
    return Store(settings, FORMATS, KEYS, engine or engine_of(settings, os.environ), lambda: NOW)


def adapted(table: Table, kind: str) -> Table:
    """The table as a ClickHouse has it: no type holds a wall clock's time there but text."""
    if kind not in ("clickhouse", "chdb") or "wall" not in table.columns.values():
        return table
    mapping = {**table.mapping, "columns": dict(table.mapping["columns"])}
    mapping["columns"]["seizure"] = {"column": "start", "format": "%Y-%m-%d %H:%M:%S"}
    return Table(table.name, table.columns, table.rows, mapping, table.keys, table.written)


class InPostgreSql:
    """Tables in a PostgreSQL, read by an account that may read and nothing else."""

    def __init__(self, server: Server) -> None:
        import psycopg

        self.server = server
        self.admin = psycopg.connect(
            f"host={server.socket} port={server.port} user=postgres dbname=postgres", autocommit=True
        )
        self.admin.execute("create role reader login")

    def fill(self, table: Table, *, index: bool = True) -> StoreTable:
        columns = ", ".join(f'"{name}" {TYPES["postgresql"][kind]}' for name, kind in table.columns.items())
        self.admin.execute(f'create table "{table.name}" ({columns})'.encode())
        with self.admin.cursor() as cursor:
            names = ", ".join(f'"{name}"'.replace("%", "%%") for name in table.columns)
            marks = ", ".join(["%s"] * len(table.columns))
            text = f'insert into "{table.name}" ({names}) values ({marks})'
            cursor.executemany(text.encode(), table.rows)
        for key in table.keys if index else ():
            self.admin.execute(f'create index on "{table.name}" ({", ".join(f"{one}" for one in key)})'.encode())
        self.admin.execute(f'grant select on "{table.name}" to reader; analyze "{table.name}"'.encode())
        return self.settings(table)

    def settings(self, table: Table, **more: Any) -> StoreTable:
        where = {"host": self.server.socket, "port": self.server.port, "database": "postgres", "user": "reader"}
        return table.settings(engine="postgresql", table=table.name, **where | more)


class InMariaDb:
    """Tables in a MariaDB."""

    def __init__(self, server: Server) -> None:
        import pymysql

        self.server = server
        self.admin = pymysql.connect(unix_socket=server.socket, user="root", autocommit=True, charset="utf8mb4")
        for text in (
            "set time_zone = '+00:00'",
            "create database cdr",
            "use cdr",
            "create user reader@localhost",
            "grant select on cdr.* to reader@localhost",
            "create user writer@localhost",
            "grant all on cdr.* to writer@localhost",
        ):
            self.run(text)

    def run(self, text: str, rows: Sequence[Any] = ()) -> None:
        with self.admin.cursor() as cursor:
            if rows:
                cursor.executemany(text, rows)
            else:
                cursor.execute(text)

    def fill(self, table: Table, *, index: bool = True) -> StoreTable:
        columns = ", ".join(f"`{name}` {TYPES['mysql'][kind]}" for name, kind in table.columns.items())
        self.run(f"create table `{table.name}` ({columns})")
        marks = ", ".join(["%s"] * len(table.columns))
        rows = [
            tuple(shown(value).rstrip("Z") if isinstance(value, datetime) else value for value in row)
            for row in table.rows
        ]
        self.run(f"insert into `{table.name}` values ({marks})", rows)
        for number, key in enumerate(table.keys if index else ()):
            self.run(f"create index i{number} on `{table.name}` ({', '.join(key)})")
        return self.settings(table)

    def settings(self, table: Table, **more: Any) -> StoreTable:
        where = {"host": self.server.socket, "user": "reader"}
        return table.settings(engine="mysql", table=f"cdr.{table.name}", **where | more)


def _clickhouse_value(value: Any) -> Any:
    """A wall clock's time is text there."""
    return shown(value) if isinstance(value, datetime) and value.tzinfo is None else value


def _clickhouse_literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return f"fromUnixTimestamp64Milli(toInt64({round(value.timestamp() * 1000)}))"
    return "'" + shown(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def clickhouse_table(table: Table, types: Mapping[str, str]) -> str:
    """The statement that makes a table."""
    columns = ", ".join(f"`{name}` {types[kind]}" for name, kind in table.columns.items())
    # keys of ClickHouse can't be null
    return f"create table `{table.name}` ({columns}, k String) engine = MergeTree order by (k)"


class InClickHouse:
    """Tables in a ClickHouse server."""

    def __init__(self, server: Server) -> None:
        from clickhouse_driver import Client

        self.server = server
        self.admin = Client("127.0.0.1", port=server.port)

    def fill(self, table: Table, *, index: bool = True) -> StoreTable:
        table = adapted(table, "clickhouse")
        self.admin.execute(clickhouse_table(table, TYPES["clickhouse"]))
        names = ", ".join(f"`{name}`" for name in table.columns)
        self.admin.execute(
            f"insert into `{table.name}` ({names}) values", [list(map(_clickhouse_value, row)) for row in table.rows]
        )
        return self.settings(table)

    def settings(self, table: Table, **more: Any) -> StoreTable:
        where: dict[str, Any] = {"host": "127.0.0.1", "port": self.server.port, "user": "reader"}
        return adapted(table, "clickhouse").settings(engine="clickhouse", table=table.name, **where | more)


class ChdbTransport:
    """The present ClickHouse's engine, in this process, behind the port of the driver."""

    session: Any = None
    may_write = False

    def __init__(self, settings: StoreTable, password: Any) -> None:
        del settings, password

    def execute(self, statement: str, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        import pyarrow as pa
        from clickhouse_driver.util.escape import escape_params

        text = statement % escape_params(dict(values), None) if values else statement.replace("%%", "%")
        try:
            answer = self.session.query(text, "ArrowStream")
        except RuntimeError as error:
            raise ConnectionLostError(str(error)) from None
        if not answer.bytes():
            return []
        found = pa.ipc.open_stream(answer.bytes()).read_all()
        return [column.to_pylist() for column in found.columns] if found.num_rows else []

    def close(self) -> None:
        """Nothing is open."""


class InChdb:
    """Tables in chdb."""

    def __init__(self, directory: Path) -> None:
        from chdb.session import Session

        ChdbTransport.session = Session(str(directory))  # type: ignore[no-untyped-call]
        self.run = ChdbTransport.session.query
        self.run("create database if not exists cdr engine = Atomic")
        self.run("use cdr")

    def fill(self, table: Table, *, index: bool = True) -> StoreTable:
        table = adapted(table, "chdb")
        self.run(clickhouse_table(table, TYPES["chdb"]))
        rows = [f"({', '.join(map(_clickhouse_literal, row))}, '')" for row in table.rows]
        self.run(f"insert into `{table.name}` values {', '.join(rows)}")
        return adapted(table, "chdb").settings(engine="clickhouse", table=f"cdr.{table.name}")


def parquet(table: Table, directory: Path) -> None:
    """The table as Parquet files, each a few rows of all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "text": pa.string(),
        "integer": pa.int64(),
        "instant": pa.timestamp("ms", tz="UTC"),
        "wall": pa.timestamp("ms"),
    }
    schema = pa.schema([pa.field(name, types[kind]) for name, kind in table.columns.items()])
    directory.mkdir(parents=True)
    order = list(table.columns).index(table.keys[0][1])
    rows = sorted(table.rows, key=lambda row: (row[order] is not None, str(row[order])))
    for begin in range(0, len(rows), 60):
        some = rows[begin : begin + 60]
        arrays = [pa.array(column, kind) for column, kind in zip(zip(*some, strict=True), schema.types, strict=True)]
        pq.write_table(pa.table(arrays, schema=schema), directory / f"part-{begin:04}.parquet", row_group_size=20)


@dataclass
class InParquet:
    """Tables in a directory."""

    directory: Path

    def fill(self, table: Table, *, index: bool = True) -> StoreTable:
        parquet(table, self.directory / table.name)
        return table.settings(engine="parquet", path=str(self.directory / table.name))


class InS3:
    """Tables in an object store."""

    def __init__(self, endpoint: str, directory: Path) -> None:
        import boto3

        self.endpoint, self.directory = endpoint, directory
        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self.client.create_bucket(Bucket="records")
        self.secret = directory / "secret"
        self.secret.write_text("test\n")
        self.secret.chmod(0o600)

    def fill(self, table: Table, *, index: bool = True) -> StoreTable:
        local = self.directory / table.name
        parquet(table, local)
        for file in sorted(local.iterdir()):
            self.client.upload_file(str(file), "records", f"cdr/{table.name}/{file.name}")
        return table.settings(
            engine="parquet",
            path=f"s3://records/cdr/{table.name}",
            endpoint=self.endpoint,
            region="us-east-1",
            user="test",
            password_file=str(self.secret),
        )

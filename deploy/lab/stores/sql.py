"""Transaction accounting in databases: SQLite files as db_sqlite leaves them, and the dump of a PostgreSQL database."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

from deploy.lab.stores.accounting import (
    ISO,
    JULIAN,
    LOCAL,
    Columns,
    Table,
    acc,
    called,
    called_11d,
    calling,
    dialogs,
    in_address,
    in_trunk,
    missed,
    out_trunk,
    received,
    sent,
    source_of,
)
from deploy.lab.stores.records import epoch_s, expected, julian, local
from deploy.lab.stores.source import Log, Source


def sqlite_acc(log: Log, directory: Path) -> list[Source]:
    """An originating proxy: acc, missed_calls and acc_cdrs in one SQLite file, Julian days."""

    extras: Columns = {
        "src_user": calling,
        "src_ip": in_address,
        "dst_ouser": received,
        "dst_user": sent,
        "src_trunk": in_trunk,
        "dst_trunk": out_trunk,
    }

    tables = [acc(log, extras, julian)]
    if log.several_rows:
        tables += [missed(log, extras, julian), dialogs(log, extras, julian, from_setup=True)]
    file = _into_sqlite(directory / f"{log.prefix}kamailio.db", tables)
    sides = {
        "called_in": {"column": "dst_ouser", "format": "trunk"},
        "called_out": {"column": "dst_user", "format": "trunk"},
        "calling": {"column": "src_user"},
        "ingress_trunk": {"column": "src_trunk"},
        "ingress_address": {"column": "src_ip"},
        "egress_trunk": {"column": "dst_trunk"},
        "call_id": {"column": "callid"},
    }
    return [source_of(log, table, file.name, "sqlite", sides, JULIAN, {"table": table.name}) for table in tables]


def sqlite_subscribers(log: Log, directory: Path) -> list[Source]:
    """A terminating proxy: acc alone, with the reply's time in seconds and microseconds beside the Julian day."""

    extras: Columns = {
        "time_sec": lambda log, r: epoch_s(log.switch.reads(r.written)),
        "time_usec": lambda log, r: log.switch.reads(r.written).microsecond,
        "caller": calling,
        "called": called,
        "peer_ip": in_address,
        "in_trunk": in_trunk,
        "out_trunk": out_trunk,
    }

    table = acc(log, extras, julian)
    file = _into_sqlite(directory / f"{log.prefix}proxy.db", [table])
    sides = {
        "called_in": {"column": "called", "format": "e164"},
        "calling": {"column": "caller"},
        "ingress_trunk": {"column": "in_trunk"},
        "ingress_address": {"column": "peer_ip"},
        "egress_trunk": {"column": "out_trunk"},
        "call_id": {"column": "callid"},
    }
    made = source_of(log, table, file.name, "sqlite", sides, JULIAN, {"table": "acc"}, out=False)
    made.columns["answer"] = {
        "column": "time_sec",
        "format": "epoch_s",
        "fraction_column": "time_usec",
        "fraction_unit": "us",
    }
    return [made]


def sqlite_cdrs(log: Log, directory: Path) -> list[Source]:
    """A proxy that translates toll-free numbers: one table of dialogs, with the number before and after."""

    extras: Columns = {
        "orig_called": received,
        "xlated_called": sent,
        "calling": calling,
        "orig_trunk": in_trunk,
        "term_trunk": out_trunk,
        "orig_addr": in_address,
    }

    table = dialogs(log, extras, julian, from_setup=True)
    names = {"start_time": "start_local", "end_time": "end_local", "duration": "secs"}
    renamed = tuple((written, {names.get(k, k): v for k, v in row.items()}) for written, row in table.rows)
    columns_now = tuple(names.get(name, name) for name in table.columns)
    table = Table("cdrs", columns_now, renamed, table.setups, table.skipped)
    file = _into_sqlite(directory / f"{log.prefix}cdrs.db", [table])
    columns = {
        "called_in": {"column": "orig_called", "format": "trunk"},
        "called_out": {"column": "xlated_called", "format": "trunk"},
        "calling": {"column": "calling"},
        "seizure": {"column": "start_local", **JULIAN},
        "release": {"column": "end_local", **JULIAN},
        "ingress_trunk": {"column": "orig_trunk"},
        "egress_trunk": {"column": "term_trunk"},
        "ingress_address": {"column": "orig_addr"},
        "call_id": {"column": "callid"},
    }
    return [
        Source(
            name=f"{log.prefix}cdrs",
            path=file.name,
            format="sqlite",
            options={"table": "cdrs"},
            clock_offset=log.clock_offset,
            columns=columns,
            expected=tuple(expected(r, disposition=False) for r in table.setups),
        )
    ]


def _into_sqlite(path: Path, tables: Sequence[Table]) -> Path:
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE version (id INTEGER PRIMARY KEY, table_name VARCHAR(32), table_version INTEGER)")
        for number, table in enumerate(tables, start=1):
            db.execute("INSERT INTO version VALUES (?, ?, 5)", (number, table.name))
            names = list(table.columns)
            columns = ", ".join(f"{name} {_sqlite_type(name)}" for name in names)
            db.execute(f"CREATE TABLE {table.name} (id INTEGER PRIMARY KEY NOT NULL, {columns})")
            marks = ", ".join("?" for _ in names)
            statement = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 - own names
            db.executemany(statement, ([row[name] for name in names] for _, row in table.rows))
    return path


def _sqlite_type(name: str) -> str:
    if name in ("time_sec", "time_usec"):
        return "INTEGER"
    if name in ("time", "start_time", "end_time"):
        return "TIMESTAMP WITHOUT TIME ZONE"
    return "REAL" if name in ("duration", "secs") else "VARCHAR(128) DEFAULT ''"


_DUMP_HEAD = """--
-- PostgreSQL database dump
--

-- Dumped from database version 15.18
-- Dumped by pg_dump version 15.18

SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);

"""


def postgres_dump(log: Log, directory: Path) -> list[Source]:
    """A transit proxy: acc and acc_cdrs as pg_dump writes them, local time, numbers normalised to 1+10 digits."""

    def time(reading: datetime) -> str:
        return local(reading, log.switch.zone, ISO)

    extras: Columns = {
        "ani": calling,
        "dnis": called_11d,
        "remote_ip": in_address,
        "in_tg": in_trunk,
        "out_tg": out_trunk,
    }

    tables = [acc(log, extras, time)]
    if log.several_rows:
        tables.append(dialogs(log, extras, time, from_setup=False))
    text = [_DUMP_HEAD]
    for table in tables:
        names = ["id", *table.columns]
        kinds = ",\n".join(f"    {_quoted(n)} {'integer NOT NULL' if n == 'id' else _dump_type(n)}" for n in names)
        text.append(
            f"CREATE TABLE public.{table.name} (\n{kinds}\n);\n\n\nALTER TABLE public.{table.name} OWNER TO sip;\n\n"
        )
        text.append(f"COPY public.{table.name} ({', '.join(map(_quoted, names))}) FROM stdin;\n")
        text += ["\t".join([str(i), *map(_copied, row.values())]) + "\n" for i, (_, row) in enumerate(table.rows, 1)]
        text.append("\\.\n\n\n")
    text.append("--\n-- PostgreSQL database dump complete\n--\n")
    file = directory / f"{log.prefix}accounting.sql"
    file.write_text("".join(text), encoding="utf-8")
    sides = {
        "called_in": {"column": "dnis", "format": "11d"},
        "calling": {"column": "ani"},
        "ingress_trunk": {"column": "in_tg"},
        "ingress_address": {"column": "remote_ip"},
        "egress_trunk": {"column": "out_tg"},
        "call_id": {"column": "callid"},
    }
    return [
        source_of(
            log,
            t,
            file.name,
            "sqldump",
            sides,
            LOCAL,
            {"table": t.name},
            out=False,
            from_setup=False,
            zone=log.switch.zone,
        )
        for t in tables
    ]


def _quoted(name: str) -> str:
    return f'"{name}"' if name == "time" else name


def _dump_type(name: str) -> str:
    if name == "duration":
        return "real DEFAULT 0"
    return "timestamp without time zone" if "time" in name else "character varying(128) DEFAULT ''::character varying"


def _copied(value: object) -> str:
    return "\\N" if value is None else str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")

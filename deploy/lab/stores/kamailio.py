"""Transaction accounting of SIP proxies where they put it: SQLite, SQL dumps, flat files, db_text, syslog.

Modelled on Kamailio's acc and acc_cdrs (module documentation of 5.6): a row for the final reply to an INVITE, with the
time of that reply and not of the setup; a row for the BYE, without numbers; a table of missed calls with one row for
every branch that failed; a table of dialogs that knows when they began. Which of these exist, and which extra columns
(numbers, addresses, trunks) they carry under which names, is each operator's own choice.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.lab.stores.records import (
    DISPOSITIONS,
    REASONS,
    Record,
    a_call,
    calling_text,
    daily,
    epoch_s,
    expected,
    failed_attempts,
    julian,
    local,
    replies,
)
from deploy.lab.stores.source import Log, Source

Row = dict[str, Any]
Columns = Mapping[str, Callable[[Log, Record], Any]]
"""An operator's extra columns: their names, and how they are filled."""


def _calling(log: Log, record: Record) -> str:
    return calling_text(log, record.passage.calling)


def _called(_log: Log, record: Record) -> str:
    return record.passage.called


def _called_11d(_log: Log, record: Record) -> str:
    return record.passage.called[1:]


def _received(_log: Log, record: Record) -> str:
    return record.received


def _sent(_log: Log, record: Record) -> str:
    return record.sent


def _in_address(_log: Log, record: Record) -> str:
    return record.in_address


def _in_trunk(_log: Log, record: Record) -> str:
    return record.in_trunk


def _out_trunk(_log: Log, record: Record) -> str:
    return record.out_trunk


_ISO = "%Y-%m-%d %H:%M:%S"
_JULIAN = {"format": "julian", "shift": "0.5s", "resolution": "1s"}
_EPOCH = {"format": "epoch_s", "resolution": "1s"}
_LOCAL = {"format": _ISO, "resolution": "1s"}


@dataclass(frozen=True)
class Table:
    """One table as a proxy fills it: (true time of writing, row) in that order, and what a right reading gives."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[datetime, Row], ...]
    setups: tuple[Record, ...]
    skipped: int


def _tags(record: Record) -> Row:
    tag = record.passage.record_id[:8]
    return {"from_tag": f"f{tag}", "to_tag": f"t{tag}" if record.attempt else ""}


def acc(log: Log, extras: Columns, time: Callable[[datetime], Any], call_id: str = "callid") -> Table:
    """The table of transactions: a row an INVITE, and (where several rows are on) a row a BYE."""
    setups = replies(log)
    rows = [(r.written, _transaction(log, r, "INVITE", r.code, extras, time, call_id)) for r in setups]
    byes = [r for r in a_call(log) if r.released] if log.several_rows else []
    rows += [(r.written, _bye(log, r, extras, time, call_id)) for r in byes]
    return Table(
        "acc",
        _transaction_columns(extras, call_id),
        tuple(sorted(rows, key=lambda row: row[0])),
        tuple(setups),
        len(byes),
    )


def _transaction(
    log: Log, record: Record, method: str, code: int, extras: Columns, time: Callable[[datetime], Any], call_id: str
) -> Row:
    return {
        "method": method,
        **_tags(record),
        call_id: record.passage.record_id,
        "sip_code": str(code),
        "sip_reason": REASONS[code],
        "time": time(log.switch.reads(record.written)),
        **_filled(extras, log, record),
    }


def _filled(extras: Columns, log: Log, record: Record) -> Row:
    return {name: fill(log, record) for name, fill in extras.items()}


def _transaction_columns(extras: Columns, call_id: str) -> tuple[str, ...]:
    return ("method", "from_tag", "to_tag", call_id, "sip_code", "sip_reason", "time", *extras)


def _bye(log: Log, record: Record, extras: Columns, time: Callable[[datetime], Any], call_id: str) -> Row:
    row = _transaction(log, record, "BYE", 200, extras, time, call_id)
    kept = {"method", "from_tag", "to_tag", call_id, "sip_code", "sip_reason", "time", "time_sec", "time_usec"}
    return {name: value if name in kept or "src" in name or name in _CALLERS else "" for name, value in row.items()}


_CALLERS = frozenset({"caller", "ani", "src_user"})


def missed(log: Log, extras: Columns, time: Callable[[datetime], Any]) -> Table:
    """The table of missed calls: every failed branch, and every call that nobody took."""
    setups = sorted([*failed_attempts(log), *(r for r in replies(log) if not r.answered)], key=lambda r: r.written)
    rows = [(r.written, _transaction(log, r, "INVITE", r.code, extras, time, "callid")) for r in setups]
    return Table("missed_calls", _transaction_columns(extras, "callid"), tuple(rows), tuple(setups), 0)


def dialogs(log: Log, extras: Columns, time: Callable[[datetime], Any], *, from_setup: bool) -> Table:
    """The table of dialogs, from setup or (cdr_start_on_confirmed) from the answer to the end."""
    setups = [r for r in a_call(log) if from_setup or r.answered]
    rows = []
    for r in setups:
        begin = r.passage.seized if from_setup else r.finished
        rows.append(
            (
                r.written,
                {
                    "start_time": time(log.switch.reads(begin)),
                    "end_time": time(log.switch.reads(r.ended)),
                    "duration": round((r.ended - begin).total_seconds(), 3),
                    "callid": r.passage.record_id,
                    **_filled(extras, log, r),
                },
            )
        )
    columns = ("start_time", "end_time", "duration", "callid", *extras)
    return Table("acc_cdrs", columns, tuple(rows), tuple(setups), 0)


# --- SQLite ---------------------------------------------------------------------------------------------------------


def sqlite_acc(log: Log, directory: Path) -> list[Source]:
    """An originating proxy: acc, missed_calls and acc_cdrs in one SQLite file, Julian days."""

    extras: Columns = {
        "src_user": _calling,
        "src_ip": _in_address,
        "dst_ouser": _received,
        "dst_user": _sent,
        "src_trunk": _in_trunk,
        "dst_trunk": _out_trunk,
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
    return [_source(log, table, file.name, "sqlite", sides, _JULIAN, {"table": table.name}) for table in tables]


def sqlite_subscribers(log: Log, directory: Path) -> list[Source]:
    """A terminating proxy: acc alone, with the reply's time in seconds and microseconds beside the Julian day."""

    extras: Columns = {
        "time_sec": lambda log, r: epoch_s(log.switch.reads(r.written)),
        "time_usec": lambda log, r: log.switch.reads(r.written).microsecond,
        "caller": _calling,
        "called": _called,
        "peer_ip": _in_address,
        "in_trunk": _in_trunk,
        "out_trunk": _out_trunk,
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
    made = _source(log, table, file.name, "sqlite", sides, _JULIAN, {"table": "acc"}, out=False)
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
        "orig_called": _received,
        "xlated_called": _sent,
        "calling": _calling,
        "orig_trunk": _in_trunk,
        "term_trunk": _out_trunk,
        "orig_addr": _in_address,
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
        "seizure": {"column": "start_local", **_JULIAN},
        "release": {"column": "end_local", **_JULIAN},
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


def _source(
    log: Log,
    table: Table,
    path: str,
    fmt: str,
    sides: dict[str, Any],
    time: dict[str, Any],
    options: dict[str, Any],
    *,
    out: bool = True,
    trunks: bool = True,
    from_setup: bool = True,
    zone: str | None = None,
) -> Source:
    """The [[sources]] table of one of the proxy's tables, with the columns that this kind of table has."""
    columns = dict(sides)
    where = {}
    if table.name == "acc_cdrs":
        columns["seizure" if from_setup else "answer"] = {"column": "start_time", **time}
        columns["release"] = {"column": "end_time", **time}
    else:
        columns["answer"] = {"column": "time", **time}
        columns["disposition"] = {"column": "sip_code", "values": DISPOSITIONS}
        where["method"] = "INVITE"
    return Source(
        name=f"{log.prefix}{table.name}",
        path=path,
        format=fmt,
        options=options,
        where=where,
        zone=zone,
        clock_offset=log.clock_offset,
        columns=columns,
        expected=tuple(expected(r, out=out, trunks=trunks, disposition=table.name != "acc_cdrs") for r in table.setups),
        skipped=table.skipped,
    )


# --- SQL dump -------------------------------------------------------------------------------------------------------

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
        return local(reading, log.switch.zone, _ISO)

    extras: Columns = {
        "ani": _calling,
        "dnis": _called_11d,
        "remote_ip": _in_address,
        "in_tg": _in_trunk,
        "out_tg": _out_trunk,
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
        _source(
            log,
            t,
            file.name,
            "sqldump",
            sides,
            _LOCAL,
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


# --- flat files -----------------------------------------------------------------------------------------------------


def flatstore(log: Log, directory: Path) -> list[Source]:
    """A transit proxy: db_flatstore, a pipe between fields, no header, a file a worker process; called as received."""

    extras: Columns = {
        "src_user": _calling,
        "dst_ouser": _received,
        "src_ip": _in_address,
        "src_trunk": _in_trunk,
        "dst_trunk": _out_trunk,
    }

    tables = [acc(log, extras, epoch_s)]
    if log.several_rows:
        tables.append(dialogs(log, extras, epoch_s, from_setup=True))
    sides = {
        "called_in": {"column": "dst_ouser", "format": "trunk"},
        "calling": {"column": "src_user"},
        "ingress_trunk": {"column": "src_trunk"},
        "ingress_address": {"column": "src_ip"},
        "egress_trunk": {"column": "dst_trunk"},
        "call_id": {"column": "callid"},
    }
    made = []
    for table in tables:
        workers: dict[int, list[str]] = {129: [], 130: [], 131: []}
        for number, (_, row) in enumerate(table.rows):
            workers[129 + number % 3].append("|".join(map(str, row.values())) + "\n")
        for worker, lines in workers.items():
            (directory / f"{log.prefix}{table.name}_{worker}.log").write_text("".join(lines), encoding="utf-8")
        options = {"delimiter": "|", "header": False, "names": list(table.columns)}
        pattern = f"{log.prefix}{table.name}_[0-9]*.log"
        made.append(_source(log, table, pattern, "delimited", sides, _EPOCH, options, out=False))
    return made


def db_text(log: Log, directory: Path) -> list[Source]:
    """A transit proxy: db_text, a typed header, colons between fields, backslashes before colons inside them."""

    extras: Columns = {
        "src_user": _calling,
        "src_ip": _in_address,
        "dst_ouser": _received,
        "dst_user": _sent,
        "src_trunk": _in_trunk,
        "dst_trunk": _out_trunk,
    }

    tables = [acc(log, extras, epoch_s)]
    if log.several_rows:
        tables.append(missed(log, extras, epoch_s))
    sides = {
        "called_in": {"column": "dst_ouser", "format": "trunk"},
        "called_out": {"column": "dst_user", "format": "trunk"},
        "calling": {"column": "src_user"},
        "ingress_trunk": {"column": "src_trunk"},
        "ingress_address": {"column": "src_ip"},
        "egress_trunk": {"column": "dst_trunk"},
        "call_id": {"column": "callid"},
    }
    made = []
    for table in tables:
        head = " ".join(["id(int,auto)", *(f"{n}({'int' if n == 'time' else 'string'})" for n in table.columns)])
        lines = [
            ":".join([str(number), *(_escaped(str(value)) for value in row.values())])
            for number, (_, row) in enumerate(table.rows, start=1)
        ]
        file = directory / f"{log.prefix}{table.name}"
        file.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
        made.append(_source(log, table, file.name, "kamailio_dbtext", sides, _EPOCH, {}))
    return made


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(":", "\\:").replace("\n", "\\n")


# --- syslog ---------------------------------------------------------------------------------------------------------


def syslog(log: Log, directory: Path) -> list[Source]:
    """A transit proxy: acc and cdr lines in syslog, the called number in the request URIs, before and after."""

    def uri(number: str, address: str) -> str:
        host = f"[{address}]" if ":" in address else address
        return f"sip:{number}@{host}:5060" if number else ""

    extras: Columns = {
        "src_user": _calling,
        "src_ip": _in_address,
        "ruri_in": lambda log, r: uri(r.received, log.provider.address),
        "ruri_out": lambda _log, r: uri(r.sent, r.out_address),
        "itrunk": _in_trunk,
        "etrunk": _out_trunk,
    }

    table, cdrs = acc(log, extras, epoch_s, call_id="call_id"), a_call(log)
    path = daily(log, directory, "proxy", ".log", sorted(_acc_lines(log, table) + _cdr_lines(log, cdrs, trunks=True)))
    sides = {
        "calling": {"column": "src_user"},
        "ingress_trunk": {"column": "itrunk"},
        "ingress_address": {"column": "src_ip"},
        "egress_trunk": {"column": "etrunk"},
    }
    acc_source = Source(
        name=f"{log.prefix}acc",
        path=path,
        format="kamailio_syslog",
        where={"kind": "acc", "method": "INVITE"},
        clock_offset=log.clock_offset,
        columns={
            **sides,
            "called_in": {"column": "ruri_in", "format": "trunk"},
            "called_out": {"column": "ruri_out", "format": "trunk"},
            "answer": {"column": "timestamp", **_EPOCH},
            "call_id": {"column": "call_id"},
            "disposition": {"column": "code", "values": DISPOSITIONS},
        },
        expected=tuple(expected(r) for r in table.setups),
        skipped=table.skipped + (len(cdrs) if log.several_rows else 0),
    )
    if not log.several_rows:
        return [acc_source]
    cdr_source = Source(
        name=f"{log.prefix}cdr",
        path=path,
        format="kamailio_syslog",
        where={"kind": "cdr"},
        clock_offset=log.clock_offset,
        columns={
            **sides,
            "calling": {"column": "caller"},
            "called_in": {"column": "callee", "format": "trunk"},
            "seizure": {"column": "start_time", "format": "epoch_s"},
            "release": {"column": "end_time", "format": "epoch_s"},
            "call_id": {"column": "callid"},
        },
        expected=tuple(expected(r, out=False, disposition=False) for r in cdrs),
        skipped=len(table.rows),
    )
    return [acc_source, cdr_source]


def address_syslog(log: Log, directory: Path) -> list[Source]:
    """A terminating proxy: cdr lines alone, peers by address; a call that went on to a line names that address."""
    cdrs = a_call(log)
    path = daily(log, directory, "sbc", ".log", _cdr_lines(log, cdrs, trunks=False))
    return [
        Source(
            name=f"{log.prefix}cdr",
            path=path,
            format="kamailio_syslog",
            where={"kind": "cdr"},
            clock_offset=log.clock_offset,
            columns={
                "called_in": {"column": "callee", "format": "trunk"},
                "calling": {"column": "caller"},
                "seizure": {"column": "start_time", "format": "epoch_s"},
                "release": {"column": "end_time", "format": "epoch_s"},
                "ingress_address": {"column": "src_ip"},
                "egress_address": {"column": "dst_ip"},
                "call_id": {"column": "callid"},
            },
            expected=tuple(expected(r, out=False, trunks=False, disposition=False) for r in cdrs),
        )
    ]


def _stamp(log: Log, written: datetime) -> str:
    reading = log.switch.reads(written).astimezone(UTC)
    return f"{reading:%b} {reading.day:2d} {reading:%H:%M:%S} {log.provider.id}-sbc1 proxy[{200 + reading.second % 5}]"


def _acc_lines(log: Log, table: Table) -> list[tuple[datetime, str]]:
    lines = []
    for written, row in table.rows:
        pairs = {"timestamp": row["time"]} | {k: v for k, v in row.items() if k != "time"}
        pairs = {{"sip_code": "code", "sip_reason": "reason"}.get(k, k): v for k, v in pairs.items()}
        said = ";".join(f"{name}={value}" for name, value in pairs.items())
        text = f"NOTICE: acc [acc.c:287]: acc_log_request(): ACC: transaction answered: {said}\n"
        lines.append((written, f"{_stamp(log, written)}: {text}"))
    return lines


def _cdr_lines(log: Log, records: Iterable[Record], *, trunks: bool) -> list[tuple[datetime, str]]:
    if trunks and not log.several_rows:
        return []
    lines = []
    for r in records:
        begin, end = log.switch.reads(r.passage.seized), log.switch.reads(r.ended)
        pairs = {
            "start_time": f"{begin.timestamp():.3f}",
            "end_time": f"{end.timestamp():.3f}",
            "duration": f"{(end - begin).total_seconds():.3f}",
            "callid": r.passage.record_id,
            "caller": calling_text(log, r.passage.calling),
            "callee": r.received,
            "src_ip": r.in_address,
            **({"itrunk": r.in_trunk, "etrunk": r.out_trunk} if trunks else {"dst_ip": r.out_address}),
        }
        said = "; ".join(f"{name}={value}" for name, value in pairs.items())
        text = f"NOTICE: acc [acc_cdr.c:395]: log_write_cdr(): {said}\n"
        lines.append((r.written, f"{_stamp(log, r.written)}: {text}"))
    return lines


def json_syslog(log: Log, directory: Path) -> list[Source]:
    """A gateway: acc_json's objects in syslog, one a transaction, with the time of the final reply alone."""

    extras: Columns = {
        "from_user": _calling,
        "to_user": _received,
        "sent_user": _sent,
        "peer": _in_address,
        "tg_in": _in_trunk,
        "tg_out": _out_trunk,
    }

    table = acc(log, extras, lambda reading: str(epoch_s(reading)))
    lines = (
        (written, f"{_stamp(log, written)}: NOTICE: acc_json: {json.dumps(row, separators=(',', ':'))}\n")
        for written, row in table.rows
    )
    return [
        Source(
            name=f"{log.prefix}acc",
            path=daily(log, directory, "gateway", ".log", lines),
            format="kamailio_syslog",
            where={"kind": "json", "method": "INVITE"},
            clock_offset=log.clock_offset,
            columns={
                "called_in": {"column": "to_user", "format": "trunk"},
                "called_out": {"column": "sent_user", "format": "trunk"},
                "calling": {"column": "from_user"},
                "answer": {"column": "time", **_EPOCH},
                "ingress_trunk": {"column": "tg_in"},
                "ingress_address": {"column": "peer"},
                "egress_trunk": {"column": "tg_out"},
                "call_id": {"column": "callid"},
                "disposition": {"column": "sip_code", "values": DISPOSITIONS},
            },
            expected=tuple(expected(r) for r in table.setups),
            skipped=table.skipped,
        )
    ]

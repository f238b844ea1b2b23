"""What the index is measured against: the same calls in PostgreSQL, SQLite, LMDB and sorted Parquet.

Each peer holds the pseudonym of the called number, the time, both trunks, the pseudonyms of calling number and call id
and the disposition, and is asked in the way that suits it best: PostgreSQL by a covering b-tree and prepared
statements, SQLite by a table that is its own index, LMDB by one cursor that stays open.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from agent.index.keys import I64, U64

Row = tuple[int, int, int]
"""Time in ms since 1970, ingress and egress, as numbers."""
Probe = tuple[int, int, int]
"""A pseudonym, and the first and last time."""

_CONFIGURATION: Final = """
listen_addresses = ''
shared_buffers = 2GB
maintenance_work_mem = 512MB
work_mem = 256MB
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
max_wal_size = 16GB
autovacuum = off
jit = off
"""
_UNNEST: Final = (
    "select q.n, l.t, l.i, l.e from unnest(%b::int[], %b::bigint[], %b::bigint[], %b::bigint[]) q(n, p, a, b) "
    "join calls l on l.p = q.p and l.t between q.a and q.b"
)
_LATERAL: Final = (
    "select q.n, x.t, x.i, x.e from unnest(%b::int[], %b::bigint[], %b::bigint[], %b::bigint[]) q(n, p, a, b), "
    "lateral (select t, i, e from calls where p = q.p and t between q.a and q.b offset 0) x"
)
_ONE: Final = "select t, i, e from calls where p = %b and t between %b and %b"


@dataclass(frozen=True, slots=True)
class Day:
    """One day's calls for the peers, in the order of pseudonym and time; columns of equal length."""

    pseudonym: U64
    time: I64
    ingress: I64
    egress: I64
    calling: I64
    call_ref: I64
    flags: I64

    def __len__(self) -> int:
        return len(self.time)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a directory."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


class PageCache:
    """The files at a path, or below it, as they are now: to be dropped from the page cache again and again."""

    def __init__(self, path: Path) -> None:
        files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
        self._descriptors = [os.open(file, os.O_RDONLY) for file in files]
        for descriptor in self._descriptors:
            os.fsync(descriptor)  # what is not on disk yet can't be dropped

    def drop(self) -> None:
        """Forget them, but for pages that a process has mapped."""
        for descriptor in self._descriptors:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Close the files."""
        for descriptor in self._descriptors:
            os.close(descriptor)


class PostgreSql:
    """A cluster of its own in a temporary directory, on a unix socket; run as user postgres when this is root."""

    name = "PostgreSQL"

    def __init__(self, configuration: str = _CONFIGURATION) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        if not found:
            raise RuntimeError("PostgreSQL is missing: apt-get install postgresql")
        self._bin = found[-1]
        self.version = self._bin.parent.name
        self._user = "postgres" if os.geteuid() == 0 else None
        self.directory = Path(tempfile.mkdtemp(prefix="hopback-bench-pg-"))
        if self._user:
            shutil.chown(self.directory, self._user)
        self._data = self.directory / "data"
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-U", "bench", "--no-sync")
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(f"{configuration}unix_socket_directories = '{self.directory}'\n")
        self._connection: Any = None
        self.batch_sql = _UNNEST
        self.start()

    def _run(self, program: str, *args: str) -> None:
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
        done = subprocess.run(
            [str(self._bin / program), *args],
            user=self._user,
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.strip()[-500:]}")

    def start(self) -> None:
        """Start the server, and connect to it."""
        import psycopg

        self._run("pg_ctl", "-D", str(self._data), "-w", "-l", str(self.directory / "log"), "start")
        self._connection = psycopg.connect(host=str(self.directory), user="bench", dbname="postgres", autocommit=True)
        self._cursor = self._connection.cursor(binary=True)

    def create_database(self, name: str) -> None:
        """Make an empty database beside the one that is measured."""
        self._connection.execute(f"CREATE DATABASE \"{name}\" ENCODING 'UTF8' TEMPLATE template0")

    def stop(self) -> None:
        """Stop the server."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._run("pg_ctl", "-D", str(self._data), "-m", "fast", "stop")

    def close(self) -> None:
        """Stop, and remove all of it."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def load(self, days: Iterator[Day]) -> None:
        """Take in the calls."""
        cursor = self._connection.cursor()
        cursor.execute(
            "create unlogged table calls "
            "(p bigint not null, t bigint not null, c int, r int, i smallint, e smallint, f smallint)"
        )
        columns = [("p", ">i8"), ("t", ">i8"), ("c", ">i4"), ("r", ">i4"), ("i", ">i2"), ("e", ">i2"), ("f", ">i2")]
        kind: list[tuple[str, str]] = [("n", ">i2")]
        for name, width in columns:
            kind += [(f"{name}_size", ">i4"), (name, width)]
        with cursor.copy("copy calls from stdin (format binary)") as copy:
            copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
            for day in days:
                records = np.zeros(len(day), np.dtype(kind))
                records["n"] = len(columns)
                for name, width in columns:
                    records[f"{name}_size"] = int(width[-1])
                records["p"], records["t"] = day.pseudonym.view(np.int64), day.time
                records["c"], records["r"] = day.calling.astype(np.uint32).view(np.int32), day.call_ref
                records["i"], records["e"], records["f"] = day.ingress, day.egress, day.flags
                copy.write(records.tobytes())
            copy.write(b"\xff\xff")
        cursor.execute("create index calls_by_number on calls (p, t) include (i, e)")
        cursor.execute("vacuum analyze calls")

    def size(self) -> int:
        """Bytes of table and index."""
        (size,) = self._connection.execute("select pg_total_relation_size('calls')").fetchone()
        return int(size)

    def find(self, probe: Probe) -> list[Row]:
        """One lookup by a prepared statement."""
        rows: list[Row] = self._cursor.execute(_ONE, (_signed(probe[0]), *probe[1:]), prepare=True).fetchall()
        return rows

    def find_many(self, columns: Sequence[list[int]]) -> list[tuple[int, int, int, int]]:
        """A batch of lookups: numbers, pseudonyms (signed), first and last times."""
        rows: list[tuple[int, int, int, int]] = self._cursor.execute(self.batch_sql, columns, prepare=True).fetchall()
        return rows

    def batch_statements(self) -> tuple[tuple[str, str], ...]:
        """The ways to ask for a batch."""
        return ("unnest", _UNNEST), ("lateral", _LATERAL)


def _signed(pseudonym: int) -> int:
    return pseudonym - 2**64 if pseudonym >= 2**63 else pseudonym


def signed(pseudonyms: U64) -> I64:
    """Pseudonyms as PostgreSQL and SQLite keep them."""
    return pseudonyms.view(np.int64)


class Sqlite:
    """A table that is its own index (WITHOUT ROWID)."""

    name = "SQLite"
    version = sqlite3.sqlite_version

    def __init__(self, directory: Path) -> None:
        self.path = directory / "calls.sqlite"
        self._open()

    def _open(self, mapped: int = 1 << 40) -> None:
        self._connection = sqlite3.connect(self.path)
        self._connection.execute(f"pragma mmap_size = {mapped}")
        self._connection.execute("pragma cache_size = -100000")
        self._execute = self._connection.execute

    def reopen(self, mapped: bool = True) -> None:
        """Let go of the file and of all that was kept of it, and open it again."""
        self._connection.close()
        self._open(1 << 40 if mapped else 0)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def load(self, days: Iterator[Day]) -> None:
        """Take in the calls."""
        connection = self._connection
        connection.execute("pragma journal_mode = off")
        connection.execute("pragma synchronous = off")
        connection.execute("pragma cache_size = -4000000")  # while it loads: rows of a day go all over the tree
        connection.execute(
            "create table calls (p integer, t integer, n integer, i integer, e integer, c integer, r integer, "
            "f integer, primary key (p, t, n)) without rowid"
        )
        for day in days:
            order = np.lexsort((day.time, signed(day.pseudonym)))
            columns = [signed(day.pseudonym), day.time, _ordinals(day), day.ingress, day.egress]
            columns += [day.calling, day.call_ref, day.flags]
            rows = zip(*(column[order].tolist() for column in columns), strict=True)
            connection.executemany("insert into calls values (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.commit()
        self.reopen()

    def size(self) -> int:
        """Bytes of the file."""
        return size_of(self.path)

    def find(self, probe: Probe) -> list[Row]:
        """One lookup."""
        return self._execute(
            "select t, i, e from calls where p = ? and t between ? and ?", (_signed(probe[0]), probe[1], probe[2])
        ).fetchall()


def _ordinals(day: Day) -> I64:
    """Tells calls of one number and millisecond apart; the day is in order."""
    same = np.zeros(len(day), bool)
    same[1:] = (day.pseudonym[1:] == day.pseudonym[:-1]) & (day.time[1:] == day.time[:-1])
    at = np.arange(len(day))
    starts = np.maximum.accumulate(np.where(same, 0, at))
    return at - starts


class Lmdb:
    """Keys of pseudonym, time and ordinal, big-endian; values packed."""

    name = "LMDB"
    _KEY = struct.Struct(">QQ")
    _VALUE = struct.Struct("<HHIIB")

    def __init__(self, directory: Path) -> None:
        import lmdb

        self.version = ".".join(map(str, lmdb.version()))
        self.path = directory / "lmdb"
        self._environment = lmdb.open(str(self.path), map_size=1 << 38, sync=False, lock=False, readahead=False)
        self._cursor: Any = None

    def close(self) -> None:
        """Let go of the file."""
        self._cursor = None
        self._environment.close()

    def load(self, days: Iterator[Day]) -> None:
        """Take in the calls: in order within a day, which is far faster than as they come."""
        key = np.dtype([("p", ">u8"), ("t", ">u8")])
        value = np.dtype([("i", "<u2"), ("e", "<u2"), ("c", "<u4"), ("r", "<u4"), ("f", "u1")])
        for day in days:
            keys, values = np.empty(len(day), key), np.empty(len(day), value)
            keys["p"], keys["t"] = day.pseudonym, (day.time << 8) | _ordinals(day)
            values["i"], values["e"], values["c"] = day.ingress, day.egress, day.calling
            values["r"], values["f"] = day.call_ref, day.flags
            with self._environment.begin(write=True) as transaction, transaction.cursor() as cursor:
                pairs = zip(_cut(keys.tobytes(), key.itemsize), _cut(values.tobytes(), value.itemsize), strict=True)
                cursor.putmulti(pairs)
        self._environment.sync(True)
        self._cursor = self._environment.begin(buffers=False).cursor()

    def size(self) -> int:
        """Bytes of the file."""
        return size_of(self.path)

    def find(self, probe: Probe) -> list[Row]:
        """One lookup."""
        pseudonym, low, high = probe
        cursor = self._cursor
        rows: list[Row] = []
        if not cursor.set_range(self._KEY.pack(pseudonym, low << 8)):
            return rows
        last = self._KEY.pack(pseudonym, high << 8 | 255)
        while True:
            key, value = cursor.item()
            if not key or key > last:
                return rows
            ingress, egress, _, _, _ = self._VALUE.unpack(value)
            rows.append((self._KEY.unpack(key)[1] >> 8, ingress, egress))
            if not cursor.next():
                return rows


def _cut(data: bytes, width: int) -> Iterator[bytes]:
    return (data[at : at + width] for at in range(0, len(data), width))


class Parquet:
    """One sorted file of the same columns, for its size alone."""

    name = "sorted Parquet"

    def __init__(self, directory: Path) -> None:
        self.path = directory / "calls.parquet"

    def load(self, days: Iterator[Day]) -> None:
        """Write the calls day by day, each in order, compressed by zstd."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema(
            {
                "p": pa.uint64(),
                "t": pa.int64(),
                "i": pa.uint16(),
                "e": pa.uint16(),
                "c": pa.uint32(),
                "r": pa.uint32(),
                "f": pa.uint8(),
            }
        )
        with pq.ParquetWriter(self.path, schema, compression="zstd") as writer:
            for day in days:
                columns = (day.pseudonym, day.time, day.ingress, day.egress, day.calling, day.call_ref, day.flags)
                arrays = [pa.array(column).cast(field.type) for column, field in zip(columns, schema, strict=True)]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))

    def size(self) -> int:
        """Bytes of the file."""
        return size_of(self.path)

"""SQL tables for the tests of the formats that are tables: the same rows as SQLite file, dump and export. Synthetic."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

Row = Sequence[object]


def as_database(**tables: tuple[Sequence[str], Sequence[Row]]) -> bytes:
    """A SQLite database of tables, each with its columns and rows."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "cdr.db"
        connection = sqlite3.connect(path)
        for name, (columns, rows) in tables.items():
            connection.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
            connection.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(columns))})", rows)
        connection.commit()
        connection.close()
        return path.read_bytes()


def as_dump(**tables: tuple[Sequence[str], Sequence[Row]]) -> bytes:
    """A dump of PostgreSQL."""
    text = "--\n-- PostgreSQL database dump\n--\n\n"
    for name, (columns, rows) in tables.items():
        text += (
            f"CREATE TABLE public.{name} (\n" + ",\n".join(f"    {c} character varying(64)" for c in columns) + "\n);\n"
        )
        text += f"COPY public.{name} ({', '.join(columns)}) FROM stdin;\n"
        text += "".join("\t".join("\\N" if v is None else str(v) for v in row) + "\n" for row in rows) + "\\.\n\n"
    return text.encode()


def as_mysql(**tables: tuple[Sequence[str], Sequence[Row]]) -> bytes:
    """A dump of MySQL."""
    text = "-- MySQL dump 10.13\n"
    for name, (columns, rows) in tables.items():
        text += f"CREATE TABLE `{name}` (\n" + ",\n".join(f"  `{c}` varchar(64)" for c in columns) + "\n);\n"
        values = ",".join("(" + ",".join("NULL" if v is None else f"'{v}'" for v in row) + ")" for row in rows)
        text += f"INSERT INTO `{name}` VALUES {values};\n"
    return text.encode()


def as_export(columns: Sequence[str], rows: Sequence[Row]) -> bytes:
    """A table with a header, as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([list(columns), *rows])
    return text.getvalue().encode()

"""Hostile databases: damaged pages, a schema that lies, views that never end, values that are no part of a record."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

from tests.adapters.hostile.recipes import TABLES, Corpus
from tests.adapters.hostile.seeds import seed_of

STORED = Corpus()

TABLE = "CREATE TABLE calls (id, called, calling, start, trunk)"
ROW = "INSERT INTO calls VALUES (1, '2025550143', '2025550199', 2461366.6824016203, 'TG1')"
MANY = (
    "INSERT INTO calls WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000) "
    "SELECT i, '2025550143', printf('%0200d', i), 2461366.6824016203, 'TG1' FROM n"
)


def _database(directory: Path, *statements: str) -> Path:
    path = directory / "calls.db"
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return path


def _damaged(directory: Path, at: int, piece: bytes) -> Path:
    path = _database(directory, TABLE, MANY)
    data = bytearray(path.read_bytes())
    data[at : at + len(piece)] = piece
    path.write_bytes(data)
    return path


@STORED.built("sqlite", says="can't be read")
def _sqlite_with_pages_of_garbage(directory: Path) -> Path:
    """A disk lost a few blocks in the middle."""
    return _damaged(directory, 200_000, bytes(range(256)) * 200)


@STORED.built("sqlite", says="can't be read")
def _sqlite_with_pages_of_nothing(directory: Path) -> Path:
    """The same, and they are zeros."""
    return _damaged(directory, 4096, bytes(100 * 4096))


@STORED.built("sqlite", says="can't be read")
def _sqlite_whose_page_is_its_own_child(directory: Path) -> Path:
    """A tree that leads back to its root: a reader that follows it never comes to a leaf."""
    path = _database(directory, TABLE, MANY)
    data = bytearray(path.read_bytes())
    root = 4096  # the table's root is the second page
    assert data[root] == 5, "an interior page"
    struct.pack_into(">L", data, root + 8, 2)
    for cell in range(struct.unpack_from(">H", data, root + 3)[0]):
        (at,) = struct.unpack_from(">H", data, root + 12 + 2 * cell)
        struct.pack_into(">L", data, root + at, 2)
    path.write_bytes(data)
    return path


@STORED.built("sqlite", says="can't be read")
def _sqlite_whose_pages_have_no_size(directory: Path) -> Path:
    """A page size that is no power of two."""
    return _damaged(directory, 16, b"\x13\x37")


@STORED.built("sqlite", says="can't be read")
def _sqlite_that_is_cut_off(directory: Path) -> Path:
    """Half of a copy."""
    path = _database(directory, TABLE, MANY)
    path.write_bytes(path.read_bytes()[:100_000])
    return path


@STORED.content(*TABLES)
def _sqlite_that_is_nothing_but_its_mark() -> bytes:
    """A header, and a page that isn't there."""
    return b"SQLite format 3\x00" + bytes(84)


def _with_schema(directory: Path, sql: str, kind: str = "table") -> Path:
    path = _database(directory, TABLE, ROW)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = ?, type = ? WHERE name = 'calls'", (sql, kind))
        connection.commit()
    return path


@STORED.built("sqlite", says="can't be read")
def _sqlite_whose_schema_is_no_sql(directory: Path) -> Path:
    """What the table is said to be, nobody can say."""
    return _with_schema(directory, "CREATE TABLE calls (" + "(" * 5000)


@STORED.built("sqlite", says="can't be read")
def _sqlite_whose_table_needs_a_module(directory: Path) -> Path:
    """A virtual table of a module that would load what the file names."""
    return _with_schema(directory, "CREATE VIRTUAL TABLE calls USING csv(filename='/etc/passwd', header=yes)")


@STORED.built("sqlite", says="can't be read")
def _sqlite_view_of_a_file(directory: Path) -> Path:
    """A view that reads a file of secrets, by a function that only the command line tool has."""
    return _database(directory, "CREATE VIEW calls AS SELECT readfile('/etc/passwd') AS called, 2461366.68 AS start")


@STORED.built("sqlite", says="unsafe use of load_extension")
def _sqlite_view_that_loads_a_program(directory: Path) -> Path:
    """An extension is a program, and would run here."""
    return _database(directory, "CREATE VIEW calls AS SELECT load_extension('/tmp/x.so') AS called, 1 AS start")


@STORED.built("sqlite", says="can't be read")
def _sqlite_view_of_itself(directory: Path) -> Path:
    """Two views, each of which is the other."""
    return _database(directory, "CREATE VIEW calls AS SELECT * FROM v", "CREATE VIEW v AS SELECT * FROM calls")


@STORED.built("sqlite", says="can't be read")
def _sqlite_view_of_a_value_of_a_gigabyte(directory: Path) -> Path:
    """A few bytes of SQL make it."""
    columns = (
        "hex(zeroblob(900000000)) AS called",
        *(f"1.0 AS {name}" for name in ("id", "calling", "start", "trunk")),
    )
    return _database(directory, f"CREATE VIEW calls AS SELECT {', '.join(columns)}")


@STORED.built("sqlite", says="can't be read")
def _sqlite_value_of_20_megabytes(directory: Path) -> Path:
    """A recording where a number belongs."""
    return _database(directory, TABLE, "INSERT INTO calls VALUES (1, zeroblob(20000000), '', 2461366.68, '')")


@STORED.built("sqlite")
def _sqlite_with_triggers(directory: Path) -> Path:
    """What would be done if anything were written: nothing is."""
    trigger = "CREATE TRIGGER t AFTER INSERT ON calls BEGIN DELETE FROM calls; END"
    return _database(directory, TABLE, ROW, trigger, "CREATE TABLE other (a)")


@STORED.built("sqlite")
def _sqlite_of_2000_columns(directory: Path) -> Path:
    """As many as SQLite has."""
    columns = ", ".join(f'"c{number}"' for number in range(1990))
    return _database(directory, f"CREATE TABLE calls (called, calling, start, trunk, id, {columns})", _wide())


def _wide() -> str:
    return "INSERT INTO calls (called, start) VALUES ('2025550143', 2461366.6824016203)"


@STORED.built("sqlite")
def _sqlite_whose_names_steer_a_terminal(directory: Path) -> Path:
    """Names of tables and columns with quotes, escape sequences and NUL."""
    name = 'x"; DROP TABLE calls; -- \x1b[2J'
    quoted = name.replace('"', '""')
    return _database(directory, f'CREATE TABLE "{quoted}" ("{quoted}", called)')


@STORED.built("sqlite")
def _sqlite_of_values_of_every_type(directory: Path) -> Path:
    """Infinity, the smallest integer, text that is none, bytes with NUL, in every column."""
    values = ("9e999", "-9223372036854775808", "CAST(x'fffe00' AS TEXT)", "x'0032303235'", "NULL", "-0.0", "'\x1b[2J'")
    return _database(directory, TABLE, *(f"INSERT INTO calls VALUES ({', '.join([value] * 5)})" for value in values))


@STORED.built("sqlite")
def _sqlite_with_a_log_of_garbage(directory: Path) -> Path:
    """What was written last stands in a log beside it, which is damaged."""
    path = _database(directory, "PRAGMA journal_mode = WAL", TABLE, ROW)
    path.with_name("calls.db-wal").write_bytes(b"\x37\x7f\x06\x82" + bytes(range(256)) * 100)
    return path


@STORED.built("sqlite")
def _sqlite_with_a_journal_of_another(directory: Path) -> Path:
    """A hot journal would be rolled back into the file, if it were opened for writing."""
    path = _database(directory, TABLE, ROW)
    path.with_name("calls.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\xff" * 5000)
    return path


@STORED.built("sqlite")
def _sqlite_whose_log_is_a_link(directory: Path) -> Path:
    """The log beside it is a link to a file of somebody else."""
    path = _database(directory, TABLE, ROW)
    path.with_name("calls.db-wal").symlink_to("/etc/passwd")
    return path


@STORED.content("sqldump", "kamailio_acc", "asterisk_sql", "freeswitch_sql")
def _dump_that_never_ends() -> bytes:
    """A string that doesn't close, in an INSERT of 750 kB."""
    start = b"CREATE TABLE calls (called text);\nCREATE TABLE acc (a text);\nINSERT INTO calls VALUES ('2025550143"
    return start + b"''x(\n" * 150_000


@STORED.content("sqldump", "kamailio_acc", "asterisk_sql", "freeswitch_sql")
def _dump_of_500000_brackets() -> bytes:
    """Rows that begin in rows."""
    tables = (b"calls", b"acc", b"cdr")
    return b"".join(b"INSERT INTO %s VALUES " % table + b"(" * 500_000 + b";\n" for table in tables)


@STORED.content("sqldump", "kamailio_acc", "asterisk_sql", "freeswitch_sql")
def _dump_of_other_statements() -> bytes:
    """What would do harm if it were executed: nothing is."""
    harm = b"DROP TABLE calls;\nCOPY calls TO PROGRAM 'rm -rf /';\n\\! rm -rf /\nATTACH '/etc/passwd' AS x;\n.read x\n"
    return harm + b"\n".join(seed_of("sqldump").samples) + harm


@STORED.content("sqldump", "kamailio_acc")
def _dump_whose_copy_never_ends() -> bytes:
    """2 MB of rows of the wrong width, and no end of them."""
    return b"COPY public.calls (id, called) FROM stdin;\n" + b"1\\\t2\t\\N\t\\x\n" * 200_000

"""SQLite databases and SQL dumps: the rows of one table, whoever wrote it. All content is synthetic."""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_adapters.archives import members
from cdr_adapters.raw import AdapterError
from cdr_adapters.registry import adapter
from tests.adapters.reading import memory_peak_below, raw_rows, written
from tests.adapters.test_archives import zipped


def database(directory: Path, *statements: str) -> Path:
    path = directory / "cdr.db"
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return path


ACC = (
    "CREATE TABLE acc (id INTEGER PRIMARY KEY, called TEXT, time REAL, blob BLOB)",
    "INSERT INTO acc VALUES (7, '2025550143', 2461366.6824016203, x'ff41')",
    "INSERT INTO acc VALUES (9, NULL, NULL, NULL)",
)


def database_two(directory: Path) -> Path:
    """The same, in another file."""
    other = directory / "other"
    other.mkdir()
    return database(other, *ACC)


class TestSqlite:
    def test_a_tables_rows_are_known_by_their_rowid(self, tmp_path: Path) -> None:
        rows, _, _ = raw_rows(database(tmp_path, *ACC), "sqlite", {"table": "acc"})
        assert rows == [
            (7, {"id": "7", "called": "2025550143", "time": "2461366.6824016203", "blob": "\ufffdA"}),
            (9, {"id": "9", "called": None, "time": None, "blob": None}),
        ]

    def test_a_query_numbers_its_rows_itself(self, tmp_path: Path) -> None:
        path = database(tmp_path, *ACC)
        rows, _, _ = raw_rows(path, "sqlite", {"query": "SELECT called AS number FROM acc WHERE called IS NOT NULL"})
        assert rows == [(1, {"number": "2025550143"})]

    def test_a_view_is_as_good_as_a_table(self, tmp_path: Path) -> None:
        path = database(tmp_path, *ACC, "CREATE VIEW calls AS SELECT called FROM acc")
        assert [row for row, _ in raw_rows(path, "sqlite", {"table": "calls"})[0]] == [1, 2]

    def test_a_table_without_rows_still_says_its_columns(self, tmp_path: Path) -> None:
        path = database(tmp_path, ACC[0])
        assert raw_rows(path, "sqlite", {"table": "acc"}) == ([], [], 0)

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({}, "say which table.*there are: acc"),
            ({"table": "nonesuch"}, "has no table 'nonesuch'; it has: acc"),
            ({"table": 'acc"; DROP TABLE acc; --'}, "has no table"),
            ({"query": "SELECT caller FROM acc"}, "no such column"),
            ({"query": "DELETE FROM acc"}, "readonly"),
            ({"table": "acc", "query": "SELECT 1"}, "not both"),
        ],
    )
    def test_what_it_does_not_have_is_an_error(self, tmp_path: Path, options: dict[str, Any], says: str) -> None:
        with pytest.raises(AdapterError, match=says):
            raw_rows(database(tmp_path, *ACC), "sqlite", options)

    def test_a_database_in_use_is_read_with_its_log(self, tmp_path: Path) -> None:
        path = tmp_path / "cdr.db"
        writer = sqlite3.connect(path)
        writer.execute("PRAGMA journal_mode = WAL")
        for statement in ACC:
            writer.execute(statement)
        writer.commit()
        try:
            assert len(raw_rows(path, "sqlite", {"table": "acc"})[0]) == 2
        finally:
            writer.close()

    def test_reading_changes_nothing_beside_it(self, tmp_path: Path) -> None:
        path = database(tmp_path, *ACC)
        before = path.read_bytes()
        raw_rows(path, "sqlite", {"table": "acc"})
        assert path.read_bytes() == before
        assert [file.name for file in tmp_path.iterdir()] == ["cdr.db"]

    def test_something_else_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="is no SQLite database"):
            raw_rows(written(tmp_path, "id,called\n"), "sqlite", {"table": "acc"})
        with pytest.raises(AdapterError, match="can't be read"):
            raw_rows(written(tmp_path, b"SQLite format 3\x00" + bytes(84) + b"\xff" * 400), "sqlite", {"table": "acc"})

    @pytest.mark.parametrize("pack", [gzip.compress, lambda data: zipped([("cdr.db", data)])])
    def test_a_packed_one_is_read_from_a_private_copy(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
    ) -> None:
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(scratch))
        path = written(tmp_path, pack(database(tmp_path, *ACC).read_bytes()))
        with closing(members(path)) as files:
            rows, _, _ = raw_rows(next(files), "sqlite", {"table": "acc"})
        assert [row for row, _ in rows] == [7, 9]
        assert list(scratch.iterdir()) == []

    def test_only_wanted_columns_are_asked_for_and_all_are_named(self, tmp_path: Path) -> None:
        (batch,) = adapter("sqlite").read(database(tmp_path, *ACC), {"table": "acc"}, frozenset({"time", "none"}))
        assert (batch.columns.schema.names, batch.header) == (["time"], ("id", "called", "time", "blob"))
        (batch,) = adapter("sqlite").read(database_two(tmp_path), {"table": "acc"}, frozenset())
        assert (batch.columns.num_rows, batch.rows.to_pylist()) == (2, [7, 9])

    def test_a_value_of_megabytes_ends_the_reading_in_bounded_memory(self, tmp_path: Path) -> None:
        path = database(tmp_path, ACC[0], f"INSERT INTO acc VALUES (1, zeroblob({30 << 20}), 1, NULL)")
        with memory_peak_below(8 << 20), pytest.raises(AdapterError, match="too big"):
            raw_rows(path, "sqlite", {"table": "acc"})

    def test_batches_of_large_rows_are_small(self, tmp_path: Path) -> None:
        path = tmp_path / "large.db"
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE acc (called TEXT)")
        connection.executemany("INSERT INTO acc VALUES (?)", (("x" * 100_000,) for _ in range(1500)))
        connection.commit()
        connection.close()
        batches = list(adapter("sqlite").read(path, {"table": "acc"}, None))
        assert sum(batch.columns.num_rows for batch in batches) == 1500
        assert max(batch.columns.nbytes for batch in batches) < 64 << 20


POSTGRES = r"""--
-- PostgreSQL database dump
--

CREATE TABLE public.acc (
    id integer NOT NULL,
    called character varying(64) DEFAULT ''::character varying,
    "time" timestamp without time zone
);

COPY public.other (a) FROM stdin;
1
\.

COPY public.acc (id, called, "time") FROM stdin;
1	2025550143	2026-11-21 23:23:27
2	\N	a\tb\\c
3	broken
\.

SELECT pg_catalog.setval('public.acc_id_seq', 3, true);
"""

MYSQL = r"""-- MySQL dump 10.13
CREATE TABLE `acc` (
  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
  `called` varchar(64) NOT NULL DEFAULT '(a,b);',
  `price` decimal(10,2) DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `called_idx` (`called`)
) ENGINE=InnoDB;
LOCK TABLES `acc` WRITE;
INSERT INTO `acc` VALUES (1,'2025550143',1.50),(2,'it\'s; (x)\n',NULL),
(3,'say ''no''',-2);
UNLOCK TABLES;
"""


class TestSqlDumps:
    def test_copy_blocks_of_pg_dump(self, tmp_path: Path) -> None:
        for table in ("acc", "public.acc"):
            rows, rejected, _ = raw_rows(written(tmp_path, POSTGRES), "sqldump", {"table": table})
            assert rows == [
                (16, {"id": "1", "called": "2025550143", "time": "2026-11-21 23:23:27"}),
                (17, {"id": "2", "called": None, "time": "a\tb\\c"}),
            ]
            assert [(reject.row, reject.detail) for reject in rejected] == [(18, "2 values instead of 3")]

    def test_inserts_of_mysqldump_take_the_columns_of_create_table(self, tmp_path: Path) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, MYSQL), "sqldump", {"table": "acc"})
        assert rows == [
            (10, {"id": "1", "called": "2025550143", "price": "1.50"}),
            (10, {"id": "2", "called": "it's; (x)\n", "price": None}),
            (11, {"id": "3", "called": "say 'no'", "price": "-2"}),
        ]
        assert not rejected

    def test_inserts_of_sqlite_and_pg_dump_keep_backslashes(self, tmp_path: Path) -> None:
        text = (
            "BEGIN TRANSACTION;\nCREATE TABLE acc (id INTEGER, called TEXT);\n"
            "INSERT INTO acc VALUES(1,'a\\b');\nINSERT INTO acc VALUES(2,E'a\\tb');\n"
            "INSERT INTO acc (called, id) VALUES ('2025550143'::text, 3) ON CONFLICT DO NOTHING;\n"
        )
        rows, _, _ = raw_rows(written(tmp_path, text), "sqldump", {"table": "acc"})
        assert [fields for _, fields in rows] == [
            {"id": "1", "called": "a\\b"},
            {"id": "2", "called": "a\tb"},
            {"id": "3", "called": "2025550143"},
        ]

    def test_rows_may_stand_on_lines_of_their_own(self, tmp_path: Path) -> None:
        text = "INSERT INTO acc (a, b) VALUES\n(1,\n 'x\ny'),\n(2, 'z')\n;\nINSERT INTO acc (a, b)\nVALUES (3, NULL);\n"
        rows, _, _ = raw_rows(written(tmp_path, text), "sqldump", {"table": "acc"})
        assert rows == [(2, {"a": "1", "b": "x\ny"}), (5, {"a": "2", "b": "z"}), (8, {"a": "3", "b": None})]

    @pytest.mark.parametrize(
        ("text", "options", "says"),
        [
            (POSTGRES, {}, "say whose rows"),
            (POSTGRES, {"table": "nonesuch"}, "no table 'nonesuch'; it has: public.acc, public.other"),
            (POSTGRES[: POSTGRES.index("3\tbroken")], {"table": "acc"}, "cut off"),
            (MYSQL[: MYSQL.index("(3,")], {"table": "acc"}, "cut off"),
            ("", {"table": "acc"}, "it has: none"),
        ],
    )
    def test_what_is_missing_or_cut_off_is_an_error(
        self, tmp_path: Path, text: str, options: dict[str, Any], says: str
    ) -> None:
        with pytest.raises(AdapterError, match=says):
            raw_rows(written(tmp_path, text), "sqldump", options)

    @pytest.mark.parametrize("row", ["('a', now())", "('a' 'b', 1)", "(1)", "(1,2,3)"])
    def test_rows_of_anything_but_literals_or_of_another_width_are_rejected(self, tmp_path: Path, row: str) -> None:
        text = f"INSERT INTO acc (a, b) VALUES {row};\nINSERT INTO acc (a, b) VALUES (1, 2);\n"
        rows, rejected, _ = raw_rows(written(tmp_path, text), "sqldump", {"table": "acc"})
        assert rows[-1][1] == {"a": "1", "b": "2"}
        assert len(rejected) == 1

    def test_a_row_without_end_costs_bounded_work(self, tmp_path: Path) -> None:
        text = "INSERT INTO acc (a) VALUES ('" + "x(\n" * 1500 + "\nINSERT INTO acc (a) VALUES ('y');\n"
        rows, rejected, _ = raw_rows(written(tmp_path, text), "sqldump", {"table": "acc"})
        assert [fields for _, fields in rows] == [{"a": "y"}]
        assert [(reject.row, reject.detail) for reject in rejected] == [(1, "a row without end")]

    def test_null_is_told_from_an_empty_string_in_every_dialect(self, tmp_path: Path) -> None:
        for text in (
            "COPY acc (a, b) FROM stdin;\n\\N\t\n\\.\n",
            "INSERT INTO acc (a, b) VALUES (NULL, '');\n",
            "INSERT INTO `acc` VALUES (null,'');\n",
        ):
            ((_, fields),), _, _ = raw_rows(written(tmp_path, text), "sqldump", {"table": "acc"})
            assert list(fields.values()) == [None, ""]

    def test_a_statement_with_columns_in_another_order_gives_the_same(self, tmp_path: Path) -> None:
        text = (
            "INSERT INTO acc (a, b, c) VALUES (1, 'x', 'it''s'), (2, E'\\t', NULL);\n"
            "INSERT INTO acc (c, a) VALUES ('z', 3);\nINSERT INTO acc (a, d) VALUES (4, 5);\n"
            "COPY acc (b, a) FROM stdin;\ny\t6\n\\.\n"
        )
        rows, rejected, _ = raw_rows(written(tmp_path, text), "sqldump", {"table": "acc"})
        assert [fields for _, fields in rows] == [
            {"a": "1", "b": "x", "c": "it's"},
            {"a": "2", "b": "\t", "c": None},
            {"a": "3", "b": None, "c": "z"},
            {"a": "6", "b": "y", "c": None},
        ]
        assert [(reject.row, reject.detail) for reject in rejected] == [
            (3, "a statement with other columns than the first one")
        ]

    def test_a_statement_of_many_megabytes_on_one_line_is_read_whole(self, tmp_path: Path) -> None:
        """mysqldump writes lines as long as net_buffer_length lets it."""
        values = ",".join(f"({number},'+1202555{number % 10000:04d}é',NULL)" for number in range(150_000))
        path = written(tmp_path, f"INSERT INTO `acc` VALUES {values};\nINSERT INTO `acc` VALUES (1,'x',2);\n")
        rows, rejected, _ = raw_rows(path, "sqldump", {"table": "acc"}, frozenset({"1", "2"}))
        assert rows == [
            *((1, {"1": str(number), "2": f"+1202555{number % 10000:04d}é"}) for number in range(150_000)),
            (2, {"1": "1", "2": "x"}),
        ]
        assert not rejected

    def test_a_line_without_end_in_a_copy_block_is_rejected(self, tmp_path: Path) -> None:
        text = "COPY acc (a) FROM stdin;\n" + "x" * (3 << 20) + "\ny\n\\.\n"
        rows, rejected, _ = raw_rows(written(tmp_path, text), "sqldump", {"table": "acc"})
        assert rows == [(3, {"a": "y"})]
        assert [(reject.row, reject.detail) for reject in rejected] == [(2, "the line is too long")]

    @given(st.lists(st.tuples(st.integers(), st.text("a'\\,()\t;é \n", max_size=6), st.none()), min_size=1, max_size=9))
    @settings(max_examples=60, deadline=None)
    def test_what_sqlite_dumps_comes_back(
        self, tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str, None]]
    ) -> None:
        connection = sqlite3.connect(":memory:")
        connection.execute("CREATE TABLE acc (a, b, c)")
        connection.executemany("INSERT INTO acc VALUES (?, ?, ?)", [(str(a), b, c) for a, b, c in rows])
        path = written(tmp_path_factory.mktemp("dump"), "\n".join(connection.iterdump()))
        connection.close()
        found, rejected, _ = raw_rows(path, "sqldump", {"table": "acc"})
        assert [tuple(fields.values()) for _, fields in found] == [(str(a), b, c) for a, b, c in rows]
        assert not rejected

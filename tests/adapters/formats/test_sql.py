"""Rows of databases through a file with a URL and a query: SQLite always, PostgreSQL where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cdr_adapters import registry
from cdr_adapters.identify import claimants
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from tests.adapters.formats.sql_tables import as_database
from tests.adapters.reading import raw_rows, written

COLUMNS = ("id", "called", "calling", "start", "trunk")
ROWS: list[tuple[object, ...]] = [
    (1, "+12025550143", "2025550199", "2026-11-21T23:23:27.5Z", "T1"),
    (2, 12025550144, None, "2026-11-21T23:23:28Z", b"T2"),
]
QUERY = "SELECT id, called, calling, start, trunk FROM cdr ORDER BY id"
MAPPING: dict[str, Any] = {
    "columns": {
        "called_in": "called",
        "calling": "calling",
        "seizure": {"column": "start", "format": "iso8601"},
        "ingress_trunk": "trunk",
        "call_id": "id",
    }
}


def question(url: str, query: str = QUERY, key: str = "url") -> str:
    return f"{key} = '{url}'\nquery = '''\n{query}'''\n"


SAMPLES = [
    question(
        "sqlite://",
        """WITH cdr (id, called, calling, start, trunk) AS (VALUES
            (1, '+12025550143', '2025550199', '2026-11-21T23:23:27.5Z', 'T1'),
            (2, 12025550144, NULL, '2026-11-21T23:23:28Z', x'5432')
        ) """
        + QUERY,
    ).encode()
]


@pytest.fixture
def database(tmp_path: Path) -> str:
    """The URL of a database with some calls."""
    return f"sqlite:///{written(tmp_path, as_database(cdr=(COLUMNS, ROWS)), 'cdr.db')}"


class TestRows:
    def test_are_those_of_the_query_as_text(self, tmp_path: Path, database: str) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, question(database)), "sql")
        assert rows == [
            (1, {"id": "1", "called": "+12025550143", "calling": "2025550199", "start": ROWS[0][3], "trunk": "T1"}),
            (2, {"id": "2", "called": "12025550144", "calling": None, "start": ROWS[1][3], "trunk": "T2"}),
        ]
        assert not rejected

    def test_give_the_calls_that_the_mapping_says(self, tmp_path: Path, database: str) -> None:
        source = SourceMapping.model_validate({"name": "cdr", "path": "x", "format": "sql", **MAPPING})
        (batch,) = read_source(written(tmp_path, question(database)), source, TrunkFormats())
        assert [(call["called_in"], call["ingress_trunk"]) for call in batch.calls.to_pylist()] == [
            ("+12025550143", "T1"),
            ("+12025550144", "T2"),
        ]

    def test_many_of_them_are_several_batches(self, tmp_path: Path, database: str) -> None:
        query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000) SELECT i FROM n"
        rows, _, _ = raw_rows(written(tmp_path, question(database, query)), "sql")
        assert rows == [(number, {"i": str(number)}) for number in range(1, 40_001)]

    def test_colons_and_percent_signs_of_a_query_are_its_own(self, tmp_path: Path, database: str) -> None:
        query = "SELECT called FROM cdr WHERE start LIKE '%23:23:27%' AND ':id' <> '%s'"
        assert len(raw_rows(written(tmp_path, question(database, query)), "sql")[0]) == 1

    def test_no_rows_still_say_their_columns(self, tmp_path: Path, database: str) -> None:
        path = written(tmp_path, question(database, "SELECT called FROM cdr WHERE id > 5"))
        assert raw_rows(path, "sql") == ([], [], 0)

    def test_the_url_may_stand_in_the_environment(
        self, tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = written(tmp_path, question("CDR_DATABASE_URL", key="url_env"))
        with pytest.raises(AdapterError, match="the environment variable CDR_DATABASE_URL is not set"):
            raw_rows(path, "sql")
        monkeypatch.setenv("CDR_DATABASE_URL", database)
        assert len(raw_rows(path, "sql")[0]) == 2


class TestRefusals:
    def test_nothing_is_ever_written(self, tmp_path: Path, database: str) -> None:
        before = (tmp_path / "cdr.db").read_bytes()
        for query in ("DELETE FROM cdr", "UPDATE cdr SET called = ''", "CREATE TABLE x (y)"):
            with pytest.raises(AdapterError, match="readonly database"):
                raw_rows(written(tmp_path, question(database, query)), "sql")
        assert (tmp_path / "cdr.db").read_bytes() == before
        attach = f"ATTACH DATABASE '{tmp_path}/new.db' AS x"
        with pytest.raises(AdapterError, match="not authorized"):
            raw_rows(written(tmp_path, question(database, attach)), "sql")
        with pytest.raises(AdapterError, match="unable to open"):
            raw_rows(written(tmp_path, question(f"sqlite:///{tmp_path}/new.db")), "sql")
        assert not (tmp_path / "new.db").exists()

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("", "url: Field required|query: Field required|set url or url_env"),
            ("id,called\n", "is no TOML file with url_env"),
            ("\xff", "the database says|no TOML"),
            ("query = 'SELECT 1'\n", "set url or url_env, one of them"),
            (question("sqlite://") + "url_env = 'X'\n", "set url or url_env"),
            (question("sqlite://") + "table = 'x'\n", "table: unknown key"),
            (question("sqlite:///x?mode=rw"), "write a SQLite database's URL as sqlite:////its/path"),
            (question("nonsense"), "what url holds is no URL such as postgresql"),
            (question("nonesuch://host/db"), "the database says: Can't load plugin"),
            ("query = '" + "x" * 70_000 + "'", "too long for a file with a URL and a query"),
        ],
    )
    def test_what_is_no_question_says_what_is_wrong(self, tmp_path: Path, text: str, says: str) -> None:
        with pytest.raises(AdapterError, match=says):
            raw_rows(written(tmp_path, text), "sql")

    def test_what_the_database_refuses_is_said_in_its_words(self, tmp_path: Path, database: str) -> None:
        for query, says in (("SELECT x FROM cdr", "no such column: x"), ("SELEKT", "syntax error")):
            with pytest.raises(AdapterError, match=says):
                raw_rows(written(tmp_path, question(database, query)), "sql")

    def test_a_driver_that_is_missing_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="the driver 'oracledb' of oracle is not installed"):
            raw_rows(written(tmp_path, question("oracle://host/db")), "sql")

    def test_a_password_is_in_no_message(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        urls = (
            "sqlite:///nowhere.db",
            "nonesuch://cdr:s3cret@host/db",
            "nonesense:s3cret",
            "oracle://cdr:s3cret@host/db",
            "sqlite:///s3cret?x=s3cret",
        )
        for url in urls:
            monkeypatch.setenv("CDR_DATABASE_URL", url)
            with pytest.raises(AdapterError) as caught:
                raw_rows(written(tmp_path, question("CDR_DATABASE_URL", key="url_env")), "sql")
            assert "s3cret" not in str(caught.value)


class TestFiles:
    def test_are_known_by_their_keys(self, tmp_path: Path) -> None:
        assert claimants(written(tmp_path, SAMPLES[0])) == ("sql",)

    @pytest.mark.parametrize("text", ["url = 'sqlite://'\n", "query = 'x'\nurl = 'y'\nz = 1\n", "x = 1\n", "\xff\xfe"])
    def test_other_files_are_not(self, tmp_path: Path, text: str) -> None:
        assert "sql" not in claimants(written(tmp_path, text))


_BINARIES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server for these tests alone, on a socket in a directory of its own."""
    if _BINARIES is None or shutil.which("runuser") is None:
        pytest.skip("PostgreSQL is not installed")
    pytest.importorskip("psycopg")
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if as_user:
            shutil.chown(directory, "postgres")

        def run(*command: object) -> None:
            subprocess.run([*as_user, *map(str, command)], check=True, capture_output=True, timeout=60, cwd=directory)

        (directory / "password").write_text("s3cret\n")
        secret = f"--pwfile={directory / 'password'}"
        data = directory / "data"
        run(_BINARIES / "initdb", "-D", data, "-A", "scram-sha-256", "-U", "cdr", "-N", secret)
        server = f"-k {directory} -c listen_addresses= -c fsync=off"
        run(_BINARIES / "pg_ctl", "-D", data, "-w", "-l", directory / "log", "-o", server, "start")
        try:
            yield f"postgresql+psycopg://cdr:s3cret@/postgres?host={directory}"
        finally:
            run(_BINARIES / "pg_ctl", "-D", data, "-m", "immediate", "stop")


class TestPostgres:
    QUERY = """SELECT 1 AS id, 12025550143::numeric AS called, '192.0.2.1'::inet AS peer, 0.1::float8 AS cost,
        timestamptz '2026-11-21 23:23:27.5+00' AT TIME ZONE 'UTC' AS naive,
        timestamptz '2026-11-21 23:23:27+00' AS aware, true AS answered, '\\xff'::bytea AS raw,
        interval '90 seconds' AS took, NULL AS nothing, E'a\\nb' AS note"""

    def test_types_become_text_without_loss(self, tmp_path: Path, postgres: str) -> None:
        ((_, fields),), _, _ = raw_rows(written(tmp_path, question(postgres, self.QUERY)), "sql")
        aware = fields.pop("aware")
        assert aware is not None
        assert aware.startswith("2026-11-2")
        assert aware[-6] in "+-"
        assert fields == {
            "id": "1",
            "called": "12025550143",
            "peer": "192.0.2.1",
            "cost": "0.1",
            "naive": "2026-11-21T23:23:27.500000",
            "answered": "true",
            "raw": "\ufffd",
            "took": "90",
            "nothing": None,
            "note": "a\nb",
        }

    def test_rows_come_through_a_cursor_on_the_server(self, tmp_path: Path, postgres: str) -> None:
        """The half-millionth row can't be worked out; those before it have come by then."""
        query = "SELECT i, 1 / (500000 - i) AS x FROM generate_series(1, 1000000) AS i"
        batches = registry.adapter("sql").read(written(tmp_path, question(postgres, query)), {}, None)
        assert next(batches).rows.to_pylist()[:2] == [1, 2]
        with pytest.raises(AdapterError, match="division by zero"):
            list(batches)

    def test_nothing_can_be_written(self, tmp_path: Path, postgres: str) -> None:
        for query in ("CREATE TABLE x (y int)", "SELECT relname FROM pg_class FOR UPDATE"):
            with pytest.raises(AdapterError, match=r"read-only transaction|syntax error"):
                raw_rows(written(tmp_path, question(postgres, query)), "sql")

    def test_a_wrong_password_is_said_and_not_shown(self, tmp_path: Path, postgres: str) -> None:
        with pytest.raises(AdapterError, match="password authentication failed") as caught:
            raw_rows(written(tmp_path, question(postgres.replace("s3cret", "wr0ng"))), "sql")
        assert "wr0ng" not in str(caught.value)

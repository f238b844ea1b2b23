"""Migrations: from nothing and from every version to the tables of the models, on SQLite and PostgreSQL."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from coordinator.store.engine import HEAD, MIGRATIONS, StoreError, engine_for, migrate, require_current
from coordinator.store.models import all_tables
from coordinator.store.sql_store import opened
from coordinator.tracing.chain import Status
from tests.coordinator.databases import empty_postgresql
from tests.coordinator.make import CALLED, ID, NOW, T0, submitted
from tests.stores.servers import Server

Empty = Callable[[], AbstractContextManager[Engine]]


def script() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


VERSIONS = [revision.revision for revision in reversed(list(ScriptDirectory.from_config(script()).walk_revisions()))]


def migrate_to(engine: Engine, version: str) -> None:
    config = script()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Empty:
    """Makes databases without any table."""
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql_server")
        return lambda: empty_postgresql(server)
    numbers = itertools.count()

    @contextmanager
    def in_sqlite() -> Iterator[Engine]:
        with engine_for(f"sqlite:///{tmp_path / f'{next(numbers)}.db'}") as engine:
            yield engine

    return in_sqlite


def differences(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, all_tables()))


class TestMigrations:
    def test_lead_from_nothing_to_the_tables_of_the_models(self, empty: Empty) -> None:
        with empty() as engine:
            migrate(engine)
            assert differences(engine) == []

    def test_lead_to_what_the_models_themselves_would_make(self, tmp_path: Path) -> None:
        with (
            engine_for(f"sqlite:///{tmp_path / 'migrated.db'}") as migrated,
            engine_for(f"sqlite:///{tmp_path / 'made.db'}") as made,
        ):
            migrate(migrated)
            all_tables().create_all(made)
            assert ddl(migrated) == ddl(made)

    @pytest.mark.parametrize("version", VERSIONS)
    def test_lead_there_from_every_version_and_keep_what_is_there(self, empty: Empty, version: str) -> None:
        with empty() as engine:
            migrate_to(engine, version)
            with engine.begin() as connection:
                connection.execute(text(INSERT), {"id": stored_id(engine), "called": CALLED, "at": T0, "now": NOW})
            migrate(engine)
            assert differences(engine) == []
            with opened(engine) as store:
                kept = store.load(ID)
            assert kept is not None
            assert (kept.traceback.call.called, kept.traceback.status) == (CALLED, Status.ASKING)

    def test_let_what_was_open_be_claimed_and_nothing_else(self, empty: Empty) -> None:
        with empty() as engine:
            migrate_to(engine, "0001")
            with engine.begin() as connection:
                connection.execute(text(INSERT), {"id": stored_id(engine), "called": CALLED, "at": T0, "now": NOW})
                closed = {"id": stored_id(engine, 2), "called": CALLED, "at": T0, "now": NOW}
                connection.execute(text(INSERT.replace("'asking'", "'origin_found'")), closed)
            migrate(engine)
            with opened(engine) as store:
                assert store.open_ids() == [ID]

    def test_end_at_one_version_and_that_is_the_one_that_the_code_expects(self) -> None:
        assert ScriptDirectory.from_config(script()).get_heads() == [HEAD]

    def test_leave_a_traceback_room_to_change_where_it_is(self, postgresql_server: Server) -> None:
        filled = text("SELECT reloptions FROM pg_class WHERE relname = 'tracebacks'")
        with empty_postgresql(postgresql_server) as engine:
            migrate(engine)
            with engine.connect() as connection:
                assert connection.execute(filled).scalar() == ["fillfactor=50"]

    def test_can_be_run_again_and_keep_what_is_there(self, empty: Empty) -> None:
        with empty() as engine:
            migrate(engine)
            with opened(engine) as store:
                store.submit([submitted()], NOW)
                migrate(engine)
                assert len(store.recent(5)) == 1


class TestADatabase:
    def test_that_is_empty_asks_for_init(self, tmp_path: Path) -> None:
        with engine_for(f"sqlite:///{tmp_path / 'new.db'}") as empty, pytest.raises(StoreError, match="init"):
            require_current(empty)

    @pytest.mark.parametrize(("version", "says"), [("0001", "migrate"), ("9999", "newer")])
    def test_of_another_version_is_refused(self, either_engine: Engine, version: str, says: str) -> None:
        with either_engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})
        with pytest.raises(StoreError, match=says):
            require_current(either_engine)

    def test_of_a_newer_version_is_not_migrated(self, either_engine: Engine) -> None:
        with either_engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(StoreError, match="newer"):
            migrate(either_engine)

    def test_of_somebody_else_is_left_alone(self, empty: Empty) -> None:
        with empty() as engine:
            with engine.begin() as connection:
                connection.execute(text("CREATE TABLE invoices (id INTEGER)"))
            with pytest.raises(StoreError, match="not hopback's"):
                migrate(engine)

    def test_that_is_none_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "x.db").write_bytes(b"certainly no database" * 100)
        with engine_for(f"sqlite:///{tmp_path / 'x.db'}") as none, pytest.raises(StoreError, match="can't be read"):
            migrate(none)


INSERT = (
    "INSERT INTO tracebacks (id, called, at, terminating, window_ms, hop_limit, status, hop_count, version,"
    " submitted_at, changed_at) VALUES (:id, :called, :at, 'ginkgo', 60000, 15, 'asking', 0, 0, :now, :now)"
)


def stored_id(engine: Engine, number: int | None = None) -> object:
    identity = ID if number is None else uuid.UUID(int=number)
    return identity.hex if engine.dialect.name == "sqlite" else identity


def ddl(engine: Engine) -> dict[str, list[str]]:
    """Every table's and index's clauses; their order doesn't matter."""
    query = text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'alembic_version'")
    with engine.connect() as connection:
        return {
            row.name: sorted(clause.strip(" )") for clause in " ".join(row.sql.split()).split(", "))
            for row in connection.execute(query)
        }

"""What the coordinator's tests share: one lab authority, a client with a certificate of it, both kinds of database."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from coordinator.authority.lab_ca import LabAuthority
from coordinator.lookups.agents import GrpcAgents
from tests.coordinator import databases
from tests.coordinator.fake_agent import tls
from tests.stores import servers


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> LabAuthority:
    return LabAuthority.create(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def agents(authority: LabAuthority) -> AsyncIterator[GrpcAgents]:
    async with GrpcAgents(tls(authority.issue_coordinator("lab"))) as agents:
        yield agents


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[servers.Server]:
    """A real PostgreSQL, with a migrated template."""
    with tempfile.TemporaryDirectory(prefix="hb", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        with servers.postgresql(Path(name) / "pg") as server:
            databases.prepare(server)
            yield server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("template") / "coordinator.db"


@pytest.fixture
def sqlite_engine(tmp_path: Path, sqlite_template: Path) -> Iterator[Engine]:
    """An empty SQLite database with all tables."""
    with databases.in_sqlite(tmp_path / "coordinator.db", sqlite_template) as engine:
        yield engine


@pytest.fixture(params=["sqlite", "postgresql"])
def either_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An empty database with all tables: the test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_engine")
    else:
        with databases.emptied_postgresql(request.getfixturevalue("postgresql_server")) as engine:
            yield engine

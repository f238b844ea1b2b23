"""One server of each kind for all tests, started when the first of them asks for it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores import servers
from tests.stores.loaded import InChdb, InClickHouse, InMariaDb, InParquet, InPostgreSql, InS3


@pytest.fixture(scope="session")
def short() -> Iterator[Path]:
    """A directory with a short name, as sockets need it, that servers' users may enter."""
    with tempfile.TemporaryDirectory(prefix="hb", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="session")
def in_postgresql(short: Path) -> Iterator[InPostgreSql]:
    with servers.postgresql(short / "pg") as server:
        place = InPostgreSql(server)
        yield place
        place.admin.close()


@pytest.fixture(scope="session")
def in_mariadb(short: Path) -> Iterator[InMariaDb]:
    with servers.mariadb(short / "my") as server:
        place = InMariaDb(server)
        yield place
        place.admin.close()


@pytest.fixture(scope="session")
def in_clickhouse(short: Path) -> Iterator[InClickHouse]:
    with servers.clickhouse(short / "ch") as server:
        place = InClickHouse(server)
        yield place
        place.admin.disconnect()


@pytest.fixture(scope="session")
def in_chdb(short: Path) -> InChdb:
    return InChdb(short / "chdb")


@pytest.fixture(scope="session")
def in_parquet(short: Path) -> InParquet:
    return InParquet(short / "parquet")


@pytest.fixture(scope="session")
def in_s3(short: Path) -> Iterator[InS3]:
    (short / "s3").mkdir()
    with servers.s3() as endpoint:
        yield InS3(endpoint, short / "s3")

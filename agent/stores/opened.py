"""From the configuration to records: the embedded index, the stores, and the keys that both need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from agent.stores.engine import Engine
from agent.stores.secrets import password_of
from agent.stores.settings import StoreTable
from agent.stores.store import Store

if TYPE_CHECKING:
    from agent.index.keys import Keys
    from cdr_adapters.mapping import TrunkFormats


def engine_of(settings: StoreTable, environment: Mapping[str, str]) -> Engine:
    """The engine that a store's table asks for; nothing is connected yet.

    Raises:
        StoreSetupError: its driver isn't installed, or its password is badly kept.
    """
    password = password_of(settings.name, settings.password_file, environment)
    if settings.engine == "postgresql":
        from agent.stores.postgresql import PostgreSql

        return PostgreSql(settings, password)
    if settings.engine == "mysql":
        from agent.stores.mysql import MySql

        return MySql(settings, password)
    if settings.engine == "clickhouse":
        from agent.stores.clickhouse import ClickHouse

        return ClickHouse(settings, password)
    from agent.stores.parquet import Parquet

    return Parquet(settings, password)


def open_store(
    settings: StoreTable,
    formats: TrunkFormats,
    keys: Keys,
    environment: Mapping[str, str],
    clock: Callable[[], datetime],
) -> Store:
    """A store, ready to be asked; the first question connects.

    Raises:
        StoreSetupError: as `engine_of`.
        AdapterError: its mapping has a pattern that can't be used.
    """
    return Store(settings, formats, keys, engine_of(settings, environment), clock)

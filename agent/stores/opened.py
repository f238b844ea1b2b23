"""From the configuration to records: the embedded index, the stores, or both, and the threads that they need.

The embedded index is opened when there are sources to index, or nothing else. An agent of stores alone keeps nothing
on its disk and needs no root key: pseudonyms of call ids, which join the rows of one call, then hold for the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from agent.index.keys import Keys
from agent.stores.engine import Engine
from agent.stores.merged import Merged
from agent.stores.secrets import password_of
from agent.stores.settings import StoreTable
from agent.stores.store import Store
from agent.stores.threads import LookupThreads

if TYPE_CHECKING:
    from agent.config import AgentConfig
    from agent.service import Records
    from cdr_adapters.mapping import TrunkFormats

_WAITING: Final = 8
"""Lookups in line for each thread."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Records, and the threads for asking them; None where they never wait for anything but memory."""

    records: Records
    threads: LookupThreads | None = None
    stores: tuple[Store, ...] = ()

    def close(self) -> None:
        """End the stores' connections; what is under way ends by itself."""
        if self.threads is not None:
            self.threads.close()
        for store in self.stores:
            store.close()


def open_records(config: AgentConfig, environment: Mapping[str, str], clock: Callable[[], datetime]) -> Opened:
    """What the configuration's agent answers from. Stores are connected to when they are first asked.

    Raises:
        ConfigError: the root key or a password is missing or badly kept, or a store's driver isn't installed.
        IndexUnusableError: the index can't be read.
    """
    from agent.index.reader import Index
    from agent.inspection import read_keys

    parts: list[Records] = []
    if config.sources or not config.stores:
        keys = read_keys(config, environment)
        parts.append(Index.open(config.index.directory, keys))
        if not config.stores:
            return Opened(parts[0])
    else:
        keys = Keys.from_root(os.urandom(32))
    stores = tuple(open_store(one, config.formats(), keys, environment, clock) for one in config.stores)
    most = sum(one.connections for one in config.stores)
    threads = LookupThreads(most, most * _WAITING)
    parts += stores
    if len(parts) == 1:
        return Opened(parts[0], threads, stores)
    return Opened(Merged(parts, ThreadPoolExecutor(most * len(parts), "store")), threads, stores)


def open_store(
    settings: StoreTable,
    formats: TrunkFormats,
    keys: Keys,
    environment: Mapping[str, str],
    clock: Callable[[], datetime],
) -> Store:
    """A store, ready to be asked; the first question connects.

    Raises:
        ConfigError: its driver isn't installed, its password is badly kept, or its mapping can't be used.
    """
    from agent.mistakes import ConfigError, Mistake
    from agent.stores.errors import StoreSetupError
    from cdr_adapters.raw import AdapterError

    try:
        return Store(settings, formats, keys, engine_of(settings, environment), clock)
    except StoreSetupError as error:
        raise ConfigError("configuration", [Mistake(f"stores({settings.name})", error.problem)]) from None
    except AdapterError as error:
        raise ConfigError("configuration", [Mistake(f"stores({settings.name}).columns", str(error))]) from None


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

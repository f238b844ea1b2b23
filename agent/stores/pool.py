"""Connections to one database: a few, opened when needed, each used by one thread at a time, renewed when they break.

A statement over a connection that had lain idle may find it dead; it is tried once more over a new one. A statement
that fails over a new connection has failed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from agent.stores.errors import ConnectionLostError, StoreError, harmless

C = TypeVar("C")
T = TypeVar("T")


class Pool(Generic[C]):
    """At most `size` connections, made by `connect`, ended by `close`. Safe to share between threads."""

    def __init__(
        self,
        store: str,
        size: int,
        wait_s: float,
        connect: Callable[[], C],
        close: Callable[[C], None],
    ) -> None:
        self._store = store
        self._free = threading.BoundedSemaphore(size)
        self._wait_s = wait_s
        self._connect, self._close = connect, close
        self._idle: list[C] = []
        self._lock = threading.Lock()

    def run(self, work: Callable[[C], T]) -> T:
        """`work` over a connection. It raises ConnectionLostError when the connection is of no more use.

        Raises:
            StoreError: no connection can be had, or it broke twice.
        """
        if not self._free.acquire(timeout=self._wait_s):
            raise StoreError(
                self._store, "all its connections are busy: its database is too slow, or connections too few"
            )
        try:
            connection = self._taken()
            if connection is not None:
                try:
                    return self._used(connection, work)
                except ConnectionLostError:
                    self.forget()  # what else lies idle is as dead, most likely
            try:
                return self._used(self._connect(), work)
            except ConnectionLostError as error:
                raise StoreError(self._store, f"its database can't be reached: {harmless(error)}") from None
        finally:
            self._free.release()

    def forget(self) -> None:
        """End the connections that lie idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            self._close(connection)

    def _taken(self) -> C | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _used(self, connection: C, work: Callable[[C], T]) -> T:
        try:
            result = work(connection)
        except BaseException:
            self._close(connection)  # nobody knows what it is in the middle of
            raise
        with self._lock:
            self._idle.append(connection)
        return result

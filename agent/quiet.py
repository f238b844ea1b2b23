"""A batch is answered without garbage collections in its midst.

A batch makes a million values that live until its end, and no cycles: a collection finds nothing and walks all of them,
again and again, and with them whatever else the process holds. Collections are put off while a batch is under way, not
for ever: where batches overlap without an end, one is made now and then.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

COLLECT_EVERY: Final = 64
"""Batches that begin while others are under way, before a collection is made in their midst."""


class Quiet:
    """Puts collections off while anything is under way. For one thread."""

    def __init__(self) -> None:
        self._under_way = 0
        self._without = 0

    @contextmanager
    def batch(self) -> Iterator[None]:
        """No collection within, unless there has been none for `COLLECT_EVERY` batches."""
        if not self._under_way:
            if not gc.isenabled():  # somebody else's wish
                yield
                return
            self._without = 0
            gc.disable()
        self._under_way += 1
        self._without += 1
        if self._without > COLLECT_EVERY:
            self._without = 0
            gc.collect()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                gc.enable()

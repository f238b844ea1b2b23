"""A value that is replaced while others use it: certificates and keys that are renewed under running calls.

Whoever works with it takes `current` once and keeps to what it got: what began with one certificate ends with it.
Replacing is one assignment, so that readers in other threads see the old value or the new one, never a mixture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Live(Generic[T]):
    """Holds the present value; those who asked for it hear of every change."""

    def __init__(self, value: T) -> None:
        self._value = value
        self._listeners: list[Callable[[T], None]] = []

    @property
    def current(self) -> T:
        """The value as it is now."""
        return self._value

    def replace(self, value: T) -> None:
        """From now on it is this one; listeners are called in the order in which they came."""
        self._value = value
        for listener in tuple(self._listeners):
            listener(value)

    def on_change(self, listener: Callable[[T], None]) -> None:
        """Call `listener` with every later value."""
        self._listeners.append(listener)

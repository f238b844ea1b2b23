"""A moving view of a file of octets, for readers of binary records: what comes next, as much as is asked for."""

from __future__ import annotations

from collections.abc import Iterator


class Window:
    """A moving view of the file: `data[at:]` is what comes next."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._base = 0
        self.data = b""
        self.at = 0

    @property
    def row(self) -> int:
        """The position in the file of what comes next, from 1."""
        return self._base + self.at + 1

    @property
    def left(self) -> int:
        """How much there is without reading on."""
        return len(self.data) - self.at

    def have(self, count: int) -> bool:
        """Whether there are `count` more octets; reads on for them."""
        while self.left < count:
            block = next(self._blocks, None)
            if block is None:
                return False
            self._base += self.at
            self.data = self.data[self.at :] + block
            self.at = 0
        return True

    def skip(self, count: int) -> bool:
        """Pass over `count` octets; False when the file ends before."""
        while count > self.left:
            count -= self.left
            self.at = len(self.data)
            if not self.have(1):
                return False
        self.at += count
        return True

"""One range of addresses in which all segments are mapped, so that one numpy call reads from all of them.

A batch of searches touches every day of an index. With a mapping of its own for each file, each step of the batch would
be a loop over files; here a row of any segment is an offset from one base, and a step is one gather whatever the number
of files. The range is reserved (it costs addresses, not memory), files are mapped into it read-only, and what is
unmapped becomes inaccessible again, never free for somebody else's mapping.

What is large begins at a multiple of 2 MB, and what is small of the memory shares blocks that do: a processor maps 2 MB
as one page where it can, and to find out where a page is then costs a batch less than to read it. Files are not advised
to have such pages, for a cold lookup would then read 2 MB: where the page cache holds a file in such pieces, they are
mapped so by themselves.

Only for offsets that a mapped file vouches for: an access elsewhere kills the process, loudly.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agent.index.errors import IndexUnusableError
from agent.index.layout import PAGE, padded

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_longlong]
_LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_LIBC.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

_FIXED: Final = 0x10
_NORESERVE: Final = 0x4000
_ANONYMOUS: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
_NO_ACCESS: Final = 0
_FAILED: Final = ctypes.c_void_p(-1).value

HUGE: Final = 2 << 20
"""Bytes of a large page, and of what begins at a multiple of it."""
_BLOCK: Final = 8 * HUGE
"""Bytes of memory that small leases share; what of it is not touched takes none."""

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
_KEPT: Final = 16 << 20
"""So much freed memory stays with the process, in bytes: a large batch else spends a fifth of its time on new pages."""

DEFAULT_SIZE: Final = 1 << 40
"""Addresses reserved, in bytes; where less may be had, a half is tried, down to `_LEAST`."""
_LEAST: Final = 1 << 32


class ArenaFullError(IndexUnusableError):
    """There are no addresses left for a mapping of this size."""

    def __init__(self, size: int, reserved: int) -> None:
        super().__init__(
            f"no addresses are left to map {size} bytes of the index, of {reserved} reserved: raise the limit of "
            "virtual memory (ulimit -v, LimitAS=), or shorten the retention"
        )


class Lease:
    """A mapped part of an arena; it is given back when the last reference to it goes.

    A part of a block becomes inaccessible, and its addresses are leased again with the last part of that block.

    Attributes:
        offset, size: in bytes, from the arena's base; whole pages.
    """

    __slots__ = ("__weakref__", "_arena", "_block", "offset", "size")

    def __init__(self, arena: Arena, offset: int, size: int, block: Lease | None = None) -> None:
        self._arena = arena
        self._block = block
        self.offset = offset
        self.size = size

    def __del__(self) -> None:
        self._arena._take_back(self.offset, self.size, leased=self._block is None)


class _Range:
    """Reserved addresses from a multiple of `HUGE` on; given back with the last array and lease that lie in them."""

    __slots__ = ("_begin", "base", "size")

    def __init__(self, size: int) -> None:
        self.size = 0
        while True:
            begin = _LIBC.mmap(None, size + HUGE, _NO_ACCESS, _ANONYMOUS, -1, 0)
            if begin != _FAILED:
                self._begin, self.base, self.size = int(begin), _up(int(begin)), size
                return
            if size // 2 < _LEAST:
                raise OSError(ctypes.get_errno(), "no addresses to map the index: raise the limit (ulimit -v)")
            size //= 2

    def __del__(self) -> None:
        if self.size:
            _LIBC.munmap(self._begin, self.size + HUGE)


def keep_freed_memory() -> None:
    """Have the C library hold on to some of what is freed, where it can be told to (glibc); for who searches."""
    mallopt = getattr(_LIBC, "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _KEPT)
        mallopt(_TRIM_THRESHOLD, _KEPT)


class Arena:
    """A reserved range of addresses.

    Attributes:
        words: all of it as little-endian u64. halves: as u32. octets: as bytes. Only leased parts may be touched.
        eights: at each word, it and the seven that follow: one copy of 64 bytes where words would be eight reads.
        word_view, half_view, octet_view: the same for reading single values.
        checked: one byte for every page, for who reads it to remember that it is whole; 0 again when it is given back.
        checked_view: the same for single values.
    """

    def __init__(self, size: int = DEFAULT_SIZE) -> None:
        self._range = _Range(size)
        self._base, self.size = self._range.base, self._range.size
        self._free: list[tuple[int, int]] = [(0, self.size)]
        self._returned: deque[tuple[int, int]] = deque()
        self._lock, self._carving = threading.Lock(), threading.Lock()
        self._block: Callable[[], Lease | None] = lambda: None  # it lives as long as a part of it
        self._carved = 0
        self.checked = np.zeros(self.size // PAGE, np.uint8)
        self.octets = self._view("|u1", 1)
        self.halves = self._view("<u4", 4)
        self.words = self._view("<u8", 8)
        self.eights = np.asarray(_Exposed(self._range, "|V64", self.size // 8 - 7, 8))
        self.word_view, self.half_view = self.words.data, self.halves.data
        self.octet_view, self.checked_view = self.octets.data, self.checked.data

    def _view(self, kind: str, width: int) -> npt.NDArray[Any]:
        return np.asarray(_Exposed(self._range, kind, self.size // width))

    def map_file(self, path: Path, descriptor: int, size: int) -> Lease:
        """Map an open file, read-only, without reading ahead.

        Raises:
            ArenaFullError: no addresses are left. OSError: the system refuses.
        """
        lease = self._lease(padded(size))
        self._place(lease, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, path)
        _LIBC.madvise(self._base + lease.offset, lease.size, mmap.MADV_RANDOM)
        return lease

    def allocate(self, size: int) -> Lease:
        """Memory filled with zeros, to be written to.

        Raises:
            ArenaFullError: no addresses are left. OSError: the system refuses.
        """
        size = padded(max(size, 1))
        if size >= HUGE:
            return self._memory(size)
        with self._carving:
            block = self._block()
            if block is None or self._carved + size > block.size:
                block, self._carved = self._memory(_BLOCK), 0
                self._block = weakref.ref(block)
            part = Lease(self, block.offset + self._carved, size, block)
            self._carved += size
            return part

    def _memory(self, size: int) -> Lease:
        lease = self._lease(size)
        self._place(lease, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, None)
        _LIBC.madvise(self._base + lease.offset, lease.size, mmap.MADV_HUGEPAGE)  # a wish: some systems know none
        return lease

    def _lease(self, size: int) -> Lease:
        span = _span(size)
        with self._lock:
            self._gather()
            for number, (offset, free) in enumerate(self._free):
                begin = _up(offset) if span >= HUGE else offset
                before, behind = begin - offset, offset + free - begin - span
                if behind >= 0:
                    left = (offset, before), (begin + span, behind)
                    self._free[number : number + 1] = [some for some in left if some[1]]
                    return Lease(self, begin, size)
        raise ArenaFullError(size, self.size)

    def _gather(self) -> None:
        """Put what was given back among what is free."""
        if not self._returned:
            return
        spans = list(self._free)
        while self._returned:
            spans.append(self._returned.popleft())
        self._free = []
        for begin, length in sorted(spans):
            if self._free and sum(self._free[-1]) == begin:
                self._free[-1] = (self._free[-1][0], self._free[-1][1] + length)
            else:
                self._free.append((begin, length))

    def _place(self, lease: Lease, protection: int, flags: int, descriptor: int, path: Path | None) -> None:
        placed = _LIBC.mmap(self._base + lease.offset, lease.size, protection, flags | _FIXED, descriptor, 0)
        if placed == _FAILED:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), None if path is None else os.fspath(path))

    def _take_back(self, offset: int, size: int, *, leased: bool) -> None:
        """Called by the collector, at any moment and in any thread: so without the lock."""
        self.checked[offset // PAGE : (offset + size) // PAGE] = 0
        _LIBC.mmap(self._base + offset, size, _NO_ACCESS, _ANONYMOUS | _FIXED, -1, 0)
        if leased:
            self._returned.append((offset, _span(size)))


def _up(offset: int) -> int:
    """The next multiple of `HUGE`."""
    return -(-offset // HUGE) * HUGE


def _span(size: int) -> int:
    """How many addresses a lease takes: what is large leaves no gap before the next of its kind."""
    return _up(size) if size >= HUGE else size


class _Exposed:
    """What numpy needs to make an array of reserved addresses that keeps them reserved."""

    def __init__(self, addresses: _Range, kind: str, length: int, step: int | None = None) -> None:
        self._addresses = addresses
        self.__array_interface__ = {
            "shape": (length,),
            "strides": None if step is None else (step,),
            "typestr": kind,
            "data": (addresses.base, False),
            "version": 3,
        }

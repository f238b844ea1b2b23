"""Which files hold captures, and their messages in order of time.

Knows as much of pcap (draft-ietf-opsawg-pcap) and pcapng (draft-ietf-opsawg-pcapng) as it takes to recognise one and to
read the time of its first packet; everything else is tshark's. Rotated files are put in order by that time, never by
name (tcpdump -W starts over with its numbers). Files of the same hours (one for each interface) are read side by side.
"""

from __future__ import annotations

import heapq
import re
import struct
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cdr_adapters import stream
from cdr_adapters.archives import Member
from cdr_adapters.raw import AdapterError
from cdr_adapters.sip.legs import HORIZON_US
from cdr_adapters.sip.wire import Seen

SLACK_US = 1_000_000
"""How far the packets of one file may be out of order (several queues or interfaces in one file)."""

_PCAP = {
    b"\xd4\xc3\xb2\xa1": ("<", 1),
    b"\xa1\xb2\xc3\xd4": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1000),
}
"""Magic number -> byte order, fractions of a microsecond in a time stamp."""
_PCAPNG = b"\x0a\x0d\x0d\x0a"
_BYTE_ORDER = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_INTERFACE, _PACKET, _TSRESOL, _TSOFFSET = 1, 6, 9, 14
_MOST_OPEN = 8
_MOST_BEFORE = 8


@dataclass(frozen=True, slots=True)
class CaptureFile:
    """One capture: where it lies, its number in order of time, the time of its first packet (0: not known).

    A negative number: read only for what went before.
    """

    path: Path
    number: int
    first_us: int


def is_capture(head: bytes) -> bool:
    """Whether a file with this beginning, uncompressed, is pcap or pcapng."""
    return head[:4] in _PCAP or (head[:4] == _PCAPNG and head[8:12] in _BYTE_ORDER)


def first_time_us(head: bytes) -> int:
    """The time of the first packet in microseconds since the epoch; 0 when the head doesn't tell."""
    try:
        if head[:4] in _PCAP:
            order, divisor = _PCAP[head[:4]]
            seconds, fraction = struct.unpack_from(f"{order}II", head, 24)
            return int(seconds * 1_000_000 + fraction // divisor)
        if is_capture(head):
            return _first_of_pcapng(head)
    except (struct.error, OverflowError):
        pass
    return 0


def _first_of_pcapng(head: bytes) -> int:
    order = _BYTE_ORDER[head[8:12]]
    resolutions: list[tuple[int, int]] = []  # ticks a second, seconds to add
    at = 0
    while at + 12 <= len(head):
        kind, length = struct.unpack_from(f"{order}II", head, at)
        if kind == _INTERFACE:
            resolutions.append(_resolution(head[at + 16 : at + length - 4], order))
        elif kind == _PACKET:
            interface, high, low = struct.unpack_from(f"{order}III", head, at + 8)
            ticks, offset = resolutions[interface] if interface < len(resolutions) else (1_000_000, 0)
            return int(((high << 32) | low) * 1_000_000 // ticks + offset * 1_000_000)
        if length < 12:
            break
        at += length
    return 0


def _resolution(options: bytes, order: str) -> tuple[int, int]:
    ticks, offset, at = 1_000_000, 0, 0
    while at + 4 <= len(options):
        code, length = struct.unpack_from(f"{order}HH", options, at)
        if code == 0:
            break
        if code == _TSRESOL and length == 1:
            exponent = options[at + 4]
            ticks = 2 ** (exponent & 127) if exponent & 128 else 10**exponent
        elif code == _TSOFFSET and length == 8:
            (offset,) = struct.unpack_from(f"{order}q", options, at + 4)
        at += 4 + (length + 3) // 4 * 4
    return ticks, offset


ReadFile = Callable[[CaptureFile], Generator[Seen, None, None]]
"""What is seen in one file, in its order."""


def read_head(path: Path) -> bytes:
    """The first bytes of a file, unpacked; none when they can't be unpacked.

    Raises:
        AdapterError: the file can't be opened.
    """
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise AdapterError(f"{path}: {error.strerror or error}") from None
    try:
        return stream.read_head(path).data
    except AdapterError:
        return b""


@dataclass(frozen=True, slots=True)
class CaptureKind:
    """A kind of capture files: how their beginning is recognised, and what it says of the first message's time."""

    recognise: Callable[[bytes], bool]
    first_us: Callable[[bytes], int]


PCAP = CaptureKind(is_capture, first_time_us)


def ordered(path: Path, kind: CaptureKind = PCAP, *, rotated: bool = False) -> tuple[list[CaptureFile], int]:
    """The capture at `path`, or the captures in the directory `path` in order of time; and how many other files it has.

    Hidden files (not yet complete) and subdirectories are left alone. Of a `rotated` file those beside it that began
    before it come first, with negative numbers, as far back as a call's set-up may reach.

    Raises:
        AdapterError: it can't be read, or the directory holds no capture.
    """
    if isinstance(path, Member):
        return [CaptureFile(path, 0, 0)], 0
    if not path.is_dir():
        return [*(_before(path, kind) if rotated else ()), CaptureFile(path, 0, 0)], 0
    try:
        paths = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    except OSError as error:
        raise AdapterError(f"{path}: {error.strerror or error}") from None
    captures = _captures(paths, kind)
    files = [CaptureFile(file, number, first) for number, (first, file) in enumerate(captures)]
    if not files:
        raise AdapterError(f"{path}: no capture of this format, compressed or not, in this directory")
    return files, len(paths) - len(files)


def _captures(paths: Iterable[Path], kind: CaptureKind) -> list[tuple[int, Path]]:
    """Those of `paths` that are captures, with the time of their first packet, in its order."""
    found = [(first, file) for file in paths if (first := _begin(file, kind)) is not None]
    return sorted(found, key=lambda capture: (capture[0], _natural(capture[1].name), capture[1]))


def _before(path: Path, kind: CaptureKind) -> list[CaptureFile]:
    """The captures beside the one at `path` that began before it and may hold what is still in progress there."""
    began = _begin(path, kind)
    beside = [p for p in path.parent.iterdir() if p.is_file() and not p.name.startswith(".") and p != path]
    before = [(first, file) for first, file in _captures(beside, kind) if began and 0 < first < began]
    reach = max((first for first, _ in before if first <= (began or 0) - HORIZON_US), default=0)
    near = [(first, file) for first, file in before if first >= reach - SLACK_US][-_MOST_BEFORE:]
    return [CaptureFile(file, number - len(near), first) for number, (first, file) in enumerate(near)]


def _begin(path: Path, kind: CaptureKind) -> int | None:
    """The time of a capture's first packet (0: not known); None when it is no capture of this kind."""
    try:
        status = path.stat()
    except OSError as error:
        raise AdapterError(f"{path}: {error.strerror or error}") from None
    return _begin_of_version(path, status.st_mtime_ns, status.st_size, kind)


@lru_cache(4096)
def _begin_of_version(path: Path, modified: int, size: int, kind: CaptureKind) -> int | None:
    del modified, size  # what the answer holds for
    head = read_head(path)
    return kind.first_us(head) if kind.recognise(head) else None


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def in_time_order(files: Sequence[CaptureFile], read: ReadFile) -> Generator[tuple[CaptureFile, Seen], None, None]:
    """What `read` sees in `files`, in order of time, with the file of each. A file is opened when its time comes.

    Raises:
        AdapterError: too many files of the same time.
    """
    waiting = list(reversed(files))
    streams: list[tuple[int, int, CaptureFile, Seen, Iterator[tuple[int, Seen]]]] = []
    with ExitStack() as opened:
        while waiting or streams:
            if waiting and (not streams or waiting[-1].first_us <= streams[0][0]):
                if len(streams) == _MOST_OPEN:
                    raise AdapterError(
                        f"{waiting[-1].path.parent}: more than {_MOST_OPEN} captures of the same time; merge them "
                        "(mergecap -w merged.pcapng FILES), or give each group a directory and a source of its own"
                    )
                file = waiting.pop()
                stream = _sorted(opened.enter_context(closing(read(file))))
            else:
                _, _, file, seen, stream = heapq.heappop(streams)
                yield file, seen
            if (following := next(stream, None)) is not None:
                heapq.heappush(streams, (following[0], file.number, file, following[1], stream))


def _sorted(stream: Iterable[Seen]) -> Iterator[tuple[int, Seen]]:
    """The stream with its messages in order of time, as far as `SLACK_US` reaches, each with its time."""
    held: list[tuple[int, int, Seen]] = []
    latest = 0
    for arrival, seen in enumerate(stream):
        time_us = seen[0].time_us if isinstance(seen, tuple) else latest
        latest = max(latest, time_us)
        heapq.heappush(held, (time_us, arrival, seen))
        while held[0][0] < latest - SLACK_US:
            time_us, _, seen = heapq.heappop(held)
            yield time_us, seen
    while held:
        time_us, _, seen = heapq.heappop(held)
        yield time_us, seen

"""A TCP proxy between two parties that does to their connection whatever a network does.

It knows bytes and directions, nothing of TLS: how far a connection is, it tells by how often the direction has turned
(the caller speaks first: its greeting, the other side's certificate, its own certificate and the first frames, ...).

`strike` puts a fault in force, `mend` ends it. What came over a connection that a fault has made silent stays lost
after `mend`, as with a firewall that has forgotten the connection: only new connections are whole. A fault that says
nothing of its having acted proves nothing: `struck` is set when the first byte or connection met it.
"""

from __future__ import annotations

import asyncio
import enum
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final


class Kind(enum.Enum):
    """What happens to the bytes."""

    DELAY = "delay"
    """They come late."""
    DROP = "drop"
    """Some are swallowed, later ones pass."""
    RESET = "reset"
    """Whom they are for gets a reset."""
    SLOW_LORIS = "slow-loris"
    """One at a time, with a pause after each."""
    BLACK_HOLE = "black hole"
    """From now on nothing passes either way, and nobody is told."""
    HALF_OPEN = "half-open"
    """From now on nothing passes this way, and nobody is told; the other way goes on."""
    DUPLICATE = "duplicate"
    """From the caller: all that it said on this connection is said once more on another. To the caller: twice."""
    CUT = "cut"
    """Some pass, then the connection is closed in the middle of a message."""


class Direction(enum.Enum):
    """Whose bytes: the one's who called, or the one's who listens."""

    THERE = "there"
    BACK = "back"


class Stage(enum.Enum):
    """Which connections a fault meets, and from when on."""

    CONNECT = "connect"
    """New ones, at once."""
    HANDSHAKE = "TLS handshake"
    """New ones, from the first byte of that direction."""
    SETTINGS = "HTTP/2 settings"
    """New ones, from the second turn of that direction on: the first frames travel with the last of TLS."""
    STANDING = "standing"
    """All that stand, and new ones, from the next byte of that direction."""
    AT_ONCE = "at once"
    """The same, and what breaks a connection or makes it silent does not wait for a byte."""


_AT_ONCE: Final = frozenset({Kind.RESET, Kind.CUT, Kind.BLACK_HOLE, Kind.HALF_OPEN})
DELAY_S: Final = 0.15
BYTE_S: Final = 0.02
SWALLOWED: Final = 64
"""Bytes that `DROP` swallows."""
PASSED: Final = 40
"""Bytes that `CUT` lets pass."""


@dataclass(frozen=True, slots=True)
class NetworkFault:
    """One fault, as it is put in force."""

    kind: Kind
    direction: Direction
    stage: Stage = Stage.STANDING


@dataclass(eq=False)
class _Link:
    """One caller's connection and the one that it goes on over."""

    ends: dict[Direction, asyncio.StreamWriter]
    """Whom the bytes of each direction are for."""
    new: bool
    turns: dict[Direction, int] = field(default_factory=lambda: dict.fromkeys(Direction, 0))
    speaks: Direction | None = None
    silent: set[Direction] = field(default_factory=set)
    said: bytearray = field(default_factory=bytearray)
    """All that the caller has said."""
    spent: bool = False
    """What a fault does once, it has done here."""
    closed: bool = False

    def turn(self, direction: Direction) -> None:
        if direction is not self.speaks:
            self.speaks = direction
            self.turns[direction] += 1

    def close(self, reset: Direction | None = None) -> None:
        """End both connections; whom the direction `reset` is for gets a reset, the other a goodbye."""
        self.closed = True
        for direction, writer in self.ends.items():
            if direction is reset:
                _reset(writer)
            else:
                writer.close()

    def abort(self) -> None:
        self.closed = True
        for writer in self.ends.values():
            writer.transport.abort()


class Proxy:
    """Stands in front of `target` (host:port), which may change. Make one with `proxy`."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.endpoint = ""
        self.connections = 0
        self.struck = asyncio.Event()
        self._fault: NetworkFault | None = None
        self._mended = asyncio.Event()
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def strike(self, fault: NetworkFault) -> None:
        """From now on this happens, until `mend`."""
        self._fault = fault
        self.struck.clear()
        self._mended.clear()
        for link in tuple(self._links):
            link.new = link.spent = False
            if fault.stage is Stage.AT_ONCE and fault.kind in _AT_ONCE:
                self._suffer_now(link, fault)

    def mend(self) -> None:
        """New connections are whole, and what was only late goes on; what fell silent stays so."""
        self._fault = None
        self._mended.set()

    def hang_up(self) -> None:
        """Break every connection off."""
        for link in tuple(self._links):
            link.abort()

    # A connection

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        fault = self._fault
        if fault is not None and fault.stage is Stage.CONNECT and not await self._let_in(fault, writer):
            return
        host, _, port = self.target.rpartition(":")
        try:
            there, onward = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        link = _Link({Direction.THERE: onward, Direction.BACK: writer}, new=True)
        self._links.add(link)
        ways = ((Direction.THERE, reader), (Direction.BACK, there))
        for task in [self._spawn(self._pass(link, direction, source)) for direction, source in ways]:
            task.add_done_callback(lambda _, link=link: self._links.discard(link) if link.closed else None)  # type: ignore[misc]

    async def _let_in(self, fault: NetworkFault, writer: asyncio.StreamWriter) -> bool:
        """Whether a connection that meets the fault at its beginning goes on."""
        self.struck.set()
        if fault.kind is Kind.DELAY:
            await self._late(DELAY_S)
            return True
        if fault.kind is Kind.RESET:
            _reset(writer)
        elif fault.kind is Kind.BLACK_HOLE:
            self._links.add(_Link({Direction.BACK: writer}, new=True))
        else:
            writer.close()
        return False

    async def _pass(self, link: _Link, direction: Direction, source: asyncio.StreamReader) -> None:
        sink = link.ends[direction]
        with suppress(OSError):
            while data := await source.read(65536):
                link.turn(direction)
                if direction is Direction.THERE:
                    link.said += data
                fault = self._met(link, direction)
                if fault is not None:
                    data = await self._suffer(link, fault, direction, data)
                if data and not link.closed and direction not in link.silent:
                    sink.write(data)
                    await sink.drain()
        if not link.closed and not link.silent:
            link.close()

    def _met(self, link: _Link, direction: Direction) -> NetworkFault | None:
        fault = self._fault
        if fault is None or fault.direction is not direction or link.spent or fault.stage is Stage.CONNECT:
            return None
        if fault.stage in (Stage.STANDING, Stage.AT_ONCE):
            return fault
        return fault if link.new and link.turns[direction] > (fault.stage is Stage.SETTINGS) else None

    async def _suffer(self, link: _Link, fault: NetworkFault, direction: Direction, data: bytes) -> bytes:
        """What passes of `data`."""
        self.struck.set()
        match fault.kind:
            case Kind.DELAY:
                await self._late(DELAY_S)
            case Kind.SLOW_LORIS:
                return await self._trickle(link.ends[direction], data)
            case Kind.DROP:
                link.spent = True
                return data[SWALLOWED:]
            case Kind.DUPLICATE if direction is Direction.BACK:
                link.spent = True
                return data + data
            case Kind.CUT:
                link.ends[direction].write(data[:PASSED])
                link.close()
            case _:
                self._suffer_now(link, fault)
        return data

    def _suffer_now(self, link: _Link, fault: NetworkFault) -> None:
        """What takes no byte to happen."""
        self.struck.set()
        match fault.kind:
            case Kind.RESET:
                link.close(reset=fault.direction)
            case Kind.CUT:
                link.close()
            case Kind.BLACK_HOLE:
                link.silent |= set(Direction)
            case Kind.HALF_OPEN:
                link.silent.add(fault.direction)
            case Kind.DUPLICATE:
                link.spent = True
                self._spawn(self._say_again(bytes(link.said)))

    async def _trickle(self, sink: asyncio.StreamWriter, data: bytes) -> bytes:
        """Pass a byte at a time until the fault ends; what is left then."""
        for number in range(len(data)):
            if self._mended.is_set() or sink.is_closing():
                return data[number:]
            sink.write(data[number : number + 1])
            await self._late(BYTE_S)
        return b""

    async def _say_again(self, said: bytes) -> None:
        """What a caller said, said by another one; what comes back, nobody reads."""
        host, _, port = self.target.rpartition(":")
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(said)
                async with asyncio.timeout(1):
                    await reader.read()
            except TimeoutError:
                pass
            finally:
                writer.transport.abort()

    async def _late(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._mended.wait()

    def _spawn(self, work: object) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """End everything."""
        self.hang_up()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST instead of FIN: what was not sent yet is lost, and the other side is told so (tcp(7), SO_LINGER)."""
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def proxy(target: str) -> AsyncIterator[Proxy]:
    """A proxy in front of `target`, on a free port of this machine."""
    made = Proxy(target)
    server = await asyncio.start_server(made._accept, "127.0.0.1", 0)
    made.endpoint = "127.0.0.1:{1}".format(*server.sockets[0].getsockname())
    try:
        yield made
    finally:
        server.close()
        await made.close()

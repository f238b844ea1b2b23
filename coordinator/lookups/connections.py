"""Open connections to the agents of a provider: which is asked when, and how one is left while calls run on it.

A `Line` is the way to one agent; the connection that it goes over may be replaced at any time, by one with another
certificate or because the old one seems dead. Calls that began on the old one end on it. Refused: a call over a
connection that was closed here, which is told as `ClosedHereError` and never as a cancellation of whoever waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import grpc

from protos.tls import TlsFiles

_Method = Callable[..., Awaitable[bytes]]


class ClosedHereError(Exception):
    """This side closed the connection before an answer came."""


@dataclass(slots=True, eq=False)
class Connection:
    """One channel, which shows `shown` to the other side; `busy` is how many calls are under way."""

    channel: grpc.aio.Channel
    shown: TlsFiles
    busy: int = 0
    _methods: dict[str, _Method] = field(default_factory=dict)

    async def call(self, method: str, request: bytes, timeout_s: float) -> bytes:
        """The response to these bytes.

        Raises:
            grpc.aio.AioRpcError: the call failed.
            ClosedHereError: the connection was closed.
        """
        known = self._methods.get(method)
        if known is None:
            known = self._methods[method] = self.channel.unary_unary(method, None, None)
        self.busy += 1
        try:
            return bytes(await known(request, timeout=timeout_s))
        except grpc.aio.UsageError:
            raise ClosedHereError from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise ClosedHereError from None  # gRPC cancels the calls of a channel that is closed
        finally:
            self.busy -= 1

    async def end(self) -> None:
        """Close it; calls under way break off."""
        await self.channel.close(None)


@dataclass(slots=True, eq=False)
class Line:
    """The way to one of a provider's agents; `rests_until` by the clock of `time.monotonic`."""

    endpoint: str
    connection: Connection
    rests_until: float = 0.0


@dataclass(slots=True, eq=False)
class Lines:
    """The ways to all agents of a provider, in the registry's order; `turn` counts calls."""

    endpoints: tuple[str, ...]
    lines: list[Line]
    turn: int = 0

    def in_turn(self, now: float) -> list[Line]:
        """All of them: first those in good standing, a different one first each time."""
        start = self.turn % len(self.lines)
        self.turn += 1
        order = self.lines[start:] + self.lines[:start]
        return sorted(order, key=lambda line: line.rests_until > now)

"""Questions that are due for the same provider at the same time travel in one message.

Stands before the client and looks like it (`coordinator.ports.AgentClient`), so that neither driver nor machine knows
of batches. A question that comes alone goes out alone and at once. While `in_flight` messages to a provider are
unanswered, further questions for it gather and go out together, up to `largest`: the busier the provider, the larger
the batches, without any waiting on purpose.

A batch stands or falls as a whole, but one bad answer must not spoil the others' chains: when the answers of a batch
can't be used, its questions are asked one by one, and each is judged for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from coordinator.ports import AgentClient, AgentError, BadAnswerError, Provider, Reply
from protos.types import Question

LARGEST = 2000
IN_FLIGHT = 2


class BatchClient(AgentClient, Protocol):
    """A client that can also put many questions at once."""

    async def ask_many(
        self, provider: Provider, asked: Sequence[tuple[Question, bytes]], timeout: timedelta
    ) -> list[Reply]:
        """The answers to these questions (each with its exact bytes when sent singly), in their order.

        Raises:
            AgentError: one of its four kinds, for all of them.
        """
        ...


@dataclass(slots=True)
class _Waiting:
    question: Question
    exact: bytes
    timeout: timedelta
    reply: asyncio.Future[Reply]


@dataclass(slots=True)
class _Queue:
    """What waits for one provider, and how many messages to it are unanswered."""

    provider: Provider
    waiting: list[_Waiting] = field(default_factory=list)
    in_flight: int = 0
    scheduled: bool = False


class BatchingAgents:
    """Implements `coordinator.ports.AgentClient` over a client that can batch."""

    def __init__(self, client: BatchClient, *, largest: int = LARGEST, in_flight: int = IN_FLIGHT) -> None:
        self._client = client
        self._largest = largest
        self._in_flight = in_flight
        self._queues: dict[str, _Queue] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def ask(self, provider: Provider, question: Question, exact: bytes, timeout: timedelta) -> Reply:
        """One attempt at one question, alone or together with others.

        Raises:
            AgentError: one of its four kinds.
        """
        queue = self._queues.setdefault(provider.id, _Queue(provider))
        queue.provider = provider
        entry = _Waiting(question, exact, timeout, asyncio.get_running_loop().create_future())
        queue.waiting.append(entry)
        self._schedule(queue)
        return await entry.reply

    def _schedule(self, queue: _Queue) -> None:
        """Send at the end of this turn of the loop, so that whatever else is due in it goes along."""
        if queue.waiting and not queue.scheduled and queue.in_flight < self._in_flight:
            queue.scheduled = True
            asyncio.get_running_loop().call_soon(self._send, queue)

    def _send(self, queue: _Queue) -> None:
        queue.scheduled = False
        batch, queue.waiting = queue.waiting[: self._largest], queue.waiting[self._largest :]
        batch = [entry for entry in batch if not entry.reply.done()]  # cancelled meanwhile
        if batch:
            queue.in_flight += 1
            task = asyncio.create_task(self._carry(queue, batch))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        self._schedule(queue)

    async def _carry(self, queue: _Queue, batch: list[_Waiting]) -> None:
        try:
            await self._put(queue.provider, batch)
        except asyncio.CancelledError:
            for entry in batch:
                entry.reply.cancel()
            raise
        finally:
            queue.in_flight -= 1
            self._schedule(queue)

    async def _put(self, provider: Provider, batch: list[_Waiting]) -> None:
        if len(batch) == 1:
            return await self._put_singly(provider, batch[0])
        asked = [(entry.question, entry.exact) for entry in batch]
        try:
            replies = await self._client.ask_many(provider, asked, min(entry.timeout for entry in batch))
        except BadAnswerError:
            for entry in batch:
                await self._put_singly(provider, entry)
        except Exception as error:
            _fail(batch, error)
        else:
            for entry, reply in zip(batch, replies, strict=True):
                if not entry.reply.done():
                    entry.reply.set_result(reply)
        return None

    async def _put_singly(self, provider: Provider, entry: _Waiting) -> None:
        try:
            reply = await self._client.ask(provider, entry.question, entry.exact, entry.timeout)
        except Exception as error:
            if not entry.reply.done():
                entry.reply.set_exception(error)
        else:
            if not entry.reply.done():
                entry.reply.set_result(reply)


def _fail(batch: list[_Waiting], error: Exception) -> None:
    """Every question gets an error of its own: a shared exception would gather the tracebacks of all who raise it."""
    for entry in batch:
        if not entry.reply.done():
            entry.reply.set_exception(type(error)(error.detail) if isinstance(error, AgentError) else error)

"""Rounds beside the driver: whoever looks at what has changed, again and again, block by block, over one database.

A database that fails ends a round and not the rounds. What changed shortly before the last one is looked at again.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final, Protocol, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

ROUND_S: Final = 5.0
"""Between two rounds."""
AGAIN: Final = timedelta(minutes=1)
"""What changed so long before the last round is looked at again: processes' clocks differ."""
BLOCK: Final = 500
"""Tracebacks that are looked at in one go."""

log = structlog.get_logger()


class _Found(Protocol):
    @property
    def id(self) -> uuid.UUID: ...


F = TypeVar("F", bound=_Found)


async def block_by_block(
    found: Callable[[F | None, int], Sequence[F]], take: Callable[[Sequence[uuid.UUID]], Awaitable[list[uuid.UUID]]]
) -> list[uuid.UUID]:
    """What `take` took of all that is `found`, which gives so many at most after the last one of the block before."""
    taken: list[uuid.UUID] = []
    after: F | None = None
    while True:
        block = await asyncio.to_thread(found, after, BLOCK)
        taken += await take([one.id for one in block])
        if len(block) < BLOCK:
            return taken
        after = block[-1]


async def keep_working(
    one_round: Callable[[], Awaitable[list[uuid.UUID]]], tell: Callable[[list[uuid.UUID]], object], *, failed: str
) -> None:
    """Round after round, until cancelled: `tell` hears what was taken, the log `failed` where a round ended early."""
    while True:
        await asyncio.sleep(ROUND_S)
        try:
            taken = await one_round()
        except SQLAlchemyError as error:
            log.error(failed, error=type(error).__name__)  # noqa: TRY400 (the type says it all)
            continue
        if taken:
            tell(taken)

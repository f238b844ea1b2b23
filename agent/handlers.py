"""Methods as they are handled, whatever way a request comes: bytes and who asks go in, bytes come out.

A port (`agent.server`) and a stream to the coordinator (`agent.dialout`) serve the same handlers, so that both have the
same gate. What can't be taken is raised as `protos.errors.FaultError` or `protos.codec.ContractError`; both ways of
serving tell it to the caller with its reason.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import structlog

from agent.index.errors import IndexCorruptError, IndexUnusableError
from protos.errors import Fault, FaultError
from protos.types import ErrorReason

Handler = Callable[[bytes, tuple[str, ...]], Awaitable[bytes]]
"""From a serialised request, and the URIs of the coordinator that asks, to the serialised response."""
Handlers = Mapping[str, Handler]
"""By full name of the method, such as "/hopback.v1.HopService/Ask"."""

log = structlog.get_logger()


def reading_records(handler: Handler, on_broken: Callable[[Path], None] | None = None) -> Handler:
    """The same handler, telling records that can't be read as a fault; `on_broken` hears of files that are broken."""

    async def handle(request: bytes, askers: tuple[str, ...]) -> bytes:
        try:
            return await handler(request, askers)
        except IndexUnusableError as error:
            log.error("records_unavailable", error=str(error))  # noqa: TRY400 (the text says it all)
            if on_broken is not None and isinstance(error, IndexCorruptError):
                on_broken(error.path)
        raise FaultError(
            Fault(ErrorReason.STORE_UNAVAILABLE, "the records can't be read now; try again later")
        ) from None

    return handle


async def refuse_unsigned(request: bytes, askers: tuple[str, ...]) -> bytes:  # noqa: ARG001 (whatever it is)
    """Instead of a method that knows no orders."""
    raise FaultError(
        Fault(
            ErrorReason.ORDER_REQUIRED,
            "this agent answers only signed questions under an order: HopService.Ask",
        )
    )


async def refuse_signed(request: bytes, askers: tuple[str, ...]) -> bytes:  # noqa: ARG001 (whatever it is)
    """Instead of HopService.Ask, at an agent that has no keys for it."""
    raise FaultError(
        Fault(
            ErrorReason.AUDIT_UNAVAILABLE,
            "this agent serves trials alone: it has neither [signing] nor [orders], so it answers no signed question",
        )
    )

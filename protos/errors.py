"""gRPC errors with a reason for machines, both ways: what the server says, and how the client reads it.

A fault travels as `google.rpc.Status` in the trailing metadata (AIP-193): an `ErrorInfo` of domain "hopback" whose
reason is a name of `hopback.v1.ErrorReason`, and a `BadRequest` naming the offending fields. No fault ever carries a
value of a field: it may be a subscriber's number.

What the client reads comes from another company: anything unexpected in it reads as no fault at all, and its text is
cut and freed of control characters before anybody prints it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from hopback.v1 import lookup_pb2 as pb
from protos.codec import ContractError
from protos.printable import printable
from protos.types import ErrorReason

DOMAIN: Final = "hopback"
DETAILS_KEY: Final = "grpc-status-details-bin"

_CODES: Final = {
    ErrorReason.MALFORMED: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorReason.INVALID_FIELD: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorReason.BATCH_COLUMNS: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorReason.NOT_A_COORDINATOR: grpc.StatusCode.PERMISSION_DENIED,
    ErrorReason.WRONG_TARGET: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorReason.STORE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorReason.ORDER_REQUIRED: grpc.StatusCode.PERMISSION_DENIED,
    ErrorReason.SIGNATURE: grpc.StatusCode.UNAUTHENTICATED,
    ErrorReason.AUDIT_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorReason.REVOKED: grpc.StatusCode.PERMISSION_DENIED,
}
_FIELD = re.compile(r"[a-z][a-z0-9_.]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a message could not be taken: reason for machines, message for people, names of the offending fields."""

    reason: ErrorReason
    message: str
    fields: tuple[str, ...] = ()

    @classmethod
    def of(cls, error: ContractError) -> Fault:
        """The fault that a breach of the contract is reported as."""
        return cls(error.reason, str(error), error.fields)

    @property
    def code(self) -> grpc.StatusCode:
        """The gRPC status code that goes with the reason."""
        return _CODES[self.reason]


class FaultError(Exception):
    """Ends the handling of a request with a fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def trailing_metadata(fault: Fault) -> tuple[tuple[str, bytes], ...]:
    """The trailing metadata in which `fault` travels beside its status code."""
    return ((DETAILS_KEY, status_of(fault)),)


def status_of(fault: Fault) -> bytes:
    """The google.rpc.Status of `fault`, serialised."""
    status = status_pb2.Status(code=fault.code.value[0], message=fault.message)
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason=pb.ErrorReason.Name(fault.reason.value), domain=DOMAIN)
    )
    if fault.fields:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=name, description="see the contract")
            for name in fault.fields
        ]
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=violations))
    return bytes(status.SerializeToString(deterministic=True))


class _Failed(Protocol):
    """What `grpc.aio.AioRpcError` and the error of a blocking call have in common."""

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...


def read_fault(error: BaseException) -> Fault | None:
    """The fault that a failed call carries, or None when it carries none that this contract knows.

    Never raises, whatever the other side sent.
    """
    if not hasattr(error, "trailing_metadata"):
        return None
    for key, value in cast("_Failed", error).trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            return fault_of(value)
    return None


def fault_of(data: bytes) -> Fault | None:
    """The fault in a serialised google.rpc.Status, None when there is none that this contract knows; never raises."""
    status = status_pb2.Status()
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    try:
        status.ParseFromString(data)
        for detail in status.details:
            if not detail.Unpack(info):
                detail.Unpack(bad)
        reason = ErrorReason(pb.ErrorReason.Value(info.reason))
    except (DecodeError, ValueError):
        return None
    if info.domain != DOMAIN or reason not in _CODES:
        return None
    fields = tuple(v.field for v in bad.field_violations if _FIELD.fullmatch(v.field))
    return Fault(reason, printable(status.message), fields)

"""Orders: one call that may be traced, certified by one person and approved by others.

An order counts only with the submitter's signature and with those of enough approvers, other persons than the
submitter and different from each other, whose keys the party that checks has pinned itself. The two kinds of signature
are of different domains, so that a submission never passes as an approval. What the order may ask for at most is the
protocol's: 300 s of window, 72 hours of life, 32 hops; a provider may demand less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Any, Final, Protocol
from uuid import UUID

from hopback.v1 import evidence_pb2 as pb
from protos.codec import (
    ContractError,
    canonical_uuid,
    check,
    digest,
    from_unix_ms,
    known_provider_id,
    parse,
    shared_time,
    unix_ms,
)
from protos.e164 import E164, parse_e164
from protos.identity import ProviderId
from protos.shapes import Shapes
from protos.signing import Domain, Proof, PublicKey, Seal
from protos.types import WINDOW_CAP, ErrorReason, RefusalReason
from protos.values import value

DEFAULT_WINDOW: Final = timedelta(seconds=60)
LONGEST_LIFE: Final = timedelta(hours=72)
MOST_HOPS: Final = 32
_MS: Final = timedelta(milliseconds=1)
_ZERO: Final = timedelta(0)


class Purpose(Enum):
    """What a traceback is for. Values equal those of `hopback.v1.Purpose`."""

    UNLAWFUL_ROBOCALLS = 1
    THREAT_TO_LIFE = 2
    COURT_ORDER = 3


_PURPOSES: Final = {purpose.value: purpose for purpose in Purpose}


@value
class Order:
    """One call that may be traced. Times are aware UTC, in whole milliseconds; `window` is a half-width."""

    order_id: UUID
    coordinator: str
    purpose: Purpose
    legal_basis: str
    campaign: str
    evidence_sha256: bytes
    called: E164
    at: datetime
    window: timedelta
    calling: E164 | None
    terminating: ProviderId
    hop_limit: int
    issued: datetime
    expires: datetime
    submitter: str
    certification: str
    salt: bytes

    def __post_init__(self) -> None:
        if not _ZERO < self.expires - self.issued <= LONGEST_LIFE:
            raise ValueError(f"an order lives up to {LONGEST_LIFE // timedelta(hours=1)} hours")
        if not _ZERO < self.window <= WINDOW_CAP:
            raise ValueError(f"an order's window is up to {WINDOW_CAP.seconds} s")
        if not 1 <= self.hop_limit <= MOST_HOPS:
            raise ValueError(f"an order's hop limit is up to {MOST_HOPS}")


@value
class Granted:
    """An order with the signatures that came with it; `exact` is what they cover.

    `approvals` are over the tree of `submission`, whose index and path prove them, too.
    """

    order: Order
    exact: bytes = field(repr=False)
    submission: Proof
    approvals: tuple[Seal, ...]

    @property
    def sha256(self) -> bytes:
        """By what questions name the order."""
        return digest(self.exact)


@dataclass(frozen=True, slots=True)
class Persons:
    """Whose signatures the checking party takes: pinned keys by name, and how many approvals it wants (at least 1)."""

    submitters: Mapping[str, PublicKey]
    approvers: Mapping[str, PublicKey]
    approvals: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.approvals <= 8:
            raise ValueError("1 to 8 approvals may be demanded")


def encode_order(order: Order) -> bytes:
    """The exact bytes of an order."""
    return pb.Order(
        order_id=str(order.order_id),
        coordinator=order.coordinator,
        purpose=order.purpose.value,  # type: ignore[arg-type]
        legal_basis=order.legal_basis,
        campaign=order.campaign,
        evidence_sha256=order.evidence_sha256,
        called_number=order.called,
        at_unix_ms=unix_ms(order.at),
        window_ms=order.window // _MS,
        calling_number=order.calling or "",
        terminating=order.terminating,
        hop_limit=order.hop_limit,
        issued_unix_ms=unix_ms(order.issued),
        expires_unix_ms=unix_ms(order.expires),
        submitter=order.submitter,
        certification=order.certification,
        salt=order.salt,
    ).SerializeToString(deterministic=True)


def decode_order(exact: bytes) -> Order:
    """The order in `exact`, within what the protocol allows at most.

    Raises:
        ContractError: MALFORMED or INVALID_FIELD.
    """
    known = _SHAPES.find(exact)
    if known is None:
        order = _parsed(exact)
        _SHAPES.keep(exact, _rest(order))
        return order
    try:
        return _of_shape(*known)
    except (ValueError, OverflowError):
        return _parsed(exact)  # which says what is wrong with it


_SHAPES: Final[Shapes[tuple[Any, ...]]] = Shapes(
    pb.Order,
    "order_id",
    "evidence_sha256",
    "called_number",
    "at_unix_ms",
    "calling_number",
    "issued_unix_ms",
    "expires_unix_ms",
    "salt",
)


def _rest(order: Order) -> tuple[Any, ...]:
    """What orders of one shape have in common."""
    return (
        order.coordinator,
        order.purpose,
        order.legal_basis,
        order.campaign,
        order.window,
        order.terminating,
        order.hop_limit,
        order.submitter,
        order.certification,
    )


def _of_shape(rest: tuple[Any, ...], values: tuple[Any, ...]) -> Order:
    coordinator, purpose, legal_basis, campaign, window, terminating, hop_limit, submitter, certification = rest
    order_id, evidence_sha256, called, at_ms, calling, issued_ms, expires_ms, salt = values
    return Order(
        canonical_uuid(str(order_id, "ascii")),
        coordinator,
        purpose,
        legal_basis,
        campaign,
        evidence_sha256,
        parse_e164(str(called, "ascii")),
        from_unix_ms(at_ms),
        window,
        parse_e164(str(calling, "ascii")) if calling else None,
        terminating,
        hop_limit,
        shared_time(issued_ms),
        shared_time(expires_ms),
        submitter,
        certification,
        salt,
    )


def _parsed(exact: bytes) -> Order:
    message = parse(pb.Order(), exact)
    calling = message.calling_number
    try:
        return Order(  # in the order of its fields: names cost as much as values, ten thousand times
            canonical_uuid(message.order_id),
            known_provider_id(message.coordinator),
            _PURPOSES.get(message.purpose) or Purpose(message.purpose),
            _text(message.legal_basis, 200),
            _text(message.campaign, 100),
            _bytes(message.evidence_sha256, 32),
            parse_e164(message.called_number),
            from_unix_ms(message.at_unix_ms),
            message.window_ms * _MS,
            parse_e164(calling) if calling else None,
            known_provider_id(message.terminating),
            message.hop_limit,
            shared_time(message.issued_unix_ms),
            shared_time(message.expires_unix_ms),
            known_provider_id(message.submitter),
            _text(message.certification, 500),
            _bytes(message.salt, 16),
        )
    except (ValueError, OverflowError) as error:
        check(message)
        raise ContractError(ErrorReason.INVALID_FIELD, f"invalid order: {error}", ("order",)) from None


class Seals(Protocol):
    """Verifies seals; `SealChecker` is one."""

    def is_good(self, seal: Seal, domain: Domain, key: PublicKey) -> bool:
        """Whether `seal` is of this domain and by this key."""
        ...


def grant_problem(granted: Granted, persons: Persons, seals: Seals) -> RefusalReason | None:
    """Why this order is not properly signed and approved, None when it is. Time and coordinator are not looked at."""
    submission = granted.submission
    if not submission.covers(granted.exact):
        return RefusalReason.ORDER_SIGNATURE
    return signatures_problem(granted.order.submitter, submission.seal, granted.approvals, persons, seals)


def signatures_problem(
    submitter: str, submission: Seal, approvals: Sequence[Seal], persons: Persons, seals: Seals
) -> RefusalReason | None:
    """Why these signatures grant nothing that is in their tree and that `submitter` submits, None when they do."""
    key = persons.submitters.get(submitter)
    if key is None or not seals.is_good(submission, Domain.ORDER, key):
        return RefusalReason.ORDER_SIGNATURE
    approved = set()
    for seal in approvals:
        name = _name_of(seal, persons.approvers)
        if name is None:
            continue  # an approver whom this party doesn't know counts for nothing
        same_tree = (seal.size, seal.root) == (submission.size, submission.root)
        if not same_tree or not seals.is_good(seal, Domain.APPROVAL, persons.approvers[name]):
            return RefusalReason.ORDER_SIGNATURE
        if name != submitter and persons.approvers[name] != key:
            approved.add(persons.approvers[name].raw)
    return None if len(approved) >= persons.approvals else RefusalReason.ORDER_NOT_APPROVED


def _name_of(seal: Seal, approvers: Mapping[str, PublicKey]) -> str | None:
    for name, key in approvers.items():
        if key.key_id == seal.key_id:
            return name
    return None


@lru_cache(1024)  # many orders say the same
def _text(value: str, longest: int) -> str:
    if not 0 < len(value) <= longest or not value.isprintable():
        raise ValueError(f"a text must be 1 to {longest} printable characters")
    return value


def _bytes(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise ValueError(f"{size} bytes expected")
    return value

"""The envelope of many questions, put together from pieces that are made once.

Byte for byte what `protos.envelopes.encode_requests` makes (a test holds the two together), in a fifth of the time: an
order travels with every hop of its call, so that its bytes are kept, and messages of a fixed form are joined rather
than built. Protocol Buffers allow it: a message is its fields in a row (encoding guide, "Message Structure").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from coordinator.tracing.signed import SignedAnswer, SisterNaming
from hopback.v1 import hop_pb2 as pb
from protos.signing import Proof, Seal

_ORDERS: Final = b"\x1a"
_NAMINGS: Final = b"\x22"
_NAMING: Final = b"\x0a\x80\x02"  # a naming, 256 bytes
_FINDING_SHA256: Final = b"\x12\x20"


class Order(Protocol):
    """An order that travels; what it says is not looked at. See `protos.orders.Granted`."""

    @property
    def exact(self) -> bytes:
        """What is signed."""
        ...

    @property
    def submission(self) -> Proof:
        """Of who submitted it."""
        ...

    @property
    def approvals(self) -> tuple[Seal, ...]:
        """Of who approved it, over the same tree."""
        ...


class Packed:
    """An order as it travels, and where its signatures' seals stand; made anew where they stand elsewhere."""

    __slots__ = ("_bytes", "_order", "_places", "seals")

    def __init__(self, order: Order) -> None:
        self._order = order
        self.seals = (order.submission.seal, *order.approvals)
        self._places: tuple[int, ...] | None = None
        self._bytes = b""

    def at(self, places: tuple[int, ...]) -> bytes:
        """The field with the order in it, its seals being at these places of the envelope."""
        if places != self._places:
            exact, proof = self._order.exact, _proof(self._order.submission, places[0])
            parts = [b"\x0a", _varint(len(exact)), exact, b"\x12", _varint(len(proof)), proof]
            if len(places) > 1:
                approvals = b"".join(map(_varint, places[1:]))
                parts += (b"\x1a", _varint(len(approvals)), approvals)
            body = b"".join(parts)
            self._bytes, self._places = b"".join((_ORDERS, _varint(len(body)), body)), places
        return self._bytes


def encode(
    questions: Sequence[bytes],
    seal: Seal,
    orders: Iterable[Packed],
    namings: Iterable[SignedAnswer | SisterNaming],
    certificates: list[bytes],
) -> bytes:
    """A serialised AskRequest; of `namings`, the answers that name the target, it holds what proves the naming."""
    seals: dict[Seal, int] = {}
    by_id: dict[int, int] = {}

    def place(one: Seal) -> int:
        known = by_id.get(id(one))  # most are the very same object: comparing them would cost more than all the rest
        if known is None:
            known = by_id[id(one)] = seals.setdefault(one, len(seals))
        return known

    parts = [pb.AskRequest(questions=questions, seal=seal.to_message()).SerializeToString(deterministic=True)]
    parts += [packed.at(tuple(map(place, packed.seals))) for packed in orders]
    for named in namings:
        proof, both = _proof(named.proof, place(named.proof.seal)), named.parts
        body = b"".join(
            (_NAMING, both.naming, _FINDING_SHA256, both.finding_sha256, b"\x1a", _varint(len(proof)), proof)
        )
        parts += (_NAMINGS, _varint(len(body)), body)
    rest = pb.AskRequest(seals=[one.to_message() for one in seals], certificates=dict.fromkeys(certificates))
    parts.append(rest.SerializeToString(deterministic=True))
    return b"".join(parts)


def _proof(proof: Proof, place: int) -> bytes:
    parts: list[bytes] = []
    if place:
        parts += (b"\x08", _varint(place))
    if proof.index:
        parts += (b"\x10", _varint(proof.index))
    if proof.path:
        parts += (b"\x1a", _varint(len(proof.path)), proof.path)
    return b"".join(parts)


def _varint(value: int) -> bytes:
    """A base 128 varint."""
    if value < 0x80:
        return _SMALL[value]
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    return bytes((value & 0x7F | 0x80,)) + _varint(value >> 7)


_SMALL: Final = tuple(bytes((value,)) for value in range(0x80))

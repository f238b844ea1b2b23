"""Envelopes of signed questions and answers (`protos.hops`): what travels in one call, and back.

Seals, orders and namings that questions share travel once. What comes from outside is either a value or a
`ContractError`; an envelope that holds more than its questions can need is refused before any of it is read. Here it is
read; none of the signatures is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hopback.v1 import evidence_pb2 as evidence
from hopback.v1 import hop_pb2 as pb
from protos.codec import ContractError, broken, digest, parse
from protos.hops import Asked, Named, Parts, decode_naming, decode_question
from protos.merkle import HASH_SIZE
from protos.orders import Granted, decode_order
from protos.part_bytes import PART_SIZE
from protos.signing import Proof, Seal
from protos.types import ErrorReason

LARGEST_QUESTION: Final = 1024
MOST_QUESTIONS: Final = 10_000
_LONGEST_PATH: Final = 24 * HASH_SIZE
_ANSWER: Final = b"\x0a\x86\x04\x0a\x80\x02"  # AskResponse.answers, 518 bytes; HopAnswer.naming, 256 of them
_ITS_FINDING: Final = b"\x12\x80\x02"  # HopAnswer.finding


@dataclass(frozen=True, slots=True)
class Requests:
    """An envelope of questions; orders and namings by their digests. None of the signatures is checked yet."""

    asked: tuple[Asked, ...]
    seal: Seal
    orders: Mapping[bytes, Granted]
    namings: Mapping[bytes, Named]
    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Responses:
    """An envelope of answers. None of the signatures is checked yet."""

    parts: tuple[Parts, ...]
    seal: Seal
    certificate: bytes
    checkpoint: evidence.SignedCheckpoint


def encode_requests(
    questions: Sequence[bytes],
    seal: Seal,
    orders: Iterable[Granted],
    namings: Iterable[Named],
    certificates: Iterable[bytes],
) -> bytes:
    """A serialised AskRequest; seals that orders and namings share travel once."""
    seals: dict[Seal, int] = {}
    message = pb.AskRequest(
        questions=questions,
        seal=seal.to_message(),
        orders=[
            evidence.GrantedOrder(
                order=granted.exact,
                submission=_proof(granted.submission, seals),
                approvals=[seals.setdefault(seal, len(seals)) for seal in granted.approvals],
            )
            for granted in orders
        ],
        namings=[
            evidence.NamingProof(
                naming=named.exact, finding_sha256=named.finding_sha256, proof=_proof(named.proof, seals)
            )
            for named in namings
        ],
        certificates=list(dict.fromkeys(certificates)),
    )
    message.seals.extend(seal.to_message() for seal in seals)
    return message.SerializeToString(deterministic=True)


def decode_requests(data: bytes) -> Requests:
    """The questions in a serialised AskRequest; what no question names is left unread.

    Raises:
        ContractError: MALFORMED or INVALID_FIELD.
    """
    message = parse(pb.AskRequest(), data)
    count = len(message.questions)
    if not 0 < count <= MOST_QUESTIONS or not message.HasField("seal") or len(message.certificates) > 1000:
        raise broken(message, ValueError("out of bounds"), "questions")
    if any(len(exact) > LARGEST_QUESTION for exact in message.questions):
        raise ContractError(ErrorReason.INVALID_FIELD, "a question is too long", ("questions",))
    asked = tuple(decode_question(exact) for exact in message.questions)
    sisters = sum(len(one.authority.sisters) for one in asked) if len(message.namings) > count else 0
    if (
        len(message.orders) > count
        or len(message.namings) > count + sisters
        or len(message.seals) > 4 * count + sisters
    ):
        raise ContractError(
            ErrorReason.INVALID_FIELD,
            "there are more orders, namings or seals than questions can need",
            ("orders", "namings", "seals"),
        )
    seals = [Seal.of_message(seal) for seal in message.seals]
    orders, namings = {}, {}
    for one in message.orders:
        order = decode_order(one.order)
        approvals = tuple(_at(place, seals) for place in one.approvals[:8])
        orders[digest(one.order)] = Granted(order, one.order, _read_proof(one.submission, seals), approvals)
    for entry in message.namings:
        exact = _sized_field(entry.naming, PART_SIZE, "naming")
        hidden = _sized_field(entry.finding_sha256, 32, "finding_sha256")
        namings[digest(exact)] = Named(decode_naming(exact), exact, hidden, _read_proof(entry.proof, seals))
    return Requests(
        asked=asked,
        seal=Seal.of_message(message.seal),
        orders=orders,
        namings=namings,
        certificates=tuple(message.certificates),
    )


def encode_responses(
    parts: Sequence[Parts], seal: Seal, certificate: bytes, checkpoint: evidence.SignedCheckpoint
) -> bytes:
    """A serialised AskResponse.

    Raises:
        ValueError: a part has another size than all have.
    """
    if any(len(one.naming) != PART_SIZE or len(one.finding) != PART_SIZE for one in parts):
        raise ValueError(f"an answer's parts have {PART_SIZE} bytes each")
    # fields are serialised in their order: the answers first, all of one size
    answers = [piece for one in parts for piece in (_ANSWER, one.naming, _ITS_FINDING, one.finding)]
    rest = pb.AskResponse(seal=seal.to_message(), certificate=certificate, checkpoint=checkpoint)
    return b"".join((*answers, rest.SerializeToString(deterministic=True)))


def decode_responses(data: bytes, count: int) -> Responses:
    """The answers in a serialised AskResponse, as many as there were questions.

    Raises:
        ContractError: MALFORMED or INVALID_FIELD.
    """
    message = parse(pb.AskResponse(), data)
    if len(message.answers) != count or not message.HasField("seal") or not message.HasField("checkpoint"):
        raise ContractError(ErrorReason.INVALID_FIELD, f"{count} sealed answers expected", ("answers",))
    return Responses(
        parts=tuple(Parts(one.naming, one.finding) for one in message.answers),
        seal=Seal.of_message(message.seal),
        certificate=message.certificate,
        checkpoint=message.checkpoint,
    )


def _proof(proof: Proof, seals: dict[Seal, int]) -> evidence.Proof:
    place = seals.setdefault(proof.seal, len(seals))
    return evidence.Proof(seal=place, index=proof.index, path=proof.path)


def _read_proof(message: evidence.Proof, seals: Sequence[Seal]) -> Proof:
    path = message.path
    if len(path) > _LONGEST_PATH:
        raise ContractError(ErrorReason.INVALID_FIELD, "a proof is too long", ("proof",))
    return Proof(_at(message.seal, seals), message.index, path)


def _at(place: int, seals: Sequence[Seal]) -> Seal:
    if place >= len(seals):
        raise ContractError(ErrorReason.INVALID_FIELD, "a signature points at no seal", ("seal",))
    return seals[place]


def _sized_field(value: bytes, size: int, name: str) -> bytes:
    if len(value) != size:
        raise ContractError(ErrorReason.INVALID_FIELD, f"{name} must have {size} bytes", (name,))
    return value

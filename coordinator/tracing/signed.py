"""Questions and answers with what proves them, as the coordinator holds them between the hops and keeps them.

A `SignedAnswer` is an answer together with its two exact parts and the proof that its provider sealed them: it stands
alone, whatever else travelled in the same envelope. A `SignedQuestion` is a question together with the signed answer
that names its target, which the target's agent wants to see. Both are the plain values of `protos.types` to whoever
doesn't look at signatures, such as the store and the driver.

What a person at a provider without an agent said is no seal of the provider's. An `AttestedAnswer` has the same two
parts, sealed by an approver who attests that the person said so; a `SaidAnswer` is the coordinator's record alone.

Here stands also how both are kept: a question in its exact bytes, an answer in its parts followed by its proof. What a
trial exchanged unsigned is kept as `protos.codec` has it; a question says by its authority which of the two it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Final
from uuid import UUID

from hopback.v1 import lookup_pb2 as lookup
from protos import codec, hops
from protos.codec import ContractError, digest, parse
from protos.hops import Asked, Parts
from protos.part_bytes import PART_SIZE
from protos.signing import Domain, Proof, Seal
from protos.types import Answer, ErrorReason, Question, Sister
from protos.values import value

_FORMS: Final = {b"\x01": Domain.ANSWER, b"\x02": Domain.ATTESTATION}
"""By the first byte of a kept answer, what its seal says."""
_FORM_OF: Final = {domain.algorithm: form for form, domain in _FORMS.items()}
_ATTESTED: Final = Domain.ATTESTATION.algorithm
AGENT, PERSON, ATTESTED = "agent", "person", "attested"
_SAID: Final = b"\x03"
"""The first byte of a person's answer that nobody sealed; `protos.codec`'s form follows. Its own never begin so."""
_HEAD: Final = 1 + 2 * PART_SIZE + 32 + 4 + 32 + 64 + 4
"""Bytes before the path: form, naming, finding, the seal's key id, size, root and signature, the leaf's index."""


@value(kw_only=True)
class SignedAnswer(Answer):
    """An answer that its provider sealed.

    `originates` is False where the registry knew the provider, when it answered, as one that originates no calls.
    """

    parts: Parts = field(repr=False)
    proof: Proof = field(repr=False)
    originates: bool = field(default=True, compare=False)


@value(kw_only=True)
class AttestedAnswer(SignedAnswer):
    """What a person at the provider said; the seal is of an approver, in the domain of attestations."""


@value(kw_only=True)
class SaidAnswer(Answer):
    """What a person at the provider said, as the coordinator recorded it; nobody sealed it."""


@dataclass(frozen=True, slots=True)
class SisterNaming:
    """A sister call that a question names: its traceback, the question that the target has answered about it, and the
    neighbour's answer that names the target, with its proof."""

    traceback_id: UUID
    question_id: UUID
    parts: Parts = field(repr=False)
    proof: Proof = field(repr=False)

    @property
    def sister(self) -> Sister:
        """As the question has it."""
        return Sister(self.parts.naming_sha256, self.question_id)


@value(kw_only=True)
class SignedQuestion(Question):
    """A question under an order; `named` is the answer that names its target, None for the terminating provider.

    Of that answer, and of those about sister calls, the target gets to see what proves the naming, and nothing else
    (`coordinator.lookups.envelope`).
    """

    named: SignedAnswer | None = field(default=None, repr=False, compare=False)
    sisters: tuple[SisterNaming, ...] = field(default=(), repr=False, compare=False)


_QUESTION_FIELDS: Final = tuple(one.name for one in fields(Question))


def signed_answer(parts: Parts, proof: Proof, asked: Asked, *, originates: bool = True) -> Answer:
    """The answer in `parts`, together with what proves it, if it is one to this question and of the provider asked.

    Raises:
        ContractError: MALFORMED, INVALID_FIELD or WRONG_TARGET.
    """
    kind = AttestedAnswer if proof.seal.algorithm == _ATTESTED else SignedAnswer
    make = partial(kind, parts=parts, proof=proof, originates=originates)
    return hops.decode_parts(parts, asked, asked.question.target, make)[0]


def said_answer(answer: Answer) -> SaidAnswer:
    """`answer` as a person's."""
    return SaidAnswer(**{one.name: getattr(answer, one.name) for one in fields(Answer)})


def word_of(answer: Answer) -> str:
    """Whose word an answer is: AGENT, PERSON, or ATTESTED where an approver attests what a person said."""
    if isinstance(answer, AttestedAnswer):
        return ATTESTED
    return PERSON if isinstance(answer, SaidAnswer) else AGENT


def encode_question(question: Question) -> bytes:
    """The exact bytes of a question, with the authority by which it is asked, or without one in a trial."""
    return codec.encode_question(question) if question.authority is None else hops.encode_question(question)


def decode_question(
    exact: bytes, before: tuple[Question, Answer] | None = None, sisters: bytes | None = None
) -> Question:
    """The question that was kept; `before` is the hop before it, whose signed answer names its target.

    `sisters` are the namings of sister calls, as `keep_sisters` gives them.

    Raises:
        ContractError: MALFORMED or INVALID_FIELD.
    """
    if not parse(lookup.Question(), exact).order_sha256:
        return codec.decode_question(exact)
    question = hops.decode_question(exact).question
    named = before[1] if before is not None and isinstance(before[1], SignedAnswer) else None
    values = {name: getattr(question, name) for name in _QUESTION_FIELDS}
    if not sisters or question.authority is None:
        return SignedQuestion(**values, named=named)
    return SignedQuestion(**values, named=named, sisters=read_sisters(sisters, question.authority.sisters))


@value
class Kept:
    """What is kept of a signed answer: its parts, the proof that its provider sealed them, the path of its question.

    Questions and answers of an envelope stand in the same order, so that `proof.index` is the question's place, too, in
    the seal that the store keeps with the envelope (`Exchange`).
    """

    parts: Parts
    proof: Proof
    question_path: bytes


def keep(parts: Parts, proof: Proof, question_path: bytes) -> bytes:
    """The bytes in which a signed answer is kept; both paths are of the same length."""
    seal = proof.seal
    return b"".join(
        (
            _FORM_OF[seal.algorithm],
            parts.naming,
            parts.finding,
            seal.key_id,
            seal.size.to_bytes(4, "big"),
            seal.root,
            seal.signature,
            proof.index.to_bytes(4, "big"),
            proof.path,
            question_path,
        )
    )


def keep_sisters(sisters: Iterable[SisterNaming]) -> bytes | None:
    """The bytes in which the namings of sister calls are kept beside their question; None where there are none."""
    kept = b""
    for one in sisters:
        answer = keep(one.parts, one.proof, one.proof.path)  # which question it answered is of no use here
        kept += one.traceback_id.bytes + len(answer).to_bytes(2, "big") + answer
    return kept or None


@value
class Contest:
    """What speaks against a hop: its provider gave one record for two calls that its neighbour tells apart.

    Attributes:
        place: where in the call path the provider stands, from 0.
        other: the traceback of the other call.
        tag: the record, by the call tag that the provider gave for the other call; empty where it found several by now.
        shown: for the other call the neighbour's answer that names the provider, and the provider's; None where that
            call stands under an order of somebody else, who alone may see them.
    """

    place: int
    other: UUID
    tag: bytes
    shown: tuple[Kept, Kept] | None = field(default=None, repr=False)


_NO_TAG: Final = bytes(16)
CONTEST_HEAD: Final = 1 + 16 + 16
"""Bytes of a kept contest before what is shown: place, other, tag; no number is in them."""


def keep_contest(contest: Contest) -> bytes:
    """The bytes in which a contest is kept beside the hop that it led to."""
    kept = bytes([contest.place]) + contest.other.bytes + (contest.tag or _NO_TAG)
    for one in contest.shown or ():
        answer = keep(one.parts, one.proof, one.proof.path)
        kept += len(answer).to_bytes(2, "big") + answer
    return kept


def read_contest(kept: bytes) -> Contest:
    """The inverse of `keep_contest`.

    Raises:
        ContractError: MALFORMED.
    """
    shown, at = [], CONTEST_HEAD
    while at < len(kept):
        size = int.from_bytes(kept[at : at + 2], "big")
        shown.append(read_kept(kept[at + 2 : at + 2 + size]))
        at += 2 + size
    if len(kept) < CONTEST_HEAD or at != len(kept) or len(shown) not in (0, 2):
        raise ContractError(ErrorReason.MALFORMED, "a contest is not kept in a form that is known here")
    both = (shown[0], shown[1]) if shown else None
    tag = kept[17:CONTEST_HEAD]
    return Contest(kept[0], UUID(bytes=kept[1:17]), b"" if tag == _NO_TAG else tag, both)


def read_sisters(kept: bytes, sisters: Sequence[Sister]) -> tuple[SisterNaming, ...]:
    """The inverse of `keep_sisters`; `sisters` are those of the question.

    Raises:
        ContractError: MALFORMED.
    """
    found, at = [], 0
    for sister in sisters:
        size = int.from_bytes(kept[at + 16 : at + 18], "big")
        known = read_kept(kept[at + 18 : at + 18 + size])
        found.append(SisterNaming(UUID(bytes=kept[at : at + 16]), sister.question_id, known.parts, known.proof))
        at += 18 + size
    if at != len(kept) or any(one.sister != sister for one, sister in zip(found, sisters, strict=True)):
        raise ContractError(ErrorReason.MALFORMED, "the namings of sister calls are not those of the question")
    return tuple(found)


def keep_said(answer: SaidAnswer, exact: bytes) -> bytes:
    """The bytes in which a person's answer is kept that nobody sealed, to the question of these exact bytes."""
    return _SAID + codec.encode_answer(answer, digest(exact))


def is_persons(first: bytes) -> bool:
    """Whether a kept answer of this first byte is a person's, sealed by an approver or not."""
    return first == _SAID or _FORMS.get(first) is Domain.ATTESTATION


def is_said(kept: bytes) -> bool:
    """Whether these bytes are a person's answer that nobody sealed."""
    return kept[:1] == _SAID


def read_kept(kept: bytes) -> Kept:
    """The inverse of `keep`.

    Raises:
        ContractError: MALFORMED.
    """
    if len(kept) < _HEAD or kept[:1] not in _FORMS or (len(kept) - _HEAD) % 64:
        raise ContractError(ErrorReason.MALFORMED, "a signed answer is not kept in a form that is known here")
    at = 1 + 2 * PART_SIZE
    seal = Seal(
        algorithm=_FORMS[kept[:1]].algorithm,
        key_id=kept[at : at + 32],
        size=int.from_bytes(kept[at + 32 : at + 36], "big"),
        root=kept[at + 36 : at + 68],
        signature=kept[at + 68 : at + 132],
    )
    middle = _HEAD + (len(kept) - _HEAD) // 2
    return Kept(
        Parts(kept[1 : 1 + PART_SIZE], kept[1 + PART_SIZE : at]),
        Proof(seal, int.from_bytes(kept[at + 132 : _HEAD], "big"), kept[_HEAD:middle]),
        kept[middle:],
    )


def decode_answer(kept: bytes, exact: bytes, question: Question) -> Answer:
    """The answer that was kept, to `question` whose exact bytes are `exact`.

    Raises:
        ContractError: MALFORMED, INVALID_FIELD or WRONG_TARGET.
    """
    if is_said(kept):
        return said_answer(codec.decode_answer(kept[1:], question_sha256=digest(exact), expected=question.target))
    if question.authority is None:
        return codec.decode_answer(kept, question_sha256=digest(exact), expected=question.target)
    known = read_kept(kept)
    return signed_answer(known.parts, known.proof, Asked(exact, question, question.authority))


def seal_id(seal: Seal) -> bytes:
    """By what the envelope of a seal is known in the store."""
    return digest(seal.signed + seal.signature)

"""Attestations: an approver's signature that a person at a provider without an agent said what is recorded.

The next provider's agent wants signed evidence that it was named, and a person has no key. An approver, whose key the
agents have pinned, therefore signs the same two parts that an agent would have signed, in a domain of its own: it never
passes as the provider's signature, and each agent decides whether it takes it (`agent.gate.checks`). The online key
can't attest, nor can who submitted the order. What is attested must be the recorded answer, word for word.

A draft can be signed elsewhere: `to_file` and `from_file` carry it there and back.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

from coordinator.tasks.ports import PersonsResult
from coordinator.tracing.chain import Traceback
from coordinator.tracing.signed import AttestedAnswer, decode_answer, encode_question, keep, read_kept, said_answer
from protos.codec import ContractError, digest
from protos.hops import Finding, Parts, answer_parts
from protos.orders import Order, Persons
from protos.signing import Domain, Proof, SealChecker, Signer
from protos.types import Answer, Question, RecordCoverage

_FILE: Final = 1
_MS: Final = timedelta(milliseconds=1)


class AttestationError(ValueError):
    """It can't be attested, or the attestation doesn't count; the message holds no number of a subscriber."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be attested: a person's answer to a question of these exact bytes; `kept` once it is sealed."""

    task_id: uuid.UUID
    question: bytes = field(repr=False)
    parts: Parts
    kept: bytes | None = field(default=None, repr=False)


def question_of(traceback: Traceback, result: PersonsResult) -> Question:
    """The question that the answer of a task is to, as it stands in its chain.

    Raises:
        AttestationError: the chain has moved on, stands under no order, or the provider has an agent that can sign.
    """
    if len(traceback.hops) != result.position + 1 or traceback.hops[-1].provider != result.provider:
        raise AttestationError("the chain has moved on: nobody needs this answer any more")
    question = traceback.hops[-1].question
    if question.authority is None:
        raise AttestationError("the call is traced in a trial, without an order: nothing needs to be attested")
    if result.review:
        raise AttestationError(f"{result.provider} has an agent that holds the answer: it must be released there")
    return question


def draft(result: PersonsResult, question: Question, random: Callable[[int], bytes] = os.urandom) -> Draft:
    """What an approver signs of this answer."""
    if result.answer is None:
        raise AttestationError("there is no answer to attest")
    exact = encode_question(question)
    at = result.at - timedelta(microseconds=result.at.microsecond) + result.at.microsecond // 1000 * _MS
    finding = Finding(RecordCoverage.UNSPECIFIED, random(32), at)
    parts = answer_parts(result.answer, question, digest(exact), finding, random(32))
    return Draft(result.task_id, exact, parts)


def attest(one: Draft, signer: Signer) -> Draft:
    """The draft, sealed."""
    (proof,) = signer.prove(Domain.ATTESTATION, [one.parts.leaf])
    return replace(one, kept=keep(one.parts, proof, b""))


def attester(one: Draft, result: PersonsResult, question: Question, order: Order, persons: Persons) -> str:
    """Who attested this answer.

    Raises:
        AttestationError: it is another answer, or not by an approver other than the submitter.
    """
    if one.kept is None:
        raise AttestationError("it is not signed")
    if one.task_id != result.task_id or one.question != encode_question(question) or result.answer is None:
        raise AttestationError("it belongs to another task, or the question was asked anew since: draft it again")
    try:
        answer, known = decode_answer(one.kept, one.question, question), read_kept(one.kept)
    except ContractError as error:
        raise AttestationError(f"it can't be read: {error}") from None
    if not isinstance(answer, AttestedAnswer) or _said(answer) != _said(result.answer):
        raise AttestationError("it says something else than the recorded answer")
    return signer_of(known.proof, known.parts, order, persons)


def signer_of(proof: Proof, parts: Parts, order: Order, persons: Persons) -> str:
    """The approver whose attestation this is.

    Raises:
        AttestationError: there is none.
    """
    seals, submitter = SealChecker(), persons.submitters.get(order.submitter)
    for name, key in persons.approvers.items():
        if key.key_id != proof.seal.key_id:
            continue
        if name == order.submitter or key == submitter:
            raise AttestationError(f"{name} submitted the order: another approver must attest the answer")
        if proof.covers(parts.leaf) and seals.is_good(proof.seal, Domain.ATTESTATION, key):
            return name
        raise AttestationError("the signature is wrong")
    raise AttestationError("this key is no approver's: see [orders.approvers]")


def _said(answer: Answer) -> Answer:
    return said_answer(answer)


def to_file(one: Draft) -> str:
    """The draft as JSON, to be signed elsewhere or brought back; a telephone number stands in it."""
    held: dict[str, Any] = {
        "hopback_attestation": _FILE,
        "task": str(one.task_id),
        "question": one.question.hex(),
        "naming": one.parts.naming.hex(),
        "finding": one.parts.finding.hex(),
    }
    if one.kept is not None:
        held["attested"] = one.kept.hex()
    return json.dumps(held, indent=1) + "\n"


def from_file(text: str) -> Draft:
    """The draft in a file; nothing of it is believed yet.

    Raises:
        AttestationError: it is none.
    """
    try:
        held: Mapping[str, Any] = json.loads(text)
        if held["hopback_attestation"] != _FILE:
            raise AttestationError("the file is of another version")  # noqa: TRY301
        parts = Parts(bytes.fromhex(held["naming"]), bytes.fromhex(held["finding"]))
        kept = bytes.fromhex(held["attested"]) if "attested" in held else None
        return Draft(uuid.UUID(held["task"]), bytes.fromhex(held["question"]), parts, kept)
    except AttestationError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError):
        raise AttestationError("this is no file that `tasks draft` wrote") from None

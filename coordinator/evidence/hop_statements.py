"""What a bundle shows of each hop by itself: asked under the order, and answered.

A person's answer is shown as that: attested by an approver, never signed by the provider. That the answer is in the
provider's log is `coordinator.evidence.log_statements`, how the hops follow from each other
`coordinator.evidence.chain_statements`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from coordinator.evidence.log_statements import log_statements
from coordinator.evidence.signatures import NoSealError, Signatures
from coordinator.evidence.statements import Statement, broken, proven, unproven
from hopback.v1 import bundle_pb2 as pb
from protos import hops
from protos.codec import ContractError
from protos.hops import Asked, Parts
from protos.identity import InvalidIdentityError, parse_provider_id, provider_uri
from protos.orders import Granted
from protos.printable import printable
from protos.signing import Domain, KeyFormatError
from protos.types import Answer, Handover, Outcome


@dataclass(frozen=True, slots=True)
class HopSeen:
    """One hop as it is in the bundle, read as far as it can be."""

    message: pb.HopEvidence
    asked: Asked | None = None
    answer: Answer | None = None
    finding: hops.Finding | None = None


def said(answer: Answer) -> str:
    """An answer in words, without numbers."""
    handover = {
        Handover.CONFIRMED: "; it did hand the call to the provider that named it",
        Handover.NOT_MINE: "; it did not hand the call to the provider that named it",
    }.get(answer.handover, "")
    words = {
        Outcome.UPSTREAM: f"the call came from {answer.upstream}",
        Outcome.ORIGINATED_HERE: "a customer of its own placed the call",
        Outcome.FOREIGN_UPSTREAM: f"the call came from abroad, from {answer.upstream}",
        Outcome.REFUSED: f"refused ({answer.refusal.name})",
    }.get(answer.outcome, answer.outcome.name.lower().replace("_", " "))
    return words + handover


def hops_seen(
    signatures: Signatures, evidence: pb.TracebackEvidence, granted: Granted | None, statements: list[Statement]
) -> tuple[HopSeen, ...]:
    """That each question was asked under the order and each answer given."""
    seen = []
    for message in evidence.hops:
        place = f"hop {message.position + 1} ({printable(message.provider)})"
        hop = HopSeen(message)
        if message.naming and signatures.is_attestation(message.answer_proof):
            seen.append(_attested(signatures, hop, granted, place, statements))
            continue
        if not message.question:
            statements.append(unproven(f"{place} was asked of a person", printable(message.note) or "no question"))
        else:
            hop = _question(signatures, hop, granted, place, statements)
        if hop.asked is not None and message.naming:
            hop = _answer(signatures, hop, hop.asked, place, statements)
        elif message.question:
            statements.append(unproven(f"{place} answered", printable(message.note) or "there is no signed answer"))
        seen.append(hop)
    return tuple(seen)


def _attested(
    signatures: Signatures, hop: HopSeen, granted: Granted | None, place: str, statements: list[Statement]
) -> HopSeen:
    """That an approver attests what a person at a provider without an agent said: never that the provider did."""
    message = hop.message
    parts = Parts(message.naming, message.finding)
    try:
        provider = parse_provider_id(message.provider)
        asked = hops.decode_question(message.question)
        answer, finding = hops.decode_parts(parts, asked, provider)
        proof = signatures.proof(message.answer_proof)
        persons = signatures.persons()
    except (ContractError, InvalidIdentityError, KeyFormatError, NoSealError) as error:
        statements.append(broken(f"a person at {place} answered", str(error)))
        return hop
    what = f"a person at {place} said: {said(answer)}"
    submitter = granted.order.submitter if granted else ""
    by = sorted(
        name
        for name, key in persons.items()
        if key.key_id == proof.seal.key_id and name != submitter and key != persons.get(submitter)
    )
    problem = None
    if granted is None or asked.authority.order_sha256 != granted.sha256:
        problem = "it was said under another order"
    elif not by:
        problem = "no approver whose key is known, other than who submitted the order, attests it"
    elif not proof.covers(parts.leaf) or not signatures.checker.is_good(proof.seal, Domain.ATTESTATION, persons[by[0]]):
        problem = "the attestation's signature is wrong, or covers other bytes"
    if problem is not None:
        statements.append(broken(what, problem))
    else:
        whose = signatures.whose_key(" (key as the bundle names it)")
        by_whom = f"attested by {by[0]}{whose}, never signed by {provider}"
        statements.append(replace(proven(what, by_whom), at=finding.answered.isoformat()))
    return replace(hop, asked=asked, answer=answer, finding=finding)


def _question(
    signatures: Signatures, hop: HopSeen, granted: Granted | None, place: str, statements: list[Statement]
) -> HopSeen:
    what = f"{place} was asked under the order"
    try:
        asked = hops.decode_question(hop.message.question)
        proof = signatures.proof(hop.message.question_proof)
    except (ContractError, NoSealError) as error:
        statements.append(broken(what, str(error)))
        return hop
    uri = signatures.coordinator
    problem = signatures.signing_problem(proof, asked.exact, Domain.QUESTION, uri, asked.authority.issued)
    if problem is None and (granted is None or asked.authority.order_sha256 != granted.sha256):
        problem = "the question names another order"
    if problem is None and asked.question.target != hop.message.provider:
        problem = f"the question is addressed to {asked.question.target}"
    if problem is None and granted is not None and asked.question.deadline > granted.order.expires:
        problem = "the order had expired"
    at = asked.authority.issued.isoformat()
    statements.append(
        replace(proven(what, uri + signatures.whose_roots), at=at) if problem is None else broken(what, problem)
    )
    return replace(hop, asked=asked)


def _answer(signatures: Signatures, hop: HopSeen, asked: Asked, place: str, statements: list[Statement]) -> HopSeen:
    parts = Parts(hop.message.naming, hop.message.finding)
    try:
        provider = parse_provider_id(hop.message.provider)
        answer, finding = hops.decode_parts(parts, asked, provider)
        proof = signatures.proof(hop.message.answer_proof)
    except (ContractError, InvalidIdentityError, NoSealError) as error:
        statements.append(broken(f"{place} answered", str(error)))
        return hop
    what = f"{place} answered: {said(answer)}"
    uri = provider_uri(provider)
    problem = signatures.signing_problem(proof, parts.leaf, Domain.ANSWER, uri, finding.answered)
    if problem is None:
        statements.append(replace(proven(what, uri + signatures.whose_roots), at=finding.answered.isoformat()))
    else:
        statements.append(broken(what, problem))
    statements += log_statements(signatures, hop.message, parts, asked, place)
    return replace(hop, answer=answer, finding=finding)

"""What a bundle shows of the chain: each provider asked because the one before named it, and where that led.

Sister calls that a question left out must be told apart from its call by what the neighbour signed.
"""

from __future__ import annotations

from collections.abc import Sequence

from coordinator.evidence.contests import contest_statement
from coordinator.evidence.hop_statements import HopSeen, said
from coordinator.evidence.signatures import NoSealError, Signatures
from coordinator.evidence.sisters import sisters_problem
from coordinator.evidence.statements import Statement, broken, proven, unproven
from hopback.v1 import bundle_pb2 as pb
from protos import hops
from protos.codec import digest
from protos.hops import Asked
from protos.identity import provider_uri
from protos.orders import Granted
from protos.signing import Domain
from protos.types import Handover, Outcome


def chain_statements(signatures: Signatures, seen: Sequence[HopSeen], granted: Granted | None) -> list[Statement]:
    """That each provider was asked because the one before named it, and where that led."""
    made: list[Statement] = []
    last: dict[int, HopSeen] = {}
    against: str | None = None  # what speaks against the last answer
    for hop in seen:
        if hop.message.HasField("contested"):
            statement, against = contest_statement(signatures, hop, last)
            made.append(statement)
            last = {place: one for place, one in last.items() if place <= hop.message.contested.place}
        elif hop.asked is not None:
            against = None
        if hop.asked is None:
            continue
        authority = hop.asked.authority
        place = f"hop {authority.position + 1} ({hop.asked.question.target})"
        if authority.position == 0:
            made.append(_first(hop.asked, granted, place))
        else:
            before = last.get(authority.position - 1)
            made.append(_named(signatures, before, hop.asked, granted, place))
            if authority.sisters:
                made.append(_told_apart(signatures, hop.message, hop.asked, before, place))
        # What was asked at this place before, and further on from there, is another branch, or an earlier round.
        last = {place: one for place, one in last.items() if place < authority.position} | {authority.position: hop}
    if last and max(last) == len(last) - 1:
        made.append(_ending([last[position] for position in sorted(last)], against))
    elif last:
        made.append(broken("the chain has no gaps", "a hop is missing"))
    return made


def _named(
    signatures: Signatures, before: HopSeen | None, asked: Asked, granted: Granted | None, place: str
) -> Statement:
    question = asked.question
    what = f"{place} was named by {question.named_by}"
    if before is None or before.answer is None or digest(before.message.naming) != asked.authority.naming_sha256:
        return broken(what, "the answer that names it is not in the bundle")
    if before.answer.upstream != question.target or before.answer.provider != question.named_by:
        return broken(what, "that answer names another provider")
    naming = hops.decode_naming(before.message.naming)
    if naming.called != question.called:
        return broken(what, "the question is about another number than that answer says")
    if granted is not None and abs(question.at - granted.order.at) + question.window > granted.order.window:
        return broken(what, "the question reaches beyond the time that the order allows")
    if signatures.is_attestation(before.message.answer_proof):
        return proven(what, f"the attestation that a person at {before.answer.provider} said so")
    return proven(what, provider_uri(before.answer.provider))


def _told_apart(
    signatures: Signatures, message: pb.HopEvidence, asked: Asked, before: HopSeen | None, place: str
) -> Statement:
    """That the sister calls which the question names are not the one that it asks for, by the neighbour's word."""
    named_by = asked.question.named_by or asked.question.target
    what, uri = f"{place} was asked without sister calls, which {named_by} tells apart", provider_uri(named_by)
    own = b"" if before is None else before.message.naming
    problem = sisters_problem(asked, own, [sister.naming for sister in message.sisters])
    for sister in message.sisters:
        if problem is None:
            leaf = digest(sister.naming) + sister.finding_sha256
            try:
                problem = signatures.signing_problem(signatures.proof(sister.naming_proof), leaf, Domain.ANSWER, uri)
            except NoSealError as error:
                problem = str(error)
    return proven(what, uri) if problem is None else broken(what, problem)


def _first(asked: Asked, granted: Granted | None, place: str) -> Statement:
    """That the chain begins with the call of the order."""
    what = f"{place} is the terminating provider of the order, and was asked for its call"
    question, order = asked.question, granted.order if granted else None
    if order is None or asked.authority.naming_sha256 is not None or question.named_by is not None:
        return broken(what, "there is no order, or the question says that somebody named the provider")
    if (question.target, question.called, question.at) != (order.terminating, order.called, order.at):
        return broken(what, "the order names another provider, number or time")
    if question.window > order.window:
        return broken(what, "the question reaches further than the order")
    return proven(what, f"the order, certified by {order.submitter}")


def _ending(chain: Sequence[HopSeen], against: str | None) -> Statement:
    last = chain[-1]
    if against is not None and last.answer is not None:
        return unproven(f"the chain ends at hop {len(chain)} ({last.answer.provider})", against)
    if last.answer is None:
        return unproven("the chain ends", "the last provider asked has given no signed answer")
    disputed = last.answer.handover is Handover.NOT_MINE
    place = f"hop {len(chain)} ({last.answer.provider})"
    if disputed or (last.answer.outcome is Outcome.NOT_FOUND and len(chain) > 1):
        return unproven(
            f"the chain ends at {place}",
            "it disputes what the provider before it said: nobody is shown to be the source",
        )
    if last.answer.outcome in (Outcome.ORIGINATED_HERE, Outcome.FOREIGN_UPSTREAM):
        return proven(
            f"the chain ends at {place}: {said(last.answer)}", "its own word, and the providers' that led there"
        )
    return unproven(f"the chain ends at {place}", f"it says: {said(last.answer)}")

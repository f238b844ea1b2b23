"""Contested hops in a bundle: what shows that one record was given for two calls, and that it is not any more.

A provider gave one record for two calls that its neighbour tells apart (docs/adr/0014-one-record-for-two-calls.md).
The two namings of the other call stand in the bundle where they may; they must be of one other order, about the same
parties and number, signed by the same two, and tell what they are said to. Where they may not stand there, it is known
that the hop is contested, and nothing is proven of it. Either way nobody is claimed beyond.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from coordinator.evidence.hop_statements import HopSeen
from coordinator.evidence.signatures import NoSealError, Signatures
from coordinator.evidence.statements import Statement, broken, proven, unproven
from hopback.v1 import bundle_pb2 as pb
from hopback.v1 import evidence_pb2 as evidence
from protos.codec import ContractError, digest
from protos.hops import Naming, decode_naming, tell_apart
from protos.identity import provider_uri
from protos.signing import Domain
from protos.types import NAMING_UPSTREAM, Outcome

_NOBODY = "nobody is shown to be upstream of it"


class Shows(enum.Enum):
    """What the namings of both calls show."""

    ONE_RECORD = "one record was given for two calls that {named_by} tells apart"
    TWO_RECORDS = "two records were given for two calls that {named_by} tells apart"
    NONE_FOR_THE_OTHER = "for another call, which {named_by} tells from this one, nobody is named"


class NoContestError(ValueError):
    """The namings show nothing; the message says why."""


def contest_statement(
    signatures: Signatures, hop: HopSeen, last: Mapping[int, HopSeen]
) -> tuple[Statement, str | None]:
    """That the answer at its place is contested; and what speaks against what it says now, None where nothing does.

    `last` are the hops before it that stand, by place.
    """
    contest = hop.message.contested
    before, named = last.get(contest.place), last.get(contest.place - 1)
    if before is None or named is None or before.answer is None or named.answer is None:
        what = f"what is contested at hop {contest.place + 1} was answered"
        return broken(what, "the answers that are contested are not in the bundle"), _NOBODY
    provider, neighbour = before.answer.provider, named.answer.provider
    place = f"hop {contest.place + 1} ({provider})"
    if not contest.naming:
        why = f"something that is not of this order contradicts it: {_NOBODY}"
        return unproven(f"what {place} says of its upstream is certain", why), why
    try:
        shows = shown_by(named.message.naming, before.message.naming, contest)
    except NoContestError as error:
        return broken(f"{place} is contested", str(error)), _NOBODY
    words = shows.value.format(named_by=neighbour)
    uris = provider_uri(neighbour), provider_uri(provider)
    problem = _problem(signatures, contest.naming, contest.finding_sha256, contest.naming_proof, uris[0])
    problem = problem or _problem(signatures, contest.given, contest.given_finding_sha256, contest.given_proof, uris[1])
    if problem is not None:
        return broken(f"{place}: {words}", problem), _NOBODY
    return proven(f"{place}: {words}", " and ".join(uris)), f"{words}: {_NOBODY}" if _still(hop, named) else None


def _problem(
    signatures: Signatures, naming: bytes, finding_sha256: bytes, proof: evidence.Proof, uri: str
) -> str | None:
    try:
        return signatures.signing_problem(signatures.proof(proof), digest(naming) + finding_sha256, Domain.ANSWER, uri)
    except NoSealError as error:
        return str(error)


def _still(hop: HopSeen, named: HopSeen) -> bool:
    """Whether it asserts something, now or because it was not asked, that is not shown to be of another record."""
    if hop.answer is not None and hop.answer.outcome not in (*NAMING_UPSTREAM, Outcome.ORIGINATED_HERE):
        return False
    try:
        return shown_by(named.message.naming, hop.message.naming, hop.message.contested) is Shows.ONE_RECORD
    except NoContestError:
        return True


def shown_by(own_named: bytes, own_given: bytes, contest: pb.ContestEvidence) -> Shows:
    """What both namings of this call, and those of the other one, show.

    Raises:
        NoContestError: nothing.
    """
    try:
        named, given = decode_naming(own_named), decode_naming(own_given)
        other_named, other_given = decode_naming(contest.naming), decode_naming(contest.given)
    except ContractError as error:
        raise NoContestError(str(error)) from None
    if _parties(named) != _parties(other_named) or given.provider != other_given.provider:
        raise NoContestError("the other call is another provider's, or to another number")
    if named.upstream != given.provider:
        raise NoContestError("the neighbour's naming is of another provider")
    if other_named.order_sha256 != other_given.order_sha256 or named.order_sha256 == other_named.order_sha256:
        raise NoContestError("the namings are not of this call and of one other")
    if not tell_apart(named.call_tag, other_named.call_tag):
        raise NoContestError("what was signed does not tell these calls apart")
    if not other_given.call_tag:
        return Shows.NONE_FOR_THE_OTHER
    match tell_apart(given.call_tag, other_given.call_tag):
        case False if given.call_tag == other_given.call_tag:
            return Shows.ONE_RECORD
        case True:
            return Shows.TWO_RECORDS
        case _:
            raise NoContestError("what was signed does not say whether it is one record or two")


def _parties(naming: Naming) -> tuple[object, ...]:
    return naming.provider, naming.upstream, naming.called

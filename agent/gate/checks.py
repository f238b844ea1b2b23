"""What must hold before a question's records are read, check by check, and the reason where one does not.

Pure. The checks stand in `CHECKS` in their order: what is cheap and proves most goes first, what counts something goes
last (`agent.gate.gate` does replay and budgets after these). docs/protocol.md shows the same table; a test holds the
two in step. A question falls at the first check that it fails, so that a refusal says one thing and always the same.

An order is judged once per envelope, however many questions name it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations
from typing import Final, NamedTuple

from agent.answered import AnsweredBefore
from agent.gate.envelope import Envelope, IsRevoked
from agent.gate.limits import Limits
from protos.certificates import Certified
from protos.hops import QUESTION_LIFE, Asked, Named, tell_apart
from protos.identity import ProviderId, provider_uri
from protos.orders import Granted, Persons, grant_problem
from protos.signing import Domain
from protos.types import Handover, Outcome, RecordCoverage, RefusalReason, Sister

CLOCKS_DIFFER: Final = timedelta(seconds=5)
"""How far the asking side's clock may be ahead of ours."""


class AttestedNamings(enum.Enum):
    """What becomes of a naming that a person at a provider without an agent said, and an approver attested."""

    REVIEW = "review"
    ACCEPT = "accept"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Rules:
    """What one provider judges by.

    Attributes:
        me: who judges.
        persons: whose orders and approvals count.
        neighbours: the providers that a trunk leads to or comes from.
        limits: what this provider allows at most.
        is_revoked: whether a certificate counts no longer.
        attested: what becomes of namings that were attested; what is to be reviewed passes the gate, and is held.
        answered: what this provider has answered before, by its audit log.
    """

    me: ProviderId
    persons: Persons
    neighbours: frozenset[ProviderId]
    limits: Limits
    is_revoked: IsRevoked = lambda certified: False  # noqa: ARG005 (nothing is, where no list says so)
    attested: AttestedNamings = AttestedNamings.REVIEW
    answered: AnsweredBefore = lambda question_id: None  # noqa: ARG005 (nothing was, where no log is kept)


class Case(NamedTuple):
    """One question before the gate, with what it names; `now` is aware UTC."""

    asked: Asked
    granted: Granted
    named: Named | None
    envelope: Envelope
    rules: Rules
    now: datetime


class Stated(NamedTuple):
    """What must hold, and with which reasons a question falls that fails it; checked in `agent.gate.gate`."""

    holds: str
    reasons: tuple[RefusalReason, ...]


class Check(NamedTuple):
    """What must hold, with which reasons a question falls that fails it, and how it is told."""

    holds: str
    reasons: tuple[RefusalReason, ...]
    problem: Callable[[Case], RefusalReason | None]


def _for_this_coordinator(case: Case) -> RefusalReason | None:
    return None if case.granted.order.coordinator == case.envelope.coordinator else RefusalReason.ORDER_INVALID


def _granted(case: Case) -> RefusalReason | None:
    return grant_problem(case.granted, case.rules.persons, case.envelope, case.envelope.covers)


def _order_valid(case: Case) -> RefusalReason | None:
    order, now = case.granted.order, case.now
    return None if order.issued <= now + CLOCKS_DIFFER and now < order.expires else RefusalReason.ORDER_EXPIRED


def _question_valid(case: Case) -> RefusalReason | None:
    issued, expires, now = case.asked.authority.issued, case.asked.question.deadline, case.now
    valid = (
        issued <= now + CLOCKS_DIFFER
        and now < expires <= case.granted.order.expires
        and issued < expires <= issued + QUESTION_LIFE
    )
    return None if valid else RefusalReason.LIFETIME


def _named(case: Case) -> RefusalReason | None:
    """The time need not be the naming's: clocks differ, and `_inside_the_order` bounds what is asked for."""
    question, authority, named = case.asked.question, case.asked.authority, case.named
    if authority.naming_sha256 is None:
        terminating = case.granted.order.terminating == case.rules.me
        return None if terminating and question.named_by is None and not authority.position else _NOT_NAMED
    if named is None:
        return _NOT_NAMED
    naming = named.naming
    fits = (
        naming.order_sha256 == authority.order_sha256
        and naming.upstream == case.rules.me
        and naming.provider == question.named_by
        and naming.called == question.called
        and authority.position > 0
    )
    return None if fits else _NOT_NAMED


def _naming_signed(case: Case) -> RefusalReason | None:
    named = case.named
    if named is None:
        return None
    proof = named.proof
    if proof.seal.algorithm == Domain.ATTESTATION.algorithm:
        return _attested(case, named)
    return None if _signed(named, case) else RefusalReason.NAMING_SIGNATURE


def _signed(named: Named, case: Case) -> bool:
    """Whether the provider that a naming says has signed it."""
    proof = named.proof
    signer = _certified_as(named.naming.provider, proof.seal.key_id, case)
    return (
        signer is not None
        and case.envelope.covers(proof, named.leaf)
        and case.envelope.is_good(proof.seal, Domain.ANSWER, signer.key)
    )


def _attested(case: Case, named: Named) -> RefusalReason | None:
    """A person's word in place of a provider's signature: by an approver whom this provider pinned, never alone by who
    submitted the order, and never of a provider that has a key of its own."""
    rules, order, proof, envelope = case.rules, case.granted.order, named.proof, case.envelope
    if rules.attested is AttestedNamings.REFUSE:
        return RefusalReason.POLICY
    uri, submitter = provider_uri(named.naming.provider), rules.persons.submitters.get(order.submitter)
    by = [(name, key) for name, key in rules.persons.approvers.items() if key.key_id == proof.seal.key_id]
    good = (
        any(name != order.submitter and key != submitter for name, key in by)
        and not any(one.uri == uri for certified in envelope.certificates.values() for one in certified)
        and envelope.covers(proof, named.leaf)
        and envelope.is_good(proof.seal, Domain.ATTESTATION, by[0][1])
    )
    if not good:
        return RefusalReason.NAMING_SIGNATURE
    return None


def _certified_as(provider: ProviderId, key_id: bytes, case: Case) -> Certified | None:
    """Whose key it is, if that provider's: certified at some time since the order, for the answer is younger."""
    uri, since = provider_uri(provider), case.granted.order.issued
    for one in case.envelope.certificates.get(key_id, ()):
        timely = one.valid_from <= case.now + CLOCKS_DIFFER and since < one.valid_to
        if one.uri == uri and timely and not case.rules.is_revoked(one):
            return one
    return None


def _by_a_neighbour(case: Case) -> RefusalReason | None:
    named_by = case.asked.question.named_by
    return None if named_by is None or named_by in case.rules.neighbours else RefusalReason.UNKNOWN_PROVIDER


def _inside_the_order(case: Case) -> RefusalReason | None:
    question, order = case.asked.question, case.granted.order
    inside = (
        (case.named is not None or question.called == order.called)
        and abs(question.at - order.at) + question.window <= order.window
        and (question.calling is None or question.calling == order.calling)
        and case.asked.authority.position < order.hop_limit
    )
    return None if inside else RefusalReason.OUTSIDE_ORDER


def _inside_my_limits(case: Case) -> RefusalReason | None:
    question, limits = case.asked.question, case.rules.limits
    if question.window > limits.window:
        return RefusalReason.WINDOW_TOO_WIDE
    return None if case.asked.authority.position < limits.hop_limit else RefusalReason.POLICY


def _past(case: Case) -> RefusalReason | None:
    return None if case.asked.question.at <= case.now + CLOCKS_DIFFER else RefusalReason.TIME_IN_FUTURE


def _not_denied(case: Case) -> RefusalReason | None:
    denied = case.rules.limits.denied
    mentioned = case.asked.question.called in denied or case.granted.order.called in denied
    return RefusalReason.DENIED if mentioned else None


_ONE_CALL: Final = frozenset({Outcome.UPSTREAM, Outcome.FOREIGN_UPSTREAM, Outcome.ORIGINATED_HERE})
"""Outcomes that say of one call where it came from."""


def _sisters(case: Case) -> RefusalReason | None:
    """docs/adr/0012-elimination.md says why each of these is needed."""
    sisters, own = case.asked.authority.sisters, case.named
    if not sisters:
        return None
    if own is None:
        return RefusalReason.SISTERS
    tags = [own.naming.call_tag]
    for sister in sisters:
        named = case.envelope.requests.namings.get(sister.naming_sha256)
        if named is None or not _is_sister(sister, named, own, case):
            return RefusalReason.SISTERS
        tags.append(named.naming.call_tag)
    return None if all(tell_apart(one, other) for one, other in combinations(tags, 2)) else RefusalReason.SISTERS


def _is_sister(sister: Sister, named: Named, own: Named, case: Case) -> bool:
    """Whether the same neighbour named this provider for it, and this provider said here without doubt whose it was."""
    naming, asker = named.naming, case.envelope.asker
    same = (naming.provider, naming.upstream, naming.called) == (own.naming.provider, case.rules.me, own.naming.called)
    answered = case.rules.answered(sister.question_id) if same and _signed(named, case) else None
    return (
        answered is not None
        and answered.asker == asker
        and answered.asked.authority.naming_sha256 == sister.naming_sha256
        and answered.answer.outcome in _ONE_CALL
        and answered.answer.handover is Handover.CONFIRMED
        and answered.finding.coverage is RecordCoverage.COMPLETE
    )


_NOT_NAMED: Final = RefusalReason.NOT_NAMED

ORDER_CHECKS: Final = (
    Check("the order is for the coordinator that asks", (RefusalReason.ORDER_INVALID,), _for_this_coordinator),
    Check(
        "a submitter whom this provider pinned signed it, and enough of its approvers, other persons, did too",
        (RefusalReason.ORDER_SIGNATURE, RefusalReason.ORDER_NOT_APPROVED),
        _granted,
    ),
    Check("the order is valid now", (RefusalReason.ORDER_EXPIRED,), _order_valid),
)
"""What is asked of an order, whatever question names it."""

QUESTION_CHECKS: Final = (
    Check(
        "the question is valid now, lives ten minutes at most and ends no later than the order",
        (RefusalReason.LIFETIME,),
        _question_valid,
    ),
    Check(
        "the order names this provider as the terminating one and the question is the first; or a naming under this "
        "order says that the call came from here, and number and the provider that says so are the question's",
        (RefusalReason.NOT_NAMED,),
        _named,
    ),
    Check(
        "that provider signed the naming, with a key that a pinned root certified as its own; or, where it has none "
        "and this provider takes that, an approver whom it pinned, not the order's submitter, attests that a person "
        "there said so",
        (RefusalReason.NAMING_SIGNATURE, RefusalReason.POLICY),
        _naming_signed,
    ),
    Check("that provider is a neighbour: a trunk leads there", (RefusalReason.UNKNOWN_PROVIDER,), _by_a_neighbour),
    Check(
        "number, interval, calling number and position lie inside the order",
        (RefusalReason.OUTSIDE_ORDER,),
        _inside_the_order,
    ),
    Check(
        "window and position lie inside this provider's own limits",
        (RefusalReason.WINDOW_TOO_WIDE, RefusalReason.POLICY),
        _inside_my_limits,
    ),
    Check("the time is past", (RefusalReason.TIME_IN_FUTURE,), _past),
    Check("neither its number nor the order's is on the deny list", (RefusalReason.DENIED,), _not_denied),
    Check(
        "sister calls, where it names any: that provider signed their namings, too, for this provider and number, and "
        "its tags tell all these calls apart; and this provider has answered each of them to the coordinator that "
        "asks, under that naming, from complete records, with its handover confirmed",
        (RefusalReason.SISTERS,),
        _sisters,
    ),
)
"""What is asked of a question under an order that holds."""

PRESENT: Final = Stated("the order that the question names by digest came with it", (RefusalReason.ORDER_MISSING,))
RETAINED: Final = Stated("the time lies within retention: answered RECORDS_EXPIRED", ())
FRESH: Final = Stated(
    "no other question bore this id; the same question again gets the stored answer, and nothing is searched",
    (RefusalReason.REPLAY,),
)
AFFORDABLE: Final = Stated(
    "the budgets of the day, of the campaign and of the number allow it", (RefusalReason.BUDGET,)
)

CHECKS: Final[tuple[Stated | Check, ...]] = (PRESENT, *ORDER_CHECKS, *QUESTION_CHECKS, RETAINED, FRESH, AFFORDABLE)
"""All checks of one question in their order; the first and the last three are made in `agent.gate.gate`."""


def order_problem(case: Case) -> RefusalReason | None:
    """Why the order of this case permits nothing now, None when it may."""
    for _, _, problem in ORDER_CHECKS:
        reason = problem(case)
        if reason is not None:
            return reason
    return None


def question_problem(case: Case) -> RefusalReason | None:
    """Why this question is not answered under its order, None when it may be."""
    for _, _, problem in QUESTION_CHECKS:
        reason = problem(case)
        if reason is not None:
            return reason
    return None

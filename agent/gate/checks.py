"""What must hold before a question's records are read, check by check, and the reason where one does not.

Pure. The checks stand in `CHECKS` in their order: what is cheap and proves most goes first, what counts something goes
last (`agent.gate.gate` does replay and budgets after these). docs/protocol.md shows the same table; a test holds the
two in step. A question falls at the first check that it fails, so that a refusal says one thing and always the same.

Whose signatures count is judged once for all questions of one instant (`Signatures`), and for no longer than that.
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
from protos.hops import QUESTION_LIFE, Named, tell_apart
from protos.identity import ProviderId, provider_uri
from protos.orders import Granted, Order, Persons, signatures_problem
from protos.signing import Domain
from protos.types import Authority, Handover, Outcome, Question, RecordCoverage, RefusalReason, Sister

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


class Signatures:
    """Whose signatures count, of those that came with one envelope, at one instant.

    Many orders are under the same seals, and so are many namings: whether these count, whoever they name, is judged
    once. That a leaf is under its seal is looked at for each.
    """

    __slots__ = ("_granting", "_naming", "_now", "_rules", "envelope")

    def __init__(self, envelope: Envelope, rules: Rules, now: datetime) -> None:
        self.envelope = envelope
        self._rules = rules
        self._now = now
        # the envelope keeps all seals that these know by their ids
        self._granting: dict[tuple[object, ...], RefusalReason | None] = {}
        self._naming: dict[tuple[int, ProviderId, datetime], bool] = {}

    def grant_problem(self, granted: Granted) -> RefusalReason | None:
        """As `protos.orders.grant_problem`."""
        submission, approvals, submitter = granted.submission, granted.approvals, granted.order.submitter
        if not self.envelope.covers(submission, granted.exact):
            return RefusalReason.ORDER_SIGNATURE
        known = (submitter, id(submission.seal), *map(id, approvals))
        if known not in self._granting:
            self._granting[known] = signatures_problem(
                submitter, submission.seal, approvals, self._rules.persons, self.envelope
            )
        return self._granting[known]

    def named(self, named: Named, sha256: bytes, order: Order) -> bool:
        """Whether the provider that a naming says has signed it: with a key certified as its own since the order.

        `sha256` is the naming's digest, by which it was found.
        """
        proof, provider = named.proof, named.naming.provider
        known = id(proof.seal), provider, order.issued
        good = self._naming.get(known)
        if good is None:
            signer = self._certified_as(provider, proof.seal.key_id, order.issued)
            good = signer is not None and self.envelope.is_good(proof.seal, Domain.ANSWER, signer.key)
            self._naming[known] = good
        return good and self.envelope.covers(proof, sha256 + named.finding_sha256)

    def _certified_as(self, provider: ProviderId, key_id: bytes, since: datetime) -> Certified | None:
        """Whose key it is, if that provider's: certified at some time since the order, for the answer is younger."""
        uri = provider_uri(provider)
        for one in self.envelope.certificates.get(key_id, ()):
            timely = one.valid_from <= self._now + CLOCKS_DIFFER and since < one.valid_to
            if one.uri == uri and timely and not self._rules.is_revoked(one):
                return one
        return None


class Case(NamedTuple):
    """One question before the gate, with what it names.

    `now` is aware UTC, `latest` what another party's right clock says then at most; `order` is the granted one.
    """

    question: Question
    authority: Authority
    granted: Granted
    order: Order
    named: Named | None
    envelope: Envelope
    signatures: Signatures
    rules: Rules
    now: datetime
    latest: datetime


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
    return None if case.order.coordinator == case.envelope.coordinator else RefusalReason.ORDER_INVALID


def _granted(case: Case) -> RefusalReason | None:
    return case.signatures.grant_problem(case.granted)


def _order_valid(case: Case) -> RefusalReason | None:
    order = case.order
    return None if order.issued <= case.latest and case.now < order.expires else RefusalReason.ORDER_EXPIRED


def _question_valid(case: Case) -> RefusalReason | None:
    issued, expires = case.authority.issued, case.question.deadline
    valid = (
        issued <= case.latest
        and case.now < expires <= case.order.expires
        and issued < expires <= issued + QUESTION_LIFE
    )
    return None if valid else RefusalReason.LIFETIME


def _named(case: Case) -> RefusalReason | None:
    """The time need not be the naming's: clocks differ, and `_inside_the_order` bounds what is asked for."""
    question, authority, named = case.question, case.authority, case.named
    if authority.naming_sha256 is None:
        terminating = case.order.terminating == case.rules.me
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
    named, sha256 = case.named, case.authority.naming_sha256
    if named is None or sha256 is None:
        return None
    if named.proof.seal.algorithm == _ATTESTATION:
        return _attested(case, named)
    return None if case.signatures.named(named, sha256, case.order) else RefusalReason.NAMING_SIGNATURE


def _attested(case: Case, named: Named) -> RefusalReason | None:
    """A person's word in place of a provider's signature: by an approver whom this provider pinned, never alone by who
    submitted the order, and never of a provider that has a key of its own."""
    rules, order, proof, envelope = case.rules, case.order, named.proof, case.envelope
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


def _by_a_neighbour(case: Case) -> RefusalReason | None:
    named_by = case.question.named_by
    return None if named_by is None or named_by in case.rules.neighbours else RefusalReason.UNKNOWN_PROVIDER


def _inside_the_order(case: Case) -> RefusalReason | None:
    question, order = case.question, case.order
    inside = (
        (case.named is not None or question.called == order.called)
        and abs(question.at - order.at) + question.window <= order.window
        and (question.calling is None or question.calling == order.calling)
        and case.authority.position < order.hop_limit
    )
    return None if inside else RefusalReason.OUTSIDE_ORDER


def _inside_my_limits(case: Case) -> RefusalReason | None:
    limits = case.rules.limits
    if case.question.window > limits.window:
        return RefusalReason.WINDOW_TOO_WIDE
    return None if case.authority.position < limits.hop_limit else RefusalReason.POLICY


def _past(case: Case) -> RefusalReason | None:
    return None if case.question.at <= case.latest else RefusalReason.TIME_IN_FUTURE


def _not_denied(case: Case) -> RefusalReason | None:
    denied = case.rules.limits.denied
    mentioned = case.question.called in denied or case.order.called in denied
    return RefusalReason.DENIED if mentioned else None


_ONE_CALL: Final = frozenset({Outcome.UPSTREAM, Outcome.FOREIGN_UPSTREAM, Outcome.ORIGINATED_HERE})
"""Outcomes that say of one call where it came from."""


def _sisters(case: Case) -> RefusalReason | None:
    """docs/adr/0012-elimination.md says why each of these is needed."""
    sisters, own = case.authority.sisters, case.named
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
    signed = case.signatures.named
    sha256 = sister.naming_sha256
    answered = case.rules.answered(sister.question_id) if same and signed(named, sha256, case.order) else None
    return (
        answered is not None
        and answered.asker == asker
        and answered.asked.authority.naming_sha256 == sister.naming_sha256
        and answered.answer.outcome in _ONE_CALL
        and answered.answer.handover is Handover.CONFIRMED
        and answered.finding.coverage is RecordCoverage.COMPLETE
    )


_NOT_NAMED: Final = RefusalReason.NOT_NAMED
_ATTESTATION: Final = Domain.ATTESTATION.algorithm

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

_PROBLEMS: Final = tuple(check.problem for check in (*ORDER_CHECKS, *QUESTION_CHECKS))


def problem(case: Case) -> RefusalReason | None:
    """Why this question is not answered under its order, None when it may be."""
    for found in _PROBLEMS:
        reason = found(case)
        if reason is not None:
            return reason
    return None

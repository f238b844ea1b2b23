"""What a call's Identity header says, held against the chain that was found: findings for an analyst. Pure.

A header is a claim, and often of somebody who was not in the path: a cross-check and a hint. So nothing here is an
answer. No chain, no outcome and no question follows from a finding; where a chain ended without an origin, the signer
is a lead, whom a person may ask, never a hop.

What attestation means (ATIS-1000074 5.2.3): A, the signer knows the customer and the customer's right to the number;
B, it knows the customer; C, it took the call over from elsewhere. So a provider that says itself that it got the call
from another one has no business to attest A. That is held against it only where a pinned root vouches for its
certificate, as anybody could have signed in its name otherwise, where the header fits the call, as it may have been
copied from another one, where the one that it names doesn't deny the handover, as it may have erred, and where its
certificate wasn't revoked when the call was made, nor since because its key had been stolen.

No finding holds a telephone number, so that what was found can stay when the numbers go.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from coordinator.registry.aliases import Alias, AliasKind
from coordinator.stir.certificates import Grade, Judged
from coordinator.stir.passport import FRESH, Identity, Passport, same_number
from coordinator.stir.revocation import Revocation, State
from coordinator.tracing.chain import Hop, Status, Traceback, denies, standing
from coordinator.tracing.signed import AttestedAnswer, SaidAnswer
from protos.identity import ProviderId
from protos.types import Outcome

_FINISHED: Final = frozenset({Status.ORIGIN_FOUND, Status.GATEWAY_FOUND})
_CAME_FROM: Final = frozenset({Outcome.UPSTREAM, Outcome.FOREIGN_UPSTREAM})
_HEARSAY: Final = {"signed": Grade.NOT_VERIFIED.value}
"""The facts of a forwarding that nobody known has signed."""
_SECOND: Final = timedelta(seconds=1)


class Kind(enum.Enum):
    """What was found. Values are stable: they are stored, and shown in JSON."""

    SIGNER_IS_ORIGIN = "signer_is_origin"
    SIGNER_IS_GATEWAY = "signer_is_gateway"
    SIGNER_IN_PATH = "signer_in_path"
    SIGNER_NOT_IN_PATH = "signer_not_in_path"
    SIGNER_UNKNOWN = "signer_unknown"
    SIGNER_REVOKED = "signer_revoked"
    SIGNER_REVOKED_SINCE = "signer_revoked_since"
    IMPROPER_ATTESTATION = "improper_attestation"
    DOUBTFUL_ATTESTATION = "doubtful_attestation"
    CALLING_DIFFERS = "calling_differs"
    CALLED_DIFFERS = "called_differs"
    CALLED_TRANSLATED = "called_translated"
    CALLED_FORWARDED = "called_forwarded"
    NOT_FRESH = "not_fresh"
    ORIGID_AGREES = "origid_agrees"
    ORIGID_CONTRADICTS = "origid_contradicts"
    LEAD = "lead"


CONTRADICTIONS: Final = frozenset(
    {
        Kind.SIGNER_NOT_IN_PATH,
        Kind.SIGNER_REVOKED,
        Kind.IMPROPER_ATTESTATION,
        Kind.CALLING_DIFFERS,
        Kind.CALLED_DIFFERS,
        Kind.NOT_FRESH,
        Kind.ORIGID_CONTRADICTS,
    }
)
"""Findings that speak against the header, or against the chain; which of the two, a person says."""
_REVOKED: Final = {State.REVOKED_BEFORE: Kind.SIGNER_REVOKED, State.REVOKED_SINCE: Kind.SIGNER_REVOKED_SINCE}
_OF_ANOTHER_CALL: Final = frozenset({Kind.CALLING_DIFFERS, Kind.CALLED_DIFFERS, Kind.NOT_FRESH})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found: for people in words, for programs as facts. No telephone number is in either."""

    kind: Kind
    words: str
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sister:
    """Another call of the campaign, with the same signer and origid; whom its chain found, if it is finished."""

    traceback_id: uuid.UUID
    found: ProviderId | None


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """What one header says of one chain.

    Attributes:
        signer: the provider that the registry gives the certificate's codes to, at the time of signing.
        agrees: whether the signer is where the chain ended; None where it hasn't ended, or nobody knows the signer.
        revocation: whether the certificate was revoked; None where no pinned root vouches for it.
    """

    attestation: str
    grade: Grade
    why: str
    codes: tuple[str, ...]
    signer: ProviderId | None
    origid: str
    issued: datetime
    agrees: bool | None
    findings: tuple[Finding, ...]
    revocation: Revocation | None = None

    def of(self, *kinds: Kind) -> tuple[Finding, ...]:
        """The findings of these kinds."""
        return tuple(one for one in self.findings if one.kind in kinds)


def provider_of(codes: Iterable[str], aliases: Iterable[Alias], at: datetime) -> ProviderId | None:
    """Whose these service provider codes are at that time, by SPC or OCN; None if nobody's, or if of several.

    The registry dates a code by when it was entered, which is after the call as a rule: a code that nobody held at that
    time counts as that of its later holder, if it has had no other.
    """
    wanted = set(codes)
    ever = [one for one in aliases if one.kind in (AliasKind.SPC, AliasKind.OCN) and one.value in wanted]
    holders = {one.provider for one in ever if one.holds_at(at)}
    if not holders and all(one.valid_from is not None and one.valid_from > at for one in ever):
        holders = {one.provider for one in ever}
    return holders.pop() if len(holders) == 1 else None


def crosscheck(
    identity: Identity,
    judged: Judged,
    signer: ProviderId | None,
    traceback: Traceback,
    sisters: Iterable[Sister] = (),
    forwarders: Collection[Passport] = (),
) -> CrossCheck:
    """What this header says of this chain; `signer` as by `provider_of`.

    `forwarders` are those of its div PASSporTs that somebody has signed for whom a pinned root vouches.
    """
    shaken = identity.shaken
    chain = [traceback.hops[position] for position in standing(traceback.hops)]
    codes = judged.signer.codes if judged.signer else ()
    compared = [*_numbers(identity, traceback, chain, forwarders), *_time(shaken, signer, traceback, chain)]
    found: list[Finding] = []
    if signer is not None:
        fits = bool(shaken.dest) and not any(one.kind in _OF_ANOTHER_CALL for one in compared)
        doubt = "" if fits else "the header doesn't fit this call"
        if any(one.facts == _HEARSAY for one in compared):
            doubt = doubt or "that the call was forwarded is said by nobody for whom a pinned root vouches"
        if judged.grade is not Grade.VERIFIED:
            doubt = "no pinned root shows that the signature is its own"
        if judged.revocation is not None and (
            judged.revocation.stolen or judged.revocation.state is State.REVOKED_BEFORE
        ):
            doubt = judged.revocation.words
        found += _place(shaken, signer, traceback, chain, doubt)
    elif judged.signer is not None:
        said = f"the registry gives {' and '.join(codes)} to no one provider"
        if not codes:
            said = "its certificate is for telephone numbers alone, a delegate's (RFC 9060), and names no provider"
        found.append(Finding(Kind.SIGNER_UNKNOWN, f"The signer is not known: {said}.", {"codes": " ".join(codes)}))
    found += _revoked(judged)
    found += [*compared, *_origid(traceback, sisters), *_lead(judged.grade, signer, traceback, chain)]
    agrees = signer == chain[-1].provider if signer and chain and traceback.status in _FINISHED else None
    return CrossCheck(
        attestation=shaken.attestation,
        grade=judged.grade,
        why=judged.why,
        codes=codes,
        signer=signer,
        origid=shaken.origid,
        issued=shaken.issued,
        agrees=agrees,
        findings=tuple(found),
        revocation=judged.revocation,
    )


def _revoked(judged: Judged) -> list[Finding]:
    """What it means that the certificate was revoked; nothing where it wasn't, or nobody knows."""
    known = judged.revocation
    if known is None or known.state not in _REVOKED:
        return []
    means = "nobody vouches for this signature"
    if known.state is State.REVOKED_SINCE:
        means = "it may be a thief's" if known.stolen else "it counted when the call was made"
    said = f"{known.words[0].upper()}{known.words[1:]}: {means}."
    return [Finding(_REVOKED[known.state], said, {"stolen": "yes" if known.stolen else "no"})]


def _place(
    shaken: Passport, signer: ProviderId, traceback: Traceback, chain: Sequence[Hop], doubt: str
) -> list[Finding]:
    """Where the signer is in the path; `doubt` says why the header may not be its own, or of another call."""
    finished = traceback.status in _FINISHED
    places = [place for place, hop in enumerate(chain) if hop.provider == signer]
    if not places:
        words = f"{signer} signed, and is not in the path, which was followed to its end."
        return [Finding(Kind.SIGNER_NOT_IN_PATH, words, {"signer": signer})] if finished else []
    place = places[-1]
    hop, answer = chain[place], chain[place].answer
    facts = {"signer": signer, "position": str(place + 1), "question": str(hop.question.question_id)}
    where = f"{signer} signed, and is in the path at position {place + 1}"
    if place == len(chain) - 1 and traceback.status is Status.ORIGIN_FOUND:
        return [Finding(Kind.SIGNER_IS_ORIGIN, f"{signer} signed, and is the originator that was found.", facts)]
    if answer is None or answer.outcome not in _CAME_FROM or answer.upstream in (None, signer):
        return [Finding(Kind.SIGNER_IN_PATH, f"{where}; it doesn't say from whom it had the call.", facts)]
    upstream = answer.upstream
    facts["upstream"] = str(upstream)
    abroad = answer.outcome is Outcome.FOREIGN_UPSTREAM
    kind = Kind.SIGNER_IS_GATEWAY if abroad else Kind.SIGNER_IN_PATH
    words = f"{where}: the call came to it from {'abroad, from ' if abroad else ''}{upstream}"
    if shaken.attestation != "A":
        return [Finding(kind, f"{words}. Attestation {shaken.attestation} is plausible there.", facts)]
    made = Finding(kind, f"{words}.", facts)
    if place + 1 < len(chain) and denies(chain[place + 1].question, chain[place + 1].answer):
        doubt = doubt or f"{upstream} denies that, so that {signer} may have named it by mistake"
    if isinstance(answer, AttestedAnswer | SaidAnswer):
        doubt = doubt or f"that is a person's word, which {signer} has not signed"
    means = f"it says that the caller is {signer}'s own customer, and {signer} says that the call came from {upstream}"
    if not doubt:
        return [made, Finding(Kind.IMPROPER_ATTESTATION, f"Attestation A is improper: {means}.", facts)]
    return [made, Finding(Kind.DOUBTFUL_ATTESTATION, f"Attestation A would be improper: {means}; but {doubt}.", facts)]


def _numbers(
    identity: Identity, traceback: Traceback, chain: Sequence[Hop], forwarders: Collection[Passport]
) -> list[Finding]:
    shaken, call, found = identity.shaken, traceback.call, []
    if shaken.orig and call.calling is not None and not same_number(shaken.orig, call.calling):
        words = "The calling number that was signed is another than the one displayed."
        found.append(Finding(Kind.CALLING_DIFFERS, words))
    if not shaken.dest or any(same_number(one, call.called) for one in shaken.dest):
        return found
    translated = next((hop.provider for hop in chain if _asked_upstream(hop, shaken.dest)), None)
    if translated is not None:
        words = f"The called number that was signed is the one from before {translated} translated it."
        return [*found, Finding(Kind.CALLED_TRANSLATED, words, {"provider": translated})]
    words = "The called number that was signed was forwarded: div PASSporTs lead from it to one of the chain"
    if _forwarded(shaken, [one for one in identity.div if one in forwarders], traceback, chain):
        return [*found, Finding(Kind.CALLED_FORWARDED, f"{words}.", {"signed": Grade.VERIFIED.value})]
    if _forwarded(shaken, identity.div, traceback, chain):
        words += "; no pinned root vouches for who signed them."
        return [*found, Finding(Kind.CALLED_FORWARDED, words, _HEARSAY)]
    words = "The called number that was signed is none of those that the chain knows for this call."
    return [*found, Finding(Kind.CALLED_DIFFERS, words)]


def _asked_upstream(hop: Hop, dest: Sequence[str]) -> bool:
    """Whether this provider says that upstream the call was for one of these numbers."""
    number = hop.answer.ask_called if hop.answer is not None else None
    return number is not None and any(same_number(one, number) for one in dest)


def _forwarded(shaken: Passport, div: Sequence[Passport], traceback: Traceback, chain: Sequence[Hop]) -> bool:
    """Whether div PASSporTs of the same caller lead from a number that SHAKEN's names to one of the chain (RFC 8946).

    Each is followed once, so that circles end.
    """
    known = {traceback.call.called, *(hop.question.called for hop in chain)}
    reached, left = set(shaken.dest), [one for one in div if one.orig == shaken.orig]
    while step := next((one for one in left if one.diverted in reached), None):
        left.remove(step)
        reached.update(step.dest)
    return any(same_number(one, number) for one in reached for number in known)


def _time(shaken: Passport, signer: ProviderId | None, traceback: Traceback, chain: Sequence[Hop]) -> list[Finding]:
    """Whether it was signed when the call was made: by the signer's clock where it was asked, else by anybody's."""
    own = [hop.question.at for hop in chain if hop.provider == signer]
    times = own or [traceback.call.at, *(hop.question.at for hop in chain)]
    early, late = min(times) - shaken.issued, shaken.issued - max(times)
    if max(early, late) <= FRESH:
        return []
    seconds = max(early, late) // _SECOND
    when = "before" if early > late else "after"
    by = f" by the time that {signer} was asked for" if own else ""
    words = f"It was signed {seconds:,} s {when} the call{by}: the header is stale, replayed or of another call."
    return [Finding(Kind.NOT_FRESH, words, {"seconds": str(-seconds if when == "before" else seconds)})]


def _origid(traceback: Traceback, sisters: Iterable[Sister]) -> list[Finding]:
    """What sister calls of the same origid, which are of one customer of the signer's, have found."""
    own = traceback.hops[-1].provider if traceback.status in _FINISHED and traceback.hops else None
    others = [one for one in sisters if one.traceback_id != traceback.id and one.found is not None]
    if not others:
        return []
    ends = sorted({one.found for one in others if one.found is not None} | ({own} if own else set()))
    facts = {"calls": str(len(others)), "ends": " ".join(ends)}
    what = f"{len(others)} finished sister call{'s' * (len(others) > 1)} with the same origid and signer"
    if len(ends) == 1:
        words = f"The origid recurs: {what}, found at {ends[0]}{' as this one was' if own else ''}."
        return [Finding(Kind.ORIGID_AGREES, words, facts)]
    why = "one origid for several customers, a copied header, or a wrong chain"
    words = f"The origid contradicts: {what}, found at different providers ({', '.join(ends)}): {why}."
    return [Finding(Kind.ORIGID_CONTRADICTS, words, facts)]


def _lead(grade: Grade, signer: ProviderId | None, traceback: Traceback, chain: Sequence[Hop]) -> list[Finding]:
    """Whom a person may ask where the chain ended without an origin."""
    if signer is None or traceback.status in _FINISHED or not traceback.status.phase.rests:
        return []
    if any(hop.provider == signer for hop in chain):
        return []
    certain = "" if grade is Grade.VERIFIED else " If it did: no pinned root shows that the signature is its own."
    words = f"A lead, no hop: the chain ended without an origin, and {signer} signed this call. Ask {signer} about it."
    return [Finding(Kind.LEAD, words + certain, {"signer": signer, "grade": grade.value})]

"""What a bundle proves, by whom, and what it doesn't: without store, without network, without trust in who made it.

Everything is checked against the keys and roots that the verifying party trusts itself (`Trust`). Where it names none,
those in the bundle are taken, and every statement says so. A statement is proven, not proven, or broken; the verdict
is as bad as its worst statement. Nothing that is in the file raises: what can't be read is broken, and named.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Final

from google.protobuf.message import DecodeError

from coordinator.evidence import container
from coordinator.evidence.container import Damage
from coordinator.evidence.identity_header import header_statements
from coordinator.evidence.sisters import sisters_problem
from coordinator.evidence.statements import Standing, Statement, broken, proven, unproven
from coordinator.evidence.timestamp import TimestampError, stamped_at
from hopback.v1 import audit_pb2 as audit
from hopback.v1 import bundle_pb2 as pb
from hopback.v1 import evidence_pb2 as evidence
from protos import hops, merkle
from protos.certificates import CertificateError, Certified, PinnedRoots
from protos.codec import ContractError, digest, from_unix_ms
from protos.hops import Asked, Parts
from protos.identity import InvalidIdentityError, coordinator_uri, parse_provider_id, provider_uri
from protos.orders import Granted, Persons, decode_order, grant_problem
from protos.signing import Domain, KeyFormatError, Proof, PublicKey, Seal, SealChecker
from protos.types import Answer, Handover, Outcome

EVIDENCE: Final = "evidence.pb"
ROOTS: Final = "roots.pem"
MANIFEST: Final = "MANIFEST.json"
SEAL: Final = "MANIFEST.seal"
TIMESTAMP: Final = "MANIFEST.tsr"
IDENTITY: Final = "identity.txt"
SIGNERS: Final = "sti-certificates.pem"
READABLE: Final = ("READ-ME.txt", "summary.html", "summary.pdf", "evidence.json")
MEMBERS: Final = (*READABLE, EVIDENCE, ROOTS, IDENTITY, SIGNERS, MANIFEST, SEAL, TIMESTAMP)
REQUIRED: Final = tuple(name for name in MEMBERS if name not in (IDENTITY, SIGNERS, TIMESTAMP))


@dataclass(frozen=True, slots=True)
class Trust:
    """What the verifying party trusts of itself.

    Persons' keys, roots of machines' certificates (PEM), how many approvals it wants, roots of time stamps (PEM), roots
    of STI-CAs (PEM).
    """

    persons: Mapping[str, PublicKey] = field(default_factory=dict)
    roots: bytes = b""
    approvals: int = 1
    timestamp_roots: bytes = b""
    sti_roots: bytes = b""


@dataclass(frozen=True, slots=True)
class HopSeen:
    """One hop as it is in the bundle, read as far as it can be."""

    message: pb.HopEvidence
    asked: Asked | None = None
    answer: Answer | None = None
    finding: hops.Finding | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """All statements, and what they are about."""

    statements: tuple[Statement, ...]
    evidence: pb.TracebackEvidence | None = None
    granted: Granted | None = None
    hops: tuple[HopSeen, ...] = ()

    @property
    def standing(self) -> Standing:
        """The worst of the statements that matter: a bundle is broken as soon as one byte is."""
        standings = {statement.standing for statement in self.statements}
        if Standing.BROKEN in standings:
            return Standing.BROKEN
        return Standing.PROVEN if Standing.PROVEN in standings else Standing.NOT_PROVEN


def verify(data: bytes, trust: Trust) -> Verdict:
    """What the bundle in `data` proves to a party that trusts what `trust` says."""
    held = container.read(data, MEMBERS)
    statements = [_of_damage(damage) for damage in held.damage]
    missing = [name for name in REQUIRED if name not in held.members]
    strangers = [name for name in held.members if name not in MEMBERS]
    statements += [broken(f"the bundle holds {name}", "it is missing") for name in missing]
    statements += [broken("the bundle holds nothing else", f"{name!r} is no part of a bundle") for name in strangers]
    if not held.damage:
        statements.append(proven("every byte is as it was made", "checksums"))
    message = _evidence(held.members.get(EVIDENCE, b""), statements)
    if message is None:
        return Verdict(tuple(statements))
    check = _Check(message, trust, held.members.get(ROOTS, b""))
    statements += check.manifest(held.members)
    if TIMESTAMP in held.members:
        statements.append(_stamped(held.members[TIMESTAMP], held.members.get(MANIFEST, b""), trust.timestamp_roots))
    granted = check.order(statements)
    seen = check.hops(granted, statements)
    statements += check.chain(seen, granted)
    if IDENTITY in held.members or SIGNERS in held.members:
        header, signers = held.members.get(IDENTITY, b""), held.members.get(SIGNERS, b"")
        statements += header_statements(header, signers, trust.sti_roots, granted.order if granted else None)
    statements += _never_proven(seen)
    return Verdict(tuple(statements), message, granted, seen)


def _evidence(data: bytes, statements: list[Statement]) -> pb.TracebackEvidence | None:
    try:
        return pb.TracebackEvidence.FromString(data)
    except DecodeError:
        statements.append(broken(f"{EVIDENCE} can be read", "it is no TracebackEvidence"))
        return None


class _Check:
    """Checks one bundle's content against one party's trust."""

    def __init__(self, message: pb.TracebackEvidence, trust: Trust, roots_in_bundle: bytes) -> None:
        self._message, self._trust = message, trust
        self._checker = SealChecker()
        self._seals = [Seal.of_message(seal) for seal in message.seals]
        self._own_roots = bool(trust.roots)
        self._problems: list[Statement] = []
        try:
            self._roots = PinnedRoots.from_pem(trust.roots or roots_in_bundle)
        except CertificateError as error:
            self._roots = PinnedRoots(())
            self._problems.append(broken("the roots can be read", str(error)))
        self._certified = dict(self._machines())

    def _machines(self) -> Iterable[tuple[bytes, Certified]]:
        for number, der in enumerate(self._message.certificates):
            try:
                certified = self._roots.certified(der)
            except CertificateError as error:
                self._problems.append(broken(f"certificate {number} is of a trusted root", str(error)))
            else:
                yield certified.key.key_id, certified

    @property
    def _coordinator(self) -> str:
        try:
            return coordinator_uri(self._message.coordinator)
        except InvalidIdentityError:
            return ""

    @property
    def _whose_roots(self) -> str:
        return "" if self._own_roots else " (by a root in the bundle itself)"

    def manifest(self, members: Mapping[str, bytes]) -> list[Statement]:
        """That the members are those which the coordinator sealed."""
        said, made = members.get(MANIFEST, b""), []
        expected = manifest_of(
            {name: content for name, content in members.items() if name not in (MANIFEST, SEAL, TIMESTAMP)}
        )
        if said != expected:
            made.append(broken("the manifest is that of the members", _first_difference(said, expected)))
        try:
            seal = Seal.of_message(evidence.Seal.FromString(members.get(SEAL, b"")))
        except DecodeError:
            return [*made, *self._problems, broken("the manifest is sealed", f"{SEAL} is no seal")]
        uri = self._coordinator
        what = "the bundle is what the coordinator made"
        good = self._signed(Proof(seal, 0, b""), said, Domain.BUNDLE, uri, _time(self._message.made_unix_ms))
        made.append(proven(what, uri + self._whose_roots) if good is None else broken(what, good))
        return [*made, *self._problems]

    def order(self, statements: list[Statement]) -> Granted | None:
        """That the order was certified and approved."""
        message = self._message.order
        try:
            order = decode_order(message.order)
            granted = Granted(
                order, message.order, self._proof(message.submission), tuple(map(self._seal, message.approvals))
            )
            in_bundle = {person.name: PublicKey.parse(person.key) for person in self._message.persons}
        except (ContractError, KeyFormatError, _NoSealError) as error:
            statements.append(broken("the order can be read", str(error)))
            return None
        persons = self._trust.persons or in_bundle
        whose = "" if self._trust.persons else " (keys as the bundle names them)"
        problem = grant_problem(granted, Persons(persons, persons, self._trust.approvals), self._checker)
        what = f"{order.submitter} certified the order, and enough others approved it"
        if problem is not None:
            statements.append(broken(what, f"{problem.name}{whose}"))
        else:
            approvers = {
                name for name, key in persons.items() for seal in granted.approvals if seal.key_id == key.key_id
            }
            statements.append(
                proven(what, ", ".join([order.submitter, *sorted(approvers - {order.submitter})]) + whose)
            )
        if order.coordinator != self._message.coordinator:
            statements.append(broken("the order is for this coordinator", f"it is for {order.coordinator}"))
        return granted

    def hops(self, granted: Granted | None, statements: list[Statement]) -> tuple[HopSeen, ...]:
        """That each question was asked under the order and each answer given."""
        seen = []
        for message in self._message.hops:
            place = f"hop {message.position + 1} ({_printable(message.provider)})"
            hop = HopSeen(message)
            if message.naming and self._is_attestation(message.answer_proof):
                seen.append(self._attested(hop, granted, place, statements))
                continue
            if not message.question:
                statements.append(unproven(f"{place} was asked of a person", _printable(message.note) or "no question"))
            else:
                hop = self._question(hop, granted, place, statements)
            if hop.asked is not None and message.naming:
                hop = self._answer(hop, hop.asked, place, statements)
            elif message.question:
                statements.append(
                    unproven(f"{place} answered", _printable(message.note) or "there is no signed answer")
                )
            seen.append(hop)
        return tuple(seen)

    def _is_attestation(self, proof: evidence.Proof) -> bool:
        place = proof.seal
        return place < len(self._seals) and self._seals[place].algorithm == Domain.ATTESTATION.algorithm

    def _attested(self, hop: HopSeen, granted: Granted | None, place: str, statements: list[Statement]) -> HopSeen:
        """That an approver attests what a person at a provider without an agent said: never that the provider did."""
        message = hop.message
        parts = Parts(message.naming, message.finding)
        try:
            provider = parse_provider_id(message.provider)
            asked = hops.decode_question(message.question)
            answer, finding = hops.decode_parts(parts, asked, provider)
            proof = self._proof(message.answer_proof)
            in_bundle = {person.name: PublicKey.parse(person.key) for person in self._message.persons}
        except (ContractError, InvalidIdentityError, KeyFormatError, _NoSealError) as error:
            statements.append(broken(f"a person at {place} answered", str(error)))
            return hop
        what = f"a person at {place} said: {said(answer)}"
        persons, submitter = self._trust.persons or in_bundle, granted.order.submitter if granted else ""
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
        elif not proof.covers(parts.leaf) or not self._checker.is_good(proof.seal, Domain.ATTESTATION, persons[by[0]]):
            problem = "the attestation's signature is wrong, or covers other bytes"
        if problem is not None:
            statements.append(broken(what, problem))
        else:
            whose = "" if self._trust.persons else " (key as the bundle names it)"
            by_whom = f"attested by {by[0]}{whose}, never signed by {provider}"
            statements.append(replace(proven(what, by_whom), at=finding.answered.isoformat()))
        return replace(hop, asked=asked, answer=answer, finding=finding)

    def _question(self, hop: HopSeen, granted: Granted | None, place: str, statements: list[Statement]) -> HopSeen:
        what = f"{place} was asked under the order"
        try:
            asked = hops.decode_question(hop.message.question)
            proof = self._proof(hop.message.question_proof)
        except (ContractError, _NoSealError) as error:
            statements.append(broken(what, str(error)))
            return hop
        uri = self._coordinator
        problem = self._signed(proof, asked.exact, Domain.QUESTION, uri, asked.authority.issued)
        if problem is None and (granted is None or asked.authority.order_sha256 != granted.sha256):
            problem = "the question names another order"
        if problem is None and asked.question.target != hop.message.provider:
            problem = f"the question is addressed to {asked.question.target}"
        if problem is None and granted is not None and asked.question.deadline > granted.order.expires:
            problem = "the order had expired"
        at = asked.authority.issued.isoformat()
        statements.append(
            replace(proven(what, uri + self._whose_roots), at=at) if problem is None else broken(what, problem)
        )
        return replace(hop, asked=asked)

    def _answer(self, hop: HopSeen, asked: Asked, place: str, statements: list[Statement]) -> HopSeen:
        parts = Parts(hop.message.naming, hop.message.finding)
        try:
            provider = parse_provider_id(hop.message.provider)
            answer, finding = hops.decode_parts(parts, asked, provider)
            proof = self._proof(hop.message.answer_proof)
        except (ContractError, InvalidIdentityError, _NoSealError) as error:
            statements.append(broken(f"{place} answered", str(error)))
            return hop
        what = f"{place} answered: {said(answer)}"
        uri = provider_uri(provider)
        problem = self._signed(proof, parts.leaf, Domain.ANSWER, uri, finding.answered)
        if problem is None:
            statements.append(replace(proven(what, uri + self._whose_roots), at=finding.answered.isoformat()))
        else:
            statements.append(broken(what, problem))
        statements.append(self._logged(hop.message, parts, asked, place, uri))
        return replace(hop, answer=answer, finding=finding)

    def _logged(self, message: pb.HopEvidence, parts: Parts, asked: Asked, place: str, uri: str) -> Statement:
        """That the provider's audit log holds the answer, and who else has seen that log."""
        what = f"{place} logged the answer"
        if not message.logged.entries:
            return unproven(what, "no proof from its log is in the bundle")
        checkpoint = message.logged.checkpoint
        try:
            state = evidence.Checkpoint.FromString(checkpoint.checkpoint)
            entries = [audit.AuditEntry.FromString(entry.entry) for entry in message.logged.entries]
        except DecodeError:
            return broken(what, "checkpoint or entry can't be read")
        if not checkpoint.seals or state.provider != message.provider:
            return broken(what, "the checkpoint is another provider's, or not sealed")
        own = Seal.of_message(checkpoint.seals[0])
        problem = self._signed(
            Proof(own, 0, b""), checkpoint.checkpoint, Domain.CHECKPOINT, uri, _time(state.at_unix_ms)
        )
        if problem is not None:
            return broken(what, f"its checkpoint: {problem}")
        holds_it = False
        for entry, shown in zip(entries, message.logged.entries, strict=True):
            root = merkle.root_by_path(merkle.leaf_hash(shown.entry), shown.index, state.size, shown.path)
            if root != state.root:
                return broken(what, f"entry {shown.index} is not in the log that it signed")
            holds_it |= entry.answer_leaf == parts.leaf and entry.question_sha256 == digest(asked.exact)
        if not holds_it:
            return broken(what, "none of the entries is about this answer")
        witnesses = self._witnesses(checkpoint)
        seen_by = f"; its log was witnessed by {', '.join(witnesses)}" if witnesses else ""
        return proven(what, f"{uri}{seen_by}")

    def _witnesses(self, checkpoint: evidence.SignedCheckpoint) -> list[str]:
        names = []
        for message in checkpoint.seals[1:]:
            seal = Seal.of_message(message)
            known = self._certified.get(seal.key_id)
            if (
                known is not None
                and self._signed(Proof(seal, 0, b""), checkpoint.checkpoint, Domain.WITNESS, known.uri) is None
            ):
                names.append(known.uri)
        return names

    def chain(self, seen: Sequence[HopSeen], granted: Granted | None) -> list[Statement]:
        """That each provider was asked because the one before named it, and where that led."""
        made: list[Statement] = []
        last: dict[int, HopSeen] = {}
        for hop in seen:
            if hop.asked is None:
                continue
            authority = hop.asked.authority
            place = f"hop {authority.position + 1} ({hop.asked.question.target})"
            if authority.position == 0:
                made.append(_first(hop.asked, granted, place))
            else:
                before = last.get(authority.position - 1)
                made.append(self._named(before, hop.asked, granted, place))
                if authority.sisters:
                    made.append(self._told_apart(hop.message, hop.asked, before, place))
            # What was asked at this place before, and further on from there, is another branch, or an earlier round.
            last = {place: one for place, one in last.items() if place < authority.position} | {authority.position: hop}
        if last and max(last) == len(last) - 1:
            made.append(_ending([last[position] for position in sorted(last)]))
        elif last:
            made.append(broken("the chain has no gaps", "a hop is missing"))
        return made

    def _named(self, before: HopSeen | None, asked: Asked, granted: Granted | None, place: str) -> Statement:
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
        if self._is_attestation(before.message.answer_proof):
            return proven(what, f"the attestation that a person at {before.answer.provider} said so")
        return proven(what, provider_uri(before.answer.provider))

    def _told_apart(self, message: pb.HopEvidence, asked: Asked, before: HopSeen | None, place: str) -> Statement:
        """That the sister calls which the question names are not the one that it asks for, by the neighbour's word."""
        named_by = asked.question.named_by or asked.question.target
        what, uri = f"{place} was asked without sister calls, which {named_by} tells apart", provider_uri(named_by)
        own = b"" if before is None else before.message.naming
        problem = sisters_problem(asked, own, [sister.naming for sister in message.sisters])
        for sister in message.sisters:
            if problem is None:
                leaf = digest(sister.naming) + sister.finding_sha256
                try:
                    problem = self._signed(self._proof(sister.naming_proof), leaf, Domain.ANSWER, uri)
                except _NoSealError as error:
                    problem = str(error)
        return proven(what, uri) if problem is None else broken(what, problem)

    def _proof(self, message: evidence.Proof) -> Proof:
        return Proof(self._seal(message.seal), message.index, message.path)

    def _seal(self, place: int) -> Seal:
        if place >= len(self._seals):
            raise _NoSealError("a signature points at no seal")
        return self._seals[place]

    def _signed(self, proof: Proof, exact: bytes, domain: Domain, uri: str, at: datetime | None = None) -> str | None:
        """Why these bytes are not signed by the party of `uri` at `at`, None when they are."""
        certified = self._certified.get(proof.seal.key_id)
        if certified is None:
            return "no certificate of a trusted root is there for the key that signed"
        if certified.uri != uri:
            return f"the key that signed is that of {certified.uri}"
        if at is not None and not certified.valid_at(at):
            return "the certificate of the key that signed was not valid then"
        if not proof.covers(exact):
            return "the signature covers other bytes"
        return None if self._checker.is_good(proof.seal, domain, certified.key) else "the signature is wrong"


class _NoSealError(ValueError):
    pass


def manifest_of(members: Mapping[str, bytes]) -> bytes:
    """The manifest: size and SHA-256 of every member that the coordinator seals."""
    entries = {name: {"size": len(content), "sha256": sha256(content).hexdigest()} for name, content in members.items()}
    return (json.dumps({"bundle": 1, "members": entries}, indent=1) + "\n").encode()


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


def _stamped(token: bytes, manifest: bytes, roots: bytes) -> Statement:
    what = "the bundle existed at the time of its stamp"
    if not roots:
        return unproven(what, "a time stamp is there: give --timestamp-roots to check it")
    try:
        at = stamped_at(token, manifest, roots)
    except TimestampError as error:
        return broken(what, str(error))
    return replace(proven(what, "an authority of your --timestamp-roots"), at=at.isoformat())


def _ending(chain: Sequence[HopSeen]) -> Statement:
    last = chain[-1]
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


def _never_proven(seen: Sequence[HopSeen]) -> list[Statement]:
    """What no bundle proves, said in every one."""
    made = [unproven("the providers' records are true", "a signature shows who said it, not that it is so")]
    pairs = [hop.answer for hop in seen if hop.answer is not None]
    if len(pairs) > 1:
        made.append(
            unproven(
                "no two neighbours agreed on a false hop",
                "each hop rests on the word of the provider and, where it confirms, of its neighbour",
            )
        )
    if any(hop.asked is not None and hop.asked.authority.sisters for hop in seen):
        made.append(
            unproven(
                "an answered call is one call between two neighbours",
                "where a provider named somebody after sister calls were left out, it rests on that",
            )
        )
    made.append(unproven("who the customer is", "no bundle holds a customer's identity"))
    return made


def _of_damage(damage: Damage) -> Statement:
    where = (
        f"offset {damage.offset}" if damage.end - damage.offset == 1 else f"offsets {damage.offset} to {damage.end - 1}"
    )
    return Statement(Standing.BROKEN, "every byte is as it was made", why=damage.what, at=where)


def _first_difference(one: bytes, other: bytes) -> str:
    at = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return f"they differ from byte {at} of {MANIFEST} on"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)[:500]


def _time(unix_ms: int) -> datetime:
    return from_unix_ms(min(unix_ms, 253402300799999))

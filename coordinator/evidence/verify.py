"""What a bundle proves, by whom, and what it doesn't: without store, without network, without trust in who made it.

Everything is checked against the keys and roots that the verifying party trusts itself (`Trust`). Where it names none,
those in the bundle are taken, and every statement says so. A statement is proven, not proven, or broken; the verdict
is as bad as its worst statement. Nothing that is in the file raises: what can't be read is broken, and named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from google.protobuf.message import DecodeError

from coordinator.evidence import container
from coordinator.evidence.chain_statements import chain_statements
from coordinator.evidence.container import Damage
from coordinator.evidence.hop_statements import HopSeen, hops_seen
from coordinator.evidence.identity_header import header_statements
from coordinator.evidence.members import (
    EVIDENCE,
    IDENTITY,
    MANIFEST,
    MEMBERS,
    REQUIRED,
    ROOTS,
    SEAL,
    SIGNERS,
    TIMESTAMP,
    manifest_of,
)
from coordinator.evidence.signatures import NoSealError, Signatures, Trust, instant
from coordinator.evidence.statements import Standing, Statement, broken, proven, unproven
from coordinator.evidence.timestamp import TimestampError, stamped_at
from hopback.v1 import bundle_pb2 as pb
from hopback.v1 import evidence_pb2
from protos.codec import ContractError
from protos.orders import Granted, Persons, decode_order, grant_problem
from protos.signing import Domain, KeyFormatError, Proof, Seal


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
    signatures = Signatures(message, trust, held.members.get(ROOTS, b""))
    statements += _manifest(signatures, message, held.members)
    if TIMESTAMP in held.members:
        statements.append(_stamped(held.members[TIMESTAMP], held.members.get(MANIFEST, b""), trust.timestamp_roots))
    granted = order_seen(signatures, message, trust.approvals, statements)
    seen = hops_seen(signatures, message, granted, statements)
    statements += chain_statements(signatures, seen, granted)
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


def _manifest(signatures: Signatures, message: pb.TracebackEvidence, members: Mapping[str, bytes]) -> list[Statement]:
    """That the members are those which the coordinator sealed."""
    said, made = members.get(MANIFEST, b""), []
    expected = manifest_of(
        {name: content for name, content in members.items() if name not in (MANIFEST, SEAL, TIMESTAMP)}
    )
    if said != expected:
        made.append(broken("the manifest is that of the members", _first_difference(said, expected)))
    try:
        seal = Seal.of_message(evidence_pb2.Seal.FromString(members.get(SEAL, b"")))
    except DecodeError:
        return [*made, *signatures.problems, broken("the manifest is sealed", f"{SEAL} is no seal")]
    uri = signatures.coordinator
    what = "the bundle is what the coordinator made"
    good = signatures.signing_problem(Proof(seal, 0, b""), said, Domain.BUNDLE, uri, instant(message.made_unix_ms))
    made.append(proven(what, uri + signatures.whose_roots) if good is None else broken(what, good))
    return [*made, *signatures.problems]


def order_seen(
    signatures: Signatures, evidence: pb.TracebackEvidence, approvals: int, statements: list[Statement]
) -> Granted | None:
    """That the order was certified and approved."""
    message = evidence.order
    try:
        order = decode_order(message.order)
        granted = Granted(
            order, message.order, signatures.proof(message.submission), tuple(map(signatures.seal, message.approvals))
        )
        persons = signatures.persons()
    except (ContractError, KeyFormatError, NoSealError) as error:
        statements.append(broken("the order can be read", str(error)))
        return None
    whose = signatures.whose_key(" (keys as the bundle names them)")
    problem = grant_problem(granted, Persons(persons, persons, approvals), signatures.checker)
    what = f"{order.submitter} certified the order, and enough others approved it"
    if problem is not None:
        statements.append(broken(what, f"{problem.name}{whose}"))
    else:
        approvers = {name for name, key in persons.items() for seal in granted.approvals if seal.key_id == key.key_id}
        statements.append(proven(what, ", ".join([order.submitter, *sorted(approvers - {order.submitter})]) + whose))
    if order.coordinator != evidence.coordinator:
        statements.append(broken("the order is for this coordinator", f"it is for {order.coordinator}"))
    return granted


def _stamped(token: bytes, manifest: bytes, roots: bytes) -> Statement:
    what = "the bundle existed at the time of its stamp"
    if not roots:
        return unproven(what, "a time stamp is there: give --timestamp-roots to check it")
    try:
        at = stamped_at(token, manifest, roots)
    except TimestampError as error:
        return broken(what, str(error))
    return replace(proven(what, "an authority of your --timestamp-roots"), at=at.isoformat())


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
    sisters = any(hop.asked is not None and hop.asked.authority.sisters for hop in seen)
    if sisters or any(hop.message.HasField("contested") for hop in seen):
        made.append(
            unproven(
                "an answered call is one call between two neighbours",
                "where a provider's calls are told from each other, it rests on that",
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

"""A traceback's evidence, made with real keys: three hops, the last one the originator's. Synthetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid5

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from coordinator.authority.lab_ca import LabAuthority
from coordinator.evidence.signatures import Trust
from hopback.v1 import audit_pb2 as audit
from hopback.v1 import bundle_pb2 as pb
from hopback.v1 import evidence_pb2 as evidence
from protos import merkle
from protos.codec import digest, unix_ms
from protos.hops import Finding, answer_parts, encode_question
from protos.identity import parse_provider_id
from protos.orders import Granted
from protos.signing import Domain, Proof, Seal, Signer, read_signer
from protos.types import Answer, Authority, Handover, Outcome, Question, RecordCoverage
from tests.protos.evidence_kit import ANN, BOB, ORDER, bytes_of, grant

NOW = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)
TRACEBACK = UUID("2b1f6f3c-3b1d-4c62-9d5d-0a4c3f4f2a11")
PATH = ("ginkgo", "birch", "alder")


@dataclass
class Industry:
    """Certificates and signers of the coordinator and of the providers."""

    roots: bytes
    signers: dict[str, Signer]
    certificates: dict[str, bytes]

    @property
    def trust(self) -> Trust:
        return Trust({"ann": ANN.public, "bob": BOB.public}, self.roots)


def industry(directory: Path) -> Industry:
    authority = LabAuthority.create(directory, clock=lambda: NOW)
    signers, certificates = {}, {}
    for name in ("lab", *PATH, "mallory"):
        uri = f"hopback://{'coordinator' if name == 'lab' else 'provider'}/{name}"
        made = authority.issue_evidence(uri, f"{name}-evidence")
        signers[name] = read_signer(made.key)
        leaf = x509.load_pem_x509_certificate(made.certificate.read_bytes())
        certificates[name] = leaf.public_bytes(Encoding.DER)
    return Industry((directory / "ca.crt").read_bytes(), signers, certificates)


class Maker:
    """Puts a TracebackEvidence together, hop by hop."""

    def __init__(self, parties: Industry, granted: Granted | None = None) -> None:
        self.parties = parties
        self.granted = granted or grant(replace(ORDER, hop_limit=10))
        self._seals: dict[Seal, int] = {}
        self.message = pb.TracebackEvidence(
            traceback_id=str(TRACEBACK),
            coordinator="lab",
            status="origin_found",
            made_unix_ms=unix_ms(NOW + timedelta(minutes=1)),
            certificates=list(parties.certificates.values()),
            persons=[
                pb.PersonKey(name="ann", key=str(ANN.public)),
                pb.PersonKey(name="bob", key=str(BOB.public)),
            ],
        )
        self.message.order.CopyFrom(
            evidence.GrantedOrder(
                order=self.granted.exact,
                submission=self.proof(self.granted.submission),
                approvals=map(self.place, self.granted.approvals),
            )
        )

    def proof(self, proof: Proof) -> evidence.Proof:
        return evidence.Proof(seal=self.place(proof.seal), index=proof.index, path=proof.path)

    def place(self, seal: Seal) -> int:
        return self._seals.setdefault(seal, len(self._seals))

    def hop(
        self,
        provider: str,
        answer: Answer,
        before: bytes | None,
        *,
        logged: bool = True,
        salt: str = "s",
        place: int | None = None,
        moved: timedelta = timedelta(0),
        window: timedelta = ORDER.window,
    ) -> bytes:
        """Ask `provider` and let it answer; returns the naming for the next one.

        `place` is that in the call path where it is not the next one, `moved` how far its time is from the order's.
        """
        position = len(self.message.hops)
        target = parse_provider_id(provider)
        at = NOW + timedelta(seconds=position)
        question = Question(
            question_id=uuid5(TRACEBACK, f"hop {position}"),
            target=target,
            called=ORDER.called,
            at=ORDER.at + moved,
            window=window,
            named_by=parse_provider_id(self.message.hops[-1].provider) if before else None,
            calling=ORDER.calling,
            deadline=at + timedelta(minutes=2),
            authority=Authority(
                self.granted.sha256,
                digest(before) if before else None,
                position if place is None else place,
                at,
                bytes_of(f"n{position}", 16),
            ),
        )
        exact = encode_question(question)
        (asked,) = self.parties.signers["lab"].prove(Domain.QUESTION, [exact])
        finding = Finding(RecordCoverage.COMPLETE, bytes_of(f"c{position}", 32), at + timedelta(milliseconds=5))
        parts = answer_parts(answer, question, digest(exact), finding, bytes_of(f"{salt}{position}", 32))
        signer = self.parties.signers[provider]
        (signed,) = signer.prove(Domain.ANSWER, [parts.leaf])
        message = self.message.hops.add(
            position=position, provider=provider, question=exact, naming=parts.naming, finding=parts.finding
        )
        message.question_proof.CopyFrom(self.proof(asked))
        message.answer_proof.CopyFrom(self.proof(signed))
        if logged:
            self._log(message, provider, exact, parts.leaf)
        del self.message.seals[:]
        self.message.seals.extend(seal.to_message() for seal in self._seals)
        return parts.naming

    def _log(self, message: pb.HopEvidence, provider: str, question: bytes, leaf: bytes) -> None:
        entries = [audit.AuditEntry(kind=audit.AUDIT_KIND_STARTED, at_unix_ms=1).SerializeToString()]
        for kind, answered in ((audit.AUDIT_KIND_INTENT, b""), (audit.AUDIT_KIND_ANSWER, leaf)):
            entry = audit.AuditEntry(kind=kind, question_sha256=digest(question), answer_leaf=answered)
            entries.append(entry.SerializeToString())
        entries += [audit.AuditEntry(kind=audit.AUDIT_KIND_STARTED, at_unix_ms=at).SerializeToString() for at in (2, 3)]
        logged, witnessed = message.logged, message.witnessed
        logged.checkpoint.CopyFrom(self.checkpoint(provider, entries))
        message.checkpoint.CopyFrom(logged.checkpoint)
        tree = merkle.tree_of(entries)
        for index in (1, 2):
            logged.entries.add(entry=entries[index], index=index, path=tree.path(index))
        witnessed.checkpoint.CopyFrom(self.checkpoint(provider, entries[:3], "mallory"))
        hashed = list(map(merkle.leaf_hash, entries))
        witnessed.path = merkle.consistency_path(3, 5, lambda level, at: merkle.Tree(hashed).levels[level][at])

    def checkpoint(self, provider: str, entries: Sequence[bytes], *witnesses: str) -> evidence.SignedCheckpoint:
        """What `provider` signs of a log of these entries, and witnesses after it."""
        root = merkle.tree_of(entries).root
        state = evidence.Checkpoint(provider=provider, size=len(entries), root=root, at_unix_ms=unix_ms(NOW))
        exact = state.SerializeToString(deterministic=True)
        signed = evidence.SignedCheckpoint(checkpoint=exact)
        for name, domain in ((provider, Domain.CHECKPOINT), *((one, Domain.WITNESS) for one in witnesses)):
            seal, _ = self.parties.signers[name].seal(domain, [exact])
            signed.seals.append(seal.to_message())
        return signed


def whole(parties: Industry) -> pb.TracebackEvidence:
    """A traceback that found its originator."""
    maker = Maker(parties)
    naming = maker.hop("ginkgo", _upstream("ginkgo", "birch"), None)
    naming = maker.hop("birch", _upstream("birch", "alder"), naming)
    alder = parse_provider_id("alder")
    maker.hop("alder", Answer(alder, Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED), naming)
    return maker.message


def _upstream(provider: str, upstream: str) -> Answer:
    handover = Handover.UNSPECIFIED if provider == PATH[0] else Handover.CONFIRMED
    return Answer(
        parse_provider_id(provider), Outcome.UPSTREAM, upstream=parse_provider_id(upstream), handover=handover
    )

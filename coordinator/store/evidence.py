"""A traceback's evidence from the database: order, questions, answers, certificates, checkpoints, as they were kept."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Engine, RowMapping, select

from coordinator.store.models import BatchRow, HopRow, TracebackRow
from coordinator.store.orders import OrderBook
from coordinator.tracing.signed import Contest, is_said, read_contest, read_kept, read_sisters
from hopback.v1 import bundle_pb2 as pb
from hopback.v1 import evidence_pb2 as evidence
from hopback.v1 import hop_pb2 as hop
from protos.codec import digest, unix_ms
from protos.hops import decode_question
from protos.signing import Proof, PublicKey, Seal


class NoEvidenceError(LookupError):
    """There is nothing that was signed; the message says why."""


def collect(
    engine: Engine,
    traceback_id: uuid.UUID,
    *,
    coordinator: str,
    persons: Mapping[str, PublicKey],
    made: datetime,
) -> pb.TracebackEvidence:
    """Everything about one traceback that somebody signed, and in the coordinator's words what nobody did.

    Raises:
        NoEvidenceError: there is no such traceback, or it stands under no order.
    """
    with engine.connect() as connection:
        traceback = connection.execute(select(TracebackRow).where(TracebackRow.id == traceback_id)).mappings().first()
        if traceback is None:
            raise NoEvidenceError("there is no such traceback")
        if traceback["order_sha256"] is None:
            raise NoEvidenceError("it was a trial: it stands under no order, and nothing of it is signed")
        query = (
            select(HopRow, BatchRow.sent, BatchRow.received)
            .outerjoin(BatchRow, BatchRow.sha256 == HopRow.batch)
            .where(HopRow.traceback_id == traceback_id)
            .order_by(HopRow.position, HopRow.round)
        )
        rows = connection.execute(select(*query.subquery().c)).mappings().all()
    book = OrderBook(engine)
    granted = book.granted([traceback["order_sha256"]]).get(traceback["order_sha256"])
    if granted is None:
        raise NoEvidenceError("its order is not in the database any more")
    message = pb.TracebackEvidence(
        traceback_id=str(traceback_id),
        coordinator=coordinator,
        status=traceback["status"],
        made_unix_ms=unix_ms(made),
        persons=[pb.PersonKey(name=name, key=str(key)) for name, key in sorted(persons.items())],
    )
    seals = _Seals(message)
    message.order.order = granted.exact
    message.order.submission.CopyFrom(seals.proof(granted.submission))
    message.order.approvals.extend(map(seals.place, granted.approvals))
    certificates: dict[bytes, None] = {}
    for row in rows:
        _add_hop(message, row, seals, certificates, book.certificate)
    # what travelled in one envelope with it was named under other orders, whose parties are nobody's business here
    signed = {seal.key_id for seal in message.seals}
    message.certificates.extend(der for der in certificates if _key_id(der) in signed)
    return message


def _key_id(der: bytes) -> bytes:
    """The id of a certificate's key; empty where it has none that signs here."""
    try:
        key = x509.load_der_x509_certificate(der).public_key()
    except (ValueError, UnsupportedAlgorithm):
        return b""
    return PublicKey.of(key).key_id if isinstance(key, Ed25519PublicKey) else b""


class _Seals:
    """The seals of a bundle, each once."""

    def __init__(self, message: pb.TracebackEvidence) -> None:
        self._message = message
        self._places: dict[Seal, int] = {}

    def place(self, seal: Seal) -> int:
        place = self._places.get(seal)
        if place is None:
            place = self._places[seal] = len(self._places)
            self._message.seals.append(seal.to_message())
        return place

    def proof(self, proof: Proof) -> evidence.Proof:
        return evidence.Proof(seal=self.place(proof.seal), index=proof.index, path=proof.path)


def _add_hop(
    message: pb.TracebackEvidence,
    row: RowMapping,
    seals: _Seals,
    certificates: dict[bytes, None],
    certified: Callable[[Seal], bytes | None],
) -> None:
    entry = message.hops.add(position=row["position"], provider=row["provider"])
    if row["contested"] is not None:
        _add_contest(entry.contested, read_contest(row["contested"]), seals, certificates, certified)
    if row["outcome"] is not None and row["sent"] is None and row["answer"] is not None and not is_said(row["answer"]):
        # A person's answer that an approver attested: the question travelled in no envelope, and nobody sealed it.
        said = read_kept(row["answer"])
        entry.question = row["question"]
        entry.naming, entry.finding = said.parts.naming, said.parts.finding
        entry.answer_proof.CopyFrom(seals.proof(said.proof))
        return
    if row["outcome"] is None or row["sent"] is None:
        # Nothing that was sealed is kept of it: the coordinator says what happened.
        asked = decode_question(row["question"])
        said_by_person = row["outcome"] is not None and f"a person said {row['outcome']}, which nobody attested"
        what = said_by_person or (row["problem"] or "not answered yet").replace("_", " ")
        entry.note = f"asked at {asked.authority.issued.isoformat()}, round {row['round']}: {what}"[:500]
        return
    kept = read_kept(row["answer"])
    sent, received = hop.AskRequest.FromString(row["sent"]), hop.AskResponse.FromString(row["received"])
    question_seal = Seal.of_message(sent.seal)
    entry.question = row["question"]
    entry.question_proof.CopyFrom(seals.proof(Proof(question_seal, kept.proof.index, kept.question_path)))
    entry.naming, entry.finding = kept.parts.naming, kept.parts.finding
    entry.answer_proof.CopyFrom(seals.proof(kept.proof))
    entry.checkpoint.CopyFrom(received.checkpoint)
    certificates.update(dict.fromkeys([*sent.certificates, received.certificate]))
    if row["sisters"]:
        for sister in read_sisters(row["sisters"], decode_question(row["question"]).authority.sisters):
            certificate = certified(sister.proof.seal)
            certificates.update({} if certificate is None else {certificate: None})
            entry.sisters.add(
                traceback_id=str(sister.traceback_id),
                naming=sister.parts.naming,
                finding_sha256=sister.parts.finding_sha256,
                naming_proof=seals.proof(sister.proof),
            )


def _add_contest(
    entry: pb.ContestEvidence,
    contest: Contest,
    seals: _Seals,
    certificates: dict[bytes, None],
    certified: Callable[[Seal], bytes | None],
) -> None:
    entry.place = contest.place
    if contest.shown is None:
        return
    named, given = contest.shown
    entry.traceback_id = str(contest.other)
    entry.naming, entry.finding_sha256 = named.parts.naming, digest(named.parts.finding)
    entry.given, entry.given_finding_sha256 = given.parts.naming, digest(given.parts.finding)
    entry.naming_proof.CopyFrom(seals.proof(named.proof))
    entry.given_proof.CopyFrom(seals.proof(given.proof))
    for one in (named, given):
        certificate = certified(one.proof.seal)
        certificates.update({} if certificate is None else {certificate: None})

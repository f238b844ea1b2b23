"""Everybody who signs: persons, the coordinator's online key, providers; orders that they granted, agents in process.

Keys and certificates are real ones of a lab authority; only the network between coordinator and agents is missing.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from coordinator.authority.lab_ca import Credentials, LabAuthority, make_person_key
from coordinator.lookups.asking import SignedAgents
from coordinator.ordering.orders import OrderSet, call_of, sign
from coordinator.store.orders import OrderBook
from coordinator.tracing.chain import Call, Traceback
from coordinator.tracing.ports import Provider
from hopback.v1 import evidence_pb2 as evidence
from protos import hops
from protos.certificates import PinnedRoots
from protos.codec import digest
from protos.envelopes import Requests, decode_requests, encode_responses
from protos.hops import Asked, Finding, Parts
from protos.identity import coordinator_uri, provider_uri
from protos.merkle import EMPTY_ROOT
from protos.orders import Granted, Order, Persons, Purpose, decode_order, encode_order, grant_problem
from protos.signing import Domain, Proof, Seal, SealChecker, Signer, read_signer
from protos.types import Answer, RecordCoverage
from tests.coordinator.make import CALLED, CALLING, ID, NOW, T0, provider

NAME = "lab"
Behaviour = Callable[[Asked], Answer]


@dataclass(frozen=True)
class Party:
    """A machine with a key for evidence, and its certificate (DER)."""

    signer: Signer
    certificate: bytes


def party_of(issued: Credentials) -> Party:
    """The party whose evidence certificate was issued."""
    certificate = x509.load_pem_x509_certificate(issued.certificate.read_bytes())
    return Party(read_signer(issued.key), certificate.public_bytes(Encoding.DER))


class Parties:
    """One lab authority and everybody that it certified; `ann` submits, `bob` and `eve` approve.

    They are made in `directory`, and found there by another process.
    """

    def __init__(self, directory: Path, now: datetime = NOW) -> None:
        there = (directory / "ca.key").exists()
        make = LabAuthority.open if there else LabAuthority.create
        self.authority = make(directory, clock=lambda: now)
        self.roots = PinnedRoots.from_pem((directory / "ca.crt").read_bytes())
        self.coordinator = self._party(coordinator_uri(NAME), "coordinator-evidence")
        self._providers: dict[str, Party] = {}
        keys = {name: directory / "people" / f"{name}.key" for name in ("ann", "bob", "eve")}
        if not there:
            for key in keys.values():
                make_person_key(key)
        self.people = {name: read_signer(key) for name, key in keys.items()}
        self.persons = Persons(
            {"ann": self.people["ann"].public}, {name: self.people[name].public for name in ("bob", "eve")}
        )

    def _party(self, uri: str, stem: str) -> Party:
        home = self.authority.directory
        known = Credentials(home / f"{stem}.crt", home / f"{stem}.key", home / "ca.crt")
        return party_of(known if known.certificate.exists() else self.authority.issue_evidence(uri, stem))

    def of(self, name: str) -> Party:
        """The provider's party."""
        if name not in self._providers:
            self._providers[name] = self._party(provider_uri(provider(name)), f"{name}-evidence")
        return self._providers[name]

    def granted(self, *orders: Order, approvers: Collection[str] = ("bob",)) -> list[Granted]:
        """These orders, submitted together by ann and approved together by others."""
        exact = [encode_order(order) for order in orders]
        submissions = self.people["ann"].prove(Domain.ORDER, exact)
        approvals = tuple(self.people[name].seal(Domain.APPROVAL, exact)[0] for name in approvers)
        return [
            Granted(order, one, submission, approvals)
            for order, one, submission in zip(orders, exact, submissions, strict=True)
        ]

    def keep(self, book: OrderBook, orders: Iterable[Order], now: datetime) -> list[Call]:
        """These orders, signed by ann and bob, in a coordinator's book; the calls that may be traced under them."""
        made = OrderSet.of(map(encode_order, orders))
        book.add(made, now)
        for name, domain in (("ann", Domain.ORDER), ("bob", Domain.APPROVAL)):
            made = sign(made, domain, self.people[name])
            book.sign(made.id, made.signatures[-1], name, now)
        return [call_of(one, digest(exact)) for one, exact in zip(made.orders, made.exact, strict=True)]


def order(**changes: object) -> Order:
    """A right order for the tests' call."""
    made = Order(
        order_id=uuid.uuid4(),
        coordinator=NAME,
        purpose=Purpose.UNLAWFUL_ROBOCALLS,
        legal_basis="47 U.S.C. 222(d)(2)",
        campaign="auto-warranty",
        evidence_sha256=digest(b"synthetic recording"),
        called=CALLED,
        at=T0,
        window=timedelta(seconds=60),
        calling=CALLING,
        terminating=provider("ginkgo"),
        hop_limit=12,
        issued=NOW - timedelta(hours=1),
        expires=NOW + timedelta(hours=47),
        submitter="ann",
        certification="I have listened to the recording.",
        salt=os.urandom(16),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def traceback_of(granted: Granted, traceback_id: uuid.UUID = ID) -> Traceback:
    """A traceback under this order, not begun."""
    one = granted.order
    return Traceback(
        traceback_id,
        Call(
            one.called,
            one.at,
            one.terminating,
            one.calling,
            one.window,
            one.hop_limit,
            granted.sha256,
            one.expires,
        ),
    )


class Drawer:
    """Orders and certificates in memory, as `coordinator.lookups.asking` wants them."""

    def __init__(self, *granted: Granted) -> None:
        self.orders = {one.sha256: one for one in granted}
        self.certificates: dict[bytes, bytes] = {}

    def signed(self, sha256s: Collection[bytes]) -> Mapping[bytes, Granted]:
        return {sha256: self.orders[sha256] for sha256 in sha256s if sha256 in self.orders}

    def certificate(self, seal: Seal) -> bytes | None:
        return self.certificates.get(seal.key_id)


@dataclass
class InProcess:
    """A transport to agents in this process, which check what an agent's gate checks of signatures and namings."""

    parties: Parties
    behaviours: Mapping[str, Behaviour]
    now: datetime = NOW
    asked: list[Asked] = field(default_factory=list)
    envelopes: list[bytes] = field(default_factory=list)
    checkpoints: int = 0
    bend: Callable[[bytes], bytes] = bytes
    sealed_by: str | None = None
    """Another provider whose key and certificate are used."""
    checks: bool = True
    tag: Callable[[Asked], bytes] = lambda asked: b""  # noqa: ARG005 (calls are not told apart)

    async def call(self, entry: Provider, method: str, request: bytes, timeout: timedelta) -> bytes:
        assert method == "/hopback.v1.HopService/Ask"
        assert timeout > timedelta(0)
        self.envelopes.append(request)
        requests = decode_requests(request)
        if self.checks:
            self._check(entry.id, requests)
        self.asked += requests.asked
        party = self.parties.of(self.sealed_by or entry.id)
        parts = [self._parts(entry.id, asked) for asked in requests.asked]
        seal, _ = party.signer.seal(Domain.ANSWER, [one.leaf for one in parts])
        return self.bend(encode_responses(parts, seal, party.certificate, self._checkpoint(entry.id, party)))

    def _parts(self, name: str, asked: Asked) -> Parts:
        answer = self.behaviours[name](asked)
        finding = Finding(RecordCoverage.COMPLETE, digest(asked.exact), self.now)
        salts, tag = digest(asked.exact + b"salt"), self.tag(asked)
        return hops.answer_parts(answer, asked.question, digest(asked.exact), finding, salts, tag)

    def _checkpoint(self, name: str, party: Party) -> evidence.SignedCheckpoint:
        self.checkpoints += 1
        message = evidence.Checkpoint(
            provider=name, size=0, root=EMPTY_ROOT, at_unix_ms=int(self.now.timestamp() * 1000)
        ).SerializeToString()
        return evidence.SignedCheckpoint(
            checkpoint=message, seals=[party.signer.seal(Domain.CHECKPOINT, [message])[0].to_message()]
        )

    def _check(self, name: str, requests: Requests) -> None:
        """What no honest coordinator's envelope fails; see agent/gate for the real checks."""
        seals = SealChecker()
        certified = {
            one.key.key_id: one for one in (self.parties.roots.certified(der) for der in requests.certificates)
        }
        online = certified[requests.seal.key_id]
        assert online.uri == coordinator_uri(NAME)
        assert seals.is_good(requests.seal, Domain.QUESTION, online.key)
        _, tree = Signer(Ed25519PrivateKey.generate()).seal(Domain.QUESTION, [one.exact for one in requests.asked])
        assert requests.seal.root == tree.root
        for one in requests.asked:
            granted = requests.orders[one.authority.order_sha256]
            order_, question = granted.order, one.question
            assert grant_problem(granted, self.parties.persons, seals) is None
            assert question.target == name
            assert (
                one.authority.issued
                <= self.now
                < question.deadline
                <= min(one.authority.issued + hops.QUESTION_LIFE, order_.expires)
            )
            assert abs(question.at - order_.at) + question.window <= order_.window
            assert one.authority.position < order_.hop_limit
            if one.authority.naming_sha256 is None:
                assert (question.named_by, one.authority.position, name) == (None, 0, order_.terminating)
                continue
            named = requests.namings[one.authority.naming_sha256]
            naming = named.naming
            assert (naming.provider, naming.upstream) == (question.named_by, name)
            assert (naming.called, naming.at) == (question.called, question.at)
            assert naming.order_sha256 == one.authority.order_sha256
            if named.proof.seal.algorithm == Domain.ATTESTATION.algorithm:
                assert any(
                    seals.is_good(named.proof.seal, Domain.ATTESTATION, key)
                    for key in self.parties.persons.approvers.values()
                )
                assert named.proof.covers(named.leaf)
                assert not any(one.uri == provider_uri(naming.provider) for one in certified.values())
                continue
            downstream = certified[named.proof.seal.key_id]
            assert downstream.uri == provider_uri(naming.provider)
            assert named.proof.covers(named.leaf)
            assert seals.is_good(named.proof.seal, Domain.ANSWER, downstream.key)


def signed_agents(parties: Parties, transport: InProcess, drawer: Drawer, now: datetime = NOW) -> SignedAgents:
    """The client over agents in this process."""
    return SignedAgents(
        transport,
        signer=parties.coordinator.signer,
        certificate=parties.coordinator.certificate,
        roots=parties.roots,
        orders=drawer,
        certificates=drawer,
        clock=lambda: now,
    )


__all__ = [
    "Drawer",
    "InProcess",
    "Parties",
    "Party",
    "Proof",
    "decode_order",
    "order",
    "party_of",
    "signed_agents",
    "traceback_of",
]

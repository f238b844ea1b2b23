"""Everybody whose keys a signed question needs, for tests: a lab's authority, a coordinator, persons, providers.

Orders, namings and envelopes come out properly signed; each can be changed in any field before it is signed. All is
synthetic. Times are those of `tests.agent.provider`, so that certificates are valid around its NOW; a test that goes
by the real clock gives its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID, uuid4

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from coordinator.authority.lab_ca import Credentials, LabAuthority
from protos.certificates import PinnedRoots
from protos.codec import digest
from protos.e164 import E164
from protos.envelopes import encode_requests
from protos.hops import Asked, Finding, Named, answer_parts, decode_naming, decode_question, encode_question
from protos.identity import ProviderId, coordinator_uri, provider_uri
from protos.orders import Granted, Order, Persons, Purpose, encode_order
from protos.signing import Domain, Signer, read_signer
from protos.types import Answer, Authority, Outcome, Question, RecordCoverage
from tests.agent.provider import BIRCH, CALL_TIME, CALLED, CEDAR, NOW

LAB = coordinator_uri("lab")


def person(name: str) -> Signer:
    """The signer of a person, the same every time."""
    return Signer(Ed25519PrivateKey.from_private_bytes(sha256(f"key of {name}".encode()).digest()))


ANN, BOB, CAROL = person("ann"), person("bob"), person("carol")
PERSONS = Persons({"ann": ANN.public}, {"bob": BOB.public, "carol": CAROL.public})


@dataclass(frozen=True, slots=True)
class Party:
    """One party's key for evidence, and its certificate as it travels."""

    uri: str
    signer: Signer
    certificate: bytes
    files: Credentials


class Kit:
    """A lab's authority in `directory`, and what its parties sign."""

    def __init__(self, directory: Path, clock: Callable[[], datetime] = lambda: NOW) -> None:
        self.clock = clock
        self.authority = LabAuthority.create(directory, clock=clock)
        self._parties: dict[str, Party] = {}
        self.lab = self.party(LAB)
        self.roots_file = self.lab.files.roots
        self.roots = PinnedRoots.from_pem(self.roots_file.read_bytes())

    def party(self, uri: str) -> Party:
        """The party of this URI; made when it is asked for first."""
        if uri not in self._parties:
            files = self.authority.issue_evidence(uri, f"evidence-{sha256(uri.encode()).hexdigest()[:8]}")
            certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
            der = certificate.public_bytes(serialization.Encoding.DER)
            self._parties[uri] = Party(uri, read_signer(files.key), der, files)
        return self._parties[uri]

    def provider(self, provider: str) -> Party:
        """The evidence key of a provider."""
        return self.party(provider_uri(ProviderId(provider)))

    def order(self, **change: object) -> Order:
        """An order for the call to CALLED that ended at birch, valid now; with some fields changed."""
        now = self.clock()
        order = Order(
            order_id=uuid4(),
            coordinator="lab",
            purpose=Purpose.UNLAWFUL_ROBOCALLS,
            legal_basis="47 U.S.C. 222(d)(2)",
            campaign="auto-warranty",
            evidence_sha256=sha256(b"recording").digest(),
            called=CALLED,
            at=CALL_TIME,
            window=timedelta(seconds=60),
            calling=None,
            terminating=BIRCH,
            hop_limit=10,
            issued=now - timedelta(minutes=5),
            expires=now + timedelta(hours=71),
            submitter="ann",
            certification="I certify that this call is suspected to be unlawful.",
            salt=os.urandom(16),
        )
        return replace(order, **change)  # type: ignore[arg-type]

    def grant(
        self, orders: Sequence[Order], submitter: Signer = ANN, approvers: Sequence[Signer] = (BOB,)
    ) -> list[Granted]:
        """The orders, each person's signature over all of them together."""
        exact = [encode_order(order) for order in orders]
        submissions = submitter.prove(Domain.ORDER, exact)
        approvals = tuple(approver.seal(Domain.APPROVAL, exact)[0] for approver in approvers)
        return [
            Granted(order, one, submission, approvals)
            for order, one, submission in zip(orders, exact, submissions, strict=True)
        ]

    def granted(self, **change: object) -> Granted:
        """One order, signed and approved."""
        return self.grant([self.order(**change)])[0]

    def name(
        self,
        orders: Iterable[Granted],
        by: ProviderId = CEDAR,
        upstream: ProviderId | None = BIRCH,
        called: E164 | None = None,
        correction: timedelta = timedelta(0),
        signer: Signer | None = None,
        tags: Sequence[bytes] = (),
    ) -> list[Named]:
        """What `by` answered to the question of each order: `upstream` handed the call over. One signature for all.

        `tags` tell these calls apart; without them nothing does.
        """
        parts = []
        for number, granted in enumerate(orders):
            authority = Authority(granted.sha256, None, 0, self.clock(), os.urandom(16))
            question = _question(granted, by, None, self.clock(), authority)
            outcome = Outcome.UPSTREAM if upstream is not None else Outcome.ORIGINATED_HERE
            answer = Answer(by, outcome, upstream, ask_called=called, time_correction=correction)
            finding = Finding(RecordCoverage.COMPLETE, os.urandom(32), self.clock())
            exact = encode_question(question)
            tag = tags[number] if tags else os.urandom(16)
            parts.append(answer_parts(answer, question, digest(exact), finding, os.urandom(32), tag))
        proofs = (signer or self.provider(by).signer).prove(Domain.ANSWER, [one.leaf for one in parts])
        return [
            Named(decode_naming(one.naming), one.naming, digest(one.finding), proof)
            for one, proof in zip(parts, proofs, strict=True)
        ]

    def ask(
        self, granted: Granted, named: Named | None = None, target: ProviderId = BIRCH, **change: object
    ) -> Question:
        """The question that follows from an order, or from what the downstream provider said under it."""
        now = self.clock()
        naming_sha256 = None if named is None else digest(named.exact)
        authority = Authority(granted.sha256, naming_sha256, 0 if named is None else 1, now, os.urandom(16))
        question = _question(granted, target, named, now, authority)
        changes = {name: value for name, value in change.items() if name in _AUTHORITY}
        rest = {name: value for name, value in change.items() if name not in _AUTHORITY}
        return replace(question, authority=replace(authority, **changes), **rest)  # type: ignore[arg-type]

    def envelope(
        self,
        questions: Sequence[Question],
        orders: Iterable[Granted],
        namings: Iterable[Named] = (),
        *,
        by: Party | None = None,
        certificates: Iterable[bytes] | None = None,
    ) -> bytes:
        """A serialised AskRequest, signed by the coordinator `by` (lab)."""
        coordinator, named = by or self.lab, list(namings)
        exact = [encode_question(question) for question in questions]
        seal, _ = coordinator.signer.seal(Domain.QUESTION, exact)
        if certificates is None:
            signed_by = {self.provider(one.naming.provider).certificate for one in named}
            certificates = [coordinator.certificate, *sorted(signed_by)]
        return encode_requests(exact, seal, orders, named, certificates)


def asked(question: Question) -> Asked:
    """The question as the other side takes it."""
    return decode_question(encode_question(question))


_AUTHORITY = ("order_sha256", "naming_sha256", "position", "issued", "nonce", "sisters")


def _question(
    granted: Granted, target: ProviderId, named: Named | None, now: datetime, authority: Authority
) -> Question:
    order, naming = granted.order, None if named is None else named.naming
    at = order.at if naming is None or naming.at is None else naming.at
    return Question(
        question_id=UUID(bytes=os.urandom(16), version=4),
        target=target,
        called=order.called if naming is None or naming.called is None else naming.called,
        at=at,
        window=max(order.window - abs(at - order.at), timedelta(milliseconds=1)),
        named_by=None if naming is None else naming.provider,
        calling=order.calling,
        deadline=now + timedelta(minutes=2),
        authority=authority,
    )

"""Who signed what in a bundle, as far as the keys and roots of the verifying party show it.

Where that party trusts none of its own, those in the bundle are taken, and `whose_roots` and `whose_key` say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from coordinator.evidence.statements import Statement, broken
from hopback.v1 import bundle_pb2 as pb
from hopback.v1 import evidence_pb2 as evidence
from protos.certificates import CertificateError, Certified, PinnedRoots
from protos.codec import from_unix_ms
from protos.identity import InvalidIdentityError, ProviderId, coordinator_uri, providers_among
from protos.signing import Domain, Proof, PublicKey, Seal, SealChecker


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


class NoSealError(ValueError):
    """A signature of a bundle points at a seal that is not in it."""


class Signatures:
    """The seals of one bundle and the certificates of the keys that made them, judged by one party's trust.

    Attributes:
        problems: what is broken of the roots and certificates themselves.
        coordinator: the coordinator's URI, empty where the bundle names none that could be.
        checker: remembers the seals that it has checked.
    """

    def __init__(self, message: pb.TracebackEvidence, trust: Trust, roots_in_bundle: bytes) -> None:
        self.problems: list[Statement] = []
        self.checker = SealChecker()
        self._message, self._trust = message, trust
        self._seals = [Seal.of_message(seal) for seal in message.seals]
        try:
            self._roots = PinnedRoots.from_pem(trust.roots or roots_in_bundle)
        except CertificateError as error:
            self._roots = PinnedRoots(())
            self.problems.append(broken("the roots can be read", str(error)))
        self._certified = dict(self._machines())
        try:
            self.coordinator = coordinator_uri(message.coordinator)
        except InvalidIdentityError:
            self.coordinator = ""

    def _machines(self) -> Iterable[tuple[bytes, Certified]]:
        for number, der in enumerate(self._message.certificates):
            try:
                certified = self._roots.certified(der)
            except CertificateError as error:
                self.problems.append(broken(f"certificate {number} is of a trusted root", str(error)))
            else:
                yield certified.key.key_id, certified

    @property
    def whose_roots(self) -> str:
        """What to add to who signed, where only the bundle's own roots say that it was them."""
        return "" if self._trust.roots else " (by a root in the bundle itself)"

    def whose_key(self, bundles: str) -> str:
        """What to add to which person signed: `bundles` where only the bundle says whose key it is."""
        return "" if self._trust.persons else bundles

    def persons(self) -> Mapping[str, PublicKey]:
        """The persons' keys by name.

        Raises:
            KeyFormatError: the bundle has a key that is none, whether or not it is needed.
        """
        in_bundle = {person.name: PublicKey.parse(person.key) for person in self._message.persons}
        return self._trust.persons or in_bundle

    def proof(self, message: evidence.Proof) -> Proof:
        """The proof with its seal.

        Raises:
            NoSealError: it points at none.
        """
        return Proof(self.seal(message.seal), message.index, message.path)

    def seal(self, place: int) -> Seal:
        """The seal at this place of the bundle's list.

        Raises:
            NoSealError: there is none.
        """
        if place >= len(self._seals):
            raise NoSealError("a signature points at no seal")
        return self._seals[place]

    def signing_problem(
        self, proof: Proof, exact: bytes, domain: Domain, uri: str, at: datetime | None = None
    ) -> str | None:
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
        return None if self.checker.is_good(proof.seal, domain, certified.key) else "the signature is wrong"

    def is_attestation(self, proof: evidence.Proof) -> bool:
        """Whether a person's attestation stands behind this proof."""
        place = proof.seal
        return place < len(self._seals) and self._seals[place].algorithm == Domain.ATTESTATION.algorithm

    def provider_of(self, key_id: bytes) -> ProviderId | None:
        """The provider whose key this is; None where no trusted root says that it is a provider's."""
        known = self._certified.get(key_id)
        return None if known is None else next(iter(providers_among([known.uri])), None)


def instant(unix_ms: int) -> datetime:
    """The time that a bundle says; the last one there is for what lies beyond it."""
    return from_unix_ms(min(unix_ms, 253402300799999))

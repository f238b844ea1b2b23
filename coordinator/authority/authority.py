"""The issuing authority at work: tokens, enrolment, renewal, revocation.

Who somebody is comes from a token that two operators granted, or from the certificate that mutual TLS proved. Nothing
that the other side writes names it. Refused: tokens that are unknown, used or expired; requests without proof of
possession; renewal with a certificate that this authority did not issue, has revoked, or issued for something else than
TLS; more than `MOST_A_DAY` certificates a party and day, which only a fault or a thief would need.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from coordinator.authority.issuing import Purpose, issue, requested_key, revocation_list
from coordinator.authority.issuing_key import AuthorityError, Issuer
from coordinator.authority.ledger import Ledger
from coordinator.authority.operators import Signed, problem, to_json
from coordinator.callers import Role, caller_tls_name, caller_uri
from protos.identity import coordinators_among, provider_uri, providers_among
from protos.signing import PublicKey, SealChecker

LIFETIME: Final = timedelta(days=30)
LISTS_EVERY: Final = timedelta(hours=6)
"""A revocation list is made anew after this time, whether or not anything was revoked."""
MOST_A_DAY: Final = 24


class NotGrantedError(Exception):
    """Nothing is issued; the message says why, to the one who asked."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A party's two certificates, as chains (PEM)."""

    uri: str
    tls: bytes
    evidence: bytes


class Authority:
    """Issues, renews and revokes. Not for several threads at once."""

    def __init__(
        self,
        issuer: Issuer,
        ledger: Ledger,
        operators: Mapping[str, PublicKey],
        lifetime: timedelta = LIFETIME,
        lists_every: timedelta = LISTS_EVERY,
    ) -> None:
        self._issuer, self._ledger, self._operators = issuer, ledger, operators
        self._lifetime, self._lists_every = lifetime, lists_every
        self._checker = SealChecker()
        self._list: tuple[bytes, datetime, int] | None = None

    @property
    def roots(self) -> bytes:
        """The root's certificate (PEM)."""
        return self._issuer.certificate.public_bytes(Encoding.PEM)

    def grant(self, signed: Signed, now: datetime) -> None:
        """Let a token be used from now on.

        Raises:
            NotGrantedError: two different operators don't stand behind it, or its time is over.
            AuthorityError: it was granted before, or the ledger can't be written.
        """
        token = signed.statement
        if (why := problem(signed, self._operators, now, self._checker)) is not None:
            raise NotGrantedError(f"the token for {token.provider} does not count: {why}")
        self._ledger.grant(token.sha256, token.provider, token.expires, to_json(signed))

    def enrol(self, token: str, tls_request: bytes, evidence_request: bytes, now: datetime) -> Pair:
        """Certificates for the provider that the token is for; the token is used up.

        Raises:
            NotGrantedError: the token can't be used.
            RequestError: a signing request can't be granted; the token stays good.
            AuthorityError: the ledger or the key fails.
        """
        digest = token_digest(token)
        granted = self._ledger.token(digest)
        if granted is None:
            raise NotGrantedError("nobody granted this token")
        if granted.used_at is not None:
            raise NotGrantedError("this token has been used or withdrawn: ask for a new one")
        if now >= granted.expires:
            raise NotGrantedError("this token has expired: ask for a new one")
        uri = provider_uri(granted.provider)  # type: ignore[arg-type]  # checked when it was granted
        made = self._made(uri, tls_request, evidence_request, now)
        if not self._ledger.use(digest, made, now):
            raise NotGrantedError("this token has been used or withdrawn: ask for a new one")
        return _pair(uri, made)

    def renew(
        self, uris: list[str], serial: int | None, tls_request: bytes, evidence_request: bytes, now: datetime
    ) -> Pair:
        """New certificates for whoever proved the certificate of this serial number, whose URIs these are.

        Raises:
            NotGrantedError: that certificate does not count.
            RequestError: a signing request can't be granted.
            AuthorityError: the ledger or the key fails.
        """
        present = None if serial is None else self._ledger.certificate(serial)
        if present is None or present.purpose is not Purpose.TLS or uris != [present.uri]:
            raise NotGrantedError("this authority did not issue the certificate that is shown: enrol with a token")
        if not providers_among(uris) and not coordinators_among(uris):
            raise NotGrantedError("a person's certificate is not renewed: let an operator certify a new request")
        if present.revoked_at is not None:
            raise NotGrantedError("the certificate that is shown is revoked: enrol with a token")
        if now >= present.valid_to:
            raise NotGrantedError("the certificate that is shown has expired: enrol with a token")
        if self._ledger.issued_since(present.uri, now - timedelta(days=1)) >= MOST_A_DAY:
            raise NotGrantedError(f"{MOST_A_DAY} certificates in a day are enough: look for what renews so often")
        made = self._made(present.uri, tls_request, evidence_request, now)
        if not self._ledger.note(made, f"renewal of {present.serial:x}", now, unless_revoked=present.serial):
            raise NotGrantedError("the certificate that is shown is revoked: enrol with a token")
        return _pair(present.uri, made)

    def issue(self, uri: str, tls_request: bytes, evidence_request: bytes, operator: str, now: datetime) -> Pair:
        """Certificates for the coordinator itself, by whoever sits at the authority's machine.

        Raises:
            RequestError, AuthorityError: as `enrol`.
        """
        made = self._made(uri, tls_request, evidence_request, now)
        self._ledger.note(made, f"operator:{operator}", now)
        return _pair(uri, made)

    def certify(self, role: Role, name: str, request: bytes, operator: str, now: datetime) -> bytes:
        """A certificate (PEM) with which a person calls in a role, by whoever sits at the authority's machine.

        Raises:
            NotGrantedError: providers enrol.
            InvalidIdentityError: `name` doesn't have the form of a provider id.
            RequestError, AuthorityError: as `enrol`.
        """
        if role is Role.PROVIDER:
            raise NotGrantedError("a provider enrols with a token: `hopback-coordinator enrolment invite`")
        uri, key = caller_uri(role, name), requested_key(request, Purpose.TLS)
        dns_name = caller_tls_name(role, name)
        made = issue(self._issuer, uri, key, Purpose.TLS, now, self._lifetime, dns_name)
        self._ledger.note([(made, uri, Purpose.TLS)], f"operator:{operator}", now)
        return made.public_bytes(Encoding.PEM)

    def revoke_serial(self, serial: int, reason: str, now: datetime) -> int:
        """This certificate no longer counts; gives 1, or 0 when it did not count before.

        Raises:
            AuthorityError: this authority issued no such certificate.
        """
        if self._ledger.certificate(serial) is None:
            raise AuthorityError(f"this authority issued no certificate {serial:x}: see `authority list`")
        return self._ledger.revoke([serial], reason, now)

    def revoke_party(self, uri: str, reason: str, now: datetime) -> int:
        """No certificate of this party counts any more, nor does a token that is still open; gives how many did."""
        self._ledger.withdraw_tokens(uri.rpartition("/")[2], now)
        return self._ledger.revoke([each.serial for each in self._ledger.certificates(uri, now)], reason, now)

    def revocation_list(self, now: datetime) -> bytes:
        """The list (DER), made anew when it is old or something was revoked since.

        Raises:
            AuthorityError: the ledger or the key fails.
        """
        changes = self._ledger.changes()
        if self._list is not None:
            der, made_at, of = self._list
            if of == changes and made_at <= now < made_at + self._lists_every:
                return der
        number = self._ledger.next_list(now)
        der = revocation_list(self._issuer, number, self._ledger.revoked(now), now, self._lists_every * 2)
        self._list = der, now, changes
        return der

    def _made(
        self, uri: str, tls_request: bytes, evidence_request: bytes, now: datetime
    ) -> list[tuple[x509.Certificate, str, Purpose]]:
        keys = [
            (requested_key(request, purpose), purpose)
            for request, purpose in ((tls_request, Purpose.TLS), (evidence_request, Purpose.EVIDENCE))
        ]
        return [(issue(self._issuer, uri, key, purpose, now, self._lifetime), uri, purpose) for key, purpose in keys]


def token_digest(token: str) -> bytes:
    """What is kept of a token."""
    return sha256(token.encode()).digest()


def _pair(uri: str, made: list[tuple[x509.Certificate, str, Purpose]]) -> Pair:
    tls, evidence = (certificate.public_bytes(Encoding.PEM) for certificate, _, _ in made)
    return Pair(uri, tls, evidence)

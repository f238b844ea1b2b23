"""Revoked certificates: signed lists (X.509 CRL, RFC 5280, section 5), and what follows when the list is old.

A list counts when a pinned root that may sign lists (key usage cRLSign) signed it. A list never goes back: one with a
lower number than the last (section 5.2.3), or of an earlier time, is refused, so that nobody can hide a revocation by
handing out an old list. Serial numbers are random and 159 bits long (section 4.1.2.2), so that the lists of
several roots are looked up together.

An old list says nothing of what was revoked since. The decision here: for `warn_after` a list counts as fresh, then it
counts and is warned of, and after `refuse_after` nobody passes any more (fail closed), unless that is switched off.
Whoever can hold back the list can stop an agent this way, but can't make it answer a thief.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

LARGEST_LIST: Final = 4 * 1024 * 1024
"""Bytes; some 100,000 revoked certificates."""
WARN_AFTER: Final = timedelta(hours=24)
REFUSE_AFTER: Final = timedelta(hours=72)
CLOCKS_DIFFER: Final = timedelta(minutes=5)

_SIGNS_LISTS: Final = (ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey, rsa.RSAPublicKey)


class RevocationError(ValueError):
    """The list does not count; the message says why."""


@dataclass(frozen=True, slots=True)
class RevocationList:
    """What a list says: `serials` no longer counted at `issued` (aware UTC), and whose key says it (DER)."""

    issuer: bytes
    number: int
    issued: datetime
    serials: frozenset[int]
    der: bytes = field(repr=False)


class ListAge(enum.Enum):
    """How far the lists at hand can be relied on."""

    FRESH = "fresh"
    OLD = "old"
    TOO_OLD = "too old"
    NONE = "none"


def read_revocation_list(der: bytes, roots: Iterable[x509.Certificate]) -> RevocationList:
    """The list in these bytes, its signature checked.

    Raises:
        RevocationError: it is none, too large, or not signed by one of `roots`.
    """
    if len(der) > LARGEST_LIST:
        raise RevocationError(f"a list of {len(der)} bytes is too large: {LARGEST_LIST} at most")
    try:
        crl = x509.load_der_x509_crl(der)
        signers = [root for root in roots if _may_sign(root, crl)]
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        serials = frozenset(entry.serial_number for entry in crl)
        issued = crl.last_update_utc
    except x509.ExtensionNotFound:
        raise RevocationError("it has no number: nobody could tell it from an older one") from None
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise RevocationError("it is no revocation list in DER form") from None
    if not signers:
        raise RevocationError("no pinned root signed it")
    issuer = signers[0].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return RevocationList(issuer, number, issued, serials, der)


def _may_sign(root: x509.Certificate, crl: x509.CertificateRevocationList) -> bool:
    if root.subject != crl.issuer:
        return False
    key = root.public_key()
    try:
        usage = root.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return False
    if not usage.crl_sign or not isinstance(key, _SIGNS_LISTS):
        return False
    return crl.is_signature_valid(key)


class Revocations:
    """The newest list of every root; empty until the first is taken."""

    def __init__(
        self,
        roots: Iterable[x509.Certificate],
        warn_after: timedelta = WARN_AFTER,
        refuse_after: timedelta | None = REFUSE_AFTER,
    ) -> None:
        """`refuse_after` None lets an old list count for ever."""
        self._roots = tuple(roots)
        self._warn_after, self._refuse_after = warn_after, refuse_after
        self._lists: dict[bytes, RevocationList] = {}
        self._serials: frozenset[int] = frozenset()

    def take(self, der: bytes, now: datetime) -> bool:
        """Use this list from now on; False when it is the one that is in use.

        Raises:
            RevocationError: it does not count, is older than the one in use, or of the future.
        """
        new = read_revocation_list(der, self._roots)
        known = self._lists.get(new.issuer)
        if new.issued > now + CLOCKS_DIFFER:
            raise RevocationError(f"it is of {new.issued:%Y-%m-%dT%H:%M:%SZ}, which is yet to come: check the clocks")
        if known is not None:
            if new.der == known.der:
                return False
            if new.number <= known.number or new.issued < known.issued:
                raise RevocationError(f"list {new.number} is older than list {known.number}, which is in use")
        self._lists[new.issuer] = new
        self._serials = frozenset().union(*(each.serials for each in self._lists.values()))
        return True

    @property
    def count(self) -> int:
        """How many certificates are revoked."""
        return len(self._serials)

    @property
    def issued(self) -> datetime | None:
        """When the oldest of the lists in use was issued; None when there is none."""
        return min((each.issued for each in self._lists.values()), default=None)

    def age(self, now: datetime) -> ListAge:
        """How far the lists in use can be relied on at `now`."""
        issued = self.issued
        if issued is None:
            return ListAge.NONE
        if self._refuse_after is not None and now - issued > self._refuse_after:
            return ListAge.TOO_OLD
        return ListAge.OLD if now - issued > self._warn_after else ListAge.FRESH

    def problem(self, serial: int | None, now: datetime) -> str | None:
        """Why whoever shows the certificate with this serial number is not let in at `now`; None when it may pass."""
        if serial is None:
            return "its certificate can't be read"
        if serial in self._serials:
            return "its certificate is revoked"
        if self._refuse_after is not None and self.age(now) in (ListAge.NONE, ListAge.TOO_OLD):
            return "nobody here can tell whether it still counts: the list of revoked ones is missing or too old"
        return None

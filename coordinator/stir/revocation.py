"""Whether a signer's certificate was revoked, by the list of the STI-PA (ATIS-1000080; RFC 5280, section 5 and 6.3).

One list tells of the certificates of all STI-CAs: it is indirect (IDP indirectCRL), and an entry is of the authority
that its certificateIssuer names, or the nearest one above it that names any, or else of the list's own issuer (5.3.3).
It counts where a certificate that is pinned here, and that may sign lists, has signed it. Refused, each with its
reason: a list of one authority about its own certificates, a delta, a list of some reasons or of authorities alone, one
with a critical extension that nobody here knows.

A certificate is judged as of the call, not as of today:

    not_revoked      the list is in force, and doesn't name it
    revoked_before   revoked when the call was made, or with effect from then or earlier (invalidityDate, 5.3.2)
    revoked_since    revoked after the call: it was good then, unless its key had been stolen
    unknown          there is no list, none that counts, or it is too old to leave the certificate out

What an old list names stays revoked; what it leaves out says nothing. A certificate that had expired when the list was
made says nothing either: lists drop expired ones. Never fetched, pure: a list comes as bytes, the times are passed in.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512

LARGEST_LIST: Final = 8 * 1024 * 1024
"""Bytes."""
CLOCKS_DIFFER: Final = timedelta(minutes=5)
NO_LIST: Final = "[stir] names no list of revoked certificates"
UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library says of bytes that it can't make sense of."""
_KNOWN_OF_LISTS: Final = (x509.IssuingDistributionPoint, x509.CRLNumber, x509.AuthorityKeyIdentifier)
_KNOWN_OF_ENTRIES: Final = (x509.CertificateIssuer, x509.CRLReason, x509.InvalidityDate)
_REASONS: Final = {
    x509.ReasonFlags.key_compromise: "key compromise",
    x509.ReasonFlags.ca_compromise: "the authority's key compromise",
    x509.ReasonFlags.aa_compromise: "the attribute authority's key compromise",
    x509.ReasonFlags.affiliation_changed: "affiliation changed",
    x509.ReasonFlags.superseded: "superseded",
    x509.ReasonFlags.cessation_of_operation: "cessation of operation",
    x509.ReasonFlags.certificate_hold: "on hold",
    x509.ReasonFlags.privilege_withdrawn: "privilege withdrawn",
    x509.ReasonFlags.unspecified: "no reason given",
}
_STOLEN: Final = frozenset(
    {x509.ReasonFlags.key_compromise, x509.ReasonFlags.ca_compromise, x509.ReasonFlags.aa_compromise}
)

_Names: TypeAlias = tuple[frozenset[tuple[str, str]], ...]


class ListError(ValueError):
    """The list does not count; the message says why."""


class State(enum.Enum):
    """Whether a certificate counted at the time of the call. Values are stable: they are stored, and shown in JSON."""

    NOT_REVOKED = "not_revoked"
    REVOKED_BEFORE = "revoked_before"
    REVOKED_SINCE = "revoked_since"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Revocation:
    """What is known: a state, and the same in words, a clause that begins small and has no full stop.

    Attributes:
        stolen: the key may have been in other hands when the call was made.
    """

    state: State
    words: str
    stolen: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One revoked certificate: when, with effect from when, why."""

    revoked: datetime
    invalid: datetime | None
    reason: x509.ReasonFlags

    @property
    def effective(self) -> datetime:
        """From when on it doesn't count."""
        return min(self.revoked, self.invalid) if self.invalid else self.revoked


@dataclass(frozen=True, slots=True)
class StiList:
    """A list that counts: of whom, made when, due again when (aware UTC), and what it names, by issuer and serial."""

    issuer: x509.Name
    number: int | None
    issued: datetime
    due: datetime
    points: frozenset[str] = frozenset()
    entries: Mapping[tuple[_Names, int], Entry] = field(default_factory=dict, repr=False)

    def entry(self, certificate: x509.Certificate) -> Entry | None:
        """What it says of this certificate; None where it doesn't name it."""
        return self.entries.get((_names(certificate.issuer), certificate.serial_number))

    def covers(self, certificate: x509.Certificate) -> bool:
        """Whether the certificate says that this list would name it (6.3.3 b): by its issuer, and where it lies."""
        try:
            points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        except (x509.ExtensionNotFound, *UNREADABLE):
            return False
        return any(self._is_named_by(point) for point in points)

    def _is_named_by(self, point: x509.DistributionPoint) -> bool:
        issuers = [one.value for one in point.crl_issuer or () if isinstance(one, x509.DirectoryName)]
        if point.reasons is not None or _names(self.issuer) not in map(_names, issuers):
            return False
        places = _places(point.full_name)
        return not self.points or not places or bool(self.points & places)


def read_list(data: bytes, pinned: Iterable[x509.Certificate]) -> StiList:
    """The list in these bytes (DER or PEM), signed by one of the pinned certificates.

    Raises:
        ListError: it is none, or doesn't count.
    """
    if len(data) > LARGEST_LIST:
        raise ListError(f"a list of {len(data):,} bytes is too large: {LARGEST_LIST:,} at most")
    try:
        pem = data.lstrip().startswith(b"-----BEGIN")
        crl = x509.load_pem_x509_crl(data) if pem else x509.load_der_x509_crl(data)
        extensions, issued, due = crl.extensions, crl.last_update_utc, crl.next_update_utc
        signed = any(_signed(crl, one, issued) for one in pinned)
    except UNREADABLE:
        raise ListError("it is no revocation list in DER or PEM form") from None
    if not signed:
        raise ListError("no certificate that is pinned for lists has signed it")
    point = _point(extensions)
    if due is None:
        raise ListError("it doesn't say when the next one is due (nextUpdate)")
    try:
        entries = _entries(crl)
    except ListError:
        raise
    except UNREADABLE:
        raise ListError("one of its entries can't be read") from None
    numbers = [one.value.crl_number for one in extensions if isinstance(one.value, x509.CRLNumber)]
    return StiList(
        issuer=crl.issuer,
        number=numbers[0] if numbers else None,
        issued=issued,
        due=due,
        points=_places(point.full_name),
        entries=entries,
    )


@dataclass(frozen=True, slots=True)
class Revoked:
    """The list at hand, or why there is none, as it was looked at `now`: says of certificates whether they counted."""

    known: StiList | str
    now: datetime

    @property
    def out_of_force(self) -> str:
        """Why what the list leaves out says nothing now; empty while it is in force."""
        if isinstance(self.known, str):
            return self.known
        if self._is_yet_to_come(self.known):
            return f"the list at hand is of {_when(self.known.issued)}, which is yet to come: check the clocks"
        if self.known.due < self.now:
            return f"the list at hand is old: the next one was due on {_when(self.known.due)}"
        return ""

    def of(self, chain: Sequence[x509.Certificate], at: datetime, event: str = "the call") -> Revocation:
        """Whether the first of a chain, or one that vouches for it, was revoked at `at`, the time of `event`."""
        why, signer, known = self.out_of_force, chain[0], self.known
        if isinstance(known, str) or self._is_yet_to_come(known):
            return _unknown(why)
        named = [(entry, place) for place, one in enumerate(chain) if (entry := known.entry(one)) is not None]
        if named:
            return _revoked(*min(named, key=lambda one: one[0].effective), at, event)
        if not why and not known.covers(signer):
            why = "it doesn't name the list at hand as the one that would tell"
        if not why and signer.not_valid_after_utc < known.issued:
            why = "it had expired when the list at hand was made, and lists drop what has expired"
        if why:
            return _unknown(why)
        words = f"the signer's certificate is not revoked, by the list of {_when(known.issued)}"
        return Revocation(State.NOT_REVOKED, words)

    def _is_yet_to_come(self, known: StiList) -> bool:
        return known.issued > self.now + CLOCKS_DIFFER


def _revoked(entry: Entry, place: int, at: datetime, event: str) -> Revocation:
    """What an entry says; `place` is that of its certificate in the chain, 0 the signer's."""
    before = entry.effective <= at
    whose = "an authority's certificate above the signer's" if place else "the signer's certificate"
    early = entry.invalid if entry.invalid is not None and entry.invalid < entry.revoked else None
    stolen = entry.reason in _STOLEN and (before or early is None)
    related = f" {'before' if before else 'since'} {event}"
    when = f"on {_when(entry.revoked)} ({_REASONS[entry.reason]})"
    if before and entry.revoked > at:
        words = f"{whose} was revoked {when} with effect from {_when(entry.effective)},{related}"
    else:
        words = f"{whose} was revoked{related}, {when}{f', with effect from {_when(early)}' if early else ''}"
    if stolen and not before:
        words += "; since when the key was in other hands is not said"
    return Revocation(State.REVOKED_BEFORE if before else State.REVOKED_SINCE, words, stolen)


def _unknown(why: str) -> Revocation:
    return Revocation(State.UNKNOWN, f"whether the signer's certificate was revoked is not known: {why}")


def read_pinned(pem: bytes) -> list[x509.Certificate]:
    """The certificates of a PEM file that lists may be signed with.

    Raises:
        ListError: there is none, or one may not sign lists.
    """
    try:
        found = x509.load_pem_x509_certificates(pem)
    except UNREADABLE:
        raise ListError("it holds no certificates in PEM form") from None
    if not all(map(_may_sign_lists, found)):
        raise ListError("one of its certificates may not sign lists (key usage cRLSign)")
    return found


def _signed(crl: x509.CertificateRevocationList, by: x509.Certificate, issued: datetime) -> bool:
    """Whether this pinned certificate signed it, while it was valid, and may sign lists at all."""
    key = by.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey) or not _may_sign_lists(by):
        return False
    if not isinstance(crl.signature_hash_algorithm, SHA256 | SHA384 | SHA512) or not crl.is_signature_valid(key):
        return False
    return by.not_valid_before_utc <= issued <= by.not_valid_after_utc and _names(by.subject) == _names(crl.issuer)


def _may_sign_lists(certificate: x509.Certificate) -> bool:
    """Whether its key usage is to sign lists."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except (x509.ExtensionNotFound, *UNREADABLE):
        return False


def _point(extensions: x509.Extensions) -> x509.IssuingDistributionPoint:
    """What the list is of (5.2.5)."""
    if any(isinstance(one.value, x509.DeltaCRLIndicator) for one in extensions):
        raise ListError("it is a delta, which tells only what has changed: hand in the whole list")
    if any(one.critical and not isinstance(one.value, _KNOWN_OF_LISTS) for one in extensions):
        raise ListError("it has a critical extension that is not known here")
    point = next((one.value for one in extensions if isinstance(one.value, x509.IssuingDistributionPoint)), None)
    if point is None or not point.indirect_crl:
        raise ListError("it is not indirect: an authority's list of its own certificates, not the STI-PA's of all")
    partly = point.only_some_reasons or point.relative_name
    if partly or point.only_contains_ca_certs or point.only_contains_attribute_certs:
        raise ListError("it doesn't tell of all signers' certificates, or not of every reason")
    return point


def _entries(crl: x509.CertificateRevocationList) -> dict[tuple[_Names, int], Entry]:
    """What it names; a certificate of several names, or named twice, by the earliest."""
    issuers, found = [crl.issuer], dict[tuple[_Names, int], Entry]()
    for one in crl:
        reason, invalid = x509.ReasonFlags.unspecified, None
        for extension in one.extensions:
            value = extension.value
            if isinstance(value, x509.CertificateIssuer):
                issuers = value.get_values_for_type(x509.DirectoryName)
                if not issuers:
                    raise ListError("an entry is of an authority that has no name")
            elif isinstance(value, x509.CRLReason):
                reason = value.reason
            elif isinstance(value, x509.InvalidityDate):
                invalid = value.invalidity_date_utc
            elif extension.critical:
                raise ListError("an entry has a critical extension that is not known here")
        if reason not in _REASONS:
            raise ListError("an entry takes another one back, as only deltas do")
        entry = Entry(one.revocation_date_utc, invalid, reason)
        for issuer in issuers:
            key = (_names(issuer), one.serial_number)
            known = found.get(key)
            found[key] = entry if known is None or entry.effective < known.effective else known
    return found


def _names(name: x509.Name) -> _Names:
    """A name as names are compared: without case, and spaces as one (RFC 5280 7.1)."""
    return tuple(
        frozenset((one.oid.dotted_string, " ".join(str(one.value).split()).casefold()) for one in part)
        for part in name.rdns
    )


def _places(names: Iterable[x509.GeneralName] | None) -> frozenset[str]:
    return frozenset(one.value for one in names or () if isinstance(one, x509.UniformResourceIdentifier))


def _when(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"

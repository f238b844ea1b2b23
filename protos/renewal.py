"""A party's certificates while it runs: renewed at half their life, without a dropped call and without a restart.

New keys are made for each renewal and never leave; signing requests go to whoever issues, and what comes back must name
this party, be of a pinned root and fit the new keys before anything on disk changes (`protos.key_pairs`). Then the new
ones are in place for every later handshake and signature; what the old ones began or signed stays good as long as they.

Not long before half the life (drawn a little at random, so that not all parties come at once); whatever goes wrong is
tried again, more often as the end comes near. The log says how many days are left, as an error once it is late.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from protos.certificates import CertificateError, PinnedRoots
from protos.evidence_key import EvidenceKey, EvidenceKeyError, read_evidence_key
from protos.key_pairs import KeyPair, KeyPairError, new_evidence_key, new_tls_key, signing_request
from protos.live import Live
from protos.tls import TlsFiles, TlsFilesError, read_tls_files

OFTEN: Final = timedelta(hours=1)
"""The longest pause after a renewal that failed, and between two looks at the clock."""
SELDOM: Final = timedelta(minutes=1)
"""The shortest pause after a renewal that failed."""
LATE: Final = 0.75
"""The share of its life after which a certificate should have been renewed long ago."""

log = structlog.get_logger()


class RenewalError(Exception):
    """No certificate was had; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Life:
    """When a certificate is valid; aware UTC."""

    valid_from: datetime
    valid_to: datetime

    def after(self, share: float) -> datetime:
        """When so much of its life is over."""
        return self.valid_from + (self.valid_to - self.valid_from) * share


def due_at(lives: list[Life], rng: random.Random) -> datetime:
    """When to renew what lives so long: shortly before half the life of the first."""
    return min(life.after(0.5 - 0.05 * rng.random()) for life in lives)


def is_late(lives: list[Life], now: datetime) -> bool:
    """Whether one of these should have been renewed long ago."""
    return any(now >= life.after(LATE) for life in lives)


def next_try(lives: list[Life], now: datetime) -> timedelta:
    """How long to wait after a renewal that failed: a tenth of what is left, within bounds."""
    left = min(life.valid_to for life in lives) - now
    return min(max(left / 10, SELDOM), OFTEN)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the certificates and keys of a party lie, and the roots of both kinds (PEM)."""

    tls: KeyPair
    roots: Path
    evidence: KeyPair
    evidence_roots: Path

    def recover(self) -> None:
        """Finish what was interrupted; to be called before the files are read.

        Raises:
            OSError: the disk refuses.
        """
        self.tls.recover()
        self.evidence.recover()


@dataclass(frozen=True, slots=True)
class PartyFiles:
    """What lies on disk of a party; `roots` are those of evidence certificates, as they were read."""

    tls: TlsFiles
    evidence: EvidenceKey
    roots: tuple[x509.Certificate, ...]


class Party:
    """What one party shows to others now, and puts in place of it.

    `tls` and `evidence` are what servers, clients and signers take their certificates and keys from; by `roots` they
    check the evidence of others.
    """

    def __init__(
        self, uri: str, places: Places, tls: Live[TlsFiles], evidence: Live[EvidenceKey], roots: PinnedRoots
    ) -> None:
        self.uri, self.places = uri, places
        self.tls, self.evidence, self.roots = tls, evidence, roots

    @property
    def files(self) -> PartyFiles:
        """What is in use."""
        return PartyFiles(self.tls.current, self.evidence.current, self.roots.roots)

    def lives(self) -> list[Life]:
        """Of both certificates in use."""
        tls, evidence = self.tls.current, self.evidence.current.certified
        return [Life(tls.valid_from, tls.valid_to), Life(evidence.valid_from, evidence.valid_to)]

    def reload(self, now: datetime) -> None:
        """Use what lies on disk from now on.

        Raises:
            RenewalError: it can't be used; what is in use stays in use.
        """
        self.use(self.read(now))

    def use(self, files: PartyFiles) -> None:
        """Use these from now on."""
        self.roots.pin(files.roots)
        self.evidence.replace(files.evidence)
        self.tls.replace(files.tls)

    def read(self, now: datetime) -> PartyFiles:
        """What lies on disk, checked at `now`.

        Raises:
            RenewalError: it can't be used.
        """
        places = self.places
        try:
            tls = read_tls_files(places.tls.certificate, places.tls.key, places.roots, now)
            roots = PinnedRoots.from_pem(places.evidence_roots.read_bytes())
            evidence = read_evidence_key(places.evidence.certificate, places.evidence.key, roots, self.uri, now)
        except (TlsFilesError, EvidenceKeyError, CertificateError, OSError) as error:
            raise RenewalError(str(error)) from None
        if self.uri not in tls.uris:
            named = ", ".join(tls.uris) or "nobody"
            raise RenewalError(f"certificate {places.tls.certificate} is of {named}, not of {self.uri}")
        return PartyFiles(tls, evidence, roots.roots)


@dataclass(frozen=True, slots=True)
class Obtained:
    """What came of two signing requests: chains (PEM)."""

    tls: bytes
    evidence: bytes


Obtain = Callable[[bytes, bytes], Awaitable[Obtained]]
"""From signing requests (PKCS#10, DER) for TLS and for evidence to certificates; raises RenewalError."""


async def obtain_pairs(uri: str, places: Places, obtain: Obtain) -> None:
    """Make new keys, have them certified, and put keys and certificates in place.

    Raises:
        RenewalError: nothing was had, or not what this party needs; the files are as they were.
        OSError: the disk refuses.
    """
    tls_key, evidence_key = new_tls_key(), new_evidence_key()
    got = await obtain(signing_request(tls_key), signing_request(evidence_key))

    def put() -> None:
        check_certificates(uri, places, got)
        try:
            places.tls.stage(tls_key, got.tls)
            places.evidence.stage(evidence_key, got.evidence)
        except KeyPairError as error:
            raise RenewalError(str(error)) from None
        places.recover()

    await asyncio.to_thread(put)


def check_certificates(uri: str, places: Places, got: Obtained) -> None:
    """Raise RenewalError unless these are certificates of this party and of its pinned roots."""
    try:
        tls, evidence = (x509.load_pem_x509_certificates(pem)[0] for pem in (got.tls, got.evidence))
        names = tls.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        certified = PinnedRoots.from_pem(places.evidence_roots.read_bytes()).certified(
            evidence.public_bytes(Encoding.DER)
        )
        roots = x509.load_pem_x509_certificates(places.roots.read_bytes())
    except (ValueError, CertificateError, x509.ExtensionNotFound) as error:
        raise RenewalError(f"what came is no pair of certificates for this party: {error}") from None
    if uris != [uri] or certified.uri != uri:
        raise RenewalError(f"the certificates that came are not for {uri}, but for {', '.join({*uris, certified.uri})}")
    if not any(_issued_by(tls, root) for root in roots):
        raise RenewalError(f"the TLS certificate that came is of no root in {places.roots}")


def _issued_by(leaf: x509.Certificate, root: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


class Renewal:
    """Renews both certificates of a party. `run` it until it is cancelled."""

    def __init__(
        self,
        party: Party,
        obtain: Obtain,
        clock: Callable[[], datetime],
        sleep: Callable[[timedelta], Awaitable[None]] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._party, self._obtain = party, obtain
        self._clock, self._sleep = clock, sleep or _sleep
        self._rng = rng or random.SystemRandom()

    async def run(self) -> None:
        """Wait, renew, wait; ends only by being cancelled."""
        due = due_at(self._party.lives(), self._rng)
        while True:
            now = self._clock()
            if now < due:
                await self._sleep(min(due - now, OFTEN))  # the clock may be put right meanwhile
                continue
            try:
                await self.renew()
                due = due_at(self._party.lives(), self._rng)
            except (RenewalError, OSError) as error:
                self._warn(str(error), now)
                await self._sleep(next_try(self._party.lives(), now))

    async def renew(self) -> None:
        """Renew now.

        Raises:
            RenewalError: nothing was had; the present certificates stay. OSError: the disk refuses.
        """
        await obtain_pairs(self._party.uri, self._party.places, self._obtain)
        self._party.reload(self._clock())
        log.info("certificates_renewed", valid_to=f"{min(life.valid_to for life in self._party.lives()):%Y-%m-%d}")

    def _warn(self, reason: str, now: datetime) -> None:
        lives = self._party.lives()
        left = min(life.valid_to for life in lives) - now
        tell = log.error if is_late(lives, now) else log.warning
        tell("certificates_not_renewed", reason=reason, days_left=left.days)


async def _sleep(length: timedelta) -> None:
    await asyncio.sleep(length.total_seconds())

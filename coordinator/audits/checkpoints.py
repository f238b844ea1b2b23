"""Watching over the providers' audit logs: that each only ever grows, and shows the same history to everybody.

With every answer comes a checkpoint of the log that holds it: size and root, signed by the provider. Each one is
kept, compared with what was kept before, and linked to it by a proof of consistency (RFC 6962, section 2.1.2), for
which the provider is asked in the background. Other providers are asked to witness it. A contradiction is an alarm with
both signed checkpoints as evidence, which stand alone before a court:

    FORK              two roots for one size
    SHRUNK            a later checkpoint is smaller than an earlier one
    NOT_CONSISTENT    the provider's proof that one is the beginning of the other proves nothing
    NO_PROOF          the provider answers, but gives no such proof
    WITNESS_REFUSES   another provider has seen a log that contradicts this one

Nothing here decides about a traceback: an answer stands by its own signature. A provider that can't be reached raises
no alarm; it is asked again. All decisions here are pure; `audits.watching` brings them together with a store,
with `AuditClient` and with a clock.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, Protocol

from google.protobuf.message import DecodeError

from coordinator.tracing.ports import Provider
from hopback.v1 import evidence_pb2 as evidence
from protos.certificates import CertificateError, Certified, PinnedRoots
from protos.codec import ContractError, check, digest, from_unix_ms
from protos.identity import ProviderId, provider_uri
from protos.merkle import EMPTY_ROOT, is_consistent
from protos.printable import printable
from protos.signing import Domain, Proof, Seal, SealChecker

LARGEST_LOG: Final = 2**62
"""Entries; a checkpoint that says more is no checkpoint."""

MOST_WITNESSES: Final = 7
"""Of one checkpoint in a bundle."""

Clock = Callable[[], datetime]


class BadCheckpointError(ValueError):
    """What came as a checkpoint of a provider is none that it signed; the message says why."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A checkpoint whose signature is good. `exact` is the serialised SignedCheckpoint, `certificate` of its key (DER).

    `at` is what the provider's clock said, `received` what ours did.
    """

    provider: ProviderId
    size: int
    root: bytes
    at: datetime
    exact: bytes = field(repr=False)
    certificate: bytes = field(repr=False)
    received: datetime
    linked: bool = False

    @property
    def sha256(self) -> bytes:
        """By what it is kept."""
        return digest(self.exact)


class AlarmKind(enum.Enum):
    """What contradicts what; see the module's text."""

    FORK = "fork"
    SHRUNK = "shrunk"
    NOT_CONSISTENT = "not_consistent"
    NO_PROOF = "no_proof"
    WITNESS_REFUSES = "witness_refuses"


@dataclass(frozen=True, slots=True)
class Alarm:
    """A provider's log is not what it should be; `first` and `second` are the evidence, the same one where one is."""

    provider: ProviderId
    kind: AlarmKind
    first: Seen
    second: Seen
    detail: str
    raised: datetime


@dataclass(frozen=True, slots=True)
class Witnessed:
    """Another provider's signature under a checkpoint. `seal` is serialised, `certificate` of its key (DER)."""

    checkpoint_sha256: bytes
    provider: ProviderId
    size: int
    witness: ProviderId
    seal: bytes
    certificate: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class WitnessTerms:
    """How many other providers are asked to witness, and how often one provider's log at most; 0 asks nobody."""

    count: int = 2
    every: timedelta = timedelta(hours=1)


DEFAULT_TERMS: Final = WitnessTerms()


class AuditClient(Protocol):
    """Asks agents about their logs. Every method raises `coordinator.tracing.ports.AgentError`."""

    async def latest(self, provider: Provider) -> tuple[evidence.SignedCheckpoint, bytes]:
        """The present checkpoint, and the certificate (DER) of the key that signed; nothing of it is checked."""
        ...

    async def consistency(self, provider: Provider, first: int, second: int) -> bytes:
        """The path from the log at one size to that at another; nothing of it is checked."""
        ...

    async def witness(self, witness: Provider, shown: Seen, first: int, path: bytes) -> WitnessReply:
        """What `witness` says to another's checkpoint."""
        ...


@dataclass(frozen=True, slots=True)
class WitnessReply:
    """A witness's seal with its certificate (DER), or the size that it signed last; nothing of it is checked."""

    seal: Seal | None
    certificate: bytes
    last_size: int


class CheckpointStore(Protocol):
    """Where checkpoints, witnesses' signatures and alarms are kept."""

    def keep(self, seen: Seen) -> bool:
        """Keep a checkpoint; False when it is there already."""
        ...

    def rivals(self, seen: Seen) -> Sequence[Seen]:
        """Those of the same provider that could contradict it: of its size; largest before its time, smallest after."""
        ...

    def unlinked(self, provider: ProviderId, limit: int) -> Sequence[Seen]:
        """Those without a proof, smallest first."""
        ...

    def linked_around(self, provider: ProviderId, size: int) -> tuple[Seen | None, Seen | None]:
        """The largest linked one of at most this size, and the smallest linked one of more."""
        ...

    def link(self, seen: Seen) -> None:
        """A proof ties it to the others."""
        ...

    def newest(self, provider: ProviderId) -> Seen | None:
        """The largest linked one."""
        ...

    def providers(self) -> Sequence[ProviderId]:
        """Of whom there are any."""
        ...

    def last_witnessed(self, provider: ProviderId, witness: ProviderId) -> Witnessed | None:
        """The largest that this witness signed."""
        ...

    def keep_witnessed(self, witnessed: Witnessed) -> None:
        """Keep a witness's signature."""
        ...

    def raise_alarm(self, alarm: Alarm) -> bool:
        """Keep an alarm; False when the same is there already."""
        ...

    def alarms(self, provider: ProviderId | None = None) -> Sequence[Alarm]:
        """All of them, newest first."""
        ...


# Decisions


def seen(
    provider: ProviderId,
    signed: evidence.SignedCheckpoint,
    certificate: bytes,
    roots: PinnedRoots,
    seals: SealChecker,
    received: datetime,
) -> Seen:
    """What came from `provider` as its checkpoint, checked as far as it stands alone.

    Raises:
        BadCheckpointError: it is none, of another provider, or not signed by a key certified as that provider's then.
    """
    try:
        check(signed)
        said = evidence.Checkpoint.FromString(signed.checkpoint)
        check(said)
        certified = roots.certified(certificate)
        at = from_unix_ms(said.at_unix_ms)
    except (ContractError, DecodeError, CertificateError, OverflowError) as error:
        raise BadCheckpointError(f"it can't be read: {printable(str(error))}") from None
    if said.provider != provider:
        raise BadCheckpointError("it is of another provider's log")
    if said.size > LARGEST_LOG or (said.size == 0 and said.root != EMPTY_ROOT):
        raise BadCheckpointError("no log has such a size and root")
    if not is_signed(
        signed.checkpoint, Seal.of_message(signed.seals[0]), Domain.CHECKPOINT, provider, certified, seals
    ):
        raise BadCheckpointError(f"it is not signed by a key of {provider}")
    if not certified.valid_at(at):
        raise BadCheckpointError("the key's certificate was not valid when it was signed")
    exact = evidence.SignedCheckpoint(checkpoint=signed.checkpoint, seals=signed.seals[:1])
    return Seen(provider, said.size, said.root, at, exact.SerializeToString(deterministic=True), certificate, received)


def is_signed(
    exact: bytes, seal: Seal, domain: Domain, provider: ProviderId, certified: Certified, seals: SealChecker
) -> bool:
    """Whether `seal` is `provider`'s over exactly these bytes."""
    by_it = certified.uri == provider_uri(provider)
    return by_it and Proof(seal, 0, b"").covers(exact) and seals.is_good(seal, domain, certified.key)


def contradiction(new: Seen, others: Iterable[Seen], now: datetime) -> Alarm | None:
    """Which of `others`, of the same provider, can't be true together with `new`; None when all can."""
    for other in others:
        earlier, later = (other, new) if other.at <= new.at else (new, other)
        if other.size == new.size and other.root != new.root:
            detail = f"two roots were signed for {new.size} entries"
            return Alarm(new.provider, AlarmKind.FORK, earlier, later, detail, now)
        if earlier.at < later.at and later.size < earlier.size:
            detail = f"{earlier.size} entries at {earlier.at:%Y-%m-%d %H:%M:%SZ}, but {later.size} after that"
            return Alarm(new.provider, AlarmKind.SHRUNK, earlier, later, detail, now)
    return None


def is_linked_by(path: bytes, smaller: Seen, larger: Seen) -> bool:
    """Whether `path` proves that the log of `smaller` is the beginning of that of `larger`."""
    return is_consistent(smaller.size, smaller.root, larger.size, larger.root, path)


def witnesses_for(provider: ProviderId, others: Iterable[Provider], count: int) -> list[Provider]:
    """Which providers witness: always the same as long as they are there, different ones for different providers."""
    able = [other for other in others if other.endpoint and other.id != provider]
    return sorted(able, key=lambda other: sha256(f"{provider} {other.id}".encode()).digest())[:count]


def with_witnesses(checkpoint: Seen, witnessed: Sequence[Witnessed]) -> evidence.SignedCheckpoint:
    """A checkpoint with its witnesses' signatures, as it goes into a bundle."""
    signed = evidence.SignedCheckpoint.FromString(checkpoint.exact)
    signed.seals.extend(evidence.Seal.FromString(one.seal) for one in witnessed)
    return signed

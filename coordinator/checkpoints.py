"""Watching over the providers' audit logs: that each only ever grows, and shows the same history to everybody.

With every answer comes a checkpoint of the log that holds it: size and root, signed by the provider. Here each one is
kept, compared with what was kept before, and linked to it by a proof of consistency (RFC 6962, section 2.1.2), for
which the provider is asked in the background. Other providers are asked to witness it. A contradiction is an alarm with
both signed checkpoints as evidence, which stand alone before a court:

    FORK              two roots for one size
    SHRUNK            a later checkpoint is smaller than an earlier one
    NOT_CONSISTENT    the provider's proof that one is the beginning of the other proves nothing
    NO_PROOF          the provider answers, but gives no such proof
    WITNESS_REFUSES   another provider has seen a log that contradicts this one

Nothing here decides about a traceback: an answer stands by its own signature. A provider that can't be reached raises
no alarm; it is asked again. Decisions are pure (`seen`, `contradiction`, `is_linked_by`); the `Watch` brings them
together with a store, with `AuditClient` and with a clock, all passed in.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, Protocol

import structlog
from google.protobuf.message import DecodeError

from coordinator.ports import AgentError, BadAnswerError, Provider
from hopback.v1 import evidence_pb2 as evidence
from protos.certificates import CertificateError, Certified, PinnedRoots
from protos.codec import ContractError, check, digest, from_unix_ms
from protos.identity import ProviderId, provider_uri
from protos.merkle import EMPTY_ROOT, HASH_SIZE, is_consistent
from protos.printable import printable
from protos.signing import Domain, Proof, Seal, SealChecker

_MORE_WITNESSES: Final = 4
"""So many others are asked where those who come first don't answer."""
LARGEST_LOG: Final = 2**62
"""Entries; a checkpoint that says more is no checkpoint."""
MOST_WAITING: Final = 10_000
"""Checkpoints that came and are not kept yet; more are let go, for they are kept with their answers, too."""

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


class AuditClient(Protocol):
    """Asks agents about their logs. Every method raises `coordinator.ports.AgentError`."""

    async def latest(self, provider: Provider) -> tuple[evidence.SignedCheckpoint, bytes]:
        """The present checkpoint, and the certificate (DER) of the key that signed; nothing of it is checked."""
        ...

    async def consistency(self, provider: Provider, first: int, second: int) -> Sequence[bytes]:
        """The path from the log at one size to that at another; nothing of it is checked."""
        ...

    async def witness(self, witness: Provider, shown: Seen, first: int, path: Sequence[bytes]) -> WitnessReply:
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
    return by_it and Proof(seal, 0, ()).covers(exact) and seals.is_good(seal, domain, certified.key)


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


def is_linked_by(path: Sequence[bytes], smaller: Seen, larger: Seen) -> bool:
    """Whether `path` proves that the log of `smaller` is the beginning of that of `larger`."""
    right = all(len(node) == HASH_SIZE for node in path)
    return right and is_consistent(smaller.size, smaller.root, larger.size, larger.root, path)


def witnesses_for(provider: ProviderId, others: Iterable[Provider], count: int) -> list[Provider]:
    """Which providers witness: always the same as long as they are there, different ones for different providers."""
    able = [other for other in others if other.endpoint and other.id != provider]
    return sorted(able, key=lambda other: sha256(f"{provider} {other.id}".encode()).digest())[:count]


# The watch


class Watch:
    """Keeps, links and has witnessed what comes. Implements `coordinator.asking.CheckpointSink`.

    `came` never blocks; `work` does what is to be done now, and `run` does it for ever.
    """

    def __init__(
        self,
        store: CheckpointStore,
        client: AuditClient,
        roots: PinnedRoots,
        clock: Clock,
        providers: Callable[[], Iterable[Provider]],
        terms: WitnessTerms = WitnessTerms(),
        *,
        links_at_once: int = 200,
        is_revoked: Callable[[Certified], bool] = lambda certified: False,  # noqa: ARG005
        log: Any = None,
    ) -> None:
        """`providers` gives the registry's; of one provider, `links_at_once` proofs are asked for in one go at most.

        `log` is a logger as structlog has them, by default the process's.
        """
        self._store = store
        self._client = client
        self._roots = roots
        self._clock = clock
        self._providers = providers
        self._terms = terms
        self._links_at_once = links_at_once
        self._is_revoked = is_revoked
        self._log = log or structlog.get_logger()
        self._seals = SealChecker()
        self._waiting: deque[tuple[ProviderId, evidence.SignedCheckpoint, bytes, datetime]] = deque()
        self._there = asyncio.Event()
        self.let_go = 0
        """Checkpoints that came when too many were waiting."""

    def came(self, provider: ProviderId, checkpoint: evidence.SignedCheckpoint, certificate: bytes) -> None:
        """With an answer of `provider` came this; it is looked at later."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self.let_go += 1
        self._waiting.append((provider, checkpoint, certificate, self._clock()))
        self._there.set()

    async def run(self, fetch_every: timedelta | None = None) -> None:
        """Work whenever something came, and every so often fetch from all, until cancelled.

        Whatever fails is logged and tried again with the next checkpoint: tracing does not wait for the watch.
        """
        pause = None if fetch_every is None else fetch_every.total_seconds()
        while True:
            try:
                async with asyncio.timeout(pause):
                    await self._there.wait()
            except TimeoutError:
                fetch = True
            else:
                self._there.clear()
                fetch = False
            try:
                await (self.round() if fetch else self.work())
            except Exception as error:
                self._log.error("watch_failed", error=type(error).__name__, problem=printable(str(error)))

    async def round(self) -> list[ProviderId]:
        """Fetch from every agent, link and have witnessed what is there; returns those that could not be reached."""
        unreached = [one.id for one in self._providers() if one.endpoint and not await self.fetch(one)]
        await self.work(await asyncio.to_thread(self._store.providers))
        return unreached

    def keep_all(self) -> None:
        """Keep what came, without asking anybody; blocks."""
        while self._waiting:
            self.keep(*self._waiting.popleft())

    async def work(self, providers: Iterable[ProviderId] | None = None) -> None:
        """Keep what came; then link and have witnessed what these providers signed, by default those that came."""
        touched = dict.fromkeys(providers or ())
        while self._waiting:
            provider, checkpoint, certificate, at = self._waiting.popleft()
            if await asyncio.to_thread(self.keep, provider, checkpoint, certificate, at):
                touched[provider] = None
        registry = {provider.id: provider for provider in self._providers()}
        for name in touched:
            entry = registry.get(name)
            if entry is not None and entry.endpoint:
                await self.link(entry)
                await self.have_witnessed(entry, list(registry.values()))

    async def fetch(self, provider: Provider) -> bool:
        """Ask a provider for its present checkpoint and keep it; False when it can't be reached or sends none."""
        try:
            checkpoint, certificate = await self._client.latest(provider)
        except AgentError as error:
            self._log.info("checkpoint_not_fetched", provider=provider.id, detail=error.detail)
            return False
        return await asyncio.to_thread(self.keep, provider.id, checkpoint, certificate, self._clock())

    def keep(
        self, provider: ProviderId, checkpoint: evidence.SignedCheckpoint, certificate: bytes, at: datetime
    ) -> bool:
        """Check and keep one, and compare it with those that are there; False when it is none."""
        try:
            new = seen(provider, checkpoint, certificate, self._roots, self._seals, at)
        except BadCheckpointError as error:
            self._log.warning("checkpoint_not_taken", provider=provider, problem=str(error))
            return False
        if self._store.keep(new):
            alarm = contradiction(new, self._store.rivals(new), at)
            if alarm is not None:
                self._raise(alarm)
        return True

    async def link(self, provider: Provider) -> None:
        """Ask for the proofs that tie what a provider signed together, smallest first."""
        for new in await asyncio.to_thread(self._store.unlinked, provider.id, self._links_at_once):
            before, after = await asyncio.to_thread(self._store.linked_around, provider.id, new.size)
            smaller, larger = (new, after) if after is not None else (before, new)
            if (
                smaller is not None
                and larger is not None
                and smaller.size
                and not await self._prove(provider, smaller, larger)
            ):
                return
            await asyncio.to_thread(self._store.link, new)

    async def _prove(self, provider: Provider, smaller: Seen, larger: Seen) -> bool:
        if smaller.size == larger.size:
            return smaller.root == larger.root  # a fork has its alarm already
        try:
            path = await self._client.consistency(provider, smaller.size, larger.size)
        except BadAnswerError as error:
            kind = AlarmKind.NO_PROOF
            problem = f"asked for the proof from {smaller.size} to {larger.size} entries it says: {error.detail}"
        except AgentError as error:
            self._log.info("proof_not_fetched", provider=provider.id, detail=error.detail)
            return False
        else:
            if is_linked_by(path, smaller, larger):
                return True
            kind = AlarmKind.NOT_CONSISTENT
            problem = f"its proof from {smaller.size} to {larger.size} entries proves nothing"
        self._raise(Alarm(provider.id, kind, smaller, larger, printable(problem), self._clock()))
        return False

    async def have_witnessed(self, provider: Provider, registry: Sequence[Provider]) -> None:
        """Have the newest linked checkpoint of a provider signed by others, if its last time is long enough ago."""
        newest = await asyncio.to_thread(self._store.newest, provider.id)
        if newest is None or not newest.size:
            return
        signed = 0
        for witness in witnesses_for(provider.id, registry, self._terms.count + _MORE_WITNESSES):
            if signed >= self._terms.count:
                return
            last = await asyncio.to_thread(self._store.last_witnessed, provider.id, witness.id)
            if last is not None and (self._clock() - last.at < self._terms.every or last.size >= newest.size):
                signed += 1
                continue
            try:
                signed += await self._ask_witness(provider, witness, newest, 0 if last is None else last.size)
            except AgentError as error:
                self._log.info("witness_not_reached", provider=provider.id, witness=witness.id, detail=error.detail)

    async def _ask_witness(self, provider: Provider, witness: Provider, newest: Seen, first: int) -> bool:
        """Whether the witness signed."""
        for _ in range(2):  # the witness may have signed more than this coordinator knows of
            path = await self._client.consistency(provider, first, newest.size) if 0 < first < newest.size else ()
            try:
                reply = await self._client.witness(witness, newest, first, path)
            except BadAnswerError as error:
                detail = printable(f"{witness.id}: {error.detail}")
                alarm = Alarm(provider.id, AlarmKind.WITNESS_REFUSES, newest, newest, detail, self._clock())
                self._raise(alarm)
                return False
            if reply.seal is not None:
                return self._keep_seal(witness, newest, reply.seal, reply.certificate)
            if not 0 <= reply.last_size <= newest.size or reply.last_size == first:
                return False
            first = reply.last_size
        return False

    def _keep_seal(self, witness: Provider, newest: Seen, seal: Seal, certificate: bytes) -> bool:
        exact, now = evidence.SignedCheckpoint.FromString(newest.exact).checkpoint, self._clock()
        try:
            certified = self._roots.certified(certificate)
        except CertificateError as error:
            self._log.warning("witness_not_taken", witness=witness.id, problem=str(error))
            return False
        good = is_signed(exact, seal, Domain.WITNESS, witness.id, certified, self._seals)
        if not good or not certified.valid_at(now) or self._is_revoked(certified):
            self._log.warning("witness_not_taken", witness=witness.id, problem="its signature is not good")
            return False
        self._store.keep_witnessed(
            Witnessed(
                newest.sha256,
                newest.provider,
                newest.size,
                witness.id,
                seal.to_message().SerializeToString(deterministic=True),
                certificate,
                now,
            )
        )
        return True

    def _raise(self, alarm: Alarm) -> None:
        if self._store.raise_alarm(alarm):
            self._log.error(
                "audit_log_contradicts_itself", provider=alarm.provider, kind=alarm.kind.value, detail=alarm.detail
            )


def with_witnesses(checkpoint: Seen, seals: Iterable[bytes]) -> evidence.SignedCheckpoint:
    """A checkpoint with its witnesses' signatures (serialised Seals), as it goes into a bundle."""
    signed = evidence.SignedCheckpoint.FromString(checkpoint.exact)
    signed.seals.extend(evidence.Seal.FromString(seal) for seal in seals)
    return signed

"""The watch over the providers' audit logs: what is kept, linked, witnessed and reported, and when.

Whatever it decides by is in `audits.checkpoints`. A provider that can't be reached raises no alarm; it is asked
again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from coordinator.audits.checkpoints import (
    DEFAULT_TERMS,
    Alarm,
    AlarmKind,
    AuditClient,
    BadCheckpointError,
    CheckpointStore,
    Clock,
    Seen,
    Witnessed,
    WitnessTerms,
    contradiction,
    is_linked_by,
    is_signed,
    seen,
    witnesses_for,
)
from coordinator.tracing.ports import AgentError, BadAnswerError, Provider
from hopback.v1 import evidence_pb2 as evidence
from protos.certificates import CertificateError, Certified, PinnedRoots
from protos.identity import ProviderId
from protos.printable import printable
from protos.signing import Domain, Seal, SealChecker

_MORE_WITNESSES: Final = 4
"""So many others are asked where those who come first don't answer."""
MOST_WAITING: Final = 10_000
"""Checkpoints that came and are not kept yet; more are let go, for they are kept with their answers, too."""


class Watch:
    """Keeps, links and has witnessed what comes. Implements `coordinator.lookups.asking.CheckpointSink`.

    `came` never blocks; `work` does what is to be done now, and `run` does it for ever.
    """

    def __init__(
        self,
        store: CheckpointStore,
        client: AuditClient,
        roots: PinnedRoots,
        clock: Clock,
        providers: Callable[[], Iterable[Provider]],
        terms: WitnessTerms = DEFAULT_TERMS,
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
            path = await self._client.consistency(provider, first, newest.size) if 0 < first < newest.size else b""
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

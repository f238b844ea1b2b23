"""Making bundles of what the database holds: for the command at the coordinator, and for callers from elsewhere alike.

Same bytes either way: what goes in are the rows, the agents' proofs, the coordinator's online key and one time.
Everything but asking the agents is work of a second or so, for a thread of its own where others wait.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from sqlalchemy import Engine

from coordinator.audits.checkpoints import LARGEST_LOG, with_witnesses
from coordinator.audits.client import AgentAudits
from coordinator.store.checkpoints import SqlCheckpoints
from coordinator.store.evidence import collect
from coordinator.tracing.ports import AgentError, Provider, UnreachableError
from hopback.v1 import evidence_pb2
from hopback.v1.audit_pb2 import AuditEntry
from protos.codec import digest
from protos.hops import Parts
from protos.identity import ProviderId
from protos.orders import Persons
from protos.signing import Signer

if TYPE_CHECKING:
    from coordinator.evidence.signatures import Trust
    from hopback.v1 import bundle_pb2 as pb


@dataclass(frozen=True, slots=True)
class Notary:
    """Makes bundles for the coordinator `name`.

    `signer` reads the online key and may raise `ConfigError`; `roots` reads the providers' roots (PEM), `sti_roots`
    those of STI-CAs; `header` gives the Identity header of a traceback's call with its certificates (PEM), or None;
    without `audits` no agent is asked.
    """

    engine: Engine
    name: str
    persons: Persons
    signer: Callable[[], Signer]
    roots: Callable[[], bytes]
    provider: Callable[[ProviderId], Provider | None]
    clock: Callable[[], datetime]
    audits: AgentAudits | None = None
    sti_roots: Callable[[], bytes] = bytes
    header: Callable[[uuid.UUID], tuple[bytes, bytes] | None] = lambda traceback_id: None  # noqa: ARG005

    def trust(self) -> Trust:
        """What the coordinator itself trusts."""
        from coordinator.evidence.signatures import Trust

        persons = {**self.persons.submitters, **self.persons.approvers}
        return Trust(persons, self.roots(), self.persons.approvals, sti_roots=self.sti_roots())

    def collect(self, traceback_id: uuid.UUID) -> pb.TracebackEvidence:
        """What was signed of one traceback.

        Raises:
            coordinator.store.evidence.NoEvidenceError: there is no such traceback, or nothing of it is signed.
        """
        persons = {**self.persons.submitters, **self.persons.approvers}
        return collect(self.engine, traceback_id, coordinator=self.name, persons=persons, made=self.clock())

    async def add_log_proofs(self, evidence: pb.TracebackEvidence) -> list[str]:
        """Put the agents' proofs that their logs hold the answers into it; gives the providers that gave none."""
        missing: set[str] = set()

        async def ask(hop: pb.HopEvidence) -> None:
            try:
                entry = self.provider(ProviderId(hop.provider))
                if entry is None or self.audits is None:
                    raise UnreachableError("nobody to ask")
                hop.logged.CopyFrom(await self.audits.answer(entry, digest(hop.question)))
                _, certificate = await self.audits.latest(entry)
            except AgentError:
                missing.add(hop.provider)
                return
            certificates = [certificate]  # of the key that is current now, not when it answered
            with suppress(AgentError):
                certificates += await self._add_witnesses(hop, entry, self.audits)
            evidence.certificates.extend(der for der in dict.fromkeys(certificates) if der not in evidence.certificates)

        await asyncio.gather(*(ask(hop) for hop in evidence.hops if hop.naming))
        return sorted(missing)

    async def _add_witnesses(self, hop: pb.HopEvidence, provider: Provider, audits: AgentAudits) -> list[bytes]:
        """Put in what others saw of the log first after it held the answer; gives the certificates of who signed it.

        Nothing that the provider shows is judged here: whoever verifies the bundle is told.

        Raises:
            AgentError: the provider does not prove that it is the log which it shows.
        """
        try:
            shown = evidence_pb2.Checkpoint.FromString(hop.logged.checkpoint.checkpoint)
            index = _answer_at(hop)
        except DecodeError:
            return []
        if index is None or not index < shown.size <= LARGEST_LOG:
            return []
        found = await asyncio.to_thread(SqlCheckpoints(self.engine).witnessed_with, provider.id, index)
        if found is None:
            return []
        seen, witnesses = found
        first, second = sorted((seen.size, shown.size))
        path = b"" if first == second else await audits.consistency(provider, first, second)
        hop.witnessed.checkpoint.CopyFrom(with_witnesses(seen, witnesses))
        hop.witnessed.path = path
        return [seen.certificate, *(witness.certificate for witness in witnesses)]

    def sealed(self, evidence: pb.TracebackEvidence) -> bytes:
        """The file.

        Raises:
            coordinator.config.ConfigError: the online key can't be used.
        """
        from coordinator.evidence.bundle import bundle

        header = self.header(uuid.UUID(evidence.traceback_id))
        return bundle(evidence, self.trust(), self.signer(), header)


def _answer_at(hop: pb.HopEvidence) -> int | None:
    """Where the provider's log holds the hop's answer first, as it says.

    Raises:
        DecodeError: an entry is none.
    """
    leaf = Parts(hop.naming, hop.finding).leaf
    entries = ((entry.index, AuditEntry.FromString(entry.entry)) for entry in hop.logged.entries)
    return min((index for index, entry in entries if entry.answer_leaf == leaf), default=None)

"""Asks agents about their audit logs, over whatever way requests take to them (`coordinator.lookups.transport`).

What comes back is parsed and held to the contract's rules, nothing more; `audits.checkpoints` decides what it
proves. Whatever can't be parsed is a `BadAnswerError`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, TypeVar

from google.protobuf.message import Message

from coordinator.audits.checkpoints import Seen, WitnessReply
from coordinator.lookups.transport import Transport
from coordinator.tracing.ports import BadAnswerError, Provider
from hopback.v1 import audit_pb2 as pb
from hopback.v1 import evidence_pb2 as evidence
from protos.codec import ContractError, check, parse
from protos.printable import printable
from protos.signing import Seal

SERVICE: Final = "/hopback.v1.AuditService/"
TIMEOUT: Final = timedelta(seconds=10)
M = TypeVar("M", bound=Message)


class AgentAudits:
    """Implements `coordinator.audits.checkpoints.AuditClient` over a transport."""

    def __init__(self, transport: Transport, timeout: timedelta = TIMEOUT) -> None:
        self._transport = transport
        self._timeout = timeout

    async def latest(self, provider: Provider) -> tuple[evidence.SignedCheckpoint, bytes]:
        """See `AuditClient.latest`."""
        found = await self._call(
            provider, "LatestCheckpoint", pb.LatestCheckpointRequest(), pb.LatestCheckpointResponse()
        )
        return found.checkpoint, found.certificate

    async def consistency(self, provider: Provider, first: int, second: int) -> bytes:
        """See `AuditClient.consistency`."""
        request = pb.ProveConsistencyRequest(first=first, second=second)
        found = await self._call(provider, "ProveConsistency", request, pb.ProveConsistencyResponse())
        return found.path

    async def witness(self, witness: Provider, shown: Seen, first: int, path: bytes) -> WitnessReply:
        """See `AuditClient.witness`."""
        request = pb.WitnessRequest(
            checkpoint=evidence.SignedCheckpoint.FromString(shown.exact),
            certificate=shown.certificate,
            first=first,
            path=path,
        )
        found = await self._call(witness, "Witness", request, pb.WitnessResponse())
        seal = Seal.of_message(found.seal) if found.HasField("seal") else None
        return WitnessReply(seal, found.certificate, found.last_size)

    async def answer(self, provider: Provider, question_sha256: bytes) -> pb.ProveAnswerResponse:
        """The entries about a question and their paths; nothing of them is checked.

        Raises:
            AgentError: one of its four kinds.
        """
        request = pb.ProveAnswerRequest(question_sha256=question_sha256)
        return await self._call(provider, "ProveAnswer", request, pb.ProveAnswerResponse())

    async def _call(self, provider: Provider, method: str, request: Message, response: M) -> M:
        received = await self._transport.call(
            provider, SERVICE + method, request.SerializeToString(deterministic=True), self._timeout
        )
        try:
            parse(response, received)
            check(response)
        except ContractError as error:
            raise BadAnswerError(printable(str(error)), received) from None
        return response

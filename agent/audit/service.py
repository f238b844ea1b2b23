"""AuditService: what the coordinator and witnesses may see of the log, as functions from bytes to bytes.

    LatestCheckpoint    the durable state, signed
    ProveConsistency    that one state is the beginning of another (RFC 6962, section 2.1.2)
    ProveAnswer         the entries about one question and where they stand; sealed parts stay sealed
    Witness             see `agent.audit.witness`

Whoever serves them, over a port or a stream, takes the methods from `AuditService.methods` and calls them outside the
event loop: they read files, and `Witness` waits for the disk. A coordinator sees entries about what it asked itself,
and what people at the provider decided about that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from agent.audit.book import OPERATOR, AuditBook
from agent.audit.witness import Witness
from hopback.v1 import audit_pb2 as pb
from hopback.v1 import evidence_pb2 as evidence
from protos.codec import ContractError, check, parse
from protos.types import ErrorReason

SERVICE: Final = "hopback.v1.AuditService"
MOST_ENTRIES: Final = 16
Method = Callable[[bytes, str], bytes]
"""From a serialised request, and who asks (the URI in its certificate), to a serialised response."""


class AuditService:
    """Answers for one log. Methods raise ContractError for what can't be taken, and
    `agent.audit.errors.AuditError` when the log can't be read or written."""

    def __init__(self, book: AuditBook, witness: Witness) -> None:
        self._book = book
        self._witness = witness

    @property
    def methods(self) -> Mapping[str, Method]:
        """Every method of the service, by its name."""
        return {
            "LatestCheckpoint": self.latest_checkpoint,
            "ProveConsistency": self.prove_consistency,
            "ProveAnswer": self.prove_answer,
            "Witness": self._witness.witness,
        }

    def latest_checkpoint(self, request: bytes, asker: str) -> bytes:
        """See AuditService.LatestCheckpoint."""
        del asker
        parse(pb.LatestCheckpointRequest(), request)
        return pb.LatestCheckpointResponse(
            checkpoint=self._book.checkpoint(), certificate=self._book.certificate
        ).SerializeToString()

    def prove_consistency(self, request: bytes, asker: str) -> bytes:
        """See AuditService.ProveConsistency."""
        del asker
        message = parse(pb.ProveConsistencyRequest(), request)
        first, second = message.first, message.second
        checkpoint = self._book.checkpoint()
        latest = evidence.Checkpoint.FromString(checkpoint.checkpoint).size
        size = second or latest
        if size > latest:
            raise ContractError(ErrorReason.INVALID_FIELD, f"{size} entries were never signed", ("second",))
        if size < latest and (kept := self._book.log.checkpoint_of(size)) is not None:
            checkpoint = evidence.SignedCheckpoint.FromString(kept)
        if first > size:
            raise ContractError(ErrorReason.INVALID_FIELD, f"a log of {size} entries holds no {first}", ("first",))
        return pb.ProveConsistencyResponse(
            path=self._book.log.consistency(first, size), checkpoint=checkpoint
        ).SerializeToString()

    def prove_answer(self, request: bytes, asker: str) -> bytes:
        """See AuditService.ProveAnswer."""
        message = parse(pb.ProveAnswerRequest(), request)
        check(message)
        log = self._book.log
        found = []
        for index in log.find(message.question_sha256):
            exact = log.entry(index)
            entry = pb.AuditEntry.FromString(exact)
            if entry.asker == asker or entry.asker.startswith(OPERATOR):
                found.append((index, exact, entry.kind))
        # after many replays the answer itself and what came of it is what somebody wants to see proven
        telling = [one for one in found if one[2] != pb.AUDIT_KIND_REPLAYED]
        chosen = sorted((telling + [one for one in found if one not in telling])[:MOST_ENTRIES])
        checkpoint = self._book.checkpoint()
        size = evidence.Checkpoint.FromString(checkpoint.checkpoint).size
        return pb.ProveAnswerResponse(
            entries=[
                pb.ProvenEntry(entry=exact, index=index, path=log.inclusion(index, size))
                for index, exact, _ in chosen
                if index < size
            ],
            checkpoint=checkpoint,
        ).SerializeToString()

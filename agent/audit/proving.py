"""Proofs out of the files alone: entries, and their paths to the last checkpoint that was kept."""

from __future__ import annotations

from collections.abc import Iterable

from agent.audit.reader import AuditReader, size_and_root
from hopback.v1 import audit_pb2 as pb
from hopback.v1 import evidence_pb2 as evidence


def proof_of(reader: AuditReader, indexes: Iterable[int]) -> pb.ProveAnswerResponse:
    """The entries at `indexes` that the last kept checkpoint covers, with their paths to its root.

    Raises:
        agent.audit.errors.AuditBrokenError: an entry was altered, or the tree contradicts itself.
    """
    last = reader.checkpoint(reader.checkpoints - 1) if reader.checkpoints else None
    said = size_and_root(last) if last is not None else None
    if last is None or said is None:
        return pb.ProveAnswerResponse()
    size, _ = said
    return pb.ProveAnswerResponse(
        entries=[
            pb.ProvenEntry(entry=reader.entry(index), index=index, path=reader.inclusion(index, size))
            for index in indexes
            if index < size
        ],
        checkpoint=evidence.SignedCheckpoint.FromString(last),
    )

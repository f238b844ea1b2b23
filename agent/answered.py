"""What this agent has answered before, out of its own audit log: the question as it came, and the answer as it left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from agent.audit.book import read_entry
from agent.audit.errors import AuditError
from agent.audit.reader import AuditReader
from agent.audit.sealing import AuditKey, SealBrokenError
from agent.gate.memory import Memory
from hopback.v1 import audit_pb2 as audit
from protos.codec import ContractError
from protos.hops import Asked, Finding, Parts, decode_parts, decode_question
from protos.identity import ProviderId
from protos.types import Answer


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer that left; `asker` is the URI of the coordinator that asked."""

    asked: Asked
    answer: Answer
    finding: Finding
    asker: str


AnsweredBefore = Callable[[UUID], Answered | None]
"""What was answered to the question of this id; None where none was, or none that can be read any more."""


def answered_before(memory: Memory, log: AuditReader, sealing: AuditKey, me: ProviderId) -> AnsweredBefore:
    """Look-ups in the log, at the places that the gate's memory knows."""

    def answered(question_id: UUID) -> Answered | None:
        known = memory.recall([question_id.bytes]).get(question_id.bytes)
        if known is None or known.entry < 0:
            return None
        try:
            filed = read_entry(log, known.entry, log.entry(known.entry), sealing)
            if filed.kind != audit.AUDIT_KIND_ANSWER or filed.opened is None:
                return None
            asked = decode_question(filed.opened.question)
            answer, finding = decode_parts(Parts(filed.opened.naming, filed.opened.finding), asked, me)
        except (AuditError, SealBrokenError, ContractError):
            return None
        return Answered(asked, answer, finding, filed.asker)

    return answered

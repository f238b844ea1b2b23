"""What a person gets to see of a held answer, and what the person decided, as values and as the bytes that are kept.

A held answer stands for one matter: this order, this number, this time, this naming. A later question about the same
matter gets what was decided, without another search. Kept bytes are sealed (`agent.audit.sealing`), because they hold
numbers; times are aware UTC.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from agent.disclosure import HoldReason
from protos.codec import from_unix_ms, unix_ms
from protos.e164 import E164, parse_e164
from protos.hops import Asked
from protos.identity import ProviderId, parse_provider_id
from protos.types import Answer, Handover, Outcome, RefusalReason

LEGAL_CLOCK: Final = timedelta(hours=24)
"""How long a provider has to answer (47 CFR 64.1200(n)(1)), counted from the first question without regard to business
hours: the shortest that it can be."""
RETRY_AFTER: Final = timedelta(hours=1)
SHOWN_CALLS: Final = 20


class State(enum.Enum):
    """What became of a held answer."""

    WAITING = "waiting"
    APPROVED = "approved"
    CORRECTED = "corrected"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Matter:
    """One held answer.

    Attributes:
        key: tells it from others, 32 bytes; people use the first digits of its hexadecimal form.
        question_id, question_sha256: the question that was held first.
        received: when that came; the legal clock runs from then.
        proposed: what was found; `record` and `salt` open the commitment to the matched record.
        explanation: why, as in `agent.explain`, without numbers.
    """

    key: bytes
    question_id: bytes
    question_sha256: bytes
    order_sha256: bytes
    campaign: str
    asker: str
    received: datetime
    reason: HoldReason
    called: E164
    at: datetime
    named_by: ProviderId | None
    proposed: Answer
    salt: bytes
    record: bytes
    explanation: dict[str, Any]

    @property
    def due(self) -> datetime:
        """When the legal clock runs out."""
        return self.received + LEGAL_CLOCK

    @property
    def short(self) -> str:
        """What people call it."""
        return self.key.hex()[:10]


@dataclass(frozen=True, slots=True)
class Decided:
    """What a person decided about a matter: `answer` is what leaves (as proposed, corrected, or REFUSED)."""

    state: State
    answer: Answer
    operator: str
    note: str
    at: datetime


def matter_key(asked: Asked) -> bytes:
    """What question is about the same matter: order, number, time and naming."""
    question, authority = asked.question, asked.authority
    parts = (
        authority.order_sha256,
        authority.naming_sha256 or bytes(32),
        question.called.encode(),
        str(unix_ms(question.at)).encode(),
    )
    return sha256(b"\0".join(parts)).digest()


def answer_to_json(answer: Answer) -> dict[str, Any]:
    """An answer as JSON-ready data."""
    return {
        "provider": answer.provider,
        "outcome": answer.outcome.name,
        "upstream": answer.upstream,
        "ask_called": answer.ask_called,
        "time_correction_s": answer.time_correction // timedelta(seconds=1),
        "handover": answer.handover.name,
        "refusal": answer.refusal.name,
    }


def answer_from_json(data: dict[str, Any]) -> Answer:
    """The inverse of `answer_to_json`."""
    return Answer(
        provider=parse_provider_id(data["provider"]),
        outcome=Outcome[data["outcome"]],
        upstream=None if data["upstream"] is None else parse_provider_id(data["upstream"]),
        ask_called=None if data["ask_called"] is None else parse_e164(data["ask_called"]),
        time_correction=timedelta(seconds=data["time_correction_s"]),
        handover=Handover[data["handover"]],
        refusal=RefusalReason[data["refusal"]],
    )


def secret_part(matter: Matter) -> bytes:
    """What of a matter is sealed; of many calls that were considered, the first `SHOWN_CALLS`."""
    told = dict(matter.explanation)
    if len(told.get("calls", ())) > SHOWN_CALLS:
        told["calls_left_out"] = len(told["calls"]) - SHOWN_CALLS
        told["calls"] = told["calls"][:SHOWN_CALLS]
    return json.dumps(
        {
            "called": matter.called,
            "at_ms": unix_ms(matter.at),
            "named_by": matter.named_by,
            "proposed": answer_to_json(matter.proposed),
            "salt": matter.salt.hex(),
            "record": matter.record.hex(),
            "explanation": told,
        },
        separators=(",", ":"),
    ).encode()


def matter_of(
    plain: bytes,
    *,
    key: bytes,
    question_id: bytes,
    question_sha256: bytes,
    order_sha256: bytes,
    campaign: str,
    asker: str,
    received: datetime,
    reason: HoldReason,
) -> Matter:
    """A matter from what is sealed of it (`secret_part`) and what is not."""
    data = json.loads(plain)
    return Matter(
        key=key,
        question_id=question_id,
        question_sha256=question_sha256,
        order_sha256=order_sha256,
        campaign=campaign,
        asker=asker,
        received=received,
        reason=reason,
        called=parse_e164(data["called"]),
        at=from_unix_ms(data["at_ms"]),
        named_by=None if data["named_by"] is None else parse_provider_id(data["named_by"]),
        proposed=answer_from_json(data["proposed"]),
        salt=bytes.fromhex(data["salt"]),
        record=bytes.fromhex(data["record"]),
        explanation=data["explanation"],
    )

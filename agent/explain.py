"""Why an answer came out as it did, for this provider's operator: as data and in words.

Nothing of this leaves the provider. An explanation names records by source and row and calls by pseudonym, never by a
number, so that a kept explanation is no second copy of the call records.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from agent.instances import Instance
from agent.legs import Leg
from agent.match import Considered
from agent.service import Consultation
from agent.trunks import Party
from protos.types import Answer, Handover, Outcome, RefusalReason

MEANING: Final = {
    Outcome.UPSTREAM: "another provider handed this call over",
    Outcome.ORIGINATED_HERE: "a customer of this provider placed the call; who it was is not disclosed",
    Outcome.FOREIGN_UPSTREAM: "a foreign carrier handed this call over: this provider is the gateway",
    Outcome.NOT_FOUND: "searched, covered by records, absent",
    Outcome.RECORDS_EXPIRED: "the call is older than this provider keeps records",
    Outcome.NOT_YET_AVAILABLE: "records of that time are not indexed yet: index them, then ask again",
    Outcome.AMBIGUOUS: "several calls fit and came from different places: nothing of them is disclosed",
    Outcome.UNMAPPED: "found, but the trunk map does not say who is behind its trunk or address: add the trunk",
    Outcome.NOT_RECORDED: "found, but the upstream is not recorded: index records that tell where calls come in",
    Outcome.NEEDS_HUMAN: "held for approval by a person",
    Outcome.REFUSED: "not answered",
}
"""What each outcome means to the operator of the agent that gives it."""

NOWHERE: Final = (Outcome.UNMAPPED, Outcome.NOT_RECORDED)
"""Outcomes of calls that came in somewhere that neither records nor trunk map can place."""

REFUSED_BECAUSE: Final = {
    RefusalReason.UNSPECIFIED: "",
    RefusalReason.WINDOW_TOO_WIDE: "the window is wider than match.window_cap",
    RefusalReason.TIME_IN_FUTURE: "the call's time lies in the future",
    RefusalReason.RECORDS_GAP: "within retention, but no records cover that time: index them",
    RefusalReason.UNKNOWN_PROVIDER: "no trunk leads to the provider that is said to have named this one",
    RefusalReason.DEADLINE_PASSED: "the deadline had passed before the question arrived",
    RefusalReason.POLICY: "this provider's own rules forbid it",
    RefusalReason.ORDER_MISSING: "the order that the question names did not come with it",
    RefusalReason.ORDER_INVALID: "the order breaks a rule, or is for another coordinator",
    RefusalReason.ORDER_SIGNATURE: "a signature of the order is not by whom it says",
    RefusalReason.ORDER_NOT_APPROVED: "not enough of the persons in [orders.approvers] approved the order",
    RefusalReason.ORDER_EXPIRED: "the order is not valid now",
    RefusalReason.OUTSIDE_ORDER: "number, time, calling number or position go beyond the order",
    RefusalReason.NOT_NAMED: "nothing shows that this provider was named for this call",
    RefusalReason.NAMING_SIGNATURE: "the naming is not signed by the provider that it says",
    RefusalReason.LIFETIME: "the question is not valid now, or for longer than ten minutes",
    RefusalReason.REPLAY: "another question bore this id before",
    RefusalReason.BUDGET: "a budget in [limits] is used up",
    RefusalReason.DENIED: "the number is on the deny list",
    RefusalReason.SISTERS: "a sister call that it names is none, or was not answered here",
}
"""What each refusal means to the operator."""


def in_words(answer: Answer) -> str:
    """One sentence: what the answer says."""
    text = f"{answer.outcome.name}: {MEANING[answer.outcome]}"
    if answer.upstream is not None:
        text += f" ({answer.upstream})"
    if because := REFUSED_BECAUSE[answer.refusal]:
        text += f", because {because}"
    return text


def disclosed(answer: Answer) -> dict[str, Any]:
    """Everything that leaves this provider with `answer`, numbers withheld from the explanation itself."""
    facts: dict[str, Any] = {"provider": answer.provider, "outcome": answer.outcome.name}
    if answer.upstream is not None:
        facts["upstream"] = answer.upstream
    if answer.ask_called is not None:
        facts["ask_called_number"] = "the called number as it came in, because it changed here"
    if answer.time_correction:
        facts["time_correction_s"] = int(answer.time_correction.total_seconds())
    if answer.handover is not Handover.UNSPECIFIED:
        facts["handover"] = answer.handover.name
    if answer.retry_after:
        facts["retry_after_s"] = int(answer.retry_after.total_seconds())
    if answer.refusal is not RefusalReason.UNSPECIFIED:
        facts["refusal"] = answer.refusal.name
    return facts


def explanation(consultation: Consultation, answered_at: datetime) -> dict[str, Any]:
    """The explanation as JSON-ready data, without any telephone number."""
    question, decision = consultation.question, consultation.decision
    told: dict[str, Any] = {
        "question_id": str(question.question_id),
        "answered_at": answered_at.isoformat(),
        "named_by": question.named_by,
        "disclosed": disclosed(consultation.answer),
        "in_words": in_words(consultation.answer),
    }
    if consultation.coverage is not None and consultation.covered is not None:
        told["coverage"] = consultation.coverage.value
        told["had_to_be_covered"] = [time.isoformat() for time in consultation.covered]
    if decision is not None:
        told["verdict"] = decision.verdict.value
        told["came_from"] = str(decision.upstream) if decision.upstream is not None else None
        told["calls"] = [_considered(item) for item in decision.considered]
        if consultation.eliminated:
            told["left_out"] = "the calls of sister questions, which are certainly not this one"
        told["followed_inside"] = [_rows(instance.rows) for instance in decision.via_internal]
    return told


def came_from(instance: Instance) -> str:
    """Who handed the call over, as the trunk map says; an account is the operator's to see."""
    party = instance.upstream
    if isinstance(party, Party):
        return str(party)
    first = instance.rows[0]
    where = first.ingress_trunk or first.ingress_address
    return f"{party}: {where}" if where else str(party)


def unplaced(consultation: Consultation) -> list[dict[str, Any]]:
    """Where calls came in that neither records nor trunk map can place, when that is why nobody could be named."""
    decision = consultation.decision
    if consultation.answer.outcome not in NOWHERE or decision is None:
        return []
    return [
        {"trunk": leg.ingress_trunk, "address": leg.ingress_address, "source": leg.source, "row": leg.row}
        for instance in decision.instances
        for leg in instance.rows[:1]
    ]


def _considered(item: Considered) -> dict[str, Any]:
    instance = item.instance
    return {
        "taken": item.taken,
        "why": item.why,
        "distance_s": item.distance.total_seconds(),
        "went": instance.fit.value,
        "came_from": came_from(instance),
        "calling_matches": instance.calling_matches,
        "number_changed_here": instance.called_in is not None,
        "seizure": [instance.earliest.isoformat(), instance.latest.isoformat()],
        "records": _rows(instance.rows),
    }


def _rows(rows: Iterable[Leg]) -> list[dict[str, Any]]:
    return [
        {"source": leg.source, "row": leg.row, "call_ref": None if leg.call_ref is None else f"{leg.call_ref:016x}"}
        for leg in rows
    ]

"""Tasks as rows: what is put down, and what is read back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping

from coordinator.deadlines.schedule import Schedule
from coordinator.tasks.ports import PersonsResult
from coordinator.tasks.task import Asked, Kind, Notice, State, Task
from protos.e164 import E164
from protos.identity import parse_provider_id
from protos.types import Answer, Handover, Outcome, RefusalReason

_MS = timedelta(milliseconds=1)


def new_row(asked: Asked, plan: Schedule) -> dict[str, Any]:
    """The row of a task that was put now."""
    return {
        "id": asked.task_id,
        "traceback_id": asked.traceback_id,
        "position": asked.position,
        "question_id": asked.question_id,
        "kind": asked.kind.value,
        "provider": asked.provider,
        "called": asked.called,
        "at": asked.at,
        "window_ms": asked.window // _MS,
        "named_by": asked.named_by,
        "state": State.OPEN.value,
        "version": 0,
        "received": plan.received,
        "counts_from": plan.counts_from,
        "due": plan.due,
        "gives_up": plan.gives_up,
        "note": "",
    }


def notice_row(asked: Asked, notice: Notice) -> dict[str, Any]:
    """The row of a letter that is to be sent."""
    return {"task_id": asked.task_id, "kind": notice.kind.value, "number": notice.number, "due": notice.due}


def task_at(row: RowMapping) -> Task:
    """The task of a row."""
    asked = Asked(
        traceback_id=row["traceback_id"],
        position=row["position"],
        question_id=row["question_id"],
        kind=Kind(row["kind"]),
        provider=parse_provider_id(row["provider"]),
        called=E164(row["called"]),
        at=row["at"],
        window=row["window_ms"] * _MS,
        named_by=parse_provider_id(row["named_by"]) if row["named_by"] else None,
    )
    plan = Schedule(row["received"], row["counts_from"], row["due"], (), (), row["gives_up"])
    return Task(
        id=row["id"],
        asked=asked,
        state=State(row["state"]),
        plan=plan,
        version=row["version"],
        answered_at=row["answered_at"],
        answered_by=row["answered_by"],
        upstream_name=row["upstream_name"],
        taken=row["taken_at"] is not None,
        to_attest=bool(row.get("to_attest")),
    )


def result_at(row: RowMapping) -> PersonsResult:
    """What a traceback is to take of a row."""
    task = task_at(row)
    answer = None
    if task.state is State.ANSWERED:
        answer = Answer(
            provider=task.asked.provider,
            outcome=Outcome[row["outcome"]],
            upstream=parse_provider_id(row["upstream"]) if row["upstream"] else None,
            ask_called=E164(row["ask_called"]) if row["ask_called"] else None,
            time_correction=timedelta(seconds=row["time_correction_s"]),
            handover=Handover[row["handover"]],
            refusal=RefusalReason[row["refusal"]],
        )
    at: datetime = row["answered_at"] or row["result_at"]
    return PersonsResult(
        task_id=task.id,
        version=task.version,
        traceback_id=task.asked.traceback_id,
        position=task.asked.position,
        question_id=task.asked.question_id,
        provider=task.asked.provider,
        answer=answer,
        at=at,
        late=answer is not None and at > task.plan.due,
        by=task.answered_by,
        review=task.asked.kind is Kind.REVIEW,
        attestation=row["attestation"],
    )

"""One step of a traceback as rows: the traceback's own row moves on by one version, one hop ends, the next one begins.

Runs inside the caller's transaction. A step whose version is not the stored one writes nothing.
"""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import Connection, Dialect, bindparam, insert, select, update

from coordinator.chain import Hop
from coordinator.ports import Change, Exchange
from coordinator.store.models import BatchRow, HopRow, TracebackRow
from coordinator.store.prepared import Prepared
from protos.codec import encode_question

_ADVANCED = ("status", "due", "found", "hop_count", "version", "changed_at")
_RESULT = ("outcome", "problem", "detail", "failures", "ended_at")
_ADDED = ("traceback_id", "position", "round", "question_id", "provider", "question", "asked_at", *_RESULT)
_HAS_BATCH = select(BatchRow.sha256).where(BatchRow.sha256 == bindparam("the_sha256"))


class Steps:
    """Writes steps in one dialect of SQL."""

    def __init__(self, dialect: Dialect) -> None:
        the_traceback = (TracebackRow.id == bindparam("the_id"), TracebackRow.version == bindparam("the_version"))
        the_hop = (
            HopRow.traceback_id == bindparam("the_id"),
            HopRow.position == bindparam("the_position"),
            HopRow.round == bindparam("the_round"),
        )
        self._advance = Prepared(update(TracebackRow).where(*the_traceback).values(_new(_ADVANCED)), dialect)
        self._end_hop = Prepared(update(HopRow).where(*the_hop).values(_new(_RESULT)), dialect)
        self._answer_hop = Prepared(update(HopRow).where(*the_hop).values(_new((*_RESULT, "answer", "batch"))), dialect)
        self._add_hop = Prepared(insert(HopRow), dialect, _ADDED)

    def write(self, connection: Connection, change: Change) -> bool:
        """Write one step; False, and nothing written, when its version is not the stored one."""
        after = change.after
        advanced = self._advance.run(
            connection,
            {
                "the_id": after.id,
                "the_version": change.version,
                "new_version": change.version + 1,
                "new_status": after.status.value,
                "new_due": after.due,
                "new_found": after.origin or after.gateway,
                "new_hop_count": len(after.hops),
                "new_changed_at": change.at,
            },
        )
        if advanced != 1:
            return False
        if change.batch is not None:
            _keep_batch(connection, change.batch)
        asked = len(change.before.hops) - 1
        for position, hop in enumerate(after.hops):
            old = change.before.hops[position] if position <= asked else None
            if hop is old:
                continue
            if old is None or old.round != hop.round:
                self._add_hop.run(connection, _hop_row(after.id, position, hop))
                continue
            values = {"the_id": after.id, "the_position": position, "the_round": hop.round}
            values |= {f"new_{name}": value for name, value in _result(hop).items()}
            if position == asked and change.received is not None:
                values |= {"new_answer": change.received, "new_batch": change.batch.sha256 if change.batch else None}
                self._answer_hop.run(connection, values)
            else:
                self._end_hop.run(connection, values)
        return True


def _new(columns: tuple[str, ...]) -> dict[str, Any]:
    return {column: bindparam(f"new_{column}") for column in columns}


def _keep_batch(connection: Connection, batch: Exchange) -> None:
    """Keep the bytes of a batch once, whichever of its answers comes first."""
    if connection.execute(_HAS_BATCH, {"the_sha256": batch.sha256}).first() is None:
        row = {"sha256": batch.sha256, "provider": batch.provider, "sent": batch.sent, "received": batch.received}
        connection.execute(insert(BatchRow), row)


def _result(hop: Hop) -> dict[str, Any]:
    return {
        "outcome": hop.answer.outcome.name if hop.answer else None,
        "problem": hop.problem.value if hop.problem else None,
        "detail": hop.detail,
        "failures": hop.failures,
        "ended_at": hop.ended,
    }


def _hop_row(traceback_id: uuid.UUID, position: int, hop: Hop) -> dict[str, Any]:
    return {
        "traceback_id": traceback_id,
        "position": position,
        "round": hop.round,
        "question_id": hop.question.question_id,
        "provider": hop.provider,
        "question": encode_question(hop.question),
        "asked_at": hop.asked,
        **_result(hop),
    }

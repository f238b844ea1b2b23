"""Between tracebacks and the rows that keep them, both ways. No SQL in here, and no database.

Steps are taken apart into plain tuples, one list for each statement, because thousands of them are written together;
`UUID`s and times go through two functions on the way, since SQLite has neither type. The way back is the same for
every database: it takes rows as mappings.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from coordinator.tracing.chain import Call, Hop, Problem, Status, Traceback, place_after
from coordinator.tracing.ports import Change, Exchange, Kept
from coordinator.tracing.priorities import Priority
from coordinator.tracing.signed import (
    SignedQuestion,
    decode_answer,
    decode_question,
    encode_question,
    keep_contest,
    keep_sisters,
    read_contest,
)
from protos.codec import known_provider_id
from protos.e164 import parse_e164
from protos.types import Question

_MS = timedelta(milliseconds=1)

ADVANCED = ("id", "version", "fence", "status", "due", "found", "hop_count", "changed_at", "waits_for")
"""Columns of `Packed.advanced`: which row, at which version and fence, and its new values."""

FREED = (*ADVANCED, "claimable")
"""Columns of `Packed.freed`: the same, and from when others may claim it."""

ENDED = (
    *("traceback_id", "position", "round", "outcome", "problem", "detail"),
    *("failures", "ended_at", "answer", "batch", "silent_since"),
)
"""Columns of `Packed.ended`: which hop, and what came of it; where there is no new answer, the old one stays."""

ADDED = (
    *("traceback_id", "position", "round", "question_id", "provider", "question", "asked_at"),
    *("outcome", "problem", "detail", "failures", "ended_at", "sisters", "contested", "silent_since"),
)
"""Columns of `Packed.added`: a hop that is asked now."""

SUBMITTED = (
    *("id", "called", "at", "terminating", "calling", "window_ms", "hop_limit", "status", "due", "found"),
    *("hop_count", "version", "submitted_at", "changed_at", "priority", "owner", "claimable", "fence"),
    *("order_sha256", "expires"),
)
"""Columns of a new traceback."""

Row = tuple[Any, ...]


@dataclass(slots=True)
class Packed:
    """The rows of several steps; `batches` has the exchanges that answers came in, by digest."""

    advanced: list[Row] = field(default_factory=list)
    freed: list[Row] = field(default_factory=list)
    ended: list[Row] = field(default_factory=list)
    added: list[Row] = field(default_factory=list)
    batches: dict[bytes, Exchange] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Packing:
    """How a database takes ids and times."""

    id: Callable[[uuid.UUID], Any]
    time: Callable[[datetime | None], Any]

    def packed(self, changes: Iterable[Change]) -> Packed:
        """The rows of these steps."""
        packed = Packed()
        identity, time = self.id, self.time
        for change in changes:
            after = change.after
            traceback_id, status = identity(after.id), after.status
            row = (
                traceback_id,
                change.version,
                change.fence,
                status._value_,
                time(after.due),
                after.origin or after.gateway,
                len(after.hops),
                time(change.at),
                after.hops[-1].provider if status is Status.RETRYING else None,
            )
            if change.frees:
                packed.freed.append((*row, None if status.phase.rests else time(after.due)))
            else:
                packed.advanced.append(row)
            self._hops(packed, change, traceback_id)
        return packed

    def _hops(self, packed: Packed, change: Change, traceback_id: Any) -> None:
        before, after, identity, time = change.before.hops, change.after.hops, self.id, self.time
        asked, last = len(before) - 1, len(after) - 1
        for position, hop in enumerate(after):
            old = before[position] if position <= asked else None
            if hop is old:
                continue
            outcome = hop.answer.outcome._name_ if hop.answer else None
            problem = hop.problem._value_ if hop.problem else None
            if old is None or old.round != hop.round:
                question = change.asked if position == last else None
                packed.added.append(
                    (
                        traceback_id,
                        position,
                        hop.round,
                        identity(hop.question.question_id),
                        hop.question.target,
                        encode_question(hop.question) if question is None else question,
                        time(hop.asked),
                        outcome,
                        problem,
                        hop.detail,
                        hop.failures,
                        time(hop.ended),
                        _sisters(hop.question),
                        None if hop.contest is None else keep_contest(hop.contest),
                        time(hop.silent_since),
                    )
                )
                continue
            received, batch = (change.received, change.batch) if position == asked else (None, None)
            if batch is not None:
                packed.batches[batch.sha256] = batch
            packed.ended.append(
                (
                    traceback_id,
                    position,
                    hop.round,
                    outcome,
                    problem,
                    hop.detail,
                    hop.failures,
                    time(hop.ended),
                    received,
                    batch.sha256 if batch else None,
                    time(hop.silent_since),
                )
            )

    def submitted(
        self, traceback: Traceback, at: datetime, priority: Priority, owner: str | None, claimable: datetime
    ) -> Row:
        """The row of a new traceback, claimed for `owner` if there is one; see SUBMITTED."""
        call = traceback.call
        return (
            self.id(traceback.id),
            call.called,
            self.time(call.at),
            call.terminating,
            call.calling,
            call.window // _MS,
            call.hop_limit,
            traceback.status.value,
            self.time(traceback.due),
            None,
            len(traceback.hops),
            0,
            self.time(at),
            self.time(at),
            int(priority),
            owner,
            self.time(claimable),
            0 if owner is None else 1,
            call.order_sha256,
            self.time(call.expires),
        )


def _sisters(question: Question) -> bytes | None:
    return keep_sisters(question.sisters) if isinstance(question, SignedQuestion) and question.sisters else None


def kept(row: Mapping[Any, Any], hops: Iterable[Mapping[Any, Any]]) -> Kept:
    """The traceback of a row and its hops' rows, which come by position and round; ids and times are what they are."""
    latest = {hop["position"]: hop for hop in hops}
    call = Call(
        called=parse_e164(row["called"]),
        at=row["at"],
        terminating=known_provider_id(row["terminating"]),
        calling=parse_e164(row["calling"]) if row["calling"] else None,
        window=row["window_ms"] * _MS,
        hop_limit=row["hop_limit"],
        order_sha256=row["order_sha256"],
        expires=row["expires"],
    )
    whole: list[Hop] = []
    chain: list[Hop] = []  # as it stood when each was asked
    places: list[int] = []
    for position in sorted(latest):
        contested = latest[position]["contested"]
        place = place_after(whole, places) if contested is None else contested[0]
        del chain[place:]
        hop = hop_of(latest[position], chain[-1] if chain else None)
        whole.append(hop)
        chain.append(hop)
        places.append(place)
    traceback = Traceback(
        id=row["id"],
        call=call,
        hops=tuple(whole),
        status=Status(row["status"]),
        due=row["due"],
    )
    return Kept(traceback, row["version"], row["fence"], Priority(row["priority"]))


def hop_of(row: Mapping[Any, Any], before: Hop | None = None) -> Hop:
    """The hop of a row; `before` is the one that named its provider, where that is known."""
    named = None if before is None or before.answer is None else (before.question, before.answer)
    question = decode_question(row["question"], named, row["sisters"])
    answer = None
    if row["outcome"] is not None:
        answer = decode_answer(row["answer"], row["question"], question)
    return Hop(
        question=question,
        asked=row["asked_at"],
        round=row["round"],
        failures=row["failures"],
        silent_since=row["silent_since"],
        ended=row["ended_at"],
        answer=answer,
        problem=Problem(row["problem"]) if row["problem"] else None,
        detail=row["detail"],
        contest=None if row["contested"] is None else read_contest(row["contested"]),
    )

"""What each caller may see, by queries that read nothing else.

An analyst and an auditor see all tracebacks, a requester those of the orders that he submitted, an approver those of
the orders that he approved. A provider sees its own hops alone: what it was asked, by whose naming, and what it
answered. Of a traceback's state, its other hops, their number, its result, nothing reaches it, not even by what is
missing: its view is made from rows that carry its id and from no others, so that nothing that happens elsewhere can
change it.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Select, exists, select
from sqlalchemy.orm import aliased

from coordinator.callers import Caller, Role
from coordinator.present.explain import explain
from coordinator.present.explain_again import explain_contests, explain_forks
from coordinator.store.models import HopRow, TracebackRow
from coordinator.store.order_models import OrderRow, OrderSealRow, OrderSetRow
from coordinator.store.pages import DEFAULT_PAGE, BadPageError, Place, older, place_of, token_of
from coordinator.store.rows import hop_of, kept
from coordinator.tracing.chain import Hop, Phase, Status, Traceback, moved_by, role, standing
from coordinator.tracing.disputes import hop_labels
from coordinator.tracing.signed import decode_question, word_of
from hopback.v1 import traceback_pb2 as pb
from protos.codec import unix_ms
from protos.types import Outcome

_BLOCK, _MOST_LOOKED_AT = 200, 2000
"""Tracebacks that are read at once, and for one page, where a provider wants those of one status."""
_MS, _US = timedelta(milliseconds=1), timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Seen:
    """A traceback as one caller may see it, and whether anything of it can still change for that caller."""

    view: pb.TracebackView
    open: bool


@dataclass(frozen=True, slots=True)
class _Filter:
    """Which tracebacks of those that the caller may see; empty and None restrict nothing."""

    status: str
    campaign: str
    since: datetime | None
    until: datetime | None


class Views:
    """Reads tracebacks for callers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, caller: Caller, traceback_id: uuid.UUID) -> Seen | None:
        """One traceback with its hops; None where there is none that this caller may see."""
        with self._engine.connect() as connection:
            if caller.role is Role.PROVIDER:
                return _own_hops(connection, caller.name, traceback_id)
            query = visible(caller).where(TracebackRow.id == traceback_id)
            row = connection.execute(query).mappings().first()
            if row is None:
                return None
            (view,) = _with_hops(connection, [row])
        return Seen(view, Status(row["status"]).phase is not Phase.CLOSED)

    def page(
        self,
        caller: Caller,
        *,
        status: str = "",
        campaign: str = "",
        size: int = 0,
        token: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        with_hops: bool = False,
    ) -> tuple[list[pb.TracebackView], str]:
        """A page of tracebacks, newest first; and the token of the next page, empty on the last one.

        To a provider that wants one status a page may have fewer than `size`, even none, and not be the last one.

        Raises:
            BadPageError: `token` is none.
        """
        size, after = size or DEFAULT_PAGE, place_of(token)
        wanted = _Filter(status, campaign, since, until)
        with self._engine.connect() as connection:
            if caller.role is Role.PROVIDER:
                views, last = _own_page(connection, caller.name, wanted, size, after, with_hops=with_hops)
            else:
                query = visible(caller).order_by(TracebackRow.submitted_at.desc(), TracebackRow.id)
                if status:
                    query = query.where(TracebackRow.status == status)
                if campaign:
                    query = query.where(OrderRow.campaign == campaign)
                query = _between(query, TracebackRow.submitted_at, wanted)
                if after is not None:
                    query = query.where(older(TracebackRow.submitted_at, TracebackRow.id, after))
                rows = connection.execute(query.limit(size)).mappings().all()
                views = _with_hops(connection, rows) if with_hops else [_view(row) for row in rows]
                last = Place(rows[-1]["submitted_at"], rows[-1]["id"]) if len(rows) == size else None
        return views, token_of(last)


def _between(query: Select[Any], time: Any, wanted: _Filter) -> Select[Any]:
    if wanted.since is not None:
        query = query.where(time >= wanted.since)
    return query if wanted.until is None else query.where(time < wanted.until)


def visible(caller: Caller) -> Select[Any]:
    """The tracebacks that somebody who is no provider may see."""
    query = select(TracebackRow.__table__, OrderRow.campaign).outerjoin(
        OrderRow, OrderRow.sha256 == TracebackRow.order_sha256
    )
    match caller.role:
        case Role.ANALYST | Role.AUDITOR:
            return query
        case Role.REQUESTER:
            own = exists().where(OrderSetRow.id == OrderRow.set_id, OrderSetRow.submitter == caller.name)
        case Role.APPROVER:
            own = exists().where(
                OrderSealRow.set_id == OrderRow.set_id,
                OrderSealRow.person == caller.name,
                OrderSealRow.domain == "approval",
            )
        case _:
            raise ValueError(f"{caller.role} sees by another way")
    return query.where(own)


def _view(row: RowMapping) -> pb.TracebackView:
    return pb.TracebackView(
        traceback_id=str(row["id"]),
        status=row["status"],
        called_number=row["called"],
        at_unix_ms=unix_ms(row["at"]),
        terminating=row["terminating"],
        campaign=row["campaign"] or "",
        found=row["found"] or "",
        submitted_unix_ms=unix_ms(row["submitted_at"]),
        due_unix_ms=unix_ms(row["due"]) if row["due"] else 0,
    )


_LATEST = (HopRow.position, HopRow.round)


def _with_hops(connection: Connection, rows: Sequence[RowMapping]) -> list[pb.TracebackView]:
    """These tracebacks with all their hops, and what they mean."""
    query = select(HopRow.__table__).where(HopRow.traceback_id.in_([row["id"] for row in rows])).order_by(*_LATEST)
    hops: dict[uuid.UUID, list[RowMapping]] = defaultdict(list)
    for hop in connection.execute(query).mappings():
        hops[hop["traceback_id"]].append(hop)
    views = []
    for row in rows:
        traceback = kept(row, hops[row["id"]]).traceback
        view = _view(row)
        view.hops.extend(_chain(traceback))
        words = explain(traceback)
        view.means, view.next = words.means, words.next
        view.forks.extend([*explain_forks(traceback), *explain_contests(traceback)])
        views.append(view)
    return views


def _chain(traceback: Traceback) -> Iterable[pb.HopView]:
    labels, stands = hop_labels(traceback), standing(traceback.hops)
    for position, hop in enumerate(traceback.hops):
        view = _hop(hop)
        view.position, view.label = position, labels[position]
        view.role = role(traceback, position).value
        view.superseded = position not in stands
        view.moved_ms = moved_by(traceback.hops, position) // _MS
        yield view


def _hop(hop: Hop) -> pb.HopView:
    """What was asked of one provider and what it said: nothing that follows from what another one said."""
    question, answer = hop.question, hop.answer
    view = pb.HopView(
        provider=hop.provider,
        named_by=question.named_by or "",
        problem=hop.problem.value if hop.problem else "",
        asked_unix_ms=unix_ms(hop.asked),
        ended_unix_ms=unix_ms(hop.ended) if hop.ended else 0,
        took_us=hop.took // _US if hop.took is not None else 0,
    )
    if answer is not None:
        view.outcome, view.upstream = answer.outcome.name, answer.upstream or ""
        view.handover = answer.handover.name if question.named_by else ""
        view.refusal = answer.refusal.name if answer.outcome is Outcome.REFUSED else ""
        view.called_changed = answer.ask_called is not None
        view.time_correction_ms = answer.time_correction // _MS
        view.word = word_of(answer)
    return view


# A provider's view: from its own hops alone


def own_rows(provider: str, ids: Collection[uuid.UUID]) -> Select[Any]:
    """What this provider was asked in these tracebacks: found by their ids, not among all that it was asked."""
    return (
        select(HopRow.__table__, OrderRow.campaign)
        .join(TracebackRow, TracebackRow.id == HopRow.traceback_id)
        .outerjoin(OrderRow, OrderRow.sha256 == TracebackRow.order_sha256)
        .where(HopRow.traceback_id.in_(ids), HopRow.provider.concat("") == provider)
        .order_by(*_LATEST)
    )


def first_asked(provider: str) -> Any:
    """The tracebacks in which this provider was asked, and when first: its first hop, in the hop's first round."""
    earlier = aliased(HopRow)
    before = exists().where(
        earlier.traceback_id == HopRow.traceback_id,
        earlier.position < HopRow.position,
        earlier.provider.concat("") == provider,
    )
    query: Any = select(HopRow.traceback_id, HopRow.asked_at)
    return query.where(HopRow.provider == provider, HopRow.round == 1, ~before)


def _own_hops(connection: Connection, provider: str, traceback_id: uuid.UUID) -> Seen | None:
    rows = connection.execute(own_rows(provider, [traceback_id])).mappings().all()
    if not rows:
        return None
    view, is_open = _own_view(rows)
    view.hops.extend(_hop(hop_of(row)) for row in first_looks(rows))
    return Seen(view, is_open)


def first_looks(rows: Sequence[RowMapping]) -> list[RowMapping]:
    """The latest round of each hop, without those that asked the same once more.

    That a provider was asked once more follows from what another one said, which must not reach it.
    """
    latest = {row["position"]: row for row in rows}
    if len(latest) == 1:
        return list(latest.values())
    kept, asked = [], set()
    for _, row in sorted(latest.items()):
        question = decode_question(row["question"])
        what = (question.called, question.at, question.named_by)
        if what not in asked:
            asked.add(what)
            kept.append(row)
    return kept


def _own_view(rows: Sequence[RowMapping]) -> tuple[pb.TracebackView, bool]:
    """A traceback as a provider sees it: the first thing that it was asked, and whether it still owes an answer."""
    first = decode_question(rows[0]["question"])
    is_open = any(row["outcome"] is None for row in first_looks(rows))
    view = pb.TracebackView(
        traceback_id=str(rows[0]["traceback_id"]),
        status="open" if is_open else "answered",
        called_number=first.called,
        at_unix_ms=unix_ms(first.at),
        campaign=rows[0]["campaign"] or "",
        submitted_unix_ms=unix_ms(rows[0]["asked_at"]),
    )
    return view, is_open


def _own_page(
    connection: Connection, provider: str, wanted: _Filter, size: int, after: Place | None, *, with_hops: bool
) -> tuple[list[pb.TracebackView], Place | None]:
    pages = first_asked(provider).order_by(HopRow.asked_at.desc(), HopRow.traceback_id)
    if wanted.campaign:
        pages = (
            pages.join(TracebackRow, TracebackRow.id == HopRow.traceback_id)
            .join(OrderRow, OrderRow.sha256 == TracebackRow.order_sha256)
            .where(OrderRow.campaign == wanted.campaign)
        )
    if wanted.status not in ("", "open", "answered"):
        return [], None
    pages = _between(pages, HopRow.asked_at, wanted)
    views: list[pb.TracebackView] = []
    block_size = max(size, _BLOCK) if wanted.status else size
    for _ in range(max(1, _MOST_LOOKED_AT // block_size)):  # what is wanted stands in no column
        here = pages if after is None else pages.where(older(HopRow.asked_at, HopRow.traceback_id, after))
        block = connection.execute(here.limit(block_size)).all()
        own = _own_blocks(connection, provider, [row.traceback_id for row in block])
        for row in block:
            after, mine = Place(row.asked_at, row.traceback_id), own[row.traceback_id]
            view, _ = _own_view(mine)
            if wanted.status and view.status != wanted.status:
                continue
            if with_hops:
                view.hops.extend(_hop(hop_of(one)) for one in first_looks(mine))
            views.append(view)
            if len(views) == size:
                return views, after
        if len(block) < block_size:
            return views, None
    return views, after


def _own_blocks(connection: Connection, provider: str, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, list[RowMapping]]:
    rows: dict[uuid.UUID, list[RowMapping]] = defaultdict(list)
    for row in connection.execute(own_rows(provider, ids)).mappings():
        rows[row["traceback_id"]].append(row)
    return rows


__all__ = ["BadPageError", "Seen", "Views", "first_asked", "first_looks", "own_rows", "visible"]

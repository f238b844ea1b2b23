"""What each caller may see, by queries that read nothing else.

An analyst and an auditor see all tracebacks, a requester those of the orders that he submitted, an approver those of
the orders that he approved. A provider sees its own hops alone: what it was asked, by whose naming, and what it
answered. Of a traceback's state, its other hops, their number, its result, nothing reaches it, not even by what is
missing: its view is made from rows that carry its id and from no others, so that nothing that happens elsewhere can
change it.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Select, and_, exists, func, or_, select

from coordinator.api.callers import Caller, Role
from coordinator.chain import Phase, Status
from coordinator.signed import decode_answer, decode_question
from coordinator.store.models import HopRow, TracebackRow
from coordinator.store.order_models import OrderRow, OrderSealRow, OrderSetRow
from hopback.v1 import traceback_pb2 as pb
from protos.codec import unix_ms

DEFAULT_PAGE = 100


class BadPageError(ValueError):
    """A page token that nobody gave out."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A traceback as one caller may see it, and whether anything of it can still change for that caller."""

    view: pb.TracebackView
    open: bool


class Views:
    """Reads tracebacks for callers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, caller: Caller, traceback_id: uuid.UUID) -> Seen | None:
        """One traceback with its hops; None where there is none that this caller may see."""
        with self._engine.connect() as connection:
            if caller.role is Role.PROVIDER:
                return _own_hops(connection, caller.name, traceback_id)
            query = _visible(caller).where(TracebackRow.id == traceback_id)
            row = connection.execute(query).mappings().first()
            if row is None:
                return None
            view = _view(row)
            view.hops.extend(_hops(connection, traceback_id))
        return Seen(view, Status(row["status"]).phase is not Phase.CLOSED)

    def page(
        self, caller: Caller, *, status: str = "", campaign: str = "", size: int = 0, token: str = ""
    ) -> tuple[list[pb.TracebackView], str]:
        """A page of tracebacks, newest first, without hops; and the token of the next page, empty on the last one.

        Raises:
            BadPageError: `token` is none.
        """
        size = size or DEFAULT_PAGE
        after = _read_token(token) if token else None
        with self._engine.connect() as connection:
            if caller.role is Role.PROVIDER:
                views, last = _own_page(connection, caller.name, status, campaign, size, after)
            else:
                query = _visible(caller).order_by(TracebackRow.submitted_at.desc(), TracebackRow.id)
                if status:
                    query = query.where(TracebackRow.status == status)
                if campaign:
                    query = query.where(OrderRow.campaign == campaign)
                if after is not None:
                    query = query.where(_older(TracebackRow.submitted_at, TracebackRow.id, after))
                rows = connection.execute(query.limit(size)).mappings().all()
                views = [_view(row) for row in rows]
                last = (rows[-1]["submitted_at"], rows[-1]["id"]) if len(rows) == size else None
        return views, _token(*last) if last else ""


def _visible(caller: Caller) -> Select[Any]:
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


def _hops(connection: Connection, traceback_id: uuid.UUID) -> list[pb.HopView]:
    query = select(HopRow.__table__).where(HopRow.traceback_id == traceback_id).order_by(*_LATEST)
    latest = {row["position"]: row for row in connection.execute(query).mappings()}
    return [_hop(row, position=position) for position, row in sorted(latest.items())]


def _hop(row: RowMapping, *, position: int) -> pb.HopView:
    question = decode_question(row["question"])
    answer = None
    if row["outcome"] is not None:
        answer = decode_answer(row["answer"], row["question"], question)
    return pb.HopView(
        position=position,
        provider=row["provider"],
        outcome=row["outcome"] or "",
        upstream=(answer.upstream or "") if answer is not None else "",
        named_by=question.named_by or "",
        problem=row["problem"] or "",
        asked_unix_ms=unix_ms(row["asked_at"]),
        ended_unix_ms=unix_ms(row["ended_at"]) if row["ended_at"] else 0,
    )


# A provider's view: from its own hops alone


def _own_rows(provider: str) -> Select[Any]:
    return (
        select(HopRow.__table__, OrderRow.campaign)
        .join(TracebackRow, TracebackRow.id == HopRow.traceback_id)
        .outerjoin(OrderRow, OrderRow.sha256 == TracebackRow.order_sha256)
        .where(HopRow.provider == provider)
        .order_by(*_LATEST)
    )


def _own_hops(connection: Connection, provider: str, traceback_id: uuid.UUID) -> Seen | None:
    rows = connection.execute(_own_rows(provider).where(HopRow.traceback_id == traceback_id)).mappings().all()
    if not rows:
        return None
    view, is_open = _own_view(rows)
    view.hops.extend(_hop(row, position=0) for row in _first_looks(rows))
    return Seen(view, is_open)


def _first_looks(rows: Sequence[RowMapping]) -> list[RowMapping]:
    """The latest round of each hop, without those that asked the same once more.

    That a provider was asked once more follows from what another one said, which must not reach it.
    """
    latest = {row["position"]: row for row in rows}
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
    is_open = any(row["outcome"] is None for row in _first_looks(rows))
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
    connection: Connection,
    provider: str,
    status: str,
    campaign: str,
    size: int,
    after: tuple[datetime, uuid.UUID] | None,
) -> tuple[list[pb.TracebackView], tuple[datetime, uuid.UUID] | None]:
    first = func.min(HopRow.asked_at).label("first_asked")
    query = select(HopRow.traceback_id, first).where(HopRow.provider == provider).group_by(HopRow.traceback_id)
    ids = query.subquery()
    pages = select(ids.c.traceback_id, ids.c.first_asked).order_by(ids.c.first_asked.desc(), ids.c.traceback_id)
    if after is not None:
        pages = pages.where(_older(ids.c.first_asked, ids.c.traceback_id, after))
    views: list[pb.TracebackView] = []
    for traceback_id, asked in connection.execute(pages).all():
        rows = connection.execute(_own_rows(provider).where(HopRow.traceback_id == traceback_id)).mappings().all()
        view, _ = _own_view(rows)
        if (status and view.status != status) or (campaign and view.campaign != campaign):
            continue
        views.append(view)
        if len(views) == size:
            return views, (asked, traceback_id)
    return views, None


# Pages


def _older(time: Any, identity: Any, after: tuple[datetime, uuid.UUID]) -> Any:
    return or_(time < after[0], and_(time == after[0], identity > after[1]))


def _token(time: datetime, identity: uuid.UUID) -> str:
    aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return base64.urlsafe_b64encode(f"{aware.isoformat()} {identity}".encode()).decode()


def _read_token(token: str) -> tuple[datetime, uuid.UUID]:
    try:
        time, identity = base64.urlsafe_b64decode(token.encode()).decode().split(" ")
        aware = datetime.fromisoformat(time)
        if aware.utcoffset() is None:
            raise BadPageError("this page token is none that was given out")
        return aware, uuid.UUID(identity)
    except (ValueError, binascii.Error):
        raise BadPageError("this page token is none that was given out") from None

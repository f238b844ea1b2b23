"""Taking the telephone numbers out of tracebacks that were closed long ago.

What is replaced by pseudonyms (`coordinator.pseudonyms`): called and calling number of a traceback, of its campaign's
call and of its tasks, and the numbers in its questions and answers, which are written anew without seals. What is
removed: the bytes of envelopes, answers that were none, notes, names as they were typed, orders that have expired, and
Identity headers. In what else people wrote (reasons, who answered, descriptions of campaigns), whatever could be a
number goes. What stays: who was asked when, what came of it, the chain, what a header said of it: reports read as
before, and equal numbers are still seen to be equal.

So the evidence ends here: whoever needs a bundle must have exported it before. A traceback waits while a task of its is
open, and while one that shares an envelope with it is not old enough: the envelope holds the numbers of both.

Everything of a block happens in one transaction; an interrupted run goes on where it stopped. Afterwards the database
is cleaned: on SQLite with secure_delete and VACUUM, and the write-ahead log is emptied, so that the file holds no
plain number; on PostgreSQL with VACUUM FULL, and the planner's statistics, which hold values out of the tables, are
made anew. Backups, replicas, PostgreSQL's own log and what a file system keeps of deleted blocks are beyond this.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    RowMapping,
    and_,
    delete,
    exists,
    func,
    insert,
    not_,
    or_,
    select,
    text,
    update,
)

from coordinator.pseudonyms import PREFIX, Pseudonyms, without_numbers
from coordinator.registry.names import fold
from coordinator.stir.written import lasting
from coordinator.store.campaign_models import campaign_calls, campaigns
from coordinator.store.models import BatchRow, HopRow, TracebackRow
from coordinator.store.order_models import OrderRow, OrderSealRow, OrderSetRow
from coordinator.store.registry_models import name_matches
from coordinator.store.retention_models import retired_tracebacks
from coordinator.store.stir_models import campaign_identities, order_identities
from coordinator.store.task_models import task_attestations, task_history, tasks
from coordinator.store.writing import writing
from coordinator.tasks.task import State
from coordinator.tracing.chain import Phase, Status
from coordinator.tracing.signed import (
    AGENT,
    CONTEST_HEAD,
    decode_answer,
    decode_question,
    keep_said,
    said_answer,
    word_of,
)
from protos.codec import digest, encode_answer, encode_question
from protos.e164 import E164
from protos.types import Answer, Question

BLOCK = 200
_tracebacks: Any = TracebackRow.__table__
_hops: Any = HopRow.__table__
_batches: Any = BatchRow.__table__
_orders: Any = OrderRow.__table__
_sets: Any = OrderSetRow.__table__
_seals: Any = OrderSealRow.__table__
_CLOSED = tuple(status.value for status in Status if status.phase is Phase.CLOSED)
_CLEANED = (
    "tracebacks",
    "hops",
    "batches",
    "orders",
    "order_sets",
    "order_seals",
    "tasks",
    "task_history",
    "name_matches",
    "campaigns",
    "campaign_calls",
    "task_attestations",
    "order_identities",
    "campaign_identities",
)

Examine = Callable[[uuid.UUID], str | None]
"""What a traceback's Identity header says of it, without numbers, as it is to be kept; None where there is nothing."""


@dataclass(slots=True)
class Retired:
    """What a run did. `deferred` tracebacks are old enough, and wait for a task or for others in their envelope."""

    tracebacks: int = 0
    deferred: int = 0
    campaign_calls: int = 0
    order_sets: int = 0
    envelopes: int = 0
    cleaned: bool = False


def retire(
    engine: Engine,
    pseudonyms: Pseudonyms,
    before: datetime,
    now: datetime,
    *,
    clean: bool = True,
    examine: Examine = lambda traceback_id: None,  # noqa: ARG005
) -> Retired:
    """Take the numbers out of what was closed before `before`; `examine` is asked while they are still there.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database failed; blocks that were done stay done.
    """
    report = Retired()
    with engine.connect() as connection:
        ripe = list(connection.execute(select(_tracebacks.c.id).where(_ripe(before))).scalars())
    for first in range(0, len(ripe), BLOCK):
        found = {one: examine(one) for one in ripe[first : first + BLOCK]}
        with writing(engine) as connection:
            _delete_securely(connection)
            still = and_(_tracebacks.c.id.in_(ripe[first : first + BLOCK]), _old(before))  # none was reopened meanwhile
            block = connection.execute(select(_tracebacks.c.id).where(still).with_for_update()).scalars().all()
            for traceback_id in block:
                _retire_one(connection, pseudonyms, traceback_id)
                _forget_header(connection, traceback_id, found[traceback_id])
            if block:
                rows = [{"traceback_id": one, "retired_at": now} for one in block]
                connection.execute(insert(retired_tracebacks), rows)
        report.tracebacks += len(block)
    with writing(engine) as connection:
        _delete_securely(connection)
        report.envelopes = _remove_envelopes(connection)
        report.order_sets = _remove_orders(connection, before)
        _forget_typed_names(connection, before)
        _forget_headers_of_nothing(connection, before)
        report.campaign_calls = _retire_campaign_calls(connection, pseudonyms, before)
        _retire_descriptions(connection, before)
        report.deferred = connection.execute(
            select(func.count()).select_from(_tracebacks).where(_old(before))
        ).scalar_one()
    if clean:
        report.cleaned = _clean(engine)
    return report


def _old(before: datetime) -> Any:
    """Closed long ago, and not retired."""
    return and_(
        _tracebacks.c.status.in_(_CLOSED),
        _tracebacks.c.changed_at < before,
        not_(exists().where(retired_tracebacks.c.traceback_id == _tracebacks.c.id)),
    )


def _ripe(before: datetime) -> Any:
    """Old, and nothing speaks against it."""
    other, mine, theirs = _tracebacks.alias("other"), _hops.alias("mine"), _hops.alias("theirs")
    waiting = exists().where(
        tasks.c.traceback_id == _tracebacks.c.id,
        or_(
            tasks.c.state.in_([State.OPEN.value, State.MATCHING.value]),
            and_(tasks.c.result_at.is_not(None), tasks.c.taken_at.is_(None), tasks.c.result_at >= before),
        ),
    )
    younger = (
        select(theirs.c.batch)
        .join(other, theirs.c.traceback_id == other.c.id)
        .where(theirs.c.batch.is_not(None), or_(other.c.status.not_in(_CLOSED), other.c.changed_at >= before))
    )
    shared = _tracebacks.c.id.in_(select(mine.c.traceback_id).where(mine.c.batch.in_(younger)))
    return and_(_old(before), not_(waiting), not_(shared))


def _delete_securely(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete = ON")


def _retire_one(connection: Connection, pseudonyms: Pseudonyms, traceback_id: uuid.UUID) -> None:
    this = _tracebacks.c.id == traceback_id
    row = connection.execute(select(_tracebacks.c.called, _tracebacks.c.calling).where(this)).one()
    connection.execute(
        update(_tracebacks)
        .where(this)
        .values(
            called=pseudonyms.of(E164(row.called)),
            calling=pseudonyms.of_any(E164(row.calling) if row.calling else None),
            version=_tracebacks.c.version + 1,  # whoever still holds it is refused
        )
    )
    for hop in connection.execute(select(_hops).where(_hops.c.traceback_id == traceback_id)).mappings().all():
        question, answer = _without_numbers(pseudonyms, hop)
        contested = None if hop["contested"] is None else hop["contested"][:CONTEST_HEAD]
        place = and_(
            _hops.c.traceback_id == traceback_id, _hops.c.position == hop["position"], _hops.c.round == hop["round"]
        )
        connection.execute(
            update(_hops)
            .where(place)
            .values(
                question=question,
                answer=answer,
                batch=None,
                sisters=None,
                contested=contested,
                detail=without_numbers(hop["detail"]),
            )
        )
    columns = tasks.c
    asked = select(columns.id, columns.called, columns.ask_called, columns.answered_by).where(
        columns.traceback_id == traceback_id
    )
    for task in connection.execute(asked).all():
        connection.execute(delete(task_attestations).where(task_attestations.c.task_id == task.id))
        connection.execute(
            update(tasks)
            .where(tasks.c.id == task.id)
            .values(
                called=pseudonyms.of(E164(task.called)),
                ask_called=pseudonyms.of_any(E164(task.ask_called) if task.ask_called else None),
                upstream_name=None,
                answered_by=task.answered_by and without_numbers(task.answered_by),
                note="",
            )
        )
        _retire_history(connection, task.id)


def _retire_history(connection: Connection, task_id: uuid.UUID) -> None:
    """What was done stays, and when, and by whom; a name as it was typed, and a reason, may have held anything."""
    columns = task_history.c
    query = select(columns.number, columns.by, columns.detail).where(columns.task_id == task_id)
    for number, by, detail in connection.execute(query.where(columns.what != "asked")).all():
        plain = {"by": without_numbers(by), "detail": without_numbers(detail)}
        if plain != {"by": by, "detail": detail}:
            entry = and_(columns.task_id == task_id, columns.number == number)
            connection.execute(update(task_history).where(entry).values(plain))


def _without_numbers(pseudonyms: Pseudonyms, hop: RowMapping) -> tuple[bytes, bytes | None]:
    """Question and answer of a hop in the form of a trial's, with pseudonyms; what can't be read is emptied."""
    try:
        asked = decode_question(hop["question"])
    except ValueError:
        return b"", None
    plain = Question(
        question_id=asked.question_id,
        target=asked.target,
        called=pseudonyms.of(asked.called),
        at=asked.at,
        window=asked.window,
        named_by=asked.named_by,
        calling=pseudonyms.of_any(asked.calling),
        deadline=asked.deadline,
    )
    question = encode_question(plain)
    if hop["outcome"] is None or hop["answer"] is None:
        return question, None
    try:
        said = decode_answer(hop["answer"], hop["question"], asked)
    except ValueError:
        return question, None
    fields = {name: getattr(said, name) for name in Answer.__dataclass_fields__}
    answer = replace(Answer(**fields), ask_called=pseudonyms.of_any(said.ask_called))
    if word_of(said) != AGENT:
        return question, keep_said(said_answer(answer), question)
    return question, encode_answer(answer, digest(question))


def _remove_envelopes(connection: Connection) -> int:
    used = select(_hops.c.batch).where(_hops.c.batch.is_not(None))
    return connection.execute(delete(_batches).where(_batches.c.sha256.not_in(used))).rowcount


def _remove_orders(connection: Connection, before: datetime) -> int:
    """Remove the orders that have expired and that no traceback needs that has its numbers; how many sets are gone.

    Of a set some may go before the others: each is proved by its own path in the set's tree.
    """
    needed = exists().where(
        _tracebacks.c.order_sha256 == _orders.c.sha256,
        not_(exists().where(retired_tracebacks.c.traceback_id == _tracebacks.c.id)),
    )
    connection.execute(delete(_orders).where(_orders.c.expires < before, not_(needed)))
    empty = not_(exists().where(_orders.c.set_id == _sets.c.id))
    old: Sequence[uuid.UUID] = connection.execute(select(_sets.c.id).where(empty)).scalars().all()
    for set_id in old:
        connection.execute(delete(_seals).where(_seals.c.set_id == set_id))
        connection.execute(delete(_sets).where(_sets.c.id == set_id))
    return len(old)


def _forget_typed_names(connection: Connection, before: datetime) -> None:
    """Take out of names that people typed long ago, and that were matched to providers, what could be a number."""
    columns = name_matches.c
    for row in connection.execute(select(columns.id, columns.typed).where(columns.picked_at < before)).all():
        plain = without_numbers(row.typed)
        if plain != row.typed:
            values = {"typed": plain, "folded": fold(plain).joined}
            connection.execute(update(name_matches).where(columns.id == row.id).values(values))


def _forget_header(connection: Connection, traceback_id: uuid.UUID, found: str | None) -> None:
    """Remove the header that came with this call, and keep what was found with it."""
    columns = order_identities.c
    order = select(_tracebacks.c.order_sha256).where(_tracebacks.c.id == traceback_id).scalar_subquery()
    this = and_(columns.order_sha256 == order, columns.header.is_not(None))
    row = connection.execute(select(columns.order_sha256, columns.origid).where(this)).first()
    if row is not None:
        gone = {"header": None, "origid": lasting(row.origid or ""), "found": found}
        connection.execute(update(order_identities).where(columns.order_sha256 == row.order_sha256).values(gone))


def _forget_headers_of_nothing(connection: Connection, before: datetime) -> None:
    """Remove headers of orders that are not there any more, and that no traceback was made of; and those too late.

    A header may be handed in when the numbers of its call are gone already.
    """
    columns = order_identities.c
    traced = select(_tracebacks.c.order_sha256).where(_tracebacks.c.order_sha256.is_not(None))
    none = and_(columns.order_sha256.not_in(select(_orders.c.sha256)), columns.order_sha256.not_in(traced))
    connection.execute(delete(order_identities).where(columns.taken_at < before, none))
    without = select(_tracebacks.c.order_sha256).join(
        retired_tracebacks, retired_tracebacks.c.traceback_id == _tracebacks.c.id
    )
    late = and_(columns.header.is_not(None), columns.order_sha256.in_(without))
    connection.execute(update(order_identities).where(late).values(header=None, origid=None))


def _retire_campaign_calls(connection: Connection, pseudonyms: Pseudonyms, before: datetime) -> int:
    """Those that were imported long ago, unless their traceback still has its numbers."""
    traced = exists().where(
        _tracebacks.c.called == campaign_calls.c.called,
        _tracebacks.c.at == campaign_calls.c.at,
        _tracebacks.c.terminating == campaign_calls.c.terminating,
    )
    columns = campaign_calls.c
    query = select(columns.campaign, columns.number, columns.called, columns.calling).where(
        columns.imported_at < before, columns.called.not_like(f"{PREFIX}%"), not_(traced)
    )
    old = connection.execute(query).all()
    for row in old:
        same = and_(campaign_identities.c.campaign == row.campaign, campaign_identities.c.number == row.number)
        connection.execute(delete(campaign_identities).where(same))
        connection.execute(
            update(campaign_calls)
            .where(columns.campaign == row.campaign, columns.number == row.number)
            .values(
                called=pseudonyms.of(E164(row.called)),
                calling=pseudonyms.of_any(E164(row.calling) if row.calling else None),
            )
        )
    return len(old)


def _retire_descriptions(connection: Connection, before: datetime) -> None:
    """Of campaigns that were begun long ago, and none of whose calls has its numbers any more."""
    columns = campaigns.c
    plain_call = exists().where(
        campaign_calls.c.campaign == columns.name, campaign_calls.c.called.not_like(f"{PREFIX}%")
    )
    query = select(columns.name, columns.description).where(columns.created_at < before, not_(plain_call))
    for name, description in connection.execute(query).all():
        plain = without_numbers(description)
        if plain != description:
            connection.execute(update(campaigns).where(columns.name == name).values(description=plain))


def _clean(engine: Engine) -> bool:
    """Leave nothing of what was replaced in the database's files; False where somebody is in the way."""
    if engine.dialect.name == "sqlite":
        raw = engine.raw_connection()
        try:
            cursor = raw.cursor()
            cursor.execute("PRAGMA secure_delete = ON")
            cursor.execute("VACUUM")
            busy, _, _ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            cursor.close()
        finally:
            raw.close()
        return not busy
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in _CLEANED:
            connection.execute(text(f"VACUUM (FULL, ANALYZE) {table}"))
        connection.execute(text("VACUUM FULL pg_catalog.pg_statistic"))  # the database's owner may; others are warned
    return True

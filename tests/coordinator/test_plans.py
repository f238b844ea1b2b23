"""What is asked of the database again and again is found by an index, whatever else there is: the clerk's, a page's."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from sqlalchemy import Engine, Executable, insert, text

from coordinator.store import postgresql_writer, sqlite_writer
from coordinator.store.models import HopRow, TracebackRow
from coordinator.store.pages import Place, older
from coordinator.store.views import first_asked, own_rows
from coordinator.tasks.clerk import ClerkTerms, left_to_people
from coordinator.tasks.looking import untaken_results
from tests.coordinator.databases import row
from tests.coordinator.make import ID, NOW, provider

OTHERS = 2000
_PAGE = first_asked("birch").order_by(HopRow.asked_at.desc(), HopRow.traceback_id).limit(100)

QUERIES = {
    "ix_tracebacks_for_people": left_to_people(NOW, ClerkTerms()),
    "ix_tasks_untaken": untaken_results(100),
    "ix_hops_provider_asked_at": _PAGE,
}


def plan(engine: Engine, query: Executable) -> str:
    """How the database would find it, were it not that there is nearly nothing to be read."""
    explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
    compiled = query.compile(engine, compile_kwargs={"literal_binds": True})  # type: ignore[attr-defined]
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL enable_seqscan = off"))
        return "\n".join(str(tuple(row)) for row in connection.execute(text(explain + str(compiled))))


@pytest.mark.parametrize("index", QUERIES)
def test_it_is_found_by_its_index(either_engine: Engine, index: str) -> None:
    assert index in plan(either_engine, QUERIES[index])


def test_a_providers_page_begins_in_the_middle_of_that_index_and_not_all_of_its_is_sorted(
    either_engine: Engine,
) -> None:
    said = plan(either_engine, _PAGE.where(older(HopRow.asked_at, HopRow.traceback_id, Place(NOW, ID))))
    assert "asked_at<" in said.replace(" ", ""), said
    assert "USE TEMP B-TREE FOR ORDER BY" not in said, said


def test_what_a_provider_was_asked_in_a_traceback_is_found_by_that(either_engine: Engine) -> None:
    assert "ix_hops_provider_asked_at" not in plan(either_engine, own_rows("birch", [ID]))


def test_who_waits_for_an_agent_is_found_by_that_however_many_others_wait(either_engine: Engine) -> None:
    later = NOW + timedelta(seconds=30)
    with either_engine.begin() as connection:
        others = [row(uuid.uuid4(), claimable=later, due=later) for _ in range(OTHERS)]
        connection.execute(insert(TracebackRow), others)
        connection.execute(text("ANALYZE tracebacks"))
        cursor = connection.connection.cursor()
        plans: list[tuple[str, tuple[object, ...]]]
        if either_engine.dialect.name == "postgresql":
            plans = [(f"EXPLAIN {postgresql_writer.WAKE}", (provider("ginkgo"), NOW, NOW, NOW))]
        else:
            bound = (sqlite_writer.time_text(NOW), provider("ginkgo"))
            wakes = (sqlite_writer.ANYBODY_ASLEEP, sqlite_writer.WAKE)
            plans = [(f"EXPLAIN QUERY PLAN {statement}", bound) for statement in wakes]
        for statement, values in plans:
            cursor.execute(statement, values)
            assert "ix_tracebacks_waits_for" in str(cursor.fetchall())

"""What the clerk asks the database for again and again is found by an index, whatever else there is."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, Executable, text

from coordinator.tasks.clerk import ClerkTerms, left_to_people
from coordinator.tasks.looking import untaken_results
from tests.coordinator.make import NOW

QUERIES = {
    "ix_tracebacks_for_people": left_to_people(NOW, ClerkTerms()),
    "ix_tasks_untaken": untaken_results(100),
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

"""What one provider sees does not depend on what another one says: not by one byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from coordinator.api.rpc import RefusedError
from coordinator.callers import ALLOWED, Caller, Role
from hopback.v1 import traceback_pb2 as pb
from protos.types import Answer, Handover, Outcome, RefusalReason
from tests.coordinator.api.house import Made, always, honest, make
from tests.coordinator.api.test_matrix import CALLS
from tests.coordinator.databases import in_sqlite
from tests.coordinator.make import provider, says, upstream
from tests.coordinator.parties import Parties

BIRCH = provider("birch")
OTHER_WORDS = {
    "ends there": says("birch", Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED),
    "denies": says("birch", Outcome.NOT_FOUND, handover=Handover.NOT_MINE),
    "refuses": Answer(BIRCH, Outcome.REFUSED, refusal=RefusalReason.POLICY),
    "names another one": upstream("birch", "elm", handover=Handover.CONFIRMED),
    "came from abroad": Answer(
        BIRCH, Outcome.FOREIGN_UPSTREAM, upstream=provider("abroad"), handover=Handover.CONFIRMED
    ),
}


SEEN = sorted(method for method, roles in ALLOWED.items() if Role.PROVIDER in roles)
"""Whatever a provider may call."""


async def views_of(made: Made, name: str) -> list[bytes]:
    """Everything that a provider can see, as bytes: what each method says to it, also where that is a refusal."""
    caller, seen, anns = Caller(Role.PROVIDER, name), [], made.tracebacks["ann"]
    made.birch = name
    for identity in made.tracebacks.values():
        made.tracebacks["ann"] = identity
        for method in SEEN:
            try:
                answers = await CALLS[method](made, caller)
            except RefusedError as error:
                seen.append(f"{method}: {error.code} {error}".encode())
                continue
            said = answers if isinstance(answers, list) else [answers]
            seen += [method.encode() + one.SerializeToString(deterministic=True) for one in said]
    made.tracebacks["ann"] = anns
    return seen


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return Parties(tmp_path_factory.mktemp("ca"))


@pytest.mark.parametrize("words", OTHER_WORDS)
async def test_what_a_provider_sees_is_the_same_whatever_its_upstream_says(
    words: str, parties: Parties, sqlite_template: Path, tmp_path: Path
) -> None:
    seen = []
    for number, behaviours in enumerate((honest(), honest() | {"birch": always(OTHER_WORDS[words])})):
        with in_sqlite(tmp_path / f"{number}.db", sqlite_template) as engine:
            made = await make(engine, parties, tmp_path, behaviours)
            seen.append(await views_of(made, "ginkgo"))
            made.store.close()
    assert seen[0] == seen[1]


async def test_nothing_of_others_is_in_a_providers_view(
    parties: Parties, sqlite_template: Path, tmp_path: Path
) -> None:
    with in_sqlite(tmp_path / "x.db", sqlite_template) as engine:
        made = await make(engine, parties, tmp_path)
        everything = b"".join(await views_of(made, "birch"))
        assert b"birch" in everything
        assert b"ginkgo" in everything, "who named it"
        assert b"alder" in everything, "whom it named"
        of_ginkgo = b"".join(await views_of(made, "ginkgo"))
        assert b"alder" not in of_ginkgo
        assert b"origin_found" not in of_ginkgo
        made.store.close()


async def test_a_change_of_anothers_rows_changes_nothing(
    parties: Parties, sqlite_template: Path, tmp_path: Path
) -> None:
    with in_sqlite(tmp_path / "x.db", sqlite_template) as engine:
        made = await make(engine, parties, tmp_path)
        before = await views_of(made, "ginkgo")
        with engine.begin() as connection:
            connection.execute(
                text("UPDATE hops SET detail = 'x', failures = 7, ended_at = NULL WHERE provider != 'ginkgo'")
            )
            connection.execute(text("UPDATE tracebacks SET status = 'disputed', found = 'elm', hop_count = 9"))
            connection.execute(text("UPDATE tasks SET state = 'open', outcome = NULL, gives_up = received"))
            connection.execute(text("UPDATE providers SET name = 'x', endpoint = NULL WHERE id != 'ginkgo'"))
            connection.execute(text("DELETE FROM order_seals"))
        assert await views_of(made, "ginkgo") == before
        with engine.begin() as connection:
            connection.execute(text("UPDATE hops SET ended_at = NULL WHERE provider = 'ginkgo'"))
        assert await views_of(made, "ginkgo") != before, "its own row is looked at"
        made.store.close()


async def test_pages_hold_everything_once(parties: Parties, sqlite_template: Path, tmp_path: Path) -> None:
    with in_sqlite(tmp_path / "x.db", sqlite_template) as engine:
        made = await make(engine, parties, tmp_path)
        for caller in (Caller(Role.ANALYST, "una"), Caller(Role.PROVIDER, "birch")):
            token, ids = "", []
            while True:
                page = await made.api.list(caller, pb.ListRequest(page_size=1, page_token=token))
                ids += [view.traceback_id for view in page.tracebacks]
                token = page.next_page_token
                if not token:
                    break
            assert sorted(ids) == sorted(map(str, made.tracebacks.values()))
        made.store.close()

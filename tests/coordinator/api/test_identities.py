"""Identity headers that are handed in from elsewhere: beside orders, whenever they are found, and never for others'."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from coordinator.api.rpc import RefusedError
from coordinator.callers import Caller, Role
from coordinator.pseudonyms import Pseudonyms
from coordinator.retention import retire
from coordinator.stir.book import IdentityBook, Taken
from coordinator.stir.examiner import Examiner
from coordinator.stir.passport import parse_identity
from coordinator.store.orders import known_set
from coordinator.store.stir_models import order_identities
from hopback.v1 import order_pb2 as pb
from tests.coordinator.api.house import Made, make
from tests.coordinator.api.network import Running, started
from tests.coordinator.api.test_whole_way import WORDS
from tests.coordinator.make import NOW
from tests.coordinator.parties import Parties
from tests.coordinator.stir.sti import identity

ANN, UNA = Caller(Role.REQUESTER, "ann"), Caller(Role.ANALYST, "una")


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return Parties(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def made(either_engine: Engine, parties: Parties, tmp_path: Path) -> AsyncIterator[Made]:
    house = await make(either_engine, parties, tmp_path)
    yield house
    house.store.close()


async def attached(made: Made, caller: Caller, *headers: tuple[bytes, str]) -> list[tuple[bool, str]]:
    request = pb.AttachIdentitiesRequest(
        identities=[pb.OrderIdentity(order_sha256=order, header=header) for order, header in headers]
    )
    response = await made.order_desk.attach_identities(caller, request)
    return [(one.existing, one.refused) for one in response.results]


class TestAHeader:
    async def test_is_taken_after_the_call_was_traced_and_checked_against_its_chain(self, made: Made) -> None:
        anns, kept = made.orders["ann"], made.store.load(made.tracebacks["ann"])
        assert kept is not None
        examiner = Examiner(made.store.engine)
        assert examiner.check(kept.traceback) is None
        assert await attached(made, ANN, (anns, identity())) == [(False, "")]
        assert examiner.check(kept.traceback) is not None
        with made.store.engine.connect() as connection:
            taken = connection.execute(select(order_identities.c.taken_by, order_identities.c.taken_at)).one()
        assert taken == ("requester/ann", made.clock.now())

    async def test_changes_nothing_that_was_signed(self, made: Made) -> None:
        (name,) = made.house.book.sets_of(made.orders["ann"])
        before = known_set(made.house.book, name)
        await attached(made, ANN, (made.orders["ann"], identity()))
        after = known_set(made.house.book, name)
        assert (after.exact, after.id, after.signatures) == (before.exact, before.id, before.signatures)

    async def test_that_is_there_stays_whoever_brings_another(self, made: Made) -> None:
        anns, first = made.orders["ann"], identity()
        await attached(made, ANN, (anns, first))
        for caller in (ANN, UNA):
            assert await attached(made, caller, (anns, first)) == [(True, "")]
            [(existing, why)] = await attached(made, caller, (anns, identity(orig="12025550188")))
            assert not existing
            assert "is there, and stays" in why
        assert IdentityBook(made.store.engine).headers([anns])[anns].text == first

    async def test_of_anothers_order_is_of_none(self, made: Made) -> None:
        both = ((made.orders["abe"], identity()), (bytes(32), identity()))
        assert await attached(made, ANN, *both) == [(False, "there is no such order")] * 2
        assert await attached(made, UNA, both[0]) == [(False, "")]

    async def test_is_taken_or_refused_for_itself(self, made: Made) -> None:
        [good, (_, why)] = await attached(made, ANN, (made.orders["ann"], identity()), (made.fresh, "a.b.c"))
        assert good == (False, "")
        assert why
        with pytest.raises(RefusedError, match="twice"):
            await attached(made, ANN, *[(made.fresh, identity())] * 2)

    async def test_that_comes_when_the_numbers_are_gone_goes_with_the_next_retention(self, made: Made) -> None:
        engine, anns, key = made.store.engine, made.orders["ann"], Pseudonyms(bytes(range(32)))
        later = NOW + timedelta(days=900)
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE tasks SET state = 'withdrawn'")
        assert retire(engine, key, later, later).tracebacks == 2
        assert await attached(made, UNA, (anns, identity())) == [(False, "there is no such order")]
        book, came = IdentityBook(engine), {anns: ("warranty", parse_identity(identity()))}
        assert book.keep(came, later) == {anns: Taken.NEW}  # as by somebody who looked a moment before
        retire(engine, key, later, later)
        assert book.headers([anns])[anns].text is None
        assert "gone" in book.keep(came, later)[anns].refusal


class TestTheCommands:
    @pytest.fixture
    async def running(self, sqlite_engine: Engine, tmp_path: Path) -> AsyncIterator[Running]:
        async with started(sqlite_engine, tmp_path, present=True) as found:
            yield found

    def calls(self, directory: Path, *headers: str) -> str:
        at = datetime.now().astimezone() - timedelta(hours=2)
        file = directory / "calls.jsonl"
        rows = [
            {"called": f"+1202555017{n}", "at": at.isoformat(), "terminating": "ginkgo", "identity": header}
            for n, header in enumerate(headers)
        ]
        file.write_text("\n".join(map(json.dumps, rows)))
        return str(file)

    async def test_import_brings_headers_with_their_calls(self, running: Running, tmp_path: Path) -> None:
        file = self.calls(tmp_path, identity(), "", "a.b.c")
        line = ("import", file, *WORDS, "--json")
        dry = json.loads((await running.run("requester", "ann", *line, "--dry-run", code=65)).stdout)
        found = json.loads((await running.run("requester", "ann", *line, code=65)).stdout)
        assert dry["identities"] == found["identities"] == 1
        assert [row["line"] for row in found["rejected"]] == [3]
        shown = await running.json("requester", "ann", "order", "show", found["set"])
        book = IdentityBook(running.engine)
        kept = {one["called"] for one in shown["orders"] if book.headers([bytes.fromhex(one["sha256"])])}
        assert kept == {"+12025550170"}

    async def test_attach_hands_one_in_later(self, running: Running, tmp_path: Path) -> None:
        made = json.loads(
            (await running.run("requester", "ann", "import", self.calls(tmp_path, "", ""), *WORDS, "--json")).stdout
        )
        header = tmp_path / "header.txt"
        header.write_text(identity())
        first = (await running.json("requester", "ann", "order", "show", made["set"]))["orders"][0]
        either = ("order", "attach", made["set"], "--identity", str(header))
        unsaid = await running.run("requester", "ann", *either, code=2)
        assert "--order: 2 orders" in unsaid.output
        line = (*either, "--order", first["order"])
        assert "Attached." in (await running.run("requester", "ann", *line)).output
        assert "was there before" in (await running.run("analyst", "una", *line)).output
        header.write_text(identity(orig="12025550188"))
        assert "stays" in (await running.run("requester", "ann", *line, code=65)).output
        header.write_text("nothing")
        refused = await running.run("requester", "ann", *line, code=65)
        assert str(header) in refused.output

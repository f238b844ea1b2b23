"""One caller, however many calls it makes and however large, leaves the others theirs; who is revoked hears no more."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from sqlalchemy import Engine, insert, select

from coordinator.api import rpc
from coordinator.api.rpc import Door, RefusedError
from coordinator.api.service import TracebackApi
from coordinator.callers import ORDERS, SERVICE, Caller, Role
from coordinator.serve import CoordinatorServer
from coordinator.store import views
from coordinator.store.models import HopRow, TracebackRow
from coordinator.tasks.task import Asked, Kind
from hopback.v1 import order_pb2 as orders
from hopback.v1 import traceback_pb2 as pb
from protos.live import Live
from protos.tls import channel_credentials, coordinator_channel_options
from tests.coordinator.api.house import LISTED, Made, make
from tests.coordinator.fake_agent import tls
from tests.coordinator.make import provider
from tests.coordinator.parties import Parties

LONG_S = 60  # nothing waits as long, unless it is broken


@dataclass
class Served:
    """The house behind a server that revokes certificates on demand."""

    made: Made
    parties: Parties
    revoked: list[str] = field(default_factory=list)
    address: str = ""

    @asynccontextmanager
    async def line(self, role: str, name: str) -> AsyncIterator[grpc.aio.Channel]:
        credentials = channel_credentials(tls(self.parties.authority.issue_caller(role, name)))
        options = coordinator_channel_options("hopback://coordinator/lab")
        async with grpc.aio.secure_channel(self.address, credentials, options) as channel:
            yield channel

    def watch(self, channel: grpc.aio.Channel, traceback: uuid.UUID) -> Any:
        call: Any = channel.unary_stream(f"/{SERVICE}/Watch", None, pb.WatchResponse.FromString)
        return call(pb.WatchRequest(traceback_id=str(traceback)).SerializeToString(), timeout=LONG_S)

    async def get(self, channel: grpc.aio.Channel, traceback: uuid.UUID) -> grpc.StatusCode:
        call: Any = channel.unary_unary(f"/{SERVICE}/Get", None, None)
        try:
            await call(pb.GetRequest(traceback_id=str(traceback)).SerializeToString(), timeout=LONG_S)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK


@pytest.fixture
async def served(sqlite_engine: Engine, tmp_path: Path) -> AsyncIterator[Served]:
    made = await make(sqlite_engine, Parties(tmp_path / "evidence"), tmp_path)
    served = Served(made, Parties(tmp_path / "ca", datetime.now(UTC)))
    made.door = Door(LISTED, lambda _: served.revoked[0] if served.revoked else None)
    services = {SERVICE: TracebackApi(made.house, made.door).methods()}
    services[ORDERS] = replace(made.order_desk, door=made.door).methods()
    files = Live(tls(served.parties.authority.issue_coordinator("lab")))
    server = CoordinatorServer(files, "127.0.0.1:0", services)
    served.address = (await server.start()).address
    yield served
    await server.stop(0)
    made.store.close()


async def under_way(made: Made) -> uuid.UUID:
    """A traceback of ann's that can still change."""
    [result] = (
        await made.api.submit(Caller(Role.REQUESTER, "ann"), pb.SubmitRequest(order_sha256=[made.fresh]))
    ).results
    return uuid.UUID(result.traceback_id)


class TestACaller:
    async def test_has_so_many_calls_open_and_no_more_while_others_are_served(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rpc, "MOST_OPEN", 3)
        hers = await under_way(served.made)
        async with served.line("requester", "ann") as ann, served.line("requester", "abe") as abe:
            watching = [served.watch(ann, hers) for _ in range(3)]
            for one in watching:
                assert (await one.read()).traceback.traceback_id == str(hers)
            assert await served.get(ann, hers) is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert await served.get(abe, served.made.tracebacks["abe"]) is grpc.StatusCode.OK
            watching[0].cancel()
            async with asyncio.timeout(LONG_S):  # until the server has heard of it
                while await served.get(ann, hers) is not grpc.StatusCode.OK:
                    pass

    async def test_sends_few_sets_of_orders_at_a_time(self, served: Served) -> None:
        async with served.line("requester", "ann") as ann, served.line("requester", "abe") as abe:

            def sending(channel: grpc.aio.Channel) -> Any:
                call: Any = channel.stream_unary(f"/{ORDERS}/DraftOrders", None, None)
                return call(timeout=LONG_S)

            part = orders.DraftOrdersRequest(orders=[b"no order"]).SerializeToString()
            begun = [sending(ann) for _ in range(rpc.MOST_COLLECTED + 1)]
            for one in begun:
                await one.write(part)
            done, _ = await asyncio.wait(
                [asyncio.ensure_future(one.code()) for one in begun], return_when=asyncio.FIRST_COMPLETED
            )
            assert [one.result() for one in done] == [grpc.StatusCode.RESOURCE_EXHAUSTED]
            his = sending(abe)
            await his.write(part)
            await his.done_writing()
            assert await his.code() is grpc.StatusCode.INVALID_ARGUMENT

    async def test_does_one_long_thing_at_a_time_so_that_another_can_do_his(self) -> None:
        door, stays = Door(LISTED), threading.Event()

        async def work(name: str, what: Callable[[], object]) -> object:
            rpc._calling.set(Caller(Role.REQUESTER, name))
            return await door.apart(what)

        hers = [asyncio.ensure_future(work("ann", lambda: stays.wait(LONG_S))) for _ in range(5)]
        await asyncio.sleep(0)
        try:
            assert await asyncio.wait_for(asyncio.ensure_future(work("abe", lambda: "his")), LONG_S / 2) == "his"
        finally:
            stays.set()
        assert await asyncio.gather(*hers) == [True] * 5

    async def test_that_is_revoked_while_it_watches_hears_of_no_change_any_more(self, served: Served) -> None:
        hers = await under_way(served.made)
        async with served.line("requester", "ann") as ann:
            watching = served.watch(ann, hers)
            await watching.read()
            served.revoked.append("its certificate was revoked")
            request = pb.CancelRequest(traceback_id=str(hers), reason="done")
            await served.made.api.cancel(Caller(Role.ANALYST, "una"), request)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await watching.read()
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


class TestAProvider:
    async def test_reads_a_bounded_part_of_its_hops_for_a_page_however_few_fit(
        self, sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = await make(sqlite_engine, Parties(tmp_path / "evidence"), tmp_path)
        birch = Caller(Role.PROVIDER, "birch")
        still_open = _copies(sqlite_engine, made.tracebacks["ann"], 9)
        monkeypatch.setattr(views, "_BLOCK", 2)
        monkeypatch.setattr(views, "_MOST_LOOKED_AT", 4)
        request, found, pages = pb.ListRequest(status="open", page_size=1), [], 0
        while True:
            page = await made.api.list(birch, request)
            found += [one.traceback_id for one in page.tracebacks]
            pages += 1
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert found == [str(still_open)]
        assert pages >= 3
        nothing = await made.api.list(birch, pb.ListRequest(status="origin_found", page_size=1))
        assert (list(nothing.tracebacks), nothing.next_page_token) == ([], "")
        made.store.close()

    async def test_misses_no_task_when_one_of_an_earlier_page_is_answered_meanwhile(
        self, sqlite_engine: Engine, tmp_path: Path
    ) -> None:
        made = await make(sqlite_engine, Parties(tmp_path / "evidence"), tmp_path)
        elm, kept = Caller(Role.PROVIDER, "elm"), made.store.load(made.tracebacks["ann"])
        assert kept is not None
        question = replace(kept.traceback.hops[-1].question, target=provider("elm"))
        for number in (20, 21):
            asked = Asked.from_question(
                made.tracebacks["ann"], 3, replace(question, question_id=uuid.UUID(int=number)), Kind.NO_AGENT
            )
            made.house.tasks.ask(asked, made.clock.now())
        every = [one.task_id for one in (await made.api.list_tasks(elm, pb.ListTasksRequest(open_only=True))).tasks]
        seen, request = [], pb.ListTasksRequest(open_only=True, page_size=1)
        while True:
            page = await made.api.list_tasks(elm, request)
            for one in page.tasks:
                seen.append(one.task_id)
                answer = pb.AnswerTaskRequest(task_id=one.task_id, outcome="not_found", person="Kim")
                if one.state == "waiting":
                    await made.api.answer_task(elm, answer)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert seen == every
        for token in ("999999999", "1", "\u0661", "MjAyNg==", "x" * 200):
            with pytest.raises(RefusedError) as refused:
                await made.api.list_tasks(elm, pb.ListTasksRequest(page_token=token))
            assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
        made.store.close()


def _copies(engine: Engine, traceback: uuid.UUID, number: int) -> uuid.UUID:
    """So many tracebacks more like this one, and an older one in which birch owes its answer."""
    with engine.begin() as connection:
        row = dict(
            connection.execute(select(TracebackRow.__table__).where(TracebackRow.id == traceback)).mappings().one()
        )
        mine = select(HopRow.__table__).where(HopRow.traceback_id == traceback)
        hops = [dict(hop) for hop in connection.execute(mine).mappings()]
        ids = [uuid.uuid4() for _ in range(number + 1)]
        connection.execute(insert(TracebackRow), [row | {"id": one} for one in ids])
        for one in ids:
            owes = {"outcome": None, "answer": None} if one == ids[-1] else {}
            older = timedelta(hours=1) if owes else timedelta(0)
            for hop in hops:
                own = {"traceback_id": one, "question_id": uuid.uuid4(), "asked_at": hop["asked_at"] - older}
                connection.execute(insert(HopRow), hop | own | owes)
    return ids[-1]

"""Ask as a whole: logged before it leaves, one size whatever it says, batches, disks that refuse, no number kept."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from structlog.testing import capture_logs

from agent.ask import ASK, SLICE
from agent.committing import GroupCommit
from agent.evidence_config import Mode
from agent.gate.limits import Limits
from agent.handlers import reading_records
from agent.index.errors import IndexUnusableError
from agent.server import AgentServer, Listening
from agent.stores.threads import LookupThreads
from hopback.v1 import audit_pb2 as audit
from protos.codec import digest
from protos.e164 import from_int
from protos.errors import FaultError, read_fault
from protos.hops import Parts, encode_question
from protos.identity import ProviderId
from protos.tls import channel_credentials, provider_channel_options
from protos.types import ErrorReason, Outcome
from tests.agent.authority import LAB, Kit, asked
from tests.agent.gate.gated import Clock, Gated, QuietFiles
from tests.agent.provider import BIRCH, CALLED, CEDAR, LEG, NOW, OTHER, FakeRecords, some_records, tls

NUMBERS = [from_int(12025550100 + number) for number in range(100)]
CANARY = b"2025550143"


class FailingFiles(QuietFiles):
    """A disk that refuses when it is told to."""

    refuses: str = ""

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        """Write, or refuse."""
        if self.refuses == "write":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        """Nothing, or refuse."""
        if self.refuses == "fsync":
            raise OSError(errno.EIO, os.strerror(errno.EIO))


def kinds(gated: Gated) -> list[str]:
    return [audit.AuditKind.Name(one.kind).removeprefix("AUDIT_KIND_") for one in gated.book.recent()]


class TestTheLog:
    async def test_has_the_intent_before_the_records_are_read_and_the_answer_before_it_leaves(
        self, gated: Gated
    ) -> None:
        seen = []
        found = gated.records.find

        def find(*args: object) -> object:
            seen.append(kinds(gated))
            return found(*args)  # type: ignore[arg-type]

        gated.records.find = find  # type: ignore[method-assign, assignment]
        granted = gated.kit.granted()
        question = gated.kit.ask(granted)
        assert (await gated.ask_one(question, granted)).outcome is Outcome.UPSTREAM
        assert seen == [["INTENT"]]
        assert kinds(gated) == ["INTENT", "ANSWER"]
        *_, answer = gated.book.recent()
        assert answer.question_sha256 == digest(encode_question(question))
        assert answer.opened is not None
        assert answer.answer_leaf == Parts(answer.opened.naming, answer.opened.finding).leaf
        assert gated.log.durable[0] == gated.log.size

    async def test_has_refusals_and_repetitions_too(self, gated: Gated) -> None:
        granted = gated.kit.granted()
        question = gated.kit.ask(granted)
        await gated.ask([question, gated.kit.ask(granted, called=OTHER)], [granted])
        await gated.ask_one(question, granted)
        assert kinds(gated) == ["INTENT", "ANSWER", "REFUSED", "REPLAYED"]
        refused = [one for one in gated.book.recent() if one.kind == audit.AUDIT_KIND_REFUSED]
        assert [(one.outcome, one.refusal, one.asker) for one in refused] == [("REFUSED", "OUTSIDE_ORDER", LAB)]

    @pytest.mark.parametrize("refuses", ["write", "fsync"])
    async def test_that_cannot_be_written_keeps_everything_from_being_answered(
        self, kit: Kit, tmp_path: Path, refuses: str
    ) -> None:
        files = FailingFiles()
        gated = Gated(kit, tmp_path / "agent", files=files)
        granted = kit.granted()
        files.refuses = refuses
        for _ in range(2):
            with pytest.raises(FaultError) as caught:
                await gated.ask_one(kit.ask(granted), granted)
            assert caught.value.fault.reason is ErrorReason.AUDIT_UNAVAILABLE
            files.refuses = ""  # once is enough: nobody knows what is on the disk
        assert not gated.handler.works
        assert gated.records.reads == (0 if refuses == "write" else 1)

    async def test_is_enough_to_remember_everything_by(self, kit: Kit, tmp_path: Path) -> None:
        gated = Gated(kit, tmp_path / "agent", limits=Limits(questions_per_day=2))
        granted = kit.granted()
        question = kit.ask(granted)
        first = await gated.ask_one(question, granted)
        await gated.close()
        for path in (tmp_path / "agent").glob("gate.sqlite*"):
            path.unlink()
        again = Gated(kit, tmp_path / "agent", limits=Limits(questions_per_day=2))
        assert await again.ask_one(question, granted) == first
        assert again.records.reads == 0
        assert (await again.ask_one(kit.ask(granted), granted)).outcome is Outcome.UPSTREAM
        assert (await again.ask_one(kit.ask(granted), granted)).refusal.name == "BUDGET"
        await again.close()


class TestBudgets:
    async def outcomes(self, gated: Gated, count: int, **order: object) -> list[str]:
        granted = gated.kit.granted(**order)
        questions = [gated.kit.ask(granted) for _ in range(count)]
        return [one.refusal.name for one in await gated.ask(questions, [granted])]

    async def test_of_a_day_are_full_again_the_next_day_and_not_before(self, kit: Kit, tmp_path: Path) -> None:
        clock = Clock()
        gated = Gated(kit, tmp_path / "agent", limits=Limits(questions_per_day=3), clock=clock)
        assert await self.outcomes(gated, 4) == ["UNSPECIFIED"] * 3 + ["BUDGET"]
        clock.now = NOW - timedelta(days=5)  # a clock that jumps back gives nothing back
        assert await self.outcomes(gated, 1) == ["BUDGET"]
        await gated.close()
        gated = Gated(kit, tmp_path / "agent", limits=Limits(questions_per_day=3), clock=clock)
        assert await self.outcomes(gated, 1) == ["BUDGET"]
        clock.now = NOW + timedelta(days=1)
        granted = kit.granted(expires=clock.now + timedelta(hours=1))
        life: dict[str, Any] = {"issued": clock.now, "deadline": clock.now + timedelta(minutes=1)}
        assert (await gated.ask_one(kit.ask(granted, **life), granted)).outcome is Outcome.UPSTREAM
        await gated.close()

    async def test_of_a_campaign_are_its_own(self, kit: Kit, tmp_path: Path) -> None:
        gated = Gated(kit, tmp_path / "agent", limits=Limits(questions_per_campaign_per_day=2))
        assert await self.outcomes(gated, 3, campaign="one") == ["UNSPECIFIED"] * 2 + ["BUDGET"]
        assert await self.outcomes(gated, 1, campaign="two") == ["UNSPECIFIED"]
        await gated.close()

    async def test_of_a_number_count_the_time_that_was_looked_at_once(self, kit: Kit, tmp_path: Path) -> None:
        gated = Gated(kit, tmp_path / "agent", limits=Limits(seconds_per_number_per_day=200))
        assert await self.outcomes(gated, 5) == ["UNSPECIFIED"] * 5  # the same two minutes
        later = kit.order().at + timedelta(seconds=60)
        assert await self.outcomes(gated, 1, at=later) == ["UNSPECIFIED"]  # one minute more
        assert await self.outcomes(gated, 1, at=later + timedelta(seconds=60)) == ["BUDGET"]
        assert await self.outcomes(gated, 1, called=OTHER) == ["UNSPECIFIED"]
        await gated.close()


class TestSize:
    async def test_is_one_for_every_answer_whatever_it_says(self, kit: Kit, tmp_path: Path) -> None:
        sizes: dict[str, set[int]] = {}

        async def ask(name: str, gated: Gated, **change: object) -> None:
            onward = change.pop("onward", False)
            order = {name: change.pop(name) for name in ("called", "at", "campaign") if name in change}
            granted = kit.granted(**(order | ({"terminating": CEDAR} if onward else {})))
            named = kit.name([granted])[0] if onward else None
            question = kit.ask(granted, named, **change)  # type: ignore[arg-type]
            request = kit.envelope([question], [granted], [] if named is None else [named])
            response = await gated.send(request)
            ((answer, _),) = gated.check(response, [asked(question)])
            sizes.setdefault(f"{name}: {answer.outcome.name} {answer.refusal.name}", set()).add(len(response))

        abroad = LEG._replace(ingress_trunk="IN-ABROAD", call_ref=0x1, row=11)
        changed = LEG._replace(called_in=OTHER, call_ref=0x2)
        legs = {
            NUMBERS[1]: [LEG, abroad],
            NUMBERS[2]: [abroad],
            NUMBERS[3]: [LEG._replace(ingress_trunk="IN-NEW")],
            NUMBERS[4]: [LEG._replace(ingress_trunk=None, ingress_address=None)],
            NUMBERS[5]: [changed],
        }
        records = FakeRecords({**some_records().legs, **legs})
        gated = Gated(kit, tmp_path / "one", records)
        for number in range(8):
            await ask("number", gated, called=NUMBERS[number])
        await ask("found", gated)
        await ask("named", gated, called=OTHER, onward=True)
        await ask("not mine", gated, onward=True)
        await ask("not yet", gated, at=NOW - timedelta(minutes=20))
        await ask("refused", gated, called=CALLED, position=3)
        await ask("expired", Gated(kit, tmp_path / "two", retention=timedelta(days=1)))
        await ask("held", Gated(kit, tmp_path / "three", mode=Mode.HELD))
        await ask("dry run", Gated(kit, tmp_path / "four", mode=Mode.DRY_RUN))
        said = {name.split(": ")[1].split()[0] for name in sizes}
        assert {outcome.name for outcome in Outcome} - said == set(), sizes
        assert len(set().union(*sizes.values())) == 1, sizes


class TestABatch:
    def agent(self, kit: Kit, directory: Path) -> Gated:
        return Gated(kit, directory, FakeRecords({number: [LEG] for number in NUMBERS}))

    async def test_longer_than_a_slice_is_answered_whole_and_in_order(self, kit: Kit, tmp_path: Path) -> None:
        gated = self.agent(kit, tmp_path / "agent")
        orders = kit.grant([kit.order(called=NUMBERS[i % 100]) for i in range(2 * SLICE + 7)])
        other: dict[str, Any] = {"called": OTHER}
        questions = [kit.ask(granted, **({} if i % 5 else other)) for i, granted in enumerate(orders)]
        answers = await gated.ask(questions, orders)
        refused = [answer.outcome is Outcome.REFUSED for answer in answers]
        assert refused == [questions[i].called != orders[i].order.called for i in range(len(orders))]
        assert sum(refused) > 100
        await gated.close()

    async def test_gives_way_to_others(self, kit: Kit, tmp_path: Path) -> None:
        gated = self.agent(kit, tmp_path / "agent")
        orders = kit.grant([kit.order(called=NUMBERS[i % 100]) for i in range(8 * SLICE)])
        batch = kit.envelope([kit.ask(granted) for granted in orders], orders)
        single = kit.ask(orders[0])
        ended: list[str] = []

        async def send(name: str, request: bytes) -> None:
            await gated.send(request)
            ended.append(name)

        large = asyncio.create_task(send("batch", batch))
        while gated.records.reads == 0:
            await asyncio.sleep(0)
        await send("single", kit.envelope([single], [orders[0]]))
        await large
        assert ended == ["single", "batch"]
        await gated.close()

    async def test_whose_records_fail_half_way_gets_an_error_and_what_was_logged_stays(
        self, kit: Kit, tmp_path: Path
    ) -> None:
        gated = self.agent(kit, tmp_path / "agent")
        orders = kit.grant([kit.order(called=NUMBERS[i % 100]) for i in range(SLICE + 10)])
        questions = [kit.ask(granted) for granted in orders]
        request = kit.envelope(questions, orders)
        inner = gated.records.find_many

        def find_many(queries: list[object]) -> object:
            if gated.records.reads >= SLICE:
                raise IndexUnusableError("torn")
            return inner(queries)  # type: ignore[arg-type]

        gated.records.find_many = find_many  # type: ignore[method-assign, assignment]
        with pytest.raises(IndexUnusableError):
            await gated.send(request)
        gated.records.find_many = inner  # type: ignore[method-assign]
        reads = gated.records.reads
        answers = gated.check(await gated.send(request), [asked(one) for one in questions])
        assert {answer.outcome for answer, _ in answers} == {Outcome.UPSTREAM}
        assert gated.records.reads == reads + 10  # those of the first slice have their answers
        await gated.close()


class TestASearchInAThread:
    async def test_whose_asker_hangs_up_is_ended_and_logged_and_its_answer_waits_for_the_same_question(
        self, gated: Gated
    ) -> None:
        began, go_on = asyncio.Event(), threading.Event()
        loop, found = asyncio.get_running_loop(), gated.records.find

        def find(*args: object) -> object:
            loop.call_soon_threadsafe(began.set)
            go_on.wait(20)
            return found(*args)  # type: ignore[arg-type]

        gated.records.find = find  # type: ignore[method-assign, assignment]
        gated.desk.threads = threads = LookupThreads(2, 2)
        granted = gated.kit.granted()
        question = gated.kit.ask(granted)
        asking = asyncio.create_task(gated.ask_one(question, granted))
        await began.wait()
        asking.cancel()
        await asyncio.wait([asking])
        again = asyncio.create_task(gated.ask_one(question, granted))
        await asyncio.sleep(0)
        go_on.set()
        assert (await again).outcome is Outcome.UPSTREAM
        assert (gated.records.reads, kinds(gated)) == (1, ["INTENT", "ANSWER", "REPLAYED"])
        threads.close()

    async def test_is_waited_for_by_the_same_question_that_comes_before_it_has_begun(self, gated: Gated) -> None:
        gated.desk.threads = threads = LookupThreads(2, 2)
        granted = gated.kit.granted()
        question = gated.kit.ask(granted)
        both = await asyncio.gather(*(gated.ask_one(question, granted) for _ in range(2)))
        assert [one.outcome for one in both] == [Outcome.UPSTREAM] * 2
        assert (gated.records.reads, kinds(gated)) == (1, ["INTENT", "ANSWER", "REPLAYED"])
        threads.close()

    async def test_is_waited_for_when_the_agent_stops(self, kit: Kit, tmp_path: Path) -> None:
        gated = Gated(kit, tmp_path / "birch")
        gated.desk.threads = threads = LookupThreads(2, 2)
        granted = gated.kit.granted()
        asking = asyncio.create_task(gated.ask_one(gated.kit.ask(granted), granted))
        while not gated.handler._searches:
            await asyncio.sleep(0)
        asking.cancel()
        await gated.handler.close()
        assert kinds(gated) == ["INTENT", "ANSWER"]
        gated.log.close()
        threads.close()


class TestOneWriteForAll:
    async def test_serves_all_that_wait(self) -> None:
        writes: list[int] = []
        release = asyncio.Event()
        loop = asyncio.get_running_loop()

        def sync() -> None:
            writes.append(len(writes))
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

        disk = GroupCommit(sync)
        first = disk.begin()
        while not writes:
            await asyncio.sleep(0.001)
        late = [disk.begin() for _ in range(5)]  # appended after the write began
        await asyncio.sleep(0)
        release.set()
        await asyncio.gather(first, *late)
        assert len(writes) == 2
        disk.close()

    async def test_is_not_taken_from_others_by_one_who_gives_up(self) -> None:
        writes: list[int] = []
        disk = GroupCommit(lambda: writes.append(len(writes)))
        gone, first, second, third = (disk.begin() for _ in range(4))
        gone.cancel()
        second.cancel()
        await asyncio.gather(first, third)
        assert len(writes) == 2
        disk.close()

    async def test_tells_all_that_wait_when_it_fails(self) -> None:
        def sync() -> None:
            raise OSError("full")

        disk = GroupCommit(sync)
        results = await asyncio.gather(*(disk.begin() for _ in range(3)), return_exceptions=True)
        assert [str(result) for result in results] == ["full"] * 3
        disk.close()


@asynccontextmanager
async def over_grpc(kit: Kit, gated: Gated) -> AsyncIterator[grpc.aio.Channel]:
    mine, lab = tls(kit.authority.issue_provider("birch")), tls(kit.authority.issue_coordinator("lab"))
    server = AgentServer({ASK: reading_records(gated.handler.ask)}, Listening("127.0.0.1:0", mine, frozenset([LAB])))
    address = await server.start()
    async with grpc.aio.secure_channel(
        address, channel_credentials(lab), options=provider_channel_options(ProviderId(BIRCH))
    ) as channel:
        yield channel
    await server.stop(0)


async def test_health_says_not_serving_once_the_log_is_broken(tmp_path: Path) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    kit = Kit(tmp_path / "ca", clock=lambda: now)
    files = FailingFiles()
    gated = Gated(kit, tmp_path / "agent", files=files, clock=Clock(now))
    granted = kit.granted()
    async with over_grpc(kit, gated) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        ask = channel.unary_unary(ASK, request_serializer=bytes, response_deserializer=bytes)
        await ask(kit.envelope([kit.ask(granted)], [granted]))
        for service in ("", "hopback.v1.HopService"):
            status = (await check(health_pb2.HealthCheckRequest(service=service))).status
            assert status == health_pb2.HealthCheckResponse.SERVING
        files.refuses = "fsync"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(kit.envelope([kit.ask(granted)], [granted]))
        fault = read_fault(caught.value)
        assert fault is not None
        assert fault.reason is ErrorReason.AUDIT_UNAVAILABLE
        for service in ("", "hopback.v1.HopService"):
            status = (await check(health_pb2.HealthCheckRequest(service=service))).status
            assert status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_number_is_nowhere_on_disk_in_logs_or_in_errors_after_a_full_run(kit: Kit, tmp_path: Path) -> None:
    said: list[str] = []
    with capture_logs() as logs:
        for mode in (Mode.AUTOMATIC, Mode.CAUTIOUS, Mode.HELD, Mode.DRY_RUN):
            gated = Gated(kit, tmp_path / mode.value, mode=mode, limits=Limits(denied=frozenset([OTHER])))
            granted, denied = kit.granted(), kit.granted(called=OTHER)
            question = kit.ask(granted)
            for request in (
                kit.envelope([question, kit.ask(denied), kit.ask(granted, called=OTHER)], [granted, denied]),
                kit.envelope([question], [granted]),
                kit.envelope([replace(question, target=CEDAR)], [granted]),
                kit.envelope([question], [granted])[:-40],
                b"+12025550143",
            ):
                try:
                    await gated.send(request)
                except Exception as error:  # whatever it is: what counts is what it says
                    said += [str(error), repr(error)]
            gated.records.broken = IndexUnusableError("torn")
            fresh = kit.granted()
            with pytest.raises(IndexUnusableError):
                await gated.ask_one(kit.ask(fresh), fresh)
            await gated.close()
    assert len(said) > 8
    assert CANARY.decode() not in repr((said, logs))
    written = [path for mode in Mode for path in (tmp_path / mode.value).rglob("*") if path.is_file()]
    digits = int(CALLED[1:])
    forms = (CANARY, digits.to_bytes(8, "little"), digits.to_bytes(8, "big"), digits.to_bytes(5, "big"))
    assert len(written) > 12
    assert [str(path) for path in written for form in forms if form in path.read_bytes()] == []

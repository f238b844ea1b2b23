"""The gate stands behind a stream as it stands behind a port: one set of tests, both ways."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from agent.ask import ASK
from agent.dialout import DialOut, Pauses, _Held, _Stream
from agent.handlers import Handlers, reading_records
from agent.server import AgentServer, Listening
from coordinator.authority.lab_ca import LabAuthority
from coordinator.lookups.transport import GrpcTransport, Transport
from coordinator.tracing.ports import DIAL_OUT, BadAnswerError, DeclinedError, Provider
from protos.evidence_key import read_evidence_key
from protos.identity import coordinator_uri, provider_uri
from protos.live import Live
from protos.types import Outcome, RefusalReason
from tests.agent.authority import LAB, Kit, asked, person
from tests.agent.gate.gated import Gated
from tests.agent.provider import BIRCH
from tests.coordinator.transports import coordinator_files, dialing, provider_files, switchboard

PATIENT = timedelta(seconds=20)
WAYS = pytest.mark.parametrize("way", ["a port", "a stream"])


@pytest.fixture(scope="session")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    return Kit(tmp_path_factory.mktemp("evidence") / "ca")


@pytest.fixture(scope="session")
def tls_authority(tmp_path_factory: pytest.TempPathFactory) -> LabAuthority:
    """By the real clock, as TLS is."""
    return LabAuthority.create(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def gated(kit: Kit, tmp_path: Path) -> AsyncIterator[Gated]:
    agent = Gated(kit, tmp_path / "birch")
    yield agent
    await agent.close()


@dataclass
class Reached:
    """Birch's agent as a coordinator reaches it."""

    gated: Gated
    transport: Transport
    entry: Provider

    async def send(self, request: bytes) -> bytes:
        return await self.transport.call(self.entry, ASK, request, PATIENT)


@asynccontextmanager
async def reached(way: str, gated: Gated, authority: LabAuthority) -> AsyncIterator[Reached]:
    handlers: Handlers = {ASK: reading_records(gated.handler.ask)}
    async with AsyncExitStack() as stack:
        if way == "a port":
            listening = Listening("127.0.0.1:0", provider_files(authority, BIRCH), frozenset({LAB}))
            server = AgentServer(handlers, listening)
            endpoint = await server.start()
            stack.push_async_callback(server.stop, 0)
            transport = await stack.enter_async_context(GrpcTransport(coordinator_files(authority)))
            yield Reached(gated, transport, Provider(BIRCH, "Birch", endpoint))
        else:
            dialed, address = await stack.enter_async_context(switchboard(authority))
            await stack.enter_async_context(dialing(authority, address, handlers))
            await dialed.arrival(BIRCH)
            yield Reached(gated, dialed, Provider(BIRCH, "Birch", DIAL_OUT))


@WAYS
class TestAQuestion:
    async def test_under_an_order_is_answered_and_signed(
        self, way: str, gated: Gated, tls_authority: LabAuthority
    ) -> None:
        granted = gated.kit.granted()
        question = gated.kit.ask(granted)
        async with reached(way, gated, tls_authority) as birch:
            response = await birch.send(gated.kit.envelope([question], [granted]))
        [(answer, _)] = gated.check(response, [asked(question)])
        assert answer.outcome is Outcome.UPSTREAM

    async def test_without_an_order_is_refused_and_no_record_is_read(
        self, way: str, gated: Gated, tls_authority: LabAuthority
    ) -> None:
        question = gated.kit.ask(gated.kit.granted())
        async with reached(way, gated, tls_authority) as birch:
            response = await birch.send(gated.kit.envelope([question], []))
        [(answer, _)] = gated.check(response, [asked(question)])
        assert answer.refusal is RefusalReason.ORDER_MISSING
        assert gated.records.reads == 0

    async def test_under_an_order_of_strangers_is_refused_and_no_record_is_read(
        self, way: str, gated: Gated, tls_authority: LabAuthority
    ) -> None:
        [granted] = gated.kit.grant([gated.kit.order()], person("mallory"), [person("eve")])
        question = gated.kit.ask(granted)
        async with reached(way, gated, tls_authority) as birch:
            response = await birch.send(gated.kit.envelope([question], [granted]))
        [(answer, _)] = gated.check(response, [asked(question)])
        assert answer.refusal is RefusalReason.ORDER_SIGNATURE
        assert gated.records.reads == 0

    async def test_sealed_by_another_coordinator_than_the_one_that_asks_is_not_taken(
        self, way: str, gated: Gated, tls_authority: LabAuthority
    ) -> None:
        granted = gated.kit.granted()
        other = gated.kit.party(coordinator_uri("other"))
        async with reached(way, gated, tls_authority) as birch:
            with pytest.raises((BadAnswerError, DeclinedError)):
                await birch.send(gated.kit.envelope([gated.kit.ask(granted)], [granted], by=other))
        assert gated.records.reads == 0

    async def test_by_a_revoked_key_is_declined(self, way: str, gated: Gated, tls_authority: LabAuthority) -> None:
        granted = gated.kit.granted()
        certified = gated.kit.roots.certified(gated.kit.lab.certificate)
        gated.revoked.add(certified.serial)
        async with reached(way, gated, tls_authority) as birch:
            with pytest.raises(DeclinedError, match="revoked"):
                await birch.send(gated.kit.envelope([gated.kit.ask(granted)], [granted]))
        assert gated.records.reads == 0

    async def test_of_broken_bytes_is_told_so_and_the_next_one_is_answered(
        self, way: str, gated: Gated, tls_authority: LabAuthority
    ) -> None:
        granted = gated.kit.granted()
        question = gated.kit.ask(granted)
        sound = gated.kit.envelope([question], [granted])
        rng = random.Random(3)
        async with reached(way, gated, tls_authority) as birch:
            for _ in range(50):
                cut = sound[: rng.randrange(len(sound) - 1)]
                with pytest.raises(BadAnswerError):
                    await birch.send(cut + bytes([0xFF]) * 3)
            assert gated.records.reads == 0
            [(answer, _)] = gated.check(await birch.send(sound), [asked(question)])
        assert answer.outcome is Outcome.UPSTREAM

    async def test_that_comes_again_the_other_way_gets_the_same_answer_without_a_search(
        self, way: str, gated: Gated, tls_authority: LabAuthority
    ) -> None:
        granted = gated.kit.granted()
        question = gated.kit.ask(granted)
        request = gated.kit.envelope([question], [granted])
        other = "a stream" if way == "a port" else "a port"
        async with reached(way, gated, tls_authority) as one, reached(other, gated, tls_authority) as two:
            first, again = await one.send(request), await two.send(request)
        assert gated.check(first, [asked(question)]) == gated.check(again, [asked(question)])
        assert gated.records.reads == 1

    async def test_is_answered_with_the_new_key_once_that_is_in_place_and_the_old_answers_stay_good(
        self, way: str, gated: Gated, tls_authority: LabAuthority
    ) -> None:
        orders = gated.kit.grant([gated.kit.order() for _ in range(6)])
        questions = [gated.kit.ask(granted) for granted in orders]
        responses = []
        async with reached(way, gated, tls_authority) as birch:
            for number, (question, granted) in enumerate(zip(questions, orders, strict=True)):
                if number == 3:
                    files = gated.kit.authority.issue_evidence(provider_uri(BIRCH), "renewed")
                    key = read_evidence_key(
                        files.certificate, files.key, gated.kit.roots, provider_uri(BIRCH), gated.clock()
                    )
                    gated.handler._evidence.key.replace(key)
                responses.append(await birch.send(gated.kit.envelope([question], [granted])))
        answers = [
            gated.check(response, [asked(question)])[0][0]
            for response, question in zip(responses, questions, strict=True)
        ]
        assert {answer.outcome for answer in answers} == {Outcome.UPSTREAM}


class TestAnAgentThatIsStopped:
    @pytest.mark.parametrize("steps", range(8))
    async def test_in_the_very_moment_in_which_its_stream_ends_stops(
        self, steps: int, tls_authority: LabAuthority
    ) -> None:
        agent = DialOut("127.0.0.1:1", LAB, Live(provider_files(tls_authority, BIRCH)), {})
        ended = asyncio.get_running_loop().create_future()
        agent._held = _Held(_Stream.__new__(_Stream), asyncio.ensure_future(_when(ended)))
        agent._held.stream._asked = True
        waiting = asyncio.create_task(agent._until(asyncio.Event().wait()))
        await asyncio.sleep(0)
        ended.set_result(None)
        for _ in range(steps):
            await asyncio.sleep(0)
        told = waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled() is told


async def _when(ended: asyncio.Future[None]) -> None:
    await ended


class TestThePauseBeforeCallingAgain:
    def test_doubles_up_to_a_bound_is_scattered_and_begins_anew_once_a_stream_stood(self) -> None:
        pauses = Pauses(first=0.5, longest=60.0, rng=random.Random(5))
        drawn = [pauses.next() for _ in range(20)]
        for number, pause in enumerate(drawn):
            most = min(0.5 * 2**number, 60.0)
            assert most / 2 <= pause <= most
        assert len(set(drawn[10:])) == 10
        pauses.reset()
        assert pauses.next() <= 0.5

    def test_of_two_agents_is_not_the_same(self) -> None:
        one, other = Pauses(rng=random.Random(1)), Pauses(rng=random.Random(2))
        assert [one.next() for _ in range(5)] != [other.next() for _ in range(5)]

"""Ambiguous hops that sister calls of the campaign settle: which calls count, who is asked, what shows.

Two calls of a campaign to one number reach cedar within seconds. Cedar, a provider of these tests, names birch for both
and tells them apart; birch is a real agent with a gate, an audit log and records of both: the first came from a
customer of its own, the second from alder. Asked a little late about the first, it finds both.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import Engine, select, update

from coordinator.evidence.chain_statements import chain_statements
from coordinator.evidence.hop_statements import hops_seen
from coordinator.evidence.signatures import Signatures, Trust
from coordinator.evidence.sisters import sisters_problem
from coordinator.evidence.statements import Standing
from coordinator.evidence.verify import order_seen
from coordinator.present.chains import hop_line, traceback_json
from coordinator.present.explain import explain
from coordinator.pseudonyms import Pseudonyms
from coordinator.retention import retire
from coordinator.running import rounds
from coordinator.store.evidence import collect
from coordinator.store.models import BatchRow, HopRow
from coordinator.store.order_models import OrderRow, OrderSetRow
from coordinator.tracing.chain import Status, Traceback, places, standing
from coordinator.tracing.elimination import MOST_ATTEMPTS, NEAR, repeated, sisters_for
from coordinator.tracing.events import AgentUnreachable, Answered, Ask, SistersKnown, Started
from coordinator.tracing.signed import SignedQuestion, encode_question
from coordinator.tracing.traceback import advance
from hopback.v1 import hop_pb2
from protos.codec import digest
from protos.hops import Asked
from protos.part_bytes import naming_bytes
from protos.types import Answer, Authority, Handover, Outcome, Question, RefusalReason, Sister
from tests.coordinator.make import CALLED, NOW, T0, provider, says, upstream
from tests.coordinator.parties import Parties
from tests.coordinator.twice_called import (
    OF_A_CUSTOMER,
    OF_ALDER,
    SECOND,
    House,
    WithBirch,
    always,
    birch_of,
    by_time,
    files_of_birch,
)


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return Parties(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def files(parties: Parties) -> SimpleNamespace:
    return files_of_birch(parties)


Make = Callable[[Engine], House]


@pytest.fixture
def make(parties: Parties, files: SimpleNamespace, tmp_path: Path) -> Iterator[Make]:
    birch = birch_of(parties, files, tmp_path, OF_A_CUSTOMER, OF_ALDER)
    houses: list[House] = []

    def house(engine: Engine) -> House:
        behaviours = {
            "cedar": always(upstream("cedar", "birch")),
            "alder": always(says("alder", Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED)),
        }
        houses.append(House(engine, parties, WithBirch(parties, behaviours, tag=by_time, birch=birch)))
        return houses[-1]

    yield house
    for one in houses:
        one.store.close()


@pytest.fixture
def house(sqlite_engine: Engine, make: Make) -> House:
    return make(sqlite_engine)


class TestAnAmbiguousTraceback:
    async def test_goes_on_from_what_remains_without_its_sister(self, either_engine: Engine, make: Make) -> None:
        house = make(either_engine)
        first = await house.trace(1)
        assert first.status is Status.AMBIGUOUS
        assert await house.settle() == []  # nothing is known yet
        second = await house.trace(5)
        assert second.status is Status.ORIGIN_FOUND
        [settled] = await house.settle()
        assert (settled.id, settled.status, settled.origin) == (first.id, Status.ORIGIN_FOUND, "birch")
        assert places(settled.hops) == [0, 1, 1]
        assert standing(settled.hops) == (0, 2)
        assert house.load(first.id) == settled
        assert await house.settle() == []

    async def test_may_be_the_later_one_of_the_two(self, house: House) -> None:
        await house.trace(5)
        first = await house.trace(1)
        [settled] = await house.settle()
        assert (settled.id, settled.status) == (first.id, Status.ORIGIN_FOUND)

    async def test_asks_about_the_same_interval_under_an_id_of_its_own(self, house: House) -> None:
        await house.trace(1)
        await house.trace(5)
        [settled] = await house.settle()
        before, after = (settled.hops[position].question for position in (1, 2))
        assert before.question_id != after.question_id
        assert (before.at, before.window, before.called) == (after.at, after.window, after.called)

    async def test_is_not_passed_over_however_many_there_are(
        self, either_engine: Engine, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        house = make(either_engine)
        waiting = [(await house.trace(seconds)).id for seconds in (1, 1.25, 1.5)]
        await house.trace(5)
        monkeypatch.setattr(rounds, "BLOCK", 1)
        assert sorted(await house.eliminator.round()) == sorted(waiting)

    async def test_is_looked_into_beside_the_event_loop(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """What drives the others goes on while the calls of a number are read."""
        load, threads = house.store.load, set()

        def seen(identity: uuid.UUID) -> object:
            threads.add((identity, threading.current_thread() is threading.main_thread()))
            return load(identity)

        await house.trace(1)
        second = await house.trace(5)
        monkeypatch.setattr(house.store, "load", seen)
        assert len(await house.eliminator.round()) == 1
        assert (second.id, False) in threads
        assert (second.id, True) not in threads

    async def test_is_read_back_with_what_proves_its_sisters(self, either_engine: Engine, make: Make) -> None:
        house = make(either_engine)
        first, second = await house.trace(1), await house.trace(5)
        [identity] = await house.eliminator.round()
        asked = house.load(identity).hops[-1].question
        assert isinstance(asked, SignedQuestion)
        [sister] = asked.sisters
        named = second.hops[1].question
        assert isinstance(named, SignedQuestion)
        assert named.named is not None
        assert (sister.traceback_id, sister.question_id) == (second.id, named.question_id)
        assert (sister.parts, sister.proof) == (named.named.parts, named.named.proof)
        assert (await house.drive(first.id)).status is Status.ORIGIN_FOUND

    async def test_shows_by_which_sisters_it_was_settled(self, house: House) -> None:
        await house.trace(1)
        second = await house.trace(5)
        [settled] = await house.settle()
        shown = traceback_json(settled)
        assert [hop["sisters"] for hop in shown["hops"]] == [[], [str(second.id)]]
        assert f"asked without the sister calls {str(second.id)[:8]}" in hop_line(settled, 2)
        assert hop_line(settled, 1).strip().startswith("2a")

    async def test_loses_the_sisters_numbers_with_its_own(self, house: House) -> None:
        first = await house.trace(1)
        await house.trace(5)
        await house.settle()
        later = NOW + timedelta(days=400)
        assert retire(house.engine, Pseudonyms(bytes(32)), later, later, clean=False).tracebacks == 2
        with house.engine.connect() as connection:
            kept = connection.execute(select(HopRow.sisters)).scalars().all()
        assert set(kept) == {None}
        assert places(house.load(first.id).hops) == [0, 1, 1]


class TestNothingIsAsked:
    """What is not certain stays ambiguous, and costs no question."""

    async def left(self, house: House) -> None:
        asked = len(house.agents.envelopes)
        assert await house.settle() == []
        assert len(house.agents.envelopes) == asked

    async def test_where_the_neighbour_gives_both_one_tag(self, house: House) -> None:
        house.agents.tag = lambda asked: b"cedar 1 one call"  # noqa: ARG005
        first, second = await house.trace(1), await house.trace(5)
        await self.left(house)
        assert repeated(first, [second, first]) == (second.id,)

    @pytest.mark.parametrize("size", [0, 16])
    async def test_where_the_tags_don_t_compare(self, house: House, size: int) -> None:
        house.agents.tag = lambda asked: by_time(asked)[::-1][:size]
        first, second = await house.trace(1), await house.trace(5)
        await self.left(house)
        assert repeated(first, [second]) == ()

    async def test_about_a_call_of_another_campaign(self, house: House) -> None:
        await house.trace(1)
        await house.trace(5, campaign="another")
        await self.left(house)

    async def test_about_a_call_of_another_submitter(self, house: House) -> None:
        """Its time and its way would stand in a bundle that the first one may have."""
        await house.trace(1)
        second = await house.trace(5)
        others = select(OrderRow.set_id).where(OrderRow.sha256 == second.call.order_sha256)
        for submitter in ("abe", "ann"):
            with house.engine.begin() as connection:
                connection.execute(update(OrderSetRow).where(OrderSetRow.id.in_(others)).values(submitter=submitter))
            if submitter == "abe":
                await self.left(house)
        assert len(await house.eliminator.round()) == 1

    async def test_where_the_sisters_upstream_does_not_confirm(self, house: House) -> None:
        await house.trace(1)
        for answer in (
            says("alder", Outcome.ORIGINATED_HERE),
            says("alder", Outcome.NOT_FOUND, handover=Handover.NOT_MINE),
        ):
            house.agents.behaviours = {**house.agents.behaviours, "alder": always(answer)}
            await house.trace(5)
            await self.left(house)

    async def test_once_the_order_has_ended(self, house: House) -> None:
        first = await house.trace(1)
        second = await house.trace(5)
        late = first.call.expires
        assert late is not None
        sisters = sisters_for(first, [second])
        assert sisters
        assert advance(first, SistersKnown(late, sisters)) == (first, ())

    async def test_about_a_call_far_away(self, house: House) -> None:
        first, second = await house.trace(1), await house.trace(5)
        far = replace(second.hops[1].question, at=T0 + NEAR + 2 * SECOND)
        moved = replace(second, hops=(second.hops[0], replace(second.hops[1], question=far), second.hops[2]))
        assert sisters_for(first, [second])
        assert sisters_for(first, [moved]) == ()

    async def test_of_a_traceback_that_ended_otherwise(self, house: House) -> None:
        first, second = await house.trace(1), await house.trace(5)
        assert sisters_for(second, [first]) == ()
        for status in Status:
            if status is not Status.AMBIGUOUS:
                assert sisters_for(replace(first, status=status), [second]) == ()


class TestWhereNothingComesOfIt:
    """The traceback is as ambiguous as before."""

    @pytest.fixture
    async def asked(self, house: House) -> tuple[Traceback, Traceback, datetime]:
        """The open question about the first call, the second call, and now."""
        first, second = await house.trace(1), await house.trace(5)
        asking, commands = advance(first, SistersKnown(NOW, sisters_for(first, [second])))
        assert isinstance(commands[0], Ask)
        return asking, second, NOW

    @staticmethod
    def answered(asking: Traceback, answer: Answer) -> Traceback:
        """What is said counts as signed."""
        question = asking.hops[-1].question
        told = asking.hops[1].answer
        assert told is not None
        said = replace(
            told,
            **{name: getattr(answer, name) for name in ("outcome", "upstream", "handover", "refusal", "retry_after")},
        )
        return advance(asking, Answered(question.question_id, said, NOW))[0]

    @pytest.mark.parametrize(
        "answer",
        [
            says("birch", Outcome.AMBIGUOUS),
            says("birch", Outcome.NOT_FOUND, handover=Handover.NOT_MINE),
            says("birch", Outcome.RECORDS_EXPIRED),
            Answer(provider("birch"), Outcome.REFUSED, refusal=RefusalReason.SISTERS),
            Answer(provider("birch"), Outcome.REFUSED, refusal=RefusalReason.UNKNOWN_PROVIDER),
            upstream("birch", "alder", handover=Handover.NOT_MINE),
        ],
        ids=lambda answer: f"{answer.outcome.name} {answer.refusal.name} {answer.handover.name}",
    )
    async def test_whatever_it_says(self, asked: tuple[Traceback, Traceback, datetime], answer: Answer) -> None:
        closed = self.answered(asked[0], answer)
        assert closed.status is Status.AMBIGUOUS
        assert places(closed.hops) == [0, 1, 1]
        assert "without the sister calls" in explain(closed).means

    async def test_when_it_falls_silent(self, asked: tuple[Traceback, Traceback, datetime]) -> None:
        traceback, now = asked[0], NOW
        while traceback.status is not Status.AMBIGUOUS:
            question = traceback.hops[-1].question
            traceback, _ = advance(traceback, AgentUnreachable(question.question_id, now, "away"))
            now += timedelta(minutes=10)
            if traceback.status is not Status.AMBIGUOUS:
                traceback, _ = advance(traceback, Started(now))
                traceback = replace(traceback, status=Status.ASKING)
        assert places(traceback.hops) == [0, 1, 1]

    async def test_with_these_sisters_it_is_never_asked_again_and_with_others_three_times(
        self, asked: tuple[Traceback, Traceback, datetime]
    ) -> None:
        closed = self.answered(asked[0], says("birch", Outcome.AMBIGUOUS))
        second = asked[1]
        assert sisters_for(closed, [second]) == ()
        [sister] = sisters_for(replace(closed, hops=closed.hops[:2]), [second])
        for attempt in range(2, 9):
            other = replace(sister, parts=replace(sister.parts, naming=bytes([attempt]) * 256))
            after, commands = advance(closed, SistersKnown(NOW, (other,)))
            if attempt > MOST_ATTEMPTS:
                assert (after, commands) == (closed, ())
            else:
                closed = self.answered(after, says("birch", Outcome.AMBIGUOUS))
                assert places(closed.hops) == [0, *[1] * (attempt + 1)]

    async def test_a_restart_asks_the_very_same(self, asked: tuple[Traceback, Traceback, datetime]) -> None:
        asking = asked[0]
        [command] = advance(asking, Started(NOW + SECOND))[1]
        assert isinstance(command, Ask)
        assert encode_question(command.question) == encode_question(asking.hops[-1].question)


class TestTheBundle:
    async def statements(self, house: House, bend: Callable[[object], None] = lambda message: None) -> dict[str, str]:  # noqa: ARG005
        first = await house.trace(1)
        await house.trace(5)
        await house.settle()
        persons = {name: signer.public for name, signer in house.parties.people.items()}
        message = collect(house.engine, first.id, coordinator="lab", persons=persons, made=NOW)
        bend(message)
        roots = (house.parties.authority.directory / "ca.crt").read_bytes()
        signatures = Signatures(message, Trust(persons=persons, roots=roots), b"")
        made: list = []  # type: ignore[type-arg]
        granted = order_seen(signatures, message, 1, made)
        made += chain_statements(signatures, hops_seen(signatures, message, granted, made), granted)
        self.all = made
        return {one.what: (one.standing.value if not one.why else one.why) for one in made}

    async def test_holds_no_certificate_of_parties_whose_namings_travelled_in_the_same_envelope(
        self, house: House
    ) -> None:
        """They were named under other orders, perhaps of another submitter."""
        first = await house.trace(5)
        stranger = house.parties.of("walnut").certificate
        with house.engine.begin() as connection:
            for sha256, sent in connection.execute(select(BatchRow.sha256, BatchRow.sent)).all():
                request = hop_pb2.AskRequest.FromString(sent)
                request.certificates.extend([stranger, b"none"])
                changed = update(BatchRow).where(BatchRow.sha256 == sha256)
                connection.execute(changed.values(sent=request.SerializeToString()))
        message = collect(house.engine, first.id, coordinator="lab", persons={}, made=NOW)
        assert len(message.certificates) == 4  # the coordinator's, cedar's, birch's, alder's
        assert stranger not in message.certificates

    WHAT = "hop 2 (birch) was asked without sister calls, which cedar tells apart"

    async def test_shows_that_the_neighbour_tells_the_calls_apart(self, house: House) -> None:
        statements = await self.statements(house)
        assert statements[self.WHAT] == "proven"
        assert not [one for one in self.all if one.standing is Standing.BROKEN]
        assert "the chain ends at hop 2 (birch)" in " ".join(statements)

    @pytest.mark.parametrize(
        ("bend", "why"),
        [
            (lambda m: m.hops[2].ClearField("sisters"), "are not those that the question names"),
            (lambda m: setattr(m.hops[2].sisters[0], "naming", m.hops[0].naming), "are not those that the question"),
            (lambda m: setattr(m.hops[2].sisters[0], "finding_sha256", bytes(32)), "covers other bytes"),
            (lambda m: setattr(m.hops[2].sisters[0].naming_proof, "seal", 99), "points at no seal"),
        ],
        ids=["left out", "another naming", "another finding", "no seal"],
    )
    async def test_is_broken_where_that_was_altered(
        self, house: House, bend: Callable[[object], None], why: str
    ) -> None:
        assert why in (await self.statements(house, bend))[self.WHAT]


class TestNamingsInABundle:
    """What they must say of each other, by whomever they are signed."""

    @staticmethod
    def naming(tag: str, by: str = "cedar", named: str = "birch", called: str = CALLED) -> bytes:
        return naming_bytes(bytes(32), provider(by), provider(named), called, 1, bytes(16), tag.encode().ljust(16))

    def problem(self, own: bytes, *sisters: bytes) -> str | None:
        named = tuple(Sister(digest(exact), uuid.UUID(int=1)) for exact in sisters)
        authority = Authority(bytes(32), digest(own), 1, NOW, bytes(16), named)
        question = Question(
            question_id=uuid.UUID(int=2),
            target=provider("birch"),
            called=CALLED,
            at=T0,
            window=SECOND,
            named_by=provider("cedar"),
            calling=None,
            deadline=NOW,
            authority=authority,
        )
        return sisters_problem(Asked(b"", question, authority), own, sisters)

    def test_show_that_the_calls_are_different(self) -> None:
        assert self.problem(self.naming("cedar 1 one"), self.naming("cedar 1 two"), self.naming("cedar 1 3")) is None

    @pytest.mark.parametrize("tag", ["cedar 1 one", "cedar 2 two"])
    def test_that_don_t_are_refused(self, tag: str) -> None:
        problem = self.problem(self.naming("cedar 1 one"), self.naming("cedar 1 3"), self.naming(tag))
        assert problem is not None
        assert "tell these calls apart" in problem

    @pytest.mark.parametrize(
        "other", [{"by": "alder"}, {"named": "alder"}, {"called": "+12025550144"}], ids=lambda other: next(iter(other))
    )
    def test_of_other_parties_or_another_number_are_refused(self, other: dict[str, str]) -> None:
        problem = self.problem(self.naming("cedar 1 one"), self.naming("cedar 1 two", **other))
        assert problem == "a sister call is another provider's, or to another number"

    def test_that_are_none_are_refused(self) -> None:
        assert self.problem(b"", self.naming("cedar 1 two")) is not None
        assert self.problem(self.naming("cedar 1 one"), b"\x0a") is not None


class TestALyingNeighbour:
    async def test_gains_nothing_that_naming_another_time_would_not_give_it(self, house: House) -> None:
        """Cedar tells one call, reported twice, apart from itself: birch leaves out a call that it did hand to cedar,
        and says where another one came from that it also handed to cedar, at that time, to that number. For that,
        cedar need only name birch for the time of that other call."""
        house.agents.tag = lambda asked: b"cedar 1 " + asked.question.question_id.bytes[:8]
        reported_late = await house.trace(1)
        await house.trace(5)
        [misled] = await house.settle()
        assert misled.id == reported_late.id
        behaviours = dict(house.agents.behaviours)
        house.agents.behaviours = {**behaviours, "cedar": always(upstream("cedar", "birch", correction_s=-5))}
        plain = await house.trace(5)
        assert misled.hops[-1].answer is not None
        assert plain.hops[1].answer is not None
        assert misled.hops[-1].answer.outcome is plain.hops[1].answer.outcome is Outcome.ORIGINATED_HERE

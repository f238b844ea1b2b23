"""One record given for two calls: who sees it when, what becomes of both chains, and what settles it.

Cedar was called twice within seconds and tells the calls apart. Birch, a real agent, has lost its record of the first,
which came from a customer abroad; what it has left, of the second, fits both.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import Engine, select, update

from coordinator.evidence.chain_statements import chain_statements
from coordinator.evidence.hop_statements import hops_seen
from coordinator.evidence.signatures import Signatures, Trust
from coordinator.evidence.statements import Standing, Statement
from coordinator.evidence.verify import order_seen
from coordinator.present.chains import traceback_json
from coordinator.present.explain import explain
from coordinator.present.explain_again import explain_contests
from coordinator.pseudonyms import Pseudonyms
from coordinator.retention import retire
from coordinator.running.contesting import Contester
from coordinator.store.evidence import collect
from coordinator.store.models import HopRow
from coordinator.store.order_models import OrderRow, OrderSetRow
from coordinator.tracing.chain import Problem, Status, is_contested, places, standing
from coordinator.tracing.contests import MOST_LOOKS, Other, contested
from coordinator.tracing.events import Answered, Contested
from coordinator.tracing.signed import CONTEST_HEAD
from coordinator.tracing.traceback import advance
from hopback.v1 import bundle_pb2 as pb
from protos.types import Handover, Outcome
from tests.coordinator.make import CALLED, NOW, T0, says, upstream
from tests.coordinator.parties import Parties
from tests.coordinator.twice_called import (
    OF_ALDER,
    House,
    WithBirch,
    always,
    birch_of,
    by_time,
    files_of_birch,
)

OF_ABROAD = OF_ALDER._replace(ingress_trunk="IN-ABROAD", call_ref=1, row=7, earliest=T0, latest=T0)


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return Parties(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def files(parties: Parties) -> SimpleNamespace:
    return files_of_birch(parties)


Make = Callable[[Engine], House]


@pytest.fixture
def make(parties: Parties, files: SimpleNamespace, tmp_path: Path) -> Iterator[Make]:
    birch = birch_of(parties, files, tmp_path, OF_ALDER)
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


def has(house: House, *legs: object) -> None:
    """Birch's records from now on."""
    assert house.agents.birch is not None
    house.agents.birch.records.legs[CALLED] = list(legs)  # type: ignore[arg-type]


class TestOneRecordForTwoCalls:
    async def test_contests_both_hops_and_neither_chain_names_anybody_beyond(
        self, either_engine: Engine, make: Make
    ) -> None:
        house = make(either_engine)
        first, second = await house.trace(1), await house.trace(5)
        assert {first.origin, second.origin} == {"alder"}  # one of them wrongly
        ended = await house.contest()
        assert {one.id for one in ended} == {first.id, second.id}
        for traceback in ended:
            assert traceback == house.load(traceback.id)
            assert is_contested(traceback)
            assert (traceback.status, traceback.origin) == (Status.AMBIGUOUS, None)
            assert [hop.provider for hop in traceback.hops] == ["cedar", "birch", "alder", "birch"]
            assert places(traceback.hops) == [0, 1, 2, 1]
            assert standing(traceback.hops) == (0, 3)
        assert await house.contest() == []

    async def test_is_seen_whichever_was_answered_last_and_by_whichever_process(self, house: House) -> None:
        early = Contester(house.engine, house.store, lambda: NOW, "early")
        await house.trace(5)
        assert await early.round() == []
        await house.trace(1)
        assert len(await early.round()) == 2
        assert await Contester(house.engine, house.store, lambda: NOW, "late").round() == []

    async def test_is_said_in_words_and_shown(self, house: House) -> None:
        first, _ = await house.trace(1), await house.trace(5)
        await house.contest()
        shown = traceback_json(house.load(first.id))
        assert "one record was given for two calls that cedar tells apart" in shown["means"]
        assert "kept, but not claimed" in shown["means"]
        assert shown["origin"] is None
        assert [hop["contested"] for hop in shown["hops"]] == [False, True]
        assert "At hop 2 the answer of birch is contested" in shown["contests"][0]
        assert shown["disputes"][0]["between"] == ["cedar", "birch"]

    async def test_leaves_no_number_when_the_chain_loses_its_own(self, house: House) -> None:
        first, _ = await house.trace(1), await house.trace(5)
        await house.contest()
        later = NOW + timedelta(days=400)
        assert retire(house.engine, Pseudonyms(bytes(32)), later, later, clean=False).tracebacks == 2
        with house.engine.connect() as connection:
            kept = [one for one in connection.execute(select(HopRow.contested)).scalars() if one is not None]
        assert [len(one) for one in kept] == [CONTEST_HEAD, CONTEST_HEAD]
        traceback = house.load(first.id)
        assert is_contested(traceback)
        assert places(traceback.hops) == [0, 1, 2, 1]


class TestNothingIsContested:
    async def left(self, house: House, count: int = 2) -> None:
        assert len(house.tracebacks) == count
        assert await house.contest() == []

    async def test_where_the_neighbour_gives_one_tag_too(self, house: House) -> None:
        """One call, reported twice."""
        house.agents.tag = lambda asked: b"cedar 1 one call"  # noqa: ARG005
        await house.trace(1), await house.trace(5)
        await self.left(house)

    @pytest.mark.parametrize("size", [0, 16])
    async def test_where_the_neighbours_tags_don_t_compare(self, house: House, size: int) -> None:
        house.agents.tag = lambda asked: by_time(asked)[::-1][:size]
        await house.trace(1), await house.trace(5)
        await self.left(house)

    async def test_where_each_call_has_a_record(self, house: House) -> None:
        has(house, OF_ALDER, OF_ALDER._replace(call_ref=3, row=9, earliest=T0, latest=T0))
        await house.trace(1), await house.trace(5)
        await self.left(house)

    async def test_where_the_call_has_no_id(self, house: House) -> None:
        has(house, OF_ALDER._replace(call_ref=None))
        await house.trace(1), await house.trace(5)
        await self.left(house)

    async def test_of_a_chain_that_was_cancelled(self, house: House) -> None:
        first, second = await house.trace(1), await house.trace(5)
        finding = contested(first, [Other(second, shown=True)])
        assert finding is not None
        event = Contested(NOW, finding.contest, finding.sisters)
        cancelled = replace(first, status=Status.CANCELLED)
        assert advance(cancelled, event) == (cancelled, ())

    async def test_by_itself(self, house: House) -> None:
        first = await house.trace(1)
        assert contested(first, [Other(first, shown=True)]) is None


class TestWhatSettlesIt:
    async def test_a_record_that_comes_late(self, either_engine: Engine, make: Make) -> None:
        """Asked once more, birch finds two and leaves out the sister; then the sister is asked once more."""
        house = make(either_engine)
        first, second = await house.trace(1), await house.trace(5)
        has(house, OF_ABROAD, OF_ALDER)
        await house.contest()
        assert house.load(first.id).gateway == "birch"
        assert house.load(second.id).origin == "alder"
        assert places(house.load(first.id).hops) == [0, 1, 2, 1]

    async def test_a_record_that_comes_after_both_were_asked_once_more(self, house: House) -> None:
        first, second = await house.trace(1), await house.trace(5)
        await house.contest()
        assert is_contested(house.load(first.id))
        has(house, OF_ABROAD, OF_ALDER)
        assert (await house.reopen(first.id)).gateway == "birch"
        await house.contest()
        assert house.load(second.id).origin == "alder"

    async def test_never_two_records_that_are_one_again(self, house: House) -> None:
        """Birch gives another record for the one call, and then the same for the other."""
        first, second = await house.trace(1), await house.trace(5)
        await house.contest()
        has(house, OF_ALDER._replace(call_ref=9))
        assert is_contested(await house.reopen(first.id)) is False  # of another record than it gave for the other call
        await house.contest()
        assert is_contested(house.load(first.id))
        assert is_contested(house.load(second.id))

    async def test_no_place_is_asked_without_end(self, house: House) -> None:
        for number in range(8):
            has(house, OF_ALDER._replace(call_ref=number))
            await house.trace(1 + number / 4)
            await house.contest()
        for identity in house.tracebacks:
            looks = [hop for hop in house.load(identity).hops if hop.contest is not None]
            assert len([hop for hop in looks if hop.problem is None]) <= MOST_LOOKS
            assert len(looks) <= MOST_LOOKS + 1

    async def test_by_whatever_is_said_of_the_other_call_a_place_is_asked_three_times(self, house: House) -> None:
        first, _ = await house.trace(1), await house.trace(5)
        await house.contest()
        traceback = house.load(first.id)
        contest, answer = traceback.hops[-1].contest, traceback.hops[-1].answer
        assert contest is not None
        assert answer is not None
        for look in range(2, MOST_LOOKS + 2):
            event = Contested(NOW, replace(contest, tag=bytes([look]) * 16))
            asking, _ = advance(traceback, event)
            if look > MOST_LOOKS:
                assert asking == traceback
            else:
                question_id = asking.hops[-1].question.question_id
                traceback, _ = advance(asking, Answered(question_id, answer, NOW))
                assert is_contested(traceback)


class TestOnceTheOrderHasEnded:
    async def test_nobody_is_asked_and_nothing_is_claimed(self, house: House) -> None:
        first, second = await house.trace(1), await house.trace(5)
        late = first.call.expires
        assert late is not None
        taken = await Contester(house.engine, house.store, lambda: late, "late").round()
        assert set(taken) == {first.id, second.id}
        traceback = house.load(first.id)
        assert is_contested(traceback)
        assert traceback.hops[-1].problem is Problem.CONTESTED
        assert traceback.hops[-1].answer is None
        assert standing(traceback.hops) == (0, 3)
        assert "also when asked once more" not in explain(traceback).means
        assert await Contester(house.engine, house.store, lambda: late, "late").round() == []


class TestCallsOfTwoSubmitters:
    async def test_contest_each_other_and_neither_learns_of_the_other(self, house: House) -> None:
        first, second = await house.trace(1), await house.trace(5)
        others = select(OrderRow.set_id).where(OrderRow.sha256 == second.call.order_sha256)
        with house.engine.begin() as connection:
            connection.execute(update(OrderSetRow).where(OrderSetRow.id.in_(others)).values(submitter="abe"))
        await house.contest()
        for identity, other in ((first.id, second.id), (second.id, first.id)):
            traceback = house.load(identity)
            assert is_contested(traceback)
            contest = traceback.hops[-1].contest
            assert contest is not None
            assert contest.shown is None
            question = traceback.hops[-1].question
            assert question.authority is not None
            assert question.authority.sisters == ()
            told = str(traceback_json(traceback)) + str(explain_contests(traceback))
            assert str(other) not in told
            assert "two calls" not in told
            assert "something else that was signed contradicts it" in told

    async def test_of_another_campaign_too(self, house: House) -> None:
        first = await house.trace(1)
        await house.trace(5, campaign="another")
        await house.contest()
        contest = house.load(first.id).hops[-1].contest
        assert contest is not None
        assert contest.shown is None


class TestTheBundle:
    async def statements(
        self,
        house: House,
        identity: uuid.UUID,
        bend: Callable[[pb.TracebackEvidence], object] = lambda message: None,  # noqa: ARG005
    ) -> dict[str, str]:
        persons = {name: signer.public for name, signer in house.parties.people.items()}
        message = collect(house.engine, identity, coordinator="lab", persons=persons, made=NOW)
        bend(message)
        roots = (house.parties.authority.directory / "ca.crt").read_bytes()
        signatures = Signatures(message, Trust(persons=persons, roots=roots), b"")
        made: list[Statement] = []
        granted = order_seen(signatures, message, 1, made)
        made += chain_statements(signatures, hops_seen(signatures, message, granted, made), granted)
        self.all = made
        return {one.what: one.why or one.standing.value for one in made}

    ONE = "hop 2 (birch): one record was given for two calls that cedar tells apart"
    END = "the chain ends at hop 2 (birch)"

    async def test_shows_the_contradiction_and_claims_nobody(self, house: House) -> None:
        first, _ = await house.trace(1), await house.trace(5)
        await house.contest()
        shown = await self.statements(house, first.id)
        assert shown[self.ONE] == "proven"
        assert "nobody is shown to be upstream of it" in shown[self.END]
        assert not [one for one in self.all if one.standing is Standing.BROKEN]
        assert not [what for what in shown if "the chain ends at hop 3" in what]

    async def test_claims_nobody_either_where_nobody_could_be_asked(self, house: House) -> None:
        first, _ = await house.trace(1), await house.trace(5)
        assert first.call.expires is not None
        late = first.call.expires
        await Contester(house.engine, house.store, lambda: late, "late").round()
        shown = await self.statements(house, first.id)
        assert shown[self.ONE] == "proven"
        assert "nobody is shown to be upstream of it" in shown[self.END]
        assert not [one for one in self.all if one.standing is Standing.BROKEN]

    async def test_shows_that_it_was_settled(self, house: House) -> None:
        first, second = await house.trace(1), await house.trace(5)
        has(house, OF_ABROAD, OF_ALDER)
        await house.contest()
        for identity, end in ((first.id, "hop 2 (birch): the call came from abroad"), (second.id, "hop 3 (alder)")):
            shown = await self.statements(house, identity)
            assert not [one for one in self.all if one.standing is Standing.BROKEN]
            assert [shown[what] for what in shown if f"the chain ends at {end}" in what] == ["proven"]

    async def test_holds_nothing_of_a_call_of_another_submitter(self, house: House) -> None:
        first, second = await house.trace(1), await house.trace(5, campaign="another")
        await house.contest()
        persons = {name: signer.public for name, signer in house.parties.people.items()}
        message = collect(house.engine, first.id, coordinator="lab", persons=persons, made=NOW)
        assert message.hops[-1].contested == pb.ContestEvidence(place=1)
        assert second.call.order_sha256 is not None
        assert second.call.order_sha256 not in message.SerializeToString()
        assert str(second.id).encode() not in message.SerializeToString()
        shown = await self.statements(house, first.id)
        assert "nobody is shown to be upstream of it" in shown[self.END]
        assert "two calls" not in str(shown)

    @pytest.mark.parametrize(
        ("bend", "why"),
        [
            (lambda one: setattr(one, "naming", one.given), "another provider's, or to another number"),
            (lambda one: setattr(one, "given", bytes(256)), ""),
            (lambda one: setattr(one, "finding_sha256", bytes(32)), "covers other bytes"),
            (lambda one: setattr(one, "given_finding_sha256", bytes(32)), "covers other bytes"),
            (lambda one: setattr(one.given_proof, "seal", 99), "points at no seal"),
            (lambda one: setattr(one, "place", 0), "are not in the bundle"),
        ],
        ids=["another naming", "no naming", "another finding", "the provider's finding", "no seal", "another place"],
    )
    async def test_is_broken_where_that_was_altered(
        self, house: House, bend: Callable[[pb.ContestEvidence], object], why: str
    ) -> None:
        first, _ = await house.trace(1), await house.trace(5)
        await house.contest()
        await self.statements(house, first.id, lambda message: bend(message.hops[-1].contested))
        assert [one for one in self.all if one.standing is Standing.BROKEN and why in one.why]
        assert not [one for one in self.all if "the chain ends" in one.what and one.standing is Standing.PROVEN]

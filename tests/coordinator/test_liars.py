"""Liars: providers that lie with valid keys, in chains of ten; what shows, what can't, and that no innocent is accused.

The machine and the signatures are the real ones. Every agent but the liars answers as an honest one does: from the
truth, and about a neighbour that it has no trunk with not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from coordinator.present.explain import explain
from coordinator.tracing.chain import Status, Traceback
from coordinator.tracing.disputes import THE_ORDER, THE_REGISTRY, disputes
from coordinator.tracing.events import Answered, Ask, NoAgent, Started
from coordinator.tracing.ports import Provider
from coordinator.tracing.signed import encode_question
from coordinator.tracing.traceback import advance
from protos.hops import Asked
from protos.types import Answer, Handover, Outcome, RefusalReason
from tests.coordinator.make import NOW, provider, says, upstream
from tests.coordinator.parties import Behaviour, Drawer, InProcess, Parties, order, signed_agents, traceback_of

WAY = [f"p{number}" for number in range(10)]
"""From the terminating provider to the originating one."""
BESIDE, STRANGER = "beside", "stranger"
"""Innocents: one with trunks to everybody, one with trunks to nobody; neither saw the call."""

INTERMEDIATE = dict.fromkeys(WAY[:-1], "intermediate")


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return Parties(tmp_path_factory.mktemp("ca"))


def honest(name: str) -> Behaviour:
    """What a provider says that keeps to the truth."""

    def answer(asked: Asked) -> Answer:
        named_by = asked.question.named_by
        if name == STRANGER and named_by is not None:
            return Answer(provider(name), Outcome.REFUSED, refusal=RefusalReason.UNKNOWN_PROVIDER)
        if name not in WAY:
            return says(name, Outcome.NOT_FOUND, handover=Handover.NOT_MINE if named_by else Handover.UNSPECIFIED)
        place = WAY.index(name)
        handover = Handover.UNSPECIFIED
        if named_by is not None:
            handover = Handover.CONFIRMED if place and WAY[place - 1] == named_by else Handover.NOT_MINE
        if place == len(WAY) - 1:
            return says(name, Outcome.ORIGINATED_HERE, handover=handover)
        return upstream(name, WAY[place + 1], handover=handover)

    return answer


@dataclass
class World:
    """An industry in which everybody is honest but those who are given, and what the registry knows of each."""

    parties: Parties
    lies: Mapping[str, Behaviour] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=lambda: INTERMEDIATE)
    without_agent: tuple[str, ...] = ()

    async def trace(self) -> Traceback:
        """The traceback of the call, from its order to its end."""
        [granted] = self.parties.granted(order(terminating=provider(WAY[0])))
        agents = InProcess(self.parties, {name: honest(name) for name in (*WAY, BESIDE, STRANGER)} | dict(self.lies))
        client = signed_agents(self.parties, agents, Drawer(granted))
        traceback, commands = advance(traceback_of(granted), Started(NOW))
        while isinstance(commands[0], Ask):
            question = commands[0].question
            if question.target in self.without_agent:
                traceback, commands = advance(traceback, NoAgent(question.question_id, NOW))
                continue
            entry = Provider(question.target, question.target, "x:1", role=self.roles.get(question.target))
            reply = await client.ask(entry, question, encode_question(question), timedelta(seconds=1))
            traceback, commands = advance(traceback, Answered(question.question_id, reply.answer, NOW))
        return traceback


def told(name: str, place: int, answer: Callable[[Handover], Answer]) -> dict[str, Behaviour]:
    """A lie that otherwise keeps to appearances: what can be confirmed is confirmed."""
    handover = Handover.CONFIRMED if place else Handover.UNSPECIFIED
    return {name: lambda _: answer(handover)}


Lie = Callable[[str, int], dict[str, Behaviour]]

LIES: dict[str, Lie] = {
    "names an innocent neighbour": lambda name, place: told(
        name, place, lambda said: upstream(name, BESIDE, handover=said)
    ),
    "names an innocent that it has no trunk with": lambda name, place: told(
        name, place, lambda said: upstream(name, STRANGER, handover=said)
    ),
    "names an innocent on the way": lambda name, place: told(
        name, place, lambda said: upstream(name, WAY[-1] if place < 8 else WAY[3], handover=said)
    ),
    "denies to have the call": lambda name, _: {name: lambda _: says(name, Outcome.NOT_FOUND)},
    "denies the handover": lambda name, place: {
        name: lambda asked: (
            replace(honest(name)(asked), handover=Handover.NOT_MINE if place else Handover.UNSPECIFIED)
            if place
            else says(name, Outcome.NOT_FOUND)
        )
    },
    "claims origin": lambda name, place: told(
        name, place, lambda said: says(name, Outcome.ORIGINATED_HERE, handover=said)
    ),
    "claims to be the gateway": lambda name, place: told(
        name, place, lambda said: says(name, Outcome.FOREIGN_UPSTREAM, handover=said)
    ),
    "names itself again": lambda name, place: told(name, place, lambda said: upstream(name, name, handover=said)),
    "names the one that named it": lambda name, place: told(
        name, place, lambda said: upstream(name, WAY[place - 1] if place else WAY[2], handover=said)
    ),
}


def lies_of(place: int) -> list[str]:
    """Those that are lies at this place, and can show: the originating provider doesn't lie when it claims origin."""
    alone = ("claims origin", "claims to be the gateway") if place == len(WAY) - 1 else ()
    return [lie for lie in LIES if lie not in alone]


CASES = [(place, lie) for place in range(len(WAY)) for lie in lies_of(place)]


class TestOneLiarAmongTen:
    @pytest.mark.parametrize(("place", "lie"), CASES)
    async def test_is_always_seen_as_a_dispute_and_no_innocent_is_shown_as_originator(
        self, parties: Parties, place: int, lie: str
    ) -> None:
        liar = WAY[place]
        traceback = await World(parties, LIES[lie](liar, place)).trace()
        [dispute] = disputes(traceback)
        assert liar in dispute.between
        assert traceback.origin is None
        assert traceback.gateway is None

    @pytest.mark.parametrize(("place", "lie"), [case for case in CASES if case[0]])
    async def test_never_brings_anybody_into_it_but_itself_and_its_neighbours_in_the_chain(
        self, parties: Parties, place: int, lie: str
    ) -> None:
        traceback = await World(parties, LIES[lie](WAY[place], place)).trace()
        [dispute] = disputes(traceback)
        named = {hop.answer.upstream for hop in traceback.hops if hop.answer and hop.provider == WAY[place]}
        assert set(dispute.between) <= {WAY[place], WAY[place - 1], THE_REGISTRY, *named}

    async def test_is_told_from_nobody_lying(self, parties: Parties) -> None:
        traceback = await World(parties).trace()
        assert (traceback.status, traceback.origin) == (Status.ORIGIN_FOUND, WAY[-1])
        assert disputes(traceback) == ()
        assert [hop.provider for hop in traceback.hops] == WAY

    async def test_that_delivered_the_call_and_denies_it_stands_against_the_order(self, parties: Parties) -> None:
        traceback = await World(parties, LIES["denies to have the call"](WAY[0], 0)).trace()
        [dispute] = disputes(traceback)
        assert (traceback.status, dispute.between) == (Status.NOT_FOUND, (THE_ORDER, WAY[0]))

    async def test_that_claims_origin_though_registered_as_intermediate_stands_against_the_registry(
        self, parties: Parties
    ) -> None:
        traceback = await World(parties, LIES["claims origin"](WAY[4], 4)).trace()
        [dispute] = disputes(traceback)
        assert (traceback.status, dispute.between) == (Status.DISPUTED, (WAY[4], THE_REGISTRY))
        assert "registered as one that originates none" in explain(traceback).means

    async def test_keeps_both_signed_answers(self, parties: Parties) -> None:
        traceback = await World(parties, LIES["names an innocent neighbour"](WAY[4], 4)).trace()
        assert [hop.provider for hop in traceback.hops[-2:]] == [WAY[4], BESIDE]
        assert all(hop.answer is not None for hop in traceback.hops)


class TestWhatNoChainCanShow:
    """Stated, so that nobody believes more: see coordinator/tracing/disputes.py and docs/threat-model.md."""

    async def test_a_provider_that_may_originate_calls_can_take_the_blame_for_one_that_it_was_handed(
        self, parties: Parties
    ) -> None:
        """Nobody else was named, so that nobody else is asked; it accuses itself alone, by its own signed word."""
        traceback = await World(parties, LIES["claims origin"](WAY[4], 4), roles={}).trace()
        assert (traceback.origin, disputes(traceback)) == (WAY[4], ())
        assert "rests on its own word" in explain(traceback).means

    async def test_the_originating_provider_can_say_that_its_call_came_from_abroad(self, parties: Parties) -> None:
        """It is shown as the gateway then, the one that let the call in; the foreign carrier can't be asked."""
        traceback = await World(parties, LIES["claims to be the gateway"](WAY[-1], len(WAY) - 1)).trace()
        assert (traceback.gateway, traceback.origin, disputes(traceback)) == (WAY[-1], None, ())

    async def test_an_innocent_without_an_agent_waits_for_a_person_and_is_accused_of_nothing(
        self, parties: Parties
    ) -> None:
        lie = LIES["names an innocent neighbour"](WAY[4], 4)
        traceback = await World(parties, lie, without_agent=(BESIDE,)).trace()
        assert (traceback.status, traceback.origin) == (Status.NO_AGENT, None)

    async def test_neighbours_who_agreed_can_lead_the_chain_to_one_of_themselves(self, parties: Parties) -> None:
        lies = LIES["names an innocent neighbour"](WAY[4], 4) | {
            BESIDE: lambda _: says(BESIDE, Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED)
        }
        traceback = await World(parties, lies).trace()
        assert (traceback.origin, disputes(traceback)) == (BESIDE, ())

    async def test_neighbours_who_agreed_can_let_the_chain_end_among_themselves(self, parties: Parties) -> None:
        lies = LIES["names an innocent neighbour"](WAY[4], 4) | {
            BESIDE: lambda _: says(BESIDE, Outcome.RECORDS_EXPIRED)
        }
        traceback = await World(parties, lies).trace()
        assert (traceback.status, traceback.origin) == (Status.RECORDS_EXPIRED, None)


class TestLiarsWhoAgreed:
    @pytest.mark.parametrize("place", range(1, len(WAY) - 1))
    @pytest.mark.parametrize("scapegoat", [BESIDE, STRANGER, WAY[-1]])
    async def test_can_not_make_an_originator_of_somebody_who_is_no_part_of_it(
        self, parties: Parties, place: int, scapegoat: str
    ) -> None:
        """Two neighbours: the one names the other, the other confirms and names the scapegoat, who is honest."""
        if scapegoat == WAY[place]:
            pytest.skip("nobody is the scapegoat of its own lie")
        accomplice = "accomplice"
        lies: dict[str, Behaviour] = {
            WAY[place]: lambda _: upstream(WAY[place], accomplice, handover=Handover.CONFIRMED),
            accomplice: lambda _: upstream(accomplice, scapegoat, handover=Handover.CONFIRMED),
        }
        traceback = await World(parties, lies).trace()
        assert traceback.origin is None
        assert scapegoat in disputes(traceback)[0].between


async def test_the_certificates_and_keys_of_liars_are_valid(parties: Parties, tmp_path: Path) -> None:
    """The lies above are told by parties whose every signature is good: nothing of them is caught by cryptography."""
    traceback = await World(parties, LIES["names itself again"](WAY[2], 2)).trace()
    assert traceback.hops[-1].problem is None
    assert not list(tmp_path.iterdir())

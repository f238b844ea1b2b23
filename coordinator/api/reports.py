"""ReportService: what many tracebacks say together; `rpc` says how every call goes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import grpc
from sqlalchemy import Engine

from coordinator.api.report_messages import (
    participants_message,
    period_of,
    scorecard_messages,
    transparency_message,
)
from coordinator.api.rpc import Door, Handlers, RefusedError
from coordinator.callers import Caller, Role
from coordinator.reports.figures import Improper, Scorecard, own_scorecard, participants, scorecards, transparency
from coordinator.reports.reader import provider_names
from coordinator.reports.views import ReportViews
from hopback.v1 import report_pb2 as pb
from protos.identity import ProviderId

MOST_FACTS = 1_000_000
"""Questions behind the figures of one provider, whose ids take some two hundred bytes each while they are told."""


@dataclass(frozen=True, slots=True)
class ReportApi:
    """Implements the service; each method takes a caller and a message, and gives messages or raises RefusedError."""

    door: Door
    engine: Engine
    views: ReportViews
    clock: Callable[[], datetime]
    improper: Callable[[datetime, datetime], Iterable[Improper]] = lambda since, until: ()  # noqa: ARG005

    async def transparency(self, caller: Caller, request: pb.TransparencyRequest) -> pb.TransparencyResponse:
        """The report of a period."""
        since, until = period_of(request.period)

        def work() -> pb.TransparencyResponse:
            ways, persons = self.views.ways(caller, since, until), self.views.persons(caller, since, until)
            found = transparency(ways, persons, since, until, self.clock())
            return transparency_message(found, provider_names(self.engine))

        return await self.door.apart(work)

    async def participants(self, caller: Caller, request: pb.ParticipantsRequest) -> pb.ParticipantsResponse:
        """Who answers and who doesn't."""
        since, until = period_of(request.period)

        def work() -> pb.ParticipantsResponse:
            ways, persons = self.views.ways(caller, since, until), self.views.persons(caller, since, until)
            return participants_message(participants(ways, persons, self.clock()), provider_names(self.engine))

        return await self.door.apart(work)

    async def scorecards(self, caller: Caller, request: pb.ScorecardsRequest) -> AsyncIterator[pb.ScorecardsResponse]:
        """How each provider answered; to a provider, its own alone."""
        since, until = period_of(request.period)
        improper = await self.door.apart(lambda: self._improper(caller, since, until))

        def cards(provider: str, *, facts: bool) -> list[Scorecard]:
            return self._cards(caller, since, until, provider, improper, facts=facts)

        every = await self.door.apart(lambda: cards(request.provider, facts=False))
        names = await self.door.apart(lambda: provider_names(self.engine, [card.provider for card in every]))
        for card in every:  # the facts of one at a time: those of all would be too many
            if not request.facts:
                found = [card]
            elif sum(card.counts.values()) > MOST_FACTS:
                raise RefusedError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"more than {MOST_FACTS:,} questions are behind the figures of {card.provider}: choose a shorter "
                    "period, or ask without facts, as tables and CSV do",
                )
            else:
                found = await self.door.apart(partial(cards, card.provider, facts=True))
            for one in found:
                for message in scorecard_messages(one, names.get(one.provider, ""), facts=request.facts):
                    yield message

    def _improper(self, caller: Caller, since: datetime, until: datetime) -> list[Improper]:
        """What rests on others' words: of what the caller sees, and of nothing else."""
        if caller.role is Role.PROVIDER:
            return []
        every = list(self.improper(since, until))
        seen = self.views.seen(caller, {one.traceback_id for one in every})
        return [one for one in every if one.traceback_id in seen]

    def _cards(
        self,
        caller: Caller,
        since: datetime,
        until: datetime,
        provider: str,
        improper: Iterable[Improper],
        *,
        facts: bool,
    ) -> list[Scorecard]:
        now = self.clock()
        if caller.role is Role.PROVIDER:
            if provider not in ("", caller.name):
                return []
            hops, persons = self.views.own_hops(caller, since, until), self.views.persons(caller, since, until)
            return [own_scorecard(ProviderId(caller.name), hops, persons, now, facts=facts)]
        ways = self.views.ways(caller, since, until, provider)
        persons = self.views.persons(caller, since, until, provider)
        every = scorecards(ways, persons, now, improper=improper, facts=facts)
        return [card for card in every if provider in ("", card.provider)]

    def methods(self) -> Handlers:
        """Handlers by name of the method."""
        return {
            "Transparency": self.door.unary("Transparency", pb.TransparencyRequest, self.transparency),
            "Participants": self.door.unary("Participants", pb.ParticipantsRequest, self.participants),
            "Scorecards": self.door.streaming("Scorecards", pb.ScorecardsRequest, self.scorecards),
        }

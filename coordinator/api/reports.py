"""ReportService: what many tracebacks say together; `rpc` says how every call goes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import grpc
from sqlalchemy import Engine

from coordinator.api.callers import Caller, Role
from coordinator.api.report_messages import (
    participants_message,
    period_of,
    scorecard_messages,
    transparency_message,
)
from coordinator.api.rpc import Door, Handlers, RefusedError
from coordinator.report_reader import provider_names
from coordinator.reports import Improper, Scorecard, own_scorecard, participants, scorecards, transparency
from coordinator.store.report_views import ReportViews, TooMuchError
from hopback.v1 import report_pb2 as pb
from protos.identity import ProviderId

T = TypeVar("T")


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

        return await self._apart(work)

    async def participants(self, caller: Caller, request: pb.ParticipantsRequest) -> pb.ParticipantsResponse:
        """Who answers and who doesn't."""
        since, until = period_of(request.period)

        def work() -> pb.ParticipantsResponse:
            ways, persons = self.views.ways(caller, since, until), self.views.persons(caller, since, until)
            return participants_message(participants(ways, persons, self.clock()), provider_names(self.engine))

        return await self._apart(work)

    async def scorecards(self, caller: Caller, request: pb.ScorecardsRequest) -> AsyncIterator[pb.ScorecardsResponse]:
        """How each provider answered; to a provider, its own alone."""
        since, until = period_of(request.period)
        cards = await self._apart(lambda: self._cards(caller, since, until, request.provider))
        names = await self._apart(lambda: provider_names(self.engine, [card.provider for card in cards]))
        for card in cards:
            for message in scorecard_messages(card, names.get(card.provider, ""), facts=request.facts):
                yield message

    def _cards(self, caller: Caller, since: datetime, until: datetime, provider: str) -> list[Scorecard]:
        persons = self.views.persons(caller, since, until)
        if caller.role is Role.PROVIDER:
            if provider not in ("", caller.name):
                return []
            hops = self.views.own_hops(caller, since, until)
            return [own_scorecard(ProviderId(caller.name), hops, persons, self.clock())]
        ways = list(self.views.ways(caller, since, until))
        seen = {str(hop.question_id) for way in ways for hop in way.hops}
        improper = [one for one in self.improper(since, until) if one.question in seen]
        every = scorecards(ways, persons, self.clock(), improper=improper)
        return [card for card in every if provider in ("", card.provider)]

    async def _apart(self, work: Callable[[], T]) -> T:
        try:
            return await self.door.apart(work)
        except TooMuchError as error:
            raise RefusedError(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error)) from None

    def methods(self) -> Handlers:
        """Handlers by name of the method."""
        return {
            "Transparency": self.door.unary("Transparency", pb.TransparencyRequest, self.transparency),
            "Participants": self.door.unary("Participants", pb.ParticipantsRequest, self.participants),
            "Scorecards": self.door.streaming("Scorecards", pb.ScorecardsRequest, self.scorecards),
        }

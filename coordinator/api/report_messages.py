"""Reports as messages, and back, so that both ends of the wire draw them with the same code. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from coordinator.deadlines.cooperation import Label, Metric
from coordinator.reports.figures import FIGURES, Figure, Part, Participant, Scorecard, Spread, Transparency
from coordinator.tracing.chain import Status
from hopback.v1 import report_pb2 as pb
from protos.codec import from_unix_ms, unix_ms
from protos.identity import ProviderId, parse_provider_id

MOST_FACTS: Final = 10_000
"""Ids in one message."""
_US: Final = timedelta(microseconds=1)
_COUNTS: Final = tuple(name for name in Part.__dataclass_fields__ if name != "provider")
_METRIC: Final = "label."
"""Before the name of a metric, where facts are told: figures and metrics are named apart."""

Names = Mapping[ProviderId, str]


def period_message(since: datetime, until: datetime) -> pb.Period:
    """From `since` until before `until`."""
    return pb.Period(since_unix_ms=unix_ms(since), until_unix_ms=unix_ms(until))


def period_of(message: pb.Period) -> tuple[datetime, datetime]:
    """The same as times."""
    return from_unix_ms(message.since_unix_ms), from_unix_ms(message.until_unix_ms)


def transparency_message(found: Transparency, names: Names) -> pb.TransparencyResponse:
    """The report of a period."""
    return pb.TransparencyResponse(
        period=period_message(found.since, found.until),
        tracebacks=found.tracebacks,
        finished=found.finished,
        by_status=[pb.Tally(name=status.value, count=count) for status, count in found.by_status],
        to_completion=_durations(found.to_completion),
        path_lengths=[pb.PathLength(providers=hops, tracebacks=count) for hops, count in found.hops],
        parts=[
            pb.Part(
                provider=part.provider,
                name=names.get(part.provider, ""),
                **{name: getattr(part, name) for name in _COUNTS},
            )
            for part in found.parts
        ],
        foreign=[pb.Tally(name=carrier, count=count) for carrier, count in found.foreign],
    )


def transparency_of(message: pb.TransparencyResponse) -> tuple[Transparency, Names]:
    """The report of a message, and the providers' names."""
    since, until = period_of(message.period)
    found = Transparency(
        since=since,
        until=until,
        tracebacks=message.tracebacks,
        finished=message.finished,
        by_status=tuple((Status(one.name), one.count) for one in message.by_status),
        to_completion=_spread(message.to_completion),
        hops=tuple((one.providers, one.tracebacks) for one in message.path_lengths),
        parts=tuple(
            Part(parse_provider_id(part.provider), *(getattr(part, name) for name in _COUNTS)) for part in message.parts
        ),
        foreign=tuple((parse_provider_id(one.name), one.count) for one in message.foreign),
    )
    return found, {parse_provider_id(part.provider): part.name for part in message.parts if part.name}


def participants_message(found: Iterable[Participant], names: Names) -> pb.ParticipantsResponse:
    """Participants and refusers."""
    return pb.ParticipantsResponse(
        participants=[
            pb.Participant(
                provider=one.provider,
                name=names.get(one.provider, ""),
                asked=one.asked,
                answered=one.answered,
                reasons=[pb.Tally(name=why, count=count) for why, count in one.reasons],
            )
            for one in found
        ]
    )


def participants_of(message: pb.ParticipantsResponse) -> tuple[list[Participant], Names]:
    """Those of a message, and their names."""
    found = [
        Participant(
            parse_provider_id(one.provider),
            one.asked,
            one.answered,
            tuple((why.name, why.count) for why in one.reasons),
        )
        for one in message.participants
    ]
    return found, {parse_provider_id(one.provider): one.name for one in message.participants if one.name}


def scorecard_messages(card: Scorecard, name: str, *, facts: bool) -> Iterator[pb.ScorecardsResponse]:
    """One scorecard: what it counts, then the questions behind it if they are wanted, in messages of bounded size."""
    judged = card.label
    message = pb.ScorecardsResponse(
        scorecard=pb.Scorecard(
            provider=card.provider,
            name=name,
            figures=[pb.Tally(name=one.name, count=one.count) for one in card.figures],
            latency=_durations(card.latency),
            persons_latency=_durations(card.persons_latency),
            non_cooperative=judged.non_cooperative,
            why=judged.reason,
            metrics=[pb.Metric(name=one.name, value=one.value, limit=one.limit) for one in judged.metrics],
            requests=judged.requests,
            least_requests=judged.least_requests,
            judged_unix_ms=unix_ms(judged.at),
        )
    )
    behind = [(one.name, one.facts) for one in card.figures]
    behind += [(_METRIC + one.name, one.facts) for one in judged.metrics]
    room = MOST_FACTS
    for figure, ids in behind if facts else ():
        start = 0
        while start < len(ids):
            if not room:
                yield message
                message, room = pb.ScorecardsResponse(), MOST_FACTS
            some = ids[start : start + room]
            message.facts.add(figure=figure, question_ids=some)
            start, room = start + len(some), room - len(some)
    yield message


def scorecards_of(messages: Iterable[pb.ScorecardsResponse]) -> tuple[list[Scorecard], Names]:
    """The scorecards of a stream, and the providers' names.

    Raises:
        ValueError: facts come before any scorecard.
    """
    cards: list[tuple[pb.Scorecard, dict[str, list[str]]]] = []
    for message in messages:
        if message.HasField("scorecard"):
            cards.append((message.scorecard, {}))
        for one in message.facts:
            if not cards:
                raise ValueError("facts of no scorecard")
            cards[-1][1].setdefault(one.figure, []).extend(one.question_ids)
    found = [_card(card, facts) for card, facts in cards]
    return found, {parse_provider_id(card.provider): card.name for card, _ in cards if card.name}


def _card(card: pb.Scorecard, facts: Mapping[str, list[str]]) -> Scorecard:
    provider = parse_provider_id(card.provider)
    order = {name: place for place, name in enumerate(FIGURES)}
    return Scorecard(
        provider=provider,
        figures=tuple(
            Figure(one.name, tuple(facts.get(one.name, ())), one.count)
            for one in sorted(card.figures, key=lambda one: order.get(one.name, len(order)))
        ),
        latency=_spread(card.latency),
        persons_latency=_spread(card.persons_latency),
        label=Label(
            provider=provider,
            at=from_unix_ms(card.judged_unix_ms),
            requests=card.requests,
            least_requests=card.least_requests,
            metrics=tuple(
                Metric(one.name, one.value, one.limit, tuple(facts.get(_METRIC + one.name, ()))) for one in card.metrics
            ),
        ),
    )


def _durations(found: Spread) -> pb.Durations:
    if found.median is None or found.p95 is None:
        return pb.Durations()
    return pb.Durations(count=found.count, median_us=found.median // _US, p95_us=found.p95 // _US)


def _spread(message: pb.Durations) -> Spread:
    if not message.count:
        return Spread(0, None, None)
    return Spread(message.count, message.median_us * _US, message.p95_us * _US)

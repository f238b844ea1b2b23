"""Building blocks for the matcher's specification: legs and questions, defaulted in all that a test is not about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID

from agent.legs import Leg
from agent.trunks import Direction, TrunkEntry, TrunkMap, parse_party
from protos.e164 import E164, parse_e164
from protos.identity import parse_provider_id
from protos.types import Question

ALWAYS, FOREVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
NOON = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
CALLED = parse_e164("+12025550143")
TOLL_FREE = parse_e164("+18005550199")
ME = parse_provider_id("cedar")

_rows = count(1)


def at(seconds: float) -> datetime:
    """Noon plus so many seconds."""
    return NOON + timedelta(seconds=seconds)


def leg(
    seconds: float = 0,
    *,
    ingress: str | None = "in-birch",
    egress: str | None = "out-elm",
    call: int | None = None,
    called_in: E164 | None = None,
    sent_as_asked: bool = True,
    calling: bool | None = None,
    setup: float = 0,
    disposition: str | None = "answered",
    ingress_address: str | None = None,
) -> Leg:
    """A leg seized at noon + `seconds`, known to within `setup` seconds before that."""
    return Leg(
        called_in=called_in,
        sent_as_asked=sent_as_asked,
        calling_matches=calling,
        earliest=at(seconds - setup),
        latest=at(seconds),
        ingress_trunk=ingress,
        ingress_address=ingress_address,
        egress_trunk=egress,
        egress_address=None,
        call_ref=call if call is not None else next(_rows) + 1_000_000,
        disposition=disposition,
        source="cdr:today.csv",
        row=next(_rows),
    )


def question(
    seconds: float = 0, *, named_by: str | None = "elm", window: float = 60, calling: E164 | None = None
) -> Question:
    """Who handed you the call that came to CALLED at noon + `seconds`?"""
    return Question(
        question_id=UUID(int=1),
        target=ME,
        called=CALLED,
        at=at(seconds),
        window=timedelta(seconds=window),
        named_by=parse_provider_id(named_by) if named_by else None,
        calling=calling,
        deadline=NOON + timedelta(days=2),
    )


def trunk(name: str, party: str, valid_from: datetime = ALWAYS, valid_to: datetime = FOREVER) -> TrunkEntry:
    """A trunk whose direction is told by its name."""
    told = Direction.INGRESS if name.startswith("in-") else Direction.EGRESS
    return TrunkEntry(parse_party(party), told, name, valid_from=valid_from, valid_to=valid_to)


TRUNKS = TrunkMap.from_entries(
    [
        trunk("in-alder", "provider:alder"),
        trunk("in-birch", "provider:birch"),
        trunk("in-elm", "provider:elm"),
        trunk("in-onda", "foreign:onda-es"),
        trunk("in-customer", "customer:7011"),
        trunk("in-shop", "customer:7012"),
        trunk("in-west", "internal:west"),
        trunk("out-elm", "provider:elm"),
        trunk("out-fir", "provider:fir"),
        trunk("out-homes", "subscribers"),
        trunk("out-east", "internal:east"),
        trunk("out-west", "internal:west"),
        trunk("in-east", "internal:east"),
    ]
)

"""A provider for tests: who it is, its trunks, its records, its certificates; all synthetic.

Numbers are 555-01xx, addresses are documentation addresses (RFC 5737).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from agent.index.coverage import Coverage, SourceCoverage
from agent.index.errors import IndexUnusableError
from agent.index.reader import Query
from agent.legs import Leg
from agent.match_settings import MatchSettings
from agent.service import Desk, Terms
from agent.trunks import Direction, Party, PartyKind, TrunkEntry, TrunkMap
from coordinator.authority.lab_ca import Credentials
from protos.e164 import E164, parse_e164
from protos.identity import ProviderId
from protos.tls import TlsFiles, read_tls_files
from protos.types import Question

BIRCH = ProviderId("birch")
ALDER = ProviderId("alder")
CEDAR = ProviderId("cedar")
CALLED = parse_e164("+12025550143")
OTHER = parse_e164("+12025550144")
CALLING = parse_e164("+12025550199")
CALL_TIME = datetime(2026, 11, 20, 15, 0, 0, tzinfo=UTC)
NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def trunks() -> TrunkMap:
    """In from alder, a foreign carrier, a customer; out to cedar and to subscribers."""

    def one(name: str, direction: Direction, kind: PartyKind, party: str = "") -> TrunkEntry:
        return TrunkEntry(Party(kind, party), direction, name)

    return TrunkMap.from_entries(
        [
            one("IN-ALDER", Direction.INGRESS, PartyKind.PROVIDER, ALDER),
            one("IN-ABROAD", Direction.INGRESS, PartyKind.FOREIGN, "abroad"),
            one("IN-CUSTOMER", Direction.INGRESS, PartyKind.CUSTOMER, "7011"),
            one("OUT-CEDAR", Direction.EGRESS, PartyKind.PROVIDER, CEDAR),
            one("OUT-HOME", Direction.EGRESS, PartyKind.SUBSCRIBERS),
        ]
    )


LEG = Leg(
    called_in=None,
    sent_as_asked=True,
    calling_matches=None,
    earliest=CALL_TIME,
    latest=CALL_TIME + timedelta(seconds=1),
    ingress_trunk="IN-ALDER",
    ingress_address=None,
    egress_trunk="OUT-HOME",
    egress_address=None,
    call_ref=0xABC,
    disposition="answered",
    source="acc",
    row=7,
)

COVERED = SourceCoverage(
    source="acc",
    earliest=NOW - timedelta(days=100),
    latest=NOW - timedelta(hours=1),
    covered_from=NOW - timedelta(days=100),
    watermark=NOW - timedelta(hours=1),
    records=1,
    files=1,
)
COVERAGE = Coverage((COVERED,))


@dataclass
class FakeRecords:
    """Records in memory, by called number; counts how often it was read, and can be broken."""

    legs: dict[E164, list[Leg]]
    covers: Coverage = COVERAGE
    reads: int = 0
    broken: Exception | None = None

    def find(self, called: E164, calling: E164 | None, earliest: datetime, latest: datetime) -> list[Leg]:
        """Legs of `called` whose seizure touches the interval."""
        self.reads += 1
        if self.broken is not None:
            raise self.broken
        legs = self.legs.get(called, [])
        return [
            leg if calling is None else leg._replace(calling_matches=calling == CALLING)
            for leg in legs
            if leg.earliest <= latest and leg.latest >= earliest
        ]

    def find_many(self, queries: Sequence[Query]) -> list[list[Leg]]:
        """`find` for each."""
        return [self.find(q.called, q.calling, q.earliest, q.latest) for q in queries]

    def coverage(self) -> Coverage:
        """What was given."""
        if self.broken is not None:
            raise self.broken
        return self.covers


def some_records() -> FakeRecords:
    """One call from alder to a subscriber, and one from a customer on to cedar."""
    onward = LEG._replace(ingress_trunk="IN-CUSTOMER", egress_trunk="OUT-CEDAR", call_ref=0xDEF, row=8)
    return FakeRecords({CALLED: [LEG], OTHER: [onward]})


UNREADABLE = IndexUnusableError("/secret/path: torn")


def desk(records: FakeRecords, window_cap: timedelta = timedelta(seconds=120)) -> Desk:
    """Birch's desk at NOW."""
    return Desk(Terms(BIRCH, trunks(), MatchSettings(), window_cap, timedelta(days=548)), records, lambda: NOW)


def question(**change: object) -> Question:
    """Who handed birch the call to CALLED? With some fields changed."""
    asked = Question(
        question_id=UUID(int=1),
        target=BIRCH,
        called=CALLED,
        at=CALL_TIME,
        window=timedelta(seconds=60),
        named_by=None,
        calling=None,
        deadline=NOW + timedelta(seconds=10),
    )
    return replace(asked, **change)  # type: ignore[arg-type]


def tls(credentials: Credentials) -> TlsFiles:
    """The files as an agent reads them; the lab's authority issues for the present day."""
    return read_tls_files(credentials.certificate, credentials.key, credentials.roots, datetime.now(UTC))

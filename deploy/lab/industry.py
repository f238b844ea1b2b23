"""A whole industry on paper: providers, their clocks and switches, and the trunks between them.

Pure and seeded: the same seed, date and ingredients give the same industry, down to the last trunk name. What a
provider writes about itself (its agent's configuration) and what really is (this model) differ only where an ingredient
says so: a trunk that the map lacks, a neighbour named by mistake, a clock that is off by more than anyone knows.

Addresses are documentation ranges (RFC 5737, RFC 3849), providers and carriers are invented.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from deploy.lab.ingredients import Ingredient


class Role(enum.Enum):
    """What a provider mostly does; any of them may have customers of its own."""

    ORIGINATING = "originating"
    GATEWAY = "gateway"
    TRANSIT = "transit"
    TERMINATING = "terminating"


class PartyKind(enum.Enum):
    """What stands at an end of a trunk. Values are the words of an agent's configuration."""

    PROVIDER = "provider"
    FOREIGN = "foreign"
    CUSTOMER = "customer"
    SUBSCRIBERS = "subscribers"


@dataclass(frozen=True, slots=True)
class End:
    """One end of a trunk: a party, and for a provider which of its switches."""

    kind: PartyKind
    name: str
    switch: str = ""


@dataclass(frozen=True, slots=True)
class Switch:
    """One switch: its clock reads true time + `offset` (known, configured) + `residual` (nobody knows)."""

    name: str
    zone: str
    offset: timedelta
    residual: timedelta

    def reads(self, time: datetime) -> datetime:
        """What this switch's clock says at a true time, as aware UTC."""
        return time + self.offset + self.residual


@dataclass(frozen=True, slots=True)
class Provider:
    """One company.

    Attributes:
        store: name of the kind of store that its switches write (`deploy.lab.stores`).
        proxy: its switch keeps one call id for a call that crosses it twice; others make a new one each time.
        retention: how long its records are kept.
        late: its newest records come in an hour late.
    """

    id: str
    role: Role
    store: str
    address: str
    switches: tuple[Switch, ...]
    retention: timedelta
    proxy: bool = False
    translates: bool = False
    forwards: bool = False
    has_agent: bool = True
    late: bool = False


class Flaw(enum.Enum):
    """How a receiver's own map of a trunk differs from what is."""

    NONE = "none"
    UNMAPPED = "unmapped"
    MISNAMED = "misnamed"


@dataclass(frozen=True, slots=True)
class Trunk:
    """A one-way trunk group from `sender` to `receiver`; each side calls it by a name of its own.

    `believed` is whom the receiver's map names as sender, where that differs from the truth. `valid_from` and
    `valid_to` bound the time in which the trunk belonged to this sender.
    """

    sender: End
    receiver: End
    egress_name: str
    ingress_name: str
    called_format: str
    sender_address: str
    receiver_address: str
    flaw: Flaw = Flaw.NONE
    believed: str | None = None
    purpose: Ingredient | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None

    @property
    def internal(self) -> bool:
        """Whether both ends are switches of one provider."""
        return self.sender.kind is self.receiver.kind is PartyKind.PROVIDER and self.sender.name == self.receiver.name


@dataclass(frozen=True)
class Calendar:
    """When things happen, all relative to `now`, so that a lab made on any day has fresh and expired calls."""

    now: datetime
    fall_back: datetime

    @property
    def day_from(self) -> datetime:
        """Start of the day in which most calls lie."""
        return self.now - timedelta(hours=25)

    @property
    def day_to(self) -> datetime:
        """End of that day."""
        return self.now - timedelta(hours=1)

    @property
    def reassigned(self) -> datetime:
        """When the reassigned trunk changed hands: in the middle of the day, on the full hour."""
        return (self.now - timedelta(hours=13)).replace(minute=0, second=0, microsecond=0)

    @property
    def rotated(self) -> datetime:
        """Up to when the late providers' files have come in."""
        return self.now - timedelta(minutes=45)

    @property
    def long_ago(self) -> datetime:
        """A day that is past the shortest retention and within all others."""
        return self.now - timedelta(days=60)


def calendar(now: datetime) -> Calendar:
    """The lab's calendar on a given day; `fall_back` is the last autumn change of clocks in New York before `now`.

    Raises:
        ValueError: `now` is naive.
    """
    if now.utcoffset() is None:
        raise ValueError("the lab's time must be aware")
    now = now.astimezone(UTC).replace(microsecond=0)
    zone = ZoneInfo("America/New_York")
    hour = (now - timedelta(days=2)).replace(minute=0, second=0)
    while not (
        hour.astimezone(zone).utcoffset() == timedelta(hours=-5)
        and (hour - timedelta(hours=1)).astimezone(zone).utcoffset() == timedelta(hours=-4)
    ):
        hour -= timedelta(hours=1)
    return Calendar(now, hour)


@dataclass(frozen=True)
class Industry:
    """All providers and trunks, and the ingredients that are on."""

    seed: int
    calendar: Calendar
    ingredients: frozenset[Ingredient]
    providers: dict[str, Provider]
    foreign: tuple[str, ...]
    trunks: tuple[Trunk, ...]
    _between: dict[tuple[str, str], tuple[Trunk, ...]] = field(repr=False, default_factory=dict)

    def of_role(self, *roles: Role) -> list[Provider]:
        """All providers of these roles, in order."""
        return [provider for provider in self.providers.values() if provider.role in roles]

    def trunks_between(self, sender: str, receiver: str, purpose: Ingredient | None = None) -> list[Trunk]:
        """The trunks from one named party to another that serve a purpose (None: ordinary calls)."""
        return [trunk for trunk in self._between.get((sender, receiver), ()) if trunk.purpose is purpose]

    def customers(self, provider: str) -> list[Trunk]:
        """The trunks on which own customers hand calls to a provider."""
        return [t for t in self.trunks if t.receiver.name == provider and t.sender.kind is PartyKind.CUSTOMER]

    def to_subscribers(self, provider: str) -> Trunk:
        """The trunk on which a provider delivers to its own subscribers."""
        (trunk,) = (t for t in self.trunks if t.sender.name == provider and t.receiver.kind is PartyKind.SUBSCRIBERS)
        return trunk

    def internal(self, provider: str, sender: str, receiver: str) -> Trunk:
        """The internal trunk from one switch of a provider to another."""
        (trunk,) = (
            t
            for t in self.trunks_between(provider, provider)
            if (t.sender.switch, t.receiver.switch) == (sender, receiver)
        )
        return trunk

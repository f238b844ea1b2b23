"""A whole industry on paper: providers, their clocks and switches, and the trunks between them.

Pure and seeded: the same seed, date and ingredients give the same industry, down to the last trunk name. What a
provider writes about itself (its agent's configuration) and what really is (this model) differ only where an ingredient
says so: a trunk that the map lacks, a neighbour named by mistake, a clock that is off by more than anyone knows.

Addresses are documentation ranges (RFC 5737, RFC 3849), providers and carriers are invented.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from deploy.lab.ingredients import Ingredient

FORMATS = ("10d", "11d", "e164", "00e164", "011e164", "tech:77501:11d", "tech:0155#:e164", "tech:9931:10d")


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


@dataclass(frozen=True, slots=True)
class _Card:
    """A provider before clocks, addresses and trunks are drawn."""

    id: str
    role: Role
    store: str
    zone: str
    offset_s: float = 0.0
    proxy: bool = False
    translates: bool = False
    forwards: bool = False
    has_agent: bool = True
    late: bool = False
    retention_days: int = 548
    second_switch: tuple[str, str, float] | None = None


_ROSTER = (
    _Card("avocet", Role.ORIGINATING, "kamailio-sqlite", "UTC", proxy=True),
    _Card("bittern", Role.ORIGINATING, "radius-detail", "America/Denver", proxy=True),
    _Card("curlew", Role.ORIGINATING, "softswitch-csv", "UTC", 0.6),
    _Card("dunlin", Role.GATEWAY, "json-syslog", "UTC", -9, proxy=True),
    _Card("egret", Role.GATEWAY, "headerless-csv", "America/Los_Angeles", 3.5),
    _Card("fulmar", Role.TRANSIT, "none", "UTC", has_agent=False),
    _Card("godwit", Role.TRANSIT, "postgres-dump", "America/New_York", 47, proxy=True),
    _Card("harrier", Role.TRANSIT, "kamailio-syslog", "UTC", proxy=True),
    _Card("ibis", Role.TRANSIT, "sqlite-cdrs", "America/Chicago", translates=True, proxy=True),
    _Card("jackdaw", Role.TRANSIT, "flatstore", "UTC", 1.2, proxy=True, late=True),
    _Card("kestrel", Role.TRANSIT, "switch-csv", "America/New_York", -2, second_switch=("America/Chicago", "", 5.0)),
    _Card("lapwing", Role.TRANSIT, "db-text", "UTC", retention_days=30, proxy=True),
    _Card("osprey", Role.TRANSIT, "billing-csv", "UTC", -31),
    _Card("plover", Role.TRANSIT, "epoch-tsv", "UTC", 12.4, translates=True, late=True),
    _Card("redshank", Role.TERMINATING, "subscriber-sqlite", "UTC", proxy=True),
    _Card("siskin", Role.TERMINATING, "local-csv", "America/New_York", 8, forwards=True),
    _Card("tern", Role.TERMINATING, "address-syslog", "UTC", -1.4, proxy=True),
    _Card("wren", Role.TERMINATING, "address-csv", "UTC", forwards=True),
)
SMALL = frozenset(["curlew", "dunlin", "godwit", "harrier", "ibis", "jackdaw", "redshank", "siskin", "fulmar"])
"""A roster that is enough for every kind of call in a demonstration; fulmar runs no agent."""

FOREIGN = ("meridian-intl", "halcyon-carrier")

_CUSTOMERS = {Role.ORIGINATING: 4, Role.GATEWAY: 1, Role.TRANSIT: 1, Role.TERMINATING: 2}


def build(
    seed: int,
    now: datetime,
    ingredients: Collection[Ingredient] = tuple(Ingredient),
    roster: Collection[str] | None = None,
) -> Industry:
    """Draw the industry.

    `roster` limits it to these providers (None: all). Raises ValueError when a name in it is unknown, or when no
    transit or no terminating provider is left.
    """
    on = frozenset(ingredients)
    names = {card.id for card in _ROSTER}
    chosen = names if roster is None else set(roster)
    if chosen - names:
        raise ValueError(f"no such providers in the lab: {', '.join(sorted(chosen - names))}")
    cards = [c for c in _ROSTER if c.id in chosen and (c.has_agent or Ingredient.NO_AGENT in on)]
    if not {Role.TRANSIT, Role.TERMINATING, Role.ORIGINATING} <= {c.role for c in cards}:
        raise ValueError("a lab needs an originating, a transit and a terminating provider at least")
    providers = {c.id: _provider(c, seed, number, on) for number, c in enumerate(cards)}
    times = calendar(now)
    foreign = FOREIGN if Ingredient.FOREIGN_GATEWAY in on else ()
    trunks = tuple(_Trunks(seed, times, on, providers, foreign).draw())
    between: dict[tuple[str, str], tuple[Trunk, ...]] = {}
    for trunk in trunks:
        pair = (trunk.sender.name, trunk.receiver.name)
        between[pair] = (*between.get(pair, ()), trunk)
    return Industry(seed, times, on, providers, foreign, trunks, between)


def _provider(card: _Card, seed: int, number: int, on: frozenset[Ingredient]) -> Provider:
    rng = Random(f"{seed}:clock:{card.id}")

    def switch(name: str, zone: str, offset_s: float) -> Switch:
        local, skewed = Ingredient.LOCAL_TIME in on, Ingredient.CLOCK_SKEW in on
        residual = timedelta(milliseconds=rng.randint(-400, 400))
        return Switch(
            name=name,
            zone=zone if local else "UTC",
            offset=timedelta(seconds=offset_s) if skewed else timedelta(0),
            residual=residual if skewed else timedelta(0),
        )

    switches = [switch("sw1", card.zone, card.offset_s)]
    if card.second_switch is not None and Ingredient.SEVERAL_SWITCHES in on:
        switches.append(switch("sw2", card.second_switch[0], card.second_switch[2]))
    return Provider(
        id=card.id,
        role=card.role,
        store=card.store,
        address=f"198.51.100.{10 + number}",
        switches=tuple(switches),
        retention=timedelta(days=card.retention_days if Ingredient.RECORDS_EXPIRED in on else 548),
        proxy=card.proxy,
        translates=card.translates,
        forwards=card.forwards,
        has_agent=card.has_agent,
        late=card.late and Ingredient.LATE_RECORDS in on,
    )


class _Trunks:
    """Draws all trunks; a class only because the counters for names and addresses run through all of them."""

    def __init__(
        self,
        seed: int,
        times: Calendar,
        on: frozenset[Ingredient],
        providers: dict[str, Provider],
        foreign: Sequence[str],
    ) -> None:
        self.rng = Random(f"{seed}:trunks")
        self.times, self.on, self.providers, self.foreign = times, on, providers, foreign
        self._numbers: dict[str, int] = {}
        self._extra_address = 150

    def draw(self) -> list[Trunk]:
        """Every trunk of the industry, ordinary ones first."""
        drawn: list[Trunk] = []
        by_role = {role: [p for p in self.providers.values() if p.role is role] for role in Role}
        transits, terminating = by_role[Role.TRANSIT], by_role[Role.TERMINATING]
        entry = [*by_role[Role.ORIGINATING], *by_role[Role.GATEWAY]]
        pairs = [(a, b) for a in entry for b in [*transits, *terminating]]
        pairs += [(a, b) for a in transits for b in [*transits, *terminating] if a is not b]
        pairs += [(a, b) for a in terminating for b in transits]
        drawn += [self._between(a, b) for a, b in pairs]
        for provider in self.providers.values():
            drawn += self._inside(provider)
            drawn += self._customers(provider)
            if provider.role is Role.GATEWAY:
                drawn += [self._from_abroad(carrier, number, provider) for number, carrier in enumerate(self.foreign)]
            drawn.append(self._to_subscribers(provider))
        return drawn + self._special()

    def _format(self) -> str:
        drawn = self.rng.choice(FORMATS)
        return drawn if Ingredient.NUMBER_FORMATS in self.on else "e164"

    def _end(self, provider: Provider) -> End:
        return End(PartyKind.PROVIDER, provider.id, self.rng.choice(provider.switches).name)

    def _name(self, owner: str, peer: str, *, incoming: bool) -> str:
        """A trunk group name in the owner's own style."""
        number = self._numbers[owner] = self._numbers.get(owner, 0) + 1
        match sum(owner.encode()) % 5:
            case 0:
                return f"{'TGIN' if incoming else 'TGOUT'}{4400 + number}"
            case 1:
                return f"TG-{peer.upper()}-{'I' if incoming else 'O'}{number}"
            case 2:
                return f"{peer}.{'ingress' if incoming else 'egress'}.{number}"
            case 3:
                return f"{owner[:2].upper()}{number}{'I' if incoming else 'O'}"
        return f"{'in' if incoming else 'out'}_{peer}_{number}"

    def _new_address(self) -> str:
        self._extra_address += 1
        return f"198.51.100.{self._extra_address}"

    def _between(self, sender: Provider, receiver: Provider) -> Trunk:
        return Trunk(
            sender=self._end(sender),
            receiver=self._end(receiver),
            egress_name=self._name(sender.id, receiver.id, incoming=False),
            ingress_name=self._name(receiver.id, sender.id, incoming=True),
            called_format=self._format(),
            sender_address=sender.address if receiver.id != "ibis" else _six(sender.address),
            receiver_address=receiver.address if receiver.id != "ibis" else _six(receiver.address),
        )

    def _inside(self, provider: Provider) -> list[Trunk]:
        return [
            Trunk(
                sender=End(PartyKind.PROVIDER, provider.id, a.name),
                receiver=End(PartyKind.PROVIDER, provider.id, b.name),
                egress_name=f"IST-{a.name}-{b.name}-O",
                ingress_name=f"IST-{a.name}-{b.name}-I",
                called_format="11d" if Ingredient.NUMBER_FORMATS in self.on else "e164",
                sender_address=self._new_address(),
                receiver_address=self._new_address(),
            )
            for a in provider.switches
            for b in provider.switches
            if a is not b
        ]

    def _customers(self, provider: Provider) -> list[Trunk]:
        made: list[Trunk] = []
        for _ in range(_CUSTOMERS[provider.role]):
            account = f"cust-{7000 + len(self._numbers) * 10 + self.rng.randrange(10)}-{len(made) + 1}"
            made.append(
                Trunk(
                    sender=End(PartyKind.CUSTOMER, account),
                    receiver=self._end(provider),
                    egress_name="",
                    ingress_name=self._name(provider.id, "cust", incoming=True),
                    called_format=self._format(),
                    sender_address=f"203.0.113.{1 + self._customer_number()}",
                    receiver_address=provider.address,
                )
            )
        return made

    def _customer_number(self) -> int:
        self._numbers["customers"] = self._numbers.get("customers", 0) + 1
        return self._numbers["customers"]

    def _from_abroad(self, carrier: str, number: int, gateway: Provider) -> Trunk:
        return Trunk(
            sender=End(PartyKind.FOREIGN, carrier),
            receiver=self._end(gateway),
            egress_name="",
            ingress_name=self._name(gateway.id, carrier, incoming=True),
            called_format=self.rng.choice(("00e164", "e164")) if Ingredient.NUMBER_FORMATS in self.on else "e164",
            sender_address=f"192.0.2.{10 + number}",
            receiver_address=gateway.address,
        )

    def _to_subscribers(self, provider: Provider) -> Trunk:
        return Trunk(
            sender=self._end(provider),
            receiver=End(PartyKind.SUBSCRIBERS, ""),
            egress_name=f"{provider.id.upper()}-LINES",
            ingress_name="",
            called_format="e164",
            sender_address=provider.address,
            receiver_address=f"192.0.2.{100 + int(provider.address.rsplit('.', 1)[1])}",
        )

    def _special(self) -> list[Trunk]:
        made: list[Trunk] = []
        if Ingredient.TRUNK_REASSIGNED in self.on and {"curlew", "avocet", "harrier"} <= self.providers.keys():
            before = self._extra("curlew", "harrier", Ingredient.TRUNK_REASSIGNED)
            after = self._extra("avocet", "harrier", Ingredient.TRUNK_REASSIGNED)
            made.append(replace(before, valid_to=self.times.reassigned))
            made.append(
                replace(
                    after,
                    ingress_name=before.ingress_name,
                    called_format=before.called_format,
                    receiver=before.receiver,
                    valid_from=self.times.reassigned,
                )
            )
        if Ingredient.UNMAPPED_TRUNK in self.on and {"egret", "osprey"} <= self.providers.keys():
            made.append(replace(self._extra("egret", "osprey", Ingredient.UNMAPPED_TRUNK), flaw=Flaw.UNMAPPED))
        if Ingredient.NAMED_BY_MISTAKE in self.on and {"jackdaw", "godwit"} <= self.providers.keys():
            wrong = "lapwing" if "lapwing" in self.providers else "harrier"
            extra = self._extra("jackdaw", "godwit", Ingredient.NAMED_BY_MISTAKE)
            made.append(replace(extra, flaw=Flaw.MISNAMED, believed=wrong))
        return made

    def _extra(self, sender: str, receiver: str, purpose: Ingredient) -> Trunk:
        """One more trunk between two providers, over an address of its own."""
        trunk = self._between(self.providers[sender], self.providers[receiver])
        return replace(trunk, sender_address=self._new_address(), purpose=purpose)


def _six(address: str) -> str:
    """The IPv6 documentation address that stands for the same host."""
    return f"2001:db8:{int(address.rsplit('.', 1)[1]):x}::10"

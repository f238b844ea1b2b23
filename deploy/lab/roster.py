"""The lab's companies: who they are, how they keep records, how wrong their clocks are; and the industry they make.

Pure and seeded. The roster is fixed, so that stories and tests can name providers; clocks' unknown errors, trunks,
formats and customers are drawn.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from deploy.lab.industry import Industry, Provider, Role, Switch, Trunk, calendar
from deploy.lab.ingredients import Ingredient
from deploy.lab.wiring import Wiring


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
    trunks = tuple(Wiring(seed, times, on, providers, foreign).draw())
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

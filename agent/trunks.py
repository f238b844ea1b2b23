"""The dated trunk map: which party stands behind a trunk group or a peer address at a given time.

A record names where a call came in and where it left by trunk group, by peer address, or by both. The operator's map
says who that is: a provider, a foreign carrier, an own customer, own subscribers, another switch of the same network.
What the map does not know is UNMAPPED, never "originated here"; what the record does not say is NOT_RECORDED. Where
trunk and address point at different parties the answer is UNMAPPED too: a wrong name is worse than none.

Trunks get reassigned: entries hold from `valid_from` to `valid_to`, and the call's own time decides.
"""

from __future__ import annotations

import enum
import ipaddress
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

from protos.identity import ProviderId, parse_provider_id

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_ALWAYS = datetime.min.replace(tzinfo=UTC)
_FOREVER = datetime.max.replace(tzinfo=UTC)
_MOST_KNOWN = 100_000


class PartyKind(enum.Enum):
    """What stands behind a trunk. Values are the words of the configuration."""

    PROVIDER = "provider"
    FOREIGN = "foreign"
    CUSTOMER = "customer"
    SUBSCRIBERS = "subscribers"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Party:
    """Who stands behind a trunk; `name` is a provider id, an account or a switch, empty for subscribers."""

    kind: PartyKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.name}" if self.name else self.kind.value

    def __hash__(self) -> int:
        return hash(self.name)  # an enum's hash is computed in Python, and a party is hashed for every record


def ends_here(party: Party) -> bool:
    """Whether a call that goes to this party has reached who was called."""
    return party.kind in (PartyKind.SUBSCRIBERS, PartyKind.CUSTOMER)


@lru_cache(4096)
def leads_to(provider: ProviderId) -> Callable[[Party], bool]:
    """Whether a party is this provider, domestic or foreign."""
    return lambda party: party.kind in (PartyKind.PROVIDER, PartyKind.FOREIGN) and party.name == provider


class Unknown(enum.Enum):
    """Why no party can be named."""

    UNMAPPED = "unmapped"
    NOT_RECORDED = "not recorded"

    def __str__(self) -> str:
        return self.value


class Direction(enum.Enum):
    """Which way calls run over a trunk, seen from this provider."""

    INGRESS = "ingress"
    EGRESS = "egress"
    BOTH = "both"

    def carries(self, other: Direction) -> bool:
        """Whether calls of direction `other` can run over a trunk of this direction."""
        return self is Direction.BOTH or other is Direction.BOTH or self is other


class InvalidTrunkError(ValueError):
    """A trunk entry that can't be used; the message says which and what to write instead."""


def parse_party(text: str) -> Party:
    """The party in `kind:name` notation.

    Raises:
        InvalidTrunkError: unknown kind, missing or superfluous name, or a name that is no provider id where one is due.
    """
    kind_text, _, name = text.partition(":")
    try:
        kind = PartyKind(kind_text)
    except ValueError:
        kinds = ", ".join(k.value for k in PartyKind)
        raise InvalidTrunkError(f"party {text!r}: the kind must be one of {kinds}, as in 'provider:birch'") from None
    if (kind is PartyKind.SUBSCRIBERS) != (name == ""):
        raise InvalidTrunkError(f"party {text!r}: write 'subscribers' alone, and every other kind with ':' and a name")
    if kind in (PartyKind.PROVIDER, PartyKind.FOREIGN):
        try:
            parse_provider_id(name)
        except ValueError as error:
            raise InvalidTrunkError(f"party {text!r}: {error}") from None
    return Party(kind, name)


@dataclass(frozen=True, slots=True)
class TrunkEntry:
    """One line of the map. A trunk group name, peer networks, or both; validity is [valid_from, valid_to)."""

    party: Party
    direction: Direction
    name: str | None = None
    networks: tuple[IPNetwork, ...] = ()
    called_format: str | None = None
    valid_from: datetime = _ALWAYS
    valid_to: datetime = _FOREVER

    def __post_init__(self) -> None:
        label = self.name or ", ".join(map(str, self.networks))
        if not label:
            raise InvalidTrunkError(f"a trunk to {self.party} has neither name nor addresses")
        if self.valid_from >= self.valid_to:
            raise InvalidTrunkError(f"trunk {label}: valid_from must lie before valid_to")

    def holds(self, direction: Direction, at: datetime) -> bool:
        """Whether this entry speaks for calls of that direction at that time."""
        return self.direction.carries(direction) and self.valid_from <= at < self.valid_to


@dataclass(frozen=True, slots=True)
class TrunkMap:
    """All trunks of a provider. Build it with `from_entries`, which refuses contradictions."""

    entries: tuple[TrunkEntry, ...]
    _by_name: Mapping[str, tuple[TrunkEntry, ...]] = field(repr=False)
    _with_networks: tuple[TrunkEntry, ...] = field(repr=False)
    _changes: tuple[datetime, ...] = field(repr=False)
    _known: dict[tuple[bool, str | None, str | None, int], Party | Unknown] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def from_entries(cls, entries: Iterable[TrunkEntry]) -> TrunkMap:
        """Build the map.

        Raises:
            InvalidTrunkError: two entries give one trunk name to different parties at the same time.
        """
        kept = tuple(entries)
        by_name: dict[str, list[TrunkEntry]] = {}
        for entry in kept:
            if entry.name is None:
                continue
            for other in by_name.setdefault(entry.name, []):
                overlap = entry.valid_from < other.valid_to and other.valid_from < entry.valid_to
                if overlap and entry.direction.carries(other.direction) and entry.party != other.party:
                    raise InvalidTrunkError(
                        f"trunk {entry.name!r} belongs to {other.party} and to {entry.party} at the same time: "
                        "date the entries with valid_from and valid_to, or give them one direction each"
                    )
            by_name[entry.name].append(entry)
        return cls(
            entries=kept,
            _by_name={name: tuple(group) for name, group in by_name.items()},
            _with_networks=tuple(entry for entry in kept if entry.networks),
            _changes=tuple(sorted({time for entry in kept for time in (entry.valid_from, entry.valid_to)})),
        )

    def ingress_party(self, trunk: str | None, address: str | None, at: datetime) -> Party | Unknown:
        """Who handed the call over, by what the record says of its ingress side."""
        # Between two dates of the map nothing changes: what was found once holds for the whole time between them.
        return self._known.get((True, trunk, address, bisect_right(self._changes, at))) or self._party(
            Direction.INGRESS, trunk, address, at
        )

    def egress_party(self, trunk: str | None, address: str | None, at: datetime) -> Party | Unknown:
        """To whom the call was handed, by what the record says of its egress side."""
        return self._known.get((False, trunk, address, bisect_right(self._changes, at))) or self._party(
            Direction.EGRESS, trunk, address, at
        )

    def neighbours(self) -> frozenset[ProviderId]:
        """Every provider that a trunk leads to or comes from, at any time."""
        return frozenset(
            parse_provider_id(entry.party.name) for entry in self.entries if entry.party.kind is PartyKind.PROVIDER
        )

    def called_formats(self, direction: Direction) -> dict[str, str]:
        """Called-number format by trunk name and by single peer address, for the adapters."""
        formats: dict[str, str] = {}
        for entry in self.entries:
            if entry.called_format is None or not entry.direction.carries(direction):
                continue
            if entry.name is not None:
                formats[entry.name] = entry.called_format
            for network in entry.networks:
                if network.num_addresses == 1:
                    formats.setdefault(str(network.network_address), entry.called_format)
        return formats

    def _party(self, direction: Direction, trunk: str | None, address: str | None, at: datetime) -> Party | Unknown:
        if not trunk and not address:
            return Unknown.NOT_RECORDED
        key = (direction is Direction.INGRESS, trunk, address, bisect_right(self._changes, at))
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        party = self._known[key] = self._look_up(direction, trunk, address, at)
        return party

    def _look_up(self, direction: Direction, trunk: str | None, address: str | None, at: datetime) -> Party | Unknown:
        by_name = {e.party for e in self._by_name.get(trunk or "", ()) if e.holds(direction, at)}
        by_address = self._parties_at(direction, address, at) if address else set()
        if by_name:
            # An address shared by several trunks is no contradiction as long as one of them is this party's.
            return Unknown.UNMAPPED if by_address and not by_name & by_address else next(iter(by_name))
        return next(iter(by_address)) if len(by_address) == 1 else Unknown.UNMAPPED

    def _parties_at(self, direction: Direction, address: str, at: datetime) -> set[Party]:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return set()
        holding = [
            (network.prefixlen, entry.party)
            for entry in self._with_networks
            if entry.holds(direction, at)
            for network in entry.networks
            if ip in network
        ]
        longest = max((length for length, _ in holding), default=0)
        return {party for length, party in holding if length == longest}

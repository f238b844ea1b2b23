"""The tables of the agent's configuration that say who it is, what it reads and how careful it is; see `agent.config`.

Each refuses keys that it doesn't know, and says of every value that it can't take what to write instead. Those about
evidence stand in `agent.evidence_config`, those about its identity in `agent.identity_config`.
"""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from agent.index.root_key import COMMAND_TIMEOUT_S
from agent.match_settings import MatchSettings
from agent.trunks import Direction, TrunkEntry, parse_party
from cdr_adapters.column_specs import CalledFormat
from cdr_adapters.durations import PositiveDuration, parse_duration
from protos.identity import coordinators_among, parse_provider_id
from protos.types import WINDOW_CAP


def _at_most_cap(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= WINDOW_CAP:
        raise ValueError(f"must be more than 0s and at most the protocol's cap of {WINDOW_CAP.total_seconds():.0f}s")
    return value


def _endpoint(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise ValueError("write host:port, such as 127.0.0.1:7443 or [::1]:7443; port 0 takes a free one")
    return text


def _coordinator(uri: str) -> str:
    if coordinators_among([uri]) != [uri]:
        raise ValueError("write the URI in the coordinator's certificate, such as hopback://coordinator/lab")
    return uri


def _some(uris: tuple[str, ...]) -> tuple[str, ...]:
    if not uris:
        raise ValueError("nobody could ask anything: name at least one, such as hopback://coordinator/lab")
    return uris


def _party(text: str) -> str:
    parse_party(text)
    return text


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"{error}: write an address or a network, such as 198.51.100.10 or 2001:db8::/64") from None
    return text


def _a_second_or_more(value: timedelta) -> timedelta:
    if value < timedelta(seconds=1):
        raise ValueError("must be 1s or more")
    return value


def _aware(value: object) -> object:
    if not isinstance(value, datetime):
        raise ValueError("not a time: write it without quotes and with its zone, such as 2026-01-01T00:00:00Z")  # noqa: TRY004
    if value.utcoffset() is None:
        raise ValueError("has no zone: nobody can tell which moment this is; write it as 2026-01-01T00:00:00Z")
    return value


Window = Annotated[timedelta, BeforeValidator(parse_duration), AfterValidator(_at_most_cap)]
LivePeriod = Annotated[PositiveDuration, AfterValidator(_a_second_or_more)]
AwareTime = Annotated[datetime, BeforeValidator(_aware)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class ProviderTable(_Table):
    """`[provider]`: who answers."""

    id: Annotated[str, AfterValidator(parse_provider_id)] = Field(examples=["birch"])


class ListenTable(_Table):
    """`[listen]`: where, with which certificate, and whose questions are taken; no address where it only dials out."""

    address: Annotated[str, AfterValidator(_endpoint)] | None = Field(default=None, examples=["127.0.0.1:7443"])
    certificate: Path = Field(examples=["birch.crt"])
    key: Path = Field(examples=["birch.key"])
    roots: Path = Field(examples=["ca.crt"])
    coordinators: Annotated[tuple[Annotated[str, AfterValidator(_coordinator)], ...], AfterValidator(_some)] = Field(
        examples=[["hopback://coordinator/lab"]]
    )
    reflection: bool = False


class IndexTable(_Table):
    """`[index]`: where records are kept, for how long, and where the key lies."""

    directory: Path = Field(examples=["index"])
    root_key_file: Path | None = Field(default=None, examples=["root.key"])
    root_key_command: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), examples=[["/usr/local/bin/hopback-root-key"]]
    )
    root_key_timeout: PositiveDuration = timedelta(seconds=COMMAND_TIMEOUT_S)
    retention: PositiveDuration = timedelta(days=548)
    upkeep: PositiveDuration = timedelta(minutes=5)


class MatchTable(_Table):
    """`[match]`: how careful an answer is; see `agent.match.MatchSettings`."""

    rival_margin: PositiveDuration = MatchSettings().rival_margin
    trusted_distance: PositiveDuration = MatchSettings().trusted_distance
    window_cap: Window = WINDOW_CAP


class ExplainTable(_Table):
    """`[explain]`: whether the operator keeps an explanation of every answer on this machine."""

    keep: bool = False
    directory: Path = Path("explanations")


class LogTable(_Table):
    """`[log]`: how the agent logs."""

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


class WatchTable(_Table):
    """`[watch]`: how closely `watch` follows the sources; see `agent.following`, and for `lag`, `agent.watch`."""

    every: LivePeriod = timedelta(seconds=10)
    rest: PositiveDuration = timedelta(seconds=10)
    remote_every: LivePeriod = timedelta(seconds=60)
    lag: dict[str, PositiveDuration] = Field(default_factory=dict, examples=[{"switch-1": "5m"}])


class TrunkTable(_Table):
    """One of `[[trunks]]`: which party stands behind a trunk group or a peer address, and when."""

    name: str | None = Field(default=None, min_length=1)
    addresses: tuple[Annotated[str, AfterValidator(_network)], ...] = ()
    direction: Direction = Field(examples=["ingress"])
    party: Annotated[str, AfterValidator(_party)] = Field(examples=["provider:alder"])
    called_format: CalledFormat | None = None
    valid_from: AwareTime | None = None
    valid_to: AwareTime | None = None

    def entry(self) -> TrunkEntry:
        """The line of the trunk map that this table means.

        Raises:
            agent.trunks.InvalidTrunkError: neither name nor addresses, or a validity that ends before it begins.
        """
        bounds = {"valid_from": self.valid_from, "valid_to": self.valid_to}
        return TrunkEntry(
            party=parse_party(self.party),
            direction=self.direction,
            name=self.name,
            networks=tuple(ipaddress.ip_network(address) for address in self.addresses),
            called_format=self.called_format,
            **{key: bound for key, bound in bounds.items() if bound is not None},
        )

"""What the coordinator's configuration says about certificates and its own server: `[listen]`, `[authority]`,
`[operators]`, `[enrolment]`, `[revocation]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from coordinator.authority.authority import LIFETIME, LISTS_EVERY
from coordinator.ordering.intake import parse_duration
from protos.identity import coordinators_among, parse_provider_id
from protos.revocation import REFUSE_AFTER, WARN_AFTER
from protos.signing import PublicKey

SHORTEST_LIFE = timedelta(hours=1)
LONGEST_LIFE = timedelta(days=90)
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 (nothing is listened on by it)


def _duration(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError('write a duration as text, such as "24h"')  # noqa: TRY004
    return parse_duration(value)


def _public_key(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError('write a key as text, such as "ed25519:..."')  # noqa: TRY004
    return PublicKey.parse(value)


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise ValueError("write host:port, such as 0.0.0.0:7443 or [::]:7443")
    return text


def _coordinator(uri: str) -> str:
    if coordinators_among([uri]) != [uri]:
        raise ValueError("write the URI in the coordinator's certificate, such as hopback://coordinator/lab")
    return uri


def _different(keys: Mapping[str, PublicKey]) -> Mapping[str, PublicKey]:
    if len({key.raw for key in keys.values()}) < len(keys):
        raise ValueError("two operators have one key: the two who must agree would be one person")
    return keys


Name = Annotated[str, AfterValidator(parse_provider_id)]
Key = Annotated[PublicKey, BeforeValidator(_public_key)]
Address = Annotated[str, AfterValidator(_address)]
Duration = Annotated[timedelta, BeforeValidator(_duration), Field(gt=timedelta(0))]
Life = Annotated[Duration, Field(ge=SHORTEST_LIFE, le=LONGEST_LIFE)]
Operators = Annotated[dict[Name, Key], AfterValidator(_different)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


class ListenTable(_Table):
    """Where `serve` listens: `address` for those with a certificate, `enrolment_address` for those without.

    `inside` is where this coordinator's other processes reach it, for agents that dial out; on one machine `address`
    does.
    """

    address: Address
    enrolment_address: Address | None = None
    inside: Address | None = None

    @property
    def reached_at(self) -> str:
        """Where other processes call."""
        host, _, port = (self.inside or self.address).rpartition(":")
        return f"{_LOOPBACK.get(host, host)}:{port}"


class AuthorityTable(_Table):
    """The issuing authority, where it is this process: its root, its key or the command that signs, its ledger."""

    certificate: str
    ledger: str
    key: str | None = None
    key_command: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    lifetime: Life = LIFETIME
    lists_every: Duration = LISTS_EVERY

    @model_validator(mode="after")
    def _one_key(self) -> AuthorityTable:
        if (self.key is None) == (not self.key_command):
            raise ValueError("write either key, a file, or key_command, what signs")
        return self


class EnrolmentTable(_Table):
    """The coordinator whose authority renews this one's certificates, where that is another process; see `[listen]`."""

    coordinator: Address
    name: Annotated[str, AfterValidator(_coordinator)] | None = None


class RevocationTable(_Table):
    """The list of revoked certificates; fetched from `[enrolment]` where there is one, else only read from `list`."""

    list: str
    every: Duration = timedelta(minutes=15)
    warn_after: Duration = WARN_AFTER
    refuse_after: Duration = REFUSE_AFTER
    refuse: bool = True

"""Configuration of signed questions: keys, persons, limits, modes of disclosure, the audit log, trials.

Limits may be tightened, never loosened: a value beyond the protocol's is refused. An agent answers signed questions
when it has both `[signing]` and `[orders]`; without them it starts only as a trial, and says so.
"""

from __future__ import annotations

import base64
import binascii
import enum
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from agent.gate import limits
from agent.gate.checks import AttestedNamings
from cdr_adapters.durations import parse_duration
from protos.identity import parse_provider_id
from protos.orders import MOST_HOPS, Persons
from protos.signing import KeyFormatError, PublicKey
from protos.types import WINDOW_CAP

SEALING_PREFIX: Final = "x25519:"


class Mode(enum.Enum):
    """How answers leave."""

    AUTOMATIC = "automatic"
    CAUTIOUS = "cautious"
    HELD = "held"
    DRY_RUN = "dry-run"


def _window(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= WINDOW_CAP:
        raise ValueError(f"must be more than 0s and at most the protocol's {WINDOW_CAP.total_seconds():.0f}s")
    return value


def _public_key(text: str) -> str:
    PublicKey.parse(text)
    return text


def _sealing_key(text: str) -> str:
    sealing_key(text)
    return text


def sealing_key(text: str) -> bytes:
    """The 32 bytes of an X25519 key in a text such as "x25519:hSDw...=".

    Raises:
        KeyFormatError: it holds none.
    """
    if text.startswith(SEALING_PREFIX):
        try:
            raw = base64.b64decode(text[len(SEALING_PREFIX) :], validate=True)
        except binascii.Error:
            raw = b""
        if len(raw) == 32:
            return raw
    raise KeyFormatError(f"write {SEALING_PREFIX!r} and the 32 bytes of the coordinator's sealing key in base64")


Name = Annotated[str, AfterValidator(parse_provider_id)]
Key = Annotated[str, AfterValidator(_public_key)]
SealingKey = Annotated[str, AfterValidator(_sealing_key)]
Window = Annotated[timedelta, BeforeValidator(parse_duration), AfterValidator(_window)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class SigningTable(_Table):
    """`[signing]`: the key with which answers are signed, and whose certificates count (default: `listen.roots`)."""

    key: Path = Field(examples=["birch-evidence.key"])
    certificate: Path = Field(examples=["birch-evidence.crt"])
    evidence_roots: Path | None = Field(default=None, examples=["evidence-ca.crt"])


class OrdersTable(_Table):
    """`[orders]`: whose orders and approvals count, and how many approvals there must be."""

    approvals: int = Field(default=1, ge=1, le=8)
    submitters: dict[Name, Key] = Field(min_length=1, examples=[{"ann": "ed25519:..."}])
    approvers: dict[Name, Key] = Field(min_length=1, examples=[{"bob": "ed25519:..."}])
    attested_namings: AttestedNamings = AttestedNamings.REVIEW

    def persons(self) -> Persons:
        """The pinned keys."""
        return Persons(_parsed(self.submitters), _parsed(self.approvers), self.approvals)


class LimitsTable(_Table):
    """`[limits]`: the most that is answered; see `agent.gate.limits`."""

    window: Window | None = None
    hop_limit: int = Field(default=MOST_HOPS, ge=1, le=MOST_HOPS)
    questions_per_day: int = Field(default=limits.QUESTIONS_PER_DAY, ge=1, le=limits.QUESTIONS_PER_DAY)
    seconds_per_number_per_day: int = Field(default=limits.SECONDS_PER_NUMBER, ge=1, le=limits.SECONDS_PER_NUMBER)
    questions_per_campaign_per_day: int = Field(
        default=limits.QUESTIONS_PER_CAMPAIGN, ge=1, le=limits.QUESTIONS_PER_CAMPAIGN
    )
    deny_list: Path | None = Field(default=None, examples=["deny.txt"])


class DisclosureTable(_Table):
    """`[disclosure]`: which answers leave by themselves, and the keys to which customers' identities are sealed."""

    mode: Mode = Mode.AUTOMATIC
    sealing_keys: dict[Name, SealingKey] = Field(default_factory=dict, examples=[{"lab": "x25519:..."}])


class AuditTable(_Table):
    """`[audit]`: where the audit log lies."""

    directory: Path = Path("audit")


class TrialTable(_Table):
    """`[trial]`: what only trials need."""

    unsigned_lookups: bool = False


def _parsed(keys: Mapping[str, str]) -> dict[str, PublicKey]:
    return {name: PublicKey.parse(text) for name, text in keys.items()}

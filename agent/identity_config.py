"""What the configuration says about this agent's certificates and how it is reached: `[dial_out]`, `[enrolment]`,
`[revocation]`.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cdr_adapters.durations import PositiveDuration
from protos.identity import coordinators_among
from protos.revocation import REFUSE_AFTER, WARN_AFTER

FETCH_EVERY: Final = timedelta(minutes=15)


def _reachable(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 65536:
        raise ValueError("write host:port, such as coordinator.example.net:7443")
    return text


def _coordinator(uri: str) -> str:
    if coordinators_among([uri]) != [uri]:
        raise ValueError("write the URI in the coordinator's certificate, such as hopback://coordinator/lab")
    return uri


Address = Annotated[str, AfterValidator(_reachable)]
CoordinatorUri = Annotated[str, AfterValidator(_coordinator)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DialOutTable(_Table):
    """`[dial_out]`: the coordinator that this agent calls, so as to open no port.

    `name` is who must answer there; it can be left out where `listen.coordinators` names one alone.
    """

    coordinator: Address = Field(examples=["coordinator.example.net:7443"])
    name: CoordinatorUri | None = Field(default=None, examples=["hopback://coordinator/lab"])


class EnrolmentTable(_Table):
    """`[enrolment]`: the coordinator that issues this agent's certificates.

    `coordinator` is its port for those with a certificate, where they are renewed; `first` the one for those who have
    none yet, which `hopback-agent enrol` calls. `name` as in `[dial_out]`.
    """

    coordinator: Address = Field(examples=["coordinator.example.net:7443"])
    first: Address | None = Field(default=None, examples=["coordinator.example.net:7444"])
    name: CoordinatorUri | None = Field(default=None, examples=["hopback://coordinator/lab"])
    renew: bool = True


class RevocationTable(_Table):
    """`[revocation]`: the list of certificates that no longer count.

    `list` is where it lies; it is read again every so often. With `fetch`, the agent gets it then from the coordinator
    in `[enrolment]` and keeps it there. Older than `warn_after` it is warned of; older than `refuse_after` nobody's
    questions are answered, unless `when_too_old` is "warn".
    """

    list: Path = Field(examples=["revoked.crl"])
    fetch: bool = True
    every: PositiveDuration = FETCH_EVERY
    warn_after: PositiveDuration = WARN_AFTER
    refuse_after: PositiveDuration = REFUSE_AFTER
    when_too_old: Annotated[str, Field(pattern="^(refuse|warn)$")] = "refuse"

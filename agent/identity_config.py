"""What the configuration says about this agent's certificates and how it is reached: `[dial_out]`, `[enrolment]`,
`[revocation]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

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


class Told(NamedTuple):
    """A mistake: at which key, and what to write instead."""

    where: str
    what: str


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
    when_too_old: Literal["refuse", "warn"] = "refuse"


def coordinator_of(table: DialOutTable | EnrolmentTable, coordinators: Sequence[str]) -> str:
    """The URI of the coordinator that must answer there; checked by `identity_mistakes`."""
    return table.name or coordinators[0]


def identity_mistakes(
    *,
    address: str | None,
    coordinators: Sequence[str],
    signs: bool,
    dial_out: DialOutTable | None,
    enrolment: EnrolmentTable | None,
    revocation: RevocationTable | None,
) -> list[Told]:
    """What is wrong between these tables and `[listen]`; `signs` says whether there is `[signing]`."""
    told = []
    if address is None and dial_out is None:
        told.append(Told("listen.address", "missing: write where to listen, or in [dial_out] whom to call"))
    for name, table in (("dial_out", dial_out), ("enrolment", enrolment)):
        if table is None:
            continue
        if table.name is None and len(coordinators) > 1:
            told.append(Told(f"{name}.name", f"missing: which of {', '.join(coordinators)} answers there?"))
        if table.name is not None and table.name not in coordinators:
            told.append(Told(f"{name}.name", f"{table.name} is not among listen.coordinators"))
    if enrolment is not None and not signs:
        told.append(Told("signing", "missing: enrolment gives a certificate for evidence, too; say where it lies"))
    if revocation is not None and revocation.fetch and enrolment is None:
        told.append(Told("revocation.fetch", "needs [enrolment]; with fetch = false only the file is read"))
    return told

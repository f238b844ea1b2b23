"""Who calls, and what that role may do: one table, which tests compare with the service's descriptor.

A caller is who its certificate says: one URI, `hopback://ROLE/NAME`. A provider's role follows from its certificate;
any other role counts only for names that the configuration lists under it. What a caller sees of what it may ask for is
the store's business (`coordinator.store.views`).
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from protos.identity import InvalidIdentityError, parse_provider_id

SERVICE: Final = "hopback.v1.TracebackService"
REPORTS: Final = "hopback.v1.ReportService"
REGISTRY: Final = "hopback.v1.RegistryService"
ORDERS: Final = "hopback.v1.OrderService"


class Role(enum.Enum):
    """What a caller is. Values stand in certificates' URIs."""

    REQUESTER = "requester"
    APPROVER = "approver"
    ANALYST = "analyst"
    PROVIDER = "provider"
    AUDITOR = "auditor"


ALLOWED: Final[Mapping[str, frozenset[Role]]] = {
    "Submit": frozenset({Role.REQUESTER, Role.ANALYST}),
    "Get": frozenset(Role),
    "List": frozenset(Role),
    "Watch": frozenset(Role),
    "Cancel": frozenset({Role.REQUESTER, Role.ANALYST}),
    "ListTasks": frozenset({Role.PROVIDER, Role.ANALYST, Role.AUDITOR}),
    "AnswerTask": frozenset({Role.PROVIDER, Role.ANALYST}),
    "MatchTask": frozenset({Role.ANALYST}),
    "ExportBundle": frozenset({Role.REQUESTER, Role.ANALYST, Role.AUDITOR}),
    "Transparency": frozenset({Role.REQUESTER, Role.ANALYST, Role.AUDITOR}),
    "Participants": frozenset({Role.ANALYST, Role.AUDITOR}),
    "Scorecards": frozenset({Role.PROVIDER, Role.ANALYST, Role.AUDITOR}),
    "ListProviders": frozenset({Role.REQUESTER, Role.ANALYST, Role.AUDITOR}),
    "GetProvider": frozenset({Role.PROVIDER, Role.ANALYST, Role.AUDITOR}),
    "SuggestProviders": frozenset({Role.REQUESTER, Role.ANALYST, Role.AUDITOR}),
    "ListProposals": frozenset({Role.ANALYST, Role.AUDITOR}),
    "ProposeChange": frozenset({Role.ANALYST}),
    "DecideProposal": frozenset({Role.ANALYST}),
    "DraftOrders": frozenset({Role.REQUESTER, Role.ANALYST}),
    "ListOrderSets": frozenset({Role.REQUESTER, Role.APPROVER, Role.ANALYST, Role.AUDITOR}),
    "GetOrderSet": frozenset({Role.REQUESTER, Role.APPROVER, Role.ANALYST, Role.AUDITOR}),
    "SignOrderSet": frozenset({Role.REQUESTER, Role.APPROVER}),
    "AttachIdentities": frozenset({Role.REQUESTER, Role.ANALYST}),
}
"""Which roles may call which method, of all services together; a method that is not here may be called by nobody."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A role and a name: the person of a requester or approver, the id of a provider."""

    role: Role
    name: str


def caller_of(uris: Iterable[str], listed: Mapping[Role, Collection[str]]) -> Caller | None:
    """Who calls, None when the certificate's URIs say nobody that this coordinator knows.

    `listed` are the names that count for each role but PROVIDER.
    """
    found = [caller for caller in map(_read, uris) if caller is not None]
    if len(found) != 1:
        return None  # nobody, or somebody who would like to be two
    (caller,) = found
    if caller.role is not Role.PROVIDER and caller.name not in listed.get(caller.role, ()):
        return None
    return caller


def caller_uri(role: Role, name: str) -> str:
    """The URI that a caller's certificate carries as subject alternative name.

    Raises:
        InvalidIdentityError: `name` doesn't have the form of a provider id.
    """
    return f"hopback://{role.value}/{parse_provider_id(name)}"


def caller_tls_name(role: Role, name: str) -> str:
    """The DNS name that stands beside it.

    Raises:
        InvalidIdentityError: as `caller_uri`.
    """
    return f"{parse_provider_id(name)}.{role.value}.hopback.internal"


def _read(uri: str) -> Caller | None:
    scheme, _, rest = uri.partition("://")
    kind, _, name = rest.partition("/")
    try:
        return Caller(Role(kind), parse_provider_id(name)) if scheme == "hopback" else None
    except (ValueError, InvalidIdentityError):
        return None

"""Who a party is: provider and coordinator ids, and the names that their certificates carry.

A certificate carries the id twice: as a URI (`hopback://provider/birch`), which the other side's software reads, and
as a DNS name (`birch.provider.hopback.internal`), because TLS clients check DNS names. Identity is always taken from
the certificate, never from a message. The id is an internal one; RMD numbers, FRNs and names are aliases of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NewType

ProviderId = NewType("ProviderId", str)
"""The internal id of a provider: lower case letters, digits and inner hyphens, 2 to 63 characters."""

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,61}[a-z0-9]", re.ASCII)
_PROVIDER_URI = "hopback://provider/"
_COORDINATOR_URI = "hopback://coordinator/"


class InvalidIdentityError(ValueError):
    """A text that should be an id or an identity URI is none."""


def parse_provider_id(text: str) -> ProviderId:
    """Return `text` as ProviderId.

    Raises:
        InvalidIdentityError: it breaks the form of an id.
    """
    if _ID.fullmatch(text) is None:
        raise InvalidIdentityError(
            f"{text!r} is no provider id: 2 to 63 lower case letters, digits and inner hyphens, such as 'birch-tel'"
        )
    return ProviderId(text)


def provider_uri(provider: ProviderId) -> str:
    """The URI that a provider's certificate carries as subject alternative name."""
    return _PROVIDER_URI + provider


def coordinator_uri(name: str) -> str:
    """The URI that a coordinator's certificate carries; `name` has the form of a provider id."""
    return _COORDINATOR_URI + parse_provider_id(name)


def provider_tls_name(provider: ProviderId) -> str:
    """The DNS name that a client pins when it connects to a provider's agent, wherever that listens."""
    return f"{provider}.provider.hopback.internal"


def coordinator_tls_name(name: str) -> str:
    """The DNS name of a coordinator's certificate."""
    return f"{name}.coordinator.hopback.internal"


def providers_among(uris: Iterable[str]) -> list[ProviderId]:
    """The providers whose URIs are among a certificate's subject alternative names."""
    ids = (uri[len(_PROVIDER_URI) :] for uri in uris if uri.startswith(_PROVIDER_URI))
    return [ProviderId(name) for name in ids if _ID.fullmatch(name)]


def coordinator_name(uri: str) -> str:
    """The name in a coordinator's URI.

    Raises:
        InvalidIdentityError: `uri` is none.
    """
    if coordinators_among([uri]) != [uri]:
        raise InvalidIdentityError(f"{uri!r} is no coordinator's URI such as hopback://coordinator/lab")
    return uri[len(_COORDINATOR_URI) :]


def coordinators_among(uris: Iterable[str]) -> list[str]:
    """The coordinator URIs among a certificate's subject alternative names."""
    return [uri for uri in uris if uri.startswith(_COORDINATOR_URI) and _ID.fullmatch(uri[len(_COORDINATOR_URI) :])]

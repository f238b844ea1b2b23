"""Which addresses in a capture are this provider's own: what tells ingress from egress.

Refuses an empty list. Nothing in a capture says for sure whose machine a packet belongs to, and a wrong guess would
name a customer as the upstream, or the provider itself.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator

_REMEMBERED = 1 << 16


class OwnAddressError(ValueError):
    """An entry of own_addresses is no address, network, or address with port, or there is no entry."""


class OwnAddresses:
    """Addresses (`198.51.100.60`), networks (`2001:db8::/64`), or one port of one (`127.0.0.1:5060`, `[::1]:5060`).

    Raises:
        OwnAddressError: an entry is none of these, or there is none.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        self._endpoints: set[tuple[str, int]] = set()
        self._known: dict[str, bool] = {}
        for entry in entries:
            try:
                self._add(entry)
            except ValueError:
                raise OwnAddressError(
                    f"{entry!r} is no IP address, network or address:port; write for example '198.51.100.60', "
                    "'2001:db8:c::/64' or '127.0.0.1:5060'"
                ) from None
        if not self._networks and not self._endpoints:
            raise OwnAddressError(
                "a capture shows both sides of every call, and only this provider's own signalling addresses tell "
                "which side a call came in on; write own_addresses = ['198.51.100.60']"
            )

    def _add(self, entry: str) -> None:
        host, colon, port = entry.rpartition(":")
        if colon and (host.startswith("[") or ":" not in host):
            number = int(port)
            if 0 < number < 1 << 16:
                self._endpoints.add((str(ipaddress.ip_address(host.strip("[]"))), number))
                return
        self._networks.append(ipaddress.ip_network(entry))

    def include(self, address: str, port: int) -> bool:
        """Whether this address and port are ours."""
        if (address, port) in self._endpoints:
            return True
        known = self._known.get(address)
        if known is None:
            try:
                ip = ipaddress.ip_address(address)
            except ValueError:
                return False
            known = any(ip in network for network in self._networks)
            if len(self._known) < _REMEMBERED:
                self._known[address] = known
        return known


def _checked(entries: tuple[str, ...]) -> tuple[str, ...]:
    if entries:
        OwnAddresses(entries)
    return entries


OwnOption = Annotated[tuple[str, ...], AfterValidator(_checked)]
"""The option `own_addresses` of a reader: what `OwnAddresses` takes, or nothing."""

"""IP addresses as switches write them, turned into canonical text.

Understood: text with a transport before (`udp:`), a SIP URI around, brackets, a port, an IPv6 zone index; 32-bit
integers, signed or not, lowest or highest byte first (Cisco CUCM writes the lowest byte first, as signed integer);
hexadecimal digits. Refused: host names; a name can mean another address tomorrow. The unspecified addresses (0.0.0.0
and ::) are what switches write for "none".
"""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Iterable
from functools import lru_cache

_TRANSPORT = re.compile(r"^(?:sips?|udp|tcp|tls|sctp|ws|wss):(?://)?", re.IGNORECASE)
_BRACKETED = re.compile(r"<([^<>]*)>")
_WITH_PORT = re.compile(r"\[(?P<six>[^\[\]]+)\](?::\d{1,5})?|(?P<four>[0-9.]+):\d{1,5}", re.ASCII)
_INTEGER = re.compile(r"-?[0-9]{1,10}", re.ASCII)
_HEX = re.compile(r"(?:0x)?([0-9a-f]{8}|[0-9a-f]{32})", re.ASCII | re.IGNORECASE)
_TEXT_LIMIT = 1024

NONE = ""
"""What stands for an address that says that there is none."""


def _shown(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return NONE if address.is_unspecified else str(address)


def _text(text: str) -> str | None:
    if (bracketed := _BRACKETED.search(text)) is not None:
        text = bracketed[1]
    bare = _TRANSPORT.sub("", _TRANSPORT.sub("", text.strip()))
    bare = bare.rpartition("@")[2].partition(";")[0]
    if (match := _WITH_PORT.fullmatch(bare)) is not None:
        bare = match["six"] or match["four"]
    try:
        return _shown(ipaddress.ip_address(bare.partition("%")[0]))
    except ValueError:
        return None


def _integer(text: str, kind: str) -> str | None:
    if _INTEGER.fullmatch(text) is None:
        return None
    number = int(text)
    signed = kind.startswith("signed_")
    if not (-(1 << 31) if signed else 0) <= number < (1 << 32):
        return None
    order = "<" if kind.endswith("_le") else ">"
    return _shown(ipaddress.IPv4Address(struct.pack(f"{order}I", number & 0xFFFFFFFF)))


def _hex(text: str) -> str | None:
    match = _HEX.fullmatch(text)
    return None if match is None else _shown(ipaddress.ip_address(bytes.fromhex(match[1])))


@lru_cache(maxsize=65536)
def canonical_address(text: str, kind: str = "auto") -> str | None:
    """The IP address in `text` in canonical form, without transport, brackets, port and zone index.

    `kind` is a format of `column_specs.AddressColumn`. An IPv4 address that a dual-stack socket wrote as IPv6
    (`::ffff:198.51.100.10`) is the IPv4 address. NONE for an unspecified address; None for what is no address.
    """
    text = text.strip()
    if len(text) > _TEXT_LIMIT:
        return None
    if kind == "auto":
        return _text(text)
    return _hex(text) if kind == "hex" else _integer(text, kind)


class Networks:
    """A set of networks, for the question whether an address lies in one of them."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = tuple(ipaddress.ip_network(network) for network in networks)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def hold(self, address: str | None) -> bool:
        """Whether the canonical address lies in one of them."""
        if not address:
            return False
        there = ipaddress.ip_address(address)
        return any(there in network for network in self._networks)

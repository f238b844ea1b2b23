"""IP addresses as switches write them, turned into canonical text.

Understood: a transport before (`udp:`), a SIP URI around, brackets, a port, an IPv6 zone index. Refused: host names;
a name can mean another address tomorrow.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

_TRANSPORT = re.compile(r"^(?:sips?|udp|tcp|tls|sctp|ws|wss):(?://)?", re.IGNORECASE)
_WITH_PORT = re.compile(r"\[(?P<six>[^\[\]]+)\](?::\d{1,5})?|(?P<four>[0-9.]+):\d{1,5}", re.ASCII)


@lru_cache(maxsize=65536)
def canonical_address(text: str) -> str | None:
    """The IP address in `text` in canonical form, without transport, brackets, port and zone index; None when none.

    An IPv4 address that a dual-stack socket wrote as IPv6 (`::ffff:198.51.100.10`) is the IPv4 address.
    """
    bare = _TRANSPORT.sub("", text.strip())
    bare = bare.rpartition("@")[2].partition(";")[0]
    if (match := _WITH_PORT.fullmatch(bare)) is not None:
        bare = match["six"] or match["four"]
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)

"""Rows of Oracle SBC local CDRs, built column by column after the accounting guides. All numbers are fictitious."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cdr_adapters.formats._acme_orders import ORDERS, Kind, Release

CALLED = "<sip:+12025550143@198.51.100.1:5060;user=phone>"
CALLING = "\"'EXAMPLE CALLER'<sip:12025550199@203.0.113.20:5060;user=phone>;tag=SDep01\""

_START = {
    "Acct-Status-Type": "1",
    "NAS-IP-Address": "198.51.100.1",
    "NAS-Port": "5060",
    "Acct-Session-Id": '"SDep01-0123456789abcdef"',
    "Acme-Session-Ingress-CallId": '"in-1@203.0.113.20"',
    "Acme-Session-Egress-CallId": '"out-1@198.51.100.2"',
    "Acme-Session-Protocol-Type": '"SIP"',
    "Calling-Station-Id": CALLING,
    "Called-Station-Id": CALLED,
    "h323-setup-time": '"15:54:56.868 PST NOV 20 2026"',
    "h323-connect-time": '"15:55:01.100 PST NOV 20 2026"',
    "Acme-Egress-Network-Interface-Id": '"M10"',
    "Acme-Egress-Vlan-Tag-Value": "0",
    "Acme-Ingress-Network-Interface-Id": '"M00"',
    "Acme-Ingress-Vlan-Tag-Value": "0",
    "Acme-Session-Egress-Realm": '"core"',
    "Acme-Session-Ingress-Realm": '"access"',
    "Acme-FlowID_FS1_F": '"localhost:65839"',
    "Acme-FlowType_FS1_F": '"PCMU"',
    "Acme-Flow-In-Realm_FS1_F": '"access"',
    "Acme-Flow-In-Src-Addr_FS1_F": "203.0.113.21",
    "Acme-Flow-In-Src-Port_FS1_F": "20000",
    "Acme-Flow-In-Dst-Addr_FS1_F": "198.51.100.1",
    "Acme-Flow-In-Dst-Port_FS1_F": "20002",
    "Acme-Flow-Out-Realm_FS1_F": '"core"',
    "Acme-Flow-Out-Src-Addr_FS1_F": "198.51.100.2",
    "Acme-Flow-Out-Src-Port_FS1_F": "20004",
    "Acme-Flow-Out-Dst-Addr_FS1_F": "192.0.2.31",
    "Acme-Flow-Out-Dst-Port_FS1_F": "20006",
    "Acme-Firmware-Version": '"CZ8.4.0"',
    "Acme-Local-Time-Zone": '"GMT-08:00"',
    "Acme-Post-Dial-Delay": "1200",
    "Acme-Primary-Routing-Number": '"sip:12025550143@192.0.2.30:5060;user=phone"',
    "Acme-Ingress-Local-Addr": '"198.51.100.1:5060"',
    "Acme-Ingress-Remote-Addr": '"203.0.113.20:5060"',
    "Acme-Egress-Local-Addr": '"198.51.100.2:5060"',
    "Acme-Egress-Remote-Addr": '"192.0.2.30:5060"',
    "Acme-CDR-Sequence-Number": "17",
}
_STOP = _START | {
    "Acct-Status-Type": "2",
    "Acct-Terminate-Cause": "1",
    "Acct-Session-Time": "30",
    "h323-disconnect-time": '"15:55:31.100 PST NOV 20 2026"',
    "h323-disconnect-cause": "16",
    "Acme-Session-Disposition": "3",
    "Acme-Disconnect-Initiator": "1",
    "Acme-Disconnect-Cause": "1",
    "Acme-SIP-Status": "200",
    "Acme-Egress-Final-Routing-Number": '"sip:12025550143@192.0.2.30:5060"',
}
VALUES: Mapping[Kind, Mapping[str, str]] = {
    "start": _START,
    "stop": _STOP,
    "interim": _START | {"Acct-Status-Type": "3"},
}

UNANSWERED = {
    "Acct-Session-Time": "0",
    "h323-connect-time": "",
    "Acme-Session-Disposition": "2",
    "Acme-SIP-Status": "487",
}


def fields(kind: Kind, order: Sequence[str], changes: Mapping[str, str] | None = None) -> list[str]:
    """The columns of one row; what has no value is empty."""
    values = {**VALUES[kind], **(changes or {})}
    return [values.get(name, "") for name in order]


def row(kind: Kind, release: Release = "C6.4", changes: Mapping[str, str] | None = None) -> str:
    """A row of a release whose order is known whole."""
    return ",".join(fields(kind, ORDERS[release, kind], changes))


def with_block(line: Sequence[str], before: str, block: Sequence[str]) -> list[str]:
    """A row into which a release put columns before the one that holds `before`."""
    at = line.index(before)
    return [*line[:at], *block, *line[at:]]

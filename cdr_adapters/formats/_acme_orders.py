"""The orders of columns in an Oracle (Acme Packet) SBC's local CDR that are known whole: release and kind of record.

After the accounting guides S-C6.1.0, S-C6.2.0, S-CX6.3.0, S-CX6.4.0 and S-D7.1.0, with cdr-output-inclusive enabled and
no vsa-id-range. Names are those of the RADIUS attributes; where a guide writes one with two hyphens, with one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal

Kind = Literal["start", "stop", "interim"]
Release = Literal["C6.1", "C6.2", "C6.3", "C6.4", "D7.1"]

SESSION: Final = (
    "Acct-Status-Type",
    "NAS-IP-Address",
    "NAS-Port",
    "Acct-Session-Id",
    "Acme-Session-Ingress-CallId",
    "Acme-Session-Egress-CallId",
)
_PROTOCOL: Final = ("Acme-Session-Protocol-Type", "Acme-Session-Forked-Call-Id", "Acme-Session-Generic-Id")
_PROTOCOL_C61: Final = ("Acme-Session-Protocol-Type", "Acme-Session-Generic-Id")
_PROTOCOL_D71: Final = ("Acme-Session-Forked-Call-Id", "Acme-Session-Protocol-Type", "Acme-Session-Generic-Id")
_STATIONS: Final = ("Calling-Station-Id", "Called-Station-Id")
_TIMES_START: Final = ("h323-setup-time", "h323-connect-time")
_TIMES_STOP: Final = (
    "Acct-Terminate-Cause",
    "Acct-Session-Time",
    *_TIMES_START,
    "h323-disconnect-time",
    "h323-disconnect-cause",
)
INTERFACES: Final = (
    "Acme-Egress-Network-Interface-Id",
    "Acme-Egress-Vlan-Tag-Value",
    "Acme-Ingress-Network-Interface-Id",
    "Acme-Ingress-Vlan-Tag-Value",
)
REALMS: Final = ("Acme-Session-Egress-Realm", "Acme-Session-Ingress-Realm")
AFTER_MEDIA: Final = (
    "Acme-Session-Charging-Vector",
    "Acme-Session-Charging-Function-Address",
    "Acme-Firmware-Version",
    "Acme-Local-Time-Zone",
    "Acme-Post-Dial-Delay",
    "Acme-Primary-Routing-Number",
    "Acme-Originating-Trunk-Group",
    "Acme-Terminating-Trunk-Group",
    "Acme-Originating-Trunk-Context",
    "Acme-Terminating-Trunk-Context",
    "Acme-P-Asserted-ID",
)
ADDRESSES: Final = (
    "Acme-Ingress-Local-Addr",
    "Acme-Ingress-Remote-Addr",
    "Acme-Egress-Local-Addr",
    "Acme-Egress-Remote-Addr",
)
ENDING: Final = (
    "Acme-Session-Disposition",
    "Acme-Disconnect-Initiator",
    "Acme-Disconnect-Cause",
    "Acme-SIP-Status",
)
ROUTING: Final = ("Acme-Egress-Final-Routing-Number", "Acme-Session-Ingress-RPH", "Acme-Session-Egress-RPH")
_REFER: Final = ("Acme-Refer-Call-Transfer-Id",)
_CUSTOM: Final = tuple(f"Acme-Custom-VSA-{number}" for number in range(200, 231))
_MEDIA_STOP: Final = tuple(
    f"Acme-Flow-{side}-Media-Stop-Time_{flow}" for flow in ("FS1", "FS2") for side in ("Calling", "Called")
)
_SEQUENCE: Final = ("Acme-CDR-Sequence-Number",)


def _flow(flow: str, media_type: bool) -> Iterator[str]:
    yield f"Acme-FlowID_{flow}"
    yield f"Acme-FlowType_{flow}"
    if media_type:
        yield f"Acme-FlowMediaType_{flow}"
        yield f"Acme-Flow-PTime_{flow}"
    for way in ("In", "Out"):
        yield f"Acme-Flow-{way}-Realm_{flow}"
        for end in ("Src", "Dst"):
            yield f"Acme-Flow-{way}-{end}-Addr_{flow}"
            yield f"Acme-Flow-{way}-{end}-Port_{flow}"


def _quality(side: str, flow: str) -> Iterator[str]:
    for part in ("RTCP-Packets-Lost", "RTCP-Avg-Jitter", "RTCP-Avg-Latency", "RTCP-MaxJitter", "RTCP-MaxLatency"):
        yield f"Acme-{side}-{part}_{flow}"
    for part in ("RTP-Packets-Lost", "RTP-Avg-Jitter", "RTP-MaxJitter", "Octets", "Packets"):
        yield f"Acme-{side}-{part}_{flow}"
    if flow == "FS1":
        yield f"Acme-{side}-R-Factor"
        yield f"Acme-{side}-MOS"


def _flows(quality: bool, media_type: bool = False) -> Iterator[str]:
    for flow in ("FS1", "FS2"):
        for way, side in (("F", "Calling"), ("R", "Called")):
            yield from _flow(f"{flow}_{way}", media_type)
            if quality:
                yield from _quality(side, flow)


def _stop(release: Release) -> tuple[str, ...]:
    return (
        *SESSION,
        *(_PROTOCOL_C61 if release == "C6.1" else _PROTOCOL),
        *_STATIONS,
        *_TIMES_STOP,
        *INTERFACES,
        *REALMS,
        *_flows(quality=True),
        *AFTER_MEDIA,
        *ADDRESSES,
        "Acme-SIP-Diversion",
        *ENDING,
        *ROUTING,
        *_REFER,
        *_CUSTOM,
        *(_MEDIA_STOP if release in ("C6.3", "C6.4") else ()),
        *(() if release == "C6.1" else _SEQUENCE),
    )


def _start(release: Release) -> tuple[str, ...]:
    newer = release == "D7.1"
    return (
        *SESSION,
        *(_PROTOCOL_D71 if newer else _PROTOCOL),
        *_STATIONS,
        *_TIMES_START,
        *INTERFACES,
        *REALMS,
        *(("Acme-Session-Media-Process",) if newer else ()),
        *_flows(quality=False, media_type=newer),
        *AFTER_MEDIA,
        *ADDRESSES,
        "Acme-SIP-Diversion",
        *ROUTING,
        *_CUSTOM,
        *(() if newer else _MEDIA_STOP),
        *_SEQUENCE,
    )


ORDERS: Final[Mapping[tuple[Release, Kind], tuple[str, ...]]] = {
    ("C6.1", "stop"): _stop("C6.1"),
    ("C6.2", "stop"): _stop("C6.2"),
    ("C6.3", "stop"): _stop("C6.3"),
    ("C6.4", "stop"): _stop("C6.4"),
    ("C6.4", "start"): _start("C6.4"),
    ("D7.1", "start"): _start("D7.1"),
}
"""The orders that are known whole; of other releases and kinds, a row's shape says what is where."""

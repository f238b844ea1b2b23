"""Cisco voice gateways and CUBE: file accounting (`gw-accounting file`), detailed and compact template.

After "CDR Accounting for Cisco IOS Voice Gateways", chapter "Configuring File Accounting" (IOS 12.4(20)T to IOS XE
17.9): no header, a fixed order of attributes, one row for each leg and each feature that is invoked on it. The first 23
attributes are those of the compact template; the detailed one goes on to 130. Columns have the attributes' names.

`h323-call-origin` says which leg a row is: `answer` the incoming one, `originate` the outgoing one. What the gateway
was sent and by whom stands in rows of the first kind only: see `sides` for the columns `incoming:...` and
`outgoing:...`. No attribute holds the signalling address of the peer (`remote-media-address` is where the media came
from, which may be someone else): the ingress is the trunk group's label, else the dial peer (`peer-id`, detailed
template only).

Times are `HH:MM:SS.mmm ZZZ Www Mmm dd yyyy`, before them `*` when the clock was never set and `.` when it had lost its
server; an abbreviation that has more than one meaning needs `abbreviations` in the mapping.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cdr_adapters import presets, raw
from cdr_adapters.sides import INCOMING, OUTGOING, Sides

SUMMARY = "Cisco CUBE and voice gateways: file accounting, detailed and compact"
GRADE = raw.Grade.DOCUMENTATION
Options = presets.PositionalOptions


def _words(text: str) -> list[str]:
    return text.split()


_COMPACT = _words("""
    unix_time call-id cdr-type leg-type h323-conf-id peer-address peer-sub-address h323-setup-time alert-time
    h323-connect-time h323-disconnect-time h323-disconnect-cause disconnect-text h323-call-origin charged-units
    info-type paks-out bytes-out paks-in bytes-in username clid dnis
""")
_DETAILED = _words("""
    gtd-orig-cic gtd-term-cic tx-duration peer-id peer-if-index logical-if-index acom-level noise-level
    voice-tx-duration account-code codec-bytes codec-type-rate ontime-rv-playout remote-udp-port remote-media-udp-port
    vad-enable receive-delay round-trip-delay hiwater-playout-delay lowater-playout-delay gapfill-with-interpolation
    gapfill-with-redundancy gapfill-with-silence gapfill-with-prediction early-packets late-packets lost-packets
    max-bitrate faxrelay-start-time faxrelay-stop-time faxrelay-max-jit-buf-depth faxrelay-jit-buf-ovflow
    faxrelay-init-hs-mod faxrelay-mr-hs-mod faxrelay-num-pages faxrelay-tx-packets faxrelay-rx-packets
    faxrelay-direction faxrelay-pkt-conceal faxrelay-ecm-status faxrelay-encap-protocol faxrelay-nsf-country-code
    faxrelay-nsf-manuf-code faxrelay-fax-success override-session-time h323-ivr-out internal-error-code
    h323-voice-quality remote-media-address remote-media-id carrier-id calling-party-category originating-line-info
    charge-number transmission-medium-req service-descriptor outgoing-area incoming-area out-trunkgroup-label
    out-carrier-id dsp-id in-trunkgroup-label in-carrier-id cust-biz-grp-id supp-svc-xfer-by voice-feature
    feature-operation feature-op-status feature-op-time feature-id gw-rxd-cdn gw-rxd-cgn gtd-gw-rxd-ocn
    gtd-gw-rxd-cnn gw-rxd-rdn gw-final-xlated-cdn gw-final-xlated-cgn gw-final-xlated-rdn gk-xlated-cdn gk-xlated-cgn
    gw-collected-cdn ip-hop redirected-station subscriber in-intrfc-desc out-intrfc-desc session-protocol
    local-hostname backward-call-id
""")
NAMES = (*_COMPACT, *_DETAILED)

_FEWEST_DETAILED = 100
_EPOCH = re.compile(r"[0-9]{9,10}", re.ASCII)
_SETUP = re.compile(r"[.*]?[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})? \S{1,8} [A-Z][a-z]{2} .{8,}", re.ASCII)
_ORIGINS = {"answer": INCOMING, "originate": OUTGOING}
_SIDES = Sides("h323-call-origin", _ORIGINS)


def _prove(at: Mapping[str, int]) -> presets.Check:
    time, leg, setup, origin = at["unix_time"], at["leg-type"], at["h323-setup-time"], at["h323-call-origin"]

    def check(values: Sequence[str]) -> str | None:
        if _EPOCH.fullmatch(values[time]) is None or values[leg] not in ("1", "2", "3", "4", "5"):
            return f"no system time and leg type in columns {time + 1} and {leg + 1}: is this file accounting?"
        if _SETUP.fullmatch(values[setup]) is None:
            return f"no setup time in column {setup + 1}: give the template's columns with the option names"
        if values[origin].lower() not in (*_ORIGINS, "callback", ""):
            return f"no call origin in column {origin + 1}: give the template's columns with the option names"
        return None

    return check


class _Template(presets.Positional):
    def split(self, line: str) -> list[str] | None:
        """The attributes; of the compact template without the feature's own fields, which follow in its other order."""
        values = super().split(line)
        return values if values is None or len(values) >= _FEWEST_DETAILED else values[: len(_COMPACT)]


_LAYOUT = _Template(NAMES, at_least=len(_COMPACT), prove=_prove)
identify = _LAYOUT.identify


def read(path: Path, options: presets.PositionalOptions, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    for batch in _LAYOUT.read(path, options, _SIDES.needed(columns)):
        found = _SIDES.split(batch.columns, columns)
        yield replace(batch, columns=found, header=(*(batch.header or ()), *found.schema.names))


def _time(column: str) -> dict[str, Any]:
    return {
        "column": column,
        "pattern": "^[.*]?([0-9].*)$",
        "format": ["%H:%M:%S.%f %Z %a %b %d %Y", "%H:%M:%S %Z %a %b %d %Y"],
    }


COLUMNS: dict[str, Any] = {
    "called_in": ["incoming:dnis", "unsaid:dnis"],
    "called_out": "outgoing:dnis",
    "calling": "clid",
    "seizure": _time("h323-setup-time"),
    "answer": _time("h323-connect-time"),
    "release": _time("h323-disconnect-time"),
    "ingress_trunk": ["in-trunkgroup-label", "incoming:peer-id"],
    "egress_trunk": ["out-trunkgroup-label", "outgoing:peer-id"],
    "call_id": "h323-conf-id",
    "leg": "h323-call-origin",
}

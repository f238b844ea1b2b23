"""Cisco Unified Communications Manager: call detail record (CDR) files; call management record (CMR) files are refused.

After "Call Detail Records Administration Guide for Cisco Unified Communications Manager" (releases 6 to 14). Line 1
names the columns, which releases add to and reorder, line 2 their types; columns are read by name. Times are seconds
since 1970, UTC; 0 is none. Addresses of the columns `origIpAddr` and `destIpAddr` are signed integers whose lowest byte
comes first; `origIpv4v6Addr` and `destIpv4v6Addr` are text: `originAddress` and `destinationAddress` give what there is
as text. A call has several rows when it was forwarded, transferred or put into a conference: they share the global
call id. Calls that failed have rows too; those of no duration only when the cluster logs them.

CMR files (`cdrRecordType` 2) hold the quality of media streams: no called number, no upstream. They are recognised, so
that they can be refused with that reason.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters import presets, raw
from cdr_adapters.addresses import canonical_address

SUMMARY = "Cisco CUCM CDR files (CMR files: refused, they hold no calls)"
GRADE = raw.Grade.DOCUMENTATION
Options = presets.Options

_CMR = "this is a CMR file: quality of media streams, no called numbers and no upstream; give the cluster's CDR files"
_TYPES = ("INTEGER", "VARCHAR", "UNIQUEIDENTIFIER", "CHAR", "BIGINT", "SMALLINT", "NVARCHAR", "DATETIME", "FLOAT")
_GLOBAL_ID = ("globalCallID_callManagerId", "globalCallID_callId", "globalCallId_ClusterID")


def _are_types(values: list[str]) -> bool:
    return len(values) > 1 and all(value.strip().partition("(")[0].upper() in _TYPES for value in values)


def _address(text: pa.StringArray, number: pa.StringArray) -> pa.StringArray:
    """An address as text: as the release writes it as text, else from its integer (or what stands in its place)."""
    encoded = number.dictionary_encode()
    decoded = [canonical_address(value, "signed_int_le") for value in encoded.dictionary.to_pylist()]
    shown = [
        value if address is None else address
        for value, address in zip(encoded.dictionary.to_pylist(), decoded, strict=True)
    ]
    from_number = pa.array(shown, pa.string()).take(encoded.indices)
    return pc.coalesce(pc.if_else(pc.equal(text, ""), pa.nulls(1, pa.string())[0], text), from_number)


_FORMAT = presets.Headed(
    ("cdrRecordType", "globalCallID_callId", ("dateTimeOrigination", "dateTimeStamp")),
    (
        "cdrRecordType",
        *_GLOBAL_ID,
        "dateTimeOrigination",
        "dateTimeConnect",
        "dateTimeDisconnect",
        "duration",
        "callingPartyNumber",
        "originalCalledPartyNumber",
        "finalCalledPartyNumber",
        "outpulsedCalledPartyNumber",
        "origDeviceName",
        "destDeviceName",
        "origIpAddr",
        "destIpAddr",
        "origIpv4v6Addr",
        "destIpv4v6Addr",
        "origCause_value",
        "destCause_value",
        "incomingProtocolCallRef",
        "outgoingProtocolCallRef",
    ),
    refused={"numberPacketsSent": _CMR, "dateTimeStamp": _CMR},
    derived={
        "originAddress": presets.Derived(("origIpv4v6Addr", "origIpAddr"), _address),
        "destinationAddress": presets.Derived(("destIpv4v6Addr", "destIpAddr"), _address),
    },
    below=_are_types,
)
identify = _FORMAT.identify
read = _FORMAT.read

WHERE = {"cdrRecordType": "1"}
COLUMNS: dict[str, Any] = {
    "called_in": "originalCalledPartyNumber",
    "called_out": ["outpulsedCalledPartyNumber", "finalCalledPartyNumber"],
    "calling": "callingPartyNumber",
    "seizure": {"column": "dateTimeOrigination", "format": "epoch_s"},
    "answer": {"column": "dateTimeConnect", "format": "epoch_s"},
    "release": {"column": "dateTimeDisconnect", "format": "epoch_s"},
    "ingress_trunk": "origDeviceName",
    "ingress_address": {"column": "originAddress", "bad": "null"},
    "egress_trunk": "destDeviceName",
    "egress_address": {"column": "destinationAddress", "bad": "null"},
    "call_id": {"column": _GLOBAL_ID, "join": ":"},
    "disposition": {"column": "dateTimeConnect", "values": {"0": "unanswered", "": "", "*": "answered"}},
}

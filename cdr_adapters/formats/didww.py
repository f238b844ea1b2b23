"""DIDWW call detail records: the CSV files of its exports, inbound and outbound.

After "Get CSV File of CDR Export" (API 2017-09-18) and "Get CSV File of Export" (API 2026-04-16 and 2026-11-19;
doc.didww.com), whose column names differ; times are UTC, as the header says. `DID` is the number that was called;
`Destination` is where the customer had the call sent, often a SIP address.

This is the customer's view of DIDWW: whoever sent the call to DIDWW isn't in it. The outcome is "upstream not
recorded"; no trunk or address is mapped.
"""

from __future__ import annotations

from typing import Any

from cdr_adapters import presets, raw

SUMMARY = "DIDWW CDR exports (CSV); no upstream recorded"
GRADE = raw.Grade.DOCUMENTATION
Options = presets.Options

_START = ("Date/Time Start (UTC)", "Time Start (UTC)", "Date/Time (UTC)")
_KNOWN = (
    *_START,
    "Date/Time Connect (UTC)",
    "Date/Time End (UTC)",
    "Source",
    "Source Number",
    "CLI",
    "DID",
    "Destination DID",
    "Destination",
    "Destination Number",
    "Call ID",
    "Disconnect Code",
)
_FORMAT = presets.Headed(
    (_START, ("Source", "Source Number"), ("DID", "Destination DID", "Destination Number", "CLI"), "Disconnect Code"),
    _KNOWN,
)
identify = _FORMAT.identify
read = _FORMAT.read

ZONE = "UTC"

COLUMNS: dict[str, Any] = {
    "called_in": ["DID", "Destination DID", "Destination Number", "Destination"],
    "calling": ["Source Number", "CLI", "Source"],
    "seizure": {"column": _START, "format": "iso8601"},
    "answer": {"column": "Date/Time Connect (UTC)", "format": "iso8601"},
    "release": {"column": "Date/Time End (UTC)", "format": "iso8601"},
    "call_id": "Call ID",
    "disposition": {
        "column": "Disconnect Code",
        "values": {
            "200": "answered",
            "480": "unanswered",
            "486": "unanswered",
            "487": "unanswered",
            "*": "failed",
            "": "",
        },
    },
}

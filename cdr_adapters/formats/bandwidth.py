"""Bandwidth voice records: billing detail records (BDR) as CSV, calls of the Insights API as JSON or CSV.

After "Billing Detail Record (BDR) field descriptions" (support.bandwidth.com: all times UTC, written like
`2015/09/12 10:03:05 AM`) and the Insights API v1, `/voice/calls` (ISO 8601, UTC). A BDR has a time for billed calls
only, and doesn't say whether it is of setup or of answer: it is taken as the answer, so that the setup lies before it.

This is the customer's view of Bandwidth: `SourceIP` is the customer's own gateway on calls sent to Bandwidth and
Bandwidth's on calls received. Whoever sent the call to Bandwidth isn't in it; no trunk or address is mapped.
"""

from __future__ import annotations

from typing import Any

from cdr_adapters import presets, raw
from cdr_adapters.json_exports import Either, JsonExport

SUMMARY = "Bandwidth: billing detail records, Insights voice calls; no upstream recorded"
GRADE = raw.Grade.DOCUMENTATION
Options = presets.Options

_KNOWN = (
    "CallStartDateTime",
    "CallEndDateTime",
    "CallSource",
    "CallDestination",
    "CallType",
    "CallID",
    "BdrID",
    "LRN",
    "Duration",
    "startTime",
    "endTime",
    "callingNumber",
    "calledNumber",
    "callDirection",
    "callResult",
    "sipResponseCode",
    "attestationIndicator",
)
_FORMAT = Either(
    presets.Headed(
        (
            ("CallDestination", "calledNumber"),
            ("CallSource", "callingNumber"),
            ("CallStartDateTime", "startTime"),
            ("BdrID", "PerMinRate", "callResult", "subAccountName", "attestationIndicator"),
        ),
        _KNOWN,
    ),
    JsonExport(("callId", "calledNumber", "callingNumber", "startTime"), lists=("data", "calls"), known=_KNOWN),
)
identify = _FORMAT.identify
read = _FORMAT.read

ZONE = "UTC"
_FORMATS = ["%Y/%m/%d %I:%M:%S %p", "%m/%d/%Y %I:%M:%S %p", "iso8601"]

COLUMNS: dict[str, Any] = {
    "called_in": ["calledNumber", "CallDestination"],
    "calling": ["callingNumber", "CallSource"],
    "seizure": {"column": "startTime", "format": _FORMATS},
    "answer": {"column": "CallStartDateTime", "format": _FORMATS},
    "release": {"column": ["endTime", "CallEndDateTime"], "format": _FORMATS},
    "call_id": "CallID",
    "leg": ["callDirection", "CallType"],
    "disposition": {
        "column": "callResult",
        "values": {
            "completed": "answered",
            "answered": "answered",
            "busy": "unanswered",
            "no-answer": "unanswered",
            "noAnswer": "unanswered",
            "cancelled": "unanswered",
            "canceled": "unanswered",
            "failed": "failed",
        },
    },
    "attestation": "attestationIndicator",
}

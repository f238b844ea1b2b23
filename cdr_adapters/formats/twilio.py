"""Twilio call logs: the Call resource of its API as JSON or CSV, and the console's export.

After "Call Resource" (API 2010-04-01, twilio.com/docs/voice/api/call-resource). A leg that a call made (`<Dial>`) is a
row of its own and names the first by `parent_call_sid`. `start_time` is when the leg was dialled, GMT in RFC 2822
form, empty for one that never was: then `date_created` counts.

This is the customer's view of Twilio: whoever sent the call to Twilio isn't in it. The outcome is "upstream not
recorded"; no trunk or address is mapped.
"""

from __future__ import annotations

from typing import Any

from cdr_adapters import presets, raw
from cdr_adapters.json_exports import Either, JsonExport

SUMMARY = "Twilio call logs: API JSON or CSV, console export; no upstream recorded"
GRADE = raw.Grade.DOCUMENTATION
Options = presets.Options

_KNOWN = (
    "sid",
    "parent_call_sid",
    "date_created",
    "from",
    "to",
    "direction",
    "status",
    "start_time",
    "end_time",
    "duration",
    "account_sid",
    "trunk_sid",
    "forwarded_from",
    "call_sid",
)
_SIGNATURE = (
    ("sid", "call_sid"),
    "from",
    "to",
    "direction",
    "status",
    ("start_time", "date_created"),
    ("account_sid", "parent_call_sid", "phone_number_sid", "trunk_sid", "call_sid", "price"),
)
_FORMAT = Either(presets.Headed(_SIGNATURE, _KNOWN), JsonExport(_SIGNATURE, lists=("calls",), known=_KNOWN))
identify = _FORMAT.identify
read = _FORMAT.read

_FORMATS = ["%a, %d %b %Y %H:%M:%S %z", "iso8601", "%H:%M:%S %Z %Y-%m-%d"]

COLUMNS: dict[str, Any] = {
    "called_in": "to",
    "calling": "from",
    "seizure": {"column": ["start_time", "date_created"], "format": _FORMATS},
    "release": {"column": "end_time", "format": _FORMATS},
    "call_id": ["parent_call_sid", "sid", "call_sid"],
    "leg": "direction",
    "disposition": {
        "column": "status",
        "values": {
            "completed": "answered",
            "in-progress": "answered",
            "no-answer": "unanswered",
            "canceled": "unanswered",
            "busy": "unanswered",
            "failed": "failed",
        },
    },
}

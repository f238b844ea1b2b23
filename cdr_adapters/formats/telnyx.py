"""Telnyx call detail records: detail records of its API as JSON, CDR reports as CSV.

After "Detail records" (`record_type` sip-trunking and call-control: cli, cld, started_at, finished_at) and
"Understanding Telnyx CDR" (developers.telnyx.com, support.telnyx.com). The columns of a report are the customer's
choice, so that several names stand for one thing. Times are UTC where they say so (ISO 8601); a report whose times
don't say their zone needs the source's `zone`, because the zone of a report can be chosen too.

This is the customer's view of Telnyx: whoever sent the call to Telnyx isn't in it. The outcome is "upstream not
recorded"; the connection is the customer's own, and is not mapped.
"""

from __future__ import annotations

from typing import Any

from cdr_adapters import presets, raw
from cdr_adapters.json_exports import Either, JsonExport

SUMMARY = "Telnyx: detail records (JSON), CDR reports (CSV); no upstream recorded"
GRADE = raw.Grade.DOCUMENTATION
Options = presets.Options

_CALLED = ("cld", "Destination Number", "Terminating Number", "Called Number")
_CALLING = ("cli", "Originating Number", "Origination Number", "Calling Number")
_START = ("started_at", "Start Timestamp", "Start Timestamp (UTC)", "Start Time")
_ANSWER = ("answered_at", "Answer Timestamp", "Answer Timestamp (UTC)", "Answer Time")
_END = ("finished_at", "Finish Timestamp", "Finish Timestamp (UTC)", "End Timestamp", "End Timestamp (UTC)", "End Time")
_IDS = ("telnyx_session_id", "call_session_id", "sip_call_id", "Call UUID", "Session ID", "id", "uuid")
_KNOWN = (*_CALLED, *_CALLING, *_START, *_ANSWER, *_END, *_IDS, "direction", "record_type", "hangup_cause")
_FORMAT = Either(
    presets.Headed(
        (
            _CALLED,
            _CALLING,
            (*_START, *_ANSWER),
            ("connection_id", "connection_name", "billing_group", "billing_group_id", "telnyx_session_id"),
        ),
        _KNOWN,
    ),
    JsonExport(("cld", "cli", "started_at", "record_type"), lists=("data",), known=_KNOWN),
)
identify = _FORMAT.identify
read = _FORMAT.read

_FORMATS = ["iso8601", "epoch_s"]

COLUMNS: dict[str, Any] = {
    "called_in": _CALLED,
    "calling": _CALLING,
    "seizure": {"column": _START, "format": _FORMATS},
    "answer": {"column": _ANSWER, "format": _FORMATS},
    "release": {"column": _END, "format": _FORMATS},
    "call_id": _IDS,
    "leg": "direction",
}

"""Microsoft Teams direct routing: rows of the Graph API (JSON) and of the admin centre's PSTN usage report (CSV).

After "directRoutingLogRow" (Microsoft Graph v1.0 and beta, getDirectRoutingCalls) and "Microsoft Teams PSTN usage
report" (learn.microsoft.com). Times are UTC, ISO 8601; `0001-01-01T00:00:00Z` is none. By the tenant's privacy setting
the last digits of outside numbers are masked (`+1202555****`): such a called number can't be matched, and its row is
rejected.

The row names the tenant's own session border controller (`trunkFullyQualifiedDomainName`, "SBC FQDN"), never the
carrier behind it. The outcome is "upstream not recorded"; the border controller's own records have it.
"""

from __future__ import annotations

from typing import Any

from cdr_adapters import presets, raw
from cdr_adapters.json_exports import Either, JsonExport

SUMMARY = "Microsoft Teams direct routing: Graph JSON, PSTN usage CSV; no upstream recorded"
GRADE = raw.Grade.DOCUMENTATION
Options = presets.Options

_CALLED = ("calleeNumber", "Callee Number", "Destination Number", "To", "Callee")
_CALLING = ("callerNumber", "Source Number", "From", "Caller")
_INVITE = ("inviteDateTime", "Invite Time", "Invite Time (UTC)")
_START = ("startDateTime", "Start Time", "Start Time (UTC)")
_END = ("endDateTime", "End Time", "End Time (UTC)")
_FAILURE = ("failureDateTime", "Failure Time", "Failure Time (UTC)")
_SBC = ("trunkFullyQualifiedDomainName", "SBC FQDN", "SBC")
_KNOWN = (*_CALLED, *_CALLING, *_INVITE, *_START, *_END, *_FAILURE, *_SBC)
_MORE = ("correlationId", "Shared Correlation Id", "callType", "successfulCall", "finalSipCode", "Final SIP Code")
_FORMAT = Either(
    presets.Headed((_CALLED, _INVITE, _SBC, ("callType", "correlationId")), (*_KNOWN, *_MORE)),
    JsonExport(
        ("calleeNumber", "inviteDateTime", "callType", "trunkFullyQualifiedDomainName"),
        lists=("value",),
        known=(*_KNOWN, *_MORE),
    ),
)
identify = _FORMAT.identify
read = _FORMAT.read

COLUMNS: dict[str, Any] = {
    "called_in": _CALLED,
    "calling": _CALLING,
    "seizure": {"column": _INVITE, "format": "iso8601"},
    "answer": {"column": _START, "format": "iso8601"},
    "release": {
        # of both the one that isn't the year 1
        "column": [*_END, *_FAILURE],
        "join": "|",
        "pattern": r"([12]\d{3}-[^|]+)",
        "format": "iso8601",
    },
    "call_id": "correlationId",
    "leg": "callType",
    "disposition": {
        "column": ["successfulCall", "finalSipCode", "Final SIP Code"],
        "values": {
            "true": "answered",
            "false": "failed",
            "0": "answered",
            "200": "answered",
            "480": "unanswered",
            "486": "unanswered",
            "487": "unanswered",
            "600": "unanswered",
            "*": "failed",
        },
    },
}

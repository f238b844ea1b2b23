"""NetSapiens (SNAPsolution) call detail records: the fields of its API, versions 1 and 2, with a header or as JSON.

After "CDR Field Mappings" (docs.ns-api.com, v44): version 2 writes `call-orig-ip-address`, version 1 `orig_ip`.
`call-orig-request-user` is the user part of the request as received, `call-term-to-uri` where it was sent. Version 1
writes times without a zone: such rows need the source's `zone`. Calls between two own subscribers, and inbound calls,
may be exported twice, from either end; both carry the same ids.

The older export of a portal, one row a call with "local" and "remote" party, says neither the upstream nor which
number was dialled at which end: read it as `delimited` with a mapping.
"""

from __future__ import annotations

from typing import Any

from cdr_adapters import presets, raw
from cdr_adapters.json_exports import Either, JsonExport

SUMMARY = "NetSapiens: CDR fields of the API v1 and v2, with a header or as JSON"
GRADE = raw.Grade.DOCUMENTATION
Options = presets.Options

_KNOWN = (
    "call-start-datetime",
    "call-answer-datetime",
    "call-disconnect-datetime",
    "call-orig-request-user",
    "call-orig-request-uri",
    "call-orig-to-user",
    "call-orig-from-user",
    "call-orig-ip-address",
    "call-orig-match-uri",
    "call-orig-call-id",
    "call-term-to-uri",
    "call-term-ip-address",
    "call-term-match-uri",
    "call-term-call-id",
    "time_start",
    "time_answer",
    "time_release",
    "orig_req_user",
    "orig_req_uri",
    "orig_to_user",
    "orig_from_user",
    "orig_ip",
    "orig_match",
    "orig_callid",
    "term_to_uri",
    "term_ip",
    "term_match",
    "term_callid",
)
_SIGNATURE = (
    ("call-orig-call-id", "orig_callid"),
    ("call-start-datetime", "time_start"),
    ("call-orig-ip-address", "call-orig-match-uri", "call-orig-request-user", "orig_ip", "orig_match", "orig_req_user"),
)
_FORMAT = Either(presets.Headed(_SIGNATURE, _KNOWN), JsonExport(_SIGNATURE, lists=("data", "cdrs"), known=_KNOWN))
identify = _FORMAT.identify
read = _FORMAT.read

_FORMATS = ["epoch_s", "iso8601"]

COLUMNS: dict[str, Any] = {
    "called_in": [
        "call-orig-request-user",
        "orig_req_user",
        "call-orig-request-uri",
        "orig_req_uri",
        "call-orig-to-user",
        "orig_to_user",
    ],
    "called_out": ["call-term-to-uri", "term_to_uri"],
    "calling": ["call-orig-from-user", "orig_from_user"],
    "seizure": {"column": ["call-start-datetime", "time_start"], "format": _FORMATS},
    "answer": {"column": ["call-answer-datetime", "time_answer"], "format": _FORMATS},
    "release": {"column": ["call-disconnect-datetime", "time_release"], "format": _FORMATS},
    "ingress_trunk": ["call-orig-match-uri", "orig_match"],
    "ingress_address": {"column": ["call-orig-ip-address", "orig_ip"], "bad": "null"},
    "egress_trunk": ["call-term-match-uri", "term_match"],
    "egress_address": {"column": ["call-term-ip-address", "term_ip"], "bad": "null"},
    "call_id": ["call-orig-call-id", "orig_callid"],
}

"""Sippy Softswitch call detail records: the columns of its `cdrs` table and API as a table with a header or JSON.

Columns are named as in the database and in the XML-RPC API `getAccountCDRs` (support.sippysoft.com): `cld_in` and
`cli_in` as received, `cld` and `cli` after translation, `remote_ip` the caller's signalling address, `i_account` the
account that the call came in on, `result` 0 or minus the Q.850 cause. Times are `HH:MM:SS.mmm GMT Www Mmm dd yyyy`
(API) or the database's; those without a zone need the source's `zone`.

Rows of `cdrs_connections`, one for each vendor tried, have the vendor's address in the same column: they are refused,
because as upstream it would be wrong. A mapping over `delimited` may read them as egress.
"""

from __future__ import annotations

from typing import Any

from cdr_adapters import presets, raw
from cdr_adapters.json_exports import Either, JsonExport

SUMMARY = "Sippy Softswitch: cdrs table and API, with a header or as JSON"
GRADE = raw.Grade.DOCUMENTATION
Options = presets.Options

_KNOWN = (
    "i_cdr",
    "i_call",
    "i_account",
    "account",
    "cli",
    "cld",
    "cli_in",
    "cld_in",
    "setup_time",
    "connect_time",
    "disconnect_time",
    "duration",
    "billed_duration",
    "result",
    "remote_ip",
    "call_id",
    "vendor",
    "connection",
)
_SIGNATURE = ("cld", "cli", "remote_ip", ("i_cdr", "i_call", "i_account", "billed_duration", "result"))
_VENDOR = "these are legs to vendors (cdrs_connections), whose remote_ip is downstream; give the table cdrs"
_REFUSED = {"i_connection": _VENDOR, "i_cdrs_connection": _VENDOR, "i_vendor": _VENDOR}
_FORMAT = Either(
    presets.Headed(_SIGNATURE, _KNOWN, refused=_REFUSED),
    JsonExport(_SIGNATURE, lists=("cdrs", "result", "data"), known=_KNOWN, refused=_REFUSED),
)
identify = _FORMAT.identify
read = _FORMAT.read

_FORMATS = ["%H:%M:%S.%f %Z %a %b %d %Y", "iso8601", "epoch_s"]

COLUMNS: dict[str, Any] = {
    "called_in": "cld_in",
    "called_out": "cld",
    "calling": ["cli_in", "cli"],
    "seizure": {"column": "setup_time", "format": _FORMATS},
    "answer": {"column": "connect_time", "format": _FORMATS},
    "release": {"column": "disconnect_time", "format": _FORMATS},
    "ingress_trunk": ["account", "i_account"],
    "ingress_address": "remote_ip",
    "egress_trunk": ["vendor", "connection"],
    "call_id": ["i_call", "call_id"],
    "disposition": {
        "column": "result",
        "values": {
            "0": "answered",
            "-16": "unanswered",
            "-17": "unanswered",
            "-18": "unanswered",
            "-19": "unanswered",
            "*": "failed",
        },
    },
}

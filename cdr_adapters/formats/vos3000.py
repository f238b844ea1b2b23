"""VOS3000 call detail records: the columns of its tables `e_cdr_YYYYMMDD` with a header, and its web API's JSON.

Columns are named as in the table: `calleeaccesse164` is the called number as received (often with a technical prefix:
`format = "tech:PREFIX:..."`, or `trunk` with a trunk map), `calleetogatewaye164` as sent, `calleee164` after the
rewriting that billing sees; `callerip` and `callergatewayid` (the mapping gateway) are the upstream, `calleeip` and
`calleegatewayid` (the routing gateway) the downstream. Times are milliseconds since 1970, UTC; those of exports as
text need the source's `zone`. The API writes the same with capitals and without the gateway that the call came from,
unless the account's rights show it: then the upstream is not recorded.

`endreason` has the vendor's own codes, which releases change: a call counts as answered when it was held for a second
or longer.
"""

from __future__ import annotations

from typing import Any

from cdr_adapters import presets, raw
from cdr_adapters.json_exports import Either, JsonExport

SUMMARY = "VOS3000: e_cdr tables with a header, web API JSON"
GRADE = raw.Grade.DOCUMENTATION
Options = presets.Options

_KNOWN = (
    "callere164",
    "calleraccesse164",
    "calleee164",
    "calleeaccesse164",
    "callerip",
    "callergatewayid",
    "callertogatewaye164",
    "calleeip",
    "calleegatewayid",
    "calleetogatewaye164",
    "starttime",
    "stoptime",
    "holdtime",
    "endreason",
    "enddirection",
    "flowno",
    "softswitchcallid",
    "callercallid",
    "customeraccount",
    "callergatewayh323id",
    "calleegatewayh323id",
    "callergateway",
    "calleegateway",
    "start",
    "stop",
)
_SIGNATURE = ("callere164", ("calleee164", "calleeaccesse164"), ("starttime", "start"), ("holdtime", "flowno"))
_FORMAT = Either(
    presets.Headed(_SIGNATURE, _KNOWN), JsonExport(_SIGNATURE, lists=("infoCdrs", "cdrs", "CDRList"), known=_KNOWN)
)
identify = _FORMAT.identify
read = _FORMAT.read

_FORMATS = ["epoch_ms", "iso8601"]

COLUMNS: dict[str, Any] = {
    "called_in": "calleeaccesse164",
    "called_out": ["calleetogatewaye164", "calleee164"],
    "calling": ["calleraccesse164", "callere164"],
    "seizure": {"column": ["starttime", "start"], "format": _FORMATS},
    "release": {"column": ["stoptime", "stop"], "format": _FORMATS},
    "ingress_trunk": ["callergatewayid", "callergatewayh323id", "callergateway"],
    "ingress_address": "callerip",
    "egress_trunk": ["calleegatewayid", "calleegatewayh323id", "calleegateway"],
    "egress_address": "calleeip",
    "call_id": ["softswitchcallid", "flowno"],
    "disposition": {"column": "holdtime", "values": {"0": "unanswered", "": "", "*": "answered"}},
}

"""Call detail records of 2600Hz Kazoo: documents of its database, or as its API lists them.

A document is one leg. call_direction says whether it came into the media switch or went out of it. An incoming leg that
a resource (a carrier) was authorised for has its id in custom_channel_vars.resource_id or, with authorizing_type
`resource`, in authorizing_id; one that a customer's device or user was authorised for has the customer's account in
account_id. The account of a leg from a carrier is the called customer's, and no upstream: so `upstream_account` is the
account of a leg that its own device, user or account was authorised for, and null on any other.

An outgoing leg that another leg is named beside (bridge_id, other_leg_call_id) is the rest of that call (`leg` is B),
and skipped by default. Times: channel_created_time is in microseconds since 1970, timestamp and pvt_created in seconds
since the year 0, when the document was written, which is when the leg ended; with duration_seconds that tells the
seizure. After the CDR schema of Kazoo 3.21 to 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters import presets, raw
from cdr_adapters.json_exports import JsonExport
from cdr_adapters.sides import INCOMING, OUTGOING, Sides

SUMMARY = "Kazoo call detail records in JSON"
GRADE = raw.Grade.REAL_FILES

_VARS = "custom_channel_vars"
COLUMNS = {
    "called_in": {"column": ["incoming:request", "unsaid:request", "incoming:to", "unsaid:to"]},
    "called_out": {"column": ["outgoing:request", "outgoing:to"]},
    "calling": {"column": ["caller_id_number", "from"]},
    "seizure": {"column": "channel_created_time", "format": "epoch_us"},
    "release": {"column": ["timestamp", "pvt_created"], "format": "gregorian_s"},
    "duration": {"column": "duration_seconds", "unit": "s", "counts": "from_seizure"},
    "ingress_trunk": {"column": [f"incoming:{_VARS}.resource_id", "incoming:upstream_resource", "upstream_account"]},
    "egress_trunk": {"column": f"outgoing:{_VARS}.resource_id"},
    "call_id": {"column": [f"{_VARS}.bridge_id", "bridge_id", "call_id"]},
    "leg": "leg",
    "disposition": {
        "column": "outcome",
        "values": {
            "answered": "answered",
            **dict.fromkeys(
                ("NORMAL_CLEARING", "ORIGINATOR_CANCEL", "NO_ANSWER", "NO_USER_RESPONSE", "USER_BUSY", "CALL_REJECTED"),
                "unanswered",
            ),
            "": "",
            "*": "failed",
        },
    },
}
WHERE: dict[str, str | list[str]] = {"leg": "!B"}

_SIDES = Sides("call_direction", {"inbound": INCOMING, "outbound": OUTGOING})
_OWN = ("device", "user", "account", "sys_info", "mobile", "callforward")
_BRIDGE = (f"{_VARS}.bridge_id", "bridge_id", "other_leg_call_id")
_MADE = {
    "upstream_account": ("call_direction", f"{_VARS}.account_id", f"{_VARS}.authorizing_type", f"{_VARS}.resource_id"),
    "upstream_resource": (f"{_VARS}.authorizing_id", f"{_VARS}.authorizing_type"),
    "leg": ("call_direction", "call_id", *_BRIDGE),
    "outcome": ("billing_seconds", "hangup_cause"),
}
"""Columns that are made here, and what they are made of."""

_EXPORT = JsonExport(
    signature=(
        "call_id",
        "call_direction",
        ("caller_id_number", "request", "from"),
        ("pvt_type", _VARS, "hangup_cause"),
    ),
    lists=("data",),
)

Options = presets.Options
identify = _EXPORT.identify


def read(path: Path, options: presets.Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    wanted = _SIDES.needed(columns)
    if wanted is not None:
        for name, parts in _MADE.items():
            wanted = (wanted - {name}).union(parts) if name in wanted else wanted
    for batch in _EXPORT.read(path, options, wanted):
        table = _made(batch.columns)
        yield replace(batch, columns=_SIDES.split(table, columns), header=None)


def _made(table: pa.RecordBatch) -> pa.RecordBatch:
    """The table with the columns that are made of others."""
    nothing = pa.nulls(table.num_rows, raw.TEXT)

    def column(name: str) -> pa.StringArray:
        return table.column(name) if name in table.schema.names else nothing

    def is_one(name: str, values: tuple[str, ...]) -> pa.BooleanArray:
        return pc.is_in(column(name), value_set=pa.array(values, raw.TEXT))

    def filled(name: str) -> pa.BooleanArray:
        return pc.fill_null(pc.not_equal(column(name), ""), False)

    found: dict[str, list[str | None] | pa.Array] = {name: table.column(name) for name in table.schema.names}
    kind = f"{_VARS}.authorizing_type"
    own = pc.and_(is_one("call_direction", ("inbound",)), is_one(kind, _OWN))
    own = pc.and_not(own, filled(f"{_VARS}.resource_id"))
    found["upstream_account"] = pc.if_else(own, column(f"{_VARS}.account_id"), nothing)
    found["upstream_resource"] = pc.if_else(is_one(kind, ("resource",)), column(f"{_VARS}.authorizing_id"), nothing)
    bridged = pa.array([False] * table.num_rows, pa.bool_())
    for name in _BRIDGE:
        other = pc.fill_null(pc.not_equal(column(name), column("call_id")), True)
        bridged = pc.or_(bridged, pc.and_(filled(name), other))
    a, b = pa.array(["A", "B"])
    found["leg"] = pc.if_else(pc.and_(is_one("call_direction", ("outbound",)), bridged), b, a)
    answered = pc.fill_null(pc.match_substring_regex(column("billing_seconds"), "[1-9]"), False)
    cause = column("hangup_cause")
    unsaid = pc.and_not(pc.fill_null(pc.equal(cause, "NORMAL_CLEARING"), False), filled("billing_seconds"))
    found["outcome"] = pc.if_else(answered, pa.array(["answered"])[0], pc.if_else(unsaid, nothing, cause))
    return raw.string_batch(found, table.num_rows)

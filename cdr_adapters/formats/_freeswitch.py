"""What FreeSWITCH's records have in common, whether CSV, JSON, XML or SQL: a record a leg, columns channel variables.

A leg that came in (`direction` inbound) has the peer's address in sip_received_ip, sip_network_ip and network_addr; a
leg that went out may have the other side's there, and network_addr as copied from the leg that came in. So only a leg
that says that it came in gives all three; one that says nothing gives sip_received_ip, which only an INVITE received
sets, and network_addr. The gateway by which a leg came in is sip_gateway, by which it went out sip_gateway_name. Where
the call went on is in the name of the channel that it was bridged to: `sofia/external/12025550143@198.51.100.30`.
accountcode is no upstream by itself: dialplans set it to the called side's account too.

A leg that another leg of the same box gave rise to is a B leg (`leg`). By default B legs are skipped: all that they
know of the upstream is in the A leg's record. A leg that went out without one, for a call that this box itself began,
is kept.

`outcome` is "answered" or the hangup cause. Times: start_epoch in seconds and start_uepoch in microseconds are UTC;
start_stamp is the box's local time and says no zone. After the FreeSWITCH documentation of mod_cdr_csv, mod_json_cdr
and mod_xml_cdr and the vanilla configuration of release 1.10.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters import raw
from cdr_adapters.sides import INCOMING, OUTGOING, Sides

SIDES = Sides("direction", {"inbound": INCOMING, "outbound": OUTGOING})

_BRIDGED = ["incoming:bridge_channel", "unsaid:bridge_channel", "outgoing:channel_name"]
_UNANSWERED = (
    *("NORMAL_CLEARING", "ORIGINATOR_CANCEL", "NO_ANSWER", "NO_USER_RESPONSE", "USER_BUSY", "CALL_REJECTED"),
    *("ALLOTTED_TIMEOUT", "PROGRESS_TIMEOUT", "LOSE_RACE", "PICKED_OFF", "ATTENDED_TRANSFER", "BLIND_TRANSFER"),
)


def columns(stamps: Sequence[str] = ()) -> dict[str, Any]:
    """The [columns] table; `stamps` are the formats of local times, for records that may have no others."""

    def time(name: str) -> dict[str, Any]:
        return {
            "column": [f"{name}_uepoch", f"{name}_epoch", *([f"{name}_stamp"] if stamps else [])],
            "format": ["epoch_us", "epoch_s", *stamps],
        }

    return {
        "called_in": {"column": ["sip_req_user", "destination_number"]},
        "called_out": {"column": _BRIDGED, "pattern": r"^sofia/[^/]+/(?:sips?:)?([^@/;]+)@"},
        "calling": {"column": ["caller_id_number", "sip_from_user", "ani"]},
        "seizure": time("start"),
        "answer": time("answer"),
        "release": time("end"),
        "ingress_trunk": {"column": ["incoming:sip_gateway", "incoming:sip_gateway_name"]},
        "ingress_address": {
            "column": [
                *("incoming:sip_received_ip", "incoming:sip_network_ip", "incoming:network_addr"),
                *("unsaid:sip_received_ip", "unsaid:network_addr"),
            ],
            "bad": "null",
        },
        "egress_trunk": {"column": ["outgoing:sip_gateway_name", "outgoing:sip_gateway"]},
        "egress_address": {"column": _BRIDGED, "pattern": r"^sofia/[^/]+/(?:[^@/]*@)?(.+)$", "bad": "null"},
        "call_id": {"column": ["sip_call_id", "call_uuid", "uuid"]},
        "leg": "leg",
        "disposition": {
            "column": "outcome",
            "values": {"answered": "answered", **dict.fromkeys(_UNANSWERED, "unanswered"), "": "", "*": "failed"},
        },
        "verstat": {"column": ["incoming:sip_verstat_detailed", "incoming:sip_verstat"]},
        "attestation": {"column": "incoming:sip_verstat_detailed", "pattern": "TN-Validation-Passed-([ABC])$"},
    }


WHERE: dict[str, str | list[str]] = {"leg": "!B"}

_OF_OUTCOME = ("answer_uepoch", "answer_epoch", "answer_stamp", "billsec", "hangup_cause")
ORIGINATOR = ("originator", "originating_leg_uuid")
"""Variables that only a leg has which another one gave rise to."""


def needed(wanted: frozenset[str] | None) -> frozenset[str] | None:
    """The variables that must be read for the `wanted` columns."""
    names = SIDES.needed(wanted)
    if names is None:
        return None
    return names.difference(("outcome", "leg")).union(
        _OF_OUTCOME if "outcome" in names else (), ORIGINATOR if "leg" in names else ()
    )


def completed(batch: raw.RawBatch, wanted: frozenset[str] | None) -> raw.RawBatch:
    """`batch`, whose columns are variables, with `leg`, `outcome` and the columns of one side, as far as wanted."""
    table = SIDES.split(batch.columns, wanted)
    found: dict[str, list[str | None] | pa.Array] = {name: table.column(name) for name in table.schema.names}
    if wanted is None or "leg" in wanted:
        found["leg"] = pc.if_else(_filled(table, ORIGINATOR), pa.array(["B"])[0], pa.array(["A"])[0])
    if wanted is None or "outcome" in wanted:
        found["outcome"] = _outcome(table)
    header = None if batch.header is None else tuple(dict.fromkeys((*batch.header, *found)))
    return replace(batch, columns=raw.string_batch(found, table.num_rows), header=header)


def _filled(table: pa.RecordBatch, names: tuple[str, ...]) -> pa.BooleanArray:
    """Whether one of the columns `names` has something other than zero."""
    found = pa.array([False] * table.num_rows, pa.bool_())
    for name in names:
        if name in table.schema.names:
            found = pc.or_(found, pc.fill_null(pc.match_substring_regex(table.column(name), "[1-9A-Za-z]"), False))
    return found


def _outcome(table: pa.RecordBatch) -> pa.StringArray:
    """ "answered" or the hangup cause; null where a normal clearing may be either, for want of a time of answer."""
    answered = _filled(table, _OF_OUTCOME[:-1])
    nothing = pa.nulls(table.num_rows, raw.TEXT)
    cause = table.column("hangup_cause") if "hangup_cause" in table.schema.names else nothing
    if not set(_OF_OUTCOME[:-1]) & set(table.schema.names):
        cause = pc.if_else(pc.equal(cause, "NORMAL_CLEARING"), nothing, cause)
    return pc.if_else(answered, pa.array(["answered"])[0], cause)

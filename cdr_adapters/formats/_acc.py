"""What the acc modules of Kamailio and OpenSIPS write, wherever they write it: names, meanings and times.

A transaction's record has method, from_tag, to_tag, call id, SIP code and reason, and the time at which the transaction
was completed: that is the answer when the code is 2xx and the end of a failed call otherwise, which the columns
`answered_at` and `ended_at` tell apart. A record of a whole dialog (`cdr`) has `start_time`, `end_time`, `duration`
(Kamailio), or `created`, `setuptime`, `duration` beside the answer time (OpenSIPS).

The called number and the peer are in no default column: operators add them under names of their own (log_extra,
db_extra, extra_fields). The names of Kamailio's own example configuration and the customary ones are understood; any
other needs a mapping. `dst_ouser` (the To header's user) goes for the number as received, `dst_user` (the request URI's
user when the request was sent) for the number as sent, and as received where nothing else says it. `dst_ip` is left
alone: operators put the next hop there, or our own interface.

After the READMEs of the acc modules of Kamailio 5.8 and OpenSIPS 3.4. Kamailio's `cdr_start_on_confirmed = 1` makes
`start_time` the answer time, which the record doesn't show: map it as `answer` then.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters import raw

CALLED_IN = (
    *("dst_ouser", "ruri_in", "i-uri", "dst_number", "called", "callee", "dnis", "destination", "dst_user", "ruser"),
    *("ruri", "dst_uri", "to_user", "to_uri"),
)
_UNANSWERED = ("408", "480", "486", "487", "600", "603")
CODES = {
    **dict.fromkeys(("200", "202"), "answered"),
    **dict.fromkeys(_UNANSWERED, "unanswered"),
    "": "",
    "*": "failed",
}
"""How a call ended, by its SIP code: what the called side, or the caller's hanging up, ended was not a failure."""


def columns(**times: Any) -> dict[str, Any]:
    """The [columns] table of acc records whose times are `times`."""
    return {
        "called_in": {"column": list(CALLED_IN)},
        "called_out": {"column": ["ruri_out", "o-uri", "dst_user"]},
        "calling": {
            "column": [
                *("src_user", "caller", "calling", "ani", "src_number", "from_user", "src_uri", "from_uri", "from"),
            ]
        },
        **times,
        "ingress_trunk": {"column": ["src_trunk", "itrunk", "in_trunk", "in_tg", "ingress_trunk"]},
        "ingress_address": {"column": ["src_ip", "source_ip", "srcip", "remote_ip", "peer_ip"], "bad": "null"},
        "egress_trunk": {"column": ["dst_trunk", "etrunk", "out_trunk", "out_tg", "egress_trunk"]},
        "call_id": {"column": ["call_id", "callid"]},
        "disposition": {"column": ["code", "sip_code"], "values": CODES},
    }


WHERE: dict[str, str | list[str]] = {"method": ["INVITE", "ACK", ""]}
"""The records of calls: a BYE or a CANCEL belongs to one that has its own; a whole dialog's record has no method."""

_DERIVED = frozenset(("answered_at", "ended_at"))
_NEEDED = frozenset(("code", "sip_code", "timestamp", "time"))


def needed(wanted: frozenset[str] | None) -> frozenset[str] | None:
    """The columns that must be read for the `wanted` ones."""
    return wanted if wanted is None or not wanted & _DERIVED else (wanted - _DERIVED) | _NEEDED


def with_outcome(batch: raw.RawBatch, wanted: frozenset[str] | None) -> raw.RawBatch:
    """`batch` with `answered_at` and `ended_at`, when they are wanted."""
    if wanted is not None and not wanted & _DERIVED:
        return batch
    table = batch.columns
    code, time = _first(table, ("code", "sip_code")), _first(table, ("timestamp", "time"))
    success = pc.fill_null(pc.starts_with(code, "2"), False)
    nothing = pa.nulls(table.num_rows, raw.TEXT)
    known = pc.is_valid(code)
    found = {name: table.column(name) for name in table.schema.names if wanted is None or name in wanted}
    found["answered_at"] = pc.if_else(success, time, nothing)
    found["ended_at"] = pc.if_else(pc.and_not(known, success), time, nothing)
    header = None if batch.header is None else tuple(dict.fromkeys((*batch.header, *sorted(_DERIVED))))
    return replace(batch, columns=raw.string_batch(found, table.num_rows), header=header)


def _first(table: pa.RecordBatch, names: tuple[str, ...]) -> pa.StringArray:
    """The first of the columns `names` that holds something, row by row."""
    there = [table.column(name) for name in names if name in table.schema.names]
    nothing = pa.nulls(table.num_rows, raw.TEXT)
    return pc.coalesce(*(pc.if_else(pc.equal(column, ""), nothing, column) for column in there), nothing)

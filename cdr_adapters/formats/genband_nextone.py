"""Call detail records of GENBAND (Ribbon) Q20 and NexTone MSX session controllers, MSW format.

One line a record, values between semicolons, no header, no quotes. The columns that are known have names
(`call_source`, `called_party_from_src`), the others their position, from "1"; `options.names` names the columns of a
release that moved them. A record is proved by its type, its epoch time and its source address. Two lines of one call,
start1 and end1, are of the leg that came in; start2 and end2, of the leg that went out, are left out, for their source
is the device itself. A checksum in the last line, and lines that begin with `#`, are skipped. `outcome` is put
together from duration and Q.850 cause.

Not this format: the GENBAND G6 and T6000 write fixed width (read as such, with a mapping). From the field list in the
vendor's documents ('Accounting - Q-SBC CDR', SBC Core 10.0) and a vendor's utility; tried on files built after them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters import presets, raw
from cdr_adapters.addresses import canonical_address
from cdr_adapters.presets import PositionalOptions

SUMMARY = "GENBAND Q20 and NexTone MSX CDRs (MSW format)"
GRADE = raw.Grade.DOCUMENTATION
Options = PositionalOptions

_KNOWN = {
    1: "start_time",
    2: "start_time_epoch",
    3: "call_duration",
    4: "call_source",
    6: "call_dest",
    9: "called_party_on_dest",
    10: "called_party_from_src",
    11: "call_type",
    24: "call_id",
    25: "call_hold_time",
    26: "call_source_regid",
    28: "call_dest_regid",
    30: "isdn_cause_code",
    31: "called_party_after_src_calling_plan",
    35: "ani",
    36: "call_duration_s",
    38: "protocol",
    39: "cdr_type",
    41: "caller_trunk_group",
    47: "call_duration_fractional",
    49: "msw_id",
}
NAMES = tuple(_KNOWN.get(position, str(position)) for position in range(1, max(_KNOWN) + 1))

COLUMNS: dict[str, Any] = {
    "called_in": "called_party_from_src",
    "called_out": "called_party_on_dest",
    "calling": "ani",
    "seizure": {"column": "start_time_epoch", "format": "epoch_s"},
    "ingress_trunk": ["call_source_regid", "caller_trunk_group"],
    "ingress_address": "call_source",
    "egress_trunk": "call_dest_regid",
    "egress_address": {"column": "call_dest", "bad": "null"},
    "call_id": "call_id",
    "leg": {"column": "cdr_type", "values": {"start1": "ingress", "end1": "ingress"}},
    "disposition": "outcome",
}
WHERE = {"cdr_type": ["!start2", "!end2"]}

_TYPES = frozenset(("start1", "end1", "start2", "end2"))
_CHECKSUM = re.compile(r"[0-9A-Fa-f]{32}")
_CONFIGURE = "set options.names"


def _prove(at: Mapping[str, int]) -> presets.Check:
    kind, epoch, source = at["cdr_type"], at["start_time_epoch"], at["call_source"]

    def check(values: Sequence[str]) -> str | None:
        if len(values) == 1 and (_CHECKSUM.fullmatch(values[0]) is not None or values[0].startswith("#")):
            return presets.SKIP
        if values[kind] not in _TYPES:
            return f"column {kind + 1} is no type of record (start1, end1); {_CONFIGURE}"
        if not values[epoch].isdecimal() or len(values[epoch]) != 10:
            return f"column {epoch + 1} is no epoch time; {_CONFIGURE}"
        if canonical_address(values[source]) is None:
            return f"column {source + 1} is no address; {_CONFIGURE}"
        return None

    return check


_TABLE = presets.Positional(NAMES, at_least=1, prove=_prove, delimiter=";", quote="")
identify = _TABLE.identify

_UNANSWERED = frozenset(("16", "17", "18", "19", "20", "31"))


def outcome(duration: str, cause: str) -> str | None:
    """How a call ended, from its duration in seconds and the Q.850 cause."""
    if duration.isdecimal() and duration.strip("0"):
        return "answered"
    if not duration.isdecimal() or not cause:
        return None
    return "unanswered" if cause in _UNANSWERED else "failed"


def read(path: Path, options: PositionalOptions, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    needed = None if columns is None else columns | {"call_duration_s", "isdn_cause_code"}
    for batch in _TABLE.read(path, options, needed):
        table = dict(zip(batch.columns.schema.names, batch.columns.columns, strict=True))
        rows = batch.columns.num_rows
        null = pa.nulls(rows, pa.string())
        texts = [pc.fill_null(table.get(name, null), "") for name in ("call_duration_s", "isdn_cause_code")]
        keys = pc.binary_join_element_wise(*texts, ";").dictionary_encode()
        outcomes = [outcome(*key.split(";")) for key in keys.dictionary.to_pylist()]
        table["outcome"] = pa.array(outcomes, pa.string()).take(keys.indices)
        shown = {name: values for name, values in table.items() if columns is None or name in columns}
        header = None if batch.header is None else (*batch.header, "outcome")
        yield replace(batch, columns=raw.string_batch(shown, rows), header=header)

"""Files of Yate's cdrfile module: one line a leg, or with combined = true one a call.

The option `format` is the `format` of cdrfile.conf, if the operator set one; else it is one of the four that the module
has of its own, with tabs (the default) or commas, for legs or combined, which the file's lines show. Columns are called
by the parameters' names; those of the outgoing leg in a combined line begin with `out_leg.`.

`address` is the other side of the leg: the upstream on an incoming one only. An outgoing leg whose billid an incoming
leg near it in the file has too is the rest of that call (`leg` is B) and is skipped by default, since a line of an
incoming leg doesn't say where the call went on; an outgoing leg alone is a call that began here, and is kept. A format
of the operator's own without `${direction}` and without `${out_leg...}` doesn't tell whose the address is, and no
upstream is taken from it. time is in seconds since 1970. After modules/cdrfile.cpp of Yate 6.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, Field

from cdr_adapters import raw
from cdr_adapters.formats._template_lines import Template, fits, read_template
from cdr_adapters.sides import INCOMING, OUTGOING, Sides
from cdr_adapters.stream import MAX_LINE, Encoding, read_head

SUMMARY = "Yate cdrfile, legs or combined, by the operator's format"
GRADE = raw.Grade.DOCUMENTATION

COLUMNS = {
    "called_in": {"column": ["incoming:called", "unsaid:called"]},
    "called_out": {"column": ["out_leg.called", "outgoing:called"]},
    "calling": "caller",
    "seizure": {"column": "time", "format": "epoch_s"},
    "ingress_address": {"column": "incoming:address", "bad": "null"},
    "egress_address": {"column": ["out_leg.address", "outgoing:address"], "bad": "null"},
    "call_id": "billid",
    "leg": "leg",
    "disposition": {
        "column": "status",
        "values": {
            "answered": "answered",
            **dict.fromkeys(("ringing", "progressing", "accepted"), "unanswered"),
            "rejected": "failed",
            "": "",
            "*": "",
        },
    },
}
WHERE: dict[str, str | list[str]] = {"leg": "!B"}

_SIDES = Sides("direction", {"incoming": INCOMING, "outgoing": OUTGOING})
_LEG = ("time", "billid", "chan", "address", "caller", "called", "billtime", "ringtime", "duration")
_SEPARATE = (*_LEG, "direction", "status", "reason")
_COMBINED = (
    *(*_LEG, "status", "reason", "out_leg.chan", "out_leg.address", "out_leg.billtime", "out_leg.ringtime"),
    *("out_leg.duration", "out_leg.reason"),
)
_NUMBERS = frozenset(("time", "billtime", "ringtime", "duration"))


def _with_commas(names: tuple[str, ...]) -> str:
    return ",".join(f"${{{n}}}" if n.rpartition(".")[2] in _NUMBERS else f'"${{{n}}}"' for n in names)


FORMATS = tuple(
    form
    for names in (_SEPARATE, _COMBINED)
    for form in ("\t".join(f"${{{name}}}" for name in names), _with_commas(names))
)
"""The formats that the module has of its own."""

_LENGTH = r"^(?:[0-9]+(?:\.[0-9]+)?)?$"
_ANCHORS = {
    "time": r"^[0-9]{9,10}(?:\.[0-9]+)?$",
    **{f"{leg}{name}": _LENGTH for leg in ("", "out_leg.") for name in ("billtime", "ringtime", "duration")},
    "direction": "^(?:incoming|outgoing|unknown)?$",
}
_OWN = {**_ANCHORS, "billid": "^[0-9]+-[0-9]+$", "chan": "^[A-Za-z0-9_-]+/", "direction": "^(?:incoming|outgoing)$"}


def _check_format(text: str) -> str:
    template = Template.of(text.rstrip("\r\n"))
    if "time" not in template.names:
        raise ValueError("a format without ${time} has no times to find calls by")
    return text


class Options(raw.Options):
    """Options of Yate's cdrfile: `format` as in cdrfile.conf."""

    format: Annotated[str, Field(max_length=1 << 16), AfterValidator(_check_format)] | None = None
    encoding: Encoding = "utf-8"


@lru_cache(maxsize=16)
def _template(text: str) -> Template:
    return Template.of(text.rstrip("\r\n"))


def _own_format(head: raw.Head) -> str | None:
    """The one of the module's own formats that nearly all lines fit."""
    lines = [line for line in head.lines(20) if len(line) <= MAX_LINE]
    for form in FORMATS:
        if lines and sum(fits(_template(form), _OWN, line) for line in lines) * 10 >= len(lines) * 8:
            return form
    return None


def identify(head: raw.Head) -> bool:
    """Nearly all lines fit one of the module's own formats, each value looking as it should."""
    return _own_format(head) is not None


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    head = read_head(path)
    form = options.format or _own_format(head) or FORMATS[0]
    template = _template(form)
    wanted = _SIDES.needed(columns)
    if wanted is not None and "leg" in wanted:
        wanted = (wanted - {"leg"}) | {"direction", "billid"}
    incoming = pa.array([], raw.TEXT)
    for batch in read_template(path, options.encoding, template, _ANCHORS, wanted):
        table = batch.columns
        found: dict[str, list[str | None] | pa.Array] = {name: table.column(name) for name in table.schema.names}
        if "direction" not in template.names and any(name.startswith("out_leg.") for name in template.names):
            # a combined line is that of the incoming leg
            found["direction"] = ["incoming"] * table.num_rows
        table = raw.string_batch(found, table.num_rows)
        leg, incoming = _legs(table, incoming)
        split = _SIDES.split(table, columns)
        arrays: dict[str, list[str | None] | pa.Array] = {name: split.column(name) for name in split.schema.names}
        if columns is None or "leg" in columns:
            arrays["leg"] = leg
        yield replace(batch, columns=raw.string_batch(arrays, table.num_rows))


def _legs(table: pa.RecordBatch, before: pa.StringArray) -> tuple[pa.StringArray, pa.StringArray]:
    """Which leg each line is of, and the billids of the incoming ones; `before` are those of the lines before."""
    a, b = pa.array(["A", "B"])
    if not {"direction", "billid"} <= set(table.schema.names):
        return pa.array(["A"] * table.num_rows, raw.TEXT), before
    direction, billid = table.column("direction"), table.column("billid")
    incoming = pc.filter(billid, pc.fill_null(pc.equal(direction, "incoming"), False))
    known = pa.concat_arrays([before, incoming])
    rest = pc.and_(pc.fill_null(pc.equal(direction, "outgoing"), False), pc.is_in(billid, value_set=known))
    return pc.if_else(rest, b, a), incoming

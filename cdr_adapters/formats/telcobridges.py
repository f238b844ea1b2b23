"""TelcoBridges TMG and ProSBC text call detail records: `NAME='value'` pairs, one line for each leg's start and end.

After "Text Call Detail Records" (docs.telcobridges.com) and "CDR variables" (docs.prosbc.com). The operator's template
decides which variables a line has and in which order; a line begins with a word for its kind (`BEG`, `UPD`, `END`),
which is the column `StatusType` (Start, Update, End) where the template doesn't name that. Values may be in single or
double quotes, or in none. Columns are named as the variables, in any spelling; `Calling` and `Called` stand for
`CallingNumber` and `CalledNumber`.

`Nap` is the trunk of the leg: the upstream on an incoming leg, the downstream on an outgoing one; see `sides` for the
columns `incoming:Nap` and `outgoing:Nap`. A template without `Direction` says neither. Times are seconds since 1970 or
ISO 8601; other templates need a mapping.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from cdr_adapters import presets, raw
from cdr_adapters.records import RecordBuffer, batches
from cdr_adapters.sides import INCOMING, OUTGOING, Sides
from cdr_adapters.stream import MAX_LINE, Encoding, read_lines

SUMMARY = "TelcoBridges TMG, ProSBC text CDRs"
GRADE = raw.Grade.DOCUMENTATION


class Options(raw.Options):
    """Options of text CDRs."""

    encoding: Encoding = "utf-8"


_KINDS = {"BEG": "Start", "START": "Start", "UPD": "Update", "UPDATE": "Update", "END": "End", "STOP": "End"}
_VARIABLES = (
    "StatusType",
    "LegId",
    "OtherLegId",
    "SessionId",
    "OriginalSessionId",
    "LinkId",
    "CallingNumber",
    "CalledNumber",
    "Nap",
    "Direction",
    "Originator",
    "TerminationCause",
    "TerminationCauseString",
    "TerminationSource",
    "StartTime",
    "ConnectedTime",
    "EndTime",
    "FreedTime",
    "CallDuration",
    "CallId",
    "LocalSipIp",
    "RemoteSipIp",
)
_KNOWN = {presets.fold(name): name for name in _VARIABLES} | {
    "calling": "CallingNumber",
    "called": "CalledNumber",
    "sipcallid": "CallId",
    "connecttime": "ConnectedTime",
}
_PAIR = re.compile(
    r"""\s*+(?P<name>[A-Za-z@{}_][A-Za-z0-9@{}_. -]{0,63}?)\s*+=\s*+
    (?:'(?P<single>[^']*+)'|"(?P<double>[^"]*+)"|(?P<bare>[^,'"]*+))\s*+(?:,|$)""",
    re.ASCII | re.VERBOSE,
)
"""Nothing is given back once taken: else a long run of spaces would cost its square."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_SIDES = Sides(
    "Direction",
    {
        "in": INCOMING,
        "incoming": INCOMING,
        "inbound": INCOMING,
        "answer": INCOMING,
        "out": OUTGOING,
        "outgoing": OUTGOING,
        "outbound": OUTGOING,
        "originate": OUTGOING,
    },
)


@lru_cache(maxsize=4096)
def _known(name: str) -> str:
    """The variable's own name in another spelling; names are few, and the same in every line."""
    return _KNOWN.get(presets.fold(name), name)


def _fields(line: str) -> dict[str, str | None] | None:
    """The variables of one line; None when it isn't made of them."""
    kind, comma, rest = line.partition(",")
    kind = _KINDS.get(kind.strip().strip("'\"").upper(), "")
    fields: dict[str, str | None] = {"StatusType": kind} if kind else {}
    at, text = 0, rest if kind and comma else line
    if text[-1:] == "'":
        plain = [pair.partition("='") for pair in text[:-1].split("',")]
        if all(_NAME.fullmatch(name) and "'" not in value for name, _, value in plain):
            fields |= {_known(name): value for name, _, value in plain}
            at = len(text)
    while at < len(text):
        match = _PAIR.match(text, at)
        if match is None:
            return None
        name = _known(match["name"])
        value = match["single"] if match["single"] is not None else match["double"]
        fields[name] = match["bare"].rstrip() if value is None else value
        at = match.end()
    return fields if len(fields) > 1 and ("SessionId" in fields or "LegId" in fields) else None


def identify(head: raw.Head) -> bool:
    """Most of the first lines are pairs with a session or leg, and a kind of record."""
    lines = [line for line in head.lines(20) if len(line) <= MAX_LINE]
    found = sum((fields := _fields(line)) is not None and "StatusType" in fields for line in lines)
    return found > 0 and found * 10 >= len(lines) * 8


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    buffer = RecordBuffer(_SIDES.needed(columns))

    def steps() -> Iterator[None]:
        for number, line in read_lines(path, options.encoding):
            if not line or line.isspace():
                continue
            fields = _fields(line) if len(line) <= MAX_LINE else None
            if fields is None:
                buffer.reject(number, "no NAME='value' pairs with a SessionId or LegId", line)
            else:
                buffer.add(number, fields)
            yield

    for batch in batches(buffer, steps):
        yield replace(batch, columns=_SIDES.split(batch.columns, columns))


_FORMATS = ["epoch_s", "iso8601"]

WHERE = {"StatusType": "!Update"}
COLUMNS: dict[str, Any] = {
    "called_in": ["incoming:CalledNumber", "unsaid:CalledNumber"],
    "called_out": "outgoing:CalledNumber",
    "calling": "CallingNumber",
    "seizure": {"column": "StartTime", "format": _FORMATS},
    "answer": {"column": "ConnectedTime", "format": _FORMATS},
    "release": {"column": "EndTime", "format": _FORMATS},
    "ingress_trunk": "incoming:Nap",
    "ingress_address": {"column": "incoming:RemoteSipIp", "bad": "null"},
    "egress_trunk": "outgoing:Nap",
    "egress_address": {"column": "outgoing:RemoteSipIp", "bad": "null"},
    "call_id": ["OriginalSessionId", "SessionId"],
    "leg": "Direction",
}

"""What Asterisk's records have in common, in whatever back end: channel names, dispositions, mappings of columns.

The upstream is in the name of the channel: `SIP/carrier-0000abcd` and `PJSIP/carrier-0000abcd` came over the peer or
endpoint `carrier`, `DAHDI/i1/2025550143-1` over span `DAHDI/i1`. A `Local/` channel is no upstream but the dialplan
talking to itself. Any other technology keeps its name before the resource. No record has the peer's IP address.

`dst` is the extension that the dialplan reached last, so FreePBX's `did`, the number that was dialled, goes before it;
`s`, `h` and other names are no numbers, and such a record is rejected. A number that was dialled on is in the arguments
of Dial, where the last application was that.

`uniqueid` begins with the second, in UTC, in which the channel was created, which is when the call came in; `start` is
local time (unless usegmtime is set: then say zone = "UTC") and the same moment in a call's first record. So uniqueid
goes before start.

The text of a mapping of cdr_custom.conf or cel_custom.conf, `${CSV_QUOTE(${CDR(clid)})},...` or, since Asterisk 20.13
and 22.3, `clid,"Some Literal",src, start(%FT%T%z)`, says which column is which: `names_in`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_SIP_LIKE = "(?:PJSIP|SIP|IAX2|OOH323|H323|SCCP|Skinny|MGCP|UNISTIM)"
_MOVED = "(?:(?:AsyncGoto|Parked|Transfered|Bridge|Surrogate)/)?"
_OTHER = "(?:[A-KM-Za-km-z][A-Za-z0-9]*|L[A-Za-np-z0-9][A-Za-z0-9]*)"

CHANNEL = [
    rf"^{_MOVED}{_SIP_LIKE}/(.+)-[0-9a-zA-Z]+(?:<[A-Z]+>)?$",
    rf"^{_MOVED}{_SIP_LIKE}/([^-]+)$",
    rf"^{_MOVED}((?:DAHDI|Zap)/[ig]?[0-9]+)(?:[-/:].*)?$",
    rf"^({_OTHER}/.+)-[0-9a-f]{{4,}}$",
    rf"^({_OTHER}/[^;]+)$",
]
"""Patterns of a channel's name, in their order; the group is what a trunk map calls it."""

UNIQUEID = r"(?:^|-)([0-9]{9,10})\.[0-9]+$"
"""The second in which a channel was created, after the system's name where it has one."""

DIALLED = [
    r"^[A-Za-z0-9]+/(\+?[0-9]{7,15})@",
    r"^[A-Za-z0-9]+/[^/,|&]+/(?:sips?:)?(\+?[0-9]{7,15})(?:[@,|&:]|$)",
]
"""The number in Dial's arguments: PJSIP/12025550143@carrier, SIP/carrier/12025550143, DAHDI/g1/12025550143."""

DISPOSITIONS = {
    "ANSWERED": "answered",
    **dict.fromkeys(("NO ANSWER", "BUSY", "CANCEL"), "unanswered"),
    **dict.fromkeys(("FAILED", "CONGESTION"), "failed"),
}

LOCAL_TIMES = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f"]


def columns(start: Sequence[str]) -> dict[str, Any]:
    """The [columns] table of call detail records, by the names of Asterisk's CDR variables; `start` is the start's."""
    return {
        "called_in": {"column": ["did", "dst", "destination"]},
        "called_out": {"column": "lastdata", "pattern": DIALLED},
        "calling": {"column": ["src", "source"]},
        "seizure": {
            "column": ["uniqueid", *start],
            "pattern": [UNIQUEID, "^([0-9]{4}-.*)$"],
            "format": ["epoch_s", *LOCAL_TIMES],
        },
        "answer": {"column": "answer", "format": LOCAL_TIMES},
        "release": {"column": "end", "format": LOCAL_TIMES},
        "ingress_trunk": {"column": "channel", "pattern": CHANNEL},
        "egress_trunk": {"column": "dstchannel", "pattern": CHANNEL},
        "call_id": {"column": ["linkedid", "uniqueid"]},
        "disposition": {"column": "disposition", "values": DISPOSITIONS},
    }


_FIELD = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^,"(]*)(\([^)]*\))?)\s*(,|$)')
_FUNCTION = re.compile(r"[A-Z_]+\(\s*([A-Za-z_]+)[^)]*\)")
_OUTER = re.compile(r"\$\{(?:CSV_QUOTE|QUOTE)\((.*)\)\}$", re.DOTALL)


def names_in(mapping: str, separator: str = ",") -> list[str]:
    """The columns' names in the text of a mapping; what is no CDR or CEL field is called by its position.

    Raises:
        ValueError: no field can be found in it.
    """
    text = re.sub(r"^[^,\n]*=>\s*|^\s*fields\s*=>?\s*", "", mapping.strip())
    found = _legacy(text, separator) if "${" in text else _advanced(text)
    names: dict[str, None] = {}
    for position, name in enumerate(found, 1):
        names[name if name and name not in names else str(position)] = None
    if all(name.isdecimal() for name in names):
        raise ValueError("no mapping: write it as in cdr_custom.conf or cel_custom.conf")
    return list(names)


def _legacy(text: str, separator: str) -> list[str | None]:
    fields, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter in "{(") - (letter in "})")
        if depth == 0 and text.startswith(separator, at):
            fields.append(text[start:at])
            start = at + len(separator)
    return [_variable(field.strip().strip('"')) for field in (*fields, text[start:])]


def _variable(field: str) -> str | None:
    while (outer := _OUTER.match(field)) is not None:
        field = outer[1].strip()
    inner = re.fullmatch(r"\$\{(.*)\}", field, re.DOTALL)
    if inner is None:
        return None
    function = _FUNCTION.fullmatch(inner[1])
    if function is None:
        return inner[1].lower() if re.fullmatch(r"\w+", inner[1]) else None
    return ("cid_" if inner[1].startswith("CALLERID") else "") + function[1].lower()


def _advanced(text: str) -> list[str | None]:
    fields: list[str | None] = []
    position = 0
    while (match := _FIELD.match(text, position)) is not None:
        fields.append(None if match[1] is not None else match[2].strip().lower())
        position = match.end()
        if not match[4]:
            break
    return fields

"""Sansay VSX and VSXi call detail records: `;` between values, no header, one row a route attempt.

After "VSXi CDR Specification / Layout" (support.sansay.com) and "VSX System Call Detail Record Interface", release 1.15
of 2010; columns are named as there. Row type R is a call, A an audit record (skipped). Times are local; each row says
how many minutes its switch was west of Greenwich then, so that no zone is needed. A row marked I is an attempt after
which the next route was tried: it stands beside the final one (F) of the same session.

A row proves its layout by its version, its type, its start time, the minutes and the mark of the attempt. Rows of a
release in which these stand elsewhere are rejected; the option `names` says where, with the names below.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cdr_adapters import presets, raw

SUMMARY = "Sansay VSX/VSXi CDRs: semicolons, minutes west of Greenwich"
GRADE = raw.Grade.DOCUMENTATION
Options = presets.PositionalOptions

_SIDE = (
    "Trunk ID",
    "VoIP Protocol",
    "Source Number",
    "Source Host Name",
    "Destination Number",
    "Destination Host Name",
)
_MEDIA = ("Remote Payload IP Address", "Remote Payload UDP Port", "Local Payload IP Address", "Local Payload UDP Port")
_COUNTS = (
    "Ingress Packets",
    "Egress Packets",
    "Ingress Octets",
    "Egress Octets",
    "Ingress Packet Loss",
    "Delay",
    "Packet Jitter",
)


def _side(name: str) -> tuple[str, ...]:
    return tuple(f"{name} {part}" for part in (*_SIDE, "Call ID", *_MEDIA, "Codec List", *_COUNTS))


NAMES = (
    "Record Sequence Number",
    "Version Number",
    "Record Type",
    "Connection Type",
    "Session ID",
    "Release Cause",
    "Start Time of Date",
    "Answer Time of Date",
    "Release Time of Date",
    "Minutes West of Greenwich Mean Time",
    "Release Cause from Protocol Stack",
    "Binary Value of Release Cause from Protocol Stack",
    "First Release Dialog",
    *_side("Origination"),
    *_side("Termination"),
    "Final Route Indication",
    "Routing Digits",
    "Call Duration",
    "Post Dial Delay",
    "Ring Time",
    "Call Duration in Milliseconds",
    "Conference ID",
    "RPID/PAI",
)

_VERSION = re.compile(r"V[0-9]{1,2}\.[0-9]{1,3}", re.ASCII)
_MINUTES = re.compile(r"-?[0-9]{1,3}", re.ASCII)
_CTIME = re.compile(r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4}", re.ASCII)
_ELSEWHERE = "give this release's columns with the option names"


def _prove(at: Mapping[str, int]) -> presets.Check:
    version, kind, start = at["Version Number"], at["Record Type"], at["Start Time of Date"]
    minutes, final = at["Minutes West of Greenwich Mean Time"], at["Final Route Indication"]

    def check(values: Sequence[str]) -> str | None:
        if _VERSION.fullmatch(values[version]) is None or values[kind] not in ("R", "A"):
            return f"version and record type don't stand in columns {version + 1} and {kind + 1}: {_ELSEWHERE}"
        if values[kind] == "A":
            return presets.SKIP
        if _CTIME.fullmatch(values[start]) is None:
            return f"no start time in column {start + 1}: {_ELSEWHERE}"
        if _MINUTES.fullmatch(values[minutes]) is None:
            return f"no minutes west of Greenwich in column {minutes + 1}: {_ELSEWHERE}"
        if len(values) > final and values[final] not in ("F", "I", ""):
            return f"no mark of the attempt (F or I) in column {final + 1}: {_ELSEWHERE}"
        return None

    return check


_LAYOUT = presets.Positional(NAMES, at_least=3, prove=_prove, delimiter=";", quote="")
identify = _LAYOUT.identify
read = _LAYOUT.read


def _time(column: str) -> dict[str, Any]:
    return {
        "column": column,
        # an unanswered call may have the local time of 1970-01-01 00:00 UTC
        "pattern": r"^(.*(?:199\d|2\d{3}))$",
        "format": "%a %b %d %H:%M:%S %Y",
        "zone_column": "Minutes West of Greenwich Mean Time",
        "zone_unit": "minutes_west",
    }


COLUMNS: dict[str, Any] = {
    "called_in": "Origination Destination Number",
    "called_out": "Termination Destination Number",
    "calling": "Origination Source Number",
    "seizure": _time("Start Time of Date"),
    "answer": _time("Answer Time of Date"),
    "release": _time("Release Time of Date"),
    "ingress_trunk": "Origination Trunk ID",
    "ingress_address": {"column": "Origination Source Host Name", "bad": "null"},
    "egress_trunk": "Termination Trunk ID",
    "egress_address": {"column": "Termination Destination Host Name", "bad": "null"},
    "call_id": "Session ID",
    "disposition": {
        "column": ["Final Route Indication", "Release Cause"],
        "join": " ",
        "pattern": ["^(I)", r"0*(\d+)$"],
        "values": {
            "I": "route-advanced",
            "1": "answered",
            "2": "unanswered",
            "3": "unanswered",
            "4": "unanswered",
            "*": "failed",
            "": "",
        },
    },
}

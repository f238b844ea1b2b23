"""Accounting lines that Kamailio, OpenSIPS and their kin write to syslog, among whatever else is logged there.

Three kinds of record, told apart by the column `kind`: `acc` (one line a transaction: `ACC: transaction answered:
timestamp=...;method=INVITE;...`, its wording in the column `event`), `cdr` (one line a dialog: `start_time=...;
end_time=...;...`) and `json` (`... {"...": ...}`). The other columns are those that the operator configured (log_extra,
cdr_extra). The syslog header's time and host are the columns `syslog_time` and `syslog_host`; that time has no year and
no zone and is best not used. Other lines are skipped and counted. After the Kamailio 5.6 and OpenSIPS 3.x acc modules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from cdr_adapters import raw
from cdr_adapters.formats.jsonl import JsonRecordError, fields_of, parse_object
from cdr_adapters.records import RecordBuffer, batches
from cdr_adapters.stream import MAX_LINE, Encoding, read_lines

SUMMARY = "Kamailio/OpenSIPS accounting in syslog: ACC and CDR lines, JSON after a syslog header"
GRADE = raw.Grade.REAL_FILES

_ACC = re.compile(r"\bACC: (?P<event>[a-z ]{1,40}):(?: |$)")
_CDR = re.compile(r"\blog_write_cdr\(\): |(?:^|: )(?=start_time=[0-9.]+; ?end_time=)")
_SYSLOG_HEADER = re.compile(
    r"(?:<[0-9]{1,3}>(?:1 )?)?"
    r"(?P<time>[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|[-+][0-9:]{4,6})?)"
    r" (?P<host>\S{1,255}) "
)
_URI = ("sip:", "sips:", "tel:", "<")
_URI_PARAMETERS = frozenset(
    (
        *("rn", "cic", "user", "transport", "phone-context", "rn-context", "cic-context"),
        *("tgrp", "trunk-context", "isub", "ext", "maddr", "postd", "verstat"),
    )
)
"""Parameters of a SIP or tel URI, which has the same separator as the record around it."""


class Options(raw.Options):
    """Options of accounting in syslog."""

    encoding: Encoding = "utf-8"


def split_fields(payload: str) -> dict[str, str | None] | None:
    """The `key=value` fields of an accounting line; None when there are none.

    Fields stand between semicolons, in old releases between commas. Kamailio does not escape: a piece that can't be a
    field of its own is the rest of the value before it.
    """
    separator = ";" if ";" in payload else ", "
    pieces = payload.split(separator)
    fields: dict[str, str | None] = {}
    for piece in pieces:
        key, equals, value = piece.partition("=")
        name = _own_name(key)
        if name is None or not equals:
            return _split_with_care(pieces, separator)
        fields[name] = value
    return fields


@lru_cache(maxsize=4096)
def _own_name(key: str) -> str | None:
    """The name of a field, when `key` can be nothing else; names are few, and the same in every line."""
    name = key.strip()
    return None if not name or " " in name or name in _URI_PARAMETERS else name


def _split_with_care(pieces: list[str], separator: str) -> dict[str, str | None] | None:
    fields: dict[str, str | None] = {}
    last = ""
    for piece in pieces:
        key, equals, value = piece.partition("=")
        key = key.strip()
        before = fields.get(last)
        inside_uri = before is not None and before.startswith(_URI) and key in _URI_PARAMETERS
        if not equals or not key or " " in key or inside_uri:
            if before is None:
                return None
            fields[last] = before + separator + piece
        else:
            fields[key] = value
            last = key
    return fields


def _record(line: str, columns: frozenset[str] | None) -> dict[str, str | None] | None:
    """The fields of an accounting line; None for any other line.

    Raises:
        JsonRecordError: an accounting line without fields.
    """
    if "ACC: " in line and (acc := _ACC.search(line)) is not None:
        fields = split_fields(line[acc.end() :])
        kind: dict[str, str | None] = {"kind": "acc", "event": acc["event"]}
    elif (cdr := _CDR.search(line)) is not None:
        fields = split_fields(line[cdr.end() :])
        kind = {"kind": "cdr"}
    elif line.endswith("}") and (start := line.find("{")) > 0:
        try:
            fields = fields_of(parse_object(line[start:]), columns)
        except JsonRecordError:
            return None
        kind = {"kind": "json"}
        if columns is not None:
            fields = {name: value for name, value in fields.items() if value is not None}
    else:
        return None
    if fields is None:
        raise JsonRecordError("an accounting line without fields")
    if columns is None or "syslog_time" in columns or "syslog_host" in columns:
        header = _SYSLOG_HEADER.match(line)
        if header is not None:
            kind |= {"syslog_time": header["time"], "syslog_host": header["host"]}
    return kind | fields


_CERTAIN = re.compile(r"\bACC: [a-z ]{1,40}: (?:timestamp=[0-9]+;)?method=[A-Z]+[;,]")


def identify(head: raw.Head) -> bool:
    """At least one accounting line, or JSON after a syslog header."""
    for line in head.lines(200):
        if _CERTAIN.search(line) or _CDR.search(line):
            return True
        if _SYSLOG_HEADER.match(line) and line.endswith("}") and "{" in line:
            try:
                parse_object(line[line.index("{") :])
            except JsonRecordError:
                continue
            return True
    return False


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    buffer = RecordBuffer(columns)

    def steps() -> Iterator[None]:
        for number, line in read_lines(path, options.encoding):
            if len(line) > MAX_LINE:
                buffer.reject(number, "the line is too long", line)
            else:
                try:
                    record = _record(line.rstrip(), columns)
                except JsonRecordError as error:
                    buffer.reject(number, str(error), line)
                else:
                    if record is not None:
                        buffer.add(number, record)
                    elif line:
                        buffer.skip()
            yield

    return batches(buffer, steps)

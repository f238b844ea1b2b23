"""CSV files of FreeSWITCH's mod_cdr_csv, whose columns the operator's template decides.

The option `template` is the name of a template that FreeSWITCH ships (example, sql, snom, linksys, asterisk,
opencdrrate), or the text of one from cdr_csv.conf.xml, or its variables (`${caller_id_number},...`). Columns are called
by the names of the variables. Without it, `example` is taken, the default of FreeSWITCH; a line that has another number
of values, or no times where that template has them, is rejected.

FreeSWITCH escapes nothing: a quote within a caller's name stands there as it is. So lines are not cut as CSV but where
the template's own text stands between two values; a line in which it stands elsewhere too can be read in more than one
way and is rejected. Lines without any quotes, as spreadsheets leave them behind, are cut at commas.

start_stamp is local: the source needs a zone, except with start_epoch or start_uepoch in the template, for which any
will do. The shipped templates record no peer but for opencdrrate's network_addr: add ${direction}, ${sip_received_ip}
and ${sip_gateway} (see `_freeswitch`). With legs = ab add ${originator} too, which tells B legs.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, Field

from cdr_adapters import raw
from cdr_adapters.formats import _freeswitch
from cdr_adapters.formats._line_blocks import Pieces, cut, is_true, line_blocks
from cdr_adapters.records import RAW_LIMIT
from cdr_adapters.schema import Rejected, RejectReason
from cdr_adapters.stream import MAX_LINE, Encoding

SUMMARY = "FreeSWITCH mod_cdr_csv, by the operator's template"
GRADE = raw.Grade.REAL_FILES
COLUMNS = _freeswitch.columns(["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y/%m/%d %H:%M"])
WHERE = _freeswitch.WHERE

_CALLER = ("caller_id_name", "caller_id_number", "destination_number", "context")
_TIMES = ("start_stamp", "answer_stamp", "end_stamp", "duration", "billsec", "hangup_cause", "uuid", "bleg_uuid")
_CODECS = ("accountcode", "read_codec", "write_codec")


def _quoted(*names: str) -> str:
    return ",".join(f'"${{{name}}}"' for name in names)


TEMPLATES = {
    "example": _quoted(*_CALLER, *_TIMES, *_CODECS),
    "sql": f'INSERT INTO cdr VALUES ({_quoted(*_CALLER, *_TIMES)}, "${{accountcode}}");',  # noqa: S608 - no query
    "snom": f"{_quoted(*_CALLER, *_TIMES)}, "
    + _quoted(*_CODECS, "sip_user_agent", "call_clientcode", "sip_rtp_rxstat", "sip_rtp_txstat", "sofia_record_file"),
    "linksys": _quoted(*_CALLER, *_TIMES, *_CODECS, "sip_user_agent", "sip_p_rtp_stat"),
    "asterisk": _quoted(
        *("accountcode", "caller_id_number", "destination_number", "context", "caller_id", "channel_name"),
        *("bridge_channel", "last_app", "last_arg", "start_stamp", "answer_stamp", "end_stamp", "duration"),
        *("billsec", "hangup_cause", "amaflags", "uuid", "userfield"),
    ),
    "opencdrrate": _quoted(
        *("uuid", "signal_bond", "direction", "ani", "destination_number", "answer_stamp", "end_stamp", "billsec"),
        *("accountcode", "userfield", "network_addr", "regex('${original_caller_id_name}'|^.)", "sip_gateway_name"),
    ),
}
"""The templates of the vanilla configuration, release 1.10."""

_ELEMENT = re.compile(r"<template\b[^>]*>(.*?)</template>", re.DOTALL)
_VARIABLE = re.compile(r"\$\{((?:[^${}]|\$\{[^{}]*\})*)\}")
_STAMP = r"^(?:[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2} [0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?(?:\.[0-9]+)?)?$"
_UUID = r"^(?:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|_undef_)?$"
_ANCHORS = {
    **dict.fromkeys(("start_stamp", "answer_stamp", "end_stamp", "progress_stamp", "bridge_stamp"), _STAMP),
    **dict.fromkeys(("uuid", "bleg_uuid"), _UUID),
    **dict.fromkeys(("duration", "billsec", "start_epoch", "answer_epoch", "end_epoch"), r"^[0-9]*$"),
    **dict.fromkeys(("start_uepoch", "answer_uepoch", "end_uepoch"), r"^[0-9]*$"),
}
"""What a value must look like, or the template is another one."""


@dataclass(frozen=True)
class Template:
    """A template taken apart: its variables, and the text before the first, between each two and after the last."""

    names: tuple[str, ...]
    texts: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Template:
        """The template with this name or text.

        Raises:
            ValueError: it has no variables, one of them twice, or two with nothing between them.
        """
        text = TEMPLATES.get(text.strip(), text)
        element = _ELEMENT.search(text)
        text = html.unescape(element[1]) if element else text
        found = list(_VARIABLE.finditer(text.strip()))
        if not found:
            raise ValueError(f"no template: write one of {', '.join(TEMPLATES)}, or its text with ${{variables}}")
        text = text.strip()
        starts, ends = [0, *(match.end() for match in found)], [*(match.start() for match in found), len(text)]
        texts = tuple(text[start:end] for start, end in zip(starts, ends, strict=True))
        if not all(texts[1:-1]):
            raise ValueError("no template: between two variables there must be something that tells them apart")
        names: dict[str, None] = {}
        for match in found:
            names[match[1] if match[1] not in names else f"{match[1]}.{len(names) + 1}"] = None
        return cls(tuple(names), texts)

    @property
    def separator(self) -> str | None:
        """What stands between all values; None when it isn't always the same."""
        between = set(self.texts[1:-1])
        return between.pop() if len(between) == 1 else None

    def split(self, line: str) -> tuple[str, ...] | None:
        """The values of a line; None when it doesn't fit the template, or in more than one way."""
        if '"' not in line and len(values := line.split(",")) == len(self.names):
            return tuple(values)
        before, *between, after = self.texts
        if not (line.startswith(before) and line.endswith(after) and len(line) >= len(before) + len(after)):
            return None
        rest = line[len(before) : len(line) - len(after)]
        forward = self._cut(rest, between, backward=False)
        # the same from the other end, or some value holds what stands between values
        return forward if forward is not None and forward == self._cut(rest, between, backward=True) else None

    @staticmethod
    def _cut(rest: str, between: list[str], *, backward: bool) -> tuple[str, ...] | None:
        values = []
        for text in reversed(between) if backward else between:
            head, found, tail = rest.rpartition(text) if backward else rest.partition(text)
            if not found:
                return None
            values.append(tail if backward else head)
            rest = head if backward else tail
        values.append(rest)
        return tuple(reversed(values)) if backward else tuple(values)


@lru_cache(maxsize=64)
def _template(text: str) -> Template:
    return Template.of(text)


def _check_template(text: str) -> str:
    Template.of(text)
    return text


class Options(raw.Options):
    """Options of FreeSWITCH's CSV."""

    template: Annotated[str, Field(max_length=1 << 16), AfterValidator(_check_template)] = "example"
    encoding: Encoding = "utf-8"


def identify(head: raw.Head) -> bool:
    """Nearly all lines fit a template that FreeSWITCH ships, each value looking as its variable does."""
    lines = [line.strip() for line in head.lines(20) if len(line) <= MAX_LINE]
    return bool(lines) and any(
        sum(_fits(_template(name), line) for line in lines) * 10 >= len(lines) * 8 for name in TEMPLATES
    )


def _fits(template: Template, line: str) -> bool:
    values = template.split(line) if '"' in line else None
    if values is None:
        return False
    fields = dict(zip(template.names, values, strict=True))
    anchored = all(re.search(_ANCHORS[name], value) for name, value in fields.items() if name in _ANCHORS)
    return anchored and bool(fields["uuid"]) and bool(fields.get("end_stamp") or fields.get("start_stamp"))


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    wanted = _freeswitch.needed(columns)
    template = _template(options.template)
    for number, lines in line_blocks(path, options.encoding):
        for batch in _read_block(number, pc.utf8_trim_whitespace(lines), template, wanted):
            yield _freeswitch.completed(batch, columns)


def _read_block(
    number: int, lines: pa.StringArray, template: Template, wanted: frozenset[str] | None
) -> Iterator[raw.RawBatch]:
    size = pc.binary_length(lines)
    left = is_true(pc.and_(pc.greater(size, 0), pc.less_equal(size, MAX_LINE)))
    why = np.full(len(lines), "longer than a record can be", object)
    why[left] = "not as the template says, or in more than one way: check the option template"
    bad = left | is_true(pc.greater(size, MAX_LINE))
    done: npt.NDArray[np.bool_] = np.zeros(len(lines), np.bool_)
    for pieces in _together(lines, left, template):
        done[pieces.at] = True
        yield from _anchored(number, pieces, template, wanted, bad, why)
    single = np.flatnonzero(left & ~done)
    values = [template.split(line) for line in lines.take(pa.array(single)).to_pylist()]
    split = np.array([one is not None for one in values], np.bool_)
    rows = [one for one in values if one is not None]
    if rows:
        arrays = [pa.array(column, raw.TEXT) for column in zip(*rows, strict=True)]
        yield from _anchored(number, Pieces(single[split], arrays), template, wanted, bad, why)
    if bad.any():
        rejected = tuple(
            Rejected(number + row, RejectReason.MALFORMED_ROW, str(why[row]), lines[row].as_py()[:RAW_LIMIT])
            for row in np.flatnonzero(bad).tolist()
        )
        yield raw.RawBatch(raw.string_batch({}, 0), pa.array([], pa.int64()), rejected)


def _together(lines: pa.StringArray, left: npt.NDArray[np.bool_], template: Template) -> Iterator[Pieces]:
    """The lines that can be cut in one way only, where the same text stands between all values."""
    separator, before, after = template.separator, template.texts[0], template.texts[-1]
    if separator is None:
        return
    fits = left & is_true(pc.starts_with(lines, before)) & is_true(pc.ends_with(lines, after))
    fits &= is_true(pc.greater_equal(pc.binary_length(lines), len((before + after).encode())))
    at = np.flatnonzero(fits)
    body = pc.utf8_slice_codeunits(lines.take(pa.array(at)), len(before), -len(after) if after else None)
    for pieces in cut(body, separator, len(template.names)):
        if len(pieces.columns) == len(template.names):
            yield Pieces(at[pieces.at], pieces.columns)


def _anchored(
    number: int,
    pieces: Pieces,
    template: Template,
    wanted: frozenset[str] | None,
    bad: npt.NDArray[np.bool_],
    why: npt.NDArray[np.object_],
) -> Iterator[raw.RawBatch]:
    """The records among the lines cut; `why` says what is wrong with the others."""
    looks: npt.NDArray[np.bool_] = np.ones(len(pieces.at), np.bool_)
    for name, column in zip(template.names, pieces.columns, strict=True):
        if name in _ANCHORS:
            looks &= is_true(pc.match_substring_regex(column, _ANCHORS[name]))
    why[pieces.at] = "the values are not what the template's variables are: check the option template"
    bad[pieces.at[looks]] = False
    good = pieces.where(looks)
    if len(good.at):
        named = zip(template.names, good.columns, strict=True)
        found = {name: column for name, column in named if wanted is None or name in wanted}
        yield raw.RawBatch(raw.string_batch(found, len(good.at)), pa.array(good.at + number))

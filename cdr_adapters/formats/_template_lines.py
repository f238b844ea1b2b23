"""Lines that a program makes by filling values into an operator's template, which escapes nothing.

Such a line is cut where the template's own text stands between two values, and nowhere else; a line in which that text
stands elsewhere too can be read in more than one way, and is rejected. Variables are written `${name}`. Lines without
any quotes, as spreadsheets leave them behind, are cut at commas where the template has quotes and commas.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters import raw
from cdr_adapters.formats._line_blocks import Pieces, cut, line_blocks
from cdr_adapters.records import RAW_LIMIT
from cdr_adapters.schema import Rejected, RejectReason
from cdr_adapters.stream import MAX_LINE
from cdr_adapters.text_bytes import is_true

_VARIABLE = re.compile(r"\$\{((?:[^${}]|\$\{[^{}]*\})*)\}")


@dataclass(frozen=True)
class Template:
    """A template taken apart: its variables, and the text before the first, between each two and after the last."""

    names: tuple[str, ...]
    texts: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Template:
        """The template with this text.

        Raises:
            ValueError: it has no variables, or two with nothing between them.
        """
        found = list(_VARIABLE.finditer(text))
        if not found:
            raise ValueError("no template: it has no ${variables}")
        starts, ends = [0, *(match.end() for match in found)], [*(match.start() for match in found), len(text)]
        texts = tuple(text[start:end] for start, end in zip(starts, ends, strict=True))
        if not all(texts[1:-1]):
            raise ValueError("no template: between two variables there must be something that tells them apart")
        names: dict[str, None] = {}
        for match in found:
            names[match[1] if match[1] not in names else f"{match[1]}.{len(names) + 1}"] = None
        return cls(tuple(names), texts)

    def split(self, line: str) -> tuple[str, ...] | None:
        """The values of a line; None when it doesn't fit the template, or in more than one way."""
        if '"' not in line and '"' in "".join(self.texts) and len(values := line.split(",")) == len(self.names):
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


Anchors = Mapping[str, str]
"""What the values of some variables must look like (RE2), or the template is another one."""


def read_template(
    path: Path, encoding: str, template: Template, anchors: Anchors, wanted: frozenset[str] | None
) -> Iterator[raw.RawBatch]:
    """The records of a file; its columns are called as the variables are.

    Raises:
        AdapterError: the file can't be read.
    """
    for number, lines in line_blocks(path, encoding):
        yield from _read_block(number, pc.utf8_trim(lines, characters=" \r"), template, anchors, wanted)


def fits(template: Template, anchors: Anchors, line: str) -> bool:
    """Whether a line is surely one of this template: cut in one way only, and its values look right."""
    values = template.split(line)
    if values is None or ('"' in "".join(template.texts) and '"' not in line):
        return False
    fields = zip(template.names, values, strict=True)
    return all(re.search(anchors[name], value, re.ASCII) for name, value in fields if name in anchors)


def _read_block(
    number: int, lines: pa.StringArray, template: Template, anchors: Anchors, wanted: frozenset[str] | None
) -> Iterator[raw.RawBatch]:
    size = pc.binary_length(lines)
    left = is_true(pc.and_(pc.greater(size, 0), pc.less_equal(size, MAX_LINE)))
    why = np.full(len(lines), "longer than a record can be", object)
    why[left] = "not as the template says, or in more than one way: check the option template"
    bad = left | is_true(pc.greater(size, MAX_LINE))
    done: npt.NDArray[np.bool_] = np.zeros(len(lines), np.bool_)
    for pieces in _together(lines, left, template):
        done[pieces.at] = True
        yield from _anchored(number, pieces, template, anchors, wanted, bad, why)
    single = np.flatnonzero(left & ~done)
    values = [template.split(line) for line in lines.take(pa.array(single)).to_pylist()]
    split = np.array([one is not None for one in values], np.bool_)
    rows = [one for one in values if one is not None]
    if rows:
        arrays = [pa.array(column, raw.TEXT) for column in zip(*rows, strict=True)]
        yield from _anchored(number, Pieces(single[split], arrays), template, anchors, wanted, bad, why)
    if bad.any():
        rejected = tuple(
            Rejected(number + row, RejectReason.MALFORMED_ROW, str(why[row]), lines[row].as_py()[:RAW_LIMIT])
            for row in np.flatnonzero(bad).tolist()
        )
        yield raw.RawBatch(raw.string_batch({}, 0), pa.array([], pa.int64()), rejected)


def _together(lines: pa.StringArray, left: npt.NDArray[np.bool_], template: Template) -> Iterator[Pieces]:
    """Of the lines, those that can be cut in one way only for sure."""
    before, *between, after = template.texts
    fitting = left & is_true(pc.starts_with(lines, before)) & is_true(pc.ends_with(lines, after))
    fitting &= is_true(pc.greater_equal(pc.binary_length(lines), len((before + after).encode())))
    at = np.flatnonzero(fitting)
    body = pc.utf8_slice_codeunits(lines.take(pa.array(at)), len(before), -len(after) if after else None)
    # a letter that is in all that stands between values, and in no value, leaves one way only
    shared = sorted(set.intersection(*map(set, between))) if between else []
    if not shared:
        return
    number = sum(text.count(shared[0]) for text in between)
    sure = is_true(pc.equal(pc.count_substring(body, shared[0]), number))
    body, at = body.filter(pa.array(sure)), at[sure]
    same = len(set(between)) == 1
    for pieces in cut(body, between[0], len(template.names)) if same else (_cut_in_turn(body, between),):
        if len(pieces.columns) == len(template.names):
            yield Pieces(at[pieces.at], pieces.columns)


def _cut_in_turn(rest: pa.StringArray, between: list[str]) -> Pieces:
    """Lines cut at one text after the other; those that lack one of them are left out."""
    pieces = Pieces(np.arange(len(rest)), [rest])
    for text in between:
        pieces = pieces.where(is_true(pc.match_substring(pieces.columns[-1], text)))
        flat = pc.split_pattern(pieces.columns[-1], text, max_splits=1).flatten()
        halves = [flat.take(pa.array(np.arange(half, len(flat), 2))) for half in (0, 1)]
        pieces = Pieces(pieces.at, [*pieces.columns[:-1], *halves])
    return pieces


def _anchored(
    number: int,
    pieces: Pieces,
    template: Template,
    anchors: Anchors,
    wanted: frozenset[str] | None,
    bad: npt.NDArray[np.bool_],
    why: npt.NDArray[np.object_],
) -> Iterator[raw.RawBatch]:
    """The records among the lines cut; `why` says what is wrong with the others."""
    looks: npt.NDArray[np.bool_] = np.ones(len(pieces.at), np.bool_)
    for name, column in zip(template.names, pieces.columns, strict=True):
        if name in anchors:
            looks &= is_true(pc.match_substring_regex(column, anchors[name]))
    why[pieces.at] = "the values are not what the template's variables are: check the option template"
    bad[pieces.at[looks]] = False
    good = pieces.where(looks)
    if len(good.at):
        named = zip(template.names, good.columns, strict=True)
        found = {name: column for name, column in named if wanted is None or name in wanted}
        yield raw.RawBatch(raw.string_batch(found, len(good.at)), pa.array(good.at + number))

"""Columns of times as switches write them, turned into UTC.

The common layouts are settled by vector operations, everything else by `times.time_of`, once per distinct text. Both
give the same answers (a test holds them to it).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from typing import TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters.column_specs import TimeColumn, ZoneUnit
from cdr_adapters.text_bytes import Mask, Octets, TextBytes
from cdr_adapters.time_layouts import Layout, iso_layouts, layouts, likely_first, read_layout
from cdr_adapters.times import (
    DAY_MS,
    EARLIEST_MS,
    JULIAN_EPOCH,
    LATEST_MS,
    MS,
    PER_SECOND,
    SINCE,
    Reading,
    Status,
    offset_said,
    step_of_directives,
    time_of,
)
from cdr_adapters.zone_segments import Segments, segments
from cdr_adapters.zones import zone_of

Milliseconds: TypeAlias = npt.NDArray[np.int64]
Rows: TypeAlias = npt.NDArray[np.int64]
"""Positions of rows in a column."""


@dataclass(frozen=True, slots=True)
class Times:
    """A column of readings; `first`, `second` and `step` mean something where `status` is OK or REPEATED."""

    status: npt.NDArray[np.uint8]
    first: Milliseconds
    second: Milliseconds
    step: Milliseconds


def _empty(rows: int) -> Times:
    zeros = np.zeros(rows, np.int64)
    return Times(np.full(rows, Status.WRONG_FORMAT, np.uint8), zeros, zeros.copy(), zeros.copy())


def _fill(to: Times, rows: Rows, readings: list[Reading], which: npt.NDArray[np.int64]) -> None:
    """Row `rows[i]` gets `readings[which[i]]`."""
    to.status[rows] = np.array([reading.status for reading in readings], np.uint8)[which]
    to.first[rows] = np.array([reading.first for reading in readings], np.int64)[which]
    to.second[rows] = np.array([reading.second for reading in readings], np.int64)[which]
    to.step[rows] = np.array([reading.step for reading in readings], np.int64)[which]


def _put(to: Times, rows: Rows, part: Times) -> None:
    to.status[rows], to.first[rows] = part.status, part.first
    to.second[rows], to.step[rows] = part.second, part.step


def _settled(
    to: Times, rows: Rows, first: Milliseconds, second: Milliseconds | None, step: int | npt.NDArray[np.int64]
) -> None:
    """Rows with one reading each, or two where these differ; those out of range stay open for the slow way."""
    if len(first) and (first.min() < EARLIEST_MS or first.max() >= LATEST_MS):
        good = (first >= EARLIEST_MS) & (first < LATEST_MS)
        rows, first, second = rows[good], first[good], None if second is None else second[good]
        step = step if isinstance(step, int) else step[good]
    at = slice(None) if len(rows) == len(to.status) else rows
    to.first[at] = first
    to.step[at] = step
    if second is None:
        to.second[at], to.status[at] = first, Status.OK
    else:
        to.second[at] = second
        to.status[at] = np.where(first == second, np.uint8(Status.OK), np.uint8(Status.REPEATED))


def _localised(to: Times, rows: Rows, local: Milliseconds, zone: tzinfo, step: int) -> None:
    """Rows with local times of a zone."""
    found, where = _segments_of(local, zone)
    if isinstance(where, int) and not found.skipped[where]:
        twice = found.first[where] != found.second[where]
        _settled(to, rows, local - found.first[where], local - found.second[where] if twice else None, step)
        return
    which = np.broadcast_to(where, local.shape)
    skipped = found.skipped[which]
    to.status[rows[skipped]] = Status.SKIPPED
    rows, local, which = rows[~skipped], local[~skipped], which[~skipped]
    _settled(to, rows, local - found.first[which], local - found.second[which], step)


def _segments_of(local: Milliseconds, zone: tzinfo) -> tuple[Segments, npt.NDArray[np.intp] | int]:
    years = (np.array([local.min(), local.max()]) // 1000).astype("datetime64[s]").astype("datetime64[Y]")
    first, last = (years.astype(np.int64) + 1970).tolist()
    found = segments(zone, first, last)
    return found, found.at(local)


def _abbreviated(
    to: Times, rows: Rows, local: Milliseconds, names: Octets, spec: TimeColumn, zone: tzinfo | None, step: int
) -> None:
    """Rows with local times and the zone's abbreviation beside each; what is in doubt stays open for the slow way."""
    left = np.arange(len(rows))
    for _ in range(_MOST_NAMES):
        if not len(left):
            return
        name = names[left[0]].tobytes().decode("ascii")
        same = (names[left] == names[left[0]]).all(axis=1)
        chosen, left = left[same], left[~same]
        offset = offset_said(name, spec, zone)
        if offset is not None:
            _settled(to, rows[chosen], local[chosen] - offset // MS, None, step)
        elif zone is not None:
            found, where = _segments_of(local[chosen], zone)
            which = np.broadcast_to(where, chosen.shape)
            bears = np.array([named is not None and named.upper() == name.upper() for named in found.names])[which]
            _settled(to, rows[chosen][bears], (local[chosen] - found.first[which])[bears], None, step)


_MOST_NAMES = 16


def _by_layouts(
    to: Times, rows: Rows, matrix: Octets, some: tuple[Layout, ...], spec: TimeColumn, zone: tzinfo | None
) -> None:
    """Rows of one length, by the first layout that each fits."""
    # no text fits two layouts of one pattern and length: the order is for speed alone
    for layout in likely_first(matrix, some):
        if not len(rows):
            return
        found = read_layout(matrix, layout)
        fits = found.fits
        if not fits.any():
            continue
        step = step_of_directives(layout.directives)
        at, local, text = rows, found.local, matrix
        if not fits.all():
            at, local, text = rows[fits], local[fits], matrix[fits]
        if found.offset is not None:
            _settled(to, at, local - (found.offset if fits.all() else found.offset[fits]), None, step)
        elif found.zone_at is not None:
            begin, width = found.zone_at
            _abbreviated(to, at, local, text[:, begin : begin + width], spec, zone, step)
        elif zone is not None:
            _localised(to, at, local, zone, step)
        else:
            to.status[at] = Status.NO_ZONE
        rows, matrix = rows[~fits], matrix[~fits]


def _whole(matrix: Octets, begin: int, end: int, bad: Mask) -> Milliseconds:
    """The digits of columns begin to end as one number each; `bad` grows by the rows that have something else there."""
    value = np.zeros(len(matrix), np.int64)
    for part in range(begin, end, 4):  # four at a time: narrow arithmetic is fast
        width = min(4, end - part)
        four = np.zeros(len(matrix), np.uint16)
        for at in range(part, part + width, 2):
            pair = matrix[:, at] - np.uint8(48)
            bad |= pair > 9
            if at + 1 < part + width:
                digit = matrix[:, at + 1] - np.uint8(48)
                bad |= digit > 9
                four = four * np.uint16(100) + (pair * np.uint8(10) + digit)
            else:
                four = four * np.uint16(10) + pair
        value = value * 10**width + four if part > begin else four.astype(np.int64)
    return value


_MOST_DIGITS = 18
_POINT = ord(".")


def _by_number(to: Times, rows: Rows, matrix: Octets, unit: str) -> None:
    """Rows of one length, as a count since an epoch: digits, for seconds perhaps with a point among them."""
    per_second, since = PER_SECOND[unit], SINCE.get(unit, 0)
    width = matrix.shape[1]
    limit = _MOST_DIGITS + (unit == "epoch_ns")
    points: list[int | None] = [None]
    if per_second == 1 and np.count_nonzero(matrix == _POINT):
        points += np.flatnonzero((matrix == _POINT).any(axis=0)).tolist()[:_MOST_POINTS]
    for point in points:
        if not len(rows):
            return
        end = width if point is None else point
        if not 0 < end <= limit:
            continue
        bad = np.zeros(len(rows), np.bool_)
        value = _whole(matrix, 0, end, bad)
        if per_second == 1:
            value = (np.minimum(value, 10**15) - since) * 1000
        else:
            value //= per_second // 1000
        step: npt.NDArray[np.int64] | int = 1000 if per_second == 1 else 1
        if point is not None:
            bad |= matrix[:, point] != _POINT
            shown = np.zeros(len(rows), np.bool_)
            for at in range(point + 1, width):
                digit = matrix[:, at] - np.uint8(48)
                bad |= digit > 9
                shown |= digit > 0
                if at - point <= 3:
                    value += digit.astype(np.int64) * 10 ** (3 - (at - point))
            step = np.where(shown, 1, 1000)
        if not bad.any():
            _settled(to, rows, value, None, step)
            return
        if not bad.all():
            good = ~bad
            _settled(to, rows[good], value[good], None, step if isinstance(step, int) else step[good])
            rows, matrix = rows[bad], matrix[bad]


_MOST_POINTS = 3
_JULIAN = r"^[1-9]\d{0,9}\.\d{1,15}$"


def _by_julian_day(to: Times, rows: Rows, texts: pa.StringArray) -> None:
    fits: Mask = pc.match_substring_regex(texts, _JULIAN).to_numpy(zero_copy_only=False)
    if fits.any():
        number = pc.cast(texts.filter(pa.array(fits)), pa.float64()).to_numpy(zero_copy_only=False)
        ms = np.rint((np.minimum(number, 1e9) - JULIAN_EPOCH) * DAY_MS).astype(np.int64)
        _settled(to, rows[fits], ms, None, 1000)


_PLAIN_ISO = {
    "%Y-%m-%d %H:%M:%S": (b" ", False),
    "%Y-%m-%dT%H:%M:%S": (b"T", False),
    "%Y-%m-%d %H:%M:%S.%f": (b" ", True),
    "%Y-%m-%dT%H:%M:%S.%f": (b"T", True),
    "iso8601": (b"", None),
}
"""What stands between date and time, if that is said; and whether there is a fraction, if that is."""
_POINT_AT = len("2026-11-21 23:23:27")
_PLAIN_UNITS = {_POINT_AT: "s", _POINT_AT + 4: "ms", _POINT_AT + 7: "us"}


def _by_cast(to: Times, texts: pa.StringArray, octets: TextBytes, time_format: str, zone: tzinfo) -> bool:
    """A whole column of plain ISO times of one length, by the fastest way there is; whether it was one."""
    length = int(octets.end[0] - octets.start[0])
    unit = _PLAIN_UNITS.get(length)
    if time_format not in _PLAIN_ISO or unit is None or not (octets.lengths == length).all():
        return False
    between, has_fraction = _PLAIN_ISO[time_format]
    if has_fraction not in (None, unit != "s"):
        return False
    matrix = octets.matrix(octets.start, length)
    if between and not (matrix[:, _ISO_T] == between[0]).all():
        return False  # the cast takes both; with anything else between, it is no plain time
    if unit != "s" and not (matrix[:, _POINT_AT] == _POINT).all():
        return False
    try:
        count = pc.cast(pc.cast(texts, pa.timestamp(unit)), pa.int64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return False  # 30 February, or no time at all
    ms = count * 1000 if unit == "s" else count // 1000 if unit == "us" else count
    if ms.min() < EARLIEST_MS + DAY_MS or ms.max() >= LATEST_MS - DAY_MS:
        return False
    _localised(to, np.arange(len(texts)), ms, zone, 1000 if unit == "s" else 1)
    return True


_ISO_T = len("2026-11-21")
_LONGEST = 64
_WORTHWHILE = 16
"""Texts of one length from which on their bytes are read together."""


def _quickly(
    to: Times,
    rows: Rows,
    texts: pa.StringArray,
    octets: TextBytes,
    time_format: str,
    spec: TimeColumn,
    zone: tzinfo | None,
) -> None:
    """Settle what is beyond doubt of these rows in one format."""
    if time_format == "julian":
        _by_julian_day(to, rows, texts.take(pa.array(rows)))
        return
    if not len(rows):
        return
    lengths = octets.lengths if len(rows) == len(octets) else octets.lengths[rows]
    if lengths.min() == lengths.max() <= _LONGEST:
        counts = np.zeros(int(lengths[0]), np.int64)
        counts[-1:] = len(rows)
    else:
        counts = np.bincount(np.minimum(lengths, _LONGEST + 1))[1 : _LONGEST + 1]
    for length in (np.flatnonzero(counts) + 1).tolist():
        number = time_format in PER_SECOND
        iso = time_format == "iso8601"
        some = () if number else iso_layouts(length) if iso else layouts(time_format, length)
        if not (some or number) or counts[length - 1] < min(_WORTHWHILE, len(rows)):
            continue
        chosen = rows if counts[length - 1] == len(rows) else rows[lengths == length]
        matrix = octets.matrix(octets.start[chosen], length)
        if number:
            _by_number(to, chosen, matrix, time_format)
        else:
            _by_layouts(to, chosen, matrix, some, spec, zone)


def _cannot_fit(rows: Rows, octets: TextBytes, time_format: str) -> Mask:
    """Which rows the format surely doesn't fit, so that the next one may try; by the punctuation that is in them."""
    bounds = np.stack((octets.start[rows], octets.end[rows]), axis=1).astype(np.int64)
    if time_format in (*PER_SECOND, "julian"):
        return _counted(octets, bounds, b"-/:") > 0
    if time_format == "iso8601":
        return _counted(octets, bounds, b"/") > 0
    surely: Mask = np.zeros(len(rows), np.bool_)
    if "%z" not in time_format:
        for mark in b"-/.:,":
            surely |= _counted(octets, bounds, bytes([mark])) != time_format.count(chr(mark))
    return surely


def _counted(octets: TextBytes, bounds: npt.NDArray[np.int64], marks: bytes) -> npt.NDArray[np.int64]:
    """How many of these bytes there are in each text."""
    there = np.zeros(len(octets.data) + 1, np.int64)
    np.cumsum(np.isin(octets.data, np.frombuffer(marks, np.uint8)), out=there[1:])
    counted: npt.NDArray[np.int64] = there[bounds[:, 1]] - there[bounds[:, 0]]
    return counted


def _slowly(texts: pa.StringArray, rows: Rows, spec: TimeColumn, zone: tzinfo | None, to: Times) -> None:
    encoded = texts.take(pa.array(rows)).dictionary_encode()
    readings = [time_of(text.as_py(), spec, zone) for text in encoded.dictionary]
    _fill(to, rows, readings, encoded.indices.to_numpy(zero_copy_only=False))


def _read(texts: pa.StringArray, spec: TimeColumn, zone: tzinfo | None) -> Times:
    """The texts' readings: what is beyond doubt by vector operations, all else one by one, once per distinct text."""
    times = _empty(len(texts))
    if not len(texts):
        return times
    octets = TextBytes.of(texts)
    if zone is not None and _by_cast(times, texts, octets, spec.format[0], zone):
        return times
    blank = octets.lengths == 0
    times.status[blank] = Status.ABSENT
    rows = np.flatnonzero(~blank)
    for number, time_format in enumerate(spec.format, 1):
        _quickly(times, rows, texts, octets, time_format, spec, zone)
        rows = rows[times.status[rows] == Status.WRONG_FORMAT]
        if number == len(spec.format) or not len(rows):
            break
        rows = rows[_cannot_fit(rows, octets, time_format)]
    rows = np.flatnonzero(times.status == Status.WRONG_FORMAT)
    if len(rows):
        _slowly(texts, rows, spec, zone, times)
    return times


def _read_zones(
    texts: pa.StringArray, zones: pa.StringArray, unit: ZoneUnit, spec: TimeColumn, otherwise: tzinfo | None
) -> Times:
    """The texts' readings, each in its row's own zone; where a row is silent about it, in the one `otherwise`."""
    times = _empty(len(texts))
    encoded = pc.fill_null(zones, "").dictionary_encode()
    which = encoded.indices.to_numpy(zero_copy_only=False)
    order = np.argsort(which, kind="stable")
    counts = np.bincount(which, minlength=len(encoded.dictionary))
    unknown: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)]
    end = 0
    for name, count in zip(encoded.dictionary.to_pylist(), counts.tolist(), strict=True):
        rows = order[end : end + count]
        end += count
        zone = zone_of(name, unit) if name.strip() else otherwise
        if zone is None:
            unknown.append(rows)  # together: a file of nonsense has as many of them as it has rows
        else:
            _put(times, rows, _read(texts.take(pa.array(rows)), spec, zone))
    rest = np.concatenate(unknown)
    if len(rest):
        _put(times, rest, _read(texts.take(pa.array(rest)), spec, None))
    return times


def read_times(
    values: pa.StringArray,
    spec: TimeColumn,
    zone: ZoneInfo | None,
    fraction: pa.StringArray | None = None,
    zones: pa.StringArray | None = None,
) -> Times:
    """A column of times as UTC, with fraction and shift applied, before the source's clock offset.

    `zones` holds each row's own zone in the column's `zone_unit`: where it is empty, `zone` counts; a row whose zone
    can't be read has NO_ZONE.
    """
    texts = pc.fill_null(values, "") if values.null_count else values
    if zones is not None and spec.zone_unit is not None:
        times = _read_zones(texts, zones, spec.zone_unit, spec, zone)
    else:
        times = _read(texts, spec, zone)
    if fraction is not None and spec.fraction_unit is not None:
        _add_fraction(fraction, spec.fraction_unit, times)
    shift = spec.shift // MS
    if shift:
        times.first[:] += shift
        times.second[:] += shift
    if spec.resolution is not None:
        times.step[:] = spec.resolution // MS
    return times


def _add_fraction(fraction: pa.StringArray, unit: str, times: Times) -> None:
    texts = pc.fill_null(fraction, "")
    plain = pc.match_substring_regex(texts, r"^\d{1,3}$" if unit == "ms" else r"^\d{1,6}$")
    present = plain.to_numpy(zero_copy_only=False)
    number = pc.cast(pc.if_else(plain, texts, "0"), pa.int64()).to_numpy(zero_copy_only=False)
    added = number if unit == "ms" else number // 1000
    times.first[:] += added
    times.second[:] += added
    times.step[present] = 1
    wrong = ~present & (pc.binary_length(texts).to_numpy(zero_copy_only=False) > 0)
    times.status[wrong & np.isin(times.status, (Status.OK, Status.REPEATED))] = Status.WRONG_FORMAT

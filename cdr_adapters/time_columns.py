"""Columns of times as switches write them, turned into UTC.

The common layouts are settled by vector operations, everything else by `times.time_of`, once per distinct text. Both
give the same answers (a test holds them to it).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from functools import lru_cache
from typing import TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters.column_specs import TimeColumn, ZoneUnit
from cdr_adapters.times import (
    DAY_MS,
    EARLIEST_MS,
    EPOCH,
    JULIAN_EPOCH,
    LATEST_MS,
    MS,
    PER_SECOND,
    SINCE,
    UNFIT,
    Reading,
    Status,
    read_local,
    step_of,
    time_of,
)
from cdr_adapters.zones import zone_of

Milliseconds: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Times:
    """A column of readings; `first`, `second` and `step` mean something where `status` is OK or REPEATED."""

    status: npt.NDArray[np.uint8]
    first: Milliseconds
    second: Milliseconds
    step: Milliseconds


@lru_cache(maxsize=4096)
def _day_offset(zone: tzinfo, day: int) -> int | None:
    """The zone's offset from UTC in ms over the whole local day, `day` counted from 1970; None when it changes."""
    start = EPOCH + timedelta(days=day)
    offsets = set()
    for hour in range(-1, 26):  # a change at midnight belongs to both days
        for fold in (0, 1):
            offsets.add((start + timedelta(hours=hour)).replace(tzinfo=zone, fold=fold).utcoffset())
    offset = offsets.pop()
    return None if offsets or offset is None else offset // MS


_CHANGES = np.iinfo(np.int64).min


def _localise(local: Milliseconds, valid: npt.NDArray[np.bool_], zone: tzinfo, times: Times) -> None:
    """Write local times (ms) as UTC into `times` where `valid`."""
    rows = np.flatnonzero(valid & (local >= EARLIEST_MS - DAY_MS) & (local < LATEST_MS + DAY_MS))
    times.status[valid] = Status.OUT_OF_RANGE
    if not len(rows):
        return
    days = local[rows] // DAY_MS
    first_day = int(days.min())
    days -= first_day
    offsets = np.zeros(int(days.max()) + 1, np.int64)
    for day in np.flatnonzero(np.bincount(days)):
        offset = _day_offset(zone, first_day + int(day))
        offsets[day] = _CHANGES if offset is None else offset
    offset_of = offsets[days]
    times.first[rows] = times.second[rows] = local[rows] - offset_of
    times.status[rows] = Status.OK
    changing = rows[offset_of == _CHANGES]
    if len(changing):
        moments, which = np.unique(local[changing], return_inverse=True)
        _fill(times, changing, [read_local(EPOCH + int(moment) * MS, zone, 0) for moment in moments], which)


def _fill(to: Times, rows: npt.NDArray[np.int64], readings: list[Reading], which: npt.NDArray[np.int64]) -> None:
    """Row `rows[i]` gets `readings[which[i]]`, except for its step."""
    to.status[rows] = np.array([reading.status for reading in readings], np.uint8)[which]
    to.first[rows] = np.array([reading.first for reading in readings], np.int64)[which]
    to.second[rows] = np.array([reading.second for reading in readings], np.int64)[which]


def _empty(rows: int) -> Times:
    zeros = np.zeros(rows, np.int64)
    return Times(np.full(rows, Status.WRONG_FORMAT, np.uint8), zeros, zeros.copy(), zeros.copy())


_PLAIN_LAYOUTS = frozenset(("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"))
_ISO_LAYOUTS = _PLAIN_LAYOUTS | {layout + ".%f" for layout in _PLAIN_LAYOUTS}
_TO_ISO = {"Y": r"(\d{4})", "m": r"(\d\d)", "d": r"(\d\d)", "H": r"(\d\d)", "M": r"(\d\d)", "S": r"(\d\d)"}


@lru_cache(maxsize=256)
def _iso_rewrite(pattern: str) -> tuple[str, str] | None:
    """A regular expression for `pattern` and the ISO layout of its groups, for patterns of plain numbers; else None."""
    shape, groups, fraction = "", [], ""
    for part in re.findall(r"%.|[^%]", pattern, re.DOTALL):
        if part == "%f" and shape.endswith(r"(\d\d)\."):
            shape = shape.removesuffix(r"\.") + r"((?:\.\d{1,6}))"
            groups.append("f")
        elif part[0] == "%":
            if part[1] not in _TO_ISO or part[1] in groups:
                return None
            shape += _TO_ISO[part[1]]
            groups.append(part[1])
        else:
            shape += re.escape(part)
    if set(groups) - {"f"} != set("YmdHMS") or ("f" in groups and groups[groups.index("f") - 1] != "S"):
        return None
    at = {name: f"\\{groups.index(name) + 1}" for name in groups}
    fraction = at.get("f", "")
    layout = f"{at['Y']}-{at['m']}-{at['d']} {at['H']}:{at['M']}:{at['S']}{fraction}"
    return f"^{shape}$", layout


def _cast_ms(texts: pa.StringArray, unit: str, zone: str | None) -> Milliseconds | None:
    """Texts in ISO layout as ms, `unit` "s" or "us"; None when one of them is no time after all (30 February)."""
    try:
        # microseconds, not milliseconds: a cast refuses a fraction longer than its unit
        ticks = pc.cast(texts, pa.timestamp(unit, zone))
    except pa.ArrowInvalid:
        return None
    count: Milliseconds = pc.cast(ticks, pa.int64()).to_numpy(zero_copy_only=False)
    return count * 1000 if unit == "s" else count // 1000


_PLAIN_LENGTH = len("2026-11-21 23:23:27")


def _is_plain(texts: pa.StringArray, between: str) -> bool:
    """Whether all texts are as long as a plain ISO time, with `between` after the date; a cast checks the rest."""
    of_length = pc.equal(pc.binary_length(texts), _PLAIN_LENGTH)
    if of_length.true_count < len(texts):
        return False
    separator = pc.binary_slice(pc.cast(texts, pa.binary()), 10, 11)
    return bool(pc.equal(separator, between.encode()).true_count == len(texts))


def _vector_pattern(texts: pa.StringArray, pattern: str, zone: tzinfo | None, times: Times) -> None:
    rewrite = _iso_rewrite(pattern)
    if rewrite is None or zone is None:
        return
    shape, layout = rewrite
    fits: npt.NDArray[np.bool_] = np.ones(len(texts), np.bool_)
    chosen = texts
    if pattern not in _PLAIN_LAYOUTS or not _is_plain(texts, pattern[8]):
        fits = pc.match_substring_regex(texts, shape).to_numpy(zero_copy_only=False)
        if not fits.any():
            return
        chosen = texts if fits.all() else texts.filter(pa.array(fits))
        if pattern not in _ISO_LAYOUTS:
            chosen = pc.replace_substring_regex(chosen, shape, layout)
    ms = _cast_ms(chosen, "us" if "%f" in pattern else "s", None)
    if ms is None:
        return
    times.step[fits] = step_of(pattern)
    if len(ms) == len(texts):
        local = ms
    else:
        local = np.zeros(len(texts), np.int64)
        local[fits] = ms
    _localise(local, fits, zone, times)


_ISO_AWARE = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[-+]\d\d:?\d\d)$"
_ISO_NAIVE = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?$"


def _vector_iso(texts: pa.StringArray, zone: tzinfo | None, times: Times) -> None:
    for shape, target in ((_ISO_AWARE, "UTC"), (_ISO_NAIVE, None)):
        fits = pc.match_substring_regex(texts, shape).to_numpy(zero_copy_only=False)
        if not fits.any() or (target is None and zone is None):
            continue
        chosen = texts.filter(pa.array(fits))
        ms = _cast_ms(chosen, "us", target)
        if ms is None:
            continue
        times.step[fits] = np.where(pc.match_substring(chosen, ".").to_numpy(zero_copy_only=False), 1, 1000)
        if target is None and zone is not None:
            local = np.zeros(len(texts), np.int64)
            local[fits] = ms
            _localise(local, fits, zone, times)
        else:
            times.first[fits] = times.second[fits] = ms
            times.status[fits] = Status.OK


_WHOLE = r"^[1-9]\d{0,17}$"
_WHOLE_NS = r"^[1-8]\d{0,18}$"
_DECIMAL = {"epoch_s": r"^[1-9]\d{0,9}\.\d{1,6}$", "julian": r"^[1-9]\d{0,9}\.\d{1,15}$"}


def _vector_number(texts: pa.StringArray, unit: str, times: Times) -> None:
    whole = pc.match_substring_regex(texts, _WHOLE_NS if unit == "epoch_ns" else _WHOLE).to_numpy(zero_copy_only=False)
    if unit != "julian" and whole.any():
        value = pc.cast(texts.filter(pa.array(whole)), pa.int64()).to_numpy(zero_copy_only=False)
        # far beyond the range anyway; the limit only keeps the product from wrapping round
        per_second = PER_SECOND[unit]
        seconds = per_second == 1
        ms = np.minimum(value - SINCE.get(unit, 0), 10**15) * 1000 if seconds else value // (per_second // 1000)
        times.first[whole] = ms
        times.step[whole] = 1000 if seconds else 1
        times.status[whole] = Status.OK
    np.copyto(times.second, times.first)
    if unit not in _DECIMAL or whole.all():
        return
    decimal = pc.match_substring_regex(texts, _DECIMAL[unit]).to_numpy(zero_copy_only=False)
    if decimal.any():
        number = pc.cast(texts.filter(pa.array(decimal)), pa.float64()).to_numpy(zero_copy_only=False)
        if unit == "julian":
            times.first[decimal] = np.rint((number - JULIAN_EPOCH) * DAY_MS).astype(np.int64)
            times.step[decimal] = 1000
        else:
            # a double holds such a second to a quarter of a microsecond; the addend keeps .123 from becoming .122
            times.first[decimal] = np.floor(number * 1000 + 0.0005).astype(np.int64)
            times.step[decimal] = np.where(number % 1, 1, 1000)
        times.status[decimal] = Status.OK
    np.copyto(times.second, times.first)


def _slowly(
    texts: pa.StringArray, rows: npt.NDArray[np.int64], spec: TimeColumn, zone: tzinfo | None, to: Times
) -> None:
    encoded = texts.take(pa.array(rows)).dictionary_encode()
    readings = [time_of(text.as_py(), spec, zone) for text in encoded.dictionary]
    which = encoded.indices.to_numpy(zero_copy_only=False)
    _fill(to, rows, readings, which)
    to.step[rows] = np.array([reading.step for reading in readings], np.int64)[which]


def _read(texts: pa.StringArray, spec: TimeColumn, zone: tzinfo | None) -> Times:
    """The texts' readings; the common layouts of the first format by vector operations, all else one by one."""
    times = _empty(len(texts))
    time_format = spec.format[0]
    if time_format == "iso8601":
        _vector_iso(texts, zone, times)
    elif time_format in (*PER_SECOND, "julian"):
        _vector_number(texts, time_format, times)
    else:
        _vector_pattern(texts, time_format, zone, times)
    settled = (times.status == Status.OK) | (times.status == Status.REPEATED)
    outside = settled & ((times.first < EARLIEST_MS) | (times.first >= LATEST_MS))
    times.status[outside] = Status.OUT_OF_RANGE
    open_rows = np.flatnonzero(np.isin(times.status, UNFIT))
    if len(open_rows):
        _slowly(texts, open_rows, spec, zone, times)
    return times


def _read_zones(texts: pa.StringArray, zones: pa.StringArray, unit: ZoneUnit, spec: TimeColumn) -> Times:
    """The texts' readings, each in its row's own zone."""
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
        zone = zone_of(name, unit)
        if zone is None:
            unknown.append(rows)  # together: a file of nonsense has as many of them as it has rows
        else:
            _put(times, rows, _read(texts.take(pa.array(rows)), spec, zone))
    rest = np.concatenate(unknown)
    if len(rest):
        _put(times, rest, _read(texts.take(pa.array(rest)), spec, None))
    return times


def _put(to: Times, rows: npt.NDArray[np.int64], part: Times) -> None:
    to.status[rows], to.first[rows] = part.status, part.first
    to.second[rows], to.step[rows] = part.second, part.step


def read_times(
    values: pa.StringArray,
    spec: TimeColumn,
    zone: ZoneInfo | None,
    fraction: pa.StringArray | None = None,
    zones: pa.StringArray | None = None,
) -> Times:
    """A column of times as UTC, with fraction and shift applied, before the source's clock offset.

    `zones` holds each row's own zone in the column's `zone_unit`; a row whose zone can't be read has NO_ZONE.
    """
    texts = pc.fill_null(values, "") if values.null_count else values
    if zones is not None and spec.zone_unit is not None:
        times = _read_zones(texts, zones, spec.zone_unit, spec)
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

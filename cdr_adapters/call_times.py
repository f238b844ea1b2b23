"""When each call of a batch was seized, answered and released, from whatever of that its record says.

The seizure is what calls are found by, and many switches don't write it. Then it is an interval, as narrow as the facts
allow and never narrower:

- seizure recorded: as wide as its clock is coarse;
- release and the time since seizure: their difference, as wide as both are coarse together;
- answer: up to `max_setup` before it;
- release and the time since answer: up to `max_setup` before their difference;
- release alone: up to `max_setup` before it for a call that was not answered, up to `max_call` for any other.

Answer goes before release. Where an answer and a release with the time since seizure contradict each other, the
interval spans both. A local time that occurred twice gives two readings, each with its own seizure; answer and release
take the reading that doesn't lie before it, and where there is none, the second reading falls.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters.column_specs import DurationColumn
from cdr_adapters.rejects import Rejects
from cdr_adapters.schema import RejectReason
from cdr_adapters.text_bytes import Mask, TextBytes
from cdr_adapters.time_columns import Times
from cdr_adapters.times import Status

Milliseconds: TypeAlias = npt.NDArray[np.int64]

_TIME_REJECTS = {
    Status.WRONG_FORMAT: (RejectReason.BAD_TIME, "is not in the format {format}"),
    Status.OUT_OF_RANGE: (RejectReason.BAD_TIME, "is outside 1990 to 2100 when read as {format}: check the unit"),
    Status.NO_ZONE: (
        RejectReason.BAD_TIME,
        "says no zone, or none that can be read: set zone (in the mapping, or --zone)",
    ),
    Status.UNKNOWN_ABBREVIATION: (
        RejectReason.BAD_TIME,
        "has a zone abbreviation of several zones, or one that the zone doesn't use then: set zone or abbreviations",
    ),
    Status.SKIPPED: (RejectReason.TIME_SKIPPED_BY_DST, "lies in the hour that the zone's clocks skipped"),
}


@dataclass(frozen=True, slots=True)
class Moments:
    """One kind of time over a batch: what was read, less the clock's offset.

    `name` and `said_format` are for messages; `first` and `second` mean something where `good`.
    """

    name: str
    said_format: str
    status: npt.NDArray[np.uint8]
    first: Milliseconds
    second: Milliseconds
    step: Milliseconds

    @classmethod
    def of(cls, name: str, said_format: str, times: Times, offset: int) -> Moments:
        """What `times` says on a clock that is `offset` ms ahead."""
        if not offset:
            return cls(name, said_format, times.status, times.first, times.second, times.step)
        return cls(name, said_format, times.status, times.first - offset, times.second - offset, times.step)

    @property
    def present(self) -> Mask:
        """Where there is a text, good or bad."""
        there: Mask = self.status != Status.ABSENT
        return there

    @property
    def repeated(self) -> Mask:
        """Where the local time occurred twice."""
        twice: Mask = self.status == Status.REPEATED
        return twice

    @property
    def good(self) -> Mask:
        """Where there is a reading."""
        read: Mask = (self.status == Status.OK) | (self.status == Status.REPEATED)
        return read

    def not_before(self, earliest: Milliseconds) -> Milliseconds:
        """The earliest reading that doesn't lie before `earliest`, else the later one."""
        if not self.repeated.any():
            return self.first
        return np.where(self.first + self.step >= earliest, self.first, self.second)

    def reject_bad(self, needed: Mask, rejects: Rejects) -> None:
        """Reject the rows that need this time and have one that can't be read."""
        if not (needed & ~self.good).any():
            return
        for status, (reason, detail) in _TIME_REJECTS.items():
            text = f"{self.name}: {detail.format(format=self.said_format)}"
            rejects.add(needed & (self.status == status), reason, text)


@dataclass(frozen=True, slots=True)
class Lengths:
    """Durations in ms: they lie in [low, high] where `known`; `bad` are texts that are no duration."""

    known: Mask
    low: Milliseconds
    high: Milliseconds
    bad: Mask
    from_answer: bool


_UNIT_MS = {"s": 1000.0, "hms": 1000.0, "ms": 1.0, "us": 0.001, "10ms": 10.0}
_NUMBER = r"^[0-9]{1,12}(?:\.[0-9]{0,9})?$"
_HMS = re.compile(r"(?:([0-9]{1,4}):)?([0-9]{1,2}):([0-5]?[0-9](?:\.[0-9]{1,9})?)", re.ASCII)


def read_lengths(values: pa.StringArray, spec: DurationColumn) -> Lengths:
    """A column of durations."""
    texts = pc.fill_null(values, "") if values.null_count else values
    number, shows_part = _numbers(texts, spec)
    known: Mask = ~np.isnan(number)
    number = np.where(known, number, 0.0)
    unit = _UNIT_MS[spec.unit]
    cut = np.where(shows_part, 1.0, max(unit, 1.0))
    low, high = number, number + cut
    if spec.rounded == "up":
        low, high = number - cut, number
    elif spec.rounded == "nearest":
        low, high = number - cut / 2, number + cut / 2
    return Lengths(
        known=known,
        low=np.maximum(np.floor(low), 0).astype(np.int64),
        high=np.ceil(high).astype(np.int64),
        bad=~known if known.all() else ~known & _some_text(texts),
        from_answer=spec.counts == "from_answer",
    )


def _numbers(texts: pa.StringArray, spec: DurationColumn) -> tuple[npt.NDArray[np.float64], Mask]:
    """Durations in ms, NaN for what is none; and which of them show parts of their unit."""
    unit = _UNIT_MS[spec.unit]
    octets = TextBytes.of(texts)
    lengths = octets.lengths
    begin, end = (int(octets.start[0]), int(octets.end[-1])) if len(texts) else (0, 0)
    digits = (octets.data[begin:end] - np.uint8(ord("0"))) <= 9
    if spec.unit != "hms" and digits.all() and lengths.min(initial=1) > 0 and lengths.max(initial=0) <= _MOST_DIGITS:
        whole = pc.cast(texts, pa.int64()).to_numpy(zero_copy_only=False)
        return whole * unit, np.zeros(len(texts), np.bool_)
    trimmed = pc.utf8_trim_whitespace(texts)
    shows_part = pc.match_substring(trimmed, ".").to_numpy(zero_copy_only=False)
    if spec.unit == "hms":
        encoded = trimmed.dictionary_encode()
        each = np.array([_hms(text) for text in encoded.dictionary.to_pylist()], np.float64)
        return each[encoded.indices.to_numpy(zero_copy_only=False)] * unit, shows_part
    fits = pc.match_substring_regex(trimmed, _NUMBER)
    number = pc.cast(pc.if_else(fits, trimmed, "nan"), pa.float64()).to_numpy(zero_copy_only=False)
    return number * unit, shows_part


_MOST_DIGITS = 12


def _some_text(texts: pa.StringArray) -> Mask:
    there: Mask = pc.greater(pc.binary_length(pc.utf8_trim_whitespace(texts)), 0).to_numpy(zero_copy_only=False)
    return there


def _hms(text: str) -> float:
    match = _HMS.fullmatch(text)
    return float("nan") if match is None else int(match[1] or 0) * 3600 + int(match[2]) * 60 + float(match[3])


@dataclass(frozen=True, slots=True)
class Reading:
    """The times of all rows, ms since 1970 UTC, in one reading; answer and release mean something where `good`."""

    earliest: Milliseconds
    latest: Milliseconds
    answer: Milliseconds
    release: Milliseconds


@dataclass(frozen=True, slots=True)
class CallTimes:
    """The times of a batch: `first`, and for the rows that are `repeated` also `second`."""

    first: Reading
    second: Reading
    repeated: Mask
    answered: Mask
    released: Mask


@dataclass(frozen=True, slots=True)
class Limits:
    """The longest setup and the longest call, in ms."""

    setup: int
    call: int


def call_times(
    seizure: Moments | None,
    answer: Moments | None,
    release: Moments | None,
    length: Lengths | None,
    unanswered: Callable[[], Mask],
    limits: Limits,
    rejects: Rejects,
) -> CallTimes:
    """The times of all rows. Rows without any, or with a bad one that they need, are rejected.

    Args:
        seizure, answer, release, length: what the mapping has of them.
        unanswered: tells the rows that are known not to have been answered; asked only where it matters.
        limits: the source's.
        rejects: grows by what is rejected here.
    """
    rows = len(rejects.mask)
    open_: Mask = np.ones(rows, np.bool_)
    needs: dict[str, Mask] = {}
    for moments in (seizure, answer, release):
        if moments is not None:
            needs[moments.name] = open_ & moments.present
            moments.reject_bad(needs[moments.name], rejects)
            open_ = open_ & ~moments.present
    rejects.add(open_, RejectReason.NO_TIME, "no time")
    nobody: Mask = np.zeros(rows, np.bool_)
    by_answer, by_release = needs.get("answer", nobody), needs.get("release", nobody)
    never_answered = unanswered() if by_release.any() else nobody
    if length is not None:
        _reject_bad_lengths(length, by_release, limits, rejects)
    repeated = nobody
    for moments in (seizure, answer, release):
        if moments is not None:
            repeated = repeated | (needs[moments.name] & moments.repeated)

    def reading(which: str) -> Reading:
        earliest, latest = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        for moments in (seizure, answer, release):
            if moments is None:
                continue
            by, at = needs[moments.name], getattr(moments, which)
            if moments is seizure:
                low, high = at, at + moments.step
            elif moments is answer:
                low, high = at - limits.setup, at + moments.step
            else:
                low, high = _before_release(at, moments.step, length, never_answered, limits)
            if by.all():
                earliest, latest = low, high
            elif by.any():
                earliest, latest = np.where(by, low, earliest), np.where(by, high, latest)
        zeros = np.zeros(rows, np.int64)
        answered_at = (
            zeros if answer is None else np.where(by_answer, getattr(answer, which), answer.not_before(earliest))
        )
        after = earliest if answer is None else np.where(answer.good, answered_at, earliest)
        released_at = zeros
        if release is not None:
            released_at = np.where(by_release, getattr(release, which), release.not_before(after))
        if release is not None and length is not None and not length.from_answer:
            both = by_answer & release.good & length.known
            if both.any():
                low, high = released_at - length.high, released_at + release.step - length.low
                earliest, latest = _both_hold(both, earliest, latest, low, high)
        return Reading(earliest, latest, answered_at, released_at)

    first = reading("first")
    second = first
    if repeated.any():
        second = reading("second")
        repeated = repeated & ~_ended_before_it_began(second, answer, release)
    return CallTimes(
        first,
        second,
        repeated,
        nobody if answer is None else answer.good,
        nobody if release is None else release.good,
    )


def _ended_before_it_began(reading: Reading, answer: Moments | None, release: Moments | None) -> Mask:
    """Rows that can't mean this reading: whatever the answer or the release means, it lies before the seizure."""
    before: Mask = np.zeros(len(reading.earliest), np.bool_)
    for moments, at in ((answer, reading.answer), (release, reading.release)):
        if moments is not None:
            before |= moments.good & (at + moments.step < reading.earliest)
    return before


def _before_release(
    at: Milliseconds, step: Milliseconds, length: Lengths | None, unanswered: Mask, limits: Limits
) -> tuple[Milliseconds, Milliseconds]:
    """The interval of the seizure of calls that were released at `at`."""
    furthest = np.where(unanswered, limits.setup, limits.call)
    nearest = np.zeros(len(at), np.int64)
    if length is not None:
        setup = limits.setup if length.from_answer else 0
        furthest = np.where(length.known, length.high + setup, furthest)
        nearest = np.where(length.known, length.low, nearest)
    return at - furthest, at + step - nearest


def _reject_bad_lengths(length: Lengths, needed: Mask, limits: Limits, rejects: Rejects) -> None:
    rejects.add(needed & length.bad, RejectReason.BAD_TIME, "duration: is not in its unit")
    too_long = needed & length.known & (length.low > limits.call)
    rejects.add(too_long, RejectReason.BAD_TIME, "duration: is longer than max_call: check the unit")


def _both_hold(
    where: Mask, earliest: Milliseconds, latest: Milliseconds, low: Milliseconds, high: Milliseconds
) -> tuple[Milliseconds, Milliseconds]:
    """What two intervals have in common; where they have nothing, all that lies in or between them."""
    begin, end = np.maximum(earliest, low), np.minimum(latest, high)
    agree = begin <= end
    begin = np.where(agree, begin, np.minimum(earliest, low))
    end = np.where(agree, end, np.maximum(latest, high))
    return np.where(where, begin, earliest), np.where(where, end, latest)

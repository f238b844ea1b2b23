"""Hours, gaps and lateness: an outage is a gap, a quiet night and a Sunday are none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from agent.hours import HOUR_MS, MANY, RULE, Gap, SourceHours, source_hours
from agent.index.coverage import SourceCoverage
from agent.index.layout import floor_ms
from agent.index.manifest import FileEntry

BEGIN = datetime(2026, 11, 2, tzinfo=UTC)  # a Monday
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WEEKS = 28 * DAY
FIRST = floor_ms(BEGIN) // HOUR_MS


def covered(end: datetime = BEGIN + WEEKS, begin: datetime = BEGIN) -> SourceCoverage:
    return SourceCoverage("acc", begin, end, begin, end, records=1, files=1)


def counts(traffic: Callable[[datetime], int], length: timedelta = WEEKS) -> dict[int, int]:
    hours = [(BEGIN + number * HOUR, FIRST + number) for number in range(length // HOUR)]
    return {hour: traffic(time) for time, hour in hours if traffic(time)}


def gaps(traffic: Callable[[datetime], int], length: timedelta = WEEKS) -> list[tuple[datetime, datetime]]:
    end = BEGIN + length
    found = source_hours(covered(end), counts(traffic, length), [], BEGIN, end)
    return [(gap.begin, gap.end) for gap in found.gaps]


def out(begin: datetime, hours: int, usual: int = 100) -> Callable[[datetime], int]:
    return lambda time: 0 if begin <= time < begin + hours * HOUR else usual


class TestAGap:
    @pytest.mark.parametrize("hours", [1, 5, 24, 72])
    def test_is_an_outage_of_hours_or_days(self, hours: int) -> None:
        begin = BEGIN + 10 * DAY + 9 * HOUR
        assert gaps(out(begin, hours)) == [(begin, begin + hours * HOUR)]

    def test_says_how_many_records_there_ought_to_be(self) -> None:
        begin = BEGIN + 10 * DAY
        found = source_hours(covered(), counts(out(begin, 3)), [], BEGIN, BEGIN + WEEKS)
        assert found.gaps == (Gap(begin, begin + 3 * HOUR, 300),)

    def test_is_no_quiet_night(self) -> None:
        assert gaps(lambda time: 0 if 1 <= time.hour < 5 else 200) == []

    def test_is_no_weekend_without_traffic(self) -> None:
        assert gaps(lambda time: 0 if time.weekday() > 4 else 200) == []

    def test_is_no_hour_in_which_few_calls_are_usual(self) -> None:
        begin = BEGIN + 10 * DAY
        assert gaps(out(begin, 1, usual=MANY - 1)) == []
        assert gaps(out(begin, 1, usual=MANY)) == [(begin, begin + HOUR)]

    def test_in_the_first_days_is_told_by_the_hours_beside_it(self) -> None:
        begin = BEGIN + 5 * HOUR
        assert gaps(out(begin, 2), 12 * HOUR) == [(begin, begin + 2 * HOUR)]
        few_after = out(begin, 2)
        assert gaps(lambda time: min(few_after(time), 10) if time >= begin else 100, 12 * HOUR) == []

    def test_ends_where_coverage_does(self) -> None:
        """What lies beyond the watermark is not there yet, and what lies before the beginning never was."""
        end = BEGIN + 20 * DAY
        late = source_hours(covered(end - 30 * HOUR), counts(out(end - DAY, 24), 20 * DAY), [], BEGIN, end)
        assert late.gaps == ()
        early = source_hours(covered(begin=BEGIN + DAY), counts(out(BEGIN, 24)), [], BEGIN, BEGIN + WEEKS)
        assert early.gaps == ()

    def test_is_no_hour_that_is_covered_in_part(self) -> None:
        half = timedelta(minutes=30)
        begin, end = BEGIN + 3 * DAY + half, BEGIN + 10 * DAY + half
        here = counts(lambda time: 100 if BEGIN + 3 * DAY < time < BEGIN + 10 * DAY else 0)
        assert source_hours(covered(end, begin), here, [], BEGIN, BEGIN + WEEKS).gaps == ()

    def test_is_nothing_where_nothing_is_covered(self) -> None:
        nothing = SourceCoverage("acc", None, None, None, None, 0, 0)
        found = source_hours(nothing, {}, [], BEGIN, BEGIN + WEEKS)
        assert found == SourceHours(nothing, (), (), None)

    def test_is_shown_with_the_hours_asked_for(self) -> None:
        begin = BEGIN + 10 * DAY
        found = source_hours(covered(), counts(out(begin, 3)), [], begin + HOUR, begin + 4 * HOUR)
        assert [(hour.begin, hour.records, hour.is_gap) for hour in found.hours] == [
            (begin + HOUR, 0, True),
            (begin + 2 * HOUR, 0, True),
            (begin + 3 * HOUR, 100, False),
        ]
        assert [gap.begin for gap in found.gaps] == [begin]
        assert source_hours(covered(), counts(out(begin, 3)), [], begin - 5 * HOUR, begin).gaps == ()

    def test_is_stated_as_it_is_found(self) -> None:
        assert str(MANY) in RULE


def file(latest: datetime, late: timedelta, records: int = 10) -> FileEntry:
    last = floor_ms(latest)
    return FileEntry(
        1, "acc", "a.csv", 1, "content", "mapping", last + late // timedelta(milliseconds=1), records, last, last
    )


class TestLateness:
    def test_is_that_of_the_middle_and_of_the_worst_file(self) -> None:
        files = [file(BEGIN + number * HOUR, timedelta(minutes=late)) for number, late in enumerate((2, 1, 50, 3, 4))]
        late = source_hours(covered(), {}, files, BEGIN, BEGIN + WEEKS).lateness
        assert late is not None
        assert (late.files, late.p50, late.longest) == (5, timedelta(minutes=3), timedelta(minutes=50))

    def test_of_an_hour_is_that_of_the_files_that_end_in_it(self) -> None:
        files = [file(BEGIN + timedelta(minutes=5), 2 * HOUR), file(BEGIN + timedelta(minutes=70), 3 * HOUR)]
        hours = source_hours(covered(), {FIRST: 1}, files, BEGIN, BEGIN + WEEKS).hours
        assert [hour.lateness and hour.lateness.longest for hour in hours] == [2 * HOUR, 3 * HOUR]

    def test_of_a_clock_that_is_ahead_is_none(self) -> None:
        late = source_hours(covered(), {}, [file(BEGIN, -HOUR)], BEGIN, BEGIN + WEEKS).lateness
        assert late is not None
        assert late.longest == timedelta(0)

    def test_is_unknown_of_files_without_records(self) -> None:
        assert source_hours(covered(), {}, [file(BEGIN, HOUR, records=0)], BEGIN, BEGIN + WEEKS).lateness is None

"""Business calendars: days off by rule, opening hours by zone, a clock that stands still on days off.

The days are checked against the lists of federal holidays that the Office of Personnel Management publishes.
"""

from __future__ import annotations

import zoneinfo
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.deadlines.calendar import BusinessCalendar, ClosedForGoodError
from coordinator.deadlines.holidays import (
    US_FEDERAL,
    FixedHoliday,
    HolidayError,
    WeekdayHoliday,
    days_off,
    parse_holiday,
)

NEW_YORK = ZoneInfo("America/New_York")
OFFICE = BusinessCalendar(NEW_YORK)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def at(text: str, zone: ZoneInfo = NEW_YORK) -> datetime:
    """A local time of the office."""
    return datetime.fromisoformat(text).replace(tzinfo=zone)


class TestFederalHolidays:
    @pytest.mark.parametrize(
        ("year", "off"),
        [
            (
                2026,  # Independence Day is a Saturday
                "01-01 01-19 02-16 05-25 06-19 07-03 07-04 09-07 10-12 11-11 11-26 12-25",
            ),
            (
                2027,  # Juneteenth, Christmas and the next New Year's Day are Saturdays, Independence Day is a Sunday
                "01-01 01-18 02-15 05-31 06-18 06-19 07-04 07-05 09-06 10-11 11-11 11-25 12-24 12-25 12-31",
            ),
            (2022, "01-01 01-17 02-21 05-30 06-19 06-20 07-04 09-05 10-10 11-11 11-24 12-25 12-26"),
        ],
    )
    def test_are_those_of_the_published_lists(self, year: int, off: str) -> None:
        assert sorted(f"{day:%m-%d}" for day in days_off(US_FEDERAL, year)) == off.split()

    def test_of_the_next_year_may_give_a_day_off_at_the_end_of_this_one(self) -> None:
        assert date(2021, 12, 31) in days_off(US_FEDERAL, 2021)
        assert not OFFICE.is_business_day(date(2021, 12, 31))

    def test_count_from_the_year_in_which_they_became_law(self) -> None:
        assert date(2020, 6, 19) not in days_off(US_FEDERAL, 2020)
        assert date(2021, 6, 18) in days_off(US_FEDERAL, 2021)  # the 19th was a Saturday

    def test_are_eleven_in_every_year_since_2021(self) -> None:
        for year in range(2021, 2121):
            assert sum(len(rule.days(year)) > 0 for rule in US_FEDERAL) == 11


class TestARule:
    @pytest.mark.parametrize(
        ("text", "rule"),
        [
            ("july 4", FixedHoliday(7, 4)),
            ("December 24 exactly", FixedHoliday(12, 24, moves=False)),
            ("last Monday of May", WeekdayHoliday(-1, 0, 5)),
            ("fourth thursday  of november", WeekdayHoliday(4, 3, 11)),
            ("february 29", FixedHoliday(2, 29)),
        ],
    )
    def test_is_written_in_words(self, text: str, rule: object) -> None:
        assert parse_holiday(text) == rule

    @pytest.mark.parametrize("text", ["", "4 july", "july 32", "february 30", "fifth monday of may", "easter", "may"])
    def test_is_refused_where_it_says_no_day(self, text: str) -> None:
        with pytest.raises(HolidayError):
            parse_holiday(text)

    def test_of_a_leap_day_gives_no_day_off_in_other_years(self) -> None:
        assert days_off((FixedHoliday(2, 29, moves=False),), 2027) == frozenset()
        assert days_off((FixedHoliday(2, 29, moves=False),), 2028) == {date(2028, 2, 29)}

    def test_that_does_not_move_gives_its_own_day_alone(self) -> None:
        assert days_off((FixedHoliday(7, 4, moves=False),), 2026) == {date(2026, 7, 4)}

    @settings(max_examples=60, deadline=None)
    @given(st.integers(1, 4) | st.just(-1), st.integers(0, 6), st.integers(1, 12), st.integers(1901, 2900))
    def test_of_an_nth_weekday_agrees_with_counting(self, nth: int, weekday: int, month: int, year: int) -> None:
        month_days = [date(year, month, 1) + DAY * n for n in range(31)]
        fitting = [day for day in month_days if day.month == month and day.weekday() == weekday]
        assert WeekdayHoliday(nth, weekday, month).days(year) == (fitting[nth - 1 if nth > 0 else -1],)


class TestBusinessHours:
    @pytest.mark.parametrize(
        ("came", "counts"),
        [
            ("2026-11-20T08:00", "2026-11-20T08:00"),
            ("2026-11-20T17:29:59", "2026-11-20T17:29:59"),
            ("2026-11-20T17:30", "2026-11-23T08:00"),  # Friday evening
            ("2026-11-20T03:00", "2026-11-20T08:00"),  # before they open
            ("2026-11-21T12:00", "2026-11-23T08:00"),  # Saturday
            ("2026-11-25T18:00", "2026-11-27T08:00"),  # over Thanksgiving
            ("2026-12-31T18:00", "2027-01-04T08:00"),  # over the year's end, a Friday off, and a weekend
            ("2027-12-30T18:00", "2028-01-03T08:00"),  # New Year 2028 is observed on 31 December 2027
            ("2026-07-02T18:00", "2026-07-06T08:00"),  # Independence Day on a Saturday
        ],
    )
    def test_are_when_a_request_counts_as_received(self, came: str, counts: str) -> None:
        assert OFFICE.counted_from(at(came)) == at(counts)

    def test_follow_the_offices_zone(self) -> None:
        moment = datetime(2026, 11, 20, 13, 30, tzinfo=UTC)
        assert OFFICE.is_open(moment)
        assert not BusinessCalendar(ZoneInfo("America/Los_Angeles")).is_open(moment)

    @pytest.mark.parametrize(
        ("day", "opens"), [("2026-03-06", 13), ("2026-03-09", 12), ("2026-10-30", 12), ("2026-11-02", 13)]
    )
    def test_follow_daylight_saving(self, day: str, opens: int) -> None:
        opening = OFFICE.counted_from(at(f"{day}T05:00"))
        assert opening == datetime.fromisoformat(day).replace(hour=opens, tzinfo=UTC)

    def test_may_last_all_day_or_end_at_midnight(self) -> None:
        around_the_clock = BusinessCalendar(NEW_YORK, time(0), time(0), frozenset(range(7)), holidays=())
        assert around_the_clock.is_open(at("2026-12-25T23:59:59"))
        assert not BusinessCalendar(NEW_YORK, time(16), time(0)).is_open(at("2026-11-21T00:00"))

    def test_on_the_night_of_two_one_oclocks_last_from_the_first_to_the_second(self) -> None:
        night = BusinessCalendar(NEW_YORK, time(1), time(1, 30), frozenset({6}), holidays=())
        assert night.counted_from(at("2026-11-01T00:00")) == datetime(2026, 11, 1, 5, tzinfo=UTC)
        assert night.is_open(datetime(2026, 11, 1, 6, 29, tzinfo=UTC))
        assert not night.is_open(datetime(2026, 11, 1, 6, 30, tzinfo=UTC))

    def test_that_a_change_of_clocks_swallows_are_those_of_the_next_day(self) -> None:
        night = BusinessCalendar(NEW_YORK, time(2), time(3), frozenset(range(7)), holidays=())
        assert night.counted_from(at("2026-03-08T00:00")) == at("2026-03-09T02:00")

    def test_may_be_set_otherwise_day_by_day(self) -> None:
        calendar = BusinessCalendar(
            NEW_YORK, closed=frozenset({date(2026, 11, 27)}), open=frozenset({date(2026, 11, 26), date(2026, 11, 28)})
        )
        assert calendar.counted_from(at("2026-11-26T09:00")) == at("2026-11-26T09:00")
        assert calendar.counted_from(at("2026-11-27T09:00")) == at("2026-11-28T08:00")


class TestTheClock:
    @pytest.mark.parametrize(
        ("start", "end"),
        [
            ("2026-11-18T10:00", "2026-11-19T10:00"),
            ("2026-11-20T15:00", "2026-11-23T15:00"),  # the rule's own example: Friday to Monday
            ("2026-11-25T10:00", "2026-11-27T10:00"),  # Thanksgiving doesn't count
            ("2026-01-16T09:00", "2026-01-20T09:00"),  # a long weekend
            ("2026-12-31T09:00", "2027-01-04T09:00"),
            ("2026-03-06T15:00", "2026-03-09T15:00"),  # clocks change on a Sunday, when it stands still anyway
            ("2026-10-30T15:00", "2026-11-02T15:00"),
        ],
    )
    def test_runs_on_business_days_day_and_night(self, start: str, end: str) -> None:
        assert OFFICE.runs_out(at(start), 24 * HOUR) == at(end)

    def test_counts_real_hours_where_clocks_change_on_a_business_day(self) -> None:
        every_day = BusinessCalendar(NEW_YORK, workdays=frozenset(range(7)), holidays=())
        assert every_day.runs_out(at("2026-03-07T15:00"), 24 * HOUR) == at("2026-03-08T16:00")
        assert every_day.runs_out(at("2026-10-31T15:00"), 24 * HOUR) == at("2026-11-01T14:00")

    def test_that_starts_on_a_day_off_begins_with_the_next_business_day(self) -> None:
        assert OFFICE.runs_out(at("2026-11-21T12:00"), HOUR) == at("2026-11-23T01:00")

    def test_of_no_time_ends_where_it_starts_even_on_a_day_off(self) -> None:
        assert OFFICE.runs_out(at("2026-11-21T12:00"), timedelta(0)) == at("2026-11-21T12:00")


class TestRefused:
    def test_a_naive_time(self) -> None:
        with pytest.raises(ValueError, match="naive"):
            OFFICE.counted_from(datetime(2026, 11, 20))  # noqa: DTZ001  that is the point
        with pytest.raises(ValueError, match="naive"):
            OFFICE.runs_out(datetime(2026, 11, 20), HOUR)  # noqa: DTZ001

    def test_a_clock_that_runs_backwards(self) -> None:
        with pytest.raises(ValueError, match="forwards"):
            OFFICE.runs_out(at("2026-11-20T12:00"), -HOUR)

    def test_a_time_at_the_end_of_the_calendar(self) -> None:
        with pytest.raises(ValueError, match="between 1900"):
            OFFICE.counted_from(datetime(9999, 12, 31, tzinfo=UTC))

    def test_an_office_that_is_never_open(self) -> None:
        never = BusinessCalendar(
            NEW_YORK, closed=frozenset(date(2026, 1, 1) + DAY * n for n in range(800)), holidays=()
        )
        with pytest.raises(ClosedForGoodError):
            never.counted_from(at("2026-02-01T12:00"))
        with pytest.raises(ClosedForGoodError):
            never.runs_out(at("2026-02-01T12:00"), HOUR)

    def test_an_office_that_closes_before_it_opens(self) -> None:
        with pytest.raises(ValueError, match="close after"):
            BusinessCalendar(NEW_YORK, time(9), time(9))
        with pytest.raises(ValueError, match="workdays"):
            BusinessCalendar(NEW_YORK, workdays=frozenset())
        with pytest.raises(ValueError, match="both closed and open"):
            BusinessCalendar(NEW_YORK, closed=frozenset({date(2026, 1, 2)}), open=frozenset({date(2026, 1, 2)}))


ZONES = sorted(zone for zone in zoneinfo.available_timezones() if "/" in zone and not zone.startswith("Etc"))
instants = st.integers(631152000, 3786912000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))  # to 2090
calendars = st.builds(
    BusinessCalendar,
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    opens=st.times(max_value=time(12)),
    closes=st.times(min_value=time(12, 1)) | st.just(time(0)),
    workdays=st.frozensets(st.integers(0, 6), min_size=1),
    holidays=st.sampled_from([(), US_FEDERAL]),
)


class TestWhateverTheZoneAndTheHours:
    @settings(max_examples=100, deadline=None)
    @given(calendars, instants, instants, st.timedeltas(timedelta(0), 100 * HOUR))
    def test_what_comes_later_counts_no_earlier_and_ends_no_earlier(
        self, office: BusinessCalendar, one: datetime, other: datetime, running: timedelta
    ) -> None:
        early, late = sorted((one, other))
        assert office.counted_from(early) <= office.counted_from(late)
        assert office.runs_out(early, running) <= office.runs_out(late, running)

    @settings(max_examples=100, deadline=None)
    @given(calendars, instants, st.timedeltas(timedelta(seconds=1), 100 * HOUR))
    def test_nothing_lies_in_the_past_and_no_clock_runs_fast(
        self, office: BusinessCalendar, came: datetime, running: timedelta
    ) -> None:
        counts = office.counted_from(came)
        assert counts >= came
        assert office.is_open(counts)
        assert office.runs_out(counts, running) - counts >= running

    @settings(max_examples=60, deadline=None)
    @given(calendars, instants, st.timedeltas(timedelta(0), 50 * HOUR), st.timedeltas(timedelta(0), 50 * HOUR))
    def test_a_clock_that_is_stopped_and_goes_on_ends_where_it_would_have(
        self, office: BusinessCalendar, came: datetime, first: timedelta, then: timedelta
    ) -> None:
        assert office.runs_out(office.runs_out(came, first), then) == office.runs_out(came, first + then)

    @settings(max_examples=60, deadline=None)
    @given(calendars, instants, st.timedeltas(timedelta(0), 400 * HOUR))
    def test_the_last_open_minute_is_open_and_lies_between(
        self, office: BusinessCalendar, after: datetime, length: timedelta
    ) -> None:
        last = office.last_open(after + length, after=after)
        if last is not None:
            assert after < last < after + length
            assert office.is_open(last)

"""What a time in a call record means in UTC, and what is no time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_adapters.column_specs import TimeColumn
from cdr_adapters.time_columns import read_times
from cdr_adapters.times import Reading, Status, time_of
from tests.adapters.mapped import mapper, one

NEW_YORK = ZoneInfo("America/New_York")
DENVER = ZoneInfo("America/Denver")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def spec(time_format: str | list[str], **more: object) -> TimeColumn:
    return TimeColumn.model_validate({"column": "t", "format": time_format, **more})


def utc(text: str) -> int:
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)


def both_ways(text: str, column: TimeColumn, zone: ZoneInfo | None) -> Reading:
    """The reading of one text, after checking that the column way gives the same."""
    reading = time_of(text, column, zone)
    many = read_times(pa.array([text]), column, zone)
    assert many.status.tolist() == [reading.status]
    if reading.status in (Status.OK, Status.REPEATED):
        assert (many.first.tolist(), many.second.tolist(), many.step.tolist()) == (
            [reading.first],
            [reading.second],
            [reading.step],
        )
    return reading


class TestCountsFromAnEpoch:
    @pytest.mark.parametrize(
        ("text", "unit", "expected", "step"),
        [
            ("1795321360", "epoch_s", "2026-11-22 04:22:40", 1000),
            ("1795321360.779388", "epoch_s", "2026-11-22 04:22:40.779", 1),
            ("1795321361.867", "epoch_s", "2026-11-22 04:22:41.867", 1),
            ("1795321360779", "epoch_ms", "2026-11-22 04:22:40.779", 1),
            ("1795321360779388", "epoch_us", "2026-11-22 04:22:40.779", 1),
            ("2461366.68240162", "julian", "2026-11-22 04:22:39.500", 1000),
        ],
    )
    def test_are_utc(self, text: str, unit: str, expected: str, step: int) -> None:
        reading = both_ways(text, spec(unit), None)
        assert (reading.status, reading.first, reading.step) == (Status.OK, utc(expected), step)

    def test_a_julian_day_of_a_database_that_loses_half_a_second_is_shifted_back(self) -> None:
        column = spec("julian", shift="0.5s", resolution="1s")
        times = read_times(pa.array(["2461366.6824016203"]), column, None)
        assert (times.first[0], times.step[0]) == (utc("2026-11-22 04:22:40"), 1000)

    @pytest.mark.parametrize(("text", "unit"), [("1795321360779", "epoch_s"), ("1795321360", "epoch_ms")])
    def test_in_the_wrong_unit_are_out_of_range(self, text: str, unit: str) -> None:
        assert both_ways(text, spec(unit), None).status is Status.OUT_OF_RANGE

    @pytest.mark.parametrize("text", ["", "0", "0.0", "  "])
    def test_of_nothing_are_absent(self, text: str) -> None:
        assert both_ways(text, spec("epoch_s"), None).status is Status.ABSENT

    @pytest.mark.parametrize("text", ["x", "1.5e9", "-1795321360", "1795321360s", "nan", "inf", "1_795_321_360", "٣"])
    def test_of_something_else_are_refused(self, text: str) -> None:
        assert both_ways(text, spec("epoch_s"), None).status is Status.WRONG_FORMAT

    def test_the_fraction_may_stand_in_a_column_of_its_own(self) -> None:
        column = spec("epoch_s", fraction_column="us", fraction_unit="us")
        times = read_times(pa.array(["1795321360", "1795321360"]), column, None, pa.array(["779388", None]))
        assert times.first.tolist() == [utc("2026-11-22 04:22:40.779"), utc("2026-11-22 04:22:40")]
        assert times.step.tolist() == [1, 1000]

    def test_a_fraction_that_is_none_is_refused(self) -> None:
        column = spec("epoch_s", fraction_column="us", fraction_unit="ms")
        times = read_times(pa.array(["1795321360"]), column, None, pa.array(["1000"]))
        assert times.status.tolist() == [Status.WRONG_FORMAT]


class TestLocalTimes:
    @pytest.mark.parametrize(
        ("text", "pattern"),
        [
            ("2026-11-21 23:23:27", "%Y-%m-%d %H:%M:%S"),
            ("2026-11-21T23:23:27", "%Y-%m-%dT%H:%M:%S"),
            ("11/21/2026 23:23:27", "%m/%d/%Y %H:%M:%S"),
            ("20261121232327", "%Y%m%d%H%M%S"),
            ("21.11.26 23:23:27", "%d.%m.%y %H:%M:%S"),
            ("Sat Nov 21 23:23:27 2026", "%a %b %d %H:%M:%S %Y"),
            ("11/21/2026 11:23:27 PM", "%m/%d/%Y %I:%M:%S %p"),
            ("2026-11-21 23:23:27.000", "%Y-%m-%d %H:%M:%S.%f"),
            ("2026-11-21 21:23:27 -0700", "%Y-%m-%d %H:%M:%S %z"),
        ],
    )
    def test_take_the_zone_of_their_source(self, text: str, pattern: str) -> None:
        reading = both_ways(text, spec(pattern), NEW_YORK)
        assert (reading.status, reading.first) == (Status.OK, utc("2026-11-22 04:23:27"))

    @pytest.mark.parametrize(
        "text", ["2026-02-30 12:00:00", "2026-11-21 24:00:00", "2026-11-21T23:23:27", "21.11.26", "x"]
    )
    def test_that_do_not_fit_their_pattern_are_refused(self, text: str) -> None:
        assert both_ways(text, spec("%Y-%m-%d %H:%M:%S"), NEW_YORK).status is Status.WRONG_FORMAT

    def test_one_bad_value_does_not_spoil_the_others(self) -> None:
        values = pa.array(["2026-11-21 23:23:27", "2026-02-30 12:00:00", None, "2026-11-21 23:23:28"])
        times = read_times(values, spec("%Y-%m-%d %H:%M:%S"), NEW_YORK)
        assert times.status.tolist() == [Status.OK, Status.WRONG_FORMAT, Status.ABSENT, Status.OK]

    @pytest.mark.parametrize("pattern", ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f"])
    def test_a_zero_date_is_absent(self, pattern: str) -> None:
        assert both_ways("0000-00-00 00:00:00", spec(pattern), NEW_YORK).status is Status.ABSENT

    @pytest.mark.parametrize("text", ["9999-12-31 23:59:59", "1899-12-31 00:00:00", "1970-01-01 00:00:01"])
    def test_far_off_are_out_of_range(self, text: str) -> None:
        assert both_ways(text, spec("%Y-%m-%d %H:%M:%S"), ZoneInfo("Asia/Tokyo")).status is Status.OUT_OF_RANGE


class TestTheChangeOfClocks:
    def test_an_hour_that_comes_twice_has_two_readings(self) -> None:
        reading = both_ways("2026-11-01 01:30:00", spec("%Y-%m-%d %H:%M:%S"), NEW_YORK)
        assert reading.status is Status.REPEATED
        assert (reading.first, reading.second) == (utc("2026-11-01 05:30:00"), utc("2026-11-01 06:30:00"))

    def test_an_hour_that_is_skipped_is_no_time(self) -> None:
        assert both_ways("2026-03-08 02:30:00", spec("%Y-%m-%d %H:%M:%S"), NEW_YORK).status is Status.SKIPPED

    def test_the_seconds_around_both_changes_have_one_reading(self) -> None:
        column = spec("%Y-%m-%d %H:%M:%S")
        for text, expected in [
            ("2026-03-08 01:59:59", "2026-03-08 06:59:59"),
            ("2026-03-08 03:00:00", "2026-03-08 07:00:00"),
            ("2026-11-01 00:59:59", "2026-11-01 04:59:59"),
            ("2026-11-01 02:00:00", "2026-11-01 07:00:00"),
        ]:
            reading = both_ways(text, column, NEW_YORK)
            assert (reading.status, reading.first) == (Status.OK, utc(expected))

    def test_an_abbreviation_tells_the_two_hours_apart(self) -> None:
        column = spec("%b %d %Y %H:%M:%S %Z")
        assert both_ways("Nov 1 2026 01:30:00 MDT", column, DENVER).first == utc("2026-11-01 07:30:00")
        assert both_ways("Nov 1 2026 01:30:00 MST", column, DENVER).first == utc("2026-11-01 08:30:00")
        assert both_ways("Mar 8 2026 02:30:00 MST", column, DENVER).status is Status.SKIPPED

    @given(
        st.sampled_from(
            ["America/New_York", "Europe/London", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu", "UTC"]
        ),
        st.integers(0, 20 * 365 * 24 * 3600),
    )
    @settings(max_examples=100, deadline=None)
    def test_a_clock_on_the_wall_is_always_read_back(self, name: str, second: int) -> None:
        zone = ZoneInfo(name)
        instant = datetime(2015, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
        text = instant.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
        reading = both_ways(text, spec("%Y-%m-%d %H:%M:%S"), zone)
        # the obvious way: every instant of the two days around that the wall clock shows as this text
        shown = [
            candidate
            for minutes in range(-26 * 60, 26 * 60, 15)
            if (candidate := instant + timedelta(minutes=minutes)).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
            == text
        ]
        assert [EPOCH + timedelta(milliseconds=ms) for ms in sorted({reading.first, reading.second})] == shown

    @given(
        st.sampled_from(["America/New_York", "Australia/Lord_Howe"]), st.integers(2000, 2035), st.integers(0, 366 * 96)
    )
    @settings(max_examples=100, deadline=None)
    def test_a_wall_clock_time_that_no_instant_shows_is_skipped_and_no_other(
        self, name: str, year: int, quarter: int
    ) -> None:
        zone = ZoneInfo(name)
        naive = datetime(year, 1, 1) + timedelta(minutes=15 * quarter)  # noqa: DTZ001 - what the clock on the wall shows
        first_guess = naive.replace(tzinfo=UTC)
        exists = any(
            (first_guess + timedelta(minutes=minutes)).astimezone(zone).replace(tzinfo=None) == naive
            for minutes in range(-14 * 60, 14 * 60, 15)
        )
        reading = both_ways(f"{naive:%Y-%m-%d %H:%M:%S}", spec("%Y-%m-%d %H:%M:%S"), zone)
        assert (reading.status is not Status.SKIPPED) == exists


class TestZoneAbbreviations:
    def test_of_the_sources_own_zone_are_understood(self) -> None:
        reading = both_ways("Nov 21 2026 21:22:42 MST", spec("%b %d %Y %H:%M:%S %Z"), DENVER)
        assert reading.first == utc("2026-11-22 04:22:42")

    def test_that_the_zone_does_not_use_then_are_refused(self) -> None:
        column = spec("%b %d %Y %H:%M:%S %Z")
        assert both_ways("Nov 21 2026 21:22:42 MDT", column, DENVER).status is Status.UNKNOWN_ABBREVIATION
        assert both_ways("Nov 21 2026 21:22:42 CET", column, DENVER).status is Status.UNKNOWN_ABBREVIATION

    def test_may_be_explained_by_the_configuration(self) -> None:
        column = spec("%H:%M:%S.%f %Z %a %b %d %Y", abbreviations={"EET": "+02:00", "NST": "-03:30"})
        assert both_ways("14:48:32.000 EET Mon Dec 26 2005", column, None).first == utc("2005-12-26 12:48:32")
        assert both_ways("14:48:32.000 NST Mon Dec 26 2005", column, None).first == utc("2005-12-26 18:18:32")
        assert both_ways("14:48:32.000 EEST Mon Dec 26 2005", column, None).status is Status.UNKNOWN_ABBREVIATION


class TestIso8601:
    @pytest.mark.parametrize(
        ("text", "expected", "step"),
        [
            ("2026-11-22T04:23:27Z", "2026-11-22 04:23:27", 1000),
            ("2026-11-22T04:23:27.123Z", "2026-11-22 04:23:27.123", 1),
            ("2026-11-21 23:23:27-05:00", "2026-11-22 04:23:27", 1000),
            ("2026-11-21T23:23:27-0500", "2026-11-22 04:23:27", 1000),
            ("20261122T042327Z", "2026-11-22 04:23:27", 1000),
            ("2026-11-22T04:23Z", "2026-11-22 04:23:00", 60_000),
            ("2026-11-21T23:23:27", "2026-11-22 04:23:27", 1000),
        ],
    )
    def test_is_understood(self, text: str, expected: str, step: int) -> None:
        reading = both_ways(text, spec("iso8601"), NEW_YORK)
        assert (reading.status, reading.first, reading.step) == (Status.OK, utc(expected), step)

    def test_without_any_zone_is_refused(self) -> None:
        assert both_ways("2026-11-21T23:23:27", spec("iso8601"), None).status is Status.NO_ZONE
        assert both_ways("2026-11-21T23:23:27Z", spec("iso8601"), None).status is Status.OK

    @pytest.mark.parametrize(
        "text", ["2026-11-21", "2026-W47-6", "2026-02-30T00:00:00Z", "2026-11-21T25:00:00Z", "now"]
    )
    def test_dates_alone_and_other_texts_are_refused(self, text: str) -> None:
        assert both_ways(text, spec("iso8601"), NEW_YORK).status is Status.WRONG_FORMAT


_FORMATS = (
    "epoch_s",
    "epoch_ms",
    "epoch_us",
    "epoch_ns",
    "gregorian_s",
    "julian",
    "iso8601",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S.%f",
    "%m/%d/%Y %H:%M:%S.%f",
    "%m/%d/%y %I:%M %p",
    "%d.%m.%Y %H:%M",
    "%Y%m%d%H%M%S",
    "%Y%m%d%H%M%S.%f",
    "%H:%M:%S.%f %Z %b %d %Y",
    "%H:%M:%S %z %d%b%Y",
    "%a %b %e %H:%M:%S %Y",
    "%A %d %B %Y %H:%M:%S",
    "%Y-%j %H:%M:%S",
    "%Y-%m-%d %H:%M:%S %p",
)
_NAIVE = st.datetimes(datetime(1985, 1, 1), datetime(2105, 1, 1))  # noqa: DTZ001 - texts
_ZONES = st.sampled_from(["EST", "EDT", "PST", "UTC", "est", "CET", "X", "+0530", "-05:00", "Z", "+25:00", "+0560"])


def _spoilt(text: str, at: int, by: str) -> str:
    at %= len(text) + 1
    return text[:at] + by + text[at + 1 :]


_WRITTEN = st.builds(
    lambda moment, pattern, zone: moment.strftime(pattern.replace("%Z", zone).replace("%z", zone)),
    _NAIVE,
    st.sampled_from([name for name in _FORMATS if "%" in name]),
    _ZONES,
)
_TEXTS = st.one_of(
    st.text(max_size=30),
    st.text("0123456789-:/. TZ+", max_size=30),
    st.integers(0, 4_200_000_000).map(str),
    st.integers(0, 4_200_000_000).map(lambda n: f"{n * 10**9 + 7}"),
    st.integers(62_000_000_000, 66_500_000_000).map(str),
    st.decimals(600_000_000, 4_200_000_000, places=6).map(str),
    st.decimals(2_447_000, 2_489_000, places=8).map(str),
    _NAIVE.map(str),
    _NAIVE.map(lambda t: t.isoformat() + "Z"),
    st.builds(lambda t, zone: t.isoformat(" ") + zone, _NAIVE, _ZONES),
    _WRITTEN,
    _WRITTEN.map(lambda text: text.replace(" 0", "  ").replace("/0", "/")),
    _WRITTEN.map(str.upper),
    st.builds(_spoilt, _WRITTEN, st.integers(0, 40), st.sampled_from(["", "0", "9", "x", " ", ":", "\u0662"])),
)


class TestVectorOperations:
    @given(
        st.lists(_TEXTS, max_size=8),
        st.lists(st.sampled_from(_FORMATS), min_size=1, max_size=3, unique=True),
        st.sampled_from([None, NEW_YORK, ZoneInfo("Europe/Dublin"), ZoneInfo("Australia/Lord_Howe")]),
        st.sampled_from([1, 20]),
    )
    @settings(max_examples=600, deadline=None)
    def test_say_the_same_as_one_time_at_a_time(
        self, texts: list[str], formats: list[str], zone: ZoneInfo | None, times_over: int
    ) -> None:
        column = spec(formats)
        texts = texts * times_over  # long columns take shorter ways
        times = read_times(pa.array(texts, pa.string()), column, zone)
        for index, text in enumerate(texts):
            each = time_of(text, column, zone)
            assert times.status[index] == each.status, text
            if each.status in (Status.OK, Status.REPEATED):
                found = (times.first[index], times.second[index], times.step[index])
                assert found == (each.first, each.second, each.step)

    @given(
        st.sampled_from(_FORMATS),
        st.lists(_NAIVE, min_size=1, max_size=6),
        st.sampled_from([NEW_YORK, ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Africa/Casablanca")]),
        _ZONES,
    )
    @settings(max_examples=600, deadline=None)
    def test_say_the_same_of_what_is_written_in_their_format(
        self, time_format: str, moments: list[datetime], zone: ZoneInfo, said: str
    ) -> None:
        if "%" not in time_format:
            return
        pattern = time_format.replace("%Z", said).replace("%z", said)
        texts = [moment.strftime(pattern) for moment in moments] * 20
        column = spec(time_format)
        times = read_times(pa.array(texts, pa.string()), column, zone)
        for index, text in enumerate(texts):
            each = time_of(text, column, zone)
            assert times.status[index] == each.status, text
            if each.status in (Status.OK, Status.REPEATED):
                found = (times.first[index], times.second[index], times.step[index])
                assert found == (each.first, each.second, each.step)

    def test_settle_the_layouts_of_the_trade_without_looking_at_each(self, monkeypatch: pytest.MonkeyPatch) -> None:
        slow: list[str] = []

        def counting(text: str, column: TimeColumn, zone: ZoneInfo | None) -> Reading:
            slow.append(text)
            return time_of(text, column, zone)

        monkeypatch.setattr("cdr_adapters.time_columns.time_of", counting)
        moment = datetime(2017, 12, 18, 15, 54, 56, 868000, tzinfo=UTC)
        for time_format in _FORMATS:
            if "%" not in time_format or {"%A", "%B", "%j"} & set(time_format.split()) or "%j" in time_format:
                continue
            text = moment.strftime(time_format.replace("%Z", "PST")).upper()
            read_times(pa.array([text]), spec(time_format), NEW_YORK)
        for unit, text in (
            ("epoch_s", "1795321360.5"),
            ("epoch_ns", "1795321360000000000"),
            ("iso8601", "2026-11-21T23:23:27.5-05:00"),
        ):
            read_times(pa.array([text]), spec(unit), None)
        assert slow == []


class TestWhatTheStandardsAndVendorsWrite:
    """Each form as the document that is named writes it; the moments are computed apart from the code."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            # Oracle Communications SBC, Accounting Guide: h323-setup-time, upper-case month, zone of the box
            ("15:54:56.868 PST DEC 18 2017", "2017-12-18 23:54:56.868"),
            ("15:54:56.868 PDT JUL 18 2017", "2017-07-18 22:54:56.868"),
            ("13:32:54.434 UTC FEB 07 2017", "2017-02-07 13:32:54.434"),
            ("09:00:00.000 EST JAN 02 2026", "2026-01-02 14:00:00.000"),
            ("09:00:00.000 EDT AUG 02 2026", "2026-08-02 13:00:00.000"),
            ("09:00:00.000 CST JAN 02 2026", "2026-01-02 15:00:00.000"),
            ("09:00:00.000 CDT AUG 02 2026", "2026-08-02 14:00:00.000"),
            ("09:00:00.000 MST JAN 02 2026", "2026-01-02 16:00:00.000"),
            ("09:00:00.000 MDT AUG 02 2026", "2026-08-02 15:00:00.000"),
            ("09:00:00.000 AKST JAN 02 2026", "2026-01-02 18:00:00.000"),
            ("09:00:00.000 HST JAN 02 2026", "2026-01-02 19:00:00.000"),
        ],
    )
    @pytest.mark.parametrize("zone", [None, ZoneInfo("UTC"), NEW_YORK])
    def test_oracle_h323_setup_time(self, text: str, expected: str, zone: ZoneInfo | None) -> None:
        reading = both_ways(text, spec("%H:%M:%S.%f %Z %b %d %Y"), zone)
        assert (reading.status, reading.first, reading.step) == (Status.OK, utc(expected), 1)

    def test_an_american_abbreviation_is_not_taken_for_its_namesake_elsewhere(self) -> None:
        column = spec("%H:%M:%S.%f %Z %b %d %Y")
        text = "09:00:00.000 CST JAN 02 2026"
        assert both_ways(text, column, ZoneInfo("Asia/Shanghai")).first == utc("2026-01-02 01:00:00")
        assert both_ways(text, column, ZoneInfo("Europe/Berlin")).status is Status.UNKNOWN_ABBREVIATION

    def test_an_abbreviation_out_of_season_contradicts_its_zone(self) -> None:
        column = spec("%H:%M:%S.%f %Z %b %d %Y")
        assert both_ways("09:00:00.000 EDT JAN 02 2026", column, NEW_YORK).status is Status.UNKNOWN_ABBREVIATION

    def test_a_configured_abbreviation_goes_before_the_usual_one(self) -> None:
        # AudioCodes, TimeZoneFormat: the text in this place is configurable, and often "UTC" where it isn't
        column = spec("%H:%M:%S.%f  %Z %a %b %d %Y", abbreviations={"UTC": "-05:00"})
        assert both_ways("17:00:49.053  UTC Thu Dec 14 2017", column, None).first == utc("2017-12-14 22:00:49.053")

    def test_the_repeated_hour_is_told_apart_by_the_abbreviation(self) -> None:
        column = spec("%H:%M:%S %Z %b %d %Y")
        assert both_ways("01:30:00 EDT NOV 01 2026", column, NEW_YORK).first == utc("2026-11-01 05:30:00")
        assert both_ways("01:30:00 EST NOV 01 2026", column, NEW_YORK).first == utc("2026-11-01 06:30:00")

    def test_kazoo_gregorian_seconds(self) -> None:
        # Erlang/OTP calendar: datetime_to_gregorian_seconds({{1970,1,1},{0,0,0}}) = 62167219200
        reading = both_ways("63542353959", spec("gregorian_s"), None)
        assert (reading.status, reading.first, reading.step) == (Status.OK, utc("2013-07-29 21:52:39"), 1000)
        leap_year_0 = 366
        days = leap_year_0 + (datetime(2013, 7, 29, tzinfo=UTC) - datetime(1, 1, 1, tzinfo=UTC)).days
        assert days * 86400 + 21 * 3600 + 52 * 60 + 39 == 63542353959
        assert both_ways("63542353959.25", spec("gregorian_s"), None).first == utc("2013-07-29 21:52:39.250")
        assert both_ways("1795321360", spec("gregorian_s"), None).status is Status.OUT_OF_RANGE

    @pytest.mark.parametrize(
        ("text", "unit"),
        [
            ("1795321360", "epoch_s"),
            ("1795321360000", "epoch_ms"),
            ("1795321360000000", "epoch_us"),
            ("1795321360000000000", "epoch_ns"),
        ],
    )
    def test_seconds_since_the_epoch_in_every_unit(self, text: str, unit: str) -> None:
        # IEEE 1003.1, "Seconds Since the Epoch"
        assert both_ways(text, spec(unit), None).first == utc("2026-11-22 04:22:40")
        others = [other for other in ("epoch_s", "epoch_ms", "epoch_us", "epoch_ns") if other != unit]
        assert {both_ways(text, spec(other), None).status for other in others} == {Status.OUT_OF_RANGE}
        assert both_ways(text, spec([*others, unit]), None).first == utc("2026-11-22 04:22:40"), "the range tells"

    def test_julian_days_of_sqlite(self) -> None:
        # SQLite, Date And Time Functions: julianday('2026-11-22 04:22:40') as printed
        reading = both_ways("2461366.68240741", spec("julian"), None)
        assert abs(reading.first - utc("2026-11-22 04:22:40")) <= 1
        # US Naval Observatory: JD 2451545.0 is 2000-01-01 12:00
        assert both_ways("2451545.0", spec("julian"), None).first == utc("2000-01-01 12:00:00")

    def test_the_clocks_of_the_united_states_change_as_15_usc_260a_says(self) -> None:
        # second Sunday of March and first Sunday of November, at two o'clock
        column = spec("%Y-%m-%d %H:%M:%S")
        for year, march, november in ((2024, 10, 3), (2025, 9, 2), (2026, 8, 1)):
            assert both_ways(f"{year}-03-{march:02} 02:00:00", column, NEW_YORK).status is Status.SKIPPED
            assert both_ways(f"{year}-03-{march:02} 01:59:59", column, NEW_YORK).status is Status.OK
            twice = both_ways(f"{year}-11-{november:02} 01:00:00", column, NEW_YORK)
            assert (twice.status, twice.second - twice.first) == (Status.REPEATED, 3_600_000)
            assert both_ways(f"{year}-11-{november:02} 02:00:00", column, NEW_YORK).status is Status.OK


def in_zones(text: str, *zones: str | None, unit: str, time_format: str = "%Y-%m-%d %H:%M:%S") -> list[str | None]:
    """What a text means in each of these zones; None where it has none."""
    column = spec(time_format, zone_column="zone", zone_unit=unit)
    times = read_times(pa.array([text] * len(zones)), column, NEW_YORK, zones=pa.array(zones, pa.string()))
    readings = zip(times.status.tolist(), times.first.tolist(), strict=True)
    return [
        f"{EPOCH + timedelta(milliseconds=first):%d %H:%M}" if status in (Status.OK, Status.REPEATED) else None
        for status, first in readings
    ]


class TestAZoneOfItsOwn:
    """Rows that say their own zone in another column."""

    def test_in_minutes_west_as_sansay_writes_it(self) -> None:
        # Sansay VSXi, CDR field 10: "minutes west of GMT"
        column = spec("%a %b %d %H:%M:%S %Y", zone_column="zone", zone_unit="minutes_west")
        texts = pa.array(["Mon Dec 15 11:38:34 2003"] * 4)
        times = read_times(texts, column, None, zones=pa.array(["480", "300", "-60", "0"]))
        assert times.first.tolist() == [
            utc("2003-12-15 19:38:34"),
            utc("2003-12-15 16:38:34"),
            utc("2003-12-15 10:38:34"),
            utc("2003-12-15 11:38:34"),
        ]

    @pytest.mark.parametrize(
        ("unit", "zones", "expected"),
        [
            ("minutes_west", ("300", "0", "-330"), ["02 06:00", "02 01:00", "01 19:30"]),
            ("minutes_east", ("-300", "0", "+330"), ["02 06:00", "02 01:00", "01 19:30"]),
            ("seconds_east", ("-18000", "0", "19800"), ["02 06:00", "02 01:00", "01 19:30"]),
            ("offset", ("-05:00", "Z", "+0530", "UTC-5"), ["02 06:00", "02 01:00", "01 19:30", "02 06:00"]),
            ("iana", ("America/New_York", "UTC", "Asia/Kolkata"), ["02 06:00", "02 01:00", "01 19:30"]),
        ],
    )
    def test_in_each_unit(self, unit: str, zones: tuple[str, ...], expected: list[str]) -> None:
        assert in_zones("2026-01-02 01:00:00", *zones, unit=unit) == expected

    def test_of_a_switch_means_the_region_with_its_summer_time(self) -> None:
        # Ribbon (Sonus) SBC, accounting field Node_Time_Zone
        zones = ("GMT-08:00-Pacific(US)", "GMT-05:00-Eastern(US)", "GMT-08:00", "GMT")
        assert in_zones("2026-01-02 01:00:00", *zones, unit="text") == ["02 09:00", "02 06:00", "02 09:00", "02 01:00"]
        assert in_zones("2026-07-02 01:00:00", *zones, unit="text") == ["02 08:00", "02 05:00", "02 09:00", "02 01:00"]

    @pytest.mark.parametrize(
        ("unit", "zone"),
        [
            ("minutes_west", "x"),
            ("minutes_west", "100000"),
            ("minutes_west", ""),
            ("minutes_west", None),
            ("seconds_east", "30"),
            ("offset", "-25:00"),
            ("offset", "EST"),
            ("iana", "Mars/Olympus"),
            ("iana", "../../etc/passwd"),
            ("text", "GMT-05:00-Pacific(US)"),
            ("text", "GMT+03:00-Nowhere"),
            ("text", "somewhere"),
        ],
    )
    def test_that_can_not_be_read_is_none(self, unit: str, zone: str | None) -> None:
        assert in_zones("2026-01-02 01:00:00", zone, unit=unit) == [None]

    def test_gives_way_to_a_time_that_says_its_zone(self) -> None:
        found = in_zones("2026-01-02T01:00:00Z", "300", "x", unit="minutes_west", time_format="iso8601")
        assert found == ["02 01:00", "02 01:00"]

    def test_has_its_repeated_hour(self) -> None:
        column = spec("%Y-%m-%d %H:%M:%S", zone_column="zone", zone_unit="iana")
        zones = pa.array(["America/New_York", "America/Chicago", "UTC"])
        times = read_times(pa.array(["2026-11-01 01:30:00"] * 3), column, None, zones=zones)
        assert times.status.tolist() == [Status.REPEATED, Status.REPEATED, Status.OK]


class TestSeveralFormats:
    def test_each_value_is_read_by_the_first_that_fits(self) -> None:
        column = spec(["%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "epoch_ms"])
        texts = ["2026-11-21 23:23:27.5", "2026-11-21 23:23:27", "1795321407000", "soon"]
        times = read_times(pa.array(texts), column, NEW_YORK)
        assert times.status.tolist() == [Status.OK, Status.OK, Status.OK, Status.WRONG_FORMAT]
        assert times.first.tolist()[:3] == [
            utc("2026-11-22 04:23:27.500"),
            utc("2026-11-22 04:23:27"),
            utc("2026-11-22 04:23:27"),
        ]
        assert times.step.tolist()[:3] == [1, 1000, 1]

    def test_what_is_in_none_of_them_is_told_by_the_one_that_could_read_it(self) -> None:
        column = spec(["%Y-%m-%d %H:%M:%S", "epoch_ms"])
        assert both_ways("1795321407", column, NEW_YORK).status is Status.OUT_OF_RANGE

    def test_a_date_and_a_time_of_day_may_be_joined(self) -> None:
        column = {"column": ["date", "time"], "join": " ", "format": "%m/%d/%Y %H:%M:%S.%f"}
        joined = mapper(columns={"seizure": column}, zone="America/New_York")
        row = one(joined, date="11/21/2026", time="23:23:27.5")
        assert row["seizure_earliest"] == datetime(2026, 11, 22, 4, 23, 27, 500_000, tzinfo=UTC)

"""When a call was seized, answered and released, from whatever of that its record says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_adapters.columns import ColumnMapper
from cdr_adapters.schema import RejectReason
from tests.adapters.mapped import T, calls, interval, mapper, one, reasons, records

LOCAL = "%Y-%m-%d %H:%M:%S"
EPOCH_S = {"format": "epoch_s"}


def times(*mapped: str, **table: Any) -> ColumnMapper:
    """A mapper of the named times, each from the column of its name; no seizure unless named."""
    time_format = table.pop("format", "epoch_s")
    columns: dict[str, Any] = {"seizure": None, **table.pop("columns", {})}
    columns |= {name: {"column": name, "format": time_format} for name in mapped}
    return mapper(columns=columns, **table)


def duration(unit: str = "s", counts: str = "from_seizure", **more: Any) -> dict[str, Any]:
    return {"duration": {"column": "duration", "unit": unit, "counts": counts, **more}}


def clock(row: dict[str, Any], name: str) -> str | None:
    return None if row[name] is None else f"{row[name]:%H:%M:%S}"


class TestAKnownSeizure:
    def test_is_an_interval_as_wide_as_the_clock_is_coarse(self) -> None:
        assert interval(one(mapper(), start=T)) == ("04:22:40.000", "04:22:41.000")
        assert interval(one(mapper(), start=T + ".779")) == ("04:22:40.779", "04:22:40.780")

    def test_is_not_doubted_for_what_else_the_record_says(self) -> None:
        everything = times("seizure", "answer", "release", columns=duration())
        row = one(everything, seizure=T, answer="1795321370", release="1795321500", duration="7")
        assert interval(row) == ("04:22:40.000", "04:22:41.000")
        assert (clock(row, "answer"), clock(row, "release")) == ("04:22:50", "04:25:00")

    def test_stands_where_answer_and_release_can_not_be_read(self) -> None:
        row = one(times("seizure", "answer", "release"), seizure=T, answer="-", release="n/a")
        assert (row["answer"], row["release"]) == (None, None)

    def test_is_moved_by_the_clocks_offset_with_answer_and_release(self) -> None:
        fast = times("seizure", "answer", "release", clock_offset="47s")
        row = one(fast, seizure=T, answer="1795321370", release="1795321500")
        assert interval(row)[0] == "04:21:53.000"
        assert (clock(row, "answer"), clock(row, "release")) == ("04:22:03", "04:24:13")
        assert interval(one(times("seizure", clock_offset="-9s"), seizure=T))[0] == "04:22:49.000"


class TestAnAnswerWithoutSeizure:
    def test_means_a_setup_that_began_up_to_max_setup_before(self) -> None:
        row = one(times("answer", max_setup="120s"), answer=T)
        assert interval(row) == ("04:20:40.000", "04:22:41.000")
        assert clock(row, "answer") == "04:22:40"

    def test_goes_before_the_release(self) -> None:
        row = one(times("answer", "release"), answer=T, release="1795321380")
        assert interval(row) == ("04:19:40.000", "04:22:41.000")
        assert clock(row, "release") == "04:23:00"

    def test_with_release_and_the_time_since_seizure_is_as_narrow_as_these(self) -> None:
        row = one(times("answer", "release", columns=duration()), answer=T, release="1795321380", duration="31")
        assert interval(row) == ("04:22:28.000", "04:22:30.000")

    def test_that_contradicts_release_and_duration_widens_the_interval_to_both(self) -> None:
        row = one(times("answer", "release", columns=duration()), answer=T, release="1795321380", duration="10")
        assert interval(row) == ("04:19:40.000", "04:22:51.000")

    @pytest.mark.parametrize("never", ["", "0", None, "0.0"])
    def test_of_zero_is_none(self, never: str | None) -> None:
        row = one(times("answer", "release"), answer=never, release=T)
        assert row["answer"] is None
        assert interval(row) == ("04:19:40.000", "04:22:41.000")

    def test_of_the_first_moment_of_1970_in_text_is_none(self) -> None:
        for never in ("1970-01-01 00:00:00", "0000-00-00 00:00:00", "0001-01-01 00:00:00", "1969-12-31 19:00:00"):
            zoned = times("answer", "release", format=LOCAL, zone="America/New_York")
            assert one(zoned, answer=never, release="2026-11-21 23:22:40")["answer"] is None, never


class TestAReleaseAlone:
    def test_of_a_call_that_nobody_answered_ends_a_setup(self) -> None:
        with_disposition = times("release", columns={"disposition": "d"})
        for word in ("unanswered", "failed", "route-advanced"):
            row = one(with_disposition, release=T, d=word)
            assert interval(row) == ("04:19:40.000", "04:22:41.000")
            assert clock(row, "release") == "04:22:40"

    def test_of_a_call_that_may_have_been_answered_says_only_that_it_began_up_to_max_call_before(self) -> None:
        with_disposition = times("release", columns={"disposition": "d"}, max_call="2h")
        assert interval(one(with_disposition, release=T, d="answered")) == ("02:22:40.000", "04:22:41.000")
        assert interval(one(with_disposition, release=T, d=None)) == ("02:22:40.000", "04:22:41.000")
        row = one(times("release"), release=T)
        assert row["seizure_latest"] - row["seizure_earliest"] == timedelta(hours=24, seconds=1)

    def test_where_an_answer_would_stand_is_of_a_call_that_nobody_answered_unless_it_says_so(self) -> None:
        both = times("answer", "release", columns={"disposition": "d"}, max_call="2h")
        assert interval(one(both, answer="", release=T, d=None))[0] == "04:19:40.000"
        assert interval(one(both, answer="", release=T, d="answered"))[0] == "02:22:40.000"


class TestAReleaseWithADuration:
    def test_since_seizure_is_as_wide_as_both_clocks_are_coarse(self) -> None:
        assert interval(one(times("release", columns=duration()), release=T, duration="20")) == (
            "04:22:19.000",
            "04:22:21.000",
        )

    def test_since_answer_leaves_the_setup_open(self) -> None:
        row = one(times("release", columns=duration(counts="from_answer")), release=T, duration="20")
        assert interval(row) == ("04:19:19.000", "04:22:21.000")
        assert row["answer"] is None, "it was not recorded"

    @pytest.mark.parametrize(
        ("unit", "text", "expected"),
        [
            ("s", "20", ("04:22:19.000", "04:22:21.000")),
            ("s", "20.5", ("04:22:19.499", "04:22:20.500")),
            ("ms", "20500", ("04:22:19.499", "04:22:20.500")),
            ("us", "20500000", ("04:22:19.499", "04:22:20.500")),
            ("10ms", "2050", ("04:22:19.490", "04:22:20.500")),
            ("hms", "0:00:20", ("04:22:19.000", "04:22:21.000")),
            ("hms", "00:20", ("04:22:19.000", "04:22:21.000")),
            ("hms", "1:00:00", ("03:22:39.000", "03:22:41.000")),
            ("hms", "00:00:20.5", ("04:22:19.499", "04:22:20.500")),
        ],
    )
    def test_in_each_unit(self, unit: str, text: str, expected: tuple[str, str]) -> None:
        assert interval(one(times("release", columns=duration(unit)), release=T, duration=text)) == expected

    def test_that_the_switch_rounds_is_as_uncertain_in_the_other_direction(self) -> None:
        up, nearest = (times("release", columns=duration(rounded=how)) for how in ("up", "nearest"))
        assert interval(one(up, release=T, duration="20")) == ("04:22:20.000", "04:22:22.000")
        assert interval(one(nearest, release=T, duration="20")) == ("04:22:19.500", "04:22:21.500")

    def test_that_is_missing_is_a_release_alone(self) -> None:
        row = one(times("release", columns=duration(), max_call="1h"), release=T, duration="")
        assert interval(row) == ("03:22:40.000", "04:22:41.000")

    @pytest.mark.parametrize(
        ("unit", "text"), [("s", "0:20"), ("hms", "20"), ("s", "-3"), ("s", "soon"), ("ms", "1e3")]
    )
    def test_that_is_none_in_its_unit_rejects_the_record(self, unit: str, text: str) -> None:
        batch = times("release", columns=duration(unit)).apply(
            records({"called": "2025550143", "release": T, "duration": text})
        )
        assert reasons(batch) == [(1, RejectReason.BAD_TIME)]
        assert "duration" in batch.rejected[0].detail

    def test_that_is_longer_than_any_call_hints_at_the_unit(self) -> None:
        batch = times("release", columns=duration("s")).apply(
            records({"called": "2025550143", "release": T, "duration": "2050000"})
        )
        assert "check the unit" in batch.rejected[0].detail

    def test_that_is_not_needed_rejects_nothing(self) -> None:
        one(times("seizure", "release", columns=duration()), seizure=T, release=T, duration="soon")


class TestWithoutAnyTime:
    @pytest.mark.parametrize(
        ("start", "reason"), [("", RejectReason.NO_TIME), ("0", RejectReason.NO_TIME), ("soon", RejectReason.BAD_TIME)]
    )
    def test_there_is_no_call(self, start: str, reason: RejectReason) -> None:
        batch = mapper().apply(records({"called": "2025550143", "start": start}))
        assert (calls(batch), reasons(batch)) == ([], [(1, reason)])

    def test_the_first_bad_one_says_why(self) -> None:
        batch = times("answer", "release").apply(records({"called": "2025550143", "answer": "x", "release": T}))
        assert reasons(batch) == [(1, RejectReason.BAD_TIME)]
        assert batch.rejected[0].detail.startswith("answer: ")


class TestTheHourThatComesTwice:
    """47 CFR and IANA agree: in New York 2026-11-01 01:00 to 02:00 passes twice, in EDT and then in EST."""

    def test_gives_each_record_both_readings(self) -> None:
        local = times("seizure", format=LOCAL, zone="America/New_York")
        batch = local.apply(
            records(
                {"called": "2025550143", "seizure": "2026-11-01 01:30:00"},
                {"called": "bad", "seizure": "2026-11-01 01:30:00"},
                {"called": "2025550144", "seizure": "2026-11-01 02:30:00"},
                {"called": "2025550145", "seizure": "2026-03-08 02:30:00"},
            )
        )
        assert [(row["row"], row["called_in"], interval(row)[0]) for row in calls(batch)] == [
            (1, "+12025550143", "05:30:00.000"),
            (1, "+12025550143", "06:30:00.000"),
            (3, "+12025550144", "07:30:00.000"),
        ]
        assert reasons(batch) == [(2, RejectReason.BAD_CALLED_NUMBER), (4, RejectReason.TIME_SKIPPED_BY_DST)]

    def test_answer_and_release_go_with_the_seizures_reading(self) -> None:
        local = times("seizure", "answer", "release", format=LOCAL, zone="America/New_York")
        rows = calls(
            local.apply(
                records(
                    {
                        "called": "2025550143",
                        "seizure": "2026-11-01 01:30:00",
                        "answer": "2026-11-01 01:30:10",
                        "release": "2026-11-01 02:01:00",
                    }
                )
            )
        )
        assert [(clock(r, "seizure_earliest"), clock(r, "answer"), clock(r, "release")) for r in rows] == [
            ("05:30:00", "05:30:10", "07:01:00"),
            ("06:30:00", "06:30:10", "07:01:00"),
        ]

    def test_a_release_before_the_seizure_on_the_wall_is_of_the_second_hour(self) -> None:
        local = times("seizure", "release", format=LOCAL, zone="America/New_York")
        rows = calls(
            local.apply(
                records(
                    {"called": "2025550143", "seizure": "2026-11-01 01:59:00", "release": "2026-11-01 01:02:00"},
                    {"called": "2025550143", "seizure": "2026-11-01 00:59:00", "release": "2026-11-01 01:02:00"},
                )
            )
        )
        assert [(clock(r, "seizure_earliest"), clock(r, "release")) for r in rows] == [
            ("05:59:00", "06:02:00"),
            ("04:59:00", "05:02:00"),
        ]

    def test_a_second_reading_in_which_the_call_ends_before_it_begins_falls(self) -> None:
        local = times("seizure", "answer", format=LOCAL, zone="America/New_York")
        row = one(local, seizure="2026-11-01 01:59:58", answer="2026-11-01 01:00:05")
        assert (clock(row, "seizure_earliest"), clock(row, "answer")) == ("05:59:58", "06:00:05")

    @given(st.integers(0, 3 * 3600), st.integers(0, 170), st.integers(0, 3000))
    @settings(max_examples=200, deadline=None)
    def test_one_of_the_readings_is_always_the_true_one(self, start: int, setup: int, talk: int) -> None:
        seized = datetime(2026, 11, 1, 4, 30, tzinfo=UTC) + timedelta(seconds=start)
        answered, released = seized + timedelta(seconds=setup), seized + timedelta(seconds=setup + talk)
        wall = [f"{moment.astimezone(ZoneInfo('America/New_York')):{LOCAL}}" for moment in (seized, answered, released)]
        for which in (("seizure", "answer", "release"), ("answer", "release")):
            local = times(*which, format=LOCAL, zone="America/New_York")
            record = dict(zip(("seizure", "answer", "release"), wall, strict=True))
            rows = calls(local.apply(records({"called": "2025550143", **record})))
            assert any(
                row["seizure_earliest"] <= seized <= row["seizure_latest"]
                and (row["answer"], row["release"]) == (answered, released)
                for row in rows
            )

    def test_an_answer_alone_gives_both_readings_too(self) -> None:
        local = times("answer", "release", format=LOCAL, zone="America/New_York")
        rows = calls(
            local.apply(
                records(
                    {"called": "2025550143", "answer": "2026-11-01 01:30:00", "release": "2026-11-01 01:31:00"},
                )
            )
        )
        assert [(clock(r, "answer"), clock(r, "release"), interval(r)[1]) for r in rows] == [
            ("05:30:00", "05:31:00", "05:30:01.000"),
            ("06:30:00", "06:31:00", "06:30:01.000"),
        ]


_START = datetime(2026, 10, 31, tzinfo=UTC)


def _text(moment: datetime, written: str) -> str:
    """How a clock of this kind shows the moment: it cuts off, as all clocks do."""
    if written == "ms":
        return str((moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1))
    return str((moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1))


class TestTheInterval:
    @given(
        start=st.integers(0, 86_400_000),
        setup=st.integers(0, 179_000),
        talk=st.none() | st.integers(0, 7_200_000),
        written=st.sampled_from(["s", "ms"]),
        unit=st.sampled_from([None, "s", "ms", "10ms"]),
        counts=st.sampled_from(["from_seizure", "from_answer"]),
        which=st.sampled_from([("seizure",), ("answer", "release"), ("release",), ("seizure", "answer", "release")]),
        says=st.booleans(),
    )
    @settings(max_examples=400, deadline=None)
    def test_always_holds_the_moment_of_the_seizure(
        self,
        start: int,
        setup: int,
        talk: int | None,
        written: str,
        unit: str | None,
        counts: str,
        which: tuple[str, ...],
        says: bool,
    ) -> None:
        seized = _START + timedelta(milliseconds=start)
        answered = None if talk is None else seized + timedelta(milliseconds=setup)
        released = seized + timedelta(milliseconds=setup + (talk or 0))
        began = seized if counts == "from_seizure" else answered or released
        length = (released - began) // timedelta(milliseconds={"s": 1000, "10ms": 10}.get(unit or "ms", 1))
        record = {
            "seizure": _text(seized, written),
            "answer": "" if answered is None else _text(answered, written),
            "release": _text(released, written),
            "duration": str(length),
            "d": "answered" if answered else "unanswered",
        }
        columns: dict[str, Any] = {} if unit is None else duration(unit, counts)
        if says:
            columns["disposition"] = "d"
        mapped = times(*which, format=f"epoch_{written}", columns=columns)
        row = one(mapped, **record)
        slack = timedelta(milliseconds=1)  # canonical times are whole milliseconds
        assert row["seizure_earliest"] <= seized < row["seizure_latest"] + slack
        if which == ("release",) and unit == "ms" and counts == "from_seizure" and written == "ms":
            assert row["seizure_latest"] - row["seizure_earliest"] <= 2 * slack

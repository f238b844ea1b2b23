"""`hopback-cdr init`: what is proposed from a file itself, and what is left to the person. All content is synthetic."""

from __future__ import annotations

import sqlite3
import tomllib
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.kit.number_forms import called_format_of, form_of
from cdr_adapters.kit.proposal import Guess, Proposal, Sure, propose
from cdr_adapters.kit.proposal.names import name_says
from cdr_adapters.kit.proposal.toml_text import text, value
from cdr_adapters.raw import AdapterError
from tests.adapters.reading import written

NOW = datetime(2026, 11, 22, tzinfo=UTC)

PLAIN = (
    "orig_called,term_called,ani,setup_time,answer_time,end_time,in_tg,out_tg,orig_ip,term_ip,callid,sip_code\n"
    "2025550143,+12025550143,2025550199,2026-07-01 12:00:00,2026-07-01 12:00:05,2026-07-01 12:01:00,"
    "A,X,192.0.2.1,198.51.100.1,a1,200\n"
    "2025550144,+12025550144,2025550198,2026-07-01 12:03:00,,2026-07-01 12:03:09,B,Y,192.0.2.2,198.51.100.2,a2,487\n"
    "2025550145,+12025550145,anonymous,2026-11-20 12:04:00,,2026-11-20 12:04:01,A,X,192.0.2.1,198.51.100.1,a3,503\n"
)


def proposed(tmp_path: Path, content: str | bytes, name: str = "calls.csv", **options: Any) -> Proposal:
    path = written(tmp_path, content, name)
    return propose(path, name, NOW, **options)


def guess(proposal: Proposal, key: str) -> Guess:
    (found,) = [one for one in proposal.guesses if one.key == key]
    return found


def table(*rows: str) -> str:
    return "".join(row + "\n" for row in rows)


class TestNames:
    @pytest.mark.parametrize(
        ("name", "role"),
        [
            ("dnis", "called"),
            ("Called-Station-Id", "called"),
            ("destination_number", "called"),
            ("bNumber", "called"),
            ("ani", "calling"),
            ("callingPartyNumber", "calling"),
            ("caller_id_number", "calling"),
            ("setup_time", "seizure"),
            ("startTime", "seizure"),
            ("connect_time", "answer"),
            ("h323-disconnect-time", "release"),
            ("hangup_at", "release"),
            ("ingress_trunk_group", "trunk"),
            ("remote_ip", "address"),
            ("sip_call_id", "call_id"),
            ("hangup_cause", "disposition"),
            ("billsec", "duration"),
        ],
    )
    def test_say_what_a_column_is(self, name: str, role: str) -> None:
        assert role in name_says(name).roles

    @pytest.mark.parametrize("name", ["3", "caller_name", "ring_time", "rtp_src_ip", "peer_port", "trunk_name_count"])
    def test_that_mean_something_else_say_nothing(self, name: str) -> None:
        assert (
            not {"called", "calling", "seizure", "answer", "release", "trunk", "address"} & name_says(name).roles.keys()
        )

    def test_disconnecting_is_not_connecting(self) -> None:
        assert "answer" not in name_says("disconnect_time").roles

    def test_tell_the_sides_apart(self) -> None:
        assert name_says("orig_trunk").came_in
        assert name_says("egressTrunkGroup").went_out
        both = name_says("trunk")
        assert (both.came_in, both.went_out) == (False, False)
        assert name_says("local_ip").own


class TestForms:
    @pytest.mark.parametrize(
        ("written_as", "form", "read_by"),
        [
            ("2025550143", "10d", "10d"),
            ("12025550143", "11d", "11d"),
            ("+12025550143", "+1 and 10 digits", "e164"),
            ("+442079460123", "+, another country's", "e164"),
            ("011442079460123", "011 and country code", "011e164"),
            ("00442079460123", "00 and country code", "00e164"),
            ("1234#12025550143", "prefix 1234# before 11d", "tech:1234#:11d"),
            ("7750112025550143", "prefix 77501 before 11d", "tech:77501:11d"),
            ("sip:12025550143@192.0.2.1;user=phone", "11d in sip: URI", "11d"),
            ("<tel:+12025550143>", "+1 and 10 digits in tel: URI", "e164"),
            ("12025550143@example.net", "11d in user@host", "11d"),
            ("100", "3 digits", None),
            ("*97", "digits with * or #", None),
            ("bob", "no number (a name, a host, an address)", None),
            ("192.0.2.1", "no number (a name, a host, an address)", None),
            ("", "empty", None),
        ],
    )
    def test_are_named_without_the_number(self, written_as: str, form: str, read_by: str | None) -> None:
        assert form_of(written_as) == form
        assert called_format_of(form) == read_by
        assert "55501" not in form


class TestPlainTable:
    def test_is_mapped_by_names_that_the_contents_bear_out(self, tmp_path: Path) -> None:
        proposal = proposed(tmp_path, PLAIN)
        mapping = tomllib.loads(proposal.toml)
        columns = {name: spec["column"] for name, spec in mapping["columns"].items()}
        assert columns == {
            "called_in": "orig_called",
            "called_out": "term_called",
            "calling": "ani",
            "seizure": "setup_time",
            "answer": "answer_time",
            "release": "end_time",
            "ingress_trunk": "in_tg",
            "egress_trunk": "out_tg",
            "ingress_address": "orig_ip",
            "egress_address": "term_ip",
            "call_id": "callid",
            "disposition": "sip_code",
        }
        assert guess(proposal, "columns.called_in").sure is Sure.SURE

    def test_leaves_the_zone_open_when_nothing_proves_it(self, tmp_path: Path) -> None:
        proposal = proposed(tmp_path, PLAIN)
        assert not proposal.complete
        assert "zone" in proposal.missing
        assert "zone" not in tomllib.loads(proposal.toml)
        assert '#zone = "America/New_York"' in proposal.toml

    def test_is_complete_and_tried_once_times_say_their_zone(self, tmp_path: Path) -> None:
        aware = (
            PLAIN.replace(":00,", ":00Z,").replace(":05,", ":05Z,").replace(":09,", ":09Z,").replace(":01,", ":01Z,")
        )
        proposal = proposed(tmp_path, aware)
        assert proposal.complete
        assert proposal.tried is not None
        assert (proposal.tried.calls, proposal.tried.rejects) == (3, 0)
        assert "3 calls, 0 rejected" in proposal.toml

    def test_holds_no_number_of_a_subscriber(self, tmp_path: Path) -> None:
        proposal = proposed(tmp_path, PLAIN)
        assert "55501" not in proposal.toml
        assert "55501" not in str(proposal.as_json())


class TestWhatIsNeverGuessed:
    def test_which_of_two_numbers_is_the_called_one(self, tmp_path: Path) -> None:
        rows = [f"20255501{n:02},20255502{n:02},179532136{n % 10}" for n in range(20)]
        proposal = proposed(tmp_path, table("num1,num2,setup_epoch", *rows))
        for key in ("columns.called_in", "columns.calling"):
            assert not guess(proposal, key).written
            assert {one["column"] for one in guess(proposal, key).candidates} == {"num1", "num2"}
        assert "called_in" in proposal.missing
        assert '#called_in = { column = "num1", format = "auto" }' in proposal.toml
        assert "called_in" not in tomllib.loads(proposal.toml).get("columns", {})

    def test_which_of_two_columns_that_are_both_named_called(self, tmp_path: Path) -> None:
        rows = [f"20255501{n:02},20255502{n:02},2026-07-01T12:00:{n:02}Z" for n in range(20)]
        proposal = proposed(tmp_path, table("dialed,dnis,start", *rows))
        assert not guess(proposal, "columns.called_in").written
        assert len(guess(proposal, "columns.called_in").candidates) == 2

    def test_the_side_of_a_trunk_or_an_address(self, tmp_path: Path) -> None:
        rows = [f"20255501{n:02},2026-07-01T12:00:{n:02}Z,TG{n % 3},192.0.2.{n}" for n in range(20)]
        proposal = proposed(tmp_path, table("called,start,trunk,peer_ip", *rows))
        for key in ("columns.ingress_trunk", "columns.egress_trunk", "columns.ingress_address"):
            assert not guess(proposal, key).written
        assert "ingress" not in str(tomllib.loads(proposal.toml)["columns"])

    def test_our_own_address_is_no_candidate(self, tmp_path: Path) -> None:
        rows = [f"20255501{n:02},2026-07-01T12:00:{n:02}Z,203.0.113.1,192.0.2.{n}" for n in range(20)]
        proposal = proposed(tmp_path, table("called,start,ingress_local_ip,ingress_remote_ip", *rows))
        assert guess(proposal, "columns.ingress_address").value == {"column": "ingress_remote_ip"}
        assert "ingress_local_ip" not in str(guess(proposal, "columns.ingress_address"))

    def test_what_a_lone_time_is_the_time_of(self, tmp_path: Path) -> None:
        rows = [f"20255501{n:02},2026-07-01T12:00:{n:02}Z" for n in range(20)]
        proposal = proposed(tmp_path, table("called,x,time", *(row.replace(",", ",a,", 1) for row in rows)))
        assert not guess(proposal, "columns.seizure").written
        assert "seizure" in proposal.missing

    def test_whether_the_day_comes_before_the_month(self, tmp_path: Path) -> None:
        rows = [f"20255501{n:02},0{n % 9 + 1}/05/2026 12:00:{n:02},a" for n in range(20)]
        proposal = proposed(tmp_path, table("called,start,x", *rows))
        unsure = guess(proposal, "columns.seizure")
        assert not unsure.written
        assert {one["format"] for one in unsure.candidates} == {"%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S"}

    def test_a_day_above_twelve_settles_it(self, tmp_path: Path) -> None:
        rows = [f"20255501{n:02},05/{n + 1:02}/2026 12:00:{n:02},a" for n in range(20)]
        proposal = proposed(tmp_path, table("called,start,x", *rows))
        assert guess(proposal, "columns.seizure").value["format"] == "%m/%d/%Y %H:%M:%S"

    def test_a_setup_that_lies_after_the_answer_is_doubted(self, tmp_path: Path) -> None:
        rows = [f"20255501{n:02},2026-07-01T12:01:{n:02}Z,2026-07-01T12:00:{n:02}Z" for n in range(20)]
        proposal = proposed(tmp_path, table("called,start_time,answer_time", *rows))
        doubted = guess(proposal, "columns.seizure")
        assert not doubted.written
        assert "mixed up" in doubted.why


class TestTimes:
    def test_without_names_are_told_by_what_always_comes_first(self, tmp_path: Path) -> None:
        rows = [f"20255501{n:02},{1795321360 + n},{1795321350 + n},{1795321390 + n}" for n in range(20)]
        proposal = proposed(tmp_path, table("called,t1,t2,t3", *rows))
        columns = tomllib.loads(proposal.toml)["columns"]
        assert [columns[name]["column"] for name in ("seizure", "answer", "release")] == ["t2", "t1", "t3"]
        assert guess(proposal, "columns.seizure").sure is Sure.LIKELY

    @pytest.mark.parametrize(
        ("shown", "time_format"),
        [
            ("1795321360", "epoch_s"),
            ("1795321360123", "epoch_ms"),
            ("1795321360123456", "epoch_us"),
            ("63962540560", "gregorian_s"),
            ("2461366.68240162", "julian"),
            ("2026-11-21T23:23:27-05:00", "iso8601"),
            ("20261121232327", "%Y%m%d%H%M%S"),
            ("Sat Nov 21 23:23:27 2026", "%a %b %d %H:%M:%S %Y"),
            ("21.11.2026 23:23:27", "%d.%m.%Y %H:%M:%S"),
            ("11/21/2026 11:23:27 PM", "%m/%d/%Y %I:%M:%S %p"),
            ("23:23:27.123 EST Sat Nov 21 2026", "%H:%M:%S.%f %Z %a %b %d %Y"),
            ("Sat, 21 Nov 2026 23:23:27 +0000", "%a, %d %b %Y %H:%M:%S %z"),
        ],
    )
    def test_are_known_in_the_notations_of_switches(self, tmp_path: Path, shown: str, time_format: str) -> None:
        rows = [f'20255501{n:02};"{shown}";a' for n in range(12)]
        proposal = proposed(tmp_path, table("called;start;x", *rows))
        found = guess(proposal, "columns.seizure")
        assert found.value["format"] == time_format

    def test_in_two_columns_are_joined(self, tmp_path: Path) -> None:
        rows = [f"20255501{n:02},11/{n + 1:02}/2026,23:23:{n:02}" for n in range(20)]
        proposal = proposed(tmp_path, table("called,start_date,start_time", *rows))
        assert guess(proposal, "columns.seizure").value == {
            "column": ["start_date", "start_time"],
            "join": " ",
            "format": "%m/%d/%Y %H:%M:%S",
        }

    def test_in_the_future_are_none(self, tmp_path: Path) -> None:
        rows = [f"20255501{n:02},{1895321360 + n},a" for n in range(20)]
        proposal = proposed(tmp_path, table("called,start,x", *rows))
        assert not [one for one in proposal.guesses if one.key == "columns.seizure" and one.written]


class TestZone:
    def rows(self, moments: list[tuple[str, int]]) -> str:
        return table("called,start,epoch", *(f"2025550143,{local},{epoch}" for local, epoch in moments))

    def test_is_proved_by_seconds_in_the_same_row(self, tmp_path: Path) -> None:
        summer, winter = 1782907200, 1795608000  # 2026-07-01 and 2026-11-25, 12:00 UTC
        content = self.rows([("2026-07-01 08:00:00", summer), ("2026-11-25 07:00:00", winter)] * 5)
        proposal = propose(written(tmp_path, content, "z.csv"), "z.csv", datetime(2026, 12, 1, tzinfo=UTC))
        zone = guess(proposal, "zone")
        assert (zone.sure, zone.value) == (Sure.UNSURE, None) or zone.value == "America/New_York"
        assert "America/New_York" in (zone.value, *zone.candidates)
        assert "-5 h and -4 h from epoch" in zone.why

    def test_of_one_season_fits_several_and_none_is_chosen(self, tmp_path: Path) -> None:
        content = self.rows([("2026-07-01 08:00:00", 1782907200)] * 5)
        zone = guess(proposed(tmp_path, content), "zone")
        assert not zone.written
        assert {"America/New_York", "America/Puerto_Rico"} <= set(zone.candidates)

    def test_is_utc_where_the_row_says_so(self, tmp_path: Path) -> None:
        content = self.rows([("2026-07-01 12:00:00", 1782907200)] * 5)
        assert guess(proposed(tmp_path, content), "zone").value == "UTC"

    def test_is_proved_by_an_epoch_within_an_identifier(self, tmp_path: Path) -> None:
        rows = [f"2025550143,2026-07-01 12:00:{n:02},box-{1782907200 + n}.{n}" for n in range(10)]
        assert guess(proposed(tmp_path, table("called,start,uniqueid", *rows)), "zone").value == "UTC"

    def test_may_stand_beside_the_time(self, tmp_path: Path) -> None:
        rows = [f"2025550143,2026-07-01 12:00:{n:02},GMT-08:00-Pacific(US)" for n in range(10)]
        proposal = proposed(tmp_path, table("called,start,node_zone", *rows))
        assert guess(proposal, "columns.seizure").value["zone_column"] == "node_zone"
        assert proposal.complete

    def test_whose_clocks_skipped_an_hour_with_calls_is_ruled_out(self, tmp_path: Path) -> None:
        rows = [f"2025550143,2026-03-08 02:30:{n:02},x" for n in range(10)]
        zone = guess(proposed(tmp_path, table("called,start,x", *rows)), "zone")
        assert "it is not America/New_York" in zone.why


class TestNumbers:
    def test_with_a_prefix_on_some_trunks_get_a_format_for_each(self, tmp_path: Path) -> None:
        rows = [f"7750112025550{n:03},2026-07-01T12:00:{n:02}Z,TG1" for n in range(10)]
        rows += [f"2025550{n:03},2026-07-01T12:01:{n:02}Z,TG2" for n in range(10)]
        proposal = proposed(tmp_path, table("called,start,in_trunk", *rows))
        mapping = tomllib.loads(proposal.toml)
        assert mapping["trunk_formats"]["ingress"] == {"TG1": "tech:77501:11d"}
        assert mapping["columns"]["called_in"]["format"] == "trunk"
        assert proposal.tried is not None
        assert (proposal.tried.calls, proposal.tried.rejects) == (20, 0)

    def test_that_no_format_reads_for_sure_are_told(self, tmp_path: Path) -> None:
        rows = [f"44207946{n:04},2026-07-01T12:00:{n:02}Z,x" for n in range(10)]
        called = guess(proposed(tmp_path, table("called,start,x", *rows)), "columns.called_in")
        assert called.value["format"] == "auto"
        assert "'auto' reads 0% of its values, 'e164' would read 100%: decide" in called.why


class TestLayout:
    @pytest.mark.parametrize("delimiter", [",", ";", "|", "\t", "^", "~"])
    def test_delimiters_are_found(self, tmp_path: Path, delimiter: str) -> None:
        content = PLAIN.replace(",", delimiter)
        mapping = tomllib.loads(proposed(tmp_path, content).toml)
        assert mapping["options"].get("delimiter", ",") == delimiter

    def test_a_file_without_header_goes_by_positions_and_nothing_is_guessed_of_sides(self, tmp_path: Path) -> None:
        content = "".join(PLAIN.splitlines(keepends=True)[1:])
        proposal = proposed(tmp_path, content)
        mapping = tomllib.loads(proposal.toml)
        assert mapping["options"]["header"] is False
        assert not guess(proposal, "columns.called_in").written
        assert "ingress_address" not in mapping.get("columns", {})

    def test_a_table_of_a_database_is_chosen_by_its_columns(self, tmp_path: Path) -> None:
        path = tmp_path / "calls.db"
        with closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE version (table_name TEXT, version INT)")
            db.execute("INSERT INTO version VALUES ('cdr', 1)")
            db.execute("CREATE TABLE cdr (called TEXT, caller TEXT, setup_time TEXT, in_trunk TEXT, callid TEXT)")
            db.executemany(
                "INSERT INTO cdr VALUES (?, ?, ?, 'A', ?)",
                [(f"20255501{n:02}", "2025550199", f"2026-07-01T12:00:{n:02}Z", f"id{n}") for n in range(10)],
            )
            db.commit()
        proposal = propose(path, "calls.db", NOW)
        assert guess(proposal, "options.table").value == "cdr"
        assert proposal.complete

    def test_rows_that_are_no_calls_are_left_out_before_anything_is_told(self, tmp_path: Path) -> None:
        rows = [f"INVITE,20255501{n:02},2026-07-01T12:00:{n:02}Z,TG1\nBYE,,2026-07-01T12:01:{n:02}Z," for n in range(9)]
        proposal = proposed(tmp_path, table("method,called,start,in_trunk", *rows))
        assert guess(proposal, "where").value == {"method": "INVITE"}
        assert proposal.tried is not None
        assert (proposal.tried.calls, proposal.tried.skipped) == (9, 9)

    def test_prose_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="no format claims it"):
            proposed(tmp_path, "The quick brown fox\njumps over\nthe lazy dog of the house\n", "fox.txt")

    @pytest.mark.parametrize("content", [b"", b"\n\n", bytes(range(256)) * 8, b"\xff\xfe", b"a,b,c\n", b"," * 400])
    def test_nothing_is_made_of_nothing(self, tmp_path: Path, content: bytes) -> None:
        with suppress(AdapterError):
            assert not proposed(tmp_path, content, "x").complete


class TestDuration:
    def test_is_told_from_the_times_themselves(self, tmp_path: Path) -> None:
        rows = [f"20255501{n:02},{1795321360 + n},{1795321370 + 3 * n},{10 + 2 * n}" for n in range(12)]
        proposal = proposed(tmp_path, table("called,answer_time,end_time,duration", *rows))
        assert guess(proposal, "columns.duration").value == {"column": "duration", "unit": "s", "counts": "from_answer"}

    def test_that_nothing_explains_is_left_open(self, tmp_path: Path) -> None:
        rows = [f"20255501{n:02},{1795321370 + 3 * n},{10 + 2 * n}" for n in range(12)]
        proposal = proposed(tmp_path, table("called,end_time,duration", *rows))
        assert not guess(proposal, "columns.duration").written


class TestToml:
    @pytest.mark.parametrize(
        "content", ["plain", 'a "quoted" \\ one', "tab\tand\nline", "\x1b[2J\x00\x7f", "ünïcödé 😀"]
    )
    def test_texts_come_back_as_they_were(self, content: str) -> None:
        assert tomllib.loads(f"x = {text(content)}") == {"x": content}

    def test_values_of_every_kind_come_back(self) -> None:
        table = {"a b": True, "n": 3, "l": ["x", "y"], "t": {"*": "failed", "200": "answered"}, "e": {}}
        assert tomllib.loads(f"v = {value(table)}") == {"v": table}

    def test_what_stands_in_a_file_can_not_leave_its_comment(self, tmp_path: Path) -> None:
        rows = [f"20255501{n:02},2026-07-01T12:00:{n:02}Z,x" for n in range(9)]
        header = 'called,"start\nformat = ""evil""",x'
        proposal = proposed(tmp_path, table(header.replace("\n", "\r"), *rows))
        assert tomllib.loads(proposal.toml).get("format") in ("delimited", None)

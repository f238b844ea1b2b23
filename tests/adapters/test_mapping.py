"""What a [[sources]] table may say, and what is refused before any file is opened."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cdr_adapters.column_specs import check_called_format
from cdr_adapters.durations import parse_duration
from cdr_adapters.mapping import MappingError, SourceMapping, describe, load_mapping
from cdr_adapters.mapping import TrunkFormats as Formats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import check_source

TABLE: dict[str, Any] = {
    "name": "acc",
    "path": "acc.csv",
    "format": "delimited",
    "zone": "America/New_York",
    "columns": {
        "called_in": {"column": "dnis", "format": "trunk"},
        "answer": {"column": "time", "format": "%Y-%m-%d %H:%M:%S"},
    },
}


def changed(**changes: Any) -> dict[str, Any]:
    table = {**TABLE, **changes}
    return {key: value for key, value in table.items() if value is not None}


def columns(**changes: Any) -> dict[str, Any]:
    merged = {**TABLE["columns"], **changes}
    return changed(columns={key: value for key, value in merged.items() if value is not None})


def refusal(table: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        SourceMapping.model_validate(table)
    return describe(caught.value)


class TestDurations:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("47s", 47), ("0.5s", 0.5), ("-9s", -9), ("120s", 120), ("5m", 300), ("548d", 548 * 86400), ("250ms", 0.25)],
    )
    def test_are_a_number_and_a_unit(self, text: str, seconds: float) -> None:
        assert parse_duration(text) == timedelta(seconds=seconds)

    @pytest.mark.parametrize("text", ["47", 47, "", "s", "1 s", "1w", "٤s", "1e3s", "99999999999999d", None])
    def test_without_a_unit_are_refused(self, text: object) -> None:
        with pytest.raises(ValueError, match="duration"):
            parse_duration(text)


class TestASourceTable:
    def test_needs_only_a_name_a_path_a_format_and_columns(self) -> None:
        source = SourceMapping.model_validate(TABLE)
        assert source.clock_offset == timedelta(0)
        assert source.max_setup == timedelta(seconds=180)
        assert source.columns is not None
        assert source.columns.answer is not None
        assert source.columns.answer.column == ("time",)

    def test_may_name_a_column_by_its_name_alone(self) -> None:
        source = SourceMapping.model_validate(columns(call_id="callid", ingress_trunk=["in_tg", "remote_tg"]))
        assert source.columns is not None
        assert source.columns.call_id is not None
        assert source.columns.call_id.column == ("callid",)
        assert source.columns.ingress_trunk is not None
        assert source.columns.ingress_trunk.column == ("in_tg", "remote_tg")

    @pytest.mark.parametrize(
        ("table", "says"),
        [
            (changed(bogus=1), "bogus: unknown key"),
            (columns(bogus="x"), "columns.bogus: unknown key"),
            (changed(zone="Mars/Olympus"), "is no time zone"),
            (changed(zone="../../etc/passwd"), "is no time zone"),
            (changed(clock_offset="47"), "is no duration"),
            (changed(max_setup="-1s"), "must not be negative"),
            (changed(name="a b"), "name"),
            (columns(called_in=None), "map called_in or called_out"),
            (columns(answer=None), "at least one of seizure, answer and release"),
            (columns(called_in={"column": "dnis", "format": "9d"}), "is no called format"),
            (columns(called_in={"column": "dnis", "format": "tech::11d"}), "is no called format"),
            (columns(called_in={"column": "dnis", "format": "tech:1:trunk"}), "is no called format"),
            (columns(calling={"column": "ani", "format": "trunk"}), "is no called format"),
            (columns(call_id={"column": []}), "column"),
            (columns(call_id={"column": "x", "pattern": "in=[^;]*"}), "has no group"),
            (columns(call_id={"column": "x", "pattern": "in=("}), "pattern"),
            (columns(answer={"column": "t", "format": "yyyy-mm-dd"}), "is no time format"),
            (columns(answer={"column": "t", "format": "%Y-%m-%d"}), "an hour"),
            (columns(answer={"column": "t", "format": "%Y-%m-%d %Q"}), "unknown directive %Q"),
            (columns(answer={"column": "t", "format": "%Y-%m-%d %I:%M"}), "morning or afternoon"),
            (columns(answer={"column": "t", "format": "epoch_s", "fraction_column": "us"}), "go together"),
            (
                columns(answer={"column": "t", "format": "epoch_s", "abbreviations": {"EST": "-05:00"}}),
                "for formats with %Z",
            ),
            (
                columns(answer={"column": "t", "format": "%Y-%m-%d %H %Z", "abbreviations": {"EST": "EST5EDT"}}),
                "is no offset",
            ),
            (columns(disposition={"column": "code", "values": {"200": "fine"}}), "disposition"),
        ],
    )
    def test_is_refused_with_the_key_and_the_reason(self, table: dict[str, Any], says: str) -> None:
        assert says in refusal(table)

    def test_needs_no_zone_when_its_times_say_it(self) -> None:
        for time in ("epoch_s", "julian", "iso8601", "%Y-%m-%d %H:%M:%S%z"):
            table = columns(answer={"column": "t", "format": time})
            del table["zone"]
            SourceMapping.model_validate(table)

    def test_every_called_format_of_a_trunk_is_checked(self) -> None:
        assert check_called_format("tech:0155#:11d") == "tech:0155#:11d"
        with pytest.raises(ValueError, match="called format"):
            check_called_format("trunk")


class TestASourceIsCheckedWithoutItsFile:
    def test_and_accepted(self) -> None:
        check_source(SourceMapping.model_validate(TABLE), Formats())

    @pytest.mark.parametrize(
        ("table", "says"),
        [
            (changed(format="nonesuch"), "there is no format 'nonesuch'; known are: .*delimited"),
            (changed(options={"separator": "|"}), "options of format 'delimited': separator: unknown key"),
            (changed(options={"delimiter": ","} | {"quote": ","}), "must differ"),
            (changed(options={"encoding": "klingon"}), "is no text encoding"),
            (changed(options={"encoding": "zip"}), "is no text encoding"),
            (changed(columns=None), r"add \[sources.columns\]"),
            (changed(zone=None), "don't say their zone: set zone"),
            (columns(call_id={"column": "x", "pattern": "(?<=in=)(.*)"}), "pattern of call_id"),
        ],
    )
    def test_or_refused(self, table: dict[str, Any], says: str) -> None:
        with pytest.raises(AdapterError, match=says):
            check_source(SourceMapping.model_validate(table), Formats())


class TestAMappingFile:
    def test_has_the_keys_of_a_source_at_top_level(self, tmp_path: Path) -> None:
        path = tmp_path / "my switch.toml"
        path.write_text(
            'format = "delimited"\n[columns]\ncalled_in = { column = "dnis", format = "trunk" }\n'
            'seizure = { column = "start", format = "epoch_s" }\n'
            '[trunk_formats.ingress]\nTG1 = "tech:77501:11d"\n"198.51.100.0/24" = "10d"\n'
        )
        mapping = load_mapping(path)
        assert mapping.source.name == "my_switch"
        assert mapping.formats.ingress == {"TG1": "tech:77501:11d", "198.51.100.0/24": "10d"}
        assert mapping.formats.egress == {}

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("format = ", "is no TOML"),
            ('format = "delimited"\ncolumn = {}', "column: unknown key"),
            ('[trunk_formats.ingress]\nTG1 = "9d"', "ingress.TG1: '9d' is no called format"),
        ],
    )
    def test_that_is_wrong_is_refused_with_its_name(self, tmp_path: Path, text: str, says: str) -> None:
        path = tmp_path / "m.toml"
        path.write_text(text)
        with pytest.raises(MappingError, match=says) as caught:
            load_mapping(path)
        assert str(path) in str(caught.value)

    def test_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(MappingError, match="No such file"):
            load_mapping(tmp_path / "none.toml")

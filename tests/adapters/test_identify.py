"""Which format a file is of: exactly one claims it, or nobody reads it. And which formats there are."""

from __future__ import annotations

import gzip
import sqlite3
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from cdr_adapters import registry
from cdr_adapters.columns import ColumnMapper
from cdr_adapters.identify import AmbiguousFormatError, UnknownFormatError, identify
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError, Grade, Options, RawBatch
from tests.adapters.reading import written
from tests.adapters.test_line_readers import ACC, CDR, DB_TEXT, NOISE, RADIUS
from tests.adapters.test_sql_readers import MYSQL, POSTGRES

CLAIMED = {
    "delimited": [
        "id,called,peer\n1,2025550143,198.51.100.10\n",
        "INVITE|a|2025550143||\nBYE|a|||\n",
        'a;b;c\n"x;y";1;2\n',
    ],
    "jsonl": ['{"called": "2025550143", "start": 1795321360}\n{"called": "x,y,z"}\n'],
    "kamailio_syslog": [
        f"{NOISE}\n{ACC}\n",
        f"{CDR}\n{CDR}\n",
        'Nov 22 04:22:42 gw1 cdr[7]: {"a": 1, "b": 2, "c": 3}\n',
    ],
    "radius_detail": [RADIUS, RADIUS * 3],
    "kamailio_dbtext": [DB_TEXT, DB_TEXT + "1:INVITE:1795321362:x\n"],
    "sqldump": [POSTGRES, MYSQL, "INSERT INTO acc VALUES (1,2,3);\nINSERT INTO acc VALUES (4,5,6);\n"],
}


@pytest.fixture
def entry_points(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    """Entry points of other distributions: an empty list to add to."""
    points: list[EntryPoint] = []
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "hopback.adapters" else [])
    registry._modules.cache_clear()
    registry.adapter.cache_clear()
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    yield points
    registry._modules.cache_clear()
    registry.adapter.cache_clear()


def _read_nothing(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[RawBatch]:
    return iter(())


def reader(name: str, **attributes: object) -> EntryPoint:
    """A third party's reader that claims files which begin with XCDR."""
    module = ModuleType(name)
    defaults = {
        "SUMMARY": "made by Example Corp.",
        "GRADE": Grade.GENERIC,
        "Options": Options,
        "identify": lambda head: head.data.startswith(b"XCDR"),
        "read": _read_nothing,
    }
    for attribute, value in (defaults | attributes).items():
        if value is not None:
            setattr(module, attribute, value)
    sys.modules[name] = module
    return EntryPoint("xcdr", name, "hopback.adapters")


class TestIdentify:
    @pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in CLAIMED.items() for text in texts])
    @pytest.mark.parametrize("compressed", [False, True])
    def test_one_format_claims_its_files_and_no_other(
        self, tmp_path: Path, name: str, text: str, compressed: bool
    ) -> None:
        content = gzip.compress(text.encode()) if compressed else text.encode()
        assert identify(written(tmp_path, content)) == name

    def test_a_database_is_known_by_its_mark(self, tmp_path: Path) -> None:
        path = tmp_path / "no-extension"
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE a (b)")
        connection.close()
        assert identify(path) == "sqlite"

    @pytest.mark.parametrize(
        "content",
        [b"", b"\n\n", b"a line of text\nand another\n", b"\x00\x01\x02\x03" * 99, b"<xml><a/></xml>\n", b"{\n"],
    )
    def test_a_file_that_nobody_claims_is_refused_with_what_to_do(self, tmp_path: Path, content: bytes) -> None:
        with pytest.raises(
            UnknownFormatError, match=r"no format claims it.*hopback-cdr init.*name the format in a mapping"
        ):
            identify(written(tmp_path, content))

    def test_a_file_that_cannot_be_opened_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="can't be read"):
            identify(tmp_path / "none")

    def test_two_claims_are_an_error_that_names_both(self, tmp_path: Path, entry_points: list[EntryPoint]) -> None:
        entry_points.append(reader("x_cdr", identify=lambda head: b"\t" in head.data, GRADE=Grade.DOCUMENTATION))
        path = written(tmp_path, RADIUS)
        with pytest.raises(AmbiguousFormatError, match="radius_detail, xcdr") as caught:
            identify(path)
        assert caught.value.claimants == ("radius_detail", "xcdr")

    def test_a_generic_format_yields_to_a_special_one(self, tmp_path: Path, entry_points: list[EntryPoint]) -> None:
        path = written(tmp_path, CLAIMED["delimited"][0])
        assert identify(path) == "delimited"
        entry_points.append(reader("x_cdr", identify=lambda head: b"," in head.data, GRADE=Grade.DOCUMENTATION))
        registry._modules.cache_clear()
        assert identify(path) == "xcdr"

    def test_two_generic_formats_do_not_yield_to_each_other(
        self, tmp_path: Path, entry_points: list[EntryPoint]
    ) -> None:
        entry_points.append(reader("x_cdr", identify=lambda head: b"," in head.data))
        with pytest.raises(AmbiguousFormatError, match="delimited, xcdr"):
            identify(written(tmp_path, CLAIMED["delimited"][0]))


class TestFormatsOfThirdParties:
    def test_are_found_by_entry_point(self, tmp_path: Path, entry_points: list[EntryPoint]) -> None:
        entry_points.append(reader("x_cdr"))
        assert "xcdr" in registry.names()
        assert registry.adapter("xcdr").summary == "made by Example Corp."
        assert identify(written(tmp_path, "XCDR 1\n")) == "xcdr"

    def test_may_not_take_a_name_that_is_taken(self, entry_points: list[EntryPoint]) -> None:
        entry_points.append(EntryPoint("sqlite", "x_cdr", "hopback.adapters"))
        with pytest.raises(AdapterError, match="two adapters are called 'sqlite'"):
            registry.names()

    def test_that_cannot_be_imported_are_named(self, entry_points: list[EntryPoint]) -> None:
        entry_points.append(EntryPoint("xcdr", "x_cdr_that_is_not_there", "hopback.adapters"))
        with pytest.raises(AdapterError, match="format 'xcdr' can't be loaded"):
            registry.adapter("xcdr")

    def test_that_lack_something_are_told_what(self, entry_points: list[EntryPoint]) -> None:
        entry_points.append(reader("x_cdr", read=None))
        with pytest.raises(AdapterError, match="lacks read"):
            registry.adapter("xcdr")


def mapping(**table: object) -> SourceMapping:
    return SourceMapping.model_validate({"name": "x", "path": "x", "format": "xcdr", **table})


COLUMNS = {"called_in": "dnis", "seizure": {"column": "start", "format": "%Y-%m-%d %H:%M:%S"}}


class TestWhatAFormatBrings:
    """A module's COLUMNS, WHERE and ZONE are what a mapping that leaves them out means."""

    def test_completes_a_mapping(self, entry_points: list[EntryPoint]) -> None:
        entry_points.append(reader("x_cdr", COLUMNS=COLUMNS, WHERE={"type": ["STOP", "ATTEMPT"]}, ZONE="UTC"))
        whole = registry.completed(mapping())
        assert whole.columns is not None
        assert whole.columns.called_in is not None
        assert whole.columns.called_in.column == ("dnis",)
        assert (whole.where, whole.zone) == ({"type": ["STOP", "ATTEMPT"]}, "UTC")

    def test_gives_way_key_by_key_to_what_the_mapping_says(self, entry_points: list[EntryPoint]) -> None:
        entry_points.append(reader("x_cdr", COLUMNS=COLUMNS, WHERE={"type": "STOP"}, ZONE="UTC"))
        zoned = registry.completed(mapping(zone="America/New_York"))
        assert (zoned.where, zoned.zone) == ({"type": "STOP"}, "America/New_York")
        everything = registry.completed(mapping(where={}))
        assert (everything.where, everything.zone) == ({}, "UTC")
        own = registry.completed(mapping(columns={**COLUMNS, "called_in": "other"}))
        assert own.columns is not None
        assert own.columns.called_in is not None
        assert own.columns.called_in.column == ("other",)
        assert own.where == {"type": "STOP"}

    def test_leaves_a_mapping_without_columns_refused_where_it_brings_none(
        self, entry_points: list[EntryPoint]
    ) -> None:
        entry_points.append(reader("x_cdr", WHERE={"type": "STOP"}))
        with pytest.raises(AdapterError, match="doesn't say what its columns mean"):
            registry.completed(mapping())

    @pytest.mark.parametrize("wrong", [{"COLUMNS": {"called_in": "x"}}, {"ZONE": "Mars/Olympus"}, {"WHERE": 7}])
    def test_is_refused_with_the_formats_name_when_it_is_wrong(
        self, entry_points: list[EntryPoint], wrong: dict[str, object]
    ) -> None:
        entry_points.append(reader("x_cdr", **{"COLUMNS": COLUMNS, **wrong}))
        with pytest.raises(AdapterError, match="format 'xcdr' brings a mapping that is wrong"):
            registry.completed(mapping(columns=COLUMNS))

    @pytest.mark.parametrize("name", registry.names())
    def test_is_right_for_every_format_that_there_is(self, name: str) -> None:
        found = registry.adapter(name)
        assert found.summary.strip()
        assert "\n" not in found.summary
        assert isinstance(found.grade, Grade)
        brought = found.defaults
        if brought.columns is not None:
            ColumnMapper(brought if brought.zone else brought.model_copy(update={"zone": "UTC"}), TrunkFormats())

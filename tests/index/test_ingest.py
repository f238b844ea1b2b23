"""A source file is indexed once per content, all of it or nothing; bad rows are counted and kept aside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from agent.index import CoverageState, Index, IndexBusyError, WrongKeyError
from agent.index.writer import IndexWriter
from agent.ingest import FileStatus, IngestReport, Read, ingest
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.schema import CALLS, Batch, RejectReason
from protos.e164 import parse_e164
from tests.index.calls import (
    ALICE,
    BOB,
    CAROL,
    FORMATS,
    KEYS,
    NOON,
    NOW,
    OTHER_KEYS,
    Call,
    at,
    batch_of,
    mapping,
    reader,
    write,
)

TWO = [Call(), Call(earliest=NOON + 10)]
HOUR = timedelta(hours=1)


class Provider:
    """An index and what is fed into it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.index = directory / "index"

    def ingest(
        self, *paths: Path, by: SourceMapping | None = None, read: Read | None = None, **more: object
    ) -> IngestReport:
        return ingest(
            paths,
            by or mapping(),
            FORMATS,
            self.index,
            KEYS,
            NOW,
            read=read or reader(),
            **more,  # type: ignore[arg-type]
        )

    def statuses(self, *paths: Path, by: SourceMapping | None = None) -> list[FileStatus]:
        return [file.status for file in self.ingest(*paths, by=by).files]

    def rows(self, called: str = ALICE) -> list[tuple[str, int]]:
        index = Index.open(self.index, KEYS)
        legs = index.find(parse_e164(called), None, at(0), at(NOON * 2))
        return [(leg.source, (leg.earliest - at(NOON)) // timedelta(milliseconds=1)) for leg in legs]

    def segments(self) -> list[str]:
        return sorted(path.name for path in (self.index / "segments").iterdir())


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    return Provider(tmp_path)


@pytest.fixture
def acc(tmp_path: Path) -> Path:
    return write(tmp_path / "acc.txt", TWO)


class TestOncePerContent:
    def test_a_file_is_indexed_and_reported(self, provider: Provider, acc: Path) -> None:
        (report,) = provider.ingest(acc).files
        assert (report.status, report.calls, report.skipped, report.rejects) == (FileStatus.INDEXED, 2, 0, None)
        assert (report.earliest, report.latest) == (at(NOON), at(NOON + 10))
        assert provider.rows() == [("acc", 0), ("acc", 10)]

    def test_delivered_again_or_renamed_it_is_not_indexed_again(self, provider: Provider, acc: Path) -> None:
        provider.ingest(acc)
        before = provider.segments()
        renamed = acc.rename(acc.with_name("acc.txt.1"))
        assert provider.statuses(renamed, renamed) == [FileStatus.ALREADY_INDEXED] * 2
        assert provider.segments() == before
        assert len(provider.rows()) == 2

    def test_the_same_file_given_twice_at_once_counts_once(self, provider: Provider, acc: Path) -> None:
        assert provider.statuses(acc, acc) == [FileStatus.INDEXED, FileStatus.ALREADY_INDEXED]

    def test_two_sources_may_read_one_file(self, provider: Provider, acc: Path) -> None:
        provider.ingest(acc)
        assert provider.statuses(acc, by=mapping("missed")) == [FileStatus.INDEXED]
        assert len(provider.rows()) == 4

    def test_another_mapping_reads_it_anew_and_replaces_what_was_there(self, provider: Provider, acc: Path) -> None:
        provider.ingest(acc)
        before = provider.segments()
        shifted = mapping(clock_offset="47s")
        assert provider.statuses(acc, by=shifted) == [FileStatus.REPLACED]
        assert len(provider.rows()) == 2
        assert not set(before) & set(provider.segments())
        assert provider.statuses(acc, by=shifted) == [FileStatus.ALREADY_INDEXED]

    def test_other_trunk_formats_read_it_anew(self, provider: Provider, acc: Path) -> None:
        provider.ingest(acc)
        formats = TrunkFormats({"TGIN1": "10d"}, {})
        report = ingest([acc], mapping(), formats, provider.index, KEYS, NOW, read=reader())
        assert report.files[0].status is FileStatus.REPLACED

    def test_another_path_in_the_mapping_does_not(self, provider: Provider, acc: Path) -> None:
        provider.ingest(acc)
        assert provider.statuses(acc, by=mapping(path="elsewhere/*.txt")) == [FileStatus.ALREADY_INDEXED]

    def test_on_demand_it_is_read_anew(self, provider: Provider, acc: Path) -> None:
        provider.ingest(acc)
        assert provider.ingest(acc, again=True).files[0].status is FileStatus.REPLACED
        assert len(provider.rows()) == 2


class TestGrowingFile:
    def test_takes_the_place_of_its_beginning(self, provider: Provider, acc: Path) -> None:
        provider.ingest(acc)
        write(acc, [*TWO, Call(earliest=NOON + 20)])
        assert provider.statuses(acc) == [FileStatus.REPLACED]
        assert provider.rows() == [("acc", 0), ("acc", 10), ("acc", 20)]

    def test_also_when_it_was_rotated_to_another_name(self, provider: Provider, acc: Path) -> None:
        provider.ingest(acc)
        write(acc, [*TWO, Call(earliest=NOON + 20)])
        assert provider.statuses(acc.rename(acc.with_name("acc.txt.1"))) == [FileStatus.REPLACED]
        assert provider.rows() == [("acc", 0), ("acc", 10), ("acc", 20)]

    def test_an_old_shorter_copy_does_not_come_back(self, provider: Provider, acc: Path) -> None:
        provider.ingest(acc)
        copy = write(acc.with_name("copy.txt"), TWO)
        write(acc, [*TWO, Call(earliest=NOON + 20)])
        assert provider.statuses(acc, copy) == [FileStatus.REPLACED, FileStatus.ALREADY_INDEXED]
        assert len(provider.rows()) == 3

    def test_a_new_file_under_the_old_name_is_another_file(self, provider: Provider, acc: Path) -> None:
        provider.ingest(acc)
        write(acc, [Call(earliest=NOON + 20)])
        assert provider.statuses(acc) == [FileStatus.INDEXED]
        assert len(provider.rows()) == 3

    def test_a_snapshot_that_repeats_records_finds_each_once(self, provider: Provider, acc: Path) -> None:
        write(acc, ["skip first snapshot", *TWO])
        provider.ingest(acc)
        write(acc, ["skip second snapshot", *TWO])
        assert provider.statuses(acc) == [FileStatus.INDEXED]
        assert provider.rows() == [("acc", 0), ("acc", 10)]

    def test_every_file_begins_with_an_empty_one_but_only_the_same_file_replaces_it(
        self, provider: Provider, acc: Path
    ) -> None:
        empty = write(acc.with_name("empty.txt"), [])
        assert provider.statuses(empty, acc) == [FileStatus.INDEXED, FileStatus.INDEXED]
        write(empty, [Call(earliest=NOON + 20)])
        assert provider.statuses(empty) == [FileStatus.REPLACED]

    def test_that_grows_while_it_is_read_is_taken_and_later_replaced(self, provider: Provider, acc: Path) -> None:
        def growing(path: Path, by: SourceMapping, formats: TrunkFormats) -> Iterator[Batch]:
            write(path, [*TWO, Call(earliest=NOON + 20)])
            yield from reader()(path, by, formats)

        assert provider.ingest(acc, read=growing).files[0].status is FileStatus.INDEXED
        assert provider.statuses(acc) == [FileStatus.REPLACED]
        assert provider.rows() == [("acc", 0), ("acc", 10), ("acc", 20)]

    def test_that_changes_otherwise_while_it_is_read_is_refused(self, provider: Provider, acc: Path) -> None:
        def changing(path: Path, by: SourceMapping, formats: TrunkFormats) -> Iterator[Batch]:
            yield from reader()(path, by, formats)
            write(path, [Call(called_in=CAROL)])

        (report,) = provider.ingest(acc, read=changing).files
        assert report.status is FileStatus.FAILED
        assert "changed while it was being read" in report.problem
        assert provider.rows() == []
        assert provider.segments() == []


class TestRejectedRows:
    BAD = (TWO[0], "bad row one", "skip this", "bad row two", TWO[1])

    def test_are_counted_by_reason_and_kept_aside_with_line_and_text(self, provider: Provider, acc: Path) -> None:
        write(acc, self.BAD)
        (report,) = (whole := provider.ingest(acc)).files
        assert (report.calls, report.skipped, report.rejected) == (2, 1, {RejectReason.BAD_TIME: 2})
        assert (whole.calls, whole.skipped, whole.rejected) == (2, 1, {RejectReason.BAD_TIME: 2})
        assert report.rejects is not None
        assert report.rejects.parent == provider.index / "rejects"
        assert [json.loads(line) for line in report.rejects.read_text().splitlines()] == [
            {"row": 2, "reason": "bad-time", "detail": "not a time", "raw": "bad row one"},
            {"row": 4, "reason": "bad-time", "detail": "not a time", "raw": "bad row two"},
        ]

    def test_are_for_their_owner_only(self, provider: Provider, acc: Path) -> None:
        write(acc, self.BAD)
        (report,) = provider.ingest(acc).files
        assert report.rejects is not None
        assert report.rejects.stat().st_mode & 0o777 == 0o600
        assert provider.index.stat().st_mode & 0o777 == 0o700
        for path in provider.index.rglob("*"):
            assert path.stat().st_mode & 0o077 == 0

    def test_of_what_a_file_has_grown_by_are_kept_beside_those_before_with_their_lines(
        self, provider: Provider, acc: Path
    ) -> None:
        write(acc, self.BAD)
        (first,) = provider.ingest(acc).files
        write(acc, [*self.BAD, TWO[1], "bad row three"])
        (second,) = provider.ingest(acc).files
        assert {first.rejects, second.rejects} == set((provider.index / "rejects").iterdir())
        assert second.rejected == {RejectReason.BAD_TIME: 1}
        assert second.rejects is not None
        assert json.loads(second.rejects.read_text())["row"] == 7

    def test_go_when_what_they_came_from_is_read_anew(self, provider: Provider, acc: Path) -> None:
        write(acc, self.BAD)
        (first,) = provider.ingest(acc).files
        write(acc, [*self.BAD, "bad row three"])
        (second,) = provider.ingest(acc, again=True).files
        assert list((provider.index / "rejects").iterdir()) == [second.rejects]
        assert second.rejects != first.rejects
        assert second.rejected == {RejectReason.BAD_TIME: 3}


class TestFailure:
    def test_of_one_file_is_reported_and_does_not_stop_the_others(self, provider: Provider, acc: Path) -> None:
        def failing(path: Path, by: SourceMapping, formats: TrunkFormats) -> Iterator[Batch]:
            yield from reader()(path, by, formats)
            if path.name == "odd.txt":
                raise AdapterError("line 2 is no line of this format")

        odd = write(acc.with_name("odd.txt"), [Call(called_in=CAROL)])
        missing = acc.with_name("missing.txt")
        report = provider.ingest(missing, odd, acc.parent, acc, read=failing)
        assert [file.status for file in report.files] == [FileStatus.FAILED] * 3 + [FileStatus.INDEXED]
        assert [file.path for file in report.failed] == [missing, odd, acc.parent]
        assert str(missing) in report.failed[0].problem
        assert report.failed[1].problem == f"{odd}: line 2 is no line of this format"
        assert len(provider.rows()) == 2
        assert len(provider.segments()) == 1

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("called_in", "12025550143"),
            ("called_in", "+1202555abcd"),
            ("called_in", None),
            ("calling", "+1234567890123456"),
            ("disposition", "lost"),
            ("seizure_latest", at(NOON - 1)),
            ("seizure_latest", at(NOON + 60 * 86_400_000)),
        ],
    )
    def test_of_an_adapter_to_keep_its_contract_is_one_and_shows_no_number(
        self, provider: Provider, acc: Path, column: str, value: object
    ) -> None:
        def careless(path: Path, by: SourceMapping, formats: TrunkFormats) -> Iterator[Batch]:
            row = batch_of([(1, Call())]).to_pylist()[0] | {column: value}
            yield Batch(pa.RecordBatch.from_pylist([row], schema=CALLS))

        (report,) = provider.ingest(acc, read=careless).files
        assert report.status is FileStatus.FAILED
        assert "1202555" not in report.problem.replace(str(acc), "")
        assert "123456789" not in report.problem

    def test_of_another_schema_too(self, provider: Provider, acc: Path) -> None:
        def careless(path: Path, by: SourceMapping, formats: TrunkFormats) -> Iterator[Batch]:
            yield Batch(batch_of([(1, Call())]).select(["called_in", "row"]))

        assert provider.ingest(acc, read=careless).files[0].status is FileStatus.FAILED


class TestOneWriter:
    def test_a_second_one_is_told_to_wait(self, provider: Provider, acc: Path) -> None:
        with IndexWriter(provider.index, KEYS), pytest.raises(IndexBusyError, match="wait"):
            provider.ingest(acc)
        assert provider.statuses(acc) == [FileStatus.INDEXED]

    def test_with_another_root_key_is_refused(self, provider: Provider, acc: Path) -> None:
        provider.ingest(acc)
        with pytest.raises(WrongKeyError):
            ingest([acc], mapping(), FORMATS, provider.index, OTHER_KEYS, NOW, read=reader())
        assert len(provider.rows()) == 2


class TestCoverage:
    def test_spans_the_records_of_all_files_of_a_source(self, provider: Provider, acc: Path) -> None:
        later = write(acc.with_name("later.txt"), [Call(earliest=NOON + 100, span=50)])
        provider.ingest(acc, later)
        (source,) = Index.open(provider.index, KEYS).coverage().sources
        assert (source.source, source.records, source.files) == ("acc", 3, 2)
        assert (source.earliest, source.latest) == (at(NOON), at(NOON + 150))
        assert (source.covered_from, source.watermark) == (source.earliest, source.latest)

    def test_reaches_as_far_as_the_operator_says(self, provider: Provider, acc: Path) -> None:
        provider.ingest(acc, complete_from=at(NOON) - HOUR, complete_until=at(NOON) + HOUR)
        index = Index.open(provider.index, KEYS)
        edge = at(NOON) + HOUR
        assert index.coverage().state(at(NOON) - HOUR, edge, edge, 2 * HOUR) is CoverageState.COVERED
        (report,) = provider.ingest(acc, complete_until=at(NOON) + 2 * HOUR).files
        assert report.status is FileStatus.ALREADY_INDEXED
        assert index.coverage().watermark() == at(NOON) + 2 * HOUR

    def test_what_was_said_survives_growth_and_is_never_taken_back(self, provider: Provider, acc: Path) -> None:
        provider.ingest(acc, complete_until=at(NOON) + HOUR)
        write(acc, [*TWO, Call(earliest=NOON + 20)])
        provider.ingest(acc, complete_until=at(NOON))
        assert Index.open(provider.index, KEYS).coverage().watermark() == at(NOON) + HOUR

    def test_of_a_source_without_a_record_is_unknown(self, provider: Provider, acc: Path) -> None:
        provider.ingest(write(acc, []))
        (source,) = Index.open(provider.index, KEYS).coverage().sources
        assert (source.records, source.files, source.earliest, source.watermark) == (0, 1, None, None)


class TestRealReader:
    def test_reads_files_as_their_mapping_says(self, provider: Provider, tmp_path: Path) -> None:
        csv = tmp_path / "switch.csv"
        csv.write_text(
            "when,from,to,trunk\n"
            "2026-11-22 12:00:00,2025550144,2025550143,TGIN1\n"
            "2026-11-22 25:00:00,2025550144,2025550143,TGIN1\n"
        )
        by = mapping(
            zone="UTC",
            options={"header": True},
            columns={
                "called_in": {"column": "to", "format": "10d"},
                "calling": {"column": "from", "format": "10d"},
                "seizure": {"column": "when", "format": "%Y-%m-%d %H:%M:%S"},
                "ingress_trunk": "trunk",
            },
        )
        report = ingest([csv], by, FORMATS, provider.index, KEYS, NOW)
        assert (report.calls, report.rejected) == (1, {RejectReason.BAD_TIME: 1})
        (leg,) = Index.open(provider.index, KEYS).find(ALICE, BOB, at(NOON + 500), at(NOON + 900))
        assert (leg.ingress_trunk, leg.calling_matches, leg.source) == ("TGIN1", True, "acc")

    def test_a_file_that_it_can_not_read_fails_alone(self, provider: Provider, acc: Path) -> None:
        (report,) = ingest([acc], mapping(format="sqlite"), FORMATS, provider.index, KEYS, NOW).files
        assert report.status is FileStatus.FAILED
        assert str(acc) in report.problem


class TestProgress:
    def test_is_told_after_every_batch(self, provider: Provider, acc: Path) -> None:
        told: list[tuple[str, int]] = []
        provider.ingest(acc, read=reader(1), progress=lambda path, calls: told.append((path.name, calls)))
        assert told == [("acc.txt", 1), ("acc.txt", 2)]


def test_call_ids_are_the_same_wherever_a_batch_begins(provider: Provider, acc: Path) -> None:
    ids = [None, "a", None, 40 * "b", "", "a", None]
    calls = [Call(earliest=NOON + number, call_id=call_id) for number, call_id in enumerate(ids)]

    def sliced(path: Path, by: SourceMapping, formats: TrunkFormats) -> Iterator[Batch]:
        whole = batch_of(list(enumerate(calls, 1)))
        yield Batch(whole.slice(0, 2))
        yield Batch(whole.slice(2, 0))
        yield Batch(whole.slice(2))

    provider.ingest(acc, read=sliced)
    legs = Index.open(provider.index, KEYS).find(ALICE, None, at(NOON), at(NOON + 9))
    refs = [None if i is None else int(KEYS.call_refs([i])[0]) & 0xFFFFFF for i in ids]
    assert [leg.call_ref for leg in legs] == refs


def test_call_ids_are_the_same_however_the_file_came(provider: Provider, acc: Path) -> None:
    write(acc, [Call(calling=BOB, call_id="x@example.test")])
    provider.ingest(acc)
    provider.ingest(acc, by=mapping("again"))
    first, second = Index.open(provider.index, KEYS).find(ALICE, BOB, at(NOON), at(NOON))
    assert first.call_ref == second.call_ref

"""What is met again in other clothes is known; what has grown is read on; what was read wrongly is read anew."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agent.index import Index
from agent.index.layout import DAY_MS
from agent.index.writer import IndexWriter
from agent.ingest import FileReport, FileStatus, OldRows, Read, ingest
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.schema import Batch
from tests.index.calls import ALICE, CAROL, FORMATS, KEYS, NOON, NOW, UNSYNCED, Call, at, mapping, reader, write

HEADING = "calls of the switch\n"


class Switch:
    """An index, and a reader that remembers what it was asked to read."""

    def __init__(self, directory: Path, by: SourceMapping) -> None:
        self.directory = directory
        self.index = directory / "index"
        self.by = by
        self.read_lines: list[int] = []

    def ingest(self, *paths: Path, by: SourceMapping | None = None, **more: object) -> list[FileReport]:
        report = ingest(
            paths,
            by or self.by,
            FORMATS,
            self.index,
            KEYS,
            NOW,
            read=more.pop("read", self._read),  # type: ignore[arg-type]
            files=UNSYNCED,
            **more,  # type: ignore[arg-type]
        )
        return list(report.files)

    def status(self, *paths: Path, **more: object) -> list[FileStatus]:
        return [file.status for file in self.ingest(*paths, **more)]  # type: ignore[arg-type]

    def _read(self, path: Path, by: SourceMapping, formats: TrunkFormats) -> Iterator[Batch]:
        from cdr_adapters.stream import read_text

        lines = b"".join(read_text(path)).decode().splitlines(keepends=True)
        self.read_lines.append(len(lines))
        kept = [line for line in lines if line != HEADING]
        plain = path.with_name(f"plain-{len(self.read_lines)}")
        plain.write_text("".join(kept))
        yield from reader(50)(plain, by, formats)
        plain.unlink()

    def times(self, called: str = ALICE) -> list[int]:
        legs = Index.open(self.index, KEYS).find(ALICE if called == ALICE else CAROL, None, at(0), at(2 * NOON))
        return [(leg.earliest - at(NOON)) // timedelta(milliseconds=1) for leg in legs]

    def records(self) -> int:
        (source,) = Index.open(self.index, KEYS).coverage().sources
        return source.records

    def segments(self) -> int:
        return len(list((self.index / "segments").iterdir()))


@pytest.fixture
def switch(tmp_path: Path) -> Switch:
    return Switch(tmp_path, mapping(options={"header": True}))


def lines(path: Path, *times: int, end: str = "\n") -> Path:
    text = HEADING + "\n".join(Call(earliest=NOON + time).line() for time in times) + end
    path.write_text(text)
    return path


def long_ago(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the file be at rest: the clock by which that is told goes on for an hour."""
    monkeypatch.setattr("time.time_ns", lambda: path.stat().st_ctime_ns + 2 * 3_600_000_000_000)
    return path


class TestMetAgain:
    @pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
    def test_compressed_a_file_is_known(self, switch: Switch, pack: Callable[[bytes], bytes]) -> None:
        path = lines(switch.directory / "a.csv", 1, 2)
        switch.ingest(path)
        packed = path.with_name("a.csv.1.packed")
        packed.write_bytes(pack(path.read_bytes()))
        assert switch.status(packed) == [FileStatus.ALREADY_INDEXED]
        assert switch.records() == 2

    def test_rotated_and_compressed_after_it_has_grown_only_what_is_new_counts(self, switch: Switch) -> None:
        path = lines(switch.directory / "a.csv", 1, 2)
        switch.ingest(path)
        lines(path, 1, 2, 3)
        packed = path.with_name("a.csv.1.gz")
        packed.write_bytes(gzip.compress(path.read_bytes()))
        assert switch.status(packed) == [FileStatus.REPLACED]
        assert (switch.times(), switch.records()) == ([1, 2, 3], 3)

    def test_at_rest_a_file_is_not_even_read(self, switch: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
        path = long_ago(lines(switch.directory / "a.csv", 1, 2), monkeypatch)
        assert switch.status(path) == [FileStatus.INDEXED]
        monkeypatch.setattr("agent.known_files.fingerprint", None)
        assert switch.status(path) == [FileStatus.ALREADY_INDEXED]

    def test_changed_in_place_with_its_old_size_and_time_it_is_read(
        self, switch: Switch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = long_ago(lines(switch.directory / "a.csv", 1, 2), monkeypatch)
        switch.ingest(path)
        before = path.stat()
        lines(path, 1, 3)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_size == before.st_size
        assert switch.status(path) == [FileStatus.INDEXED]
        assert switch.times() == [1, 2, 3]

    def test_fresh_a_file_is_read_to_know_it(self, switch: Switch) -> None:
        path = lines(switch.directory / "a.csv", 1, 2)
        switch.ingest(path)
        with IndexWriter(switch.index, KEYS) as writer:
            assert [entry.stamps for entry in writer.manifest.files.values()] == [()]

    def test_two_names_of_one_file_are_both_remembered(self, switch: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
        path = lines(switch.directory / "a.csv", 1, 2)
        copy = long_ago(lines(switch.directory / "b.csv", 1, 2), monkeypatch)
        assert switch.status(path, copy) == [FileStatus.INDEXED, FileStatus.ALREADY_INDEXED]
        monkeypatch.setattr("agent.known_files.fingerprint", None)
        assert switch.status(path, copy) == [FileStatus.ALREADY_INDEXED] * 2


class TestGrown:
    def test_only_the_new_lines_are_read_behind_the_heading(self, switch: Switch) -> None:
        path = lines(switch.directory / "a.csv", *range(100))
        switch.ingest(path)
        lines(path, *range(102))
        (report,) = switch.ingest(path)
        assert (report.status, report.calls) == (FileStatus.REPLACED, 2)
        assert switch.read_lines == [101, 3]
        assert (switch.times(), switch.records()) == ([*range(102)], 102)

    def test_where_a_line_is_no_record_all_is_read_and_takes_the_place_of_what_was_there(self, tmp_path: Path) -> None:
        switch = Switch(tmp_path, mapping(format="sip_pcap", options={}))
        path = lines(tmp_path / "a.csv", 1, 2)
        switch.ingest(path)
        lines(path, 1, 2, 3)
        switch.ingest(path)
        assert switch.read_lines == [3, 4]
        assert (switch.times(), switch.records(), switch.segments()) == ([1, 2, 3], 3, 1)

    def test_a_last_line_without_end_is_replaced_with_the_whole_one(self, switch: Switch) -> None:
        path = lines(switch.directory / "a.csv", 1, 2, end="")
        switch.ingest(path)
        path.write_text(path.read_text()[:-1])  # the trunk's name was cut
        switch.ingest(path)
        lines(path, 1, 2, 3)
        switch.ingest(path)
        assert set(switch.times()) == {1, 2, 3}

    def test_followed_a_last_line_without_end_waits(self, switch: Switch) -> None:
        path = lines(switch.directory / "a.csv", 1, 2, end="\n1,half a li")
        switch.ingest(path, following=True)
        assert switch.times() == [1, 2]
        assert switch.status(path, following=True) == [FileStatus.ALREADY_INDEXED]
        lines(path, 1, 2, 3)
        (report,) = switch.ingest(path, following=True)
        assert (report.status, report.calls, report.rejected) == (FileStatus.REPLACED, 1, {})
        assert switch.times() == [1, 2, 3]

    def test_followed_a_last_line_counts_when_nothing_came_behind_it_for_an_hour(
        self, switch: Switch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = lines(switch.directory / "a.csv", 1, 2, end="")
        switch.ingest(path, following=True)
        assert switch.times() == [1]
        long_ago(path, monkeypatch)
        assert switch.status(path, following=True) == [FileStatus.REPLACED]
        assert switch.times() == [1, 2]


class TestRows:
    def test_late_by_days_land_on_their_day(self, switch: Switch) -> None:
        switch.ingest(lines(switch.directory / "a.csv", 1, 2))
        switch.ingest(lines(switch.directory / "b.csv", 3, -9 * DAY_MS, -4 * DAY_MS))
        assert switch.times() == [-9 * DAY_MS, -4 * DAY_MS, 1, 2, 3]
        names = sorted(path.name[:8] for path in (switch.index / "segments").iterdir())
        assert names == ["20261113", "20261118", "20261122", "20261122"]

    def test_of_many_small_files_share_segments_and_begin_to_count_together(self, switch: Switch) -> None:
        paths = [lines(switch.directory / f"{number}.csv", number) for number in range(40)]
        assert switch.status(*paths) == [FileStatus.INDEXED] * 40
        assert switch.segments() == 1
        with IndexWriter(switch.index, KEYS) as writer:
            assert writer.manifest.generation == 1
            (segment,) = writer.manifest.segments.values()
        assert segment.files == tuple(range(1, 41))
        assert switch.times() == [*range(40)]

    def test_of_a_file_that_fails_leave_no_trace_in_what_the_others_share(self, switch: Switch) -> None:
        def failing(path: Path, by: SourceMapping, formats: TrunkFormats) -> Iterator[Batch]:
            yield from switch._read(path, by, formats)
            if path.name == "1.csv":
                raise OSError(errno.EIO, "Input/output error")

        paths = [lines(switch.directory / f"{number}.csv", number) for number in range(3)]
        reports = switch.ingest(*paths, read=failing)
        assert [file.status.name for file in reports] == ["INDEXED", "FAILED", "INDEXED"]
        assert "Input/output error" in reports[1].problem
        assert switch.times() == [0, 2]

    def test_of_a_large_file_that_fails_leave_no_trace_though_a_file_before_it_was_committed_meanwhile(
        self, switch: Switch
    ) -> None:
        def failing(path: Path, by: SourceMapping, formats: TrunkFormats) -> Iterator[Batch]:
            yield from switch._read(path, by, formats)
            if path.name == "large.csv":
                raise OSError(errno.EIO, "Input/output error")

        paths = [lines(switch.directory / "small.csv", 1), lines(switch.directory / "large.csv", *range(100, 300))]
        reports = switch.ingest(*paths, read=failing, rows_per_run=60)
        assert [file.status.name for file in reports] == ["INDEXED", "FAILED"]
        assert switch.times() == [1]
        assert switch.status(*paths, rows_per_run=60) == [FileStatus.ALREADY_INDEXED, FileStatus.INDEXED]
        assert switch.times() == [1, *range(100, 300)]

    @pytest.mark.parametrize("rows_per_run", [60, 120, 1000])
    def test_of_a_day_are_in_one_run_where_calls_come_in_the_order_of_time(
        self, switch: Switch, monkeypatch: pytest.MonkeyPatch, rows_per_run: int
    ) -> None:
        monkeypatch.setattr("agent.index.packing.merged", lambda *_: pytest.fail("merged"))
        times = [number * DAY_MS // 45 - 9 * DAY_MS for number in range(400)]
        switch.ingest(lines(switch.directory / "a.csv", *times), rows_per_run=rows_per_run)
        assert switch.times() == times
        assert switch.segments() == len({(NOON + time) // DAY_MS for time in times})

    @pytest.mark.parametrize("rows_per_run", [1, 3, 7, 1000])
    def test_are_the_same_however_little_fits_into_memory(self, switch: Switch, rows_per_run: int) -> None:
        times = [number - (number % 3) * DAY_MS for number in range(30)]
        paths = [lines(switch.directory / "a.csv", *times), lines(switch.directory / "b.csv", 100, 101)]
        switch.ingest(*paths, rows_per_run=rows_per_run)
        assert switch.times() == sorted([*times, 100, 101])
        assert list(switch.index.rglob(".new-*")) == []


class TestChangedMapping:
    @pytest.fixture
    def two(self, switch: Switch) -> tuple[Path, Path]:
        paths = lines(switch.directory / "a.csv", 1, 2), lines(switch.directory / "b.csv", 3)
        switch.ingest(*paths)
        return paths

    @staticmethod
    def shifted(switch: Switch) -> Read:
        def read(path: Path, by: SourceMapping, formats: TrunkFormats) -> Iterator[Batch]:
            later = path.with_name("later")
            later.write_text(path.read_text().replace(str(NOON)[:-3], str(NOON + 50_000)[:-3]))
            yield from switch._read(later, by, formats)

        return read

    CHANGED = mapping(options={"header": True}, clock_offset="50s")

    def test_all_rows_are_replaced_when_all_files_are_there(self, switch: Switch, two: tuple[Path, Path]) -> None:
        assert switch.status(*two, by=self.CHANGED, read=self.shifted(switch)) == [FileStatus.REPLACED] * 2
        assert switch.times() == [50_001, 50_002, 50_003]
        assert switch.records() == 3
        assert switch.status(*two, by=self.CHANGED) == [FileStatus.ALREADY_INDEXED] * 2

    def test_nothing_is_done_when_one_is_gone(self, switch: Switch, two: tuple[Path, Path]) -> None:
        new = lines(switch.directory / "c.csv", 9)
        reports = switch.ingest(two[0], new, by=self.CHANGED, read=self.shifted(switch))
        assert [file.status for file in reports] == [FileStatus.FAILED] * 2
        assert "b.csv" in reports[0].problem
        assert "--old-rows" in reports[0].problem
        assert switch.times() == [1, 2, 3]

    def test_rows_are_kept_as_they_were_read_when_that_is_wanted(self, switch: Switch, two: tuple[Path, Path]) -> None:
        new = lines(switch.directory / "c.csv", 9)
        kept = switch.status(two[0], new, by=self.CHANGED, read=self.shifted(switch), old_rows=OldRows.KEEP)
        assert kept == [FileStatus.ALREADY_INDEXED, FileStatus.INDEXED]
        assert switch.times() == [1, 2, 3, 50_009]
        assert switch.status(two[0], by=self.CHANGED) == [FileStatus.ALREADY_INDEXED]

    def test_rows_of_missing_files_are_forgotten_when_that_is_wanted(
        self, switch: Switch, two: tuple[Path, Path]
    ) -> None:
        new = lines(switch.directory / "c.csv", 9)
        forgot = switch.status(two[0], new, by=self.CHANGED, read=self.shifted(switch), old_rows=OldRows.FORGET)
        assert forgot == [FileStatus.REPLACED, FileStatus.INDEXED]
        assert switch.times() == [50_001, 50_002, 50_009]
        assert switch.records() == 3

    def test_one_file_that_can_not_be_read_leaves_all_as_it_was(self, switch: Switch, two: tuple[Path, Path]) -> None:
        def failing(path: Path, by: SourceMapping, formats: TrunkFormats) -> Iterator[Batch]:
            if path.name == "b.csv":
                raise OSError(errno.ENOSPC, "No space left on device")
            yield from switch._read(path, by, formats)

        reports = switch.ingest(*two, by=self.CHANGED, read=failing)
        assert [file.status for file in reports] == [FileStatus.FAILED] * 2
        assert "No space left" in reports[1].problem
        assert "b.csv" in reports[0].problem
        assert switch.times() == [1, 2, 3]
        assert switch.segments() == 1


class TestNoRoomForTemporaryFiles:
    def test_fails_the_file_says_so_and_goes_on_when_there_is(
        self, switch: Switch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = lines(switch.directory / "a.csv", 1, 2)
        switch.ingest(path)
        lines(path, 1, 2, 3)
        missing = switch.directory / "full"
        monkeypatch.setattr(tempfile, "tempdir", str(missing))
        (report,) = switch.ingest(path)
        assert report.status is FileStatus.FAILED
        assert str(missing) in report.problem
        assert switch.times() == [1, 2]
        monkeypatch.setattr(tempfile, "tempdir", None)
        assert switch.status(path) == [FileStatus.REPLACED]
        assert switch.times() == [1, 2, 3]


class TestBroken:
    def test_a_torn_segment_is_put_aside_and_made_anew_from_its_file(self, switch: Switch) -> None:
        path = lines(switch.directory / "a.csv", 1, 2)
        switch.ingest(path)
        (segment,) = (switch.index / "segments").iterdir()
        segment.write_bytes(segment.read_bytes()[:5000])
        assert switch.status(path) == [FileStatus.REPAIRED]
        assert switch.times() == [1, 2]
        assert Index.open(switch.index, KEYS).coverage().sources[0].lost == ()

    def test_without_its_file_the_time_stays_lost(self, switch: Switch) -> None:
        path = lines(switch.directory / "a.csv", 1, 2)
        switch.ingest(path)
        (segment,) = (switch.index / "segments").iterdir()
        segment.write_bytes(b"")
        write(path, [])
        switch.ingest(path)
        (source,) = Index.open(switch.index, KEYS).coverage().sources
        assert source.lost == ((at(NOON + 1), at(NOON + 2)),)
        assert [kept.name for kept in (switch.index / "quarantine").iterdir()] == [segment.name]

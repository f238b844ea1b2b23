"""Reading in a process of its own: the same records, and what a file does to its reader is an error about that file."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from cdr_adapters import batch_frames, isolated
from cdr_adapters.batch_frames import (
    LENGTHS,
    FrameError,
    check_lengths,
    decode_calls,
    decode_head,
    decode_packed,
)
from cdr_adapters.isolated import Limits, Worker, WorkerDiedError
from cdr_adapters.isolated_worker import Request
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from cdr_adapters.schema import CALLS, PACKED, Batch, Rejected, RejectReason
from tests.adapters.reading import written

TABLE = b"called,start,trunk\n+12025550143,2026-11-21T23:23:27Z,T1\nx,2026-11-21T23:23:27Z,\nbroken\n"
COLUMNS = {
    "called_in": "called",
    "seizure": {"column": "start", "format": "iso8601"},
    "ingress_trunk": "trunk",
}

HOSTILE = '''
"""A format whose files do harm to their reader: the first line says what."""
import ctypes, os, sys
from cdr_adapters.raw import Grade, Options, RawBatch, string_batch
from cdr_adapters.schema import Rejected
import pyarrow as pa

SUMMARY = "harm"
GRADE = Grade.GENERIC

def identify(head):
    return False

def read(path, options, columns):
    what = path.read_text().strip()
    if what == "crash":
        ctypes.string_at(0)
    if what == "exit":
        print("these were my last words: 2025550143", file=sys.stderr)
        os._exit(7)
    if what == "kill":
        os.kill(os.getpid(), 9)
    if what == "loop":
        while True:
            pass
    if what == "hang":
        os.read(os.pipe()[0], 1)
    if what == "memory":
        held = [bytes(1 << 20) for _ in range(100_000)]
    if what == "defect":
        raise ZeroDivisionError("2025550143")
    if what == "recursion":
        def deeper(): return deeper()
        deeper()
    if what == "print":
        print("this is no frame", flush=True)
        os.write(1, b"nor this")
    if what == "garbage":
        for number in range(3, 20):
            try:
                os.write(number, os.urandom(100_000))
            except OSError:
                pass
    if what == "temporary":
        import tempfile
        with open(os.path.join(tempfile.mkdtemp(), "left"), "w") as file:
            file.write(tempfile.gettempdir())
        what = tempfile.gettempdir()
    if what == "environment":
        what = " ".join(sorted(name for name in os.environ if name.startswith(("HOPBACK", "SOURCE"))))
    if what == "pandas":
        import pandas
        what = pa.array(pandas.Series(["read by pandas", None]))[0].as_py()
    yield RawBatch(
        string_batch({"called": ["+12025550143"], "start": ["2026-11-21T23:23:27Z"], "trunk": [what]}, 1),
        pa.array([1]),
    )
'''


def mapping(name: str = "delimited") -> SourceMapping:
    return SourceMapping.model_validate({"name": "cdr", "path": "x", "format": name, "columns": COLUMNS})


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A distribution that brings the format `harm`."""
    home = tmp_path_factory.mktemp("plugins")
    (home / "harm.py").write_text(HOSTILE)
    (home / "harm-1.dist-info").mkdir()
    (home / "harm-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: harm\nVersion: 1\n")
    (home / "harm-1.dist-info" / "entry_points.txt").write_text("[hopback.adapters]\nharm = harm\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(home))
        yield


@pytest.fixture(scope="module")
def worker(plugins: None) -> Iterator[Worker]:
    with Worker() as shared:
        yield shared


def calls(batches: Iterator[Batch]) -> list[dict[str, object]]:
    return [call for batch in batches for call in batch.calls.to_pylist()]


def pid_of(worker: Worker) -> int | None:
    return None if worker._process is None else worker._process._process.pid


class TestRecords:
    def test_are_the_same_as_those_read_in_process(self, worker: Worker, tmp_path: Path) -> None:
        for content in (TABLE, gzip.compress(TABLE * 3), b"called,start,trunk\n", b""):
            path = written(tmp_path, content)
            here = list(read_source(path, mapping(), TrunkFormats()))
            there = list(worker.read_source(path, mapping(), TrunkFormats()))
            assert here == there
            assert all(batch.calls.schema == CALLS for batch in there)

    def test_for_an_index_say_the_same_in_integers_and_places(self, worker: Worker, tmp_path: Path) -> None:
        path = written(tmp_path, TABLE * 40)
        (plain,) = read_source(path, mapping(), TrunkFormats())
        (packed,) = worker.read_packed(path, mapping(), TrunkFormats())
        assert (packed.rejected, packed.skipped) == (plain.rejected, plain.skipped)
        assert packed.calls.schema == PACKED
        assert packed.calls["called_in"].to_pylist() == [12025550143] * 40
        for name in PACKED.names:
            if name not in ("called_in", "called_out", "calling"):
                assert packed.calls[name].to_pylist() == plain.calls[name].to_pylist()

    def test_are_many_batches_of_a_long_file(self, worker: Worker, tmp_path: Path) -> None:
        row = TABLE.splitlines(keepends=True)[1]
        path = written(tmp_path, TABLE + row * 400_000)
        batches = list(worker.read_source(path, mapping(), TrunkFormats()))
        assert len(batches) >= 2
        assert sum(batch.calls.num_rows for batch in batches) == 400_001
        assert [reject.row for batch in batches for reject in batch.rejected] == [4, 3]

    def test_take_the_formats_of_trunks_with_them(self, worker: Worker, tmp_path: Path) -> None:
        columns = COLUMNS | {"called_in": {"column": "called", "format": "trunk"}}
        source = SourceMapping.model_validate({"name": "cdr", "path": "x", "format": "delimited", "columns": columns})
        formats = TrunkFormats(ingress={"T1": "tech:99:10d"})
        path = written(tmp_path, TABLE.replace(b"+1202", b"99202"))
        assert calls(worker.read_source(path, source, formats))[0]["called_in"] == "+12025550143"

    def test_end_with_the_readers_own_error(self, worker: Worker, tmp_path: Path) -> None:
        path = written(tmp_path, b"a,b\n1,2\n")
        with pytest.raises(AdapterError, match="no column called"):
            list(worker.read_source(path, mapping(), TrunkFormats()))
        with pytest.raises(AdapterError, match="can't be read"):
            list(worker.read_source(tmp_path / "none", mapping(), TrunkFormats()))

    def test_need_no_worker_of_ones_own_for_a_single_file(self, tmp_path: Path) -> None:
        assert len(calls(isolated.read_source(written(tmp_path, TABLE), mapping(), TrunkFormats()))) == 1


class TestHarm:
    def read(self, worker: Worker, directory: Path, what: str, padding: str = "") -> list[dict[str, object]]:
        return calls(worker.read_source(written(directory, what + padding, what), mapping("harm"), TrunkFormats()))

    @pytest.mark.parametrize(
        ("what", "says"),
        [
            ("crash", "the process that read it was ended by SIGSEGV"),
            ("kill", "the process that read it was ended by SIGKILL"),
            ("exit", "the process that read it ended with exit code 7"),
            ("garbage", "sent something else than records"),
        ],
    )
    def test_that_kills_the_reader_is_an_error_and_the_next_file_is_read(
        self, worker: Worker, tmp_path: Path, what: str, says: str
    ) -> None:
        with pytest.raises(WorkerDiedError, match=says) as caught:
            self.read(worker, tmp_path, what)
        assert str(tmp_path / what) in str(caught.value)
        assert "2025550143" not in str(caught.value)
        assert ("my last words" in caught.value.last_words) == (what == "exit")
        assert ("Segmentation fault" in caught.value.last_words) == (what == "crash")
        assert len(self.read(worker, tmp_path, "nothing")) == 1

    @pytest.mark.parametrize(
        ("what", "says"),
        [("defect", r"met a defect of the reader.*ZeroDivisionError in harm\.py"), ("recursion", "RecursionError")],
    )
    def test_that_shows_a_defect_says_where_it_is_and_nothing_of_the_record(
        self, worker: Worker, tmp_path: Path, what: str, says: str
    ) -> None:
        with pytest.raises(AdapterError, match=says) as caught:
            self.read(worker, tmp_path, what)
        assert "2025550143" not in str(caught.value)
        assert len(self.read(worker, tmp_path, "nothing")) == 1

    def test_of_taking_all_memory_is_stopped(self, plugins: None, tmp_path: Path) -> None:
        with Worker(Limits(memory_bytes=2 << 30)) as worker:
            with pytest.raises(AdapterError, match="takes more than 2,048 MB of memory"):
                self.read(worker, tmp_path, "memory")
            assert len(self.read(worker, tmp_path, "nothing")) == 1

    def test_of_never_ending_is_stopped(self, plugins: None, tmp_path: Path) -> None:
        # the good file is large, so that it has time even on a machine that is busy
        with Worker(Limits(seconds=2.0, seconds_a_megabyte=60.0)) as worker:
            with pytest.raises(WorkerDiedError, match="nothing came of it within 2 s"):
                self.read(worker, tmp_path, "hang")
            assert len(self.read(worker, tmp_path, "nothing", " " * 1_000_000)) == 1

    def test_a_loop_is_stopped_by_the_processor_time_that_it_takes(self, plugins: None, tmp_path: Path) -> None:
        with Worker(Limits(seconds=2.0)) as worker:
            request = Request(written(tmp_path, "loop", "loop"), mapping("harm"), TrunkFormats(), 1)
            batches = worker._read(request.path, request, 60.0, "calls", decode_calls)
            with pytest.raises(WorkerDiedError, match="took more than 2 s of processor time"):
                list(batches)

    def test_the_limit_grows_with_the_file(self, tmp_path: Path) -> None:
        assert Limits().seconds_for(tmp_path / "none") == 600
        limits = Limits(seconds=1, seconds_a_megabyte=2)
        assert limits.seconds_for(written(tmp_path, bytes(3_000_000))) == 7
        written(tmp_path, bytes(1_000_000), "another")
        assert limits.seconds_for(tmp_path) == 9

    def test_of_printing_does_not_come_between_the_records(self, worker: Worker, tmp_path: Path) -> None:
        assert len(self.read(worker, tmp_path, "print")) == 1

    def test_of_leaving_files_behind_ends_with_the_worker(self, plugins: None, tmp_path: Path) -> None:
        with Worker() as worker:
            (call,) = self.read(worker, tmp_path, "temporary")
            home = Path(str(call["ingress_trunk"]))
            assert home.stat().st_mode & 0o777 == 0o700
            assert len(list(home.rglob("left"))) == 1
        assert not home.exists()

    def test_of_reading_the_agents_secrets_finds_none(
        self, plugins: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOPBACK_ROOT_KEY", "00" * 32)
        monkeypatch.setenv("HOPBACK_AGENT__INDEX__DIRECTORY", "x")
        monkeypatch.setenv("SOURCE_URL", "x")
        with Worker() as worker:
            (call,) = self.read(worker, tmp_path, "environment")
        assert call["ingress_trunk"] == "SOURCE_URL"


class TestOneWorker:
    def test_serves_many_files_with_one_process(self, worker: Worker, tmp_path: Path) -> None:
        path = written(tmp_path, TABLE)
        list(worker.read_source(path, mapping(), TrunkFormats()))
        process = worker._process
        for _ in range(5):
            list(worker.read_source(path, mapping(), TrunkFormats()))
            assert worker._process is process

    def test_does_not_import_pandas_for_our_own_formats(self, tmp_path: Path) -> None:
        with Worker() as worker:
            list(worker.read_source(written(tmp_path, TABLE), mapping(), TrunkFormats()))
            maps = Path(f"/proc/{pid_of(worker)}/maps").read_text()
            assert "/pyarrow/" in maps
            assert "/pandas/" not in maps

    def test_makes_way_for_one_that_reads_the_formats_of_others_with_all_that_they_may_use(
        self, plugins: None, tmp_path: Path
    ) -> None:
        with Worker() as worker:
            list(worker.read_source(written(tmp_path, TABLE), mapping(), TrunkFormats()))
            ours = pid_of(worker)
            (call,) = calls(worker.read_source(written(tmp_path, "pandas"), mapping("harm"), TrunkFormats()))
            assert call["ingress_trunk"] == "read by pandas"
            theirs = pid_of(worker)
            assert theirs != ours
            list(worker.read_source(written(tmp_path, TABLE), mapping(), TrunkFormats()))
            assert pid_of(worker) == theirs, "which serves our own as well"

    def test_is_started_when_a_file_comes_and_gone_at_the_end(self, tmp_path: Path) -> None:
        with Worker() as worker:
            assert pid_of(worker) is None
            list(worker.read_source(written(tmp_path, TABLE), mapping(), TrunkFormats()))
            pid = pid_of(worker)
            assert pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    def test_that_died_between_two_files_is_replaced(self, worker: Worker, tmp_path: Path) -> None:
        path = written(tmp_path, TABLE)
        list(worker.read_source(path, mapping(), TrunkFormats()))
        assert worker._process is not None
        worker._process._process.kill()
        worker._process._process.wait()
        assert len(calls(worker.read_source(path, mapping(), TrunkFormats()))) == 1

    def test_is_ended_when_its_records_are_no_longer_wanted(self, worker: Worker, tmp_path: Path) -> None:
        path = written(tmp_path, TABLE + TABLE.splitlines(keepends=True)[1] * 600_000)
        batches = worker.read_source(path, mapping(), TrunkFormats())
        next(batches)
        process = worker._process
        batches.close()  # type: ignore[attr-defined]
        assert len(calls(worker.read_source(written(tmp_path, TABLE), mapping(), TrunkFormats()))) == 1
        assert worker._process is not process

    def test_reads_one_file_at_a_time(self, worker: Worker, tmp_path: Path) -> None:
        first = worker.read_source(written(tmp_path, TABLE), mapping(), TrunkFormats())
        next(first)
        with pytest.raises(RuntimeError, match="one file at a time"):
            next(worker.read_source(written(tmp_path, TABLE), mapping(), TrunkFormats()))
        first.close()  # type: ignore[attr-defined]
        with pytest.raises(RuntimeError, match="within its context"):
            next(Worker().read_source(written(tmp_path, TABLE), mapping(), TrunkFormats()))

    def test_goes_away_with_whoever_started_it(self, tmp_path: Path) -> None:
        """The end of its standard input is its end: it needs nobody to kill it."""
        with Worker() as worker:
            list(worker.read_source(written(tmp_path, TABLE), mapping(), TrunkFormats()))
            assert worker._process is not None
            worker._process._requests.close()
            assert worker._process._process.wait(20) == 0


REJECT = Rejected(3, RejectReason.BAD_TIME, "détail", "raw\ud800")
CALL = {
    "called_in": "+12025550143",
    "seizure_earliest": 0,
    "seizure_latest": 1,
    "row": 1,
}


class TestFrames:
    def parts(self, batch: Batch) -> tuple[dict[str, object], pa.Buffer]:
        lengths, head, body = batch_frames.encode(batch)
        assert check_lengths(bytes(lengths)) == (len(head), len(body))
        return decode_head(pa.py_buffer(head)), pa.py_buffer(body)

    def test_bring_back_what_was_sent(self) -> None:
        batch = Batch(pa.RecordBatch.from_pylist([CALL], schema=CALLS), (REJECT,), 5)
        assert decode_calls(*self.parts(batch)) == batch

    def test_for_an_index_bring_back_what_was_sent(self) -> None:
        packed = CALL | {"called_in": 12025550143, "ingress_trunk": "T1"}
        for rows in ([packed, CALL | {"called_in": None}], []):
            batch = Batch(pa.RecordBatch.from_pylist(rows, schema=PACKED), (REJECT,), 5)
            assert decode_packed(*self.parts(batch)) == batch

    def test_leave_out_what_is_empty(self) -> None:
        head, body = self.parts(Batch(pa.RecordBatch.from_pylist([CALL] * 1000, schema=CALLS)))
        assert head["columns"] == ["called_in", "seizure_earliest", "seizure_latest", "row"]
        assert body.size < 45 * 1000

    @pytest.mark.parametrize(("schema", "decode"), [(CALLS, decode_calls), (PACKED, decode_packed)])
    def test_that_are_broken_are_refused(
        self, schema: pa.Schema, decode: Callable[[dict[str, object], pa.Buffer], Batch]
    ) -> None:
        number = {"called_in": 12025550143, "ingress_trunk": "T1"} if schema == PACKED else {}
        head, body = self.parts(Batch(pa.RecordBatch.from_pylist([CALL | number], schema=schema)))
        data = bytearray(body.to_pybytes())
        good = 0
        for at in range(len(data)):
            for bit in (1, 128):
                data[at] ^= bit
                try:
                    batch = decode(head, pa.py_buffer(bytes(data)))
                except FrameError:
                    pass
                else:
                    good += 1
                    batch.calls.validate(full=True)
                data[at] ^= bit
        assert 0 < good < len(data)
        for wrong in ({}, {**head, "columns": ["row"]}, {**head, "columns": ["called_in"]}, {**head, "rejected": [1]}):
            with pytest.raises(FrameError):
                decode(wrong, body)

    @pytest.mark.parametrize("text", [b"", b"x", b"[]", b'{"kind": 1}', b"[" * 100_000])
    def test_whose_head_is_none_are_refused(self, text: bytes) -> None:
        with pytest.raises(FrameError):
            decode_head(pa.py_buffer(text))

    def test_that_say_they_are_immense_are_not_waited_for(self) -> None:
        for lengths in (LENGTHS.pack(1 << 31, 0), LENGTHS.pack(0, 1 << 40)):
            with pytest.raises(FrameError, match=r"a frame of [\d,]+ and [\d,]+ bytes"):
                check_lengths(lengths)

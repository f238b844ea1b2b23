"""The hostile corpus before the readers: calls, rejects or `AdapterError`, nothing else, in bounded time and memory.

Each file (`tests.adapters.hostile`) is read through the worker process as the agent reads it, by the formats that it is
made for, those that claim it, and a few others; all formats read all files in `make nightly`. A reader that crashes,
hangs or takes too much fails here, though the worker (`tests/adapters/test_isolated.py`) would cope with it.
"""

from __future__ import annotations

import io
import os
import random
import re
import sqlite3
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from cdr_adapters import archives, compression, registry
from cdr_adapters.batch_frames import decode_calls
from cdr_adapters.identify import claimants
from cdr_adapters.isolated import LIMITS, Limits, Worker, WorkerDiedError
from cdr_adapters.isolated_worker import Request
from cdr_adapters.raw import HEAD_SIZE, AdapterError, Head
from cdr_adapters.schema import Batch
from tests.adapters.hostile.checks import Outcome, checked, read_in_process
from tests.adapters.hostile.damage import damaged
from tests.adapters.hostile.files import FILES
from tests.adapters.hostile.recipes import Hostile
from tests.adapters.hostile.seeds import Seed, seed_of
from tests.adapters.reading import written

BOUNDS = Limits(memory_bytes=3 << 30, seconds=20.0, seconds_a_megabyte=1.0)
"""Of one file: far less than the agent grants (`isolated.LIMITS`), more than any of these needs on a busy machine."""
MOST_MEMORY_MB = 600
"""What the worker may really use; 100 of it are its libraries."""
AIMED, OTHERS = 3, 1
"""How many formats read a file that is made for more of them, and one that is made for others."""
SLOW = frozenset({"sip_pcap"})
"""Formats that start a program for each file; they read what is made for them."""


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker(BOUNDS) as shared:
        yield shared


@pytest.fixture(scope="module")
def patient_worker() -> Iterator[Worker]:
    """With the limits that the agent has."""
    with Worker(LIMITS) as shared:
        yield shared


def _process_id(worker: Worker) -> int | None:
    return None if worker._process is None else worker._process._process.pid


def _forget_peak(worker: Worker) -> None:
    if (process := _process_id(worker)) is not None:
        with suppress(OSError):
            Path(f"/proc/{process}/clear_refs").write_text("5")


def _peak_mb(worker: Worker) -> int:
    process = _process_id(worker)
    with suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
        return int(found[1]) >> 10 if found else 0
    return 0


def read_within_bounds(worker: Worker, path: Path, seed: Seed) -> Outcome | AdapterError:
    """Read a file in the worker; what came of it.

    Fails when the reader met a defect, died, or took too much time or memory.
    """
    _forget_peak(worker)
    outcome: Outcome | AdapterError
    try:
        with closing(cast("Generator[Batch]", worker.read_source(path, seed.mapping, seed.formats))) as batches:
            outcome = checked(batches)
    except AdapterError as error:
        outcome = error
    if isinstance(outcome, WorkerDiedError):
        pytest.fail(f"{seed.format}: {outcome}\n{outcome.last_words}")
    if isinstance(outcome, AdapterError):
        assert "defect of the reader" not in str(outcome), f"{seed.format}: {outcome}"
        assert "to read it takes more than" not in str(outcome), f"{seed.format}: {outcome}"
        assert str(outcome).isprintable()
    assert _peak_mb(worker) <= MOST_MEMORY_MB, f"{seed.format} took {_peak_mb(worker)} MB"
    return outcome


def identified(path: Path) -> tuple[str, ...]:
    """The formats that claim a file; none when it can't be read."""
    with suppress(AdapterError):
        return claimants(path)
    return ()


def formats_for(file: Hostile, claiming: tuple[str, ...]) -> list[str]:
    """Those that claim the file, those that it is made for, and some others: the same ones each time."""
    some = random.Random(zlib.crc32(file.name.encode()))
    aims = list(file.aims) if file.says or len(file.aims) <= AIMED else some.sample(file.aims, AIMED)
    others = [name for name in registry.names() if name not in file.aims and name not in SLOW]
    # what is refused whatever the format is the same for all
    return sorted({*claiming, *aims, *some.sample(others, 0 if file.says else OTHERS)})


@pytest.mark.parametrize("file", FILES, ids=[file.name.replace(" ", "-") for file in FILES])
class TestAHostileFile:
    def test_is_read_or_refused_within_bounds(self, worker: Worker, tmp_path: Path, file: Hostile) -> None:
        path = file.build(tmp_path)
        for name in formats_for(file, identified(path)):
            outcome = read_within_bounds(worker, path, seed_of(name))
            if file.says and name in file.aims:
                assert isinstance(outcome, AdapterError), f"{name} reads it: {outcome}"
                assert re.search(file.says, str(outcome)), f"{name} refuses it for another reason: {outcome}"

    @pytest.mark.nightly
    @pytest.mark.timeout(7200)
    def test_is_read_or_refused_within_bounds_by_every_format(
        self, patient_worker: Worker, tmp_path: Path, file: Hostile
    ) -> None:
        path = file.build(tmp_path)
        for name in registry.names():
            read_within_bounds(patient_worker, path, seed_of(name))


class TestTheCorpus:
    def test_says_why_each_file_is_there(self) -> None:
        assert len({file.name for file in FILES}) == len(FILES) >= 40
        assert all(file.why and file.aims for file in FILES)
        assert {name for file in FILES for name in file.aims} <= set(registry.names())

    def test_has_files_for_every_format(self) -> None:
        assert {name for file in FILES for name in file.aims} >= {*registry.names()} - {"sql"}

    def test_leaves_the_next_file_as_readable_as_ever(self, worker: Worker, tmp_path: Path) -> None:
        for name in ("delimited", "sqlite", "broadworks_xml", "threegpp_ber", "hep"):
            seed = seed_of(name)
            outcome = read_within_bounds(worker, written(tmp_path, seed.samples[0]), seed)
            assert isinstance(outcome, Outcome)
            assert outcome.calls


@pytest.mark.parametrize("name", registry.names())
class TestADamagedSample:
    """Of every format, read by that format."""

    def _read(self, worker: Worker, directory: Path, name: str, contents: Iterator[bytes]) -> None:
        seed = seed_of(name)
        for content in contents:
            path = written(directory, content)
            read_within_bounds(worker, path, seed)
            registry.adapter(name).identify(Head(path, content[:HEAD_SIZE], len(content) <= HEAD_SIZE))

    def test_is_read_or_refused_within_bounds(self, worker: Worker, tmp_path: Path, name: str) -> None:
        sample = seed_of(name).samples[0]
        few = [content for at, content in enumerate(damaged(sample)) if name not in SLOW or at % 8 == 0]
        self._read(worker, tmp_path, name, iter(few))

    @pytest.mark.nightly
    @pytest.mark.timeout(3600)
    def test_is_read_or_refused_wherever_it_is_damaged(self, worker: Worker, tmp_path: Path, name: str) -> None:
        for sample in seed_of(name).samples:
            everything = damaged(sample, many=True)
            contents = (content for at, content in enumerate(everything) if name not in SLOW or at % 20 == 0)
            self._read(worker, tmp_path, name, contents)


class _Changing(io.RawIOBase):
    """A file that changes when its first bytes have been read, and gives few bytes at a time."""

    def __init__(self, file: BinaryIO, step: int, change: Callable[[], None]) -> None:
        super().__init__()
        self._file, self._step, self._change = file, step, change
        self._changed = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def fileno(self) -> int:
        return self._file.fileno()

    def readinto(self, buffer: Any) -> int:
        data = os.read(self._file.fileno(), min(len(buffer), self._step))
        buffer[: len(data)] = data
        if not self._changed:
            self._changed = True
            self._change()
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _grows(path: Path, sample: bytes) -> None:
    with path.open("ab") as file:
        file.write(sample)


def _shrinks(path: Path, sample: bytes) -> None:
    os.truncate(path, len(sample) // 2)


def _is_emptied(path: Path, _: bytes) -> None:
    os.truncate(path, 0)


def _is_written_over(path: Path, sample: bytes) -> None:
    with path.open("r+b") as file:
        file.write(sample[::-1])


def _is_replaced(path: Path, sample: bytes) -> None:
    path.with_name("next").write_bytes(sample[len(sample) // 3 :])
    path.with_name("next").replace(path)


def _is_removed(path: Path, _: bytes) -> None:
    path.unlink()


def _becomes_a_pipe(path: Path, _: bytes) -> None:
    path.unlink()
    os.mkfifo(path)


def _becomes_a_directory(path: Path, _: bytes) -> None:
    path.unlink()
    path.mkdir()


CHANGES = (
    _grows,
    _shrinks,
    _is_emptied,
    _is_written_over,
    _is_replaced,
    _is_removed,
    _becomes_a_pipe,
    _becomes_a_directory,
)


@pytest.mark.parametrize("change", CHANGES, ids=[change.__name__.strip("_").replace("_", "-") for change in CHANGES])
class TestAFileThatChangesWhileItIsRead:
    @pytest.mark.parametrize("name", [name for name in registry.names() if name not in SLOW])
    def test_is_read_or_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[Path, bytes], None]
    ) -> None:
        seed = seed_of(name)
        sample = seed.samples[0]
        path = written(tmp_path, sample)
        changed = 0

        def opened(at: Path) -> BinaryIO:
            nonlocal changed
            file = compression.open_regular(at)
            if at != path or changed:
                return file

            def now() -> None:
                nonlocal changed
                changed += 1
                change(path, sample)

            return io.BufferedReader(_Changing(file, max(len(sample) // 3, 1), now), compression.BUFFER)

        monkeypatch.setattr(archives, "open_regular", opened)
        with suppress(AdapterError):
            read_in_process(path, seed)
        assert changed == 1


class TestAnEndlessView:
    """A database may hold a program, which need not end: what the worker is for."""

    ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"

    @pytest.mark.parametrize("where", ["i < 0", "i > 0"], ids=["without-rows", "of-rows"])
    def test_ends_when_its_time_is_up_and_the_next_file_is_read(self, tmp_path: Path, where: str) -> None:
        columns = "'2025550143' AS called, '' AS calling, 2461366.68 AS start, i AS trunk, i AS id"
        path = tmp_path / "calls.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"CREATE VIEW calls AS {self.ENDLESS} SELECT {columns} FROM n WHERE {where}")
        seed = seed_of("sqlite")
        with Worker(BOUNDS) as worker:
            request = Request(path, seed.mapping, seed.formats, processor_seconds=1)
            with pytest.raises(WorkerDiedError, match="of processor time"):
                checked(worker._read(path, request, 60.0, "calls", decode_calls))
            right = written(tmp_path, seed.samples[0])
            assert checked(worker.read_source(right, seed.mapping, seed.formats)).calls == 2


class TestATextInAnotherEncodingThanItIsSaidToBe:
    """UTF-16 without a mark, a codec that replaces nothing, one in which a byte is half a character."""

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "idna", "utf-7", "shift_jis"])
    @pytest.mark.parametrize(
        "name",
        [name for name in registry.names() if "encoding" in registry.adapter(name).module.Options.model_fields],
    )
    def test_is_read_or_refused(self, tmp_path: Path, name: str, encoding: str) -> None:
        seed = seed_of(name)
        options = {**seed.mapping.options, "encoding": encoding}
        path = written(tmp_path, seed.samples[0])
        said = replace(seed, mapping=seed.mapping.model_copy(update={"options": options}))
        with suppress(AdapterError):
            read_in_process(path, said)


class TestAFileThatCannotBeRead:
    """Root may read whatever its mode forbids; nobody reads past this one: its first byte is an error (EIO)."""

    @pytest.mark.parametrize("name", registry.names())
    def test_is_refused(self, worker: Worker, tmp_path: Path, name: str) -> None:
        seed = seed_of(name)
        path = written(tmp_path, seed.samples[0])
        path.unlink()
        path.symlink_to("/proc/self/mem")
        assert isinstance(read_within_bounds(worker, path, seed), AdapterError)

"""What is too old is destroyed: nothing on the disk tells of it, not even with the root key; the rest stays."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from agent.index import CoverageState, DaySecretError, Index
from agent.index.days import DaySecrets
from agent.index.layout import DAY_MS, day_key_name
from agent.index.manifest import Commit, FileEntry, Manifest
from agent.index.retention import expiry
from agent.index.writer import IndexWriter
from agent.ingest import FileStatus, ingest
from agent.maintenance import maintain
from protos.e164 import to_int
from tests.index.calls import ALICE, BOB, FORMATS, KEYS, NOON, NOW, Call, at, mapping, reader, write

TODAY = NOON // DAY_MS
RETENTION = timedelta(days=3)
OLD = NOON - 5 * DAY_MS
BAD = "bad row with +12025550143 in it"


class Keeper:
    """An index with a day that is too old, one that is not, and a file that has both."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.index = directory / "index"
        self.ingest("secret-name.txt", [Call(earliest=OLD + n, call_id=f"c{n}") for n in range(500)], BAD)
        self.ingest("both.txt", [Call(earliest=OLD + 7000), Call(earliest=NOON)], BAD)
        self.ingest("new.txt", [Call(earliest=NOON + 5)], BAD)

    def ingest(self, name: str, calls: list[Call], *more: str, retention: timedelta | None = None) -> FileStatus:
        path = write(self.directory / name, [*calls, *more])
        report = ingest([path], mapping(), FORMATS, self.index, KEYS, NOW, read=reader(100), retention=retention)
        return report.files[0].status

    def disk(self) -> bytes:
        return b"".join(
            str(path).encode() + path.read_bytes() for path in sorted(self.index.rglob("*")) if path.is_file()
        )

    def find(self, day_ms: int) -> int:
        return len(Index.open(self.index, KEYS).find(ALICE, BOB, at(day_ms - 9000), at(day_ms + 9000)))

    def expire(self, now: datetime = NOW) -> None:
        maintain(self.index, KEYS, now, RETENTION)


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper(tmp_path)


class TestDisk:
    def test_tells_nothing_of_a_day_that_is_too_old(self, keeper: Keeper) -> None:
        called = DaySecrets(keeper.index, KEYS).day(OLD // DAY_MS).called(to_int(ALICE))
        kept = DaySecrets(keeper.index, KEYS).day(TODAY).called(to_int(ALICE))
        secret = (keeper.index / "days" / day_key_name(OLD // DAY_MS)).read_bytes()[-60:]
        # the upper 32 bits of a key are those of the pseudonym alone
        of_day = (called >> 32).to_bytes(4, "little")
        before = keeper.disk()
        assert before.count(of_day) >= 500
        assert secret in before
        assert b"secret-name.txt" in before
        keeper.expire()
        after = keeper.disk()
        assert of_day not in after
        assert secret not in after
        assert b"secret-name.txt" not in after
        assert (kept >> 32).to_bytes(4, "little") in after

    def test_holds_no_rejected_row_of_a_file_that_begins_too_early(self, keeper: Keeper) -> None:
        assert keeper.disk().count(BAD.encode()) == 3
        keeper.expire()
        assert keeper.disk().count(BAD.encode()) == 1

    def test_holds_no_plain_number_but_in_rejected_rows(self, keeper: Keeper) -> None:
        files = [path for path in keeper.index.rglob("*") if path.is_file() and path.parent.name != "rejects"]
        assert {path.parent.name for path in files} >= {"segments"}
        for data in map(Path.read_bytes, files):
            for number in (ALICE, BOB):
                assert number[1:].encode() not in data
                assert to_int(number).to_bytes(8, "little") not in data

    def test_a_copy_made_before_tells_nothing_even_with_the_root_key(self, keeper: Keeper, tmp_path: Path) -> None:
        shutil.copytree(keeper.index / "segments", tmp_path / "stolen" / "segments")
        keeper.expire()
        shutil.copy(keeper.index / "MANIFEST", tmp_path / "stolen" / "MANIFEST")
        with pytest.raises(DaySecretError, match="destroyed"):
            DaySecrets(tmp_path / "stolen", KEYS).day(OLD // DAY_MS)

    def test_keeps_no_broken_segment_of_it_either(self, keeper: Keeper) -> None:
        for path in (keeper.index / "segments").iterdir():
            data = bytearray(path.read_bytes())
            data[5000] ^= 1
            path.write_bytes(data)
        maintain(keeper.index, KEYS, NOW - timedelta(days=9), RETENTION, scrub=(1, 1))
        assert len(list((keeper.index / "quarantine").iterdir())) >= 3
        keeper.expire()
        assert all(path.name.startswith("20261122") for path in (keeper.index / "quarantine").iterdir())


class TestIndex:
    def test_serves_what_is_not_too_old(self, keeper: Keeper) -> None:
        assert (keeper.find(OLD), keeper.find(NOON)) == (501, 2)
        keeper.expire()
        assert (keeper.find(OLD), keeper.find(NOON)) == (0, 2)

    def test_an_open_one_goes_on(self, keeper: Keeper) -> None:
        index = Index.open(keeper.index, KEYS)
        assert len(index.find(ALICE, None, at(OLD - 1), at(NOON + 9000))) == 503
        keeper.expire()
        assert len(index.find(ALICE, None, at(OLD - 1), at(NOON + 9000))) == 2

    def test_keeps_a_day_until_its_last_moment_is_too_old(self, keeper: Keeper) -> None:
        midnight_after = at((OLD // DAY_MS + 1) * DAY_MS)
        keeper.expire(midnight_after + RETENTION - timedelta(milliseconds=1))
        assert keeper.find(OLD) == 501
        keeper.expire(midnight_after + RETENTION)
        assert keeper.find(OLD) == 0

    def test_does_not_take_in_again_what_it_has_forgotten(self, keeper: Keeper) -> None:
        keeper.expire()
        calls = [Call(earliest=OLD + n, call_id=f"c{n}") for n in range(500)]
        assert keeper.ingest("secret-name.txt", calls, retention=RETENTION) is FileStatus.INDEXED
        assert keeper.find(OLD) == 0
        assert not (keeper.index / "days" / day_key_name(OLD // DAY_MS)).exists()
        assert keeper.ingest("secret-name.txt", calls, retention=RETENTION) is FileStatus.ALREADY_INDEXED

    def test_takes_the_newer_rows_of_a_file_that_has_both(self, keeper: Keeper) -> None:
        keeper.expire()
        calls = [Call(earliest=OLD), Call(earliest=NOON + 7)]
        keeper.ingest("again.txt", calls, retention=RETENTION)
        assert (keeper.find(OLD), keeper.find(NOON)) == (0, 3)

    def test_is_covered_from_the_retention_on_as_before(self, keeper: Keeper) -> None:
        early, late = at(NOON - DAY_MS), at(NOON - DAY_MS + 1000)
        coverage = Index.open(keeper.index, KEYS).coverage()
        assert coverage.state(early, late, NOW, RETENTION) is CoverageState.COVERED
        keeper.expire()
        coverage = Index.open(keeper.index, KEYS).coverage()
        assert coverage.state(early, late, NOW, RETENTION) is CoverageState.COVERED
        assert coverage.state(at(OLD), late, NOW, RETENTION) is CoverageState.EXPIRED

    def test_nothing_is_done_twice(self, keeper: Keeper) -> None:
        keeper.expire()
        before = keeper.disk()
        keeper.expire()
        assert keeper.disk() == before


class TestExpiry:
    def test_of_a_young_index_is_nothing(self, keeper: Keeper) -> None:
        with IndexWriter(keeper.index, KEYS) as writer:
            assert expiry(writer.manifest, OLD - DAY_MS) is None

    def test_a_file_without_records_goes_by_when_it_was_indexed(self) -> None:
        entry = FileEntry(1, "acc", "empty", 0, "content", "mapping", NOON, 0, None, None)
        manifest = Manifest("00").after([Commit(add_files=(entry,))])
        assert expiry(manifest, NOON) is None
        commit = expiry(manifest, NOON + DAY_MS)
        assert commit is not None
        assert commit.remove_files == (1,)

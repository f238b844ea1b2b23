"""The log: a Merkle tree as in RFC 6962, whatever the order in which it grew; opened again as it was left."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pymerkle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.audit import log as log_module
from agent.audit.errors import AuditBrokenError, AuditBusyError, AuditError, AuditUnavailableError
from agent.audit.layout import leaves_in, node_place, nodes_before
from agent.audit.log import AuditLog, opened
from agent.audit.reader import AuditReader
from agent.audit.records import CUT
from protos.merkle import HASH_SIZE, is_consistent, leaf_hash, nodes, root_by_path, tree_of
from tests.index.calls import UNSYNCED

BATCHES = st.lists(st.lists(st.binary(min_size=1, max_size=40), max_size=9), max_size=12)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    with opened(tmp_path / "audit", UNSYNCED) as log:
        yield log


def oracle(entries: list[bytes]) -> pymerkle.InmemoryTree:
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for entry in entries:
        tree.append_entry(entry)
    return tree


class TestALog:
    @settings(max_examples=60, deadline=None)
    @given(BATCHES)
    def test_has_the_roots_and_paths_of_another_implementation(self, batches: list[list[bytes]]) -> None:
        entries = [entry for batch in batches for entry in batch]
        tree = oracle(entries)
        with tempfile.TemporaryDirectory() as folder, opened(Path(folder) / "audit", UNSYNCED) as log:
            for batch in batches:
                assert log.append(batch) == log.size - len(batch)
            assert log.size == len(entries)
            for size in range(1, len(entries) + 1):
                assert log.root(size) == tree.get_root(size)
                proof = log.consistency(size, len(entries))
                assert is_consistent(size, tree.get_root(size), len(entries), tree.get_root(), proof)
            for index, entry in enumerate(entries):
                assert log.entry(index) == entry
                path = log.inclusion(index, len(entries))
                other = tree.prove_inclusion(index + 1, len(entries))
                pymerkle.verify_inclusion(leaf_hash(entry), tree.get_root(), other)
                assert sorted([*nodes(path), leaf_hash(entry)]) == sorted(other.path)
                assert root_by_path(leaf_hash(entry), index, len(entries), path) == tree.get_root()

    def test_that_is_empty_has_the_root_of_nothing(self, log: AuditLog) -> None:
        assert log.size == 0
        assert log.root() == oracle([]).get_root()

    @settings(max_examples=40, deadline=None)
    @given(BATCHES)
    def test_goes_on_where_it_was_left(self, batches: list[list[bytes]]) -> None:
        entries = [entry for batch in batches for entry in batch]
        with tempfile.TemporaryDirectory() as folder:
            for batch in batches:
                with opened(Path(folder) / "audit", UNSYNCED) as log:
                    log.append(batch)
            with opened(Path(folder) / "audit", UNSYNCED) as log:
                assert [entry for _, entry in log.entries()] == entries
                assert log.moved_aside == 0
                if entries:
                    assert log.root() == tree_of(entries).root
            with AuditReader.open(Path(folder) / "audit") as reader:
                assert [entry for _, entry in reader.entries()] == entries
                assert reader.root() == oracle(entries).get_root()

    def test_goes_on_when_it_is_much_longer_than_what_is_derived_anew(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(log_module, "UNSYNCED", 8)
        entries = [b"entry %d" % number for number in range(100)]
        for start in range(0, 100, 7):
            with opened(tmp_path / "audit", UNSYNCED) as log:
                log.append(entries[start : start + 7])
        with opened(tmp_path / "audit", UNSYNCED) as log:
            assert log.root() == tree_of(entries).root
            assert [log.entry(index) for index in range(100)] == entries

    @pytest.mark.parametrize("entry", [b"", b"x" * 8193], ids=["empty", "too long"])
    def test_takes_no_entry_out_of_size(self, log: AuditLog, entry: bytes) -> None:
        with pytest.raises(ValueError, match="1 to 8192"):
            log.append([b"good", entry])
        assert log.size == 0

    def test_has_one_writer(self, log: AuditLog) -> None:
        with pytest.raises(AuditBusyError, match="another process"):
            AuditLog.open(log.directory, UNSYNCED)

    def test_is_read_beside_its_writer(self, log: AuditLog) -> None:
        log.append([b"one", b"two"])
        with AuditReader.open(log.directory) as reader:
            log.append([b"three"])
            assert [entry for _, entry in reader.entries()] == [b"one", b"two"]

    def test_that_is_not_there_is_not_read_as_empty(self, tmp_path: Path) -> None:
        with pytest.raises(AuditError, match="no audit log"):
            AuditReader.open(tmp_path / "nowhere")

    def test_is_readable_by_nobody_else(self, log: AuditLog) -> None:
        assert log.directory.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in log.directory.iterdir()} == {0o600}


class TestPlaces:
    @settings(max_examples=50, deadline=None)
    @given(st.integers(0, 10**7))
    def test_of_nodes_are_in_the_order_in_which_they_are_complete(self, leaf: int) -> None:
        level = 0
        while True:
            assert node_place(level, leaf >> level) == (nodes_before(leaf) + level) * HASH_SIZE
            if not (leaf >> level) & 1:
                break
            level += 1
        assert nodes_before(leaf + 1) == nodes_before(leaf) + level + 1
        assert leaves_in(nodes_before(leaf) * HASH_SIZE) == leaf
        assert leaves_in(nodes_before(leaf) * HASH_SIZE + HASH_SIZE - 1) == leaf

    def test_that_are_no_entries_are_refused(self, log: AuditLog) -> None:
        log.append([b"one"])
        for index in (-1, 1):
            with pytest.raises(IndexError):
                log.entry(index)
        with pytest.raises(IndexError):
            log.root(2)


class TestATornEnd:
    @pytest.mark.parametrize("keep", range(1, 16))
    def test_is_moved_aside_and_what_was_whole_stays(self, tmp_path: Path, keep: int) -> None:
        with opened(tmp_path / "audit", UNSYNCED) as log:
            log.append([b"first", b"last"])
        path = tmp_path / "audit" / "entries"
        whole = path.read_bytes()
        os.truncate(path, len(whole) - keep)
        with AuditReader.open(tmp_path / "audit") as reader:
            assert reader.size == 1
        with opened(tmp_path / "audit", UNSYNCED) as log:
            assert [entry for _, entry in log.entries()] == [b"first"]
            assert log.moved_aside == 16 - keep
            log.append([b"next"])
            assert log.root() == tree_of([b"first", b"next"]).root
        aside = [path.read_bytes() for path in (tmp_path / "audit").iterdir() if path.name.startswith(CUT)]
        assert aside == ([whole[-16:-keep]] if keep < 16 else [])

    @pytest.mark.parametrize("name", ["tree", "places"])
    @pytest.mark.parametrize("damage", ["gone", "empty", "half", "long", "zeros"])
    def test_of_what_is_derived_is_made_anew(self, tmp_path: Path, name: str, damage: str) -> None:
        entries = [b"entry %d" % number for number in range(20)]
        with opened(tmp_path / "audit", UNSYNCED) as log:
            log.append(entries)
        path = tmp_path / "audit" / name
        whole = path.read_bytes()
        if damage == "gone":
            path.unlink()
        else:
            changed = {
                "empty": b"",
                "half": whole[: len(whole) // 2],
                "long": whole + b"x" * 99,
                "zeros": bytes(len(whole)),
            }
            path.write_bytes(changed[damage])
        with opened(tmp_path / "audit", UNSYNCED) as log:
            assert log.root() == tree_of(entries).root
        assert path.read_bytes() == whole

    @pytest.mark.parametrize("name", ["checkpoints", "certificates", "witnessed", "entries"])
    def test_a_file_that_is_gone_is_never_made_anew_in_silence(self, tmp_path: Path, name: str) -> None:
        with opened(tmp_path / "audit", UNSYNCED) as log:
            log.append([b"entry"])
            log.keep_certificate(b"certificate")
        (tmp_path / "audit" / name).unlink()
        with pytest.raises(AuditBrokenError, match=f"{name}.*: it is gone"):
            AuditLog.open(tmp_path / "audit", UNSYNCED)


class TestADiskThatRefuses:
    def test_to_make_the_directory(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(AuditUnavailableError, match="nothing is answered"):
            AuditLog.open(tmp_path / "file" / "audit", UNSYNCED)

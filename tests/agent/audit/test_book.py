"""The audit book: what was filed is read again by the provider alone; what is signed is durable, and never older."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.audit.book import About
from agent.audit.errors import AuditBrokenError, AuditError
from agent.audit.layout import frames
from agent.audit.log import AuditLog
from agent.audit.reader import AuditReader
from agent.audit.sealing import AuditKey, SealBrokenError
from agent.audit.verify import FILES, verify
from hopback.v1 import audit_pb2 as pb
from hopback.v1 import evidence_pb2 as evidence
from protos.certificates import PinnedRoots
from protos.signing import Domain, Seal, SealChecker, read_signer
from tests.agent.audit.books import (
    CAMPAIGN,
    KEY,
    LAB,
    Clock,
    answered,
    authority,
    book_of,
    case,
    certificate_in,
    party,
    reply,
    trust,
)
from tests.index.calls import UNSYNCED, UnsyncedFiles
from tests.protos.evidence_kit import NOW


def said(signed: evidence.SignedCheckpoint) -> evidence.Checkpoint:
    return evidence.Checkpoint.FromString(signed.checkpoint)


class TestWhatIsFiled:
    def test_comes_back_as_it_was(self, tmp_path: Path) -> None:
        book = book_of(tmp_path / "audit")
        answered(book, 3)
        book.refused([reply(4)], LAB)
        book.replayed([reply(3)], LAB)
        intent, answer, refused, replayed = book.recent()
        for entry, number in ((intent, 3), (answer, 3), (refused, 4), (replayed, 3)):
            asked = case(number)
            assert entry.question_sha256 == asked.sha256
            assert entry.question_id == asked.asked.question.question_id.bytes
            assert entry.order_sha256 == asked.asked.authority.order_sha256
            assert (entry.at, entry.asker, entry.campaign) == (NOW, LAB, CAMPAIGN)
            assert entry.opened is not None
            assert entry.opened.question == asked.asked.exact
        told = reply(3)
        assert answer.opened is not None
        assert (answer.opened.naming, answer.opened.finding) == (told.parts.naming, told.parts.finding)
        assert answer.answer_leaf == told.parts.leaf
        assert told.opening is not None
        assert (answer.opened.salt, answer.opened.record) == told.opening
        assert [entry.index for entry in book.recent(2)] == [2, 3]
        book.log.close()

    def test_by_persons_names_them(self, tmp_path: Path) -> None:
        book = book_of(tmp_path / "audit")
        about = About(case(0).asked.question.question_id.bytes, case(0).sha256, bytes(32), CAMPAIGN)
        book.reviewed(about, "ann", "UPSTREAM", "looked at the switch", reply(0).parts)
        book.released(about, "bob", "sent to lab")
        book.started(bytes(32), "0.1.0")
        reviewed, released, started = book.recent()
        assert (reviewed.asker, released.asker, started.asker) == ("operator:ann", "operator:bob", "agent")
        assert reviewed.opened is not None
        assert reviewed.opened.note == "looked at the switch"
        assert reviewed.opened.finding == reply(0).parts.finding
        assert book.log.find(case(0).sha256) == [0, 1]
        book.log.close()

    def test_can_be_read_with_the_key_alone(self, tmp_path: Path) -> None:
        book = book_of(tmp_path / "audit")
        answered(book, 0)
        [entry, _] = (pb.AuditEntry.FromString(exact) for _, exact in book.log.entries())
        KEY.open(entry.sealed, entry.kind, entry.question_sha256)
        with pytest.raises(SealBrokenError):
            AuditKey(bytes(32)).open(entry.sealed, entry.kind, entry.question_sha256)
        with pytest.raises(SealBrokenError):
            KEY.open(entry.sealed, pb.AUDIT_KIND_ANSWER, entry.question_sha256)
        with pytest.raises(SealBrokenError):
            KEY.open(entry.sealed, entry.kind, bytes(32))
        book.log.close()

    @settings(max_examples=50, deadline=None)
    @given(st.binary(max_size=60), st.binary(max_size=40))
    def test_is_sealed_or_refused_whatever_the_bytes(self, sealed: bytes, plain: bytes) -> None:
        with pytest.raises(SealBrokenError):
            KEY.open(sealed, 1, bytes(32))
        try:
            KEY.open(KEY.seal(plain, 1, bytes(32)), 1, bytes(32))
        except SealBrokenError as error:
            assert "not what this version seals" in str(error)  # noqa: PT017 (some plain texts are items)


class CountingFiles(UnsyncedFiles):
    """Files that tell what was written and synced, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._names: dict[int, str] = {}

    def append_to(self, path: Path) -> int:
        descriptor = super().append_to(path)
        self._names[descriptor] = path.name
        return descriptor

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        self.done.append(f"write {self._names.get(descriptor)}")
        super().write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        self.done.append(f"fsync {self._names.get(descriptor)}")


class TestACheckpoint:
    def test_covers_what_is_durable_and_nothing_else(self, tmp_path: Path) -> None:
        book = book_of(tmp_path / "audit")
        answered(book, 0)
        book.intent([case(1)], LAB)
        assert said(book.checkpoint()).size == 2
        book.sync()
        checkpoint = book.checkpoint()
        assert said(checkpoint).size == 3
        assert said(checkpoint).root == book.log.root(3)
        [seal] = checkpoint.seals
        assert SealChecker().is_good(Seal.of_message(seal), Domain.CHECKPOINT, party("birch").signer.public)
        book.log.close()

    def test_is_kept_before_it_leaves_and_after_its_entries_are_durable(self, tmp_path: Path) -> None:
        files = CountingFiles()
        book = book_of(tmp_path / "audit", files=files)
        files.done.clear()
        answered(book, 0)
        kept = ["write entries", "write tree", "write places"]
        assert files.done == [*kept, *kept, "fsync entries", "write checkpoints"]
        assert book.log.checkpoint(book.log.checkpoints - 1) == book.checkpoint().SerializeToString(deterministic=True)
        book.log.close()

    def test_is_signed_once_while_nothing_changes(self, tmp_path: Path) -> None:
        book = book_of(tmp_path / "audit")
        answered(book, 0)
        assert book.checkpoint() is book.checkpoint()
        assert book.log.checkpoints == 1
        book.log.close()

    def test_never_looks_older_than_the_one_before_it(self, tmp_path: Path) -> None:
        clock = Clock()
        book = book_of(tmp_path / "audit", clock=clock)
        first = pb_at(answered(book, 0))
        clock.now -= timedelta(minutes=30)
        assert pb_at(answered(book, 1)) == first
        book.log.close()
        book = book_of(tmp_path / "audit", clock=clock)
        assert pb_at(answered(book, 2)) == first
        book.log.close()
        verify(tmp_path / "audit", trust())

    def test_is_found_by_its_size(self, tmp_path: Path) -> None:
        book = book_of(tmp_path / "audit")
        for number in range(20):
            answered(book, number)
        for size in range(1, 42):
            kept = book.log.checkpoint_of(size)
            expected = size % 2 == 0 and size <= 40
            assert (kept is not None) == expected
            if kept is not None:
                assert said(evidence.SignedCheckpoint.FromString(kept)).size == size
        book.log.close()

    def test_by_a_renewed_key_is_as_good(self, tmp_path: Path) -> None:
        book = book_of(tmp_path / "audit")
        answered(book, 0)
        issued = authority().issue_evidence("hopback://provider/birch", "birch-renewed")
        book.renew(read_signer(issued.key), certificate_in(issued.certificate))
        answered(book, 1)
        book.log.close()
        assert verify(tmp_path / "audit", trust()).checkpoints == 2
        assert len(AuditReader.open(tmp_path / "audit").certificates()) == 2

    def test_by_a_root_that_is_not_pinned_is_not(self, tmp_path: Path) -> None:
        answered(book := book_of(tmp_path / "audit"), 0)
        book.log.close()
        with pytest.raises(AuditBrokenError, match="no pinned root"):
            verify(tmp_path / "audit", replace(trust(), roots=PinnedRoots([])))


def pb_at(signed: bytes) -> int:
    return said(evidence.SignedCheckpoint.FromString(signed)).at_unix_ms


class TestManyThreads:
    def test_lose_nothing(self, tmp_path: Path) -> None:
        book = book_of(tmp_path / "audit")
        left: list[evidence.SignedCheckpoint] = []

        def work(first: int) -> None:
            for number in range(first, first + 20):
                book.intent([case(number)], LAB)
                book.answers([reply(number)], LAB)
                book.sync()
                left.append(book.checkpoint())

        threads = [threading.Thread(target=work, args=(100 * start,)) for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert book.log.size == 160
        for checkpoint in left:
            assert book.log.root(said(checkpoint).size) == said(checkpoint).root
        book.log.close()
        assert verify(tmp_path / "audit", trust()).unsigned == 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    directory = tmp_path_factory.mktemp("whole") / "audit"
    answered(book := book_of(directory), 0, 1, 2)
    book.log.close()
    return {name: (directory / name).read_bytes() for name in FILES}


class TestReaders:
    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def test_of_hostile_files_give_what_is_there_or_a_told_error(
        self, whole: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        directory = tmp_path_factory.mktemp("hostile")
        name = data.draw(st.sampled_from(FILES))
        content = bytearray(whole[name])
        for _ in range(data.draw(st.integers(1, 4))):
            how = data.draw(st.sampled_from(("flip", "cut", "insert", "replace")))
            place = data.draw(st.integers(0, max(0, len(content) - 1)))
            if how == "flip" and content:
                content[place] ^= data.draw(st.integers(1, 255))
            elif how == "cut":
                del content[place:]
            elif how == "insert":
                content[place:place] = data.draw(st.binary(max_size=40))
            else:
                content[:] = data.draw(st.binary(max_size=200))
        for other, exact in whole.items():
            (directory / other).write_bytes(bytes(content) if other == name else exact)
        same = bytes(content) == whole[name]
        try:
            with AuditReader.open(directory) as reader:
                list(reader.entries())
                reader.find(case(1).sha256)
                for size in range(reader.size + 1):
                    reader.checkpoint_of(size)
                reader.certificates()
        except AuditError as error:
            assert str(directory) in str(error)  # noqa: PT017 (some changes are harmless)
        try:
            verify(directory, trust())
            assert same
        except AuditError:
            assert not same
        try:
            AuditLog.open(directory, UNSYNCED).close()
        except AuditError as error:
            assert str(directory) in str(error)  # noqa: PT017 (some changes are mended)

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=300), st.integers(0, 300))
    def test_of_frames_end_at_the_first_that_is_none(self, data: bytes, at: int) -> None:
        end = at
        for begin, payload, _ in frames(data, at):
            assert begin == end
            end = begin + 12 + len(payload)
            assert end <= len(data)


def test_a_key_does_not_show_itself() -> None:
    assert repr(KEY) == "AuditKey(…)"

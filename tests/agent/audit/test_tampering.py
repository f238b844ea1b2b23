"""Whatever is changed in a log after it was signed is found: every byte, every truncation, every fork."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from agent.audit import log as log_module
from agent.audit.book import AuditBook, Case
from agent.audit.errors import AuditBrokenError, AuditError
from agent.audit.layout import FRAME, HEADER_SIZE, LARGEST_ENTRY, SLOT, frame, frames, slot
from agent.audit.log import AuditLog, opened
from agent.audit.verify import FILES, Trust, verify, verify_files
from hopback.v1 import audit_pb2 as pb
from hopback.v1 import evidence_pb2 as evidence
from protos.codec import unix_ms
from protos.identity import parse_provider_id
from protos.merkle import is_consistent
from protos.signing import Domain, SealChecker
from tests.agent.audit.books import LAB, answered, book_of, case, party, reply, roots, trust
from tests.index.calls import UNSYNCED
from tests.protos.evidence_kit import NOW

ENTRIES = 200
SIGNED_AT = (1, 2, 63, 64, 65, 128, 200)
DERIVED = ("tree", "places")
HERE = Path("audit")
COPY = Path("checkpoint-that-the-coordinator-kept")


@dataclass(frozen=True)
class Kept:
    """The bytes of a log of 200 entries, and the last checkpoint, which the coordinator has, too."""

    files: Mapping[str, bytes]
    last: bytes

    def verify(self, files: Mapping[str, bytes] | None = None, *, handed_in: bool = True) -> None:
        verify_files(HERE, files or self.files, TRUST, [(COPY, self.last)] if handed_in else [], seals=SEALS)


SEALS = SealChecker()
TRUST = Trust(parse_provider_id("birch"), roots())


def small(book: AuditBook, number: int) -> None:
    """A short entry, so that all its bytes are soon flipped."""
    entry = pb.AuditEntry(kind=pb.AUDIT_KIND_STARTED, at_unix_ms=unix_ms(NOW), question_id=number.to_bytes(4, "big"))
    book.log.append([entry.SerializeToString()])


def kept(directory: Path, entries: int = ENTRIES) -> Kept:
    book = book_of(directory)
    for number in range(1, entries + 1):
        small(book, number)
        if number in SIGNED_AT or number == entries:
            book.sync()
            last = book.checkpoint().SerializeToString(deterministic=True)
    book.log.close()
    return Kept({name: (directory / name).read_bytes() for name in FILES}, last)


@pytest.fixture(scope="module")
def log_of_200(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return kept(tmp_path_factory.mktemp("log") / "audit")


@pytest.fixture(scope="module")
def log_of_40(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return kept(tmp_path_factory.mktemp("log") / "audit", 40)


def require_every_flip_shown(log: Kept, name: str) -> None:
    data = log.files[name]
    for at in range(len(data)):
        with pytest.raises(AuditBrokenError) as error:
            log.verify({**log.files, name: flipped(data, at)})
        assert error.value.path == HERE / name
        assert error.value.byte is not None
        assert error.value.byte <= at
        assert at - error.value.byte < (SLOT if name == "checkpoints" else 2048)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :]


class TestALogOf200Entries:
    def test_is_whole_as_it_is(self, log_of_200: Kept) -> None:
        report = verify_files(HERE, log_of_200.files, TRUST, [(COPY, log_of_200.last)])
        assert (report.entries, report.checkpoints, report.unsigned) == (200, len(SIGNED_AT) + 1, 0)

    @pytest.mark.parametrize("name", [name for name in FILES if name not in DERIVED])
    def test_shows_every_flipped_byte_where_it_is(self, log_of_200: Kept, name: str) -> None:
        require_every_flip_shown(log_of_200, name)

    @pytest.mark.parametrize("name", DERIVED)
    def test_shows_every_flipped_byte_of_what_follows_from_it(self, log_of_40: Kept, name: str) -> None:
        require_every_flip_shown(log_of_40, name)

    @pytest.mark.nightly
    @pytest.mark.parametrize("name", DERIVED)
    def test_shows_every_flipped_byte_of_what_follows_from_all_of_it(self, log_of_200: Kept, name: str) -> None:
        require_every_flip_shown(log_of_200, name)

    @pytest.mark.parametrize("name", [name for name in FILES if name != "entries"])
    def test_shows_every_truncation(self, log_of_200: Kept, name: str) -> None:
        data = log_of_200.files[name]
        for size in range(0, len(data)):
            with pytest.raises(AuditBrokenError):
                log_of_200.verify({**log_of_200.files, name: data[:size]})

    def test_shows_every_truncation_of_entries_without_anybodys_help(self, log_of_200: Kept) -> None:
        data = log_of_200.files["entries"]
        for size in range(0, len(data)):
            with pytest.raises(AuditBrokenError, match="entries"):
                log_of_200.verify({**log_of_200.files, "entries": data[:size]}, handed_in=False)

    @pytest.mark.parametrize("name", FILES)
    def test_shows_what_is_added(self, log_of_200: Kept, name: str) -> None:
        for more in (b"\0", b"x" * 400, bytes(SLOT)):
            with pytest.raises(AuditBrokenError, match=name):
                log_of_200.verify({**log_of_200.files, name: log_of_200.files[name] + more})

    def test_is_not_opened_for_writing_with_any_byte_of_an_entry_flipped(
        self, log_of_200: Kept, tmp_path: Path
    ) -> None:
        data = log_of_200.files["entries"]
        for name, content in log_of_200.files.items():
            (tmp_path / name).write_bytes(content)
        for at in range(0, len(data), 7):
            (tmp_path / "entries").write_bytes(flipped(data, at))
            with pytest.raises(AuditBrokenError, match=r"entries.*byte \d+"):
                AuditLog.open(tmp_path, UNSYNCED)
        (tmp_path / "entries").write_bytes(data)
        with opened(tmp_path, UNSYNCED) as log:
            assert log.size == ENTRIES
            assert log.moved_aside == 0
        assert {name: (tmp_path / name).read_bytes() for name in FILES} == log_of_200.files

    def test_is_not_opened_for_writing_with_entries_cut_off(self, log_of_200: Kept, tmp_path: Path) -> None:
        data = log_of_200.files["entries"]
        for name, content in log_of_200.files.items():
            (tmp_path / name).write_bytes(content)
        for size in range(0, len(data), 7):
            (tmp_path / "entries").write_bytes(data[:size])
            with pytest.raises(AuditBrokenError, match="entries"):
                AuditLog.open(tmp_path, UNSYNCED)


def rewritten(files: Mapping[str, bytes], number: int) -> dict[str, bytes]:
    """The log with one entry replaced by another, and everything that follows from the entries made to fit."""
    entries = [entry for _, entry, _ in frames(files["entries"], HEADER_SIZE, LARGEST_ENTRY)]
    entries[number] = pb.AuditEntry(kind=pb.AUDIT_KIND_STARTED, at_unix_ms=1, outcome="another").SerializeToString()
    return {**files, **derived(entries)}


def derived(entries: list[bytes]) -> dict[str, bytes]:
    """The files of a log of these entries that no signature protects by itself."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        with opened(Path(folder) / "audit", UNSYNCED) as log:
            log.append(entries)
        return {name: (Path(folder) / "audit" / name).read_bytes() for name in ("entries", "tree", "places")}


class TestAnEntryReplacedWithAllThatFollowsFromIt:
    @pytest.mark.parametrize("number", [0, 1, 2, 62, 63, 64, 100, 127, 128, 199])
    def test_contradicts_the_first_checkpoint_that_covers_it(self, log_of_200: Kept, number: int) -> None:
        first = next(size for size in SIGNED_AT if size > number)
        with pytest.raises(AuditBrokenError, match=f"to {first - 1} some are not those that were signed") as error:
            log_of_200.verify(rewritten(log_of_200.files, number))
        assert error.value.entry == SIGNED_AT.index(first)

    def test_keeps_the_log_from_being_opened(self, log_of_200: Kept, tmp_path: Path) -> None:
        for name, content in rewritten(log_of_200.files, 100).items():
            (tmp_path / name).write_bytes(content)
        with pytest.raises(AuditBrokenError, match="not those that a signed checkpoint covers"):
            AuditLog.open(tmp_path, UNSYNCED)

    def test_is_named_where_the_tree_still_knows_the_old_one(self, log_of_200: Kept, tmp_path: Path) -> None:
        changed = rewritten(log_of_200.files, 100)
        for name, content in {**changed, "tree": log_of_200.files["tree"]}.items():
            (tmp_path / name).write_bytes(content)
        with pytest.raises(AuditBrokenError, match="entry 100"):
            AuditLog.open(tmp_path, UNSYNCED)
        assert (tmp_path / "tree").read_bytes() == log_of_200.files["tree"], "what tells the old entry is left alone"

    def test_is_found_before_the_part_that_opening_reads(
        self, log_of_200: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(log_module, "UNSYNCED", 8)
        for name, content in rewritten(log_of_200.files, 3).items():
            (tmp_path / name).write_bytes(content)
        with pytest.raises(AuditBrokenError):
            AuditLog.open(tmp_path, UNSYNCED)


class TestForks:
    def test_at_every_size_are_shown_by_a_checkpoint_that_somebody_kept(self, log_of_200: Kept) -> None:
        for shared in range(0, ENTRIES):
            with pytest.raises(AuditBrokenError, match="not those that were signed"):
                self.verify_fork(log_of_200, shared)

    def test_that_share_everything_are_none(self, log_of_200: Kept) -> None:
        self.verify_fork(log_of_200, ENTRIES)

    def verify_fork(self, log_of_200: Kept, shared: int) -> None:
        """The provider shows a log of its own that parts from the signed one after `shared` entries."""
        files = dict(log_of_200.files)
        honest = [entry for _, entry, _ in frames(files["entries"], HEADER_SIZE, LARGEST_ENTRY)]
        other = pb.AuditEntry(kind=pb.AUDIT_KIND_STARTED, at_unix_ms=1, outcome="another").SerializeToString()
        files |= derived([*honest[:shared], *[other] * (ENTRIES - shared)])
        honest_slots = [
            files["checkpoints"][at : at + SLOT] for at in range(HEADER_SIZE, len(files["checkpoints"]), SLOT)
        ]
        # it throws away the checkpoints that contradict it, and signs the fork
        keep = [one for one, size in zip(honest_slots, SIGNED_AT, strict=True) if size <= shared]
        files["checkpoints"] = files["checkpoints"][:HEADER_SIZE] + b"".join(keep)
        if shared == ENTRIES:
            files["checkpoints"] = log_of_200.files["checkpoints"]
        verify_files(HERE, files, TRUST, [])  # by itself it looks whole
        log_of_200.verify(files)

    def test_have_no_proof_of_consistency(self, tmp_path: Path) -> None:
        honest, other = ([b"entry %d" % n for n in range(20)] for _ in range(2))
        with opened(tmp_path / "honest", UNSYNCED) as one:
            one.append(honest)
            for shared in range(20):
                with opened(tmp_path / f"fork-{shared}", UNSYNCED) as fork:
                    fork.append([*other[:shared], b"another", *other[shared + 1 :], b"more"])
                    proof = fork.consistency(20, 21)
                    assert is_consistent(20, fork.root(20), 21, fork.root(21), proof)
                    assert not is_consistent(20, one.root(20), 21, fork.root(21), proof)


def resigned(files: Mapping[str, bytes], **changes: object) -> dict[str, bytes]:
    """The log with one more checkpoint, signed by the provider itself but not as it should be."""
    last = frames(files["checkpoints"], len(files["checkpoints"]) - SLOT)
    signed = evidence.SignedCheckpoint.FromString(next(last)[1])
    said = evidence.Checkpoint.FromString(signed.checkpoint)
    domain, signer = changes.pop("domain", Domain.CHECKPOINT), changes.pop("signer", party("birch").signer)
    for name, value in changes.items():
        setattr(said, name, value)
    exact = said.SerializeToString()
    seal, _ = signer.seal(domain, [exact])  # type: ignore[attr-defined]
    more = evidence.SignedCheckpoint(checkpoint=exact, seals=[seal.to_message()]).SerializeToString()
    return {**files, "checkpoints": files["checkpoints"] + slot(more)}


class TestACheckpoint:
    def test_that_says_the_same_again_is_good(self, log_of_200: Kept) -> None:
        log_of_200.verify(resigned(log_of_200.files))

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"domain": Domain.WITNESS}, "signature is not good"),
            ({"signer": party("cedar").signer}, "no certificate is kept"),
            ({"provider": "cedar"}, "not one of birch"),
            ({"size": 100}, "earlier state"),
            ({"at_unix_ms": unix_ms(NOW) - 1}, "earlier state"),
            ({"at_unix_ms": 1}, "not valid when"),
            ({"at_unix_ms": unix_ms(NOW) * 2}, "not valid when"),
            ({"at_unix_ms": 2**64 - 1}, "not valid when"),
            ({"size": 2**64 - 1}, "are missing"),
            ({"root": bytes(32)}, "not those that were signed"),
        ],
        ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
    )
    def test_that_is_not_what_it_should_be_is_found(
        self, log_of_200: Kept, changes: dict[str, object], problem: str
    ) -> None:
        with pytest.raises(AuditBrokenError, match=problem):
            log_of_200.verify(resigned(log_of_200.files, **changes))

    def test_without_a_signature_is_found(self, log_of_200: Kept) -> None:
        bare = evidence.SignedCheckpoint(checkpoint=evidence.Checkpoint(provider="birch").SerializeToString())
        files = {**log_of_200.files, "checkpoints": log_of_200.files["checkpoints"] + slot(bare.SerializeToString())}
        with pytest.raises(AuditBrokenError, match="not signed"):
            log_of_200.verify(files)

    def test_of_a_key_that_another_party_owns_is_found(self, log_of_200: Kept) -> None:
        certificates = log_of_200.files["certificates"] + frame(party("cedar").certificate)
        with pytest.raises(AuditBrokenError, match="certificate is of hopback://provider/cedar"):
            log_of_200.verify({**log_of_200.files, "certificates": certificates})

    def test_of_a_key_that_no_pinned_root_certifies_is_found(self, log_of_200: Kept) -> None:
        certificates = log_of_200.files["certificates"] + frame(b"no certificate")
        with pytest.raises(AuditBrokenError, match="proves nothing"):
            log_of_200.verify({**log_of_200.files, "certificates": certificates})


class TestSealedParts:
    @pytest.fixture
    def directory(self, tmp_path: Path) -> Path:
        book = book_of(tmp_path / "audit")
        answered(book, 0, 1)
        book.log.close()
        return tmp_path / "audit"

    def test_are_opened_and_compared_with_the_digests_beside_them(self, directory: Path) -> None:
        assert verify(directory, trust()).entries == 4

    @pytest.mark.parametrize("what", ["question", "answer"])
    def test_of_something_else_than_what_was_asked_and_answered_are_found(self, directory: Path, what: str) -> None:
        book = book_of(directory)
        if what == "question":
            honest = case(5)
            lie = Case(replace(honest.asked, exact=b"x"), honest.sha256, honest.question_id)
            book.intent([lie], LAB)
        else:
            told = reply(5)
            lied = replace(told.parts, finding=bytes(256))
            book.answers([told._replace(parts=lied)], LAB)
            entry = pb.AuditEntry.FromString(book.log.entry(4))
            entry.answer_leaf = told.parts.leaf
            book.log.append([entry.SerializeToString()])
        book.sync()
        book.checkpoint()
        with pytest.raises(AuditBrokenError, match=f"the sealed {what} is not the one"):
            verify(directory, trust())
        book.log.close()

    def test_under_another_key_are_found(self, directory: Path) -> None:
        from agent.audit.sealing import AuditKey

        with pytest.raises(AuditBrokenError, match="another root key"):
            verify(directory, replace(trust(), key=AuditKey(bytes(32))))


class TestTheFilesOnDisk:
    def test_are_verified_beside_the_agent_that_writes(self, tmp_path: Path) -> None:
        book = book_of(tmp_path / "audit")
        answered(book, 0)
        book.intent([case(1)], LAB)
        path = tmp_path / "audit" / "entries"
        path.write_bytes(path.read_bytes() + frame(b"half an entry")[: FRAME.size + 3])
        report = verify(tmp_path / "audit", trust())
        assert (report.entries, report.unsigned, report.writing) == (3, 1, FRAME.size + 3)
        book.log.close()
        with pytest.raises(AuditBrokenError, match="no whole record begins there"):
            verify(tmp_path / "audit", trust())

    def test_that_are_not_there_are_no_whole_log(self, tmp_path: Path) -> None:
        with pytest.raises(AuditError, match="there is no audit log"):
            verify(tmp_path, trust())
        answered(book := book_of(tmp_path / "audit"), 0)
        book.log.close()
        for name in FILES:
            path = tmp_path / "audit" / name
            path.rename(tmp_path / "away")
            with pytest.raises(AuditBrokenError, match=f"{name}.*: it is gone"):
                verify(tmp_path / "audit", trust())
            (tmp_path / "away").rename(path)

    def test_name_the_torn_ends_that_were_moved_aside(self, tmp_path: Path) -> None:
        book = book_of(tmp_path / "audit")
        answered(book, 0)
        book.intent([case(1)], LAB)
        book.log.close()
        path = tmp_path / "audit" / "entries"
        os.truncate(path, path.stat().st_size - 1)
        book_of(tmp_path / "audit").log.close()
        report = verify(tmp_path / "audit", trust())
        assert report.entries == 2
        assert len(report.cut) == 1

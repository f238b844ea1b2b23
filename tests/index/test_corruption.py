"""A broken index is an error that names the file; it never looks like "no match", and indexing again mends it."""

from __future__ import annotations

import hashlib
import shutil
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.index import Index, IndexCorruptError, IndexUnusableError, Query, UnknownVersionError, WrongKeyError
from agent.index.errors import IndexWriteError
from agent.index.layout import PAGE
from agent.index.segment_format import TRAILER
from agent.ingest import FileStatus, ingest
from agent.legs import Leg
from tests.index.calls import (
    ALICE,
    CAROL,
    FORMATS,
    KEYS,
    NOON,
    NOW,
    OTHER_KEYS,
    TOLL_FREE,
    UNSYNCED,
    Call,
    at,
    mapping,
    reader,
    write,
)

CALLS = [Call(f"+1312555{number:04d}", earliest=NOON + number) for number in range(1200)]
CALLS += [Call(ALICE, earliest=NOON + number, span=1000) for number in range(20)]
CALLS += [Call(TOLL_FREE, CAROL, earliest=NOON + number) for number in range(20)]
ASKED = [ALICE, CAROL, TOLL_FREE, *(call.called_in for call in CALLS[:1200:40])]
QUERIES = [Query(number, None, at(NOON), at(NOON + 2000)) for number in ASKED]  # type: ignore[arg-type]


class Lab:
    """An index of one source file, and its files by name."""

    def __init__(self, directory: Path) -> None:
        self.source = write(directory / "a.txt", CALLS)
        self.index = directory / "index"
        self.ingest()
        (self.segment,) = (self.index / "segments").iterdir()
        self.manifest = self.index / "MANIFEST"
        self.right = self.answers()

    def ingest(self) -> FileStatus:
        report = ingest([self.source], mapping(), FORMATS, self.index, KEYS, NOW, read=reader(500), files=UNSYNCED)
        return report.files[0].status

    def answers(self) -> list[list[Leg]]:
        return Index.open(self.index, KEYS).find_many(QUERIES)

    def answers_one_by_one(self) -> list[list[Leg]]:
        index = Index.open(self.index, KEYS)
        return [index.find(q.called, q.calling, q.earliest, q.latest) for q in QUERIES]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def altered(lab: Lab, path: Path, position: int, mask: int) -> bytes:
    """Flip bits of one byte; returns the content as it was."""
    before = path.read_bytes()
    content = bytearray(before)
    content[position] ^= mask
    path.write_bytes(content)
    return before


class TestSegment:
    @settings(max_examples=100, deadline=None)
    @given(data=st.data())
    def test_any_flipped_bit_is_found_by_verify_and_never_changes_an_answer(
        self, sound: Lab, data: st.DataObject
    ) -> None:
        size = sound.segment.stat().st_size
        before = altered(sound, sound.segment, data.draw(st.integers(0, size - 1)), 1 << data.draw(st.integers(0, 7)))
        try:
            with pytest.raises((IndexCorruptError, UnknownVersionError), match=sound.segment.name):
                Index.open(sound.index, KEYS).verify()
            for answers in (sound.answers, sound.answers_one_by_one):
                try:
                    assert answers() == sound.right
                except IndexUnusableError as error:
                    assert sound.segment.name in str(error)  # noqa: PT017 (only some of the flips are met)
        finally:
            sound.segment.write_bytes(before)

    def test_every_byte_after_the_sections_is_vouched_for(self, sound: Lab) -> None:
        content = sound.segment.read_bytes()
        begin = len(content) - len(content) % PAGE
        assert begin < content.index(b"sums_sha256") < len(content)
        for position in range(begin, len(content)):
            before = altered(sound, sound.segment, position, 0x01)
            try:
                with pytest.raises(IndexUnusableError, match=sound.segment.name):
                    Index.open(sound.index, KEYS)
            finally:
                sound.segment.write_bytes(before)

    def test_every_page_is_vouched_for(self, sound: Lab) -> None:
        size = sound.segment.stat().st_size
        for position in [*range(17, size, PAGE), size - 1]:
            before = altered(sound, sound.segment, position, 0x40)
            try:
                with pytest.raises(IndexUnusableError):
                    Index.open(sound.index, KEYS).verify()
            finally:
                sound.segment.write_bytes(before)

    def test_a_page_that_was_good_and_changes_is_found_by_verify(self, lab: Lab) -> None:
        index = Index.open(lab.index, KEYS)
        index.verify()
        with lab.segment.open("r+b") as stream:
            stream.seek(PAGE + 5)
            stream.write(b"?")
        with pytest.raises(IndexCorruptError, match="page 1 "):
            index.verify()

    @pytest.mark.parametrize("keep", [0, 1, 40, PAGE, 3 * PAGE, 3 * PAGE + 17, -PAGE, -1])
    def test_torn_is_an_error(self, lab: Lab, keep: int) -> None:
        lab.segment.write_bytes(lab.segment.read_bytes()[:keep])
        with pytest.raises(IndexCorruptError, match=lab.segment.name):
            lab.answers()

    def test_longer_than_written_is_an_error(self, lab: Lab) -> None:
        lab.segment.write_bytes(lab.segment.read_bytes() + b"\0")
        with pytest.raises(IndexCorruptError):
            lab.answers()

    def test_missing_is_an_error(self, lab: Lab) -> None:
        lab.segment.unlink()
        with pytest.raises(IndexCorruptError, match="missing"):
            lab.answers()

    def test_another_whole_segment_in_its_place_is_an_error(self, lab: Lab, tmp_path: Path) -> None:
        other = tmp_path / "other"
        other.mkdir()
        shutil.copy(Lab(other).segment, lab.segment)
        with pytest.raises(IndexCorruptError):
            lab.answers()

    def test_of_an_unknown_version_says_so(self, lab: Lab) -> None:
        content = bytearray(lab.segment.read_bytes())
        digest, length, _, magic = TRAILER.unpack(content[-TRAILER.size :])
        content[-TRAILER.size :] = TRAILER.pack(digest, length, 2, magic)
        lab.segment.write_bytes(content)
        with pytest.raises(UnknownVersionError, match="version 2"):
            lab.answers()

    @settings(max_examples=50, deadline=None)
    @given(tail=st.binary(max_size=200), keep=st.integers(0, 3 * PAGE))
    def test_any_bytes_are_an_error_and_never_anything_else(self, sound: Lab, tail: bytes, keep: int) -> None:
        before = sound.segment.read_bytes()
        try:
            sound.segment.write_bytes(before[:keep] + tail)
            with pytest.raises(IndexUnusableError):
                sound.answers()
        finally:
            sound.segment.write_bytes(before)

    def test_a_footer_that_lies_with_a_right_checksum_is_an_error(self, lab: Lab) -> None:
        content = lab.segment.read_bytes()
        _, length, version, magic = TRAILER.unpack(content[-TRAILER.size :])
        footer = content[-TRAILER.size - length : -TRAILER.size]
        for wrong in (
            b"[]",
            b"{}",
            footer.replace(b'"rows": 1260', b'"rows": 9999'),
            footer.replace(b'"tail"', b'"tale"'),
        ):
            digest = hashlib.sha256(wrong)
            trailer = TRAILER.pack(digest.digest(), len(wrong), version, magic)
            forged = content[: -TRAILER.size - length] + wrong + trailer
            lab.segment.write_bytes(forged)
            manifest = lab.manifest.read_bytes()
            body = manifest[:-65].replace(hashlib.sha256(footer).hexdigest().encode(), digest.hexdigest().encode())
            body = body.replace(f'"size": {len(content)}'.encode(), f'"size": {len(forged)}'.encode())
            lab.manifest.write_bytes(body + hashlib.sha256(body).hexdigest().encode() + b"\n")
            with pytest.raises(IndexCorruptError, match=lab.segment.name):
                lab.answers()
            lab.manifest.write_bytes(manifest)


class TestManifest:
    def test_any_flipped_byte_is_an_error(self, sound: Lab) -> None:
        for position in range(sound.manifest.stat().st_size):
            before = altered(sound, sound.manifest, position, 0x01)
            try:
                with pytest.raises(IndexUnusableError, match="MANIFEST"):
                    Index.open(sound.index, KEYS)
            finally:
                sound.manifest.write_bytes(before)

    @pytest.mark.parametrize("keep", [0, 1, 60, -66, -1])
    def test_torn_is_an_error(self, lab: Lab, keep: int) -> None:
        lab.manifest.write_bytes(lab.manifest.read_bytes()[:keep])
        with pytest.raises(IndexCorruptError, match="MANIFEST"):
            lab.answers()

    def test_missing_beside_segments_is_an_error(self, lab: Lab) -> None:
        lab.manifest.unlink()
        with pytest.raises(IndexCorruptError, match="manifest is missing"):
            lab.answers()

    def test_that_vanishes_under_an_open_index_is_an_error(self, lab: Lab) -> None:
        index = Index.open(lab.index, KEYS)
        shutil.rmtree(lab.index)
        with pytest.raises(IndexCorruptError, match="vanished"):
            index.find_many(QUERIES)
        with pytest.raises(IndexCorruptError, match="vanished"):
            index.coverage()

    def test_of_an_unknown_version_says_so(self, lab: Lab) -> None:
        body = lab.manifest.read_bytes()[:-65].replace(b'"version": 1', b'"version": 7')
        lab.manifest.write_bytes(body + hashlib.sha256(body).hexdigest().encode() + b"\n")
        with pytest.raises(UnknownVersionError, match="version 7"):
            lab.answers()

    @pytest.mark.parametrize("line", [b"[]", b"{}", b'{"source": 1}', b"no json"])
    def test_with_a_right_checksum_and_wrong_content_is_an_error(self, lab: Lab, line: bytes) -> None:
        body = lab.manifest.read_bytes()[:-65].splitlines()[0] + b"\n" + line + b"\n"
        lab.manifest.write_bytes(body + hashlib.sha256(body).hexdigest().encode() + b"\n")
        with pytest.raises(IndexCorruptError, match="MANIFEST"):
            lab.answers()


class TestRootKey:
    def test_another_one_is_refused_by_name(self, lab: Lab) -> None:
        with pytest.raises(WrongKeyError, match="root key"):
            Index.open(lab.index, OTHER_KEYS)
        assert Index.open(lab.index, KEYS).find_many(QUERIES) == lab.right


class TestMending:
    def test_indexing_the_same_file_again_replaces_a_broken_segment(self, lab: Lab) -> None:
        altered(lab, lab.segment, PAGE, 0x80)
        assert lab.ingest() is FileStatus.REPAIRED
        assert lab.answers() == lab.right
        assert lab.ingest() is FileStatus.ALREADY_INDEXED

    def test_or_a_missing_one(self, lab: Lab) -> None:
        lab.segment.unlink()
        assert lab.ingest() is FileStatus.REPAIRED
        assert lab.answers() == lab.right

    def test_a_broken_manifest_is_never_built_upon(self, lab: Lab) -> None:
        lab.manifest.write_bytes(b"")
        with pytest.raises(IndexCorruptError, match="delete the index directory"):
            lab.ingest()

    def test_segments_without_a_manifest_are_never_taken_for_a_beginning(self, lab: Lab) -> None:
        lab.manifest.unlink()
        with pytest.raises(IndexCorruptError, match="manifest is missing"):
            lab.ingest()

    def test_a_directory_that_can_not_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(IndexWriteError, match="file"):
            ingest([], mapping(), FORMATS, tmp_path / "file" / "index", KEYS, NOW, read=reader())


def test_the_trailer_is_what_the_record_of_the_format_says() -> None:
    assert TRAILER.size == struct.calcsize("<32sII8s") == 48

"""A broken index is an error that names the file; it never looks like "no match"."""

from __future__ import annotations

import hashlib
import shutil
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.index import Index, IndexCorruptError, IndexUnusableError, Query, UnknownVersionError, WrongKeyError
from agent.index.layout import MANIFEST, PAGE
from agent.index.manifest import Commit, Manifest, encode_commit, encode_header
from agent.index.segment_format import TRAILER
from agent.legs import Leg
from tests.index.built import BuiltIndex
from tests.index.calls import ALICE, CAROL, KEYS, NOON, OTHER_KEYS, TOLL_FREE, Call, alike, at

CALLS = [Call(f"+1312555{number:04d}", earliest=NOON + number) for number in range(1200)]
CALLS += [Call(ALICE, earliest=NOON + number, span=1000) for number in range(20)]
CALLS += [Call(TOLL_FREE, CAROL, earliest=NOON + number) for number in range(20)]
ASKED = [ALICE, CAROL, TOLL_FREE, *(call.called_in for call in CALLS[:1200:40])]
QUERIES = [Query(number, None, at(NOON), at(NOON + 2000)) for number in 2 * ASKED]  # type: ignore[arg-type]
PAGES = 1 + 7 + 1
"""Of the segment, before its footer."""


class Lab:
    """An index of one segment, and its files by name."""

    def __init__(self, directory: Path) -> None:
        self.built = BuiltIndex(directory / "index")
        (entry,) = self.built.put(CALLS)
        self.index = self.built.directory
        self.segment = self.built.path(entry)
        self.manifest = self.index / MANIFEST
        self.right = self.answers()

    def answers(self) -> list[list[Leg]]:
        """What is found in columns."""
        return [alike(legs) for legs in Index.open(self.index, KEYS).find_many(QUERIES)]

    def answers_one_by_one(self) -> list[list[Leg]]:
        """What is found by one search after the other."""
        index = Index.open(self.index, KEYS)
        return [alike(index.find(q.called, q.calling, q.earliest, q.latest)) for q in QUERIES]

    def name_again(self, forged: bytes) -> None:
        """Put another segment in place of the segment, and name it in the manifest as if it had been written so."""
        digest, _, _, _, _ = TRAILER.unpack(forged[-TRAILER.size :])
        self.segment.write_bytes(forged)
        (entry,) = self.built.manifest.segments.values()
        named = replace(entry, size=len(forged), sha256=digest.hex())
        header = encode_header(Manifest(KEYS.check.hex()))
        self.manifest.write_bytes(header + encode_commit(Commit(add_segments=(named,))))


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

    def test_every_byte_of_the_first_page_and_of_the_footer_is_vouched_for_when_it_is_opened(self, sound: Lab) -> None:
        size = sound.segment.stat().st_size
        for position in [*range(0, PAGE, 61), *range(PAGES * PAGE, size)]:
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
        altered(lab, lab.segment, PAGE + 5, 1)
        with pytest.raises(IndexCorruptError, match="page 0 "):
            index.verify()

    def test_pages_that_changed_places_are_found_by_whoever_reads_them(self, lab: Lab) -> None:
        content = lab.segment.read_bytes()
        swapped = (
            content[: 2 * PAGE] + content[3 * PAGE : 4 * PAGE] + content[2 * PAGE : 3 * PAGE] + content[4 * PAGE :]
        )
        lab.segment.write_bytes(swapped)
        with pytest.raises(IndexCorruptError, match=r"page [12] "):
            lab.answers()

    def test_only_what_is_read_is_checked_before_an_answer(self, lab: Lab) -> None:
        altered(lab, lab.segment, PAGE * (PAGES - 1) + 5, 1)  # translated numbers
        index = Index.open(lab.index, KEYS)
        assert index.find(ALICE, None, at(NOON), at(NOON + 2000))
        with pytest.raises(IndexCorruptError, match=lab.segment.name):
            index.find(CAROL, None, at(NOON), at(NOON + 2000))

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
        digest, text, length, _, magic = TRAILER.unpack(content[-TRAILER.size :])
        content[-TRAILER.size :] = TRAILER.pack(digest, text, length, 7, magic)
        lab.segment.write_bytes(content)
        with pytest.raises(UnknownVersionError, match="version 7"):
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

    @pytest.mark.parametrize(
        ("said", "lie"),
        [
            (b'"rows": 1260', b'"rows": 9999'),
            (b'"rows": 1260', b'"rows": 1259'),
            (b'"pages": 7', b'"pages": 6'),
            (b'"rest": 5', b'"rest": 9'),
            (b'"rest": 5', b'"rest": 6'),
            (b'"translated": 20', b'"translated": 9999'),
            (b'"ingress_bits": 1', b'"ingress_bits": 99'),
            (b'"bucket_bits": 8', b'"bucket_bits": 9'),
            (b'"bucket_bits": 8', b'"bucket_bits": 64'),
            (b'"crowded": {}', b'"crowded": {"3": 255}'),
            (b'"salt": 0', b'"salt": -1'),
            (b'"day": 20779', b'"day": 20780'),
            (b'"source": "acc"', b'"source": "sbc"'),
            (b'"secret"', b'"sceret"'),
            (b"{", b"["),
        ],
    )
    def test_a_footer_that_lies_with_a_right_checksum_is_an_error(self, lab: Lab, said: bytes, lie: bytes) -> None:
        content = lab.segment.read_bytes()
        _, text_length, length, version, magic = TRAILER.unpack(content[-TRAILER.size :])
        footer = content[-TRAILER.size - length : -TRAILER.size]
        text = footer[-text_length:]
        assert said in text, text
        forged_text = text.replace(said, lie, 1)
        wrong = footer[:-text_length] + forged_text
        trailer = TRAILER.pack(hashlib.sha256(wrong).digest(), len(forged_text), len(wrong), version, magic)
        lab.name_again(content[: -TRAILER.size - length] + wrong + trailer)
        with pytest.raises(IndexCorruptError, match=lab.segment.name):
            lab.answers()

    def test_forging_without_a_lie_is_no_error(self, lab: Lab) -> None:
        lab.name_again(lab.segment.read_bytes())
        assert lab.answers() == lab.right


class TestManifest:
    def test_any_flipped_byte_is_an_error(self, sound: Lab) -> None:
        for position in range(sound.manifest.stat().st_size - 1):
            before = altered(sound, sound.manifest, position, 0x01)
            try:
                with pytest.raises(IndexUnusableError, match="MANIFEST"):
                    Index.open(sound.index, KEYS)
            finally:
                sound.manifest.write_bytes(before)

    @pytest.mark.parametrize("keep", [0, 1, 60])
    def test_whose_first_line_is_torn_is_an_error(self, lab: Lab, keep: int) -> None:
        lab.manifest.write_bytes(lab.manifest.read_bytes()[:keep])
        with pytest.raises(IndexCorruptError, match="MANIFEST"):
            lab.answers()

    def test_a_last_line_that_breaks_off_was_never_committed(self, lab: Lab) -> None:
        lab.manifest.write_bytes(lab.manifest.read_bytes() + b'1234abcd {"add_seg')
        assert lab.answers() == lab.right

    def test_missing_beside_segments_is_an_error(self, lab: Lab) -> None:
        lab.manifest.unlink()
        with pytest.raises(IndexCorruptError, match="manifest is missing"):
            lab.answers()

    def test_that_vanishes_under_an_open_index_is_an_error(self, lab: Lab) -> None:
        index = Index.open(lab.index, KEYS)
        index.refresh()
        shutil.rmtree(lab.index)
        index._follower.look_again = 0
        with pytest.raises(IndexCorruptError, match="vanished"):
            index.find_many(QUERIES)
        with pytest.raises(IndexCorruptError, match="vanished"):
            index.coverage()

    def test_of_an_unknown_version_says_so(self, lab: Lab) -> None:
        first, _, rest = lab.manifest.read_bytes().partition(b"\n")
        text = first[9:].replace(b'"version":2', b'"version":7')
        lab.manifest.write_bytes(b"%08x %b\n%b" % (zlib.crc32(text), text, rest))
        with pytest.raises(UnknownVersionError, match="version 7"):
            lab.answers()

    def test_of_the_first_version_says_so(self, lab: Lab) -> None:
        lab.manifest.write_bytes(b'{"format": "hopback index", "version": 1}\n')
        with pytest.raises(UnknownVersionError, match="version 1"):
            lab.answers()

    @pytest.mark.parametrize(
        "line", [b"[]", b'{"add_segments":[{"name":1}]}', b'{"remove_segments":["none"]}', b"no json"]
    )
    def test_with_a_right_checksum_and_wrong_content_is_an_error(self, lab: Lab, line: bytes) -> None:
        with lab.manifest.open("ab") as stream:
            stream.write(b"%08x %b\n" % (zlib.crc32(line), line))
        with pytest.raises(IndexCorruptError, match="MANIFEST"):
            lab.answers()


class TestRootKey:
    def test_another_one_is_refused_by_name(self, lab: Lab) -> None:
        with pytest.raises(WrongKeyError, match="root key"):
            Index.open(lab.index, OTHER_KEYS)
        assert lab.answers() == lab.right


def test_the_trailer_is_what_the_record_of_the_format_says() -> None:
    assert TRAILER.size == struct.calcsize("<32sIQI8s") == 56

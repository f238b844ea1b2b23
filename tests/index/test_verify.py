"""`verify` reads all of an index: what is sound is called sound, and whatever is broken is found and named."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.index import pages, segment_format
from agent.index.build import contents
from agent.index.compaction import merged
from agent.index.errors import UnknownVersionError, WrongKeyError
from agent.index.files import publish
from agent.index.layout import DAY_MS, DAYS, GENERATION, LOCK, MANIFEST, PAGE, QUARANTINE, REJECTS, SEGMENTS
from agent.index.manifest import Commit, encode_commit
from agent.index.quarantine import set_aside
from agent.index.rows import Routes, rows_of
from agent.index.segment_format import Content
from agent.index.snapshot import Follower
from agent.index.writer import IndexWriter
from agent.ingest import ingest
from agent.verify import Verdict, exit_code, read_again, verify
from tests.index.built import BuiltIndex
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
    batch_of,
    mapping,
    reader,
    write,
)

TODAY = [Call(f"+1312555{number:04d}", earliest=NOON + number) for number in range(500)]
TODAY += [Call(TOLL_FREE, CAROL, earliest=NOON + number) for number in range(9)]
BEFORE = [Call(ALICE, earliest=NOON - DAY_MS + number) for number in range(20)]


class Lab:
    """An index of two source files, of which one has a bad row and rows of two days."""

    def __init__(self, directory: Path) -> None:
        self.index = directory / "index"
        self.read(write(directory / "a.txt", [*TODAY, *BEFORE, "bad one"]))
        self.read(write(directory / "b.txt", [replace(call, earliest=call.earliest + 7000) for call in BEFORE]))
        self.segments = sorted((self.index / SEGMENTS).iterdir())

    def read(self, path: Path) -> None:
        ingest([path], mapping(), FORMATS, self.index, KEYS, NOW, read=reader(500), files=UNSYNCED)

    def verdict(self) -> Verdict:
        return verify(self.index, KEYS)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def lab(tmp_path: Path, sound: Lab) -> Lab:
    shutil.copytree(sound.index.parent, tmp_path, dirs_exist_ok=True)
    copy = object.__new__(Lab)
    copy.index = tmp_path / "index"
    copy.segments = sorted((copy.index / SEGMENTS).iterdir())
    return copy


def flip(path: Path, position: int, mask: int = 1) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= mask
    path.write_bytes(content)


def only(verdict: Verdict) -> tuple[str, str]:
    (problem,) = verdict.problems
    assert not verdict.is_sound
    assert exit_code(verdict) == 1
    return problem.file, problem.what


class TestASoundIndex:
    def test_is_called_sound_and_told_how_much_was_read(self, sound: Lab) -> None:
        verdict = sound.verdict()
        assert (verdict.problems, verdict.notes) == ((), ())
        assert (verdict.segments, verdict.days) == (3, 2)
        assert verdict.rows == len(TODAY) + 9 + 2 * len(BEFORE)
        assert verdict.bytes == sum(path.stat().st_size for path in sound.segments)
        assert exit_code(verdict) == 0

    def test_is_read_without_changing_a_byte_of_it(self, lab: Lab) -> None:
        before = {path: path.read_bytes() for path in lab.index.rglob("*") if path.is_file()}
        lab.verdict()
        assert {path: path.read_bytes() for path in lab.index.rglob("*") if path.is_file()} == before

    def test_is_read_while_another_process_writes(self, lab: Lab) -> None:
        with IndexWriter(lab.index, KEYS, UNSYNCED):
            assert lab.verdict().is_sound

    def test_tells_how_far_it_is(self, sound: Lab) -> None:
        told: list[tuple[int, int]] = []
        verdict = verify(sound.index, KEYS, lambda done, of: told.append((done, of)))
        assert len(told) == 3
        assert told[-1] == (verdict.bytes, verdict.bytes)

    def test_may_have_segments_merged_while_it_is_read(self, lab: Lab) -> None:
        """What is gone because something else took its place is not missing, and what took its place is read."""
        follower = Follower(lab.index, KEYS)
        follower.refresh()
        by_day = follower.state.by_day
        (pair,) = [segments for segments in by_day.values() if len(segments) == 2]

        def merge(done: int, of: int) -> None:
            if (lab.index / SEGMENTS / pair[1].entry.name).exists() and done < of:
                with IndexWriter(lab.index, KEYS, UNSYNCED) as writer:
                    entry = writer.write_hidden(merged(pair, writer.secrets))
                    writer.show([entry])
                    gone = tuple(segment.entry.name for segment in pair)
                    writer.commit(Commit(remove_segments=gone, add_segments=(entry,)))

        verdict = verify(lab.index, KEYS, merge)
        assert verdict.problems == ()
        assert not (lab.index / SEGMENTS / pair[1].entry.name).exists()
        assert verdict.segments >= 2


class TestWhatIsNotAnIndexWithTheseKeys:
    def test_another_root_key_is_refused(self, sound: Lab) -> None:
        with pytest.raises(WrongKeyError):
            verify(sound.index, OTHER_KEYS)

    def test_another_version_is_refused(self, lab: Lab) -> None:
        (lab.index / MANIFEST).write_text('{"format": "hopback index", "version": 1}\n')
        with pytest.raises(UnknownVersionError):
            lab.verdict()

    @pytest.mark.parametrize("there", [True, False])
    def test_a_directory_without_an_index_is_not_called_sound(self, tmp_path: Path, there: bool) -> None:
        directory = tmp_path / "index"
        if there:
            directory.mkdir()
        assert only(verify(directory, KEYS)) == (MANIFEST, "missing: there is no index in this directory")

    def test_segments_without_a_manifest_are_broken(self, lab: Lab) -> None:
        (lab.index / MANIFEST).unlink()
        assert only(lab.verdict()) == (MANIFEST, "missing, though there are segments")


class TestTheManifest:
    def test_is_broken_by_any_flipped_bit_and_the_line_is_named(self, lab: Lab) -> None:
        path = lab.index / MANIFEST
        content = path.read_bytes()
        begins = [0, *(match.end() for match in re.finditer(b"\n", content))][:-1]
        for number, (begin, end) in enumerate(zip(begins, [*begins[1:], len(content)], strict=True), 1):
            for position in range(begin, end, 37):
                flip(path, position)
                named = only(lab.verdict())
                assert named[0] == MANIFEST
                assert named[1].startswith((f"line {number} of", f"line {number + 1} of"))
                path.write_bytes(content)

    def test_may_have_a_last_line_that_breaks_off(self, lab: Lab) -> None:
        with (lab.index / MANIFEST).open("ab") as log:
            log.write(b'0badcafe {"add_f')
        verdict = lab.verdict()
        assert verdict.is_sound
        (note,) = verdict.notes
        assert (note.file, "16 bytes" in note.what) == (MANIFEST, True)

    def test_that_lost_its_last_commits_is_broken(self, lab: Lab) -> None:
        path = lab.index / MANIFEST
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:-1]))
        verdict = lab.verdict()
        assert only(verdict) == (MANIFEST, "its last 1 commits are gone: it ends with number 1, but 2 were made")
        assert any(note.file.startswith(SEGMENTS) for note in verdict.notes)

    def test_whose_last_line_lost_its_end_is_broken_and_not_only_torn(self, lab: Lab) -> None:
        flip(lab.index / MANIFEST, -1)
        assert "its last 1 commits are gone" in only(lab.verdict())[1]

    def test_tells_what_is_broken_besides_before_a_line_that_is(self, lab: Lab) -> None:
        (first, *_) = [path for path in lab.segments if "-g00000001-" in path.name]
        flip(first, PAGE + 5)
        path = lab.index / MANIFEST
        flip(path, path.stat().st_size - 3)
        files = {problem.file for problem in lab.verdict().problems}
        assert files == {MANIFEST, f"{SEGMENTS}/{first.name}"}

    @pytest.mark.parametrize("content", [None, b"\x01"])
    def test_needs_no_word_for_readers_to_be_sound(self, lab: Lab, content: bytes | None) -> None:
        (lab.index / GENERATION).unlink()
        if content is not None:
            (lab.index / GENERATION).write_bytes(content)
        verdict = lab.verdict()
        assert verdict.is_sound
        assert [note.file for note in verdict.notes] == [GENERATION]


class TestASegment:
    def test_is_broken_by_a_flipped_bit_wherever_it_is(self, lab: Lab) -> None:
        path = lab.segments[-1]
        content = path.read_bytes()
        for position in [*range(0, len(content), 997), *range(len(content) - 200, len(content), 23)]:
            flip(path, position, 0x40)
            assert only(lab.verdict())[0] == f"{SEGMENTS}/{path.name}"
            path.write_bytes(content)

    @pytest.mark.parametrize("size", [0, 1, PAGE, -1])
    def test_is_broken_when_it_is_torn(self, lab: Lab, size: int) -> None:
        path = lab.segments[0]
        path.write_bytes(path.read_bytes()[:size])
        assert only(lab.verdict())[0] == f"{SEGMENTS}/{path.name}"

    def test_that_is_missing_is_told_with_what_to_read_again(self, lab: Lab) -> None:
        path = lab.segments[-1]
        path.unlink()
        verdict = lab.verdict()
        assert only(verdict) == (f"{SEGMENTS}/{path.name}", "missing")
        assert read_again(verdict.problems) == {"acc": ["a.txt"]}
        (problem,) = verdict.problems
        assert problem.earliest is not None
        assert (problem.source, problem.earliest.date()) == ("acc", NOW.date())

    def test_is_told_with_its_source_files_whatever_else_is_sound(self, lab: Lab) -> None:
        for path in lab.segments:
            flip(path, PAGE + 11)
        verdict = lab.verdict()
        assert [problem.file for problem in verdict.problems] == [f"{SEGMENTS}/{path.name}" for path in lab.segments]
        assert read_again(verdict.problems) == {"acc": ["a.txt", "b.txt"]}
        assert verdict.segments == 0

    def test_that_the_disk_refuses_is_named_and_does_not_end_the_search(self, lab: Lab) -> None:
        path = lab.segments[0]
        path.unlink()
        path.mkdir()
        file, what = only(lab.verdict())
        assert file == f"{SEGMENTS}/{path.name}"
        assert what.startswith("can't be read")

    def test_of_another_index_is_not_taken_for_this_ones(self, lab: Lab, tmp_path: Path) -> None:
        other = BuiltIndex(tmp_path / "other")
        (entry,) = other.put(TODAY)
        shutil.copy(other.path(entry), lab.segments[-1])
        assert only(lab.verdict())[0] == f"{SEGMENTS}/{lab.segments[-1].name}"


def spoilt_rows(content: Content) -> Content:
    """Rows that are not in the order of their keys."""
    order = np.arange(len(content.rows))
    order[[3, 4]] = [4, 3]
    rows = content.rows
    columns = (getattr(rows, name)[order] for name in ("key", "tail", "codes", "calling", "call_ref"))
    return replace(content, rows=type(rows)(*columns))


def spoilt_codes(content: Content) -> Content:
    return replace(content, rows=replace(content.rows, codes=content.rows.codes + np.uint64(1 << 20)))


def spoilt_latest(content: Content) -> Content:
    return replace(content, latest_ms=content.latest_ms + 1)


def spoilt_longest(content: Content) -> Content:
    return replace(content, longest_ms=content.longest_ms + 1)


def spoilt_dictionary(content: Content) -> Content:
    return replace(content, sealed=content.sealed[:-1] + bytes([content.sealed[-1] ^ 1]))


def spoilt_positions(content: Content) -> Content:
    return replace(content, translated_at=content.translated_at + np.uint32(1))


def spoilt_numbers(content: Content) -> Content:
    return replace(content, translated=content.translated ^ np.uint8(1))


def spoilt_day(content: Content) -> Content:
    """Times of the next day."""
    key = content.rows.key + np.uint64(DAY_MS)
    earliest, latest = content.earliest_ms + DAY_MS, content.latest_ms + DAY_MS
    return replace(content, rows=replace(content.rows, key=key), earliest_ms=earliest, latest_ms=latest)


class TestASegmentWhoseChecksumsAllFit:
    """A fault of the program that wrote it, or of its memory, is found as well as one of the disk."""

    def put(self, built: BuiltIndex, content: Content) -> None:
        entry, pieces = segment_format.encode("20261122-g00000001-0000.seg", content, salt=7)
        publish(UNSYNCED, built.directory / SEGMENTS / entry.name, pieces)
        built.commit([entry])

    def content(self, built: BuiltIndex) -> Content:
        routes = Routes()
        rows = rows_of(batch_of(list(enumerate(TODAY, 1))), KEYS, routes)
        built.secrets.create(NOON // DAY_MS)
        (content,) = contents(rows, routes.all(), "acc", built.secrets)
        return content

    def test_is_sound_as_it_should_be(self, tmp_path: Path) -> None:
        built = BuiltIndex(tmp_path / "index")
        self.put(built, self.content(built))
        assert verify(built.directory, KEYS).is_sound

    @pytest.mark.parametrize(
        ("spoil", "what"),
        [
            (spoilt_rows, "its keys are not in order"),
            (spoilt_codes, "a row contradicts its dictionary"),
            (spoilt_latest, "its times are not those of its rows"),
            (spoilt_longest, "its times are not those of its rows"),
            (spoilt_dictionary, "its dictionary can't be read"),
            (spoilt_positions, "its translated numbers are not those of its rows"),
            (spoilt_numbers, "a sealed number was altered or belongs to another day"),
            (spoilt_day, "the manifest's times of it are not those of its day"),
        ],
        ids=lambda value: getattr(value, "__name__", ""),
    )
    def test_is_broken_all_the_same(self, tmp_path: Path, spoil: object, what: str) -> None:
        built = BuiltIndex(tmp_path / "index")
        self.put(built, spoil(self.content(built)))  # type: ignore[operator]
        assert what in only(verify(built.directory, KEYS))[1]

    def test_is_broken_when_its_histogram_counts_otherwise(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        built = BuiltIndex(tmp_path / "index")
        content = self.content(built)
        counted = pages.histogram

        def shifted(key: np.ndarray, bits: int) -> np.ndarray:
            return np.roll(counted(key, bits), 1)

        with monkeypatch.context() as patch:
            patch.setattr(pages, "histogram", shifted)
            self.put(built, content)
        assert only(verify(built.directory, KEYS))[1] == "its histogram does not count its rows"


class TestADay:
    def secret(self, lab: Lab) -> Path:
        return sorted((lab.index / DAYS).iterdir())[0]

    def test_without_its_secret_is_broken_and_named_once(self, lab: Lab) -> None:
        path = self.secret(lab)
        path.unlink()
        verdict = lab.verdict()
        assert only(verdict) == (f"{DAYS}/{path.name}", "missing: the secret of that day was destroyed")
        assert read_again(verdict.problems) == {"acc": ["a.txt", "b.txt"]}

    @pytest.mark.parametrize("position", [0, 25, 60, -1])
    def test_with_an_altered_secret_is_broken(self, lab: Lab, position: int) -> None:
        flip(self.secret(lab), position)
        assert only(lab.verdict())[0] == f"{DAYS}/{self.secret(lab).name}"

    def test_with_the_secret_of_another_index_is_broken(self, lab: Lab, tmp_path: Path) -> None:
        other = BuiltIndex(tmp_path / "other")
        other.put(BEFORE)
        (stranger,) = (other.directory / DAYS).iterdir()
        shutil.copy(stranger, self.secret(lab))
        verdict = lab.verdict()
        assert {problem.what for problem in verdict.problems} == {
            "another secret than the one under which rows were written"
        }

    def test_without_its_secret_has_its_pages_checked_all_the_same(self, lab: Lab) -> None:
        self.secret(lab).unlink()
        flip(lab.segments[0], PAGE + 100)
        files = [problem.file for problem in lab.verdict().problems]
        assert files == [f"{DAYS}/{self.secret_name(lab)}", f"{SEGMENTS}/{lab.segments[0].name}"]

    def secret_name(self, lab: Lab) -> str:
        return f"{lab.segments[0].name[:8]}.key"


class TestWhatLiesBeside:
    @pytest.mark.parametrize(
        "name",
        [
            f"{SEGMENTS}/20261122-g00000009-0001.seg",
            f"{SEGMENTS}/.new-20261122-g00000009-0001.seg",
            f"{REJECTS}/g00000009-f00000009.jsonl",
            f"{QUARANTINE}/20261122-g00000009-0001.seg",
            f"{DAYS}/20260101.key",
            ".new-MANIFEST",
        ],
    )
    def test_what_nobody_names_is_told_and_breaks_nothing(self, lab: Lab, name: str) -> None:
        (lab.index / name).write_bytes(b"left")
        verdict = lab.verdict()
        assert verdict.is_sound
        assert [note.file for note in verdict.notes] == [name]

    def test_what_somebody_else_put_there_is_none_of_its_business(self, lab: Lab) -> None:
        (lab.index / "README").write_text("hands off")
        assert (lab.index / LOCK).exists()
        assert lab.verdict().notes == ()

    def test_rejected_rows_that_are_missing_are_told(self, lab: Lab) -> None:
        (path,) = (lab.index / REJECTS).iterdir()
        path.unlink()
        verdict = lab.verdict()
        assert only(verdict) == (f"{REJECTS}/{path.name}", "missing")
        assert read_again(verdict.problems) == {"acc": ["a.txt"]}

    @pytest.mark.parametrize("spoil", [lambda text: text[:-1], lambda text: b"?" + text, lambda _: b'{"row": 1}\n'])
    def test_rejected_rows_that_nobody_can_read_are_told(self, lab: Lab, spoil: object) -> None:
        (path,) = (lab.index / REJECTS).iterdir()
        path.write_bytes(spoil(path.read_bytes()))  # type: ignore[operator]
        assert only(lab.verdict()) == (f"{REJECTS}/{path.name}", "line 1 is torn or altered")


class TestWhatWasPutAside:
    def test_stays_named_until_its_files_are_read_again(self, lab: Lab) -> None:
        path = lab.segments[-1]
        flip(path, PAGE + 3)
        with IndexWriter(lab.index, KEYS, UNSYNCED) as writer:
            entry = writer.manifest.segments[path.name]
            set_aside(writer, [(entry, "altered: page 0 does not fit its checksum")])
        verdict = lab.verdict()
        file, what = only(verdict)
        assert file == f"{QUARANTINE}/{path.name}"
        assert "put aside (altered: page 0" in what
        assert read_again(verdict.problems) == {"acc": ["a.txt"]}
        lab.read(lab.index.parent / "a.txt")
        assert lab.verdict().is_sound

    def test_a_commit_that_takes_out_what_is_not_there_breaks_the_manifest(self, lab: Lab) -> None:
        with (lab.index / MANIFEST).open("ab") as log:
            log.write(encode_commit(Commit(remove_segments=("nonsense.seg",))))
        assert "takes out 'nonsense.seg', which is not there" in only(lab.verdict())[1]

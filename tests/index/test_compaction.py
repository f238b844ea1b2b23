"""Few segments however many files: what is merged, that answers stay the same, and that equal rows become one."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import pytest

from agent.index import Index
from agent.index.compaction import ALIKE, worth_merging
from agent.index.errors import IndexBusyError
from agent.index.layout import DAY_MS
from agent.index.manifest import SegmentEntry
from agent.index.writer import IndexWriter
from agent.ingest import ingest
from agent.legs import Leg
from agent.maintenance import Maintained, maintain
from tests.index.calls import (
    ALICE,
    CAROL,
    FORMATS,
    KEYS,
    MIDNIGHT,
    NOON,
    NOW,
    TOLL_FREE,
    UNSYNCED,
    Call,
    at,
    mapping,
    reader,
    write,
)

TODAY = NOON // DAY_MS
WEEK = timedelta(days=7)


def entry(rows: int, name: str = "", day: int = TODAY, source: str = "acc") -> SegmentEntry:
    return SegmentEntry(name or f"{source}{day}{rows}", rows * 21, "", source, day, rows, day * DAY_MS, day * DAY_MS, 0)


def names(entries: list[SegmentEntry], today: int = TODAY, most_rows: int = 10_000) -> list[list[str]]:
    return [[segment.name for segment in group] for group in worth_merging(entries, today, most_rows)]


class TestChoice:
    def test_a_few_segments_of_the_present_day_are_left_alone(self) -> None:
        assert names([entry(100, f"s{n}") for n in range(ALIKE - 1)]) == []

    def test_several_of_about_one_size_are_merged_with_all_that_are_smaller(self) -> None:
        alike = [entry(100 + n, f"s{n}") for n in range(ALIKE)]
        assert names([*alike, entry(5, "small"), entry(9000, "large")]) == [["small", "s0", "s1", "s2", "s3"]]

    def test_a_day_that_is_over_gets_one_segment(self) -> None:
        past = [entry(100, "a", TODAY - 2), entry(90, "b", TODAY - 2)]
        assert names(past) == [["b", "a"]]
        assert names([entry(100, "a", TODAY - 2)]) == []

    def test_a_few_latecomers_do_not_make_a_large_day_be_rewritten(self) -> None:
        assert names([entry(5000, "day", TODAY - 9), entry(3, "late", TODAY - 9)]) == []
        late = [entry(3, f"late{n}", TODAY - 9) for n in range(ALIKE)]
        assert names([entry(5000, "day", TODAY - 9), *late]) == [[*(f"late{n}" for n in range(ALIKE)), "day"]]

    def test_days_and_sources_are_never_mixed(self) -> None:
        entries = [entry(100, f"{s}{d}{n}", TODAY - d, s) for s in "ab" for d in (3, 4) for n in (0, 1)]
        assert names(entries) == [["b30", "b31"], ["a30", "a31"], ["b40", "b41"], ["a40", "a41"]]

    def test_no_merge_takes_more_rows_than_there_is_room_for(self) -> None:
        past = [entry(4000, f"s{n}", TODAY - 2) for n in range(3)]
        assert names(past) == [["s0", "s1"]]

    def test_each_row_is_rewritten_a_few_times_however_many_files_come(self) -> None:
        segments: list[SegmentEntry] = []
        written = 0
        for number in range(1000):
            segments.append(entry(100, f"f{number}"))
            for group in worth_merging(segments, TODAY, 10**9):
                merged = entry(sum(part.rows for part in group), f"m{number}")
                segments = [*(part for part in segments if part not in group), merged]
                written += merged.rows
            assert len(segments) <= 3 * 7
        assert written <= 100 * 1000 * 8


class Shop:
    """An index that many small files come into."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.index = directory / "index"
        self.files = 0

    def put(self, calls: list[Call]) -> None:
        self.files += 1
        path = write(self.directory / f"{self.files}.txt", calls)
        report = ingest([path], mapping(), FORMATS, self.index, KEYS, NOW, read=reader(50), files=UNSYNCED)
        assert not report.failed

    def maintain(self, **more: object) -> Maintained:
        return maintain(self.index, KEYS, NOW, WEEK, files=UNSYNCED, **more)  # type: ignore[arg-type]

    def segments(self) -> int:
        return len(list((self.index / "segments").iterdir()))

    def answers(self) -> list[list[Leg]]:
        index = Index.open(self.index, KEYS)
        index.verify()
        found = [index.find(called, None, at(0), at(2 * NOON)) for called in (ALICE, CAROL, TOLL_FREE)]
        return [sorted((leg._replace(row=0) for leg in legs), key=repr) for legs in found]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def some_call(random_: random.Random) -> Call:
    translated = random_.random() < 0.2
    return Call(
        called_in=TOLL_FREE if translated else random_.choice([ALICE, CAROL]),
        called_out=ALICE if translated else None,
        earliest=MIDNIGHT - random_.randrange(3) * DAY_MS + random_.randrange(40),
        span=random_.choice([0, 0, 1000]),
        in_trunk=random_.choice(["TGIN1", "TGIN2", None]),
        out_trunk=random_.choice(["TGOUT1", "TGOUT2"]),
        call_id=random_.choice([None, "a", "b"]),
        disposition=random_.choice([None, "answered", "failed"]),
    )


class TestMerging:
    @pytest.mark.parametrize("seed", range(6))
    def test_changes_no_answer(self, shop: Shop, seed: int) -> None:
        random_ = random.Random(seed)
        for _ in range(9):
            shop.put([some_call(random_) for _ in range(random_.randrange(1, 40))])
        before, segments = shop.answers(), shop.segments()
        done = shop.maintain()
        assert done.merged > done.into > 0
        assert shop.segments() == segments - done.merged + done.into
        assert shop.answers() == before

    def test_leaves_a_row_that_came_twice_once(self, shop: Shop) -> None:
        calls = [Call(earliest=NOON + n, call_id=f"c{n}") for n in range(20)]
        for number in range(ALIKE):
            shop.put([*calls, Call(CAROL, earliest=NOON + 1000 + number)])
        shop.maintain()
        with IndexWriter(shop.index, KEYS) as writer:
            (segment,) = writer.manifest.segments.values()
        assert segment.rows == 20 + ALIKE
        assert segment.files == tuple(range(1, ALIKE + 1))

    def test_keeps_rows_that_differ_in_one_thing(self, shop: Shop) -> None:
        first = Call(earliest=NOON, call_id="x", disposition="answered")
        others = [
            Call(earliest=NOON, call_id="y", disposition="answered"),
            Call(earliest=NOON, call_id="x", disposition="failed"),
            Call(earliest=NOON, call_id="x", disposition="answered", span=1),
            Call(earliest=NOON, call_id="x", disposition="answered", in_trunk="TGIN2"),
            Call(earliest=NOON, call_id="x", disposition="answered", calling=CAROL),
            Call(called_in=TOLL_FREE, called_out=ALICE, earliest=NOON, call_id="x", disposition="answered"),
            Call(called_in=CAROL, called_out=ALICE, earliest=NOON, call_id="x", disposition="answered"),
        ]
        for other in others:
            shop.put([first, other])
        shop.maintain()
        assert shop.segments() == 1
        legs = Index.open(shop.index, KEYS).find(ALICE, CAROL, at(NOON), at(NOON))
        assert len(legs) == 1 + len(others)

    def test_waits_for_nobody_and_says_that_somebody_writes(self, shop: Shop) -> None:
        for number in range(ALIKE):
            shop.put([Call(earliest=NOON + number)])
        with IndexWriter(shop.index, KEYS):
            assert shop.maintain().busy
            with pytest.raises(IndexBusyError):
                shop.put([Call()])
        assert shop.maintain().into == 1

    def test_is_not_tried_where_there_is_no_index(self, tmp_path: Path) -> None:
        assert maintain(tmp_path / "none", KEYS, NOW, WEEK) == Maintained()
        assert not (tmp_path / "none").exists()

    def test_gives_way_after_its_turn_and_goes_on_after_it(self, shop: Shop) -> None:
        for number in range(4):
            shop.put([Call(earliest=NOON - day * DAY_MS + number) for day in range(2, 5)])
        assert shop.maintain(turn_s=0.0, stop=iter([False, True]).__next__).into == 0
        assert shop.maintain().into == 3


class TestBrokenSegment:
    def test_found_while_merging_is_put_aside_and_its_time_is_told_as_lost(self, shop: Shop) -> None:
        for number in range(ALIKE):
            shop.put([Call(earliest=NOON + number)])
        broken = min((shop.index / "segments").iterdir())
        data = bytearray(broken.read_bytes())
        data[4096 + 40] ^= 4
        broken.write_bytes(data)
        (loss,) = shop.maintain().lost
        assert (loss.segment, loss.files) == (broken.name, (1,))
        assert "page 0" in loss.reason
        assert [path.name for path in (shop.index / "quarantine").iterdir()] == [broken.name]
        assert len(shop.answers()[0]) == ALIKE - 1
        (source,) = Index.open(shop.index, KEYS).coverage().sources
        assert source.lost == ((at(NOON), at(NOON)),)

    def test_is_made_good_when_its_file_is_indexed_again(self, shop: Shop) -> None:
        self.test_found_while_merging_is_put_aside_and_its_time_is_told_as_lost(shop)
        paths = sorted(shop.directory.glob("*.txt"))
        report = ingest(paths, mapping(), FORMATS, shop.index, KEYS, NOW, read=reader(50), files=UNSYNCED)
        assert [file.status.value for file in report.files] == ["repaired", *["already indexed"] * (ALIKE - 1)]
        assert len(shop.answers()[0]) == ALIKE
        assert Index.open(shop.index, KEYS).coverage().sources[0].lost == ()
        assert list((shop.index / "quarantine").iterdir()) == []

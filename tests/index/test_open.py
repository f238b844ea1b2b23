"""An open index serves what was indexed, follows what is indexed, and holds no plain number on disk."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from agent.index import Index, Query
from agent.index.layout import DAY_MS, GENERATION, MANIFEST
from agent.index.manifest import Manifest, encode_snapshot
from agent.index.snapshot import Follower, State
from tests.index.built import BuiltIndex
from tests.index.calls import ALICE, CAROL, KEYS, NOON, TOLL_FREE, Call, at

MANY = 50


@pytest.fixture
def built(tmp_path: Path) -> BuiltIndex:
    return BuiltIndex(tmp_path / "index")


def times(index: Index) -> list[int]:
    """When the calls of one number were that the index gives, relative to noon."""
    legs = index.find(ALICE, None, at(NOON - 10**6), at(NOON + 10**6))
    return [round((leg.earliest - at(NOON)).total_seconds() * 1000) for leg in legs]


class TestServing:
    def test_a_restart_serves_at_once_what_was_indexed(self, built: BuiltIndex) -> None:
        built.put([Call(), Call(earliest=NOON + 1)])
        assert times(Index.open(built.directory, KEYS)) == times(Index.open(built.directory, KEYS)) == [0, 1]

    def test_an_open_index_follows_without_being_told(self, built: BuiltIndex) -> None:
        index = Index.open(built.directory, KEYS)
        assert times(index) == []
        built.put([Call()])
        assert times(index) == [0]
        built.put([Call(earliest=NOON + 1)])
        assert times(index) == [0, 1]
        assert [len(legs) for legs in index.find_many(50 * [Query(ALICE, None, at(NOON), at(NOON + 1))])] == 50 * [2]

    @pytest.mark.parametrize(
        "search",
        [
            lambda index: len(index.find(ALICE, None, at(NOON), at(NOON))),
            lambda index: len(index.find_many(MANY * [Query(ALICE, None, at(NOON), at(NOON))])[0]),
            lambda index: len(index.hits(int(ALICE[1:]), NOON, NOON)),
            lambda index: len(
                index.hits_many(np.array([int(ALICE[1:])], np.uint64), np.array([NOON]), np.array([NOON])).search
            ),
            lambda index: len(index.coverage().sources) or index._follower.state.generation,
        ],
        ids=["find", "find_many", "hits", "hits_many", "coverage"],
    )
    def test_every_way_of_asking_looks_for_news(self, built: BuiltIndex, search: Callable[[Index], int]) -> None:
        index = Index.open(built.directory, KEYS)
        index.refresh()
        assert search(index) == 0
        built.put([Call()])
        assert search(index) == 1

    def test_refresh_says_whether_anything_changed(self, built: BuiltIndex) -> None:
        index = Index.open(built.directory, KEYS)
        assert not index.refresh()
        built.put([Call()])
        assert index.refresh()
        assert not index.refresh()

    def test_news_arrive_within_a_second_when_the_word_does_not_tell(self, built: BuiltIndex) -> None:
        index = Index.open(built.directory, KEYS)
        index.refresh()
        built.commit(built.segments([Call()]))
        index._follower.word = memoryview(bytes(8)).cast("Q")  # a shared disk that maps nothing anew
        index._follower.seen = 0
        assert times(index) == []
        index._follower.look_again = 0
        assert times(index) == [0]

    def test_without_the_word_every_search_looks(self, built: BuiltIndex) -> None:
        (built.directory / GENERATION).unlink()
        index = Index.open(built.directory, KEYS)
        assert times(index) == []
        built.commit(built.segments([Call()]))
        (built.directory / GENERATION).unlink()
        assert times(index) == [0]

    def test_only_what_was_appended_is_read(self, built: BuiltIndex) -> None:
        built.put([Call()])
        index = Index.open(built.directory, KEYS)
        index.refresh()
        log = index._follower._log
        built.put([Call(earliest=NOON + 1)])
        assert times(index) == [0, 1]
        assert index._follower._log is log

    def test_a_log_that_was_written_anew_is_read_anew(self, built: BuiltIndex) -> None:
        built.put([Call()])
        index = Index.open(built.directory, KEYS)
        assert times(index) == [0]
        (segment,) = index._follower.state.segments.values()
        fresh = built.directory / ".new-MANIFEST"
        fresh.write_bytes(encode_snapshot(built.manifest))
        fresh.rename(built.directory / MANIFEST)
        built.put([Call(earliest=NOON + 1)])
        assert times(index) == [0, 1]
        assert segment in index._follower.state.segments.values()

    def test_segments_that_stay_are_not_opened_again(self, built: BuiltIndex) -> None:
        (entry,) = built.put([Call()])
        index = Index.open(built.directory, KEYS)
        assert times(index) == [0]
        before = index._follower.state.segments[entry.name]
        built.put([Call(called_in=CAROL)])
        assert times(index) == [0]
        assert index._follower.state.segments[entry.name] is before

    def test_closed_it_opens_again_when_asked(self, built: BuiltIndex) -> None:
        built.put([Call()])
        index = Index.open(built.directory, KEYS)
        index.close()
        assert times(index) == [0]

    def test_a_translated_number_comes_back_only_with_the_key(self, built: BuiltIndex) -> None:
        built.put([Call(TOLL_FREE, CAROL, earliest=NOON + n) for n in range(700)])
        legs = Index.open(built.directory, KEYS).find(CAROL, None, at(NOON), at(NOON + 700))
        assert [leg.called_in for leg in legs] == [TOLL_FREE] * 700


class TestMemory:
    def test_what_no_longer_counts_is_unmapped_when_nobody_searches_in_it(self, built: BuiltIndex) -> None:
        entries = built.put([Call(earliest=NOON + day * DAY_MS) for day in range(5)])
        index = Index.open(built.directory, KEYS)

        def mapped() -> list[str]:
            lines = Path("/proc/self/maps").read_text().splitlines()
            return [line for line in lines if str(built.directory) in line and ".seg" in line]

        held = index.hits(int(ALICE[1:]), NOON, NOON)
        idle = ThreadPoolExecutor(1)  # a thread that searched once and does nothing since
        assert len(idle.submit(index.find, ALICE, None, at(NOON), at(NOON)).result()) == 1
        assert len(mapped()) == 5
        built.commit(remove=[entry.name for entry in entries])
        for entry in entries:
            built.path(entry).unlink()
        assert index.find(ALICE, None, at(NOON), at(NOON)) == []
        gc.collect()
        assert [line.endswith("(deleted)") for line in mapped()] == [True]
        segment, place, _, word = held[0]
        assert segment.record(place, word).ingress == ("TGIN1", "192.0.2.1")
        idle.shutdown()


class TestReadingWhileIndexing:
    def test_a_manifest_whose_segments_go_before_they_are_opened_is_read_again(
        self, built: BuiltIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between its reading of the manifest and of the segments, these are merged into another one."""
        (first,) = built.put([Call()])
        plain = Follower._open_segments
        overtaken: list[bool] = []

        def open_segments(self: Follower, manifest: Manifest) -> State:
            if not overtaken:
                overtaken.append(True)
                built.commit(built.segments([Call(), Call(earliest=NOON + 1)]), [first.name])
                built.path(first).unlink()
            return plain(self, manifest)

        monkeypatch.setattr(Follower, "_open_segments", open_segments)
        assert times(Index.open(built.directory, KEYS)) == [0, 1]

    def test_a_commit_whose_segments_go_before_they_are_opened_is_taken_up_with_the_next(
        self, built: BuiltIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        index = Index.open(built.directory, KEYS)
        index.refresh()
        (first,) = built.put([Call()])
        built.commit(built.segments([Call(), Call(earliest=NOON + 1)]), [first.name])
        built.path(first).unlink()
        assert times(index) == [0, 1]

    def test_a_segment_that_is_named_and_missing_is_an_error_and_no_wait(self, built: BuiltIndex) -> None:
        index = Index.open(built.directory, KEYS)
        (entry,) = built.put([Call()])
        built.path(entry).unlink()
        with pytest.raises(Exception, match="the manifest names it, but it is missing"):
            times(index)

    def test_every_answer_is_a_whole_state_and_none_older_than_the_last(self, built: BuiltIndex) -> None:
        last = built.put([Call()])
        index = Index.open(built.directory, KEYS)
        done = threading.Event()
        seen: list[list[int]] = []
        query = Query(ALICE, None, at(NOON - 10**6), at(NOON + 10**6))

        def read() -> None:
            own = Index.open(built.directory, KEYS)
            while not done.is_set():
                found = times(index)
                Index.open(built.directory, KEYS)
                assert len(times(own)) >= len(found)
                counts = {len(legs) for legs in index.find_many(MANY * [query])}
                assert len(counts) == 1
                assert counts.pop() >= len(found)
                seen.append(found)

        failures: list[BaseException] = []

        def guarded() -> None:
            try:
                read()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=guarded) for _ in range(2)]
        for thread in threads:
            thread.start()
        for count in range(2, 60):
            new = built.segments([Call(earliest=NOON + number) for number in range(count)])
            built.commit(new, [entry.name for entry in last])  # merged: another segment in place of the last
            for entry in last:
                built.path(entry).unlink()
            last = new
        done.set()
        for thread in threads:
            thread.join()
        assert not failures
        assert all(found == list(range(len(found))) for found in seen)
        assert times(index) == list(range(59))


CANARY = 12025550187


def traces(directory: Path, number: int) -> list[str]:
    """Files in which a number stands plainly, in any form that a program would write it in."""
    forms: dict[str, bytes] = {}
    for digits in (number, number % 10**10):
        text = str(digits)
        even = text + "f" * (len(text) % 2)
        forms |= {
            f"{digits} ascii": text.encode(),
            f"{digits} utf-16le": text.encode("utf-16-le"),
            f"{digits} utf-16be": text.encode("utf-16-be"),
            f"{digits} bcd": bytes.fromhex(text.rjust(len(text) + len(text) % 2, "0")),
            f"{digits} tbcd": bytes(int(high + low, 16) for low, high in zip(even[::2], even[1::2], strict=True)),
        }
        for order in ("little", "big"):
            forms[f"{digits} {order} 5 bytes"] = digits.to_bytes(5, order)
    return [
        f"{path.name}: {form}"
        for path in sorted(directory.rglob("*"))
        if path.is_file()
        for form, pattern in forms.items()
        if pattern in path.read_bytes()
    ]


class TestCanary:
    @pytest.mark.parametrize(
        "call",
        [
            Call(called_in=f"+{CANARY}"),
            Call(called_out=f"+{CANARY}"),
            Call(called_in=f"+{CANARY}", called_out=CAROL),
            Call(calling=f"+{CANARY}"),
            Call(call_id=f"{CANARY}@example.test"),
            Call(in_trunk=f"account-{CANARY}"),
        ],
        ids=["called", "sent", "translated", "calling", "call id", "trunk"],
    )
    def test_no_file_of_the_index_holds_a_plain_number(self, built: BuiltIndex, call: Call) -> None:
        built.put([call, Call()])
        assert traces(built.directory, CANARY) == []

    @pytest.mark.parametrize(
        "plain",
        [
            str(CANARY).encode(),
            str(CANARY).encode("utf-16-le"),
            CANARY.to_bytes(8, "little"),
            CANARY.to_bytes(8, "big"),
            bytes.fromhex(f"0{CANARY}"),
        ],
    )
    def test_the_search_for_it_finds_it(self, tmp_path: Path, plain: bytes) -> None:
        (tmp_path / "leak").write_bytes(b"\0\1" + plain + b"\2")
        assert traces(tmp_path, CANARY)

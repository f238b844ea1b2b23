"""An open index serves what was indexed, follows what is indexed, and holds no plain number on disk."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from agent.index import Index, Query
from agent.index.manifest import Manifest
from agent.index.reader import _State
from agent.ingest import ingest
from tests.index.calls import (
    ALICE,
    CAROL,
    FORMATS,
    KEYS,
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


def put(directory: Path, name: str, calls: list[Call | str]) -> None:
    path = write(directory / name, calls)
    report = ingest([path], mapping(), FORMATS, directory / "index", KEYS, NOW, read=reader(50), files=UNSYNCED)
    assert not report.failed


def rows(index: Index) -> list[int]:
    return [leg.row for leg in index.find(ALICE, None, at(NOON - 10**6), at(NOON + 10**6))]


class TestServing:
    def test_a_restart_serves_at_once_what_was_indexed(self, tmp_path: Path) -> None:
        put(tmp_path, "a.txt", [Call(), Call(earliest=NOON + 1)])
        (tmp_path / "a.txt").unlink()
        first = Index.open(tmp_path / "index", KEYS)
        assert rows(first) == rows(Index.open(tmp_path / "index", KEYS)) == [1, 2]

    def test_an_open_index_follows_without_being_told(self, tmp_path: Path) -> None:
        index = Index.open(tmp_path / "index", KEYS)
        assert rows(index) == []
        put(tmp_path, "a.txt", [Call()])
        assert rows(index) == [1]
        put(tmp_path, "a.txt", [Call(), Call(earliest=NOON + 1)])
        assert rows(index) == [1, 2]
        assert [len(legs) for legs in index.find_many(50 * [Query(ALICE, None, at(NOON), at(NOON + 1))])] == 50 * [2]

    def test_refresh_says_whether_anything_changed(self, tmp_path: Path) -> None:
        index = Index.open(tmp_path / "index", KEYS)
        assert not index.refresh()
        put(tmp_path, "a.txt", [Call()])
        assert index.refresh()
        assert not index.refresh()

    def test_segments_that_stay_are_not_opened_again(self, tmp_path: Path) -> None:
        put(tmp_path, "a.txt", [Call()])
        index = Index.open(tmp_path / "index", KEYS)
        assert rows(index) == [1]
        (segment,) = (tmp_path / "index" / "segments").iterdir()
        before = segment.stat().st_atime_ns, index._state.segments[segment.name]
        put(tmp_path, "b.txt", [Call(called_in=CAROL)])
        assert rows(index) == [1]
        assert index._state.segments[segment.name] is before[1]

    def test_closed_it_opens_again_when_asked(self, tmp_path: Path) -> None:
        put(tmp_path, "a.txt", [Call()])
        index = Index.open(tmp_path / "index", KEYS)
        index.close()
        assert rows(index) == [1]

    def test_a_translated_number_comes_back_only_with_the_key(self, tmp_path: Path) -> None:
        put(tmp_path, "a.txt", [Call(TOLL_FREE, CAROL, earliest=NOON + n) for n in range(700)])
        legs = Index.open(tmp_path / "index", KEYS).find(CAROL, None, at(NOON), at(NOON + 700))
        assert [leg.called_in for leg in legs] == [TOLL_FREE] * 700


class TestReadingWhileIndexing:
    def test_a_manifest_whose_segments_go_before_they_are_opened_is_read_again(self, tmp_path: Path) -> None:
        class Overtaken(Index):
            """Between its reading of the manifest and of the segments, the file grows and is indexed again."""

            overtaken = False

            def _open_segments(self, manifest: Manifest) -> _State:
                if not self.overtaken:
                    self.overtaken = True
                    put(tmp_path, "a.txt", [Call(), Call(earliest=NOON + 1)])
                return super()._open_segments(manifest)

        put(tmp_path, "a.txt", [Call()])
        assert rows(Overtaken.open(tmp_path / "index", KEYS)) == [1, 2]

    def test_every_answer_is_a_whole_state_and_none_older_than_the_last(self, tmp_path: Path) -> None:
        put(tmp_path, "a.txt", [Call()])
        index = Index.open(tmp_path / "index", KEYS)
        done = threading.Event()
        seen: list[list[int]] = []

        def read() -> None:
            own = Index.open(tmp_path / "index", KEYS)
            while not done.is_set():
                seen.append(rows(index))
                Index.open(tmp_path / "index", KEYS)
                assert len(rows(own)) >= len(seen[-1])

        failures: list[BaseException] = []

        def guarded() -> None:
            try:
                read()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=guarded)
        thread.start()
        for count in range(2, 25):
            put(tmp_path, "a.txt", [Call(earliest=NOON + number) for number in range(count)])
        done.set()
        thread.join()
        assert not failures
        assert all(found == list(range(1, len(found) + 1)) for found in seen)
        assert [len(found) for found in seen] == sorted(len(found) for found in seen)
        assert rows(index) == list(range(1, 25))


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
    NUMBER = f"+{CANARY}"

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
    def test_no_file_of_the_index_holds_a_plain_number(self, tmp_path: Path, call: Call) -> None:
        put(tmp_path, "a.txt", [call, Call()])
        assert traces(tmp_path / "index", CANARY) == []

    def test_only_the_rejected_rows_hold_what_their_source_holds(self, tmp_path: Path) -> None:
        put(tmp_path, "a.txt", [Call(), f"bad {self.NUMBER}"])
        assert {trace.split(".")[1] for trace in traces(tmp_path / "index", CANARY)} == {
            f"jsonl: {CANARY} ascii",
            f"jsonl: {CANARY % 10**10} ascii",
        }

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

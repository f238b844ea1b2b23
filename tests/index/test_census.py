"""Counting calls: each once, whatever it is found by and however often it was delivered."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from agent.index import census
from agent.index.census import calls_of
from agent.index.errors import IndexCorruptError
from agent.index.layout import DAY_MS, PAGE
from agent.index.snapshot import Follower
from tests.index.built import BuiltIndex
from tests.index.calls import CAROL, KEYS, NOON, TOLL_FREE, Call

CALLS = [Call(earliest=NOON + 10 * number, in_trunk=f"IN{number % 7}", call_id=str(number)) for number in range(900)]
CALLS += [Call(TOLL_FREE, CAROL, earliest=NOON + number, out_trunk="OUT9") for number in range(40)]

Seen = Counter[tuple[str, int, object, object]]


def seen(built: BuiltIndex, most_rows: int = 10_000) -> Seen:
    follower = Follower(built.directory, KEYS)
    follower.refresh()
    found: Seen = Counter()
    for calls in calls_of(follower, most_rows):
        ingress, egress = calls.dictionary.ingress, calls.dictionary.egress
        for ms, come, gone in zip(calls.ms.tolist(), calls.ingress.tolist(), calls.egress.tolist(), strict=True):
            assert ms // DAY_MS == calls.day
            found[calls.source, ms, ingress[come], egress[gone]] += 1
    return found


def there(calls: list[Call], source: str = "acc") -> Seen:
    return Counter(
        (source, call.earliest, (call.in_trunk, call.in_address), (call.out_trunk, call.out_address)) for call in calls
    )


def test_a_call_whose_number_changed_is_one_call(tmp_path: Path) -> None:
    built = BuiltIndex(tmp_path / "index")
    built.put(CALLS)
    assert seen(built) == there(CALLS)


def test_what_was_delivered_twice_is_one_call(tmp_path: Path) -> None:
    built = BuiltIndex(tmp_path / "index")
    built.put(CALLS)
    built.put([*CALLS[300:], Call(earliest=NOON + 5, call_id="new")])
    built.put(CALLS[:3] * 2, source="other")
    assert seen(built) == there([*CALLS, Call(earliest=NOON + 5)]) + there(CALLS[:3], "other")


def test_what_is_too_much_to_merge_is_counted_as_it_lies(tmp_path: Path) -> None:
    built = BuiltIndex(tmp_path / "index")
    built.put(CALLS)
    built.put(CALLS[:5])
    assert seen(built, most_rows=900) == there(CALLS) + there(CALLS[:5])


def test_days_and_sources_are_told_apart(tmp_path: Path) -> None:
    built = BuiltIndex(tmp_path / "index")
    built.put(CALLS)
    before = [replace(call, earliest=call.earliest - DAY_MS) for call in CALLS[:50]]
    built.put(before)
    built.put(CALLS[:7], source="other")
    assert seen(built) == there(CALLS) + there(before) + there(CALLS[:7], "other")


def test_a_large_segment_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "_PAGES_AT_ONCE", 2)
    built = BuiltIndex(tmp_path / "index")
    built.put(CALLS)
    assert seen(built, most_rows=9) == there(CALLS)


def test_a_broken_page_is_an_error_and_not_fewer_calls(tmp_path: Path) -> None:
    built = BuiltIndex(tmp_path / "index")
    (entry,) = built.put(CALLS)
    content = bytearray(built.path(entry).read_bytes())
    content[2 * PAGE + 7] ^= 1
    built.path(entry).write_bytes(content)
    with pytest.raises(IndexCorruptError, match="page 1"):
        seen(built)

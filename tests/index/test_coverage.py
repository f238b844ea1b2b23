"""What an empty find means: covered, expired, not yet there, or a gap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agent.index.coverage import Coverage, CoverageState, SourceCoverage

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
RETENTION = timedelta(days=30)
HOUR = timedelta(hours=1)
MS = timedelta(milliseconds=1)


def source(first: datetime | None, last: datetime | None, name: str = "acc") -> SourceCoverage:
    return SourceCoverage(name, first, last, first, last, 10, 1)


def state(coverage: Coverage, earliest: datetime, latest: datetime) -> CoverageState:
    return coverage.state(earliest, latest, NOW, RETENTION)


TEN_DAYS = Coverage((source(NOW - timedelta(days=10), NOW - HOUR),))


class TestOneSource:
    def test_covers_from_its_first_record_to_its_watermark(self) -> None:
        assert state(TEN_DAYS, NOW - timedelta(days=10), NOW - HOUR) is CoverageState.COVERED

    def test_is_not_there_yet_beyond_its_watermark(self) -> None:
        assert state(TEN_DAYS, NOW - 2 * HOUR, NOW - HOUR + MS) is CoverageState.NOT_YET

    def test_has_a_gap_before_its_first_record(self) -> None:
        assert state(TEN_DAYS, NOW - timedelta(days=10) - MS, NOW - timedelta(days=9)) is CoverageState.GAP

    def test_is_expired_when_any_part_is_older_than_the_retention(self) -> None:
        edge = NOW - RETENTION
        old = Coverage((source(NOW - timedelta(days=90), NOW),))
        assert state(old, edge - MS, edge + HOUR) is CoverageState.EXPIRED
        assert state(old, edge, edge + HOUR) is CoverageState.COVERED

    def test_without_records_is_not_there_yet(self) -> None:
        assert state(Coverage((source(None, None),)), NOW - HOUR, NOW) is CoverageState.NOT_YET

    def test_stated_complete_but_without_beginning_is_a_gap(self) -> None:
        stated = SourceCoverage("acc", None, None, None, NOW, 0, 1)
        assert state(Coverage((stated,)), NOW - HOUR, NOW) is CoverageState.GAP


class TestSeveralSources:
    def test_the_slowest_one_decides(self) -> None:
        first = NOW - timedelta(days=10)
        both = Coverage((source(first, NOW), source(first, NOW - 2 * HOUR, "late")))
        assert state(both, NOW - HOUR, NOW - HOUR) is CoverageState.NOT_YET
        assert both.watermark() == NOW - 2 * HOUR

    def test_the_youngest_one_decides(self) -> None:
        both = Coverage((source(NOW - timedelta(days=10), NOW), source(NOW - HOUR, NOW, "new")))
        assert state(both, NOW - 2 * HOUR, NOW - HOUR) is CoverageState.GAP

    def test_an_unknown_watermark_leaves_the_whole_unknown(self) -> None:
        assert Coverage((source(NOW, NOW), source(None, None, "empty"))).watermark() is None


class TestNoSource:
    def test_is_a_gap_within_retention_and_expired_beyond(self) -> None:
        assert state(Coverage(()), NOW - HOUR, NOW) is CoverageState.GAP
        assert state(Coverage(()), NOW - timedelta(days=31), NOW - timedelta(days=31)) is CoverageState.EXPIRED
        assert Coverage(()).watermark() is None


@pytest.mark.parametrize("worse", [CoverageState.EXPIRED, CoverageState.GAP])
def test_when_several_states_hold_the_lasting_one_is_given(worse: CoverageState) -> None:
    begin = NOW - (timedelta(days=40) if worse is CoverageState.EXPIRED else timedelta(days=20))
    assert state(TEN_DAYS, begin, NOW) is worse

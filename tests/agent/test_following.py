"""Which files are read when: lines as they come, others at rest, refused ones less and less often."""

from __future__ import annotations

import pytest

from agent.following import OPEN_LINE_S, Following, Seen

OLD = 100_000.0


def lines() -> Following:
    return Following(in_lines=True, every_s=10, rest_s=10)


def others() -> Following:
    return Following(in_lines=False, every_s=10, rest_s=10)


def seen(stamp: int, age_s: float = 0.0, inode: int = 1) -> Seen:
    return Seen(stamp, age_s, inode)


class TestAFileAtRest:
    @pytest.mark.parametrize("following", [lines(), others()])
    def test_is_read_at_once_and_then_left_alone(self, following: Following) -> None:
        following.notice({"a": seen(1, OLD)}, 0)
        assert following.due(0) == ["a"]
        following.taken("a", 1)
        following.notice({"a": seen(1, OLD)}, 50)
        assert following.due(50) == []
        assert following.unread == 0
        assert following.next_s() == float("inf")

    def test_that_comes_from_the_future_is_read_all_the_same(self) -> None:
        following = others()
        following.notice({"a": seen(1, -500)}, 0)
        assert following.due(9) == []
        assert following.due(10) == ["a"]


class TestAFileOfLines:
    def test_is_read_when_its_writer_pauses(self) -> None:
        following = lines()
        following.notice({"a": seen(1)}, 0)
        assert following.due(0.4) == []
        assert following.next_s() == 0.5
        assert following.due(0.5) == ["a"]

    def test_is_read_while_it_is_written_without_a_pause(self) -> None:
        following = lines()
        for tick in range(20):
            following.notice({"a": seen(tick)}, tick / 10)
        assert following.due(1.9) == []
        following.notice({"a": seen(99)}, 2.0)
        assert following.due(2.0) == ["a"]

    def test_is_read_every_so_often_at_most(self) -> None:
        following = lines()
        following.notice({"a": seen(1, 5)}, 0)
        following.taken("a", 0)
        following.notice({"a": seen(2)}, 1)
        assert following.due(9.9) == []
        assert following.due(10) == ["a"]

    def test_takes_the_others_with_it_that_would_be_due_in_a_moment(self) -> None:
        following = lines()
        following.notice({"a": seen(1, 5), "b": seen(1, 0, 2)}, 0)
        assert following.due(0) == ["a", "b"]

    def test_is_looked_at_again_when_a_last_line_without_an_end_is_old_enough_to_count(self) -> None:
        following = lines()
        following.notice({"a": seen(1, 5)}, 0)
        following.taken("a", 1)
        assert following.next_s() == OPEN_LINE_S - 5
        following.notice({"a": seen(1, OPEN_LINE_S)}, OPEN_LINE_S - 5)
        assert following.due(OPEN_LINE_S - 4) == ["a"]
        following.taken("a", OPEN_LINE_S - 4)
        assert following.next_s() == float("inf")


class TestAnyOtherFile:
    def test_is_read_when_it_has_not_changed_for_a_while(self) -> None:
        following = others()
        following.notice({"a": seen(1)}, 0)
        following.notice({"a": seen(2)}, 8)
        assert following.due(17.9) == []
        assert following.due(18) == ["a"]

    def test_is_read_after_a_long_time_though_it_never_rests(self) -> None:
        following = others()
        for second in range(300):
            following.notice({"a": seen(second)}, second)
            assert following.due(second) == []
        following.notice({"a": seen(300)}, 300)
        assert following.due(300) == ["a"]


class TestAFileThatCannotBeRead:
    def test_is_tried_less_and_less_often(self) -> None:
        following = others()
        following.notice({"a": seen(1, OLD)}, 0)
        now, waits = 0.0, []
        for _ in range(9):
            assert following.due(now) == ["a"]
            following.refused("a", now)
            waits.append(following.next_s() - now)
            now = following.next_s()
        assert waits == [10, 20, 40, 80, 160, 320, 600, 600, 600]

    @pytest.mark.parametrize("following", [lines(), others()])
    def test_is_told_once_and_does_not_keep_others_waiting(self, following: Following) -> None:
        following.notice({"a": seen(1, OLD), "b": seen(1, OLD, 2)}, 0)
        assert following.refused("a", 0) is True
        following.taken("b", 0)
        assert following.due(1) == []
        assert (following.unread, following.refused_now) == (1, 1)
        assert following.refused("a", 10) is False

    def test_is_tried_as_any_other_when_it_changes(self) -> None:
        following = others()
        following.notice({"a": seen(1, OLD)}, 0)
        following.refused("a", 0)
        following.notice({"a": seen(2)}, 1)
        assert following.due(11) == ["a"]
        assert following.refused_now == 0
        assert following.refused("a", 11) is True


class TestAFileThatGoesAway:
    def test_unread_is_told(self) -> None:
        following = lines()
        following.notice({"a": seen(1)}, 0)
        assert following.notice({}, 1) == ["a"]
        assert following.unread == 0

    def test_by_another_name_is_not_lost(self) -> None:
        following = lines()
        following.notice({"a": seen(1, 0, 7)}, 0)
        assert following.notice({"a": seen(1, 0, 8), "a.1": seen(2, 0, 7)}, 1) == []
        assert following.due(9) == ["a", "a.1"]

    def test_after_it_was_read_is_forgotten(self) -> None:
        following = lines()
        following.notice({"a": seen(1, OLD)}, 0)
        following.taken("a", 0)
        assert following.notice({}, 1) == []

    def test_while_it_is_read_is_no_error(self) -> None:
        following = lines()
        following.taken("a", 0)
        assert following.refused("a", 0) is True

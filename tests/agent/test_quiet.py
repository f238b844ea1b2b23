"""Collections of garbage are put off for a batch, and only for it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from agent.quiet import COLLECT_EVERY, Quiet


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    """Each test begins and ends with collections, as the process had them."""
    before = gc.isenabled()
    gc.enable()
    yield
    (gc.enable if before else gc.disable)()


class Cycle:
    """Garbage that only a collection finds."""

    def __init__(self) -> None:
        self.me = self


def uncollected() -> int:
    return sum(isinstance(one, Cycle) for one in gc.get_objects())


class TestCollections:
    def test_are_put_off_while_a_batch_is_under_way_and_go_on_behind_it(self) -> None:
        quiet = Quiet()
        with quiet.batch():
            assert not gc.isenabled()
        assert gc.isenabled()

    def test_go_on_only_when_the_last_of_several_has_ended(self) -> None:
        quiet = Quiet()
        with ExitStack() as first, ExitStack() as second:
            first.enter_context(quiet.batch())
            second.enter_context(quiet.batch())
            first.close()
            assert not gc.isenabled()
            second.close()
            assert gc.isenabled()

    def test_go_on_behind_a_batch_that_failed(self) -> None:
        with pytest.raises(ValueError, match="bad"), Quiet().batch():
            raise ValueError("bad")
        assert gc.isenabled()

    def test_are_made_now_and_then_where_batches_overlap_without_an_end(self) -> None:
        quiet = Quiet()
        with quiet.batch():
            Cycle()
            for _ in range(COLLECT_EVERY - 1):
                with quiet.batch():
                    pass
            assert uncollected() == 1
            with quiet.batch():
                pass
            assert uncollected() == 0

    def test_stay_off_where_somebody_else_switched_them_off(self) -> None:
        gc.disable()
        with Quiet().batch():
            pass
        assert not gc.isenabled()

"""Pages give back what was put on them, whatever the shape, and no page stands for another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.index import pages
from agent.index.layout import DAY_MS, PAGE
from agent.index.pages import Packed

SALT = 0xDEADBEEF
rests = st.integers(pages.LEAST_REST, pages.MOST_REST)


def packed(random: np.random.Generator, rows: int, rest: int) -> Packed:
    pseudonyms = np.sort(random.integers(0, 2**64, rows, np.uint64, endpoint=False))
    ms = random.integers(0, DAY_MS, rows, np.uint64)
    return Packed(
        key=pages.key_of(pseudonyms, ms),
        tail=pages.tail_of(pseudonyms),
        codes=random.integers(0, 2 ** (pages.CODE_BITS + 8 * (rest - pages.LEAST_REST)), rows, np.uint64),
        calling=random.integers(0, 2**32, rows, np.uint32),
        call_ref=random.integers(0, 2**24, rows, np.uint32),
    )


class TestRoundTrip:
    @settings(max_examples=60, deadline=None)
    @given(seed=st.integers(0, 2**32), rows=st.integers(1, 900), rest=rests)
    def test_every_column_comes_back(self, seed: int, rows: int, rest: int) -> None:
        given_rows = packed(np.random.default_rng(seed), rows, rest)
        body = pages.encode(given_rows, rest, SALT)
        assert body.shape == (-(-rows // pages.shape(rest).rows), PAGE)
        back = pages.decode(body, rows, rest)
        for name in ("key", "tail", "codes", "calling", "call_ref"):
            assert getattr(back, name).tolist() == getattr(given_rows, name).tolist(), name

    @given(bits=st.integers(1, pages.MOST_CODE_BITS))
    def test_rows_are_as_wide_as_their_codes_need(self, bits: int) -> None:
        rest = pages.rest_for(bits)
        assert bits <= pages.CODE_BITS + 8 * (rest - pages.LEAST_REST)
        assert rest == pages.LEAST_REST or bits > pages.CODE_BITS + 8 * (rest - 1 - pages.LEAST_REST)

    def test_codes_that_fit_no_row_are_refused(self) -> None:
        with pytest.raises(ValueError, match="too many routes"):
            pages.rest_for(pages.MOST_CODE_BITS + 1)

    def test_what_fills_the_last_page_is_greater_than_any_row(self) -> None:
        greatest = pages.key_of(np.array([2**64 - 1], np.uint64), np.array([DAY_MS - 1], np.uint64))
        assert int(greatest[0]) < pages.NO_KEY


class TestChecksum:
    @settings(max_examples=60, deadline=None)
    @given(at=st.integers(0, PAGE - 1), bit=st.integers(0, 7), rest=rests)
    def test_any_flipped_bit_shows(self, at: int, bit: int, rest: int) -> None:
        (page,) = pages.encode(packed(np.random.default_rng(1), 20, rest), rest, SALT)
        assert pages.is_whole(page.data, 0, SALT)
        page[at] ^= 1 << bit
        assert not pages.is_whole(page.data, 0, SALT)

    def test_a_page_of_another_place_or_segment_shows(self) -> None:
        body = pages.encode(packed(np.random.default_rng(1), 300, 5), 5, SALT)
        assert pages.is_whole(body[1].data, 1, SALT)
        assert not pages.is_whole(body[1].data, 0, SALT)
        assert not pages.is_whole(body[1].data, 1, SALT + 1)

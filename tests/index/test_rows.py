"""Index rows from call legs: the same whether these come as texts or packed."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.index.layout import DAY_MS
from agent.index.rows import AdapterContractError, Routes, RowBuffer, Rows, rows_of
from cdr_adapters.schema import PACKED
from tests.index.calls import ALICE, BOB, CAROL, KEYS, NOON, TOLL_FREE, Call, batch_of

_NUMBER = st.sampled_from([ALICE, BOB, CAROL, TOLL_FREE])
_CALLS = st.lists(
    st.builds(
        Call,
        called_in=_NUMBER,
        called_out=st.none() | _NUMBER,
        calling=st.none() | _NUMBER,
        earliest=st.integers(NOON - 3 * DAY_MS, NOON),
        span=st.sampled_from([0, 1000]),
        in_trunk=st.none() | st.sampled_from(["T1", "T2", "T3"]),
        in_address=st.none() | st.sampled_from(["192.0.2.1", "192.0.2.2"]),
        out_trunk=st.none() | st.just("T1"),
        call_id=st.none() | st.text(max_size=70),
        disposition=st.sampled_from([None, "answered", "failed"]),
    ),
    min_size=1,
    max_size=30,
)


def packed(calls: list[Call]) -> pa.RecordBatch:
    """The legs as they come for an index."""
    plain = batch_of(list(enumerate(calls, 1)))
    columns = []
    for field in PACKED:
        column = plain[field.name]
        if pa.types.is_uint64(field.type):
            column = pa.array([None if text is None else int(text[1:]) for text in column.to_pylist()], pa.uint64())
        columns.append(column.dictionary_encode() if pa.types.is_dictionary(field.type) else column)
    return pa.RecordBatch.from_arrays(columns, schema=PACKED)


def as_lists(rows: Rows) -> dict[str, list[int]]:
    return {field.name: getattr(rows, field.name).tolist() for field in fields(rows)}


class TestPackedLegs:
    @given(_CALLS, _CALLS)
    @settings(max_examples=60, deadline=None)
    def test_make_the_same_rows_as_texts(self, first: list[Call], second: list[Call]) -> None:
        plain, short = Routes(), Routes()
        for calls in (first, second):
            expected = rows_of(batch_of(list(enumerate(calls, 1))), KEYS, plain)
            found = rows_of(packed(calls), KEYS, short)
            where = [[plain.all()[code] for code in expected.ingress], [plain.all()[code] for code in expected.egress]]
            assert where == [
                [short.all()[code] for code in found.ingress],
                [short.all()[code] for code in found.egress],
            ]
            same = {name: column for name, column in as_lists(found).items() if name not in ("ingress", "egress")}
            assert same.items() <= as_lists(expected).items()
            assert found.days() == sorted({ms // DAY_MS for ms in expected.earliest.tolist()})

    def test_with_a_number_that_is_none_are_refused(self) -> None:
        batch = packed([Call()])
        wrong = batch.set_column(0, batch.schema.field(0), pa.array([10**15], pa.uint64()))
        with pytest.raises(AdapterContractError, match="more than 15 digits"):
            rows_of(wrong, KEYS, Routes())


class TestRowsOfARun:
    @given(st.lists(_CALLS, max_size=4), st.integers(0, 20))
    @settings(max_examples=60, deadline=None)
    def test_are_all_that_were_added_and_not_cut_off(self, batches: list[list[Call]], kept: int) -> None:
        routes, buffer = Routes(), RowBuffer()
        buffer.extend(rows_of(packed([Call()] * 20), KEYS, routes))
        buffer.cut(kept)
        expected = [12025550143] * kept
        for calls in batches:
            rows = rows_of(packed(calls), KEYS, routes)
            buffer.extend(rows)
            expected += rows.called.tolist()
        assert len(buffer) == len(expected)
        assert buffer.rows().called.tolist() == expected
        assert buffer.rows().called.dtype == np.uint64

"""Messages that are read by their shape are read as the library parses them, or not by their shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hopback.v1 import evidence_pb2 as evidence
from hopback.v1 import lookup_pb2 as lookup
from protos import hops, orders
from protos.codec import ContractError
from protos.e164 import parse_e164
from protos.shapes import Shapes
from protos.types import Answer, Outcome, RecordCoverage
from tests.protos.evidence_kit import BIRCH, FIRST, FIRST_EXACT, GINKGO, NOW, ORDER, PARTS, SECOND_EXACT, bytes_of

Read = Callable[[bytes], object]

NOBODY = hops.answer_parts(
    Answer(GINKGO, Outcome.NOT_FOUND),
    FIRST,
    bytes(32),
    hops.Finding(RecordCoverage.COMPLETE, bytes(32), NOW),
    bytes(32),
).naming
TAGGED = hops.answer_parts(
    Answer(GINKGO, Outcome.UPSTREAM, BIRCH),
    FIRST,
    bytes(32),
    hops.Finding(RecordCoverage.COMPLETE, bytes(32), NOW),
    bytes(32),
    bytes_of("tag", 16),
).naming
KINDS: dict[str, tuple[Read, Read, list[bytes]]] = {
    "order": (
        orders.decode_order,
        orders._parsed,
        [orders.encode_order(ORDER), orders.encode_order(replace(ORDER, calling=None))],
    ),
    "question": (hops.decode_question, hops._parsed_question, [FIRST_EXACT, SECOND_EXACT]),
    "naming": (hops.decode_naming, hops._parsed_naming, [PARTS.naming, TAGGED, NOBODY]),
}


def outcome(read: Read, exact: bytes) -> object:
    """What is read, or why it is refused."""
    try:
        return read(exact)
    except ContractError as error:
        return error.reason, error.fields, str(error)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_bytes_altered_anywhere_are_read_as_the_library_parses_them(kind: str, data: st.DataObject) -> None:
    decode, parsed, known = KINDS[kind]
    exact = bytearray(data.draw(st.sampled_from(known)))
    for one in known:
        decode(one)  # its shape is known from here on
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(exact) - 1))
        exact[at] = data.draw(st.sampled_from([*b"0129af-+\0\x80\xff"]) | st.integers(0, 255))
    altered = bytes(exact)
    expected = outcome(parsed, altered)
    assert outcome(decode, altered) == expected
    assert outcome(decode, altered) == expected, "and when its own shape may be known"


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_bytes_cut_joined_and_repeated_are_read_as_the_library_parses_them(kind: str, data: st.DataObject) -> None:
    decode, parsed, known = KINDS[kind]
    one, other = (data.draw(st.sampled_from(known)) for _ in range(2))
    first, last = data.draw(st.integers(0, len(one))), data.draw(st.integers(0, len(other)))
    altered = one[:first] + other[last:]
    decode(one)
    assert outcome(decode, altered) == outcome(decode, altered) == outcome(parsed, altered)


def test_another_order_of_the_same_shape_has_its_own_values() -> None:
    orders.decode_order(orders.encode_order(ORDER))
    other = replace(
        ORDER,
        called=parse_e164("+13035550177"),
        calling=parse_e164("+13035550188"),
        at=ORDER.at + timedelta(milliseconds=1),
        expires=ORDER.expires - timedelta(hours=1),
        evidence_sha256=bytes(32),
        salt=bytes(16),
    )
    exact = orders.encode_order(other)
    assert orders._SHAPES.find(exact) is not None
    assert orders.decode_order(exact) == other


class TestShapes:
    def test_are_told_by_every_byte_that_is_not_cut_out(self) -> None:
        shapes: Shapes[str] = Shapes(lookup.Question, "called_number", "at_unix_ms")
        question = lookup.Question(question_id="one", called_number="+12", at_unix_ms=5, target="birch")
        exact = question.SerializeToString()
        shapes.keep(exact, "birch")
        assert shapes.find(exact) == ("birch", (b"+12", 5))
        question.called_number, question.at_unix_ms = "+99", 6
        assert shapes.find(question.SerializeToString()) == ("birch", (b"+99", 6))
        for at in range(len(exact)):
            found = shapes.find(exact[:at] + bytes([exact[at] ^ 1]) + exact[at + 1 :])
            assert (found is not None) is (at in _inside(exact, b"+12", 8))
        assert shapes.find(exact[:-1]) is None
        assert shapes.find(b"") is None

    @pytest.mark.parametrize(
        "exact",
        [
            pytest.param(b"\x1a\x01c\x0a\x01a", id="in another order"),
            pytest.param(b"\x0a\x01a\x0a\x01b", id="twice"),
            pytest.param(b"\x08\x01", id="in another form"),
            pytest.param(b"\x0b\x0c", id="a group"),
        ],
    )
    def test_are_not_kept_of_what_is_not_plain(self, exact: bytes) -> None:
        shapes: Shapes[str] = Shapes(evidence.Naming, "order_sha256", "upstream")
        shapes.keep(exact, "kept")
        assert shapes.find(exact) is None

    def test_without_a_time_that_is_cut_out_are_not_kept(self) -> None:
        shapes: Shapes[str] = Shapes(evidence.Naming, "order_sha256", "at_unix_ms", "salt")
        for exact in (b"\x0a\x01a\x32\x01s", b"\x0a\x01a"):
            shapes.keep(exact, "kept")
            assert shapes.find(exact) is None

    def test_of_a_field_that_is_not_there_cut_nothing_out(self) -> None:
        shapes: Shapes[str] = Shapes(evidence.Naming, "order_sha256", "provider", "salt")
        shapes.keep(b"\x12\x01p", "kept")
        assert shapes.find(b"\x12\x01q") == ("kept", (b"", b"q", b""))

    def test_are_remembered_within_bounds(self) -> None:
        shapes: Shapes[int] = Shapes(evidence.Naming, "upstream")
        for number in range(3000):
            exact = evidence.Naming(provider="p" * (number % 100), order_sha256=b"%d" % number).SerializeToString()
            shapes.keep(exact, number)
            assert shapes.find(exact) == (number, (b"",))
        kept = [layout.known for layouts in shapes._layouts.values() for layout in layouts]
        assert len(shapes._layouts) <= 64
        assert max(map(len, kept)) <= 64

    def test_need_their_fields_in_order(self) -> None:
        with pytest.raises(ValueError, match="in the order"):
            Shapes(evidence.Naming, "salt", "provider")


def _inside(exact: bytes, number: bytes, time: int) -> set[int]:
    """Where the number and the time after it stand in these bytes."""
    begin = exact.index(number)
    after = begin + len(number) + 1  # a tag between
    return {*range(begin, begin + len(number)), *range(after, after + time)}

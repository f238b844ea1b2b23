"""Records of one leg each: what is upstream on the incoming leg is never so on the outgoing one."""

from __future__ import annotations

from cdr_adapters.raw import string_batch
from cdr_adapters.sides import INCOMING, OUTGOING, Sides

SIDES = Sides("direction", {"in": INCOMING, "out": OUTGOING})
LEGS = string_batch({"direction": ["in", "OUT ", "x", None], "peer": ["a", "b", "c", "d"]}, 4)


def test_a_value_stands_under_the_side_of_its_leg_alone() -> None:
    found = SIDES.split(LEGS, frozenset(["incoming:peer", "outgoing:peer", "unsaid:peer"])).to_pydict()
    assert found["incoming:peer"] == ["a", None, None, None]
    assert found["outgoing:peer"] == [None, "b", None, None]
    assert found["unsaid:peer"] == [None, None, "c", "d"]
    assert found["peer"] == ["a", "b", "c", "d"]


def test_without_a_direction_nothing_is_incoming() -> None:
    found = SIDES.split(LEGS.select(["peer"]), frozenset(["incoming:peer", "unsaid:peer", "incoming:none"])).to_pydict()
    assert found["incoming:peer"] == found["incoming:none"] == [None] * 4
    assert found["unsaid:peer"] == ["a", "b", "c", "d"]


def test_the_files_own_columns_that_are_needed_include_the_direction() -> None:
    assert SIDES.needed(frozenset(["incoming:peer", "call_id"])) == frozenset(["peer", "call_id", "direction"])
    assert SIDES.needed(frozenset(["call_id", "a:b"])) == frozenset(["call_id", "a:b"])
    assert SIDES.needed(None) is None
    assert SIDES.split(LEGS, None) is LEGS

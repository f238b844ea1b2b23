"""Tables fit the terminal: nothing is left out, short words stay whole, times break between day and hour."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from agent.tables import FittingTable, new_table, row

TIME = "2026-11-20 17:03:21Z"


def drawn(table: FittingTable, width: int) -> list[str]:
    """The lines of the table on a terminal of that width."""
    out = io.StringIO()
    Console(file=out, width=width).print(table)
    return out.getvalue().splitlines()


def trunks() -> FittingTable:
    table = new_table("Trunks", "direction", "trunk", "party", "calls", "first", "last", "sources", numbers=("calls",))
    row(table, "ingress", "TGIN4400", "provider:alder", "20,000", TIME, TIME, "switch-1, switch-2")
    return table


class TestANarrowTerminal:
    def test_breaks_times_between_day_and_hour_and_no_word(self) -> None:
        lines = drawn(trunks(), 80)
        assert max(map(len, lines)) <= 80
        words = " ".join(lines).split()
        assert {"provider:alder", "20,000", "2026-11-20", "17:03:21Z", "switch-2"} <= set(words)

    @pytest.mark.parametrize("width", [60, 80])
    def test_breaks_a_long_word_where_nothing_else_is_left(self, width: int) -> None:
        table = new_table("Certificates", "for", "serial", "party")
        row(table, "TLS", "6" * 40, "hopback://provider/" + "b" * 40)
        lines = drawn(table, width)
        assert max(map(len, lines)) <= width
        assert "".join(lines).count("6") == 40

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.text(alphabet="abc 7", max_size=40), min_size=1, max_size=6), st.integers(60, 120))
    def test_leaves_nothing_out(self, cells: list[str], width: int) -> None:
        table = new_table("Any", *("" for _ in cells))
        row(table, *cells)
        shown = "".join(drawn(table, width)[1:])
        for letter in "abc7":
            assert shown.count(letter) == sum(cell.count(letter) for cell in cells)


class TestAWideTerminal:
    def test_has_a_line_for_a_row(self) -> None:
        title, head, only = drawn(trunks(), 160)
        assert (title.strip(), head.split()[0]) == ("Trunks", "direction")
        assert only.split()[:3] == ["ingress", "TGIN4400", "provider:alder"]

"""The summary of a bundle as PDF, for printing: the same facts as the page, the same bytes every time."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from coordinator.evidence.readable import HOP_COLUMNS, hop_rows, order_rows
from coordinator.evidence.statements import Standing
from coordinator.evidence.verify import Verdict

if TYPE_CHECKING:
    from fpdf import FPDF

_COLOURS = {
    Standing.PROVEN: (11, 107, 58),
    Standing.NOT_PROVEN: (138, 90, 0),
    Standing.BROKEN: (164, 22, 26),
}


def document(verdict: Verdict, made: datetime) -> bytes:
    """The PDF; `made` is its date of creation."""
    from fpdf import FPDF

    pdf = FPDF(orientation="landscape", format="A4")
    pdf.set_creation_date(made)
    pdf.set_title("Evidence of a traceback")
    pdf.set_lang("en")
    pdf.set_auto_page_break(auto=True, margin=15)
    pdf.add_page()
    pdf.set_font("Helvetica", "B", 16)
    pdf.cell(0, 10, "Evidence of a traceback", new_x="LMARGIN", new_y="NEXT")
    _heading(pdf, "The order")
    with pdf.table(
        col_widths=(25, 75),
        first_row_as_headings=False,
        borders_layout="HORIZONTAL_LINES",
        text_align="LEFT",
        line_height=5,
    ) as table:
        for name, value in order_rows(verdict):
            table.row((_latin(name), _latin(value)))
    _heading(pdf, "Who was asked, and what they answered")
    with pdf.table(
        col_widths=(6, 16, 22, 30, 40, 22), borders_layout="HORIZONTAL_LINES", text_align="LEFT", line_height=5
    ) as table:
        table.row(HOP_COLUMNS)
        for cells in hop_rows(verdict.hops):
            table.row([_latin(cell) for cell in cells])
    _heading(pdf, "What this proves, and what not")
    pdf.set_font("Helvetica", size=9)
    for statement in verdict.statements:
        shown = statement.by if statement.standing is Standing.PROVEN else statement.why
        pdf.set_text_color(*_COLOURS[statement.standing])
        pdf.write(5, f"{statement.standing.value}: ")
        pdf.set_text_color(28, 39, 51)
        pdf.write(5, _latin(f"{statement.what} - {shown}{f' ({statement.at})' if statement.at else ''}"))
        pdf.ln(6)
    return bytes(pdf.output())


def _heading(pdf: FPDF, text: str) -> None:
    pdf.ln(4)
    pdf.set_font("Helvetica", "B", 12)
    pdf.cell(0, 8, text, new_x="LMARGIN", new_y="NEXT")
    pdf.set_font("Helvetica", size=9)


def _latin(text: str) -> str:
    """Text in the letters that a PDF's own fonts have; others are shown as a question mark."""
    return text.encode("latin-1", "replace").decode("latin-1")

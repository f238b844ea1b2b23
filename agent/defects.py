"""Defects of the program itself, reported without the text of the error: it might hold a subscriber's number."""

from __future__ import annotations


def place_of(error: BaseException) -> str:
    """File and line at which an error was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "unknown"

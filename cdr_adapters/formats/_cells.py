"""Typed values as text, for sources that have types: sheets, databases, columnar files.

No digit is lost and none is made up: an integral floating point number is written as that integer (a called number that
a spreadsheet keeps as 1.2025550143E10 is 12025550143), any other in the shortest way that reads back the same; times in
ISO 8601, with their offset where they have one; bytes as UTF-8, bad ones replaced.
"""

from __future__ import annotations

import datetime
import math
from decimal import Decimal

_EXACT = 1 << 53


def text_of(value: object) -> str | None:
    """A value as text; None for none."""
    if value is None or isinstance(value, str):
        # half a surrogate pair is no text
        return value if value is None or value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if math.isfinite(value) and value.is_integer() and abs(value) <= _EXACT else repr(value)
    if isinstance(value, Decimal):
        return f"{value:f}" if value.is_finite() else str(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return text_of(value.total_seconds())
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "replace")
    return str(value).encode("utf-8", "replace").decode("utf-8")

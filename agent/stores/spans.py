"""Many searches as few conditions, for stores that read blocks of rows anyway: neighbours in time go together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.stores.engine import Span, Value

GROUPS = 32
"""At most so many conditions a statement."""


def grouped(spans: Sequence[Span], groups: int = GROUPS) -> Iterator[Span]:
    """Spans (in order of time) as at most `groups` wider ones, with all their numbers in each."""
    size = -(-len(spans) // groups)
    for begin in range(0, len(spans), size or 1):
        some = spans[begin : begin + size]
        called = tuple(dict.fromkeys(value for span in some for value in span.called))
        yield Span(called, _extreme(some, "low"), _extreme(some, "high"))


def _extreme(spans: Sequence[Span], which: str) -> Value | None:
    values = [getattr(span, which) for span in spans]
    if any(value is None for value in values):
        return None
    found: Value = min(values) if which == "low" else max(values)
    return found

"""What the tests of exports share: a file read through its format's own mapping, and the calls in few words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cdr_adapters.identify import claimants
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.read import read_source
from cdr_adapters.schema import Rejected
from tests.adapters.reading import written

Call = dict[str, Any]


def read(path: Path, name: str, mapping: Mapping[str, Any] | None = None) -> tuple[list[Call], list[Rejected], int]:
    """All calls, all rejects, and how many records were skipped."""
    source = SourceMapping.model_validate({"name": "x", "path": "x", "format": name, **(mapping or {})})
    calls: list[Call] = []
    rejected: list[Rejected] = []
    skipped = 0
    for batch in read_source(path, source, TrunkFormats()):
        calls += batch.calls.to_pylist()
        rejected += batch.rejected
        skipped += batch.skipped
    return calls, rejected, skipped


def calls_of(directory: Path, content: str | bytes, name: str, **mapping: Any) -> list[Call]:
    """The calls of a file with this content, which `name` alone claims and of which nothing is rejected."""
    path = written(directory, content)
    assert claimants(path) == (name,)
    calls, rejected, _ = read(path, name, mapping)
    assert rejected == []
    return calls


def utc(text: str) -> datetime:
    """`2026-11-21 23:23:27` as the time that it is in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def some(call: Call, *names: str) -> tuple[Any, ...]:
    """These values of a call."""
    return tuple(call[name] for name in names)


NUMBERS = ("called_in", "called_out", "calling")
UPSTREAM = ("ingress_trunk", "ingress_address")
DOWNSTREAM = ("egress_trunk", "egress_address")

"""Goldens in tests: a file must give what was once looked at and kept; see `cdr_adapters.kit.golden`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from cdr_adapters.kit.golden import differences, golden_of, parse_golden
from cdr_adapters.schema import Batch
from hopback.testing.reading import Reading, adapter_of


def assert_golden(
    adapter: str | ModuleType, file: Path, golden: Path, mapping: Mapping[str, Any] | None = None
) -> None:
    """Fail with a readable difference when `file` is read otherwise than `golden` says.

    `hopback-cdr golden FILE --mapping M --out GOLDEN` writes one. `mapping` has the keys of a [[sources]] table.
    """
    reading = Reading(adapter_of(adapter), mapping or {})

    def batches() -> Iterator[Batch]:
        mapper = reading.mapper()
        for raw in reading.raw(file, mapper.used):
            yield mapper.apply(raw)

    expected = parse_golden(golden.read_text("utf-8"))
    found = golden_of(batches(), reading.adapter.name, show_numbers=expected.show_numbers)
    differing = "\n".join(differences(expected, found))
    assert not differing, f"{file.name} is not read as {golden.name} says:\n{differing}"

"""What the sweeps start from: the samples that every format's own tests bring, and the mapping that reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from cdr_adapters.mapping import SourceMapping, TrunkFormats


@dataclass(frozen=True, slots=True)
class Seed:
    """Right files of a format, and the mapping that reads them."""

    format: str
    samples: tuple[bytes, ...]
    mapping: SourceMapping
    formats: TrunkFormats


@cache
def seed_of(name: str) -> Seed:
    """The seed of a format, from tests/adapters/formats/test_NAME.py.

    Raises:
        ImportError, AttributeError: its tests bring none; they must.
    """
    module = import_module(f"tests.adapters.formats.test_{name}")
    samples: list[bytes] = module.SAMPLES
    assert samples, f"tests/adapters/formats/test_{name}.py: SAMPLES is empty"
    assert all(isinstance(sample, bytes) and sample for sample in samples)
    table: Mapping[str, Any] = module.MAPPING
    trunks = table.get("trunk_formats", {})
    keys = {key: value for key, value in table.items() if key != "trunk_formats"}
    return Seed(
        name,
        tuple(samples),
        SourceMapping.model_validate({"name": "hostile", "path": "x", "format": name, **keys}),
        TrunkFormats(trunks.get("ingress", {}), trunks.get("egress", {})),
    )

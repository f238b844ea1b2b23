"""How the command line says that a file is to be read. Light: it is parsed before anything heavy is imported."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was given; None and empty where nothing was."""

    mapping: Path | None = None
    config: Path | None = None
    source: str | None = None
    format: str | None = None
    zone: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def overrides(self) -> bool:
        """Whether single values are given."""
        return bool(self.format or self.zone or self.options)


_ESCAPES = {"\\t": "\t"}


def parse_option(text: str) -> tuple[str, Any]:
    """`key=value` as a reader's option; the value as in TOML where it is that (`header=false`), else a text.

    Raises:
        ValueError: there is no equals sign.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ValueError(f"{text!r} is no option: write it as delimiter=; or header=false")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), _ESCAPES.get(value, value)

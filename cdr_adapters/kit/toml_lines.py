"""On which line of a TOML file a key stands, for messages that name it.

The standard library's parser gives values without positions. A statement of TOML ends where the text up to there is
TOML; so the statements of a file are told apart by trying, and the one after which a key is there holds it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdr_adapters.mapping import MappingError

_MOST_LINES = 1500
"""Longer files are read, but without line numbers: finding them takes the square of this."""
_PLACE = re.compile(r" \(at line (?P<line>[0-9]+), column [0-9]+\)")


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A TOML file as text and as a table."""

    path: Path
    text: str
    table: dict[str, Any]

    def line_of(self, keys: Sequence[str | int]) -> int | None:
        """The line where the value at `keys`, or the innermost table of it that is there, is written; from 1."""
        wanted = list(keys)
        while wanted and not _is_there(self.table, wanted):
            wanted.pop()
        lines = self.text.splitlines()
        if not wanted or len(lines) > _MOST_LINES:
            return None
        begin = 0
        for end in range(1, len(lines) + 1):
            try:
                table = tomllib.loads("\n".join(lines[:end]))
            except tomllib.TOMLDecodeError:
                continue
            if _is_there(table, wanted):
                blank = (i for i in range(begin, end) if lines[i].strip() and not lines[i].lstrip().startswith("#"))
                return next(blank, begin) + 1
            begin = end
        return None


def _is_there(table: Mapping[str, Any], keys: Sequence[str | int]) -> bool:
    node: Any = table
    for key in keys:
        if isinstance(key, int):
            if not isinstance(node, list) or key >= len(node):
                return False
        elif not isinstance(node, dict) or key not in node:
            return False
        node = node[key]
    return True


def read_toml(path: Path) -> TomlFile:
    """Read a TOML file.

    Raises:
        MappingError: it can't be read, or is no TOML; the message names the line.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise MappingError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise MappingError(f"{path}: byte {error.start} is not UTF-8: save the file as UTF-8") from None
    try:
        return TomlFile(path, text, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        line = f"line {place['line']}: " if place else ""
        what = _PLACE.sub("", str(error))
        raise MappingError(f"{path}: {line}no TOML: {what}; texts need quotes") from None

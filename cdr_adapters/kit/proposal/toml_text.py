"""A proposal as TOML: what is sure or likely is written, what isn't stands there as a comment with its candidates."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from cdr_adapters.kit.proposal.guess import Guess, Sure
from protos.printable import printable

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_WIDTH: Final = 118
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


def key(name: str) -> str:
    """A key, quoted where it must be."""
    return name if _BARE.fullmatch(name) else text(name)


def text(value: str) -> str:
    """A basic string."""
    escaped = (
        _ESCAPES.get(c) or (c if c.isprintable() else f"\\u{ord(c):04X}" if ord(c) < 0x10000 else f"\\U{ord(c):08X}")
        for c in value
    )
    return f'"{"".join(escaped)}"'


def value(item: Any) -> str:
    """A value on one line.

    Raises:
        TypeError: it is none that TOML has here.
    """
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, str):
        return text(item)
    if isinstance(item, int | float):
        return str(item)
    if isinstance(item, Mapping):
        return "{ " + ", ".join(f"{key(name)} = {value(one)}" for name, one in item.items()) + " }" if item else "{}"
    if isinstance(item, Iterable):
        return "[" + ", ".join(map(value, item)) + "]"
    raise TypeError(f"TOML has no {type(item).__name__}")


def _comment(told: str) -> list[str]:
    return textwrap.wrap(printable(told), _WIDTH, initial_indent="# ", subsequent_indent="# ")


def _lines(guess: Guess, name: str) -> list[str]:
    doubt = "UNSURE" if guess.sure is Sure.UNSURE else guess.sure.value
    named = "" if guess.written or guess.candidates else f"{name}: "
    lines = _comment(f"{doubt}: {named}{guess.why}")
    if guess.written:
        lines.append(f"{key(name)} = {value(guess.value)}")
        lines += [f"#   or: {key(name)} = {value(one)}" for one in guess.candidates]
    else:
        lines += [f"#{key(name)} = {value(one)}" for one in guess.candidates]
    return lines


def mapping_text(
    head: Sequence[str], guesses: Sequence[Guess], options: Mapping[str, Any], own_columns: Sequence[str] = ()
) -> str:
    """The mapping file. `options` is what the guesses about single options come to.

    `own_columns` are those that the format brings: told, and left as they are.
    """
    out = [line for told in head for line in _comment(told)]
    tables: dict[str, list[Guess]] = {}
    for guess in guesses:
        table, _, name = guess.key.rpartition(".")
        tables.setdefault(table, []).append(Guess(name, guess.sure, guess.why, guess.value, guess.candidates))
    for guess in tables.pop("", []):
        out += ["", *_lines(guess, guess.key)]
        if guess.key == "format" and (about := tables.pop("options", [])):
            out.append("")
            for one in about:
                also = f"; or {', '.join(map(value, one.candidates))}" if one.candidates else ""
                out += _comment(f"{one.sure.value}: {one.key} = {value(one.value)}: {one.why}{also}")
            out.append(f"options = {value(options)}")
    for table, rows in sorted(tables.items()):
        out += ["", f"[{table}]"]
        for guess in rows:
            out += _lines(guess, guess.key)
    if own_columns:
        out += ["", "# The format says itself what its columns are; a [columns] table here would replace all of it:"]
        out += [f"#   {printable(told)}" for told in own_columns]
    return "\n".join(out) + "\n"

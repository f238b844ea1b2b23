"""Records in a JSON document that need not fit into memory: an array of objects, objects behind each other, or pages.

A page is an object that holds its records in an array under a path known beforehand (`value`, `data.calls`); pages may
follow each other. The text is read a piece at a time; of the document only the record at hand is kept. Numbers stay the
text that they are (RFC 8259 leaves their precision open). A record longer than `MAX_LINE` or nested too deeply is none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cdr_adapters.stream import MAX_LINE

scan: Final[Callable[[str, int], tuple[Any, int]]] = json.scanner.make_scanner(  # type: ignore[attr-defined]
    json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
)
"""The JSON value that begins at a place in a text, numbers as text, and where it ends.

Raises:
    ValueError, StopIteration: none begins there, or it has no end. RecursionError: it is nested too deeply.
"""

_SPACE = re.compile(r"[ \t\r\n\x1e]*")
_KEPT = 4096


class BrokenDocumentError(ValueError):
    """The text is no JSON from here on, is cut off, or a record is too long or too deep."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Where a record should be stands something else; `text` is its beginning."""

    detail: str
    text: str


def records(pieces: Iterable[str], path: Sequence[str] = ()) -> Iterator[dict[str, Any] | Broken]:
    """The records of a text: with a `path` those of the arrays there, else every object, alone or in an array.

    What is broken outside of any array costs what it takes to the next line that begins an object; within an array the
    rest is lost, and the last thing that comes says so.
    """
    text = _Text(pieces)
    while start := text.peek():
        try:
            if path:
                yield from _at(text, path)
            elif start == "[":
                yield from _elements(text)
            else:
                yield _record(text.value())
        except BrokenDocumentError:
            if start == "[" or path:
                yield Broken("not JSON, or cut off, or too long; the file is not read from here on", text.beginning)
                return
            yield Broken("not JSON, or cut off, or too long", text.beginning)
            text.skip_to_object()


def _record(value: object) -> dict[str, Any] | Broken:
    return value if isinstance(value, dict) else Broken("not a JSON object", str(value)[:_KEPT])


def _elements(text: _Text) -> Iterator[dict[str, Any] | Broken]:
    text.take("[")
    while text.peek() != "]":
        yield _record(text.value())
        if text.peek() != "]":
            text.take(",")
            if text.peek() == "]":
                raise BrokenDocumentError
    text.take("]")


def _at(text: _Text, path: Sequence[str]) -> Iterator[dict[str, Any] | Broken]:
    """The records under `path` in the value that begins here; nothing when that has no such path."""
    if not path and text.peek() == "[":
        yield from _elements(text)
        return
    if not path or text.peek() != "{":
        text.value()
        return
    text.take("{")
    while text.peek() != "}":
        name = text.value()
        text.take(":")
        if name == path[0]:
            yield from _at(text, path[1:])
        else:
            text.value()
        if text.peek() != "}":
            text.take(",")
    text.take("}")


class _Text:
    """The part of a document that is in memory, and how far it was read."""

    def __init__(self, pieces: Iterable[str]) -> None:
        self._pieces = iter(pieces)
        self._text = ""
        self._at = 0

    def _more(self) -> bool:
        """Read on; False at the end."""
        for piece in self._pieces:
            if piece:
                self._text = self._text[self._at :] + piece
                self._at = 0
                return True
        return False

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr] # it matches nothing, too
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, character: str) -> None:
        """Pass over `character`, which must come next."""
        if self.peek() != character:
            raise BrokenDocumentError
        self._at += 1

    def value(self) -> Any:
        """The value that comes next."""
        self.peek()
        while True:
            try:
                value, end = scan(self._text, self._at)
            except RecursionError:
                raise BrokenDocumentError from None
            except (ValueError, StopIteration):
                if len(self._text) - self._at > MAX_LINE or not self._more():
                    raise BrokenDocumentError from None
                continue
            # a number may go on in the next piece
            if end == len(self._text) and self._text[-1] not in '"}]' and self._more():
                continue
            if end - self._at > MAX_LINE:
                raise BrokenDocumentError
            self._at = end
            return value

    def skip_to_object(self) -> None:
        """Go to the next line that begins with a brace, or to the end."""
        while True:
            found = self._text.find("\n{", self._at)
            if found >= 0:
                self._at = found + 1
                return
            self._at = max(len(self._text) - 1, 0)
            if not self._more():
                self._at = len(self._text)
                return

    @property
    def beginning(self) -> str:
        """What comes next, for a look at it."""
        return self._text[self._at : self._at + _KEPT]

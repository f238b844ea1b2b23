"""Messages of one shape are read by cutting out what differs.

Orders, questions and namings come ten thousand at a time and are nearly the same: of an order differ its id, a number,
a time, digests. What remains of a message's exact bytes when the values of such fields are cut out is its *shape*.
Bytes of a shape that was read before need no parsing: a message is its fields one after the other, each told by a tag
and, where it has no fixed one, a length (protobuf's encoding guide). So bytes that agree with a message, tags and
lengths included, in all but the inside of some values, are that message with other values.

Cut out are values of strings, of bytes and of fixed64 fields, each there once and in the order of their numbers;
whether the cut values are right is for the reader to say, and whatever is of no known shape is for the library to
parse. What is remembered is bounded, and holds none of the values.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from threading import Lock
from typing import Any, Final, Generic, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_LENGTHS: Final = 64
_LAYOUTS: Final = 4
_SHAPES: Final = 64
_FIXED64, _SIZED, _FIXED32 = 1, 2, 5

T = TypeVar("T")


class _Layout(Generic[T]):
    """Where values stand in messages of one length, and what was made of the rest where that is known."""

    __slots__ = ("known", "struct", "unpack")

    def __init__(self, struct: Struct) -> None:
        self.struct = struct
        self.unpack: Callable[[bytes], tuple[Any, ...]] = struct.unpack
        self.known: dict[tuple[bytes, ...], T] = {}


class Shapes(Generic[T]):
    """The shapes that one kind of message was seen in. `find` may be called by many threads, `keep`, too."""

    def __init__(self, message: type[Message], *cut: str) -> None:
        """Values of the fields `cut`, in the order of their numbers, are cut out."""
        self._cut: dict[int, int] = {}
        for name in cut:
            field = message.DESCRIPTOR.fields_by_name[name]
            self._cut[field.number] = _FIXED64 if field.type == FieldDescriptor.TYPE_FIXED64 else _SIZED
        if list(self._cut) != sorted(self._cut):
            raise ValueError("fields are cut out in the order of their numbers")
        self._layouts: dict[int, tuple[_Layout[T], ...]] = {}
        self._keeping = Lock()

    def find(self, exact: bytes) -> tuple[T, tuple[Any, ...]] | None:
        """What was made of the rest of a message of this shape, and the cut values; None where it is not known.

        Values are bytes, and integers of fixed64 fields; of a field that isn't there, no bytes.
        """
        for layout in self._layouts.get(len(exact), ()):
            pieces = layout.unpack(exact)
            rest = layout.known.get(pieces[::2])
            if rest is not None:
                return rest, pieces[1::2]
        return None

    def keep(self, exact: bytes, rest: T) -> None:
        """Remember what was made of the rest of a message that the library parsed and that was found right."""
        struct = self._struct(exact)
        if struct is None:
            return
        with self._keeping:
            layouts = self._layouts.get(len(exact), ())
            layout = next((one for one in layouts if one.struct.format == struct.format), None)
            if layout is None:
                layout = _Layout(struct)
                if len(self._layouts) >= _LENGTHS:
                    self._layouts.pop(next(iter(self._layouts)))
                self._layouts[len(exact)] = (*layouts[1 - _LAYOUTS :], layout)
            if len(layout.known) >= _SHAPES:
                layout.known.pop(next(iter(layout.known)))
            layout.known[struct.unpack(exact)[::2]] = rest

    def _struct(self, exact: bytes) -> Struct | None:
        """Pieces of the message, every second one a value that is cut out; None where it is not of plain form."""
        form, at, begun, cut = ["<"], 0, 0, dict(self._cut)
        while at < len(exact):
            tag, at = _varint(exact, at)
            number, wire = tag >> 3, tag & 7
            size = 0
            if wire == _SIZED:
                size, at = _varint(exact, at)
            elif wire in (_FIXED64, _FIXED32):
                size = 8 if wire == _FIXED64 else 4
            elif wire:
                return None
            else:
                _, at = _varint(exact, at)
            if number in self._cut:
                if cut.get(number) != wire:
                    return None
                while (skipped := next(iter(cut))) != number:
                    if cut.pop(skipped) == _FIXED64:
                        return None
                    form += ("0s", "0s")
                del cut[number]
                form += (f"{at - begun}s", "Q" if wire == _FIXED64 else f"{size}s")
                begun = at + size
            at += size
        if _FIXED64 in cut.values():
            return None
        form += ["0s"] * (2 * len(cut))
        struct = Struct("".join((*form, f"{at - begun}s")))
        return struct if struct.size == len(exact) else None


def _varint(exact: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = exact[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7

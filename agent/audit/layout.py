"""Where every byte of an audit log lies: names of files, frames of records, places of nodes. Pure arithmetic.

    entries        header, then records: length (u32, little-endian), first 8 bytes of the leaf hash, the entry
    tree           32 bytes a node of the Merkle tree (RFC 6962, section 2.1), in the order in which they are complete
    places         24 bytes an entry: where its record begins, first 8 bytes of its question's digest, its time (ms)
    checkpoints    header, then slots of one size: a record as above, zeros up to the end of the slot
    certificates   header, then records: the certificates (X.509, DER) of the keys that signed checkpoints
    witnessed      header, then records: other providers' checkpoints that this one signed as a witness

`entries`, `checkpoints` and `certificates` are the log. `tree` and `places` follow from `entries` and are made anew
where they don't fit. A record's check finds what was torn or altered by accident; what was altered on purpose shows in
the signed roots.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from hashlib import sha256
from typing import Final

from protos.merkle import HASH_SIZE

LOG_DIRECTORY: Final = "log"
"""Where in the configured directory the log lies; what follows from it lies beside."""
ENTRIES: Final = "entries"
TREE: Final = "tree"
PLACES: Final = "places"
CHECKPOINTS: Final = "checkpoints"
CERTIFICATES: Final = "certificates"
WITNESSED: Final = "witnessed"
LOCK: Final = "lock"

HEADER_SIZE: Final = 32
SLOT: Final = 320
"""Bytes of a checkpoint's place in its file, so that the last one and one of a given size are found at once."""
LARGEST_ENTRY: Final = 8192
LARGEST_RECORD: Final = 65536
FRAME: Final = struct.Struct("<I8s")
PLACE: Final = struct.Struct("<QQQ")


def header(name: str) -> bytes:
    """What a file begins with: what it is, and the version of its form."""
    return f"hopback audit {name} 1\n".encode().ljust(HEADER_SIZE, b"\0")


def frame(payload: bytes) -> bytes:
    """The record that holds `payload`."""
    return FRAME.pack(len(payload), sha256(b"\x00" + payload).digest()[:8]) + payload


def slot(payload: bytes) -> bytes:
    """A checkpoint's slot.

    Raises:
        ValueError: it is too long for one.
    """
    framed = frame(payload)
    if len(framed) > SLOT:
        raise ValueError(f"a checkpoint of {len(payload)} bytes does not fit its slot")
    return framed.ljust(SLOT, b"\0")


def unframe(data: bytes | memoryview, at: int, largest: int) -> tuple[bytes, bytes] | None:
    """The payload of the record at `at` and its leaf hash, None when no whole and unaltered record begins there."""
    start = at + FRAME.size
    if start > len(data):
        return None
    length, expected = FRAME.unpack_from(data, at)
    if not 0 < length <= largest or start + length > len(data):
        return None
    payload = bytes(data[start : start + length])
    hashed = sha256(b"\x00" + payload).digest()
    return (payload, hashed) if hashed[:8] == expected else None


def frames(data: bytes | memoryview, at: int, largest: int = LARGEST_RECORD) -> Iterator[tuple[int, bytes, bytes]]:
    """Every whole record from `at` on: where it begins, payload, leaf hash. Ends at the first that is none."""
    while (found := unframe(data, at, largest)) is not None:
        yield at, *found
        at += FRAME.size + len(found[0])


def nodes_before(leaves: int) -> int:
    """How many nodes are complete when there are so many leaves."""
    return 2 * leaves - leaves.bit_count()


def node_place(level: int, index: int) -> int:
    """Where in `tree` the hash over the 2^level leaves from index * 2^level on begins."""
    last = ((index + 1) << level) - 1
    return (nodes_before(last) + level) * HASH_SIZE


def leaves_in(tree_size: int) -> int:
    """How many leaves have all their nodes in so many bytes of `tree`."""
    nodes = tree_size // HASH_SIZE
    low, high = 0, nodes
    while low < high:
        middle = (low + high + 1) // 2
        if nodes_before(middle) <= nodes:
            low = middle
        else:
            high = middle - 1
    return low


def key_of(question_sha256: bytes) -> int:
    """What `places` keeps of a question's digest; 0 for none."""
    return int.from_bytes(question_sha256[:8], "little")

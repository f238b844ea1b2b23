"""Batches as frames in a pipe between the process that reads files and the one that wants their records.

A frame is its lengths, a JSON object and an Arrow IPC message or stream [Arrow columnar format, IPC]. What comes out of
`decode_*` has been validated in full: the process at the other end may have been broken by the file that it reads.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable
from typing import Any, Final

import pyarrow as pa

from cdr_adapters.schema import CALLS, PACKED, Batch, Rejected, RejectReason

LENGTHS: Final = struct.Struct("<LQ")
"""What every frame begins with: how long its JSON and its Arrow part are, in bytes."""
_MOST_JSON: Final = 1 << 29
_MOST_ARROW: Final = 1 << 30


class FrameError(ValueError):
    """A frame isn't what it should be."""


def check_lengths(lengths: bytes) -> tuple[int, int]:
    """The lengths of a frame's two parts.

    Raises:
        FrameError: they can't be true.
    """
    head, body = LENGTHS.unpack(lengths)
    if head > _MOST_JSON or body > _MOST_ARROW:
        raise FrameError(f"a frame of {head:,} and {body:,} bytes")
    return head, body


def decode_head(head: pa.Buffer) -> dict[str, Any]:
    """The JSON object of a frame, which has a kind.

    Raises:
        FrameError: it is something else.
    """
    try:
        fields = json.loads(head.to_pybytes())
    except (ValueError, RecursionError):
        raise FrameError("no JSON") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("kind"), str):
        raise FrameError("a frame without a kind")
    return fields


def frame(kind: str, arrow: pa.Buffer | None = None, **fields: Any) -> list[bytes | memoryview]:
    """A frame in pieces to be written one after the other."""
    head = json.dumps({"kind": kind, **fields}, separators=(",", ":")).encode()
    body = memoryview(arrow if arrow is not None else b"")
    return [LENGTHS.pack(len(head), len(body)), head, body]


def encode(batch: Batch) -> list[bytes | memoryview]:
    """A batch as a frame."""
    # columns that nothing is in, of which most sources have several, need not travel
    names = [name for name in batch.calls.schema.names if batch.calls.column(name).null_count < batch.calls.num_rows]
    some = batch.calls.select(names)
    fields = {
        "rejected": [_plain(reject) for reject in batch.rejected],
        "skipped": batch.skipped,
        "columns": names,
        "length": batch.calls.num_rows,
    }
    is_packed = batch.calls.schema == PACKED
    return frame("packed", _stream(some), **fields) if is_packed else frame("calls", some.serialize(), **fields)


def _stream(batch: pa.RecordBatch) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def decode_calls(head: dict[str, Any], body: pa.Buffer) -> Batch:
    """The batch of call legs in a frame.

    Raises:
        FrameError: there is none.
    """

    def read(names: list[str]) -> pa.RecordBatch:
        return pa.ipc.read_record_batch(body, pa.schema([CALLS.field(name) for name in names]))

    return _decoded(head, CALLS, read)


def decode_packed(head: dict[str, Any], body: pa.Buffer) -> Batch:
    """The batch of call legs for an index in a frame.

    Raises:
        FrameError: there is none.
    """

    def read(names: list[str]) -> pa.RecordBatch:
        some = pa.ipc.open_stream(body).read_next_batch()
        if some.schema != pa.schema([PACKED.field(name) for name in names]):
            raise FrameError("other columns than those it says")
        return some

    return _decoded(head, PACKED, read)


def _decoded(head: dict[str, Any], schema: pa.Schema, read: Callable[[list[str]], pa.RecordBatch]) -> Batch:
    """The batch whose columns `read` gives; those that aren't there are null."""
    try:
        names = list(head["columns"])
        some = read(names)
        some.validate(full=True)
        rows = int(head["length"]) if not names else some.num_rows
        columns = [
            some.column(names.index(field.name)) if field.name in names else pa.nulls(rows, field.type)
            for field in schema
        ]
        calls = pa.RecordBatch.from_arrays(columns, schema=schema)
        if any(not field.nullable and calls.column(field.name).null_count for field in schema):
            raise FrameError("a call without a time or a row")
        return Batch(calls, tuple(_rejects(head)), int(head["skipped"]))
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, StopIteration) as error:
        raise FrameError(f"no batch: {type(error).__name__}") from None


def _plain(reject: Rejected) -> tuple[int, str, str, str]:
    return reject.row, reject.reason.value, reject.detail, reject.raw


def _rejects(head: dict[str, Any]) -> Iterable[Rejected]:
    for row, reason, detail, text in head["rejected"]:
        yield Rejected(int(row), RejectReason(reason), str(detail), str(text))

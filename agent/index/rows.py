"""From canonical call legs to index rows: columns of integers, still in memory and still with plain numbers.

One row per record and form of the called number: the form that went out (or the only one known), and one more for the
form that came in when another was sent. Refuses what breaks the canonical schema: that is a fault of an adapter, not
of a record, and must not be indexed as if it were none.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agent.index.keys import I64, U8, U64, Keys
from agent.index.layout import DAY_MS

if TYPE_CHECKING:
    import pyarrow as pa

Route = tuple[str | None, str | None]
"""A trunk name and a peer address, as the record has them."""

U32 = npt.NDArray[np.uint32]

FORM_IN, TRANSLATED = 1, 2
DISPOSITION_SHIFT = 2
DISPOSITIONS = (None, "answered", "unanswered", "failed", "route-advanced")
LONGEST_INTERVAL_MS = 2**32 - 1


class AdapterContractError(ValueError):
    """A batch of an adapter breaks the canonical schema. The message shows no number."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Index rows as columns of equal length.

    Attributes:
        called: digits of the called number in the form that this row is found by.
        came_in: digits of the number as received where it differs from `called` and this row is the form that went
            out; 0 elsewhere.
        earliest, latest: seizure interval, ms since 1970.
        calling: digits, 0 for none. call_ref: pseudonym, 0 for none.
        ingress, egress: positions in the run's list of routes.
        flags: FORM_IN, TRANSLATED, and the position in DISPOSITIONS from bit 2 on.
        row: row number in the source.
    """

    called: U64
    came_in: U64
    earliest: I64
    latest: I64
    calling: U64
    call_ref: U64
    ingress: U32
    egress: U32
    flags: U8
    row: U64

    def __len__(self) -> int:
        return len(self.called)

    def days(self) -> list[int]:
        """The UTC days on which some row begins, ascending; there is one row at least."""
        first, last = int(self.earliest.min()) // DAY_MS, int(self.earliest.max()) // DAY_MS
        if first == last:
            return [first]
        days = self.earliest // DAY_MS
        if last - first > len(days):
            return [int(day) for day in np.unique(days)]
        found: list[int] = (np.flatnonzero(np.bincount(days - first)) + first).tolist()
        return found

    def take(self, positions: npt.NDArray[Any]) -> Rows:
        """The rows at these positions, in their order."""
        return Rows(*(getattr(self, f.name)[positions] for f in fields(self)))


_KINDS = ("u8", "u8", "i8", "i8", "u8", "u8", "u4", "u4", "u1", "u8")


def concatenate(parts: list[Rows]) -> Rows:
    """All rows of `parts`, in order; at least one part."""
    return Rows(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Rows)))


class RowBuffer:
    """Rows one batch after the other, in memory that is used again once they are gone."""

    def __init__(self) -> None:
        self._rows = Rows(*(np.empty(0, kind) for kind in _KINDS))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def extend(self, rows: Rows) -> None:
        """Copy rows behind those that are there."""
        begin, self._count = self._count, self._count + len(rows)
        if self._count > len(self._rows):
            larger = Rows(*(np.empty(max(self._count, 2 * len(self._rows)), kind) for kind in _KINDS))
            self._copy(self._rows, 0, begin, larger)
            self._rows = larger
        self._copy(rows, begin, len(rows), self._rows)

    @staticmethod
    def _copy(rows: Rows, to: int, count: int, target: Rows) -> None:
        for f in fields(Rows):
            getattr(target, f.name)[to : to + count] = getattr(rows, f.name)[:count]

    def cut(self, count: int) -> None:
        """Forget all but the first `count` rows."""
        self._count = count

    def rows(self) -> Rows:
        """All rows, as they lie: they last until others take their place."""
        return Rows(*(getattr(self._rows, f.name)[: self._count] for f in fields(Rows)))


class Routes:
    """Numbers the distinct pairs of trunk and address of a run, in order of appearance; 0 is neither."""

    def __init__(self) -> None:
        self._codes: dict[Route, int] = {(None, None): 0}

    def all(self) -> list[Route]:
        """The routes, in the order of their codes."""
        return list(self._codes)

    def codes(self, trunk: pa.Array, address: pa.Array) -> U32:
        """Codes of the pairs in two columns of text."""
        trunks, trunk_at = _distinct(trunk)
        addresses, address_at = _distinct(address)
        pairs = trunk_at if len(addresses) == 1 else trunk_at * len(addresses) + address_at
        possible = len(trunks) * len(addresses)
        if possible > max(_FEW_PAIRS, 2 * len(pairs)):
            used, at = np.unique(pairs, return_inverse=True)
            return self._codes_of(used, trunks, addresses)[at]
        used = np.flatnonzero(np.bincount(pairs, minlength=possible))
        codes = np.zeros(possible, np.uint32)
        codes[used] = self._codes_of(used, trunks, addresses)
        return codes[pairs]

    def _codes_of(self, pairs: I64, trunks: list[str | None], addresses: list[str | None]) -> U32:
        routes = [(trunks[pair // len(addresses)], addresses[pair % len(addresses)]) for pair in pairs.tolist()]
        return np.array([self._codes.setdefault(route, len(self._codes)) for route in routes], np.uint32)


_FEW_PAIRS = 4096


def _distinct(column: pa.Array) -> tuple[list[str | None], I64]:
    """The distinct texts of a column, None first, and each row's position among them."""
    encoded = column.dictionary_encode()  # gives back one that is so already
    texts: list[str | None] = [None, *encoded.dictionary.to_pylist()]
    if encoded.null_count == len(encoded):
        return [None], np.zeros(len(encoded), np.int64)
    return texts, encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64) + 1


def _digits(column: pa.Array, name: str) -> U64:
    """E.164 numbers as integers, null as 0."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count == len(column):
        return np.zeros(len(column), np.uint64)
    try:
        if pa.types.is_uint64(column.type):
            digits = column.fill_null(0)
        elif not pc.all(pc.starts_with(column, "+"), min_count=0).as_py():
            raise AdapterContractError(f"column {name} holds a text that is no E.164 number")
        else:
            digits = pc.utf8_slice_codeunits(column, 1).cast(pa.int64()).fill_null(0)
    except pa.ArrowInvalid:
        raise AdapterContractError(f"column {name} holds a text that is no E.164 number") from None
    numbers: U64 = digits.to_numpy(zero_copy_only=False).astype(np.uint64, copy=False)
    if len(numbers) and int(numbers.max()) >= 10**15:
        raise AdapterContractError(f"column {name} holds a number of more than 15 digits")
    return numbers


def _call_refs(column: pa.Array, keys: Keys) -> U64:
    """Pseudonyms of the call ids, null as 0, without a Python object per row."""
    _, offsets, data = column.buffers()
    if column.null_count == len(column) or offsets is None:
        return np.zeros(len(column), np.uint64)
    ends = np.frombuffer(offsets, np.int32, len(column) + 1, 4 * column.offset).astype(np.int64)
    refs = keys.call_ref_column(np.frombuffer(data or b"", np.uint8), ends)
    refs[column.is_null().to_numpy(zero_copy_only=False)] = 0
    return refs


def _milliseconds(column: pa.Array) -> I64:
    import pyarrow as pa

    ms: I64 = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return ms


def rows_of(calls: pa.RecordBatch, keys: Keys, routes: Routes) -> Rows:
    """The index rows of a batch of canonical call legs, packed or not.

    Raises:
        AdapterContractError: another schema, a null where none may be, no called number, an interval that ends before
            it begins, an unknown disposition.
    """
    from cdr_adapters.schema import CALLS, PACKED

    if not calls.schema.equals(PACKED) and not calls.schema.equals(CALLS):
        raise AdapterContractError("the batch has not the canonical schema")
    column = dict(zip(calls.schema.names, calls.columns, strict=True))
    for name in ("seizure_earliest", "seizure_latest", "row"):
        if column[name].null_count:
            raise AdapterContractError(f"column {name} holds a null")
    received, sent = _digits(column["called_in"], "called_in"), _digits(column["called_out"], "called_out")
    out = np.where(sent == 0, received, sent)
    if (out == 0).any():
        raise AdapterContractError("a record has neither called_in nor called_out")
    earliest, latest = _milliseconds(column["seizure_earliest"]), _milliseconds(column["seizure_latest"])
    if (latest < earliest).any() or (latest - earliest > LONGEST_INTERVAL_MS).any():
        raise AdapterContractError("a seizure interval ends before it begins, or is longer than 49 days")
    texts, at = _distinct(column["disposition"])
    if not set(texts) <= set(DISPOSITIONS):
        raise AdapterContractError("an unknown disposition")
    disposition = np.array([DISPOSITIONS.index(text) for text in texts], dtype=np.uint8)[at]
    translated = (received != 0) & (received != out)
    plain = Rows(
        called=out,
        came_in=np.where(translated, received, np.uint64(0)),
        earliest=earliest,
        latest=latest,
        calling=_digits(column["calling"], "calling"),
        call_ref=_call_refs(column["call_id"], keys),
        ingress=routes.codes(column["ingress_trunk"], column["ingress_address"]),
        egress=routes.codes(column["egress_trunk"], column["egress_address"]),
        flags=(disposition << DISPOSITION_SHIFT) | (translated.astype(np.uint8) * TRANSLATED),
        row=column["row"].to_numpy(zero_copy_only=False).astype(np.uint64),
    )
    if not translated.any():
        return plain
    other = plain.take(np.flatnonzero(translated))
    as_received = Rows(
        called=other.came_in,
        came_in=np.zeros_like(other.came_in),
        earliest=other.earliest,
        latest=other.latest,
        calling=other.calling,
        call_ref=other.call_ref,
        ingress=other.ingress,
        egress=other.egress,
        flags=(other.flags & ~np.uint8(TRANSLATED)) | np.uint8(FORM_IN),
        row=other.row,
    )
    return concatenate([plain, as_received])

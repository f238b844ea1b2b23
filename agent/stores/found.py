"""From a table's rows to call legs, each with the questions that it answers.

The rows go through the mapping layer that reads files, as one batch. Then each leg is found by the number that went out
and, where another came in, by that one too, as in the embedded index; a row that came twice is one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.index.layout import ceil_ms, floor_ms, time_of
from agent.index.pages import CALL_REF_BITS
from agent.legs import Leg
from protos.e164 import E164

if TYPE_CHECKING:
    from agent.index.keys import Keys
    from agent.index.reader import Query
    from agent.stores.engine import Table
    from cdr_adapters.columns import ColumnMapper
    from cdr_adapters.schema import Batch

_CALL_REF_MASK = (1 << CALL_REF_BITS) - 1


def distinct(table: Table) -> list[tuple[str | None, ...]]:
    """The rows of a table, each once, in the order in which they came; by column in the table's own order."""
    return list(dict.fromkeys(zip(*table.values(), strict=True)))


def mapped(names: Sequence[str], rows: Sequence[tuple[str | None, ...]], mapper: ColumnMapper) -> Batch:
    """The call legs in these rows; `row` of each is its position in `rows`."""
    import pyarrow as pa

    from cdr_adapters.raw import TEXT, RawBatch

    columns = list(zip(*rows, strict=True)) if rows else [() for _ in names]
    arrays = [pa.array(column, TEXT) for column in columns]
    batch = pa.RecordBatch.from_arrays(arrays, schema=pa.schema([pa.field(name, TEXT) for name in names]))
    return mapper.apply(RawBatch(batch, pa.array(range(len(rows)), pa.int64())))


@dataclass(frozen=True, slots=True)
class _Found:
    """A leg as it lies in the canonical table, before it is known which question asks."""

    sent: str
    received: str | None
    calling: str | None
    earliest: int
    latest: int
    rest: dict[str, Any]


def legs_of(
    store: str, batch: Batch, rows: Sequence[tuple[str | None, ...]], queries: Sequence[Query], keys: Keys
) -> list[list[Leg]]:
    """The legs that each question asks for, ordered by time."""
    answers: list[list[Leg]] = [[] for _ in queries]
    if not batch.calls.num_rows:
        return answers
    asked: dict[str, list[int]] = {}
    for number, query in enumerate(queries):
        asked.setdefault(query.called, []).append(number)
    intervals = [(ceil_ms(query.earliest), floor_ms(query.latest)) for query in queries]
    table = _columns(batch)
    refs = _call_refs(table["call_id"], keys)
    for at in range(batch.calls.num_rows):
        received, out = table["called_in"][at], table["called_out"][at]
        sent = out or received
        forms = [(sent, True)]
        if received is not None and received != sent:
            forms.append((received, False))
        earliest, latest = table["seizure_earliest"][at], table["seizure_latest"][at]
        for called, as_asked in forms:
            for number in asked.get(called, ()):
                low, high = intervals[number]
                if earliest > high or latest < low:
                    continue
                hint, calling = queries[number].calling, table["calling"][at]
                answers[number].append(
                    Leg(
                        called_in=E164(received) if as_asked and len(forms) > 1 else None,
                        sent_as_asked=as_asked,
                        calling_matches=None if hint is None or calling is None else hint == calling,
                        earliest=time_of(earliest),
                        latest=time_of(latest),
                        ingress_trunk=table["ingress_trunk"][at],
                        ingress_address=table["ingress_address"][at],
                        egress_trunk=table["egress_trunk"][at],
                        egress_address=table["egress_address"][at],
                        call_ref=refs[at],
                        disposition=table["disposition"][at],
                        source=store,
                        row=_row(rows[table["row"][at]], keys),
                    )
                )
    return [in_order(legs) for legs in answers]


def in_order(legs: list[Leg]) -> list[Leg]:
    """By time, and each leg once."""
    if len(legs) < 2:
        return legs
    each = {leg._replace(row=0): leg for leg in legs}
    return sorted(each.values(), key=lambda leg: (leg.earliest, leg.latest, leg.source))


def _columns(batch: Batch) -> dict[str, list[Any]]:
    import pyarrow as pa

    return {
        name: (column.cast(pa.int64()) if name.startswith("seizure") else column).to_pylist()
        for name, column in zip(batch.calls.schema.names, batch.calls.columns, strict=True)
    }


def _call_refs(call_ids: list[str | None], keys: Keys) -> list[int | None]:
    """Pseudonyms as short as the embedded index has them: a call may have rows in both."""
    some = list(dict.fromkeys(one for one in call_ids if one))
    refs = (
        dict(zip(some, (int(ref) & _CALL_REF_MASK or 1 for ref in keys.call_refs(some)), strict=True)) if some else {}
    )
    return [refs.get(one) if one else None for one in call_ids]


def _row(row: tuple[str | None, ...], keys: Keys) -> int:
    """A pseudonym of what is in the row: the same in every answer, and nothing that could be read back."""
    text = "\x1f".join("\x00" if value is None else value for value in row).encode()
    return int(hashlib.blake2b(text, digest_size=7, key=keys.check).hexdigest(), 16)

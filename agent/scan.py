"""Call legs out of a file, read from its beginning to its end: a question answered without an agent or an index.

For engineers who want to see what their mapping comes to. The records are read as an agent reads them, the decision is
`agent.match`'s. A number that is no E.164 number (an extension, a user's name, a masked number) can't be asked for in a
traceback; here it can, compared as it is written, so that a mapping can be tried on a laboratory's files too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from agent.legs import Leg
from agent.trunks import Party, PartyKind, TrunkMap, Unknown
from cdr_adapters.columns import ColumnMapper
from cdr_adapters.kit.reading import completed_mapping, raw_batches
from cdr_adapters.kit.subject import Subject
from cdr_adapters.raw import RawBatch
from cdr_adapters.schema import Batch
from protos.e164 import E164, parse_e164

STAND_IN: Final = parse_e164("+12025550100")
"""The number under which records are matched whose own is none; fictitious."""
_ENOUGH: Final = 20
_ROUTES: Final = 2
_STAND_IN_COLUMN: Final = "called as written"
_USER: Final = re.compile(r"(?:[^<]*<)?(?:(?:sips?|tel):)?(?P<user>[^@;>]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Called:
    """The number that is asked for: E.164, or as the file writes it."""

    number: E164 | None
    written: str

    @classmethod
    def parse(cls, text: str) -> Called:
        """`text` as E.164 if it is that, else as written; a URI counts by its user part."""
        try:
            return cls(parse_e164(text.strip()), text)
        except ValueError:
            return cls(None, user_part(text))

    @property
    def asked(self) -> E164:
        """The number that the matcher is asked for."""
        return self.number or STAND_IN


def user_part(text: str) -> str:
    """What a text says of the called party, without scheme, host and parameters: `sip:bob@example.net` is `bob`."""
    match = _USER.match(text.strip())
    return match["user"].strip().casefold() if match else ""


class AsWritten(TrunkMap):
    """Stands for the trunk map that nobody gave: every trunk, else every address, is a neighbour of its own.

    Where a call went is known by name only, never to whom: so that it speaks neither for nor against a call.
    """

    def _party(self, direction: Any, trunk: str | None, address: str | None, at: datetime) -> Party | Unknown:
        del at
        if not trunk and not address:
            return Unknown.NOT_RECORDED
        if direction.value == "egress":
            return Unknown.UNMAPPED
        return Party(PartyKind.PROVIDER, trunk or address or "")


@dataclass(slots=True)
class Scan:
    """What one pass over a file found.

    Attributes:
        legs: the records of the number asked for whose seizure may lie in the time asked for.
        records: how many calls the file has; `rejected`: how many records could not be read.
        earliest, latest: between which times they lie.
        others: how many records of the number lie at other times; `nearest`: when the nearest of them was set up.
        came_in_by: the trunks and addresses by which calls came in; not all of them when there are several.
    """

    legs: list[Leg] = field(default_factory=list)
    records: int = 0
    rejected: int = 0
    earliest: datetime | None = None
    latest: datetime | None = None
    others: int = 0
    nearest: datetime | None = None
    came_in_by: set[tuple[str | None, str | None]] = field(default_factory=set)

    @property
    def only_way_in(self) -> str | None:
        """By what every call came in, when it is the same and the calls are many: it may be the own gateway."""
        if self.records < _ENOUGH or len(self.came_in_by) != 1:
            return None
        (trunk, address), *_ = self.came_in_by
        return trunk or address


class FileOfCalls:
    """A file that can be searched, pass by pass; `source` names it in the legs."""

    def __init__(self, subject: Subject, source: str) -> None:
        self._subject = subject
        self._source = source
        self._call_refs: dict[str, int] = {}

    def find(
        self,
        called: Called,
        calling: E164 | None,
        at: datetime,
        reach: timedelta,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Scan:
        """All legs of `called` whose seizure may lie within `reach` of `at`.

        Raises:
            AdapterError: the file can't be read as its mapping says.
        """
        scan = Scan()
        for batch in self._batches(called):
            calls = batch.calls
            scan.rejected += len(batch.rejected)
            if not calls.num_rows:
                continue
            scan.records += calls.num_rows
            earliest, latest = (
                pc.min_max(calls.column(name)).as_py() for name in ("seizure_earliest", "seizure_latest")
            )
            scan.earliest = min(scan.earliest or earliest["min"], earliest["min"])
            scan.latest = max(scan.latest or latest["max"], latest["max"])
            if len(scan.came_in_by) < _ROUTES:
                sides = (calls.column(name).to_pylist() for name in ("ingress_trunk", "ingress_address"))
                scan.came_in_by.update(islice(dict.fromkeys(zip(*sides, strict=True)), _ROUTES))
            mine = pc.or_(
                *(
                    pc.fill_null(pc.equal(calls.column(name), str(called.asked)), False)
                    for name in ("called_in", "called_out")
                )
            )
            for row in calls.filter(mine).to_pylist():
                self._add(scan, row, called, calling, at, reach)
            progress(scan.records)
        return scan

    def _add(
        self, scan: Scan, row: dict[str, Any], called: Called, calling: E164 | None, at: datetime, reach: timedelta
    ) -> None:
        if row["seizure_earliest"] <= at + reach and row["seizure_latest"] >= at - reach:
            scan.legs.append(self._leg(row, called.asked, calling))
            return
        scan.others += 1
        if scan.nearest is None or abs(row["seizure_earliest"] - at) < abs(scan.nearest - at):
            scan.nearest = row["seizure_earliest"]

    def _leg(self, row: dict[str, Any], asked: E164, calling: E164 | None) -> Leg:
        received, sent = row["called_in"], row["called_out"]
        out = sent or received
        known = calling is not None and row["calling"] is not None
        call_id = row["call_id"]
        return Leg(
            called_in=parse_e164(received) if received not in (None, asked) else None,
            sent_as_asked=out == asked,
            calling_matches=row["calling"] == calling if known else None,
            earliest=row["seizure_earliest"],
            latest=row["seizure_latest"],
            ingress_trunk=row["ingress_trunk"],
            ingress_address=row["ingress_address"],
            egress_trunk=row["egress_trunk"],
            egress_address=row["egress_address"],
            call_ref=None if call_id is None else self._call_refs.setdefault(call_id, len(self._call_refs) + 1),
            disposition=row["disposition"],
            source=self._source,
            row=row["row"],
        )

    def _batches(self, called: Called) -> Iterator[Batch]:
        source = completed_mapping(self._subject)
        mapper = ColumnMapper(source, self._subject.mapping.formats)
        if called.number is not None:
            for raw in raw_batches(self._subject, mapper.used):
                yield mapper.apply(raw)
            return
        stand_in = source.columns.model_copy(update=_STAND_IN_SPECS) if source.columns else None
        renamed = ColumnMapper(source.model_copy(update={"columns": stand_in}), self._subject.mapping.formats)
        for raw in raw_batches(self._subject, mapper.used):
            if raw.header is not None:
                mapper.check_header(raw.header)
            yield renamed.apply(_with_stand_in(raw, mapper, called.written))


def _specs() -> dict[str, Any]:
    from cdr_adapters.column_specs import CalledColumn

    return {"called_in": CalledColumn(column=(_STAND_IN_COLUMN,), format="e164"), "called_out": None}


_STAND_IN_SPECS: Final = _specs()


def _with_stand_in(raw: RawBatch, mapper: ColumnMapper, written: str) -> RawBatch:
    """The records whose called number is written so, with the stand-in for it."""
    wanted: pa.BooleanArray | None = None
    for name in ("called_in", "called_out"):
        texts = mapper.texts(raw.columns, name)
        if texts is None:
            continue
        encoded = texts.dictionary_encode()
        fits = pa.array([user_part(text.as_py()) == written for text in encoded.dictionary], pa.bool_())
        here = pc.fill_null(fits.take(encoded.indices), False)
        wanted = here if wanted is None else pc.or_(wanted, here)
    if wanted is None:
        return raw
    table = raw.columns.filter(wanted)
    stand_in = pa.array([str(STAND_IN)] * table.num_rows, pa.string())
    return replace(
        raw,
        columns=table.append_column(_STAND_IN_COLUMN, stand_in),
        rows=raw.rows.filter(wanted),
        header=None if raw.header is None else (*raw.header, _STAND_IN_COLUMN),
    )

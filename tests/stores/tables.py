"""Synthetic call records in four kinds of table, and the linear scan that every store must equal.

Each kind has its own ways: of writing numbers, of writing times, of leaving them out. The same values stand in every
store and in a CSV file; what the file's reader makes of that is the truth. All numbers are fictitious.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from agent.index.keys import Keys
from agent.index.reader import Query
from agent.legs import Leg
from agent.stores.settings import StoreTable
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.read import read_source
from protos.e164 import E164

KEYS = Keys.from_root(bytes(range(32)))
FORMATS = TrunkFormats(
    ingress={"IN-TEN": "10d", "IN-TECH": "tech:1234#:11d", "IN-PLUS": "e164"},
    egress={"OUT-TEN": "10d", "OUT-ABROAD": "011e164"},
)
NEW_YORK = ZoneInfo("America/New_York")
CHANGE = datetime(2026, 11, 1, 6, tzinfo=UTC)
"""When the clocks of New York go back: 01:00 to 02:00 is shown twice."""
FIRST = CHANGE - timedelta(days=1, hours=3)
NUMBERS = tuple(
    E164(text)
    for text in ("+12025550143", "+12025550144", "+13125550199", "+18005550100", "+442079460123", "+12025550150")
)
CALLERS = (*NUMBERS[:2], "+12025550177", None)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Table:
    """One kind of table.

    Attributes:
        name: of the kind. columns: name -> `text`, `integer`, `instant` or `wall` (a time without zone).
        rows: values as Python has them: str, int, aware or naive datetime, None.
        mapping: keys of the mapping. written: of the store. key: the columns of its index.
    """

    name: str
    columns: dict[str, str]
    rows: tuple[tuple[Any, ...], ...]
    mapping: dict[str, Any]
    keys: tuple[tuple[str, str], ...]
    written: dict[str, list[str]] | None = None

    def settings(self, **where: Any) -> StoreTable:
        """The [[stores]] table for it."""
        return StoreTable.model_validate(
            {"name": self.name, **self.mapping, **({"written": self.written} if self.written else {}), **where}
        )

    def file(self, directory: Path) -> Path:
        """The same values in a CSV file."""
        path = directory / f"{self.name}.csv"
        with path.open("w", newline="") as stream:
            out = csv.writer(stream)
            out.writerow(self.columns)
            for row in self.rows:
                out.writerow("" if value is None else shown(value) for value in row)
        return path

    def source(self) -> SourceMapping:
        """The [[sources]] table for that file."""
        return SourceMapping.model_validate(
            {"name": self.name, "path": "*.csv", "format": "delimited", "options": {"header": True}, **self.mapping}
        )


def shown(value: Any) -> str:
    """A value as text, as a database shows it."""
    if isinstance(value, datetime):
        text = value.replace(tzinfo=None).isoformat(" ", "milliseconds" if value.microsecond else "seconds")
        return text if value.tzinfo is None else text + "Z"
    return str(value)


def scanned(table: Table, directory: Path, formats: TrunkFormats = FORMATS) -> Callable[[Query], list[Leg]]:
    """What a search must give: every leg in the file is looked at."""
    (batch,) = read_source(table.file(directory), table.source(), formats)
    calls = batch.calls.to_pylist()

    def scan(query: Query) -> list[Leg]:
        found = []
        for call in calls:
            received, sent = call["called_in"], call["called_out"] or call["called_in"]
            changed = received is not None and received != sent
            if query.called != sent and not (changed and query.called == received):
                continue
            if call["seizure_earliest"] > query.latest or call["seizure_latest"] < query.earliest:
                continue
            known = query.calling is not None and call["calling"] is not None
            found.append(
                Leg(
                    called_in=received if changed and query.called == sent else None,
                    sent_as_asked=query.called == sent,
                    calling_matches=query.calling == call["calling"] if known else None,
                    earliest=call["seizure_earliest"],
                    latest=call["seizure_latest"],
                    ingress_trunk=call["ingress_trunk"],
                    ingress_address=call["ingress_address"],
                    egress_trunk=call["egress_trunk"],
                    egress_address=call["egress_address"],
                    call_ref=int(KEYS.call_refs([call["call_id"]])[0]) & 0xFFFFFF if call["call_id"] else None,
                    disposition=call["disposition"],
                    source=table.name,
                    row=0,
                )
            )
        return list(dict.fromkeys(found))

    return scan


def plain(legs: Sequence[Leg]) -> list[tuple[Any, ...]]:
    """Legs to compare: all but the position, which every store counts in its own way."""
    return sorted(
        (tuple(getattr(leg, name) for name in Leg._fields if name not in ("row", "source")) for leg in legs), key=repr
    )


def _called(rng: random.Random, number: str, form: str) -> str:
    digits = number[1:]
    if form == "10d" and digits[0] == "1":
        return digits[1:]
    return {"11d": digits, "e164": digits, "011": "011" + digits, "tech": "1234#" + digits}.get(form, number)


def _moment(rng: random.Random) -> datetime:
    """Some time in three days, more often around the change of the clocks."""
    span = 5400 if rng.random() < 0.5 else 130_000
    return CHANGE + timedelta(seconds=rng.randint(-span, span))


def instants(count: int = 400, *, fractions: bool) -> Table:
    """Times with zone, some missing: then the answer, or the end and how long the call took, tells the seizure."""
    rng = random.Random(1)
    rows: list[tuple[Any, ...]] = []
    for number in range(count):
        called = rng.choice(NUMBERS)
        seized = _moment(rng)
        if fractions and rng.random() < 0.5:
            seized += timedelta(milliseconds=rng.randint(1, 999))
        answered = seized + timedelta(seconds=rng.randint(2, 60)) if rng.random() < 0.6 else None
        length = rng.randint(0, 4000)
        ended = seized + timedelta(seconds=length)
        kind = rng.random()
        start = None if kind < 0.4 else seized
        duration = None if 0.1 < kind < 0.15 else str(length)
        if 0.2 < kind < 0.4:
            answered = None
        sent = rng.choice(NUMBERS) if rng.random() < 0.2 else called
        form = rng.choice(["10d", "11d", "plus", "011"])
        rows.append(
            (
                number,
                _called(rng, called, form if called.startswith("+1") else rng.choice(["plus", "011"])),
                _called(rng, sent, "plus"),
                rng.choice(CALLERS),
                start,
                answered,
                ended,
                duration,
                rng.choice(["IN-A", "IN-B", None]),
                rng.choice(["192.0.2.1", "198.51.100.7:5060", None]),
                rng.choice(["200", "487", "503", None]),
                f"call-{number // 2}" if number % 5 else None,
            )
        )
    columns = {
        "id": "integer",
        "dialled": "text",
        "sent": "text",
        "ani": "text",
        "start": "instant",
        "answered": "instant",
        "ended": "instant",
        "seconds": "text",
        "trunk": "text",
        "peer": "text",
        "cause": "text",
        "callid": "text",
    }
    mapping = {
        "max_setup": "120s",
        "max_call": "2h",
        "columns": {
            "called_in": "dialled",
            "called_out": {"column": "sent", "format": "e164"},
            "calling": "ani",
            "seizure": {"column": "start", "format": "iso8601"},
            "answer": {"column": "answered", "format": "iso8601"},
            "release": {"column": "ended", "format": "iso8601"},
            "duration": {"column": "seconds", "unit": "s", "counts": "from_seizure"},
            "ingress_trunk": "trunk",
            "ingress_address": "peer",
            "call_id": "callid",
            "disposition": {"column": "cause", "values": {"200": "answered", "487": "unanswered", "*": "failed"}},
        },
    }
    return Table("instants", columns, tuple(rows), mapping, (("dialled", "start"), ("sent", "start")))


def walls(count: int = 400) -> Table:
    """A clock on the wall of New York that is seven seconds fast; numbers as each trunk writes them."""
    rng = random.Random(2)
    rows: list[tuple[Any, ...]] = []
    for number in range(count):
        trunk, form = rng.choice([("IN-TEN", "10d"), ("IN-TECH", "tech"), ("IN-PLUS", "e164"), ("IN-OTHER", "11d")])
        called = rng.choice(NUMBERS)
        if not called.startswith("+1"):
            trunk, form = "IN-PLUS", rng.choice(["e164", "plus"])
        local = (_moment(rng) + timedelta(seconds=7)).astimezone(NEW_YORK).replace(tzinfo=None)
        out, out_form = rng.choice([("OUT-TEN", "10d"), ("OUT-ABROAD", "011"), (None, "none")])
        sent = None if out is None else _called(rng, called, out_form if called.startswith("+1") else "011")
        method = rng.choice(["INVITE", "INVITE", "BYE"])
        rows.append((_called(rng, called, form), sent, local, trunk, out, method, f"c{number}"))
    columns = {
        "dialled": "text",
        "sent": "text",
        "start": "wall",
        "trunk": "text",
        "trunk out": "text",
        "method": "text",
        "call%id": "text",
    }
    mapping = {
        "zone": "America/New_York",
        "clock_offset": "7s",
        "where": {"method": "INVITE"},
        "columns": {
            "called_in": {"column": "dialled", "format": "trunk"},
            "called_out": {"column": "sent", "format": "trunk"},
            "seizure": {"column": "start", "format": "iso8601"},
            "ingress_trunk": "trunk",
            "egress_trunk": "trunk out",
            "call_id": "call%id",
        },
    }
    return Table("walls", columns, tuple(rows), mapping, (("dialled", "start"), ("sent", "start")))


def epochs(count: int = 400) -> Table:
    """Everything is a number: seconds since 1970, zero for never; called numbers without any sign."""
    rng = random.Random(3)
    rows: list[tuple[Any, ...]] = []
    for _ in range(count):
        called = rng.choice(NUMBERS)
        seized = (_moment(rng) - _EPOCH) // timedelta(seconds=1)
        start = rng.choice([seized, seized, 0, None])
        form = rng.choice(["10d", "11d"]) if called.startswith("+1") else "e164"
        digits = _called(rng, called, form)
        if form == "e164":
            digits = called[1:]
        rows.append((int(digits), start, seized + rng.randint(1, 90), rng.choice(["IN-A", "IN-B"])))
    columns = {"dialled": "integer", "start": "integer", "answered": "integer", "trunk": "text"}
    mapping = {
        "max_setup": "90s",
        "columns": {
            "called_in": "dialled",
            "seizure": {"column": "start", "format": "epoch_s"},
            "answer": {"column": "answered", "format": "epoch_s"},
            "ingress_trunk": "trunk",
        },
    }
    return Table("epochs", columns, tuple(rows), mapping, (("dialled", "start"),))


def texts(count: int = 400) -> Table:
    """Times and numbers as texts: a wall clock's, URIs; the first of two columns that has a number counts."""
    rng = random.Random(4)
    rows: list[tuple[Any, ...]] = []
    for _ in range(count):
        called = rng.choice([number for number in NUMBERS if number.startswith("+1")])
        local = _moment(rng).astimezone(NEW_YORK)
        text = f"{local:%Y-%m-%d %H:%M:%S}" + rng.choice(["", f".{rng.randint(0, 999):03}"])[: rng.choice([0, 4])]
        written = _called(rng, called, rng.choice(["10d", "11d", "plus"]))
        if rng.random() < 0.5:
            written = f"sip:{written}@203.0.113.5"
        first, second = (
            (written, rng.choice([None, "2025550199"])) if rng.random() < 0.6 else (rng.choice([None, ""]), written)
        )
        rows.append((first, second, text, rng.choice(["192.0.2.9", "bad", None])))
    columns = {"dialled": "text", "requested": "text", "start": "text", "peer": "text"}
    mapping = {
        "zone": "America/New_York",
        "columns": {
            "called_in": ["dialled", "requested"],
            "seizure": {"column": "start", "format": ["%Y-%m-%d %H:%M:%S"], "resolution": "1s"},
            "ingress_address": {"column": "peer", "bad": "null"},
        },
    }
    return Table(
        "texts",
        columns,
        tuple(rows),
        mapping,
        (("dialled", "start"), ("requested", "start")),
        {"called_in": ["{}", "sip:{}@203.0.113.5"]},
    )


def moments(table: Table) -> list[datetime]:
    """The times of the table's records, as they stand there, read as UTC: where a search's borders matter."""
    column = list(table.columns).index(table.keys[0][1])
    found = []
    for row in table.rows:
        value = row[column]
        if isinstance(value, int) and value:
            value = _EPOCH + timedelta(seconds=value)
        elif isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            if value.tzinfo is None:
                value = value.replace(tzinfo=NEW_YORK)
            found.append(value.astimezone(UTC))
    return found


def tables(*, fractions: bool = True) -> tuple[Table, ...]:
    """All kinds."""
    return instants(fractions=fractions), walls(), epochs(), texts()

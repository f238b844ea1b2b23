"""Synthetic call legs, a plain text format to keep them in, its reader, and the linear scan that an index must equal.

One line a record: `called_in|called_out|calling|earliest|span|in_trunk|in_address|out_trunk|out_address|call_id|end`,
times in ms. A line `bad…` is rejected, a line `skip…` is skipped. All numbers are fictitious.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pyarrow as pa

from agent.index.files import OsFiles
from agent.index.keys import Keys
from agent.legs import Leg
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.schema import CALLS, Batch, Rejected, RejectReason
from protos.e164 import E164, parse_e164

KEYS = Keys.from_root(bytes(range(32)))
OTHER_KEYS = Keys.from_root(bytes(range(1, 33)))
FORMATS = TrunkFormats()
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOON = (NOW - EPOCH) // timedelta(milliseconds=1)
MIDNIGHT = NOON - 12 * 3_600_000

ALICE, BOB, CAROL, TOLL_FREE = (
    parse_e164(text) for text in ("+12025550143", "+12025550144", "+13125550199", "+18005550100")
)


class UnsyncedFiles(OsFiles):
    """The operating system's files, without waiting for the disk: most tests are about what comes after that."""

    def fsync(self, descriptor: int) -> None:
        pass

    def fsync_directory(self, directory: Path) -> None:
        pass


UNSYNCED = UnsyncedFiles()


def at(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)


@dataclass(frozen=True)
class Call:
    """One record."""

    called_in: str | None = ALICE
    called_out: str | None = None
    calling: str | None = BOB
    earliest: int = NOON
    span: int = 0
    in_trunk: str | None = "TGIN1"
    in_address: str | None = "192.0.2.1"
    out_trunk: str | None = "TGOUT1"
    out_address: str | None = None
    call_id: str | None = None
    disposition: str | None = None

    def line(self) -> str:
        return "|".join("" if value is None else str(value) for value in astuple(self))


def mapping(name: str = "acc", **changes: object) -> SourceMapping:
    return SourceMapping.model_validate(
        {
            "name": name,
            "path": "*.txt",
            "format": "delimited",
            "options": {"header": False},
            "columns": {"called_in": "c", "seizure": {"column": "t", "format": "epoch_ms"}},
            **changes,
        }
    )


def write(path: Path, calls: Iterable[Call | str]) -> Path:
    path.write_text("".join(f"{call if isinstance(call, str) else call.line()}\n" for call in calls))
    return path


def batch_of(calls: list[tuple[int, Call]]) -> pa.RecordBatch:
    rows = [
        {
            "called_in": call.called_in,
            "called_out": call.called_out,
            "calling": call.calling,
            "seizure_earliest": at(call.earliest),
            "seizure_latest": at(call.earliest + call.span),
            "ingress_trunk": call.in_trunk,
            "egress_trunk": call.out_trunk,
            "ingress_address": call.in_address,
            "egress_address": call.out_address,
            "call_id": call.call_id,
            "disposition": call.disposition,
            "row": row,
        }
        for row, call in calls
    ]
    return pa.RecordBatch.from_pylist(rows, schema=CALLS)


def parse(line: str) -> Call:
    fields: list[str | None] = [field or None for field in line.split("|")]
    called_in, called_out, calling, earliest, span, *others = fields
    return Call(called_in, called_out, calling, int(earliest or 0), int(span or 0), *others)


def reader(batch_size: int = 3) -> Callable[[Path, SourceMapping, TrunkFormats], Iterator[Batch]]:
    def read(path: Path, mapping: SourceMapping, formats: TrunkFormats) -> Iterator[Batch]:
        lines = iter(enumerate(path.read_text().splitlines(), 1))
        while some := list(islice(lines, batch_size)):
            good = [(row, parse(line)) for row, line in some if not line.startswith(("bad", "skip"))]
            bad = [Rejected(row, RejectReason.BAD_TIME, "not a time", line) for row, line in some if line[:3] == "bad"]
            yield Batch(batch_of(good), tuple(bad), sum(line.startswith("skip") for _, line in some))

    return read


def scan(
    sources: Iterable[tuple[str, list[Call]]],
    called: E164,
    calling: E164 | None,
    earliest: datetime,
    latest: datetime,
) -> list[Leg]:
    """What `find` must give but for the row, by looking at every record of (name, records): a set, ordered by time."""
    legs = []
    for source, calls in sources:
        for call in calls:
            sent = call.called_out or call.called_in
            if called not in (sent, call.called_in):
                continue
            if at(call.earliest) > latest or at(call.earliest + call.span) < earliest:
                continue
            translated = call.called_in is not None and call.called_in != sent
            legs.append(
                Leg(
                    called_in=parse_e164(str(call.called_in)) if translated and called == sent else None,
                    sent_as_asked=called == sent,
                    calling_matches=None if calling is None or call.calling is None else calling == call.calling,
                    earliest=at(call.earliest),
                    latest=at(call.earliest + call.span),
                    ingress_trunk=call.in_trunk,
                    ingress_address=call.in_address,
                    egress_trunk=call.out_trunk,
                    egress_address=call.out_address,
                    call_ref=None if call.call_id is None else int(KEYS.call_refs([call.call_id])[0]) % 2**24 or 1,
                    disposition=call.disposition,
                    source=source,
                    row=0,
                )
            )
    return alike(legs)


def alike(legs: Iterable[Leg]) -> list[Leg]:
    """Legs without their rows, in an order of their own: what two searches must have in common."""
    return sorted({leg._replace(row=0) for leg in legs}, key=lambda leg: (leg.earliest, leg.latest, repr(leg)))

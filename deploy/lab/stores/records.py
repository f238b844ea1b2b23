"""From passages to accounting records: what a switch writes down of a call, before any file format.

Two habits exist. Proxies account transactions: a row when the final reply passes (with the time of that reply, not of
the setup), a row for the BYE, and in another table one row a dialog. Switches that make CDRs write a row a call, or a
row for every carrier tried, with setup, answer and release times.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from deploy.lab.dialing import UnwritableNumberError, wire
from deploy.lab.stores.source import Expected, Log
from deploy.lab.traffic import ANSWERED, BUSY, CANCELLED, Attempt, Passage
from protos.e164 import E164

REASONS = {200: "OK", 408: "Request Timeout", 486: "Busy Here", 487: "Request Terminated", 503: "Service Unavailable"}

DISPOSITIONS = {"200": "answered", "486": "unanswered", "487": "unanswered", "*": "failed"}
"""The configuration's translation of SIP codes."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row about a call setup, in true time: the passage, the carrier that it tells of, how that ended."""

    passage: Passage
    attempt: Attempt | None
    code: int
    finished: datetime
    released: datetime | None
    written: datetime

    @property
    def answered(self) -> datetime | None:
        """When the call was picked up."""
        return self.finished if self.code == ANSWERED else None

    @property
    def ended(self) -> datetime:
        """When the call, or the attempt, was over."""
        return self.released or self.finished

    @property
    def received(self) -> str:
        """The called number as it came in over the wire."""
        return wire(self.passage.called, self.passage.ingress.called_format)

    @property
    def sent(self) -> str:
        """The called number as it went out over the wire; empty when it went nowhere."""
        return wire(self.attempt.called, self.attempt.trunk.called_format) if self.attempt else ""

    @property
    def in_trunk(self) -> str:
        """The switch's own name of the trunk that the call came in on."""
        return self.passage.ingress.ingress_name

    @property
    def out_trunk(self) -> str:
        """The switch's own name of the trunk that the call went out on; empty when it went nowhere."""
        return self.attempt.trunk.egress_name if self.attempt else ""

    @property
    def in_address(self) -> str:
        """The signalling address of the side that handed the call over."""
        return self.passage.ingress.sender_address

    @property
    def out_address(self) -> str:
        """The signalling address of the side that it went to; empty when it went nowhere."""
        return self.attempt.trunk.receiver_address if self.attempt else ""

    @property
    def disposition(self) -> str:
        """How it ended, in the canonical words."""
        return {ANSWERED: "answered", BUSY: "unanswered", CANCELLED: "unanswered"}.get(self.code, "failed")


def a_call(log: Log) -> list[Record]:
    """One record a call, telling of the last carrier tried."""
    made = [Record(p, p.last, p.code, p.finished, p.released, p.closed) for p in log.passages if log.holds(p.closed)]
    return sorted(made, key=lambda r: r.written)


def an_attempt(log: Log) -> list[Record]:
    """One record for every carrier tried, failed ones too."""
    return sorted([*failed_attempts(log), *a_call(log)], key=lambda r: r.written)


def failed_attempts(log: Log) -> list[Record]:
    """One record for every carrier that was tried in vain before another."""
    made = [
        Record(p, a, a.code, a.ended, None, a.ended)
        for p in log.passages
        for a in p.attempts[:-1]
        if log.holds(a.ended)
    ]
    return sorted(made, key=lambda r: r.written)


def replies(log: Log) -> list[Record]:
    """One record a final reply, written when the reply passes: what transaction accounting knows."""
    made = [Record(p, p.last, p.code, p.finished, None, p.finished) for p in log.passages if log.holds(p.finished)]
    return sorted(made, key=lambda r: r.written)


def calling_text(log: Log, calling: E164 | None) -> str:
    """A calling number as this provider's switches write it; foreign ones always with their country code."""
    habit = sum(log.provider.id.encode()) % 4
    if calling is None:
        return ("anonymous", "Restricted", "", "anonymous")[habit]
    try:
        return wire(calling, ("e164", "11d", "10d", "e164")[habit])
    except UnwritableNumberError:
        return calling


def expected(
    record: Record,
    *,
    out: bool = True,
    trunks: bool = True,
    egress: bool = True,
    address: bool = True,
    disposition: bool = True,
) -> Expected:
    """What a right reading of this record's row gives, when the store records these things."""
    passage = record.passage
    return Expected(
        called_in=passage.called,
        called_out=record.attempt.called if out and record.attempt else None,
        calling=passage.calling,
        ingress_trunk=record.in_trunk if trunks else None,
        egress_trunk=(record.out_trunk or None) if trunks and egress else None,
        ingress_address=record.in_address if address else None,
        call_id=passage.record_id,
        disposition=record.disposition if disposition else None,
        seized=passage.seized,
    )


def epoch_s(reading: datetime) -> int:
    """Whole seconds since the epoch, cut off."""
    return int(reading.timestamp())


def epoch_us(reading: datetime) -> int:
    """Microseconds since the epoch."""
    return round(reading.timestamp() * 1000) * 1000


def julian(reading: datetime) -> float:
    """A Julian day as Kamailio's db_sqlite writes it: the whole second, less half a second."""
    return (epoch_s(reading) - 0.5) / 86400 + 2440587.5


def local(reading: datetime, zone: str, pattern: str) -> str:
    """The reading as local text, without a word about the zone."""
    return reading.astimezone(ZoneInfo(zone)).strftime(pattern)


def daily(
    log: Log, directory: Path, stem: str, suffix: str, rows: Iterable[tuple[datetime, str]], header: str = ""
) -> str:
    """Write text rows into a file a day, as switches rotate them; returns the glob that finds them.

    `rows` are (true time of writing, line). Where there is none, an empty file is left: the switch was up.
    """
    files: dict[str, list[str]] = {}
    for written, line in rows:
        files.setdefault(written.astimezone(UTC).strftime("%Y%m%d"), []).append(line)
    if not files:
        files[log.written_until.astimezone(UTC).strftime("%Y%m%d")] = []
    for day, lines in files.items():
        (directory / f"{log.prefix}{stem}-{day}{suffix}").write_text(header + "".join(lines), encoding="utf-8")
    return f"{log.prefix}{stem}-*{suffix}"

"""From what is seen in captures, of whatever kind, to rows: the columns that all capture formats share.

Columns (text; null when not known):

- `called_in`, `called_out`: user part of the Request-URI as received, as sent on. `first_called`, `diverted_by`: what
  History-Info (RFC 7044), else Diversion (RFC 5806), claim to have been dialled first, and to have sent the call on.
- `calling`: P-Asserted-Identity, else From unless withheld, else Remote-Party-ID; `calling_also`: the next of these
  that is another number. `attestation` (A, B, C), `origid`: as an Identity header claims, not verified. `verstat`: of
  P-Asserted-Identity, else From.
- `time`: epoch seconds of the first ingress INVITE (of the egress INVITE, where no ingress was seen), with
  microseconds; `answer_time` and `release_time` likewise: of the 2xx response, and of BYE or the final refusal.
- `ingress_address`, `egress_address`: IP of the neighbour. `sent_from`, `sent_to`: between whom the row's first INVITE
  passed, whoever of them is ours.
- `call_id`, `call_id_out`: Call-ID of the ingress (else of the egress) and of the egress.
- `leg`: `ingress`, `egress`, `ingress+egress`, or `unknown` when it isn't known which addresses are ours.
- `disposition`: answered, unanswered (busy, no answer, cancelled, declined), failed, or route-advanced: an attempt that
  failed and was followed by another. `sip_code`: final response of this attempt; `sip_code_upstream`: sent back.

A row's number is the frame number; of several files read together, a thousand million for each earlier one is added.

Of one file in a rotation, read by itself, the files that came before are looked at too, so that a call which goes on in
it is known whole: it is a row of every file in which it was set up, passed on or answered.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Final

import pyarrow as pa

from cdr_adapters import raw
from cdr_adapters.raw import RawBatch
from cdr_adapters.schema import Rejected, RejectReason
from cdr_adapters.sip.addresses import OwnAddresses
from cdr_adapters.sip.capture_files import CaptureFile, ReadFile, in_time_order
from cdr_adapters.sip.legs import CallLeg, LegPairing
from cdr_adapters.sip.message import Invite
from cdr_adapters.sip.vantage import Vantage
from cdr_adapters.sip.wire import Damage, Seen, Unreadable, decode, encode

DEFAULT_COLUMNS: Final = {
    "called_in": {"column": "called_in", "format": "trunk"},
    "called_out": {"column": "called_out", "format": "trunk"},
    "calling": "calling",
    "seizure": {"column": "time", "format": "epoch_s"},
    "answer": {"column": "answer_time", "format": "epoch_s"},
    "release": {"column": "release_time", "format": "epoch_s"},
    "ingress_address": "ingress_address",
    "egress_address": "egress_address",
    "call_id": "call_id",
    "leg": "leg",
    "disposition": "disposition",
    "attestation": "attestation",
    "origid": "origid",
    "verstat": "verstat",
}

_BATCH = 8192
_FRAMES_IN_A_FILE = 1_000_000_000

_UNANSWERED = frozenset({408, 480, 486, 487, 600, 603})
"""Nobody picked up: no answer in time, temporarily unavailable, busy, cancelled, busy everywhere, declined."""

_COLUMNS: Mapping[str, Callable[[CallLeg], str | None]] = {
    "called_in": lambda leg: leg.called_in,
    "called_out": lambda leg: leg.called_out,
    "calling": lambda leg: leg.invite.calling,
    "calling_also": lambda leg: next(iter(leg.invite.callers[1:]), None),
    "time": lambda leg: _time(leg.packet.time_us),
    "answer_time": lambda leg: _time(leg.answer_us),
    "release_time": lambda leg: _time(leg.release_us),
    "ingress_address": lambda leg: leg.ingress_address,
    "egress_address": lambda leg: leg.egress_address,
    "sent_from": lambda leg: leg.packet.src,
    "sent_to": lambda leg: leg.packet.dst,
    "call_id": lambda leg: leg.invite.call_id,
    "call_id_out": lambda leg: leg.call_id_out,
    "leg": lambda leg: _side(leg),
    "disposition": lambda leg: disposition(leg),
    "sip_code": lambda leg: _code(leg.code),
    "sip_code_upstream": lambda leg: _code(leg.code_upstream),
    "attestation": lambda leg: leg.invite.attestation,
    "origid": lambda leg: leg.invite.origid,
    "verstat": lambda leg: leg.invite.verstat,
    "first_called": lambda leg: leg.invite.first_called,
    "diverted_by": lambda leg: leg.invite.diverted_by,
}
COLUMN_NAMES = tuple(_COLUMNS)


def read_calls(
    files: Sequence[CaptureFile], own: Sequence[str], read: ReadFile, columns: frozenset[str] | None, others: int = 0
) -> Iterator[RawBatch]:
    """The call legs in captures, read in order of time as one.

    Args:
        files: in order of time; those with a negative number were read before, and are looked at again only for calls
            that go on in the others.
        own: this provider's addresses as `OwnAddresses` takes them; without, what the captures themselves prove.
        read: what is seen in one of the files. others: files that are no captures, to be counted as skipped.

    Raises:
        AdapterError: a file can't be read.
    """
    names = [name for name in COLUMN_NAMES if columns is None or name in columns]
    with closing(in_time_order(files, read)) as stream:
        if own:
            yield from _batches(stream, own, names, others)
        else:
            yield from _from_where_it_was_taken(stream, names, others)


def _from_where_it_was_taken(
    stream: Iterator[tuple[CaptureFile, Seen]], names: list[str], others: int
) -> Iterator[RawBatch]:
    """All is looked at before anything is said: what was seen waits on disk until then."""
    vantage = Vantage()
    files: dict[int, CaptureFile] = {}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogatepass") as spool:
        for file, seen in stream:
            files[file.number] = file
            if isinstance(seen, tuple) and isinstance(seen[1], Invite):
                vantage.learn(_placed(file, seen[0].frame), seen[0], seen[1])
            spool.write(json.dumps([file.number, encode(seen)]) + "\n")
        spool.seek(0)
        again = ((files[number], decode(record)) for number, record in map(json.loads, spool))
        own = vantage.own_addresses()
        note = () if own or not vantage.told() else (_note(max(vantage.first_row, 1), vantage.told()),)
        yield from _batches(again, own, names, others, note)


def _batches(
    stream: Iterator[tuple[CaptureFile, Seen]],
    own: Sequence[str],
    names: list[str],
    others: int,
    notes: tuple[Rejected, ...] = (),
) -> Iterator[RawBatch]:
    pairing = LegPairing(OwnAddresses(own) if own else None)
    legs: list[CallLeg] = []
    rejected = list(notes)
    first_stranger = 0
    for file, seen in stream:
        if isinstance(seen, tuple):
            packet, message = seen
            row = _placed(file, packet.frame)
            placed = replace(packet, frame=row) if file.number else packet
            legs.extend(leg for leg in pairing.feed(placed, message) if leg.row > 0)
            if pairing.strangers and not first_stranger:
                first_stranger = row
        elif file.number >= 0:
            rejected.append(_rejected(file, seen))
        if len(legs) + len(rejected) >= _BATCH:
            yield _batch(legs, rejected, names)
            legs, rejected = [], []
    legs.extend(leg for leg in pairing.finish() if leg.row > 0)
    if pairing.strangers and not pairing.ours:
        told = f"none of the {pairing.strangers} INVITEs was to or from own_addresses ({', '.join(own)})"
        rejected.append(_note(first_stranger, f"{told}; is the list right?"))
    yield _batch(legs, rejected, names, skipped=others + pairing.strangers)


def _placed(file: CaptureFile, frame: int) -> int:
    return file.number * _FRAMES_IN_A_FILE + frame


def _note(row: int, detail: str) -> Rejected:
    return Rejected(row, RejectReason.MALFORMED_ROW, detail, "")


def _rejected(file: CaptureFile, seen: Unreadable | Damage) -> Rejected:
    if isinstance(seen, Unreadable):
        return Rejected(_placed(file, seen.frame), RejectReason.MALFORMED_ROW, seen.reason, seen.raw)
    return _note(_placed(file, seen.frame + 1), f"{file.path.name} breaks off after frame {seen.frame}: {seen.detail}")


def _batch(legs: list[CallLeg], rejected: list[Rejected], names: list[str], skipped: int = 0) -> RawBatch:
    columns = {name: [_COLUMNS[name](leg) or None for leg in legs] for name in names}
    return RawBatch(
        columns=raw.string_batch(columns, len(legs)),
        rows=pa.array([leg.row for leg in legs], pa.int64()),
        rejected=tuple(rejected),
        skipped=skipped,
        header=COLUMN_NAMES,
    )


def disposition(leg: CallLeg) -> str | None:
    """How this attempt ended; None when that was not seen."""
    if leg.code is None:
        return None
    if leg.route_advanced:
        return "route-advanced"
    if leg.code < 300:
        return "answered"
    return "unanswered" if leg.code in _UNANSWERED else "failed"


def _side(leg: CallLeg) -> str:
    sides = [name for name, seen in (("ingress", leg.ingress_address), ("egress", leg.egress_address)) if seen]
    return "+".join(sides) or "unknown"


def _time(time_us: int | None) -> str | None:
    return None if time_us is None else f"{time_us // 1_000_000}.{time_us % 1_000_000:06d}"


def _code(code: int | None) -> str | None:
    return None if code is None else str(code)

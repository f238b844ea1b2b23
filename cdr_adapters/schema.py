"""The canonical table of call legs that every adapter yields, and the rows that could not become one.

One row is one call leg as one record of a switch tells it: where the call came in, where it went out, to which number,
when. A call may have several rows (START and STOP, one row a SIP transaction, one row a failed route); they are joined
when a question is asked, by call id, ingress and called number, not here.

Times: a record knows the seizure (setup) time exactly, or only when the call was answered or ended. Both become an
interval in which the seizure lies: `seizure_earliest` to `seizure_latest`, so that nobody downstream mistakes an answer
time for a setup time. A source whose clock counts whole seconds yields an interval of one second at least.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import pyarrow as pa

CALLS = pa.schema(
    [
        # E.164 of the called number as received on the ingress side; null only when the record has none
        pa.field("called_in", pa.string()),
        # E.164 of the called number as sent downstream; null when not recorded (then as received)
        pa.field("called_out", pa.string()),
        # E.164 of the calling number; null when absent, anonymous or not a number
        pa.field("calling", pa.string()),
        # the seizure lies in [earliest, latest], UTC
        pa.field("seizure_earliest", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("seizure_latest", pa.timestamp("ms", tz="UTC"), nullable=False),
        # when the call was answered and released, UTC; null when not recorded, answer also when nobody answered
        pa.field("answer", pa.timestamp("ms", tz="UTC")),
        pa.field("release", pa.timestamp("ms", tz="UTC")),
        # trunk group names as the switch writes them; null when not recorded
        pa.field("ingress_trunk", pa.string()),
        pa.field("egress_trunk", pa.string()),
        # peer IP addresses in canonical text form, without port; null when not recorded
        pa.field("ingress_address", pa.string()),
        pa.field("egress_address", pa.string()),
        # joins rows of one call within this provider only
        pa.field("call_id", pa.string()),
        # which leg or half of the call the record is of, in the switch's own words; null when it does not say
        pa.field("leg", pa.string()),
        # one of DISPOSITIONS, or null when the record does not say
        pa.field("disposition", pa.string()),
        # STIR/SHAKEN as the record tells it: attestation A, B or C, origid, and the verification's result in the
        # switch's own words; null when not recorded
        pa.field("attestation", pa.string()),
        pa.field("origid", pa.string()),
        pa.field("verstat", pa.string()),
        # line number (from 1), row id or frame number in the source
        pa.field("row", pa.int64(), nullable=False),
    ]
)
"""The canonical schema. At least one of called_in and called_out is set in every row."""

_WORD = pa.dictionary(pa.int32(), pa.string())

PACKED = pa.schema(
    [
        *(pa.field(name, pa.uint64()) for name in ("called_in", "called_out", "calling")),
        CALLS.field("seizure_earliest"),
        CALLS.field("seizure_latest"),
        *(pa.field(name, _WORD) for name in ("ingress_trunk", "egress_trunk", "ingress_address", "egress_address")),
        CALLS.field("call_id"),
        pa.field("disposition", _WORD),
        CALLS.field("row"),
    ]
)
"""What an index wants of the canonical columns, in the form in which it is made and taken in fastest: numbers as the
integers that their digits are, names and addresses by their places in a list of those that occur."""


DISPOSITIONS = ("answered", "unanswered", "failed", "route-advanced")
"""How a leg ended: somebody answered; it rang or was set up and nobody did; it was refused or broke; it was refused
on this route, and the switch tried the next one."""


class RejectReason(enum.Enum):
    """Why a record did not become a call leg. Values are stable: they are counted and shown."""

    MALFORMED_ROW = "malformed-row"
    NO_CALLED_NUMBER = "no-called-number"
    BAD_CALLED_NUMBER = "bad-called-number"
    NO_TIME = "no-time"
    BAD_TIME = "bad-time"
    TIME_SKIPPED_BY_DST = "time-skipped-by-dst"
    BAD_ADDRESS = "bad-address"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that could not be read: where it is, why, and its raw text for the quarantine file (never for a log)."""

    row: int
    reason: RejectReason
    detail: str
    raw: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What an adapter yields: call legs in the canonical schema, what was rejected, what was skipped on purpose.

    For an index, the call legs are in the schema `PACKED`.

    `skipped` counts records that are no call setups by the mapping's own rule (a BYE, an interim record).
    """

    calls: pa.RecordBatch
    rejected: tuple[Rejected, ...] = ()
    skipped: int = 0

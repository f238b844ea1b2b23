"""What BroadWorks call detail records mean, in CSV and in XML.

Each record is of one user: of the one who placed the call (direction Originating), or of the one who got it
(Terminating). `route` is the network's side of the call: the host that the call went to, or came from. So for a call
that was placed here the route is downstream, and upstream are the user's own trunk group, group or enterprise and
access device; for a call that came in it is the other way round. A call within a group has two records.

A record without a direction (some XML) is Originating when the calling number is the user's or the group's, and
Terminating when the called number is, or when neither is: a record exists only for a user whom the call reached. When
both fit, no side is told. After the 'BroadWorks Accounting Call Detail Record Interface Specification', releases 14 to
23; times are GMT by that specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

ZONE: Final = "UTC"
_TIME: Final = ["%Y%m%d%H%M%S.%f", "%Y%m%d%H%M%S"]
COLUMNS: Final[dict[str, Any]] = {
    "called_in": "CalledIn",
    "called_out": "CalledOut",
    "calling": ["callingNumber", "callingAssertedNumber"],
    "seizure": {"column": "startTime", "format": _TIME},
    "answer": {"column": "answerTime", "format": _TIME},
    "release": {"column": "releaseTime", "format": _TIME},
    "ingress_trunk": "IngressName",
    "ingress_address": {"column": "IngressAddress", "bad": "null"},
    "egress_trunk": "EgressName",
    "egress_address": {"column": "EgressAddress", "bad": "null"},
    "call_id": ["networkCallID", "localCallId"],
    "leg": "Side",
    "disposition": "outcome",
}

CALLS: Final = frozenset(("Normal", "Long Duration", "Interim", "Duration", "Duration Exceeded"))
"""Types of records that are of a call."""
MARKS: Final = frozenset(("Start", "End", "Failover"))
"""Types of records that are about the file or the server."""

NEEDED: Final = frozenset(
    (
        *("direction", "userNumber", "groupNumber", "callingNumber", "calledNumber", "networkTranslatedNumber"),
        *("route", "trunkGroupName", "group", "serviceProvider", "accessDeviceAddress"),
        *("answerIndicator", "answerTime", "terminationCause"),
    )
)
"""What the columns that are put together here are made of."""
_TEXT: Final = pa.string()
_ADDRESS: Final = (
    r"^(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?::[0-9]{1,5})?$|^\[?[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f.]*\]?(?::[0-9]{1,5})?$"
)
_UNANSWERED: Final = ("016", "017", "018", "019", "020", "031")
"""Q.850 causes, in three digits, of calls that nobody answered."""


def outcome(answered: str, cause: str) -> str | None:
    """How a call ended, from answerIndicator and terminationCause."""
    if answered.startswith("Yes"):
        return "answered"
    if not answered.startswith("No"):
        return None
    return "unanswered" if not cause or cause.zfill(3) in _UNANSWERED else "failed"


def derived(table: Mapping[str, pa.StringArray], rows: int) -> dict[str, pa.StringArray]:
    """The columns that say which side of the call a value is of; `table` has those of `NEEDED` that there are."""
    null = pa.nulls(rows, _TEXT)

    def column(name: str) -> pa.StringArray:
        values = table.get(name, null)
        return pc.if_else(pc.equal(values, ""), null, values)

    side = _sides(column, rows)
    placed = pc.fill_null(pc.equal(side, "Originating"), False)
    got = pc.fill_null(pc.equal(side, "Terminating"), False)
    route = column("route")
    is_address = pc.fill_null(pc.match_substring_regex(route, _ADDRESS), False)
    by_address = pc.if_else(is_address, route, null)
    by_name = pc.if_else(is_address, null, route)
    user = pc.coalesce(column("trunkGroupName"), column("group"), column("serviceProvider"))
    device = column("accessDeviceAddress")
    translated = column("networkTranslatedNumber")
    called = column("calledNumber")
    return {
        "Side": side,
        "CalledIn": pc.if_else(placed, pc.coalesce(translated, called), called),
        "CalledOut": pc.if_else(placed, translated, null),
        "IngressName": pc.if_else(placed, user, pc.if_else(got, by_name, null)),
        "IngressAddress": pc.if_else(placed, device, pc.if_else(got, by_address, null)),
        "EgressName": pc.if_else(placed, by_name, pc.if_else(got, user, null)),
        "EgressAddress": pc.if_else(placed, by_address, pc.if_else(got, device, null)),
        "outcome": _outcomes(column),
    }


def _sides(column: Any, rows: int) -> pa.StringArray:
    null = pa.nulls(rows, _TEXT)
    direction = column("direction")
    if not direction.null_count:
        return direction

    def is_own(number: pa.StringArray) -> pa.BooleanArray:
        of_user = pc.fill_null(pc.equal(number, column("userNumber")), False)
        return pc.or_(of_user, pc.fill_null(pc.equal(number, column("groupNumber")), False))

    calls, is_called = is_own(column("callingNumber")), is_own(column("calledNumber"))
    known = pc.and_(pc.is_valid(column("callingNumber")), pc.is_valid(column("userNumber")))
    told = pc.if_else(calls, "Originating", pc.if_else(pc.or_(is_called, known), "Terminating", null))
    return pc.coalesce(direction, pc.if_else(pc.and_(calls, is_called), null, told))


def _outcomes(column: Any) -> pa.StringArray:
    answered, cause = (pc.fill_null(column(name), "") for name in ("answerIndicator", "terminationCause"))
    keys = pc.binary_join_element_wise(answered, cause, "|").dictionary_encode()
    outcomes = [outcome(*key.split("|")) if key.count("|") == 1 else None for key in keys.dictionary.to_pylist()]
    return pa.array(outcomes, _TEXT).take(keys.indices)

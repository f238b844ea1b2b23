"""From the SIP messages of a capture to this provider's call legs: who handed a call in, and to whom it went out.

Ingress is an INVITE from another's address to one of ours, egress the reverse; between our own it is internal. The
upstream is the IP source of the ingress INVITE, never what Via, Record-Route or From say: those are written by others,
and serve here only to join the ingress with its egress inside this one provider, strongest evidence first:

1. a proxy: the egress INVITE carries the ingress INVITE's Via (RFC 3261 16.6); the nearest one wins, so that every
   passing of a loop keeps its own egress;
2. a back-to-back user agent that keeps the Call-ID: the one ingress leg of that Call-ID which waits for a route;
3. one that makes a new Call-ID: same called digits, same calling digits, within two seconds, and only one such leg.

Where that leaves doubt the egress stays unknown. A retransmission is the same INVITE; an INVITE sent again with a
higher CSeq after a challenge (401, 407 and the like, RFC 3261 22) is the same attempt; a route advance is one row an
attempt; an egress that no ingress explains is a row without ingress.

Messages come in the order of the capture; legs leave once nothing has been heard of them for `HORIZON_US`, so that
memory grows with the calls in progress, not with the capture.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

from cdr_adapters.sip_addresses import OwnAddresses
from cdr_adapters.sip_message import Final, Invite, Via

HORIZON_US = 300_000_000
"""Longer than any set-up stays undecided: Timer C (RFC 3261 16.6, over 3 minutes) and a margin."""

PAIRING_WINDOW_US = 2_000_000
"""How long after an ingress INVITE an egress with another Call-ID may still be taken for the same call."""

TRY_AGAIN = frozenset({401, 407, 415, 416, 420, 421, 422, 494})
"""Final responses after which the same client sends the same INVITE again, amended (RFC 3261 8.1.3.5; 4028; 3329)."""

_TAIL = 7
"""Digits by which numbers in different formats are first brought together; shorter ones are extensions."""

_MOST_ALIKE = 64
"""Legs that look alike at one time; beyond that nothing can be told apart, and no work is spent on trying."""

_WHOLE = 10
"""Common last digits that make two numbers in different formats the same one."""


@dataclass(frozen=True, slots=True)
class Packet:
    """Where and when a message was seen: `time_us` is microseconds since the epoch, addresses in canonical text."""

    frame: int
    time_us: int
    src: str
    src_port: int
    dst: str
    dst_port: int


@dataclass(frozen=True, slots=True)
class CallLeg:
    """One row: one attempt to pass on one call that came in.

    Attributes:
        frame, time_us: of the first ingress INVITE (of the egress INVITE when the call came in nowhere).
        ingress_address, egress_address: the neighbour's; None when not seen, or not told apart.
        code: this attempt's final response; of a call with one attempt or none, what went back upstream.
        code_upstream: the final response that went back upstream.
    """

    frame: int
    time_us: int
    called_in: str | None
    called_out: str | None
    calling: str
    ingress_address: str | None
    egress_address: str | None
    call_id: str
    code: int | None
    code_upstream: int | None
    attestation: str


@dataclass(slots=True)
class _Attempt:
    packet: Packet
    invite: Invite
    code: int | None = None


@dataclass(slots=True)
class _Leg:
    packet: Packet
    invite: Invite
    cseq: int
    last_us: int
    code: int | None = None
    attempts: list[_Attempt] = field(default_factory=list)
    came_in: bool = True  # False: an egress INVITE that nothing explains
    joined_for_certain: bool = False  # by Via or Call-ID
    vias: list[tuple[str, Via]] = field(default_factory=list)
    transactions: list[_Transaction] = field(default_factory=list)

    def waits_for_route(self) -> bool:
        return self.code is None and all(attempt.code is not None for attempt in self.attempts[-_MOST_ALIKE:])


_Transaction = tuple[str, str, int, Via]
"""Direction ("in" or "out"), Call-ID, CSeq, top Via: what a final response shares with its INVITE (RFC 3261 17.1.3)."""

_K = TypeVar("_K")
_T = TypeVar("_T")


class _Groups(Generic[_K, _T]):
    """Values by key; a key without values takes no memory."""

    def __init__(self) -> None:
        self._groups: dict[_K, dict[int, _T]] = {}

    def add(self, key: _K, value: _T) -> None:
        self._groups.setdefault(key, {})[id(value)] = value

    def remove(self, key: _K, value: _T) -> None:
        group = self._groups.get(key, {})
        group.pop(id(value), None)
        if not group:
            self._groups.pop(key, None)

    def __getitem__(self, key: _K) -> list[_T]:
        """The latest values first, at most `_MOST_ALIKE`."""
        return list(islice(reversed(self._groups.get(key, {}).values()), _MOST_ALIKE))


class LegPairing:
    """Takes the messages of one capture in order, gives the legs back.

    Attributes:
        ours: INVITEs to or from one of our addresses.
        strangers: INVITEs neither to nor from one of them.
    """

    def __init__(self, own: OwnAddresses) -> None:
        self._own = own
        self._due: list[tuple[int, int, _Leg]] = []
        self._arrivals = 0
        self._by_via: _Groups[tuple[str, Via], _Leg] = _Groups()
        self._by_call_id: _Groups[str, _Leg] = _Groups()
        self._by_numbers: _Groups[tuple[str, str], _Leg] = _Groups()
        self._awaiting: dict[_Transaction, _Leg | _Attempt] = {}
        self.ours = 0
        self.strangers = 0

    def feed(self, packet: Packet, message: Invite | Final) -> list[CallLeg]:
        """Take one message; return the legs that are over by now."""
        from_own = self._own.include(packet.src, packet.src_port)
        to_own = self._own.include(packet.dst, packet.dst_port)
        if from_own != to_own:
            if isinstance(message, Final):
                self._final(message, sent_by_us=from_own)
            elif to_own:
                self._ingress(packet, message)
            else:
                self._egress(packet, message)
        if isinstance(message, Invite):
            if from_own or to_own:
                self.ours += 1
            else:
                self.strangers += 1
        return self._settled(packet.time_us - HORIZON_US)

    def finish(self) -> list[CallLeg]:
        """Return what is left at the end of the capture."""
        return self._settled(None)

    def _ingress(self, packet: Packet, invite: Invite) -> None:
        transaction = ("in", invite.call_id, invite.cseq, invite.vias[0])
        known = self._awaiting.get(transaction)
        if isinstance(known, _Leg) and (known.packet.src, known.invite.called) == (packet.src, invite.called):
            return  # a retransmission
        leg = self._challenged(packet, invite)
        if leg is None:
            leg = self._new_leg(_Leg(packet, invite, invite.cseq, packet.time_us))
            self._by_numbers.add(_numbers(invite), leg)
        else:
            leg.cseq, leg.code, leg.last_us = invite.cseq, None, packet.time_us
        if invite.vias[0].branch:
            via = (invite.call_id, invite.vias[0])
            leg.vias.append(via)
            self._by_via.add(via, leg)
        leg.transactions.append(transaction)
        self._awaiting[transaction] = leg

    def _new_leg(self, leg: _Leg) -> _Leg:
        self._arrivals += 1
        heapq.heappush(self._due, (leg.last_us, self._arrivals, leg))
        self._by_call_id.add(leg.invite.call_id, leg)
        return leg

    def _challenged(self, packet: Packet, invite: Invite) -> _Leg | None:
        """The leg of which this INVITE is another try: same client and call, higher CSeq, told to try again."""
        for leg in self._by_call_id[invite.call_id]:
            if (
                leg.packet.src == packet.src
                and leg.invite.from_tag == invite.from_tag
                and leg.invite.called == invite.called
                and leg.cseq < invite.cseq
                and (leg.code is None or leg.code in TRY_AGAIN)
            ):
                return leg
        return None

    def _egress(self, packet: Packet, invite: Invite) -> None:
        transaction = ("out", invite.call_id, invite.cseq, invite.vias[0])
        known = self._awaiting.get(transaction)
        if isinstance(known, _Attempt) and (known.packet.dst, known.invite.called) == (packet.dst, invite.called):
            return  # a retransmission
        leg = self._ingress_of(packet, invite)
        if leg is None:
            return
        leg.last_us = packet.time_us
        attempt = _tried_again(leg.attempts, packet, invite)
        if attempt is None:
            attempt = _Attempt(packet, invite)
            leg.attempts.append(attempt)
        else:
            attempt.invite, attempt.code = invite, None
        leg.transactions.append(transaction)
        self._awaiting[transaction] = attempt

    def _ingress_of(self, packet: Packet, invite: Invite) -> _Leg | None:
        """The leg that this egress INVITE continues; None when several might be it, all found under its number."""
        for via in invite.vias[1:]:
            if legs := self._by_via[invite.call_id, via]:
                legs[0].joined_for_certain = True
                return legs[0]
        candidates = self._by_call_id[invite.call_id]
        if candidates:
            leg = _only(candidates, _Leg.waits_for_route) or _only(candidates, lambda leg: leg.code is None)
            if leg is not None:
                leg.joined_for_certain = True
                return leg
        else:
            since = packet.time_us - PAIRING_WINDOW_US
            candidates = self._by_numbers[_numbers(invite)]
            candidates = [leg for leg in candidates if not leg.joined_for_certain and _same_numbers(leg.invite, invite)]
            leg = _only(candidates, lambda leg: leg.code is None and leg.packet.time_us >= since)
            if leg is not None:
                return leg
        if any(same_number(leg.invite.called, invite.called) for leg in candidates):
            return None
        # nothing that came in would be found under this number: a leg of its own, without ingress
        return self._new_leg(_Leg(packet, invite, invite.cseq, packet.time_us, came_in=False))

    def _final(self, final: Final, *, sent_by_us: bool) -> None:
        awaiting = self._awaiting.get(("in" if sent_by_us else "out", final.call_id, final.cseq, final.via))
        if awaiting is None or awaiting.code is not None:
            return
        current = awaiting.cseq if isinstance(awaiting, _Leg) else awaiting.invite.cseq
        if final.cseq == current:  # not the challenge to an earlier try, repeated late
            awaiting.code = final.code

    def _settled(self, until_us: int | None) -> list[CallLeg]:
        """Legs silent since before `until_us`, taken out of all indices; every leg for None."""
        rows: list[CallLeg] = []
        while self._due and (until_us is None or self._due[0][0] < until_us):
            _, arrival, leg = heapq.heappop(self._due)
            if until_us is not None and leg.last_us >= until_us:
                heapq.heappush(self._due, (leg.last_us, arrival, leg))
                continue
            self._forget(leg)
            rows.extend(_rows(leg))
        return rows

    def _forget(self, leg: _Leg) -> None:
        self._by_call_id.remove(leg.invite.call_id, leg)
        self._by_numbers.remove(_numbers(leg.invite), leg)
        for via in leg.vias:
            self._by_via.remove(via, leg)
        mine = {id(leg), *map(id, leg.attempts)}
        for transaction in leg.transactions:
            if id(self._awaiting.get(transaction)) in mine:
                del self._awaiting[transaction]


def digits(user: str) -> str:
    """The digits of a user part, in order, with those of a tech prefix, without those of a parameter."""
    return "".join(c for c in user.partition(";")[0] if c in "0123456789")


def same_number(one: str, other: str) -> bool:
    """Whether two user parts are one number in different formats: with country code, 00, + or tech prefix, or not."""
    a, b = sorted((digits(one), digits(other)), key=len)
    if len(a) < _TAIL:
        return bool(a) and a == b
    return b.endswith(a) or a[-_WHOLE:] == b[-_WHOLE:]


def _numbers(invite: Invite) -> tuple[str, str]:
    return digits(invite.called)[-_TAIL:], digits(invite.calling)[-_TAIL:]


def _same_numbers(one: Invite, other: Invite) -> bool:
    return same_number(one.called, other.called) and same_number(one.calling, other.calling)


def _only(legs: Sequence[_Leg], fits: Callable[[_Leg], bool]) -> _Leg | None:
    """The one leg that fits; None when several do, or when there are too many to look at."""
    if len(legs) >= _MOST_ALIKE:
        return None
    found = [leg for leg in legs if fits(leg)]
    return found[0] if len(found) == 1 else None


def _tried_again(attempts: Sequence[_Attempt], packet: Packet, invite: Invite) -> _Attempt | None:
    """The attempt of which this INVITE is another try after a challenge by the same next provider."""
    for attempt in attempts[-_MOST_ALIKE:]:
        if (
            attempt.packet.dst == packet.dst
            and attempt.invite.called == invite.called
            and attempt.invite.cseq < invite.cseq
            and (attempt.code is None or attempt.code in TRY_AGAIN)
        ):
            return attempt
    return None


def _rows(leg: _Leg) -> Iterator[CallLeg]:
    came_in = leg.came_in
    attempts: Sequence[_Attempt | None] = leg.attempts or [None]
    for attempt in attempts:
        own_code = attempt.code if attempt else None
        yield CallLeg(
            frame=leg.packet.frame,
            time_us=leg.packet.time_us,
            called_in=leg.invite.called if came_in else None,
            called_out=attempt.invite.called if attempt else None,
            calling=leg.invite.calling,
            ingress_address=leg.packet.src if came_in else None,
            egress_address=attempt.packet.dst if attempt else None,
            call_id=leg.invite.call_id,
            code=own_code if len(leg.attempts) > 1 or leg.code is None else leg.code,
            code_upstream=leg.code,
            attestation=leg.invite.attestation,
        )

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

Where nobody knows which addresses are ours, an INVITE is a row without ingress and egress: who sent it may be the
upstream or this provider itself.

A leg is answered when the final response that says so passes, and released by the first BYE of either side; an
unanswered one by its final response. Messages come in the order of the capture; legs leave once nothing more is to be
heard of them (`_Leg.due_us`), so that memory grows with the calls in progress, not with the capture.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

from cdr_adapters.sip.addresses import OwnAddresses
from cdr_adapters.sip.message import Bye, Final, Invite, Message, Via
from cdr_adapters.sip.numbers import number_keys, same_number, same_numbers

HORIZON_US = 300_000_000
"""Longer than any set-up stays undecided: Timer C (RFC 3261 16.6, over 3 minutes) and a margin."""

LINGER_US = 40_000_000
"""How long a call that is over may still be heard of: Timer H and J (RFC 3261 17.2, 32 seconds) and a margin."""

LONGEST_CALL_US = 4 * 3600 * 1_000_000
"""How long the BYE of an answered call is waited for."""

MOST_OPEN = 100_000
"""Legs that are followed at a time; beyond that the one that has least to wait for leaves as it stands."""

PAIRING_WINDOW_US = 2_000_000
"""How long after an ingress INVITE an egress with another Call-ID may still be taken for the same call."""

TRY_AGAIN = frozenset({401, 407, 415, 416, 420, 421, 422, 494})
"""Final responses after which the same client sends the same INVITE again, amended (RFC 3261 8.1.3.5; 4028; 3329)."""

_MOST_ALIKE = 64
"""Legs that look alike at one time; beyond that nothing can be told apart, and no work is spent on trying."""


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
        row: frame of the first message that told of the leg; of one with a positive number if there was one.
        packet, invite: the first ingress INVITE (the egress INVITE when the call came in nowhere).
        called_in, called_out: as received, as sent on; None where that INVITE was not seen.
        ingress_address, egress_address: the neighbour's; None when not seen, or not told apart.
        call_id_out: Call-ID of the egress.
        code: this attempt's final response; of a call with one attempt or none, what went back upstream.
        code_upstream: the final response that went back upstream.
        answer_us, release_us: of this attempt, microseconds since the epoch; None when not seen.
        route_advanced: this attempt failed, and another one was made after it.
    """

    row: int
    packet: Packet
    invite: Invite
    called_in: str | None
    called_out: str | None
    ingress_address: str | None
    egress_address: str | None
    call_id_out: str | None
    code: int | None
    code_upstream: int | None
    answer_us: int | None
    release_us: int | None
    route_advanced: bool


@dataclass(slots=True)
class _Attempt:
    leg: _Leg
    packet: Packet
    invite: Invite
    code: int | None = None
    code_us: int | None = None


@dataclass(slots=True)
class _Leg:
    packet: Packet
    invite: Invite
    cseq: int
    last_us: int
    row: int
    code: int | None = None
    code_us: int | None = None
    release_us: int | None = None
    attempts: list[_Attempt] = field(default_factory=list)
    came_in: bool = True  # False: an egress INVITE that nothing explains
    gone: bool = False
    joined_for_certain: bool = False  # by Via or Call-ID
    vias: list[tuple[str, Via]] = field(default_factory=list)
    dialogs: list[tuple[str, str]] = field(default_factory=list)
    transactions: list[_Transaction] = field(default_factory=list)

    def waits_for_route(self) -> bool:
        return self.code is None and all(attempt.code is not None for attempt in self.attempts[-_MOST_ALIKE:])

    def told_by(self, packet: Packet) -> None:
        self.last_us = max(self.last_us, packet.time_us)
        if self.row <= 0:
            self.row = packet.frame

    def answered(self) -> bool:
        return _is_success(self.code) or any(_is_success(attempt.code) for attempt in self.attempts)

    def due_us(self) -> int:
        """When nothing more is to be expected."""
        if self.release_us is not None:
            return max(self.last_us, self.release_us) + LINGER_US
        if self.answered():
            return self.last_us + LONGEST_CALL_US
        if self.code is None or self.code in TRY_AGAIN:
            return self.last_us + HORIZON_US
        return self.last_us + LINGER_US


def _is_success(code: int | None) -> bool:
    return code is not None and 200 <= code < 300


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

    def __init__(self, own: OwnAddresses | None, most_open: int = MOST_OPEN) -> None:
        self._own = own
        self._most_open = most_open
        self._due: list[tuple[int, int, _Leg]] = []
        self._open = 0
        self._arrivals = 0
        self._by_via: _Groups[tuple[str, Via], _Leg] = _Groups()
        self._by_call_id: _Groups[str, _Leg] = _Groups()
        self._by_numbers: _Groups[tuple[str, str], _Leg] = _Groups()
        self._by_dialog: _Groups[tuple[str, str], _Leg] = _Groups()
        self._awaiting: dict[_Transaction, _Leg | _Attempt] = {}
        self.ours = 0
        self.strangers = 0

    def feed(self, packet: Packet, message: Message) -> list[CallLeg]:
        """Take one message; return the legs that are over by now."""
        if isinstance(message, Bye):
            self._bye(packet, message)
        elif self._own is None:
            if isinstance(message, Final):
                self._final(packet, message, sent_by_us=True)
            else:
                self._ingress(packet, message)
        else:
            self._at_the_border(packet, message, self._own)
        return self._settled(packet.time_us)

    def _at_the_border(self, packet: Packet, message: Invite | Final, own: OwnAddresses) -> None:
        from_own = own.include(packet.src, packet.src_port)
        to_own = own.include(packet.dst, packet.dst_port)
        if from_own != to_own:
            if isinstance(message, Final):
                self._final(packet, message, sent_by_us=from_own)
            elif to_own:
                self._ingress(packet, message)
            else:
                self._egress(packet, message)
        if isinstance(message, Invite):
            if from_own or to_own:
                self.ours += 1
            elif packet.frame > 0:
                self.strangers += 1

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
            leg = self._new_leg(_Leg(packet, invite, invite.cseq, packet.time_us, packet.frame))
            for key in number_keys(invite):
                self._by_numbers.add(key, leg)
        else:
            leg.cseq, leg.code, leg.code_us = invite.cseq, None, None
            leg.told_by(packet)
        if invite.vias[0].branch:
            via = (invite.call_id, invite.vias[0])
            leg.vias.append(via)
            self._by_via.add(via, leg)
        leg.transactions.append(transaction)
        self._awaiting[transaction] = leg

    def _new_leg(self, leg: _Leg) -> _Leg:
        self._open += 1
        self._wait_for(leg)
        self._by_call_id.add(leg.invite.call_id, leg)
        self._note_dialog(leg, leg.invite)
        return leg

    def _wait_for(self, leg: _Leg) -> None:
        self._arrivals += 1
        heapq.heappush(self._due, (leg.due_us(), self._arrivals, leg))

    def _note_dialog(self, leg: _Leg, invite: Invite) -> None:
        dialog = (invite.call_id, invite.from_tag)
        if invite.from_tag and dialog not in leg.dialogs:
            leg.dialogs.append(dialog)
            self._by_dialog.add(dialog, leg)

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
        leg.told_by(packet)
        attempt = _tried_again(leg.attempts, packet, invite)
        if attempt is None:
            attempt = _Attempt(leg, packet, invite)
            leg.attempts.append(attempt)
        else:
            attempt.invite, attempt.code, attempt.code_us = invite, None, None
        self._note_dialog(leg, invite)
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
            alike = {id(leg): leg for key in number_keys(invite) for leg in self._by_numbers[key]}
            candidates = [
                leg for leg in alike.values() if not leg.joined_for_certain and same_numbers(leg.invite, invite)
            ]
            leg = _only(candidates, lambda leg: leg.code is None and leg.packet.time_us >= since)
            if leg is not None:
                return leg
        if any(same_number(leg.invite.called, invite.called) for leg in candidates):
            return None
        # nothing that came in would be found under this number: a leg of its own, without ingress
        return self._new_leg(_Leg(packet, invite, invite.cseq, packet.time_us, packet.frame, came_in=False))

    def _final(self, packet: Packet, final: Final, *, sent_by_us: bool) -> None:
        awaiting = self._awaiting.get(("in" if sent_by_us else "out", final.call_id, final.cseq, final.via))
        if awaiting is None or awaiting.code is not None:
            return
        current = awaiting.cseq if isinstance(awaiting, _Leg) else awaiting.invite.cseq
        if final.cseq != current:
            return  # the challenge to an earlier try, repeated late
        awaiting.code, awaiting.code_us = final.code, packet.time_us
        leg = awaiting if isinstance(awaiting, _Leg) else awaiting.leg
        leg.told_by(packet)
        self._wait_for(leg)

    def _bye(self, packet: Packet, bye: Bye) -> None:
        for tag in dict.fromkeys(bye.tags):
            for leg in self._by_dialog[bye.call_id, tag]:
                if leg.release_us is None and leg.answered():
                    leg.release_us = packet.time_us
                    self._wait_for(leg)

    def _settled(self, now_us: int | None) -> list[CallLeg]:
        """Legs of which nothing more is to be expected, taken out of all indices; every leg for None."""
        rows: list[CallLeg] = []
        while self._due and (now_us is None or self._due[0][0] < now_us or self._open > self._most_open):
            leg = heapq.heappop(self._due)[2]
            if leg.gone:
                continue
            if now_us is not None and leg.due_us() >= now_us and self._open <= self._most_open:
                self._wait_for(leg)
                continue
            self._forget(leg)
            rows.extend(_rows(leg, known_sides=self._own is not None))
        return rows

    def _forget(self, leg: _Leg) -> None:
        leg.gone = True
        self._open -= 1
        self._by_call_id.remove(leg.invite.call_id, leg)
        for key in number_keys(leg.invite):
            self._by_numbers.remove(key, leg)
        for via in leg.vias:
            self._by_via.remove(via, leg)
        for dialog in leg.dialogs:
            self._by_dialog.remove(dialog, leg)
        mine = {id(leg), *map(id, leg.attempts)}
        for transaction in leg.transactions:
            if id(self._awaiting.get(transaction)) in mine:
                del self._awaiting[transaction]


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


def _rows(leg: _Leg, *, known_sides: bool) -> Iterator[CallLeg]:
    attempts: Sequence[_Attempt | None] = leg.attempts or [None]
    latest = max((attempt.packet.time_us for attempt in leg.attempts), default=0)
    for attempt in attempts:
        alone = len(leg.attempts) < 2 and leg.code is not None
        code = leg.code if alone else attempt.code if attempt else None
        code_us = leg.code_us if alone else attempt.code_us if attempt else None
        success = _is_success(code)
        yield CallLeg(
            row=leg.row,
            packet=leg.packet,
            invite=leg.invite,
            called_in=leg.invite.called if leg.came_in else None,
            called_out=attempt.invite.called if attempt else None,
            ingress_address=leg.packet.src if leg.came_in and known_sides else None,
            egress_address=attempt.packet.dst if attempt else None,
            call_id_out=attempt.invite.call_id if attempt else None,
            code=code,
            code_upstream=leg.code,
            answer_us=(leg.code_us if _is_success(leg.code) else code_us) if success else None,
            release_us=leg.release_us if success else code_us,
            route_advanced=code_us is not None and not success and not alone and latest >= code_us,
        )

"""Where a capture was taken, when nobody has said which addresses are the provider's own.

One thing is proof enough: exactly one place is on one side of every INVITE of the capture, it was seen to pass calls
on (it received an INVITE, then sent one of the same call: same Call-ID, or the same numbers within two seconds), and
no other place was. Then the capture is that machine's, as its own call records would be. Places are addresses; where
all machines are on one address, address and port.

Everything else is left open, and no side is named: a capture that shows one side of the calls only (who sent the INVITE
may be the upstream, or this provider's gateway); a border with several own addresses; one gateway before another, where
an INVITE from inside would look like one from an upstream.
"""

from __future__ import annotations

from collections.abc import Hashable

from cdr_adapters.sip.legs import PAIRING_WINDOW_US, Packet
from cdr_adapters.sip.message import Invite
from cdr_adapters.sip.numbers import number_keys

_REMEMBERED = 1 << 16
_PAIRS_TOLD = 4


class _Places:
    """The hypothesis that a place is what `Packet` endpoints are cut down to: what speaks for which place."""

    def __init__(self) -> None:
        self._common: set[str] | None = None
        self._passing: set[str] = set()
        self._received: dict[tuple[str, Hashable], int] = {}

    def learn(self, src: str, dst: str, time_us: int, invite: Invite) -> None:
        both = {src, dst}
        self._common = both if self._common is None else self._common & both
        if len(self._passing) < 2:  # with two, nothing is proven any more
            keys: list[Hashable] = [invite.call_id, *number_keys(invite)] if invite.callers else [invite.call_id]
            for key in keys:
                since = self._received.get((src, key))
                if since is not None and (key == invite.call_id or 0 <= time_us - since <= PAIRING_WINDOW_US):
                    self._passing.add(src)
                self._received[dst, key] = time_us
            while len(self._received) > _REMEMBERED:
                del self._received[next(iter(self._received))]

    def proven(self) -> str | None:
        """The one place that is on a side of every INVITE, if it alone passes calls on."""
        common = self._common or set()
        return next(iter(common)) if len(common) == 1 and common == self._passing else None


class Vantage:
    """Learns from all INVITEs of a capture where it was taken; memory is bounded."""

    def __init__(self) -> None:
        self._hosts = _Places()
        self._endpoints = _Places()
        self._on_one_host = False
        self._pairs: dict[tuple[str, str], None] = {}
        self.first_row = 0

    def learn(self, row: int, packet: Packet, invite: Invite) -> None:
        """Take the next INVITE; `row` is where it stands."""
        self.first_row = self.first_row or row
        self._hosts.learn(packet.src, packet.dst, packet.time_us, invite)
        src, dst = f"[{packet.src}]:{packet.src_port}", f"[{packet.dst}]:{packet.dst_port}"
        self._endpoints.learn(src, dst, packet.time_us, invite)
        self._on_one_host |= packet.src == packet.dst
        if len(self._pairs) <= _PAIRS_TOLD:
            self._pairs[packet.src, packet.dst] = None

    def own_addresses(self) -> tuple[str, ...]:
        """What `own_addresses` would have to be; empty when the capture doesn't prove it."""
        proven = (self._endpoints if self._on_one_host else self._hosts).proven()
        return () if proven is None else (proven,)

    def told(self) -> str:
        """What is missing, for a person; empty when there was no INVITE."""
        if not self._pairs:
            return ""
        told = [f"{src} to {dst}" for src, dst in self._pairs]
        more = ", ..." if len(told) > _PAIRS_TOLD else ""
        return (
            "which addresses are this provider's own isn't known, and this capture alone doesn't prove it, so that no "
            f"upstream is given (INVITEs from {', '.join(told[:_PAIRS_TOLD])}{more}): set own_addresses"
        )

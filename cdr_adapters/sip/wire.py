"""What is seen in a capture, and the same as plain lists: how one process tells another, and what is set aside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from cdr_adapters.sip.legs import Packet
from cdr_adapters.sip.message import Bye, Final, Invite, Message, Via


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An INVITE that could not be parsed: its frame, why, its text for the quarantine."""

    frame: int
    reason: str
    raw: str


@dataclass(frozen=True, slots=True)
class Damage:
    """The capture breaks off; comes last. `frame` is the last one that was read of those asked for."""

    frame: int
    detail: str


Seen: TypeAlias = tuple[Packet, Message] | Unreadable | Damage


class NoRecordError(ValueError):
    """A list that `encode` never makes."""


def encode(seen: Seen) -> list[Any]:
    """`seen` as a list that JSON can hold."""
    match seen:
        case Unreadable(frame, reason, raw):
            return ["reject", frame, reason, raw]
        case Damage(frame, detail):
            return ["damage", frame, detail]
        case (packet, Invite() as invite):
            vias = [[via.sent_by, via.branch] for via in invite.vias]
            claims = [invite.attestation, invite.origid, invite.verstat, invite.first_called, invite.diverted_by]
            rest = [invite.from_tag, invite.called, list(invite.callers), vias, claims]
            return ["invite", *_where(packet), invite.call_id, invite.cseq, *rest]
        case (packet, Final() as final):
            via = final.via
            return ["final", *_where(packet), final.call_id, final.cseq, via.sent_by, via.branch, final.code]
        case (packet, Bye() as bye):
            return ["bye", *_where(packet), bye.call_id, *bye.tags]


def decode(record: Sequence[Any]) -> Seen:
    """What `encode` was given.

    Raises:
        NoRecordError: it isn't of `encode`'s making.
    """
    match record:
        case ["final", *where, str(call_id), int(cseq), str(sent_by), str(branch), int(code)]:
            return _packet(where), Final(call_id, cseq, Via(sent_by, branch), code)
        case ["bye", *where, str(call_id), str(tag), str(other)]:
            return _packet(where), Bye(call_id, (tag, other))
        case [
            "invite",
            *where,
            str(call_id),
            int(cseq),
            str(tag),
            str(called),
            list() as callers,
            [_, *_] as vias,
            [attestation, origid, verstat, first_called, diverted_by],
        ]:
            return _packet(where), Invite(
                call_id,
                cseq,
                tag,
                called,
                tuple(map(str, callers)),
                tuple(Via(str(sent_by), str(branch)) for sent_by, branch in vias),
                str(attestation),
                str(origid),
                str(verstat),
                str(first_called),
                str(diverted_by),
            )
        case ["reject", int(frame), str(reason), str(raw)]:
            return Unreadable(frame, reason, raw)
        case ["damage", int(frame), str(detail)]:
            return Damage(frame, detail)
    raise NoRecordError(str(record[:1]))


def _where(packet: Packet) -> list[Any]:
    return [packet.frame, packet.time_us, packet.src, packet.src_port, packet.dst, packet.dst_port]


def _packet(where: Sequence[Any]) -> Packet:
    match where:
        case [int(frame), int(time_us), str(src), int(src_port), str(dst), int(dst_port)]:
            return Packet(frame, time_us, src, src_port, dst, dst_port)
    raise NoRecordError("packet")

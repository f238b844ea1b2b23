"""The questions of a chain: what each asks, by what right, under which id, and how long it lives. Pure.

Ids derive from what is asked, so that a machine that is run again after a crash asks the same by the same ids.

Every answered hop re-anchors the next question: its called number is the answer's `ask_called`, or stays; its time
moves by `time_correction`, and by what the clocks of the two providers are known to differ, where the order's window
leaves room for that; the provider that answered becomes `named_by`; the calling number stays the order's.

A call that is traced under an order is asked for by signed questions alone. Each says by what right: the order by its
digest, and the signed answer that named its target by the digest of its naming. Its window is what the order's window
leaves where the time has moved, so that no record outside the order is ever asked for; its life ends with the order's
at the latest.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from coordinator.tracing.chain import Call, Traceback, place_after
from coordinator.tracing.signed import Contest, SignedAnswer, SignedQuestion, SisterNaming
from protos.codec import digest, unix_ms, uuid_of
from protos.e164 import E164
from protos.identity import ProviderId
from protos.types import Answer, Authority, Question

LOOP_TOLERANCE: Final = timedelta(seconds=5)
"""Two questions to one provider, for one number, named by one neighbour, this close in time, are the same question."""

_LEAST: Final = timedelta(milliseconds=1)
_FIXED: Final = 0xF << 76 | 0x3 << 62
_VERSION_8: Final = 0x8 << 76 | 0x2 << 62


@dataclass(slots=True)
class Draft:
    """What a question is about, before it has an id and a life.

    `named` is the signed answer that leads to it, `sisters` are calls that it certainly isn't about. With `contest` it
    is asked at that place, whatever was asked last.
    """

    target: ProviderId
    called: E164
    at: datetime
    window: timedelta
    named_by: ProviderId | None
    calling: E164 | None
    named: SignedAnswer | None = None
    sisters: tuple[SisterNaming, ...] = ()
    contest: Contest | None = None


def first_draft(call: Call) -> Draft:
    """What the terminating provider is asked."""
    return Draft(call.terminating, call.called, call.at, call.window, None, call.calling)


def same_draft(asked: Question) -> Draft:
    """What was asked, to be asked once more under another id."""
    draft = Draft(asked.target, asked.called, asked.at, asked.window, asked.named_by, asked.calling)
    if isinstance(asked, SignedQuestion):
        draft.named, draft.sisters = asked.named, asked.sisters
    return draft


def upstream_draft(
    call: Call, question: Question, answer: Answer, upstream: ProviderId, shift: timedelta
) -> Draft | None:
    """What `upstream`, which `answer` names, is asked; None where nothing is left of the order's window."""
    at = _moved(call, question.at + answer.time_correction, shift)
    window, named = question.window, None
    if isinstance(answer, SignedAnswer):
        window, named = call.window - abs(at - call.at), answer
        if window < _LEAST:
            return None
    called = answer.ask_called or question.called
    return Draft(upstream, called, at, window, answer.provider, question.calling, named)


def question_of(
    traceback: Traceback, position: int, round_: int, draft: Draft, issued: datetime, deadline: datetime
) -> Question:
    """`draft` with its life and authority, and an id that follows from whatever makes its bytes.

    Equal ids mean equal bytes: order and traceback belong together for good, and what else a question says follows from
    the naming that leads to it.
    """
    call = traceback.call
    before = traceback.hops[position - 1] if position else None
    shifted = (
        before is not None
        and before.answer is not None
        and draft.at != before.question.at + before.answer.time_correction
    )
    if call.order_sha256 is None or call.expires is None:
        deadline = _whole_ms(deadline)
        moved = f" at {draft.at.isoformat()}" if shifted else ""
        identity = uuid.uuid5(traceback.id, f"hop {position} round {round_} until {deadline.isoformat()}{moved}")
        return Question(
            question_id=identity,
            target=draft.target,
            called=draft.called,
            at=draft.at,
            window=draft.window,
            named_by=draft.named_by,
            calling=draft.calling,
            deadline=deadline,
        )
    issued, deadline = _whole_ms(issued), _whole_ms(min(deadline, call.expires))
    naming = None if draft.named is None else draft.named.parts.naming_sha256
    own = traceback.id.bytes
    made = b"%b hop %d round %d from %d until %d by " % (own, position, round_, unix_ms(issued), unix_ms(deadline))
    if shifted:
        made += b"at %d " % unix_ms(draft.at)
    sisters = tuple(one.sister for one in draft.sisters)
    for sister in sisters:
        made += b"without %b " % sister.naming_sha256
    seed = digest(made + (naming or b"the order"))
    identity = _uuid8(seed)
    nonce = digest(b"hopback nonce" + own + identity.bytes)[:16]
    place = place_after(traceback.hops[:position]) if draft.contest is None else draft.contest.place
    return SignedQuestion(
        question_id=identity,
        target=draft.target,
        called=draft.called,
        at=draft.at,
        window=draft.window,
        named_by=draft.named_by,
        calling=draft.calling,
        deadline=deadline,
        authority=Authority(call.order_sha256, naming, place, issued, nonce, sisters),
        named=draft.named,
        sisters=draft.sisters,
    )


def _uuid8(seed: bytes) -> uuid.UUID:
    """A UUID of our own making (RFC 9562, section 5.8) from the first 16 bytes of a digest."""
    return uuid_of(int.from_bytes(seed[:16], "big") & ~_FIXED | _VERSION_8)


def _whole_ms(time: datetime) -> datetime:
    """A time as it travels."""
    beyond = time.microsecond % 1000
    return time.replace(microsecond=time.microsecond - beyond) if beyond else time


def expired(call: Call, at: datetime) -> bool:
    """Whether no question may be asked any more: the least that a question can live is a millisecond."""
    return call.expires is not None and call.expires - at < _LEAST


def _moved(call: Call, at: datetime, shift: timedelta) -> datetime:
    """The time to ask for, where clocks are known to differ by `shift`, if that leaves the question half its window."""
    if not shift:
        return at
    left = call.window - abs(at + shift - call.at)
    return at + shift if left >= (call.window - abs(at - call.at)) / 2 and left > timedelta(0) else at


def same_instance(one: Draft, other: Question) -> bool:
    """Whether both ask one provider for the same call instance.

    A call may cross a provider twice: then another neighbour names it, or the called number or the time differs.
    """
    return (
        one.target == other.target
        and one.called == other.called
        and one.named_by == other.named_by
        and abs(one.at - other.at) <= LOOP_TOLERANCE
    )

"""The gate: which questions of an envelope may be searched, which were answered before, which are refused and why.

`judge` reads no call record and changes nothing but the gate's own memory, where a question counts from the moment in
which it passes: two that arrive together can't both pass. What passes must then be written to the audit log before
records are read; whoever calls this sees to that (`agent.ask`).

Refused questions are not remembered: they cost nothing and may come again, put right, under the same id.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from agent.audit.book import Case as Filed
from agent.gate.checks import CLOCKS_DIFFER, AttestedNamings, Case, Rules, Signatures, problem
from agent.gate.envelope import Envelope, Reception
from agent.gate.memory import UNANSWERED, Memory, Searched
from protos.certificates import PinnedRoots
from protos.codec import unix_ms
from protos.envelopes import Requests
from protos.hops import Asked
from protos.signing import Domain, SealChecker
from protos.types import RefusalReason


class Passage(enum.Enum):
    """What happens to a question that is not refused."""

    SEARCH = "search"
    REPEAT = "the stored answer"
    WAIT = "the answer that is being found"
    EXPIRED = "older than retention"


Verdict = Passage | RefusalReason

_MS: Final = timedelta(milliseconds=1)


class Gate:
    """One provider's gate."""

    def __init__(self, rules: Rules, roots: PinnedRoots, memory: Memory, retention: timedelta) -> None:
        self.rules = rules
        self.memory = memory
        self._seals = SealChecker()
        self._reception = Reception(rules.me, roots, self._seals, rules.is_revoked)
        self._retention = retention

    def take(self, requests: Requests, asker_uris: Collection[str], now: datetime) -> Session:
        """The session of one envelope, in which its questions are judged; `now` is `memory.now(...)`.

        Raises:
            protos.codec.ContractError: the envelope can't be taken.
        """
        return Session(self, self._reception.take(requests, asker_uris, now))

    def judge(self, session: Session, cases: Sequence[Filed], now: datetime) -> list[Verdict]:
        """What happens to each of these questions of the session's envelope, in their order.

        Those to be searched are remembered and paid for when this returns.
        """
        verdicts: list[Verdict] = []
        known = self.memory.recall([case.question_id for case in cases])
        now_ms, oldest, latest = unix_ms(now), now - self._retention, now + CLOCKS_DIFFER
        signatures = Signatures(session.envelope, self.rules, now)
        for case in cases:
            reason = self._permitted(case.asked, signatures, now, latest)
            verdicts.append(self._counted(case, known, now_ms, oldest) if reason is None else reason)
        return verdicts

    def _permitted(self, asked: Asked, signatures: Signatures, now: datetime, latest: datetime) -> RefusalReason | None:
        envelope, authority = signatures.envelope, asked.authority
        granted, sha256 = envelope.requests.orders.get(authority.order_sha256), authority.naming_sha256
        if granted is None:
            return RefusalReason.ORDER_MISSING
        named = None if sha256 is None else envelope.requests.namings.get(sha256)
        return problem(
            Case(
                asked.question, authority, granted, granted.order, named, envelope, signatures, self.rules, now, latest
            )
        )

    def _counted(self, filed: Filed, known: dict[bytes, Searched], now_ms: int, oldest: datetime) -> Verdict:
        asked, sha256, question_id, campaign = filed
        question = asked.question
        if question.at + question.window < oldest:
            return Passage.EXPIRED
        memory, before = self.memory, known.get(question_id)
        if before is not None:
            return self._again(before, sha256)
        number, at, reach = memory.pseudonym(question.called), unix_ms(question.at), question.window // _MS
        if not memory.budgets_at(now_ms).allow(number, at - reach, at + reach, campaign):
            return RefusalReason.BUDGET
        searched = Searched(question_id, sha256, now_ms, number, at - reach, at + reach, campaign)
        memory.remember(searched)
        known[question_id] = searched
        return Passage.SEARCH

    def _again(self, before: Searched, sha256: bytes) -> Verdict:
        if before.question_sha256 != sha256:
            return RefusalReason.REPLAY
        if self.memory.is_under_way(before.question_id):
            return Passage.WAIT
        if before.entry != UNANSWERED:
            return Passage.REPEAT
        self.memory.resume(before)  # the records could not be read, or the agent ended: nothing was answered yet
        return Passage.SEARCH


class Session:
    """One envelope before the gate."""

    def __init__(self, gate: Gate, envelope: Envelope) -> None:
        self.gate = gate
        self.envelope = envelope
        namings, attestation = envelope.requests.namings, Domain.ATTESTATION.algorithm
        self._attested = {sha256 for sha256, one in namings.items() if one.proof.seal.algorithm == attestation}

    def judge(self, cases: Sequence[Filed], now: datetime) -> list[Verdict]:
        """See `Gate.judge`."""
        return self.gate.judge(self, cases, now)

    def to_be_reviewed(self, cases: Sequence[Filed]) -> set[bytes]:
        """The digests of questions whose answers a person is to see first, because the naming is an attested one."""
        if self.gate.rules.attested is not AttestedNamings.REVIEW or not self._attested:
            return set()
        return {case.sha256 for case in cases if case.asked.authority.naming_sha256 in self._attested}

"""Between what the records say and what leaves: answers are held for a person, and a person's decisions are applied.

In the modes "automatic" and "dry-run" nothing is held, but what was decided before still stands. A decision counts from
the moment in which the audit log has it; `take_decisions` writes it there.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from agent.audit.book import About, AuditBook, Case, Opening
from agent.disclosure import SAYS_SOMETHING, HoldReason, hold_reason
from agent.evidence_config import Mode
from agent.explain import explanation
from agent.index.coverage import CoverageState
from agent.match_settings import MatchSettings
from agent.review.held import RETRY_AFTER, Decided, Matter, State, matter_key
from agent.review.store import ReviewStore
from agent.service import Consultation
from protos.types import Answer, Outcome, RefusalReason


class Leaving(NamedTuple):
    """What leaves of one answer; `coverage` is None where nothing of the records is said."""

    answer: Answer
    opening: Opening | None
    coverage: CoverageState | None


class Disclosing:
    """One provider's disclosure. For the event loop's thread."""

    def __init__(self, mode: Mode, settings: MatchSettings, store: ReviewStore, book: AuditBook) -> None:
        self._mode = mode
        self._settings = settings
        self._store = store
        self._book = book
        self._version = -1
        self._held: set[bytes] = set()
        self._campaigns: set[str] = set()
        self.take_decisions()

    @property
    def store(self) -> ReviewStore:
        """Where held answers are kept."""
        return self._store

    def take_decisions(self) -> None:
        """Write to the audit log what people decided since, from when on it counts.

        Raises:
            agent.audit.errors.AuditUnavailableError: the log can't be written.
        """
        version = self._store.version
        if version == self._version:
            return
        for matter, decided in self._store.unlogged():
            outcome = f"{decided.state.value}: {decided.answer.outcome.name}"
            self._book.reviewed(_about(matter), decided.operator, outcome, decided.note)
            self._book.sync()
            self._store.logged(matter.key)
        for key, operator, sha256 in self._store.take_released():
            found = self._store.get(key)
            if found is not None:
                self._book.released(_about(found[0]), operator, f"sealed identity, SHA-256 {sha256.hex()}")
                self._book.sync()
                self._store.released_logged(sha256)
        self._held = self._store.keys()
        self._campaigns = self._store.campaigns()
        self._version = version

    def standing(self, cases: Sequence[Case]) -> dict[bytes, Leaving]:
        """What leaves without a search, because the matter waits for a person or was decided by one.

        By the digest of the question.
        """
        if not self._held:
            return {}
        found = ((case.sha256, self._standing(case)) for case in cases)
        return {sha256: leaving for sha256, leaving in found if leaving is not None}

    def _standing(self, case: Case) -> Leaving | None:
        key = matter_key(case.asked)
        found = self._store.get(key) if key in self._held else None
        if found is None:
            return None
        matter, decided = found
        if decided is None or not self._store.is_logged(key):
            return Leaving(_waits(matter.proposed), None, None)
        return self._undisclosed(matter.proposed) if self._mode is Mode.DRY_RUN else _decided(matter, decided)

    def disclose(
        self,
        cases: Sequence[Case],
        found: Sequence[tuple[Consultation, Opening | None]],
        asker: str,
        now: datetime,
        attested: Collection[bytes] = (),
    ) -> list[Leaving]:
        """What leaves of these answers; those that are held are kept for a person before this returns.

        `attested` are the digests of questions whose naming rests on a person's word, and is to be reviewed.
        """
        if self._mode is Mode.AUTOMATIC and not attested:
            return [Leaving(consultation.answer, opening, consultation.coverage) for consultation, opening in found]
        if self._mode is Mode.DRY_RUN:
            return [self._undisclosed(consultation.answer) for consultation, _ in found]
        leaving, held = [], []
        for case, (consultation, opening) in zip(cases, found, strict=True):
            known = case.campaign in self._campaigns
            reason = hold_reason(self._mode, consultation, self._settings, campaign_known=known)
            if case.sha256 in attested and consultation.answer.outcome in SAYS_SOMETHING:
                reason = HoldReason.ATTESTED_NAMING
            if reason is None:
                leaving.append(Leaving(consultation.answer, opening, consultation.coverage))
                continue
            question = case.asked.question
            salt, record = opening or (os.urandom(16), b"")
            held.append(
                Matter(
                    key=matter_key(case.asked),
                    question_id=question.question_id.bytes,
                    question_sha256=case.sha256,
                    order_sha256=case.asked.authority.order_sha256,
                    campaign=case.campaign,
                    asker=asker,
                    received=now,
                    reason=reason,
                    called=question.called,
                    at=question.at,
                    named_by=question.named_by,
                    proposed=consultation.answer,
                    salt=salt,
                    record=record,
                    explanation=explanation(consultation, now),
                )
            )
            leaving.append(Leaving(_waits(consultation.answer), None, None))
        if held:
            self._store.hold(held)
            self._held.update(one.key for one in held)
        return leaving

    def _undisclosed(self, answer: Answer) -> Leaving:
        return Leaving(Answer(answer.provider, Outcome.REFUSED, refusal=RefusalReason.POLICY), None, None)


def _waits(answer: Answer) -> Answer:
    return Answer(answer.provider, Outcome.NEEDS_HUMAN, retry_after=RETRY_AFTER)


def _decided(matter: Matter, decided: Decided) -> Leaving:
    if decided.state is State.REFUSED:
        return Leaving(Answer(matter.proposed.provider, Outcome.REFUSED, refusal=RefusalReason.POLICY), None, None)
    opening = Opening(matter.salt, matter.record) if matter.record and decided.state is State.APPROVED else None
    return Leaving(decided.answer, opening, CoverageState.COVERED)


def _about(matter: Matter) -> About:
    return About(matter.question_id, matter.question_sha256, matter.order_sha256, matter.campaign)

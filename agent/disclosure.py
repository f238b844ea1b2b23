"""Which answers leave by themselves, and which wait for a person at the provider. Pure.

automatic   every answer leaves.
cautious    held are: calls that one's own customer placed; answers that were nearly ambiguous, because another call
            with another upstream lay within twice the margin in which it would have been a rival; and whatever names
            an upstream in a campaign of which no answer has been approved by a person yet.
held        held is whatever says something about a call: also that there is none.
dry-run     nothing leaves: every question is answered REFUSED (POLICY), whatever was found; the operator can read on
            this machine what would have been answered.

An AMBIGUOUS answer discloses nothing; it is held in no mode but "held", where a person may know better.
"""

from __future__ import annotations

import enum

from agent.evidence_config import Mode
from agent.instances import Fit
from agent.match import Decision
from agent.match_settings import MatchSettings
from agent.service import Consultation
from protos.types import Outcome


class HoldReason(enum.Enum):
    """Why an answer waits for a person."""

    ORIGINATED_HERE = "a customer of this provider placed the call"
    NEARLY_AMBIGUOUS = "another call with another upstream lay nearly as near"
    FIRST_OF_CAMPAIGN = "no answer of this campaign was approved by a person yet"
    ATTESTED_NAMING = "a person's word, attested by an approver, names this provider (orders.attested_namings)"
    EVERY_ANSWER = "every answer is held (disclosure.mode)"


NAMES_SOMEBODY = frozenset((Outcome.UPSTREAM, Outcome.FOREIGN_UPSTREAM, Outcome.ORIGINATED_HERE))
SAYS_SOMETHING = NAMES_SOMEBODY | {Outcome.NOT_FOUND, Outcome.AMBIGUOUS, Outcome.UNMAPPED, Outcome.NOT_RECORDED}

_NO_RIVAL = (Fit.ELSEWHERE, Fit.FAILED_HERE)


def hold_reason(
    mode: Mode, consultation: Consultation, settings: MatchSettings, *, campaign_known: bool
) -> HoldReason | None:
    """Why this answer waits for a person, None when it may leave.

    `campaign_known` says whether a person approved an answer of its campaign before.
    """
    outcome = consultation.answer.outcome
    if mode is Mode.HELD:
        return HoldReason.EVERY_ANSWER if outcome in SAYS_SOMETHING else None
    if mode is not Mode.CAUTIOUS or outcome not in NAMES_SOMEBODY:
        return None
    if outcome is Outcome.ORIGINATED_HERE:
        return HoldReason.ORIGINATED_HERE
    if consultation.decision is not None and nearly_ambiguous(consultation.decision, settings):
        return HoldReason.NEARLY_AMBIGUOUS
    return None if campaign_known else HoldReason.FIRST_OF_CAMPAIGN


def nearly_ambiguous(decision: Decision, settings: MatchSettings) -> bool:
    """Whether a call with another upstream that was not taken lies within twice the margin of a rival."""
    distances = [one.distance for one in decision.considered if one.taken]
    if not distances:
        return False
    nearest = min(distances)
    reach = nearest + 2 * (settings.rivals_within(nearest) - nearest)
    return any(
        not one.taken
        and one.instance.fit not in _NO_RIVAL
        and one.instance.upstream != decision.upstream
        and one.distance < reach
        for one in decision.considered
    )

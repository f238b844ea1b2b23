"""What the operator alone may know of answers: explanations on this machine, and trunks that nobody mapped."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from agent.explain import NOWHERE, unplaced
from agent.journal import Journal
from agent.service import Clock, Consultation
from protos.types import Outcome

log = structlog.get_logger()


class Notes:
    """Takes note of consultations; `journal` is None where no explanations are kept."""

    def __init__(self, journal: Journal | None, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    def __call__(self, consultations: Sequence[Consultation]) -> None:
        """Tell the operator what only the operator may know."""
        if self._journal is not None:
            self._keep(self._journal, consultations)
        for consultation in consultations:
            if consultation.answer.outcome not in NOWHERE:
                continue
            recorded = consultation.answer.outcome is not Outcome.NOT_RECORDED
            for gap in unplaced(consultation):
                log.warning("trunk_not_mapped" if recorded else "upstream_not_recorded", **gap)

    def _keep(self, journal: Journal, consultations: Sequence[Consultation]) -> None:
        try:
            journal.keep(consultations, self._clock())
        except OSError as error:
            # An explanation is a convenience of the operator; an answer is owed.
            log.error("explanation_not_kept", error=str(error))  # noqa: TRY400 (the text says it all)

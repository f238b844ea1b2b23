"""What is known of neighbours' clocks, kept: observed in one process, of use in every one that starts later.

Observations are written in blocks and at the end. What a crash loses of them is learned again from later answers, so
that nothing waits for them; only the latest of a pair stay.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Final

from sqlalchemy import Engine, and_, delete, insert, select

from coordinator.store.offset_models import clock_observations
from coordinator.store.writing import writing
from coordinator.tracing.offsets import LATEST, Observation, Offsets
from protos.codec import unix_ms
from protos.identity import parse_provider_id

BLOCK: Final = 500
"""So many new observations are written together."""


class OffsetBook(Offsets):
    """What is known of all pairs, in a database."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine
        self._new: dict[uuid.UUID, tuple[Observation, int]] = {}
        columns = clock_observations.c
        query = select(columns.named_by, columns.provider, columns.seconds).order_by(columns.observed_ms)
        with engine.connect() as connection:
            for row in connection.execute(query):
                pair = parse_provider_id(row.named_by), parse_provider_id(row.provider)
                self.learn(Observation(*pair, row.seconds))

    def observed(self, question_id: uuid.UUID, seen: Observation, at: datetime) -> None:
        """See `coordinator.tracing.ports.Clocks`."""
        self.learn(seen)
        self._new[question_id] = seen, unix_ms(at)
        if len(self._new) >= BLOCK:
            self.flush()

    def flush(self) -> None:
        """Write what is new, and let go what newer observations of its pair have replaced."""
        new, self._new = self._new, {}
        if not new:
            return
        columns = clock_observations.c
        rows = [
            {
                "question_id": question_id,
                "named_by": seen.named_by,
                "provider": seen.provider,
                "seconds": seen.seconds,
                "observed_ms": at,
            }
            for question_id, (seen, at) in new.items()
        ]
        with writing(self._engine) as connection:
            connection.execute(delete(clock_observations).where(columns.question_id.in_(list(new))))
            connection.execute(insert(clock_observations), rows)
            for named_by, provider in {(row["named_by"], row["provider"]) for row in rows}:
                pair = and_(columns.named_by == named_by, columns.provider == provider)
                latest = select(columns.question_id).where(pair).order_by(columns.observed_ms.desc()).limit(LATEST)
                connection.execute(delete(clock_observations).where(pair, columns.question_id.not_in(latest)))

"""Synthetic values for the coordinator's tests: fictitious 555-01xx numbers, invented providers."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from coordinator.tracing.chain import Call, Traceback
from protos.e164 import E164, parse_e164
from protos.identity import ProviderId, parse_provider_id
from protos.types import Answer, Handover, Outcome

CALLED = parse_e164("+12025550143")
CALLING = parse_e164("+12025550199")
TOLL_FREE = parse_e164("+18885550123")
T0 = datetime(2026, 11, 20, 18, 3, 11, tzinfo=UTC)
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ID = uuid.UUID("6d2b5e1e-0d7c-4a5b-9b61-0d6f3c1f0a01")


def provider(name: str) -> ProviderId:
    return parse_provider_id(name)


def call(*, terminating: str = "ginkgo", hop_limit: int = 15, calling: E164 | None = CALLING) -> Call:
    return Call(
        called=CALLED,
        at=T0,
        terminating=provider(terminating),
        calling=calling,
        window=timedelta(seconds=60),
        hop_limit=hop_limit,
    )


def submitted(**changes: object) -> Traceback:
    return Traceback(id=ID, call=call(**changes))  # type: ignore[arg-type]


def upstream(
    by: str,
    named: str,
    *,
    ask_called: E164 | None = None,
    correction_s: int = 0,
    handover: Handover = Handover.UNSPECIFIED,
) -> Answer:
    """`by` says that `named` handed it the call."""
    return Answer(
        provider=provider(by),
        outcome=Outcome.UPSTREAM,
        upstream=provider(named),
        ask_called=ask_called,
        time_correction=timedelta(seconds=correction_s),
        handover=handover,
    )


def says(by: str, outcome: Outcome, *, handover: Handover = Handover.UNSPECIFIED, retry_after_s: int = 0) -> Answer:
    """`by` gives an outcome that names no domestic upstream."""
    return Answer(
        provider=provider(by),
        outcome=outcome,
        upstream=provider("foreign-one") if outcome is Outcome.FOREIGN_UPSTREAM else None,
        handover=handover,
        retry_after=timedelta(seconds=retry_after_s),
    )

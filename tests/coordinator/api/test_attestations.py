"""Scorecards over the service: improper attestations of tracebacks that the caller sees, and the questions behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from coordinator.api import reports
from coordinator.api.report_messages import scorecards_of
from coordinator.api.rpc import RefusedError
from coordinator.callers import Caller, Role
from coordinator.registry.book import RegistryBook
from coordinator.registry.changes import parse_change
from coordinator.reports.figures import Scorecard
from coordinator.stir.book import IdentityBook
from coordinator.stir.examiner import Examiner
from coordinator.stir.passport import parse_identity
from coordinator.store.sql_store import SqlStore
from hopback.v1 import report_pb2 as pb
from tests.coordinator.api.house import Made, make
from tests.coordinator.make import NOW, provider
from tests.coordinator.parties import Parties
from tests.coordinator.stir.sti import identity, sti

PERIOD = pb.Period(since_unix_ms=1, until_unix_ms=4_000_000_000_000)


@pytest.mark.parametrize(
    ("caller", "counted"),
    [
        (Caller(Role.ANALYST, "una"), 2),
        (Caller(Role.REQUESTER, "ann"), 1),
        (Caller(Role.REQUESTER, "abe"), 1),
        (Caller(Role.PROVIDER, "birch"), None),
    ],
)
async def test_are_counted_of_what_a_caller_sees(
    sqlite_engine: Engine, tmp_path: Path, caller: Caller, counted: int | None
) -> None:
    made = await make(sqlite_engine, Parties(tmp_path), tmp_path)
    birch, book = sti().signer("birch", "709J"), IdentityBook(sqlite_engine)
    RegistryBook(sqlite_engine).apply(parse_change(provider("birch"), "alias", "spc:709J"), "olga", NOW)
    book.add_certificates([birch.der, sti().between.der], "olga", NOW)
    for name, sha256 in made.orders.items():
        kept = SqlStore(sqlite_engine).load(made.tracebacks[name])
        assert kept is not None
        book.keep({sha256: ("x", parse_identity(identity(birch, issued=kept.traceback.call.at)))}, NOW)
    examiner = Examiner(sqlite_engine, [sti().root.certificate])
    service = replace(made.reports, improper=examiner.improper)
    found = [one async for one in service.scorecards(caller, pb.ScorecardsRequest(period=PERIOD, provider="birch"))]
    figures = {one.name: one.count for response in found for one in response.scorecard.figures}
    assert figures.get("improper_attestation") == counted
    made.store.close()


async def scorecards(made: Made, *, facts: bool) -> list[Scorecard]:
    request = pb.ScorecardsRequest(period=PERIOD, facts=facts)
    return scorecards_of([one async for one in made.reports.scorecards(Caller(Role.ANALYST, "una"), request)])[0]


async def test_figures_are_the_same_with_the_questions_behind_them_and_without(
    sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await make(sqlite_engine, Parties(tmp_path), tmp_path)
    bare, told = await scorecards(made, facts=False), await scorecards(made, facts=True)
    assert [card.counts for card in bare] == [card.counts for card in told]
    assert {name for card in told for name, count in card.counts.items() if count} >= {"asked", "answered"}
    assert not any(figure.facts for card in bare for figure in card.figures)
    assert all(len(figure.facts) == figure.count for card in told for figure in card.figures)
    monkeypatch.setattr(reports, "MOST_FACTS", 1)
    with pytest.raises(RefusedError, match="ask without facts"):
        await scorecards(made, facts=True)
    assert await scorecards(made, facts=False)
    made.store.close()


def test_one_examiner_serves_until_certificates_or_codes_change(sqlite_engine: Engine) -> None:
    signer, registry = sti().signer("birch", "709J"), RegistryBook(sqlite_engine)
    first = Examiner(sqlite_engine)
    assert first.renewed() is first
    IdentityBook(sqlite_engine).add_certificates([signer.der], "olga", NOW)
    second = first.renewed()
    assert second is not first
    assert second.renewed() is second
    registry.apply(parse_change(provider("birch"), "add", "Birch"), "olga", NOW)
    assert second.renewed() is second
    registry.apply(parse_change(provider("birch"), "alias", "spc:709J"), "olga", NOW)
    assert second.renewed() is not second

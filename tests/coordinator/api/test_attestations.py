"""Improper attestations in scorecards over the service: of tracebacks that the caller sees, and of no others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from coordinator.api.callers import Caller, Role
from coordinator.registry.book import RegistryBook
from coordinator.registry.changes import parse_change
from coordinator.stir.book import IdentityBook
from coordinator.stir.examiner import Examiner
from coordinator.stir.passport import parse_identity
from coordinator.store.sql_store import SqlStore
from hopback.v1 import report_pb2 as pb
from tests.coordinator.api.house import make
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
    reports = replace(made.reports, improper=examiner.improper)
    found = [one async for one in reports.scorecards(caller, pb.ScorecardsRequest(period=PERIOD, provider="birch"))]
    figures = {one.name: one.count for response in found for one in response.scorecard.figures}
    assert figures.get("improper_attestation") == counted
    made.store.close()

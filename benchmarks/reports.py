"""`python -m benchmarks.reports [TRACEBACKS [HOPS [URL]]]`: a provider's pages, and reports, over a large store.

Chains over two thousand providers, one of which is in every fifth hop. Printed: processor time of the process that
answers, the best of three for pages and one run for reports, and what the report added to the memory of the process.
Without a URL the store is SQLite in a directory that goes; another one must be empty.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from time import process_time
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, insert

from coordinator.callers import Caller, Role
from coordinator.reports.figures import own_scorecard, participants, scorecards, transparency
from coordinator.reports.views import ReportViews
from coordinator.store.engine import engine_for, migrate
from coordinator.store.models import HopRow, TracebackRow
from coordinator.store.views import Views
from protos.codec import digest, encode_answer, encode_question
from protos.e164 import parse_e164
from protos.identity import ProviderId
from protos.types import Answer, Outcome, Question

BEGIN: Final = datetime(2026, 7, 1, tzinfo=UTC)
BUSY: Final = "ginkgo"
NAMES: Final = tuple(f"provider-{number:04d}" for number in range(2000))
APART: Final = timedelta(seconds=6)
BLOCK: Final = 5000


def main() -> None:
    """Fill a store, ask it, print."""
    tracebacks, hops = (int(text) for text in (*sys.argv[1:3], "200000", "5")[:2])
    with (
        tempfile.TemporaryDirectory(prefix="hopback-bench-") as directory,
        engine_for(sys.argv[3] if sys.argv[3:] else f"sqlite:///{directory}/large.db") as engine,
    ):
        fill(engine, tracebacks, hops)
        show(engine, tracebacks)


def fill(engine: Engine, tracebacks: int, hops: int) -> None:
    """That many finished chains, six seconds apart."""
    migrate(engine)
    chances = random.Random(7)
    for start in range(0, tracebacks, BLOCK):
        made = [_chain(chances, number, hops) for number in range(start, min(start + BLOCK, tracebacks))]
        with engine.begin() as connection:
            connection.execute(insert(TracebackRow), [row for row, _ in made])
            connection.execute(insert(HopRow), [hop for _, chain in made for hop in chain])


def _chain(chances: random.Random, number: int, hops: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    at, identity = BEGIN + number * APART, uuid.UUID(int=chances.getrandbits(128))
    path = chances.sample(NAMES, hops)
    if chances.random() < hops / 5:
        path[chances.randrange(hops)] = BUSY
    found = chances.random() < 0.9
    row = {
        "id": identity,
        "called": "+12025550143",
        "at": at,
        "terminating": path[0],
        "window_ms": 60_000,
        "hop_limit": 15,
        "status": "origin_found" if found else "not_found",
        "found": path[-1] if found else None,
        "hop_count": hops,
        "version": hops,
        "submitted_at": at,
        "changed_at": at + timedelta(milliseconds=chances.randrange(10, 10_000)),
    }
    last = Outcome.ORIGINATED_HERE if found else Outcome.NOT_FOUND
    outcomes = [Outcome.UPSTREAM] * (hops - 1) + [last]
    return row, [
        _hop(chances, identity, position, path, outcome, at + position * timedelta(milliseconds=20))
        for position, outcome in enumerate(outcomes)
    ]


def _hop(
    chances: random.Random, identity: uuid.UUID, position: int, path: list[str], outcome: Outcome, asked: datetime
) -> dict[str, Any]:
    own, upstream = ProviderId(path[position]), path[position + 1] if outcome is Outcome.UPSTREAM else None
    question = encode_question(
        Question(
            question_id=uuid.UUID(int=chances.getrandbits(128)),
            target=own,
            called=parse_e164("+12025550143"),
            at=asked,
            window=timedelta(seconds=60),
            named_by=ProviderId(path[position - 1]) if position else None,
            calling=None,
            deadline=asked + timedelta(seconds=5),
        )
    )
    answer = encode_answer(Answer(own, outcome, ProviderId(upstream) if upstream else None), digest(question))
    return {
        "traceback_id": identity,
        "position": position,
        "round": 1,
        "question_id": uuid.UUID(int=chances.getrandbits(128)),
        "provider": own,
        "question": question,
        "answer": answer,
        "outcome": outcome.name,
        "detail": "",
        "failures": 0,
        "asked_at": asked,
        "ended_at": asked + timedelta(microseconds=chances.randrange(1000, 20_000)),
    }


def show(engine: Engine, tracebacks: int) -> None:
    """Ask and print."""
    views, reports = Views(engine), ReportViews(engine)
    analyst, end = Caller(Role.ANALYST, "una"), BEGIN + tracebacks * APART
    now, period = end + timedelta(days=1), (BEGIN, end)

    def ways() -> Iterator[Any]:
        return reports.ways(analyst, *period)

    table = Table("what", "processor time", "more memory at the peak")
    for name in (BUSY, NAMES[7]):
        caller = Caller(Role.PROVIDER, name)
        best = min(_timed(lambda: views.page(caller))[0] for _ in range(3))  # noqa: B023
        table.add_row(f"first page of {name}", f"{best * 1e3:.1f} ms", "")
    token = _page_in_the_middle(views)
    best = min(_timed(lambda: views.page(Caller(Role.PROVIDER, BUSY), token=token))[0] for _ in range(3))
    table.add_row(f"a page of {BUSY} further on", f"{best * 1e3:.1f} ms", "")
    for what, work in (
        (
            f"own scorecard of {NAMES[7]}",
            lambda: own_scorecard(
                ProviderId(NAMES[7]), reports.own_hops(Caller(Role.PROVIDER, NAMES[7]), *period), [], now, facts=False
            ),
        ),
        (
            f"own scorecard of {BUSY}",
            lambda: own_scorecard(
                ProviderId(BUSY), reports.own_hops(Caller(Role.PROVIDER, BUSY), *period), [], now, facts=False
            ),
        ),
        ("transparency", lambda: transparency(ways(), [], *period, now)),
        ("participants", lambda: participants(ways(), [], now)),
        ("scorecards, without facts", lambda: scorecards(ways(), [], now, facts=False)),
    ):
        taken, memory = _timed(work)
        table.add_row(what, f"{taken:.1f} s", f"{memory:.0f} MB")
    Console().print(table)


def _page_in_the_middle(views: Views) -> str:
    token = ""
    for _ in range(20):
        _, token = views.page(Caller(Role.PROVIDER, BUSY), token=token)
    return token


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    before, start = _peak(), process_time()
    work()
    return process_time() - start, _peak() - before


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()

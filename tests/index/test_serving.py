"""Lookups while indexing, merging, destroying and restarting go on: always the right answer."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic

import pytest

from agent.index import Index, Query
from agent.index.layout import DAY_MS
from tests.index.busy_writer import ROWS, TOO_OLD, calls_of, number_of
from tests.index.calls import KEYS, NOON, at

SECONDS = float(os.environ.get("HOPBACK_SERVING_SECONDS", "60"))
FEWEST_PER_SECOND = 50
"""A floor that a machine of two cores keeps under any load; hundreds of times as many are usual."""


class Busy:
    """A writer that is killed again and again, and what it said was done."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.kills = 0
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.index.busy_writer", str(self.directory)]
        with (self.directory / "errors").open("ab") as errors:
            return subprocess.Popen(command, stderr=errors)

    def done(self) -> int:
        path = self.directory / "done"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def kill_and_restart(self) -> None:
        assert self._process.poll() is None, (self.directory / "errors").read_text()
        self.stop()
        self.kills += 1
        self._process = self._start()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class Asker:
    """Asks for calls that were said to be indexed before the question, and for calls that never were."""

    def __init__(self, busy: Busy, seed: int) -> None:
        self._busy = busy
        self._random = random.Random(seed)
        self.asked = self.reopened = 0
        self.wrong: list[str] = []

    def run(self, until: float) -> None:
        index = Index.open(self._busy.directory / "index", KEYS)
        reopen = monotonic() + 1
        while monotonic() < until and not self.wrong:
            try:
                self._ask(index)
            except Exception as error:
                self.wrong.append(repr(error))
            if monotonic() > reopen:
                index = Index.open(self._busy.directory / "index", KEYS)
                self.reopened += 1
                reopen = monotonic() + 1

    def _ask(self, index: Index) -> None:
        done = self._busy.done()
        if not done:
            return
        rounds = [self._random.randrange(done) for _ in range(self._random.choice([1, 1, 1, 100]))]
        rows = [self._random.randrange(ROWS) for _ in rounds]
        sought = [calls_of(round_)[row] for round_, row in zip(rounds, rows, strict=True)]
        queries = [Query(call.called_in, None, at(call.earliest), at(call.earliest)) for call in sought]  # type: ignore[arg-type]
        if len(queries) == 1:
            found = [index.find(queries[0].called, None, queries[0].earliest, queries[0].latest)]
        else:
            found = index.find_many(queries)
        self.asked += len(queries)
        for query, legs in zip(queries, found, strict=True):
            if [(leg.earliest, leg.ingress_trunk) for leg in legs] != [(query.earliest, "TGIN1")]:
                self.wrong.append(f"{query}: {legs} after {done} rounds")
        nobody = index.find(number_of(rounds[0], 0), None, at(NOON + DAY_MS // 4), at(NOON + DAY_MS // 3))
        old = index.find(number_of(rounds[0], 0), None, at(NOON - TOO_OLD + rounds[0]), at(NOON - TOO_OLD + rounds[0]))
        self.asked += 2
        if nobody or len(old) > 1:
            self.wrong.append(f"{nobody} {old}")


@pytest.mark.timeout(300)
def test_lookups_are_right_while_everything_else_goes_on(tmp_path: Path) -> None:
    busy = Busy(tmp_path)
    askers = [Asker(busy, seed) for seed in range(2)]
    until = monotonic() + SECONDS
    threads = [threading.Thread(target=asker.run, args=(until,)) for asker in askers]
    try:
        while not busy.done():
            assert monotonic() < until, "nothing was indexed"
        for thread in threads:
            thread.start()
        pause = random.Random(0)
        while monotonic() < until and not any(asker.wrong for asker in askers):
            # most often somewhere in its rounds, at times before it has come to any
            enough = busy.done() + pause.choice([0, 1, 1, 2, 5])
            rather_not_before = monotonic() + pause.uniform(0.1, 0.5)
            while monotonic() < until and (busy.done() < enough or monotonic() < rather_not_before):
                threads[0].join(0.02)
            busy.kill_and_restart()
        for thread in threads:
            thread.join()
    finally:
        busy.stop()
    assert [asker.wrong for asker in askers] == [[], []]
    assert sum(asker.asked for asker in askers) >= FEWEST_PER_SECOND * SECONDS
    assert all(asker.reopened >= SECONDS / 4 for asker in askers)
    assert busy.kills >= SECONDS / 12
    assert busy.done() >= SECONDS / 6
    index = Index.open(tmp_path / "index", KEYS)
    index.verify()
    for round_ in range(busy.done()):
        for call in calls_of(round_):
            (leg,) = index.find(call.called_in, None, at(call.earliest), at(call.earliest))  # type: ignore[arg-type]
            assert leg.earliest == at(call.earliest)

"""Two coordinators over one PostgreSQL and a line of agents, all real processes, of which any may be killed.

Coordinators are `hopback-coordinator run` with a configuration file, agents `hopback-agent run` behind mutual TLS;
every call is traced under an order of its own that two persons signed. What became of a campaign is read from what they
leave behind: the coordinators' database, and the agents' audit logs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import tomlkit
from sqlalchemy import Engine, func, select

from agent.audit.layout import LOG_DIRECTORY
from agent.audit.reader import AuditReader
from benchmarks.line import Line
from coordinator.store.models import HopRow, TracebackRow
from coordinator.store.orders import OrderBook
from coordinator.store.sql_store import opened
from coordinator.tracing.chain import Status, Traceback
from deploy.lab.fleet import command
from hopback.v1 import audit_pb2 as pb
from protos.codec import digest
from protos.e164 import E164
from tests.coordinator.parties import order

LEASE: Final = timedelta(seconds=1)
PATIENCE_S: Final = 60.0
LOOK_EVERY_S: Final = 0.02


def until(there: Callable[[], bool], what: str) -> float:
    """Seconds until something has come about, which fails where it takes too long."""
    began = time.monotonic()
    while not there():
        if time.monotonic() > began + PATIENCE_S:
            raise AssertionError(f"not within {PATIENCE_S:.0f} s: {what}")
        time.sleep(LOOK_EVERY_S)
    return time.monotonic() - began


@dataclass(eq=False)
class Coordinator:
    """One `hopback-coordinator run`, which is killed and started again; its log goes on over its lives."""

    config: Path
    name: str
    _process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.config.with_name(f"{self.name}.log")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-2000:]
        return self._ready_file.exists()

    @property
    def _ready_file(self) -> Path:
        return self.config.with_name(f"{self.name}.ready")

    def start(self) -> None:
        self._ready_file.unlink(missing_ok=True)
        arguments = ["run", "--config", str(self.config), "--log", "json", "--ready-file", str(self._ready_file)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command("hopback-coordinator"), *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def send(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def kill(self) -> int:
        """End it by SIGKILL; gives the id that the process had."""
        assert self._process is not None
        self._process.kill()
        assert self._process.wait() == -signal.SIGKILL
        return self._process.pid

    def wait(self) -> int:
        """Its exit code, when it has ended."""
        assert self._process is not None
        return self._process.wait(PATIENCE_S)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@dataclass
class Pair:
    """Two coordinators over one database and the agents of a line, whose calls are traced wave after wave."""

    line: Line
    engine: Engine
    coordinators: tuple[Coordinator, Coordinator]
    calls: Iterator[tuple[E164, datetime]]
    logged: dict[str, int]
    """How many entries the agents' logs had at the beginning."""
    submitted: int = 0

    def submit(self, count: int) -> None:
        """The next calls, each under an order of its own."""
        now = datetime.now(UTC).replace(microsecond=0)
        base = order(terminating=self.line.terminating, calling=None, issued=now, expires=now + timedelta(hours=72))
        calls = [next(self.calls) for _ in range(count)]
        orders = [
            replace(base, order_id=uuid.uuid4(), called=called, at=at, salt=os.urandom(16)) for called, at in calls
        ]
        kept = self.line.people.keep(OrderBook(self.engine), orders, now)
        tracebacks = [Traceback(uuid.uuid4(), call) for call in kept]
        with opened(self.engine) as store:
            store.submit(tracebacks, now)
        self.submitted += count

    def open_count(self) -> int:
        """How many are not closed."""
        query = select(func.count()).where(TracebackRow.claimable.is_not(None))
        with self.engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def driven_by(self, pid: int) -> int:
        """How many are leased to the process of this id."""
        query = select(func.count()).where(TracebackRow.owner.like(f"%:{pid}:%"))
        with self.engine.connect() as connection:
            return connection.execute(query).scalar_one()

    # What is left behind

    def assert_every_call_was_traced_once(self) -> None:
        """Closed once, at the right end, by one question a hop, and one result each."""
        path = list(reversed(self.line.path))
        columns = (TracebackRow.status, TracebackRow.found, TracebackRow.hop_count, TracebackRow.owner)
        with self.engine.connect() as connection:
            rows = connection.execute(select(*columns)).all()
            hops = connection.execute(
                select(HopRow.traceback_id, HopRow.provider, HopRow.position, HopRow.round, HopRow.outcome)
            ).all()
        assert Counter(map(tuple, rows)) == {(Status.ORIGIN_FOUND.value, path[-1], len(path), None): self.submitted}
        outcomes = ["UPSTREAM"] * (len(path) - 1) + ["ORIGINATED_HERE"]
        assert Counter((hop.provider, hop.position, hop.round, hop.outcome) for hop in hops) == {
            (name, position, 1, outcomes[position]): self.submitted for position, name in enumerate(path)
        }

    def assert_searched_once(self, *, agents_died: bool = False) -> None:
        """The agents' audit logs: one intent and one answer for every question that is kept, and for no other.

        Where agents died, a question that one life of an agent left without an answer may be searched again by the
        next one.
        """
        for name in self.line.path:
            with self.engine.connect() as connection:
                query = select(HopRow.question).where(HopRow.provider == name)
                asked = {digest(exact) for exact in connection.execute(query).scalars()}
            answers: Counter[bytes] = Counter()
            lives: dict[bytes, list[int]] = {}
            for kind, sha256, life in entries(self.line, name, self.logged[name]):
                assert kind != pb.AUDIT_KIND_REFUSED, name
                if kind == pb.AUDIT_KIND_ANSWER:
                    answers[sha256] += 1
                elif kind == pb.AUDIT_KIND_INTENT:
                    assert not answers[sha256], "searched after it was answered"
                    lives.setdefault(sha256, []).append(life)
            assert answers == dict.fromkeys(asked, 1), name
            assert lives.keys() == asked, name
            for one in lives.values():
                assert len(one) == len(set(one)), "searched twice by one life of the agent"
                assert agents_died or len(one) == 1


def entries(line: Line, name: str, first: int) -> list[tuple[int, bytes, int]]:
    """The entries of an agent's log from index `first` on: kind, digest of the question, which life of the agent."""
    found: list[tuple[int, bytes, int]] = []
    life = 0
    with AuditReader.open(line.fleet.home(name) / "audit" / LOG_DIRECTORY) as reader:
        for _, exact in reader.entries(first):
            entry = pb.AuditEntry.FromString(exact)
            life += entry.kind == pb.AUDIT_KIND_STARTED
            found.append((entry.kind, entry.question_sha256, life))
    return found


@contextmanager
def pair(
    line: Line, calls: Iterator[tuple[E164, datetime]], engine: Engine, directory: Path, rate: int
) -> Iterator[Pair]:
    """Two coordinators at work over an empty database; each asks a provider at most `rate` questions a second."""
    with opened(engine) as store:
        store.put_providers(line.providers, datetime.now(UTC))
    config = write_config(line, engine, directory, rate)
    logged: dict[str, int] = {name: len(entries(line, name, 0)) for name in line.path}
    made = Pair(line, engine, (Coordinator(config, "one"), Coordinator(config, "two")), calls, logged)
    try:
        for one in made.coordinators:
            one.start()
        until(lambda: all(one.ready for one in made.coordinators), "coordinators at work")
        yield made
    finally:
        for one in made.coordinators:
            one.end()


def write_config(line: Line, engine: Engine, directory: Path, rate: int) -> Path:
    persons = line.people.orders
    settings = {
        "coordinator": {"name": "lab"},
        "store": {"url": engine.url.render_as_string(hide_password=False)},
        "tls": {name: str(getattr(line.files, name)) for name in ("certificate", "key", "roots")},
        "signing": {name: str(getattr(line.evidence, name)) for name in ("certificate", "key", "roots")},
        "orders": {
            "submitters": {name: str(key) for name, key in persons.submitters.items()},
            "approvers": {name: str(key) for name, key in persons.approvers.items()},
        },
        "limits": {
            "lease": f"{LEASE.total_seconds():.0f}s",
            "rate": rate,
            "concurrent": 30,
            "block": 10,
            "largest": 10,
            "attempts": 100,
            "backoff": "100ms",
            "backoff_cap": "500ms",
            "attempt_timeout": "5s",
        },
        "checkpoints": {"witnesses": 0},
    }
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "coordinator.toml"
    file.write_text(tomlkit.dumps(settings))
    return file

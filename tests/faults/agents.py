"""Agents for these tests: all that `hopback-agent run` puts together, with a network in front that can fail.

Configuration, index, trunks, gate, audit log on disk, server over mutual TLS or a stream to the coordinator. Only the
records count how often they are searched, and can be held up. Lookups run in threads, as they do over a database, so
that a question can be cut off in the middle of its search.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from agent import dialout
from agent.answering import Answering, open_answering
from agent.ask import ASK
from agent.config import AgentConfig, load
from agent.dialout import DialOut, Pauses
from agent.identity import places_of
from agent.index.coverage import Coverage
from agent.index.keys import Keys
from agent.index.reader import Index, Query
from agent.ingest import ingest
from agent.inspection import read_keys, read_tls
from agent.legs import Leg
from agent.notes import Notes
from agent.server import AgentServer, Listening
from agent.service import Desk, Terms
from agent.stores.threads import LookupThreads
from coordinator.lookups import relay
from protos.e164 import E164
from protos.identity import ProviderId, coordinator_uri, provider_uri
from protos.live import Live
from protos.renewal import Party
from protos.tls import TlsFiles
from tests.faults.proxy import Proxy, proxy

LAB: Final = coordinator_uri("lab")


def _now() -> datetime:
    return datetime.now(UTC)


class HeldRecords:
    """An index that counts its searches by called number, and can be held up in the middle of one."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.searches: Counter[E164] = Counter()
        self.began: Callable[[], object] = lambda: None
        self.ends: Callable[[], object] = lambda: None
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def find(self, called: E164, calling: E164 | None, earliest: datetime, latest: datetime) -> Sequence[Leg]:
        """As the index."""
        [found] = self.find_many([Query(called, calling, earliest, latest)])
        return found

    def find_many(self, queries: Sequence[Query]) -> Sequence[Sequence[Leg]]:
        """As the index."""
        self.searches.update(query.called for query in queries)
        self.began()
        if not self.may_go_on.wait(60):
            raise AssertionError("nobody let the search go on")
        found = self.index.find_many(queries)
        self.ends()
        return found

    def coverage(self) -> Coverage:
        """As the index."""
        return self.index.coverage()


@dataclass
class Agent:
    """One provider's agent. `way` is "port", "stream" or "relay"; `arrivals` counts the questions that reached it."""

    me: ProviderId
    config: AgentConfig
    records: HeldRecords
    answering: Answering
    tls: Live[TlsFiles]
    network: Proxy
    way: str
    arrivals: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def counted(self, handlers: dict[str, Callable[..., object]]) -> None:
        """Count what arrives."""
        ask = self.answering.handlers[ASK]

        async def handle(request: bytes, askers: tuple[str, ...]) -> bytes:
            self.arrivals += 1
            self.arrived.set()
            return await ask(request, askers)

        handlers[ASK] = handle

    def party(self) -> Party:
        """Its certificates, keys and roots."""
        assert self.answering.evidence is not None
        assert self.answering.roots is not None
        evidence, roots = self.answering.evidence.key, self.answering.roots
        return Party(provider_uri(self.me), places_of(self.config), self.tls, evidence, roots)

    def logged(self, kind: int) -> Counter[bytes]:
        """How many entries of this kind the audit log has, by question id."""
        assert self.answering.evidence is not None
        book = self.answering.evidence.book
        return Counter(one.question_id for one in book.recent() if one.kind == kind)


@contextmanager
def _records(config: AgentConfig, keys: Keys) -> Iterator[HeldRecords]:
    for source in config.sources:
        report = ingest(
            [Path(source.path)], source, config.formats(), config.index.directory, keys, _now(), complete_until=_now()
        )
        assert not report.failed
    index = Index.open(config.index.directory, keys)
    try:
        yield HeldRecords(index)
    finally:
        index.close()


@asynccontextmanager
async def agent(path: Path, way: str, coordinator: str) -> AsyncIterator[Agent]:
    """The agent of this configuration, which listens at a "port" or holds a "stream" to the address `coordinator`."""
    config = load(path)
    keys = read_keys(config)
    async with AsyncExitStack() as stack:
        records = stack.enter_context(_records(config, keys))
        threads = LookupThreads(8, 64)
        stack.callback(threads.close)
        terms = Terms(
            config.me, config.trunk_map(), config.match_settings(), config.match.window_cap, config.retention()
        )
        desk = Desk(terms, records, _now, threads)
        answering = open_answering(config, lambda: keys, desk, Notes(None, _now))
        stack.push_async_callback(answering.close)
        tls = Live(read_tls(config, _now()))
        network = await stack.enter_async_context(proxy(coordinator))
        made = Agent(config.me, config, records, answering, tls, network, way)
        handlers = dict(answering.handlers)
        made.counted(handlers)  # type: ignore[arg-type]
        if way == "port":
            server = AgentServer(handlers, Listening("127.0.0.1:0", tls, frozenset({LAB})))
            network.target = await server.start()
            stack.push_async_callback(server.stop, 0)
        else:
            pauses = Pauses(first=0.02, longest=0.1, rng=random.Random(config.me))
            dialing = asyncio.create_task(DialOut(network.endpoint, LAB, tls, handlers, pauses).run())
            stack.push_async_callback(_ended, dialing)
        yield made


@contextmanager
def found_out_soon() -> Iterator[None]:
    """What the product finds out in seconds, it finds out in fractions of one: 15 s are too long for so many tests.

    Agents that dial notice at once that a stream is dead, `run` that `serve` says nothing.
    """
    sooner = {"grpc.keepalive_time_ms": 100, "grpc.keepalive_timeout_ms": 100, "grpc.http2.ping_timeout_ms": 100}
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(dialout, "_OPTIONS", tuple((dict(dialout._OPTIONS) | sooner).items()))
        changed.setattr(dialout, "OPENING_S", 0.3)
        changed.setattr(relay, "ON_TOP", timedelta(milliseconds=100))
        yield


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

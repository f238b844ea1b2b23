"""The watch over audit logs: honest logs raise no alarm, whatever the order in which checkpoints come; forks do."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from agent.audit.book import AuditBook
from agent.audit.service import SERVICE, AuditService
from agent.audit.witness import Witness
from coordinator.audits.checkpoints import (
    AlarmKind,
    BadCheckpointError,
    Seen,
    WitnessTerms,
    contradiction,
    is_linked_by,
    seen,
    with_witnesses,
    witnesses_for,
)
from coordinator.audits.client import AgentAudits
from coordinator.audits.watching import MOST_WAITING, Watch
from coordinator.evidence.log_statements import log_statements
from coordinator.evidence.notary import Notary
from coordinator.evidence.signatures import Signatures, Trust
from coordinator.evidence.statements import Standing, Statement
from coordinator.store.checkpoints import SqlCheckpoints
from coordinator.store.engine import migrate, open_engine
from coordinator.tracing.ports import BadAnswerError, Provider, UnreachableError
from hopback.v1 import audit_pb2 as pb
from hopback.v1 import evidence_pb2 as evidence
from hopback.v1.bundle_pb2 import TracebackEvidence
from protos.codec import ContractError, unix_ms
from protos.identity import parse_provider_id
from protos.merkle import EMPTY_ROOT, leaf_hash, root_by_path
from protos.signing import Domain, Seal, SealChecker
from tests.agent.audit.books import LAB, Clock, answered, authority, book_of, case, party, reply, roots, scratch
from tests.protos.evidence_kit import BIRCH, CEDAR, NOW, ONLINE, PERSONS

SECOND = timedelta(seconds=1)
NAMES = ("birch", "cedar", "elm", "fir")


def provider(name: str, endpoint: str | None = "agent:7443") -> Provider:
    return Provider(parse_provider_id(name), name.title(), endpoint)


@dataclass
class Agents:
    """A transport to agents in this process, each with a log on disk; `books` may be swapped for others."""

    directory: Path
    clock: Clock
    books: dict[str, AuditBook] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    calls: list[tuple[str, str]] = field(default_factory=list)
    witnesses: dict[str, AuditService] = field(default_factory=dict)

    def book(self, name: str, directory: str | None = None) -> AuditBook:
        if name not in self.books:
            self.use(name, book_of(self.directory / (directory or name), name, self.clock))
        return self.books[name]

    def use(self, name: str, book: AuditBook) -> None:
        self.books[name] = book
        self.witnesses[name] = AuditService(book, Witness(book, roots(), self.clock))

    async def call(self, entry: Provider, method: str, request: bytes, timeout: timedelta) -> bytes:
        _, service, name = method.split("/")
        assert service == SERVICE
        self.calls.append((entry.id, name))
        if entry.id in self.away:
            raise UnreachableError("away")
        self.book(entry.id)
        try:
            return self.witnesses[entry.id].methods[name](request, LAB)
        except ContractError as error:
            raise BadAnswerError(str(error)) from None

    def close(self) -> None:
        for book in self.books.values():
            book.log.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def agents(tmp_path: Path, clock: Clock) -> Iterator[Agents]:
    agents = Agents(tmp_path, clock)
    yield agents
    agents.close()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its tables, to copy."""
    path = tmp_path_factory.mktemp("database") / "coordinator.db"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    with engine.connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    engine.dispose()
    return path


@pytest.fixture
def engine(tmp_path: Path, empty: Path) -> Iterator[Engine]:
    shutil.copy(empty, tmp_path / "coordinator.db")
    engine = open_engine(f"sqlite:///{tmp_path / 'coordinator.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: Engine) -> SqlCheckpoints:
    return SqlCheckpoints(engine)


@pytest.fixture
def watch(agents: Agents, store: SqlCheckpoints, clock: Clock) -> Watch:
    return watch_of(agents, store, clock, WitnessTerms(count=0))


def watch_of(agents: Agents, store: SqlCheckpoints, clock: Clock, terms: WitnessTerms) -> Watch:
    registry = [provider(name) for name in NAMES]
    return Watch(store, AgentAudits(agents), roots(), clock, lambda: registry, terms)


def next_checkpoint(agents: Agents, name: str, *numbers: int) -> evidence.SignedCheckpoint:
    """The checkpoint that leaves with the answers to these questions, a second later."""
    agents.clock.now += SECOND
    answered(agents.book(name), *numbers)
    return agents.book(name).checkpoint()


def forked(agents: Agents, shared: int, total: int) -> AuditBook:
    """Another log of birch: the first `shared` entries are those of its log, the rest are others."""
    honest = [entry for _, entry in agents.book("birch").log.entries(0, shared)]
    book = book_of(agents.directory / f"fork-{shared}-{total}", "birch", agents.clock)
    book.log.append(honest)
    while book.log.size < total:
        book.started(book.log.size.to_bytes(32, "big"))
    book.sync()
    return book


class TestHonestLogs:
    async def test_are_linked_without_an_alarm(self, agents: Agents, watch: Watch, store: SqlCheckpoints) -> None:
        for number in range(5):
            watch.came(BIRCH, next_checkpoint(agents, "birch", number), party("birch").certificate)
            await watch.work()
        assert [one.size for one in store.of(BIRCH, 10)] == [10, 8, 6, 4, 2]
        assert all(one.linked for one in store.of(BIRCH, 10))
        assert store.alarms() == []

    async def test_may_come_in_any_order_and_twice(self, agents: Agents, watch: Watch, store: SqlCheckpoints) -> None:
        came = [next_checkpoint(agents, "birch", number) for number in range(6)]
        for number in (3, 3, 0, 5, 1, 5, 4, 2):
            watch.came(BIRCH, came[number], party("birch").certificate)
            await watch.work()
        assert all(one.linked for one in store.of(BIRCH, 10))
        assert len(store.of(BIRCH, 10)) == 6
        assert store.alarms() == []

    async def test_that_can_not_be_reached_are_linked_later(
        self, agents: Agents, watch: Watch, store: SqlCheckpoints
    ) -> None:
        agents.away.add("birch")
        for number in range(3):
            watch.came(BIRCH, next_checkpoint(agents, "birch", number), party("birch").certificate)
        await watch.work()
        assert [one.linked for one in store.of(BIRCH, 10)] == [False, False, True]
        assert store.alarms() == []
        agents.away.clear()
        await watch.work([BIRCH])
        assert all(one.linked for one in store.of(BIRCH, 10))

    async def test_are_fetched_when_nothing_comes(self, agents: Agents, watch: Watch, store: SqlCheckpoints) -> None:
        answered(agents.book("birch"), 0)
        assert await watch.fetch(provider("birch"))
        assert store.of(None, 10)[0].size == 2
        agents.away.add("birch")
        assert not await watch.fetch(provider("birch"))

    async def test_that_lost_a_kept_checkpoint_with_the_power_still_prove_it(
        self, agents: Agents, watch: Watch, store: SqlCheckpoints
    ) -> None:
        came = [next_checkpoint(agents, "birch", number) for number in range(3)]
        agents.books.pop("birch").log.close()
        path = agents.directory / "birch" / "checkpoints"
        path.write_bytes(path.read_bytes()[:-640])
        agents.clock.now += SECOND
        agents.book("birch").checkpoint()
        for checkpoint in came:
            watch.came(BIRCH, checkpoint, party("birch").certificate)
        await watch.work()
        assert store.alarms() == []
        assert all(one.linked for one in store.of(BIRCH, 10))

    async def test_of_no_entries_are_logs_too(self, agents: Agents, watch: Watch, store: SqlCheckpoints) -> None:
        agents.book("birch")
        assert await watch.fetch(provider("birch"))
        watch.came(BIRCH, next_checkpoint(agents, "birch", 0), party("birch").certificate)
        await watch.work([BIRCH])
        assert all(one.linked for one in store.of(BIRCH, 10))

    async def test_are_watched_until_the_watch_is_cancelled(
        self, agents: Agents, watch: Watch, store: SqlCheckpoints
    ) -> None:
        running = asyncio.create_task(watch.run())
        watch.came(BIRCH, next_checkpoint(agents, "birch", 0), party("birch").certificate)
        async with asyncio.timeout(10):
            while not store.of(BIRCH, 1):
                await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    async def test_that_come_too_fast_are_let_go_not_piled_up(self, agents: Agents, watch: Watch) -> None:
        checkpoint = next_checkpoint(agents, "birch", 0)
        for _ in range(MOST_WAITING + 7):
            watch.came(BIRCH, checkpoint, party("birch").certificate)
        assert watch.let_go == 7


class TestForks:
    SIZE = 8

    @pytest.mark.parametrize("shared", range(SIZE))
    @pytest.mark.parametrize("total", [SIZE - 1, SIZE, SIZE + 1, 2 * SIZE])
    async def test_at_every_size_raise_an_alarm_with_both_checkpoints(
        self, agents: Agents, watch: Watch, store: SqlCheckpoints, shared: int, total: int
    ) -> None:
        honest = next_checkpoint(agents, "birch", *range(self.SIZE // 2))
        watch.came(BIRCH, honest, party("birch").certificate)
        await watch.work()
        agents.clock.now += SECOND
        fork = forked(agents, min(shared, total - 1), total)
        watch.came(BIRCH, fork.checkpoint(), party("birch").certificate)
        agents.books["birch"].log.close()
        agents.use("birch", fork)
        await watch.work()
        alarms = store.alarms(BIRCH)
        expected = {self.SIZE - 1: {AlarmKind.SHRUNK, AlarmKind.NO_PROOF}, self.SIZE: {AlarmKind.FORK}}
        assert {alarm.kind for alarm in alarms} == expected.get(total, {AlarmKind.NOT_CONSISTENT})
        alarm = alarms[0]
        assert {alarm.first.size, alarm.second.size} == {self.SIZE, total}
        for evidence_of in (alarm.first, alarm.second):
            again = evidence.SignedCheckpoint.FromString(evidence_of.exact)
            assert seen(BIRCH, again, evidence_of.certificate, roots(), SealChecker(), NOW).size == evidence_of.size
        await watch.work([BIRCH])
        assert store.alarms() == alarms, "the same is said once"

    async def test_shown_by_turns_are_found_by_whoever_compares(
        self, agents: Agents, watch: Watch, store: SqlCheckpoints
    ) -> None:
        """The provider shows a log to this coordinator and its fork to another, until the two compare."""
        next_checkpoint(agents, "birch", 0, 1)
        watch.came(BIRCH, agents.book("birch").checkpoint(), party("birch").certificate)
        fork = forked(agents, 1, 6)
        await watch.work()
        watch.came(BIRCH, fork.checkpoint(), party("birch").certificate)
        await watch.work()
        assert [alarm.kind for alarm in store.alarms()] == [AlarmKind.NO_PROOF]
        fork.log.close()

    async def test_below_a_larger_one_that_is_linked_are_found(
        self, agents: Agents, watch: Watch, store: SqlCheckpoints
    ) -> None:
        watch.came(BIRCH, next_checkpoint(agents, "birch", 0), party("birch").certificate)
        agents.clock.now += SECOND
        fork = forked(agents, 2, 3)
        between = fork.checkpoint()
        fork.log.close()
        watch.came(BIRCH, next_checkpoint(agents, "birch", 1), party("birch").certificate)
        await watch.work()
        assert store.alarms() == []
        watch.came(BIRCH, between, party("birch").certificate)
        await watch.work()
        assert [alarm.kind for alarm in store.alarms()] == [AlarmKind.NOT_CONSISTENT]


class TestWhatIsNoCheckpoint:
    async def test_is_not_kept(self, agents: Agents, watch: Watch, store: SqlCheckpoints) -> None:
        good = next_checkpoint(agents, "birch", 0)
        for checkpoint, certificate in (
            (good, party("cedar").certificate),
            (good, b"no certificate"),
            (evidence.SignedCheckpoint(checkpoint=b"\xff", seals=good.seals), party("birch").certificate),
            (evidence.SignedCheckpoint(checkpoint=good.checkpoint), party("birch").certificate),
        ):
            watch.came(BIRCH, checkpoint, certificate)
        watch.came(CEDAR, good, party("birch").certificate)
        await watch.work()
        assert store.of(None, 10) == []

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"provider": "cedar"}, "another provider's"),
            ({"size": 2**63}, "no log has"),
            ({"size": 0}, "no log has"),
            ({"at_unix_ms": unix_ms(NOW - timedelta(days=2))}, "not valid when"),
            ({"at_unix_ms": 2**63}, "can't be read"),
            ({"root": b"short"}, "can't be read"),
            ({"domain": Domain.WITNESS}, "not signed by"),
            ({"signer": "cedar"}, "not signed by"),
        ],
        ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
    )
    def test_says_why(self, changes: dict[str, Any], problem: str) -> None:
        with pytest.raises(BadCheckpointError, match=problem):
            seen(BIRCH, signed(**changes), party("birch").certificate, roots(), SealChecker(), NOW)

    def test_differs_from_one_that_is(self) -> None:
        assert seen(BIRCH, signed(), party("birch").certificate, roots(), SealChecker(), NOW).size == 7

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def test_is_whatever_is_altered(self, data: st.DataObject) -> None:
        exact = bytearray(signed().SerializeToString())
        place = data.draw(st.integers(0, len(exact) - 1))
        exact[place] ^= data.draw(st.integers(1, 255))
        try:
            message = evidence.SignedCheckpoint.FromString(bytes(exact))
        except Exception:
            return
        try:
            found = seen(BIRCH, message, party("birch").certificate, roots(), SealChecker(), NOW)
        except BadCheckpointError:
            return
        assert message.checkpoint == signed().checkpoint, "nothing but what was signed is taken"
        assert found.size == 7


def signed(
    *,
    domain: Domain = Domain.CHECKPOINT,
    signer: str = "birch",
    provider: str = "birch",
    size: int = 7,
    root: bytes = bytes(32),
    at_unix_ms: int = unix_ms(NOW),
) -> evidence.SignedCheckpoint:
    exact = evidence.Checkpoint(provider=provider, size=size, root=root, at_unix_ms=at_unix_ms).SerializeToString()
    seal, _ = party(signer).signer.seal(domain, [exact])
    return evidence.SignedCheckpoint(checkpoint=exact, seals=[seal.to_message()])


def at(size: int, seconds: int, root: bytes = bytes(32)) -> Seen:
    return Seen(BIRCH, size, root, NOW + seconds * SECOND, b"%d %d" % (size, seconds), b"", NOW)


class TestContradictions:
    def test_are_two_roots_for_one_size(self) -> None:
        alarm = contradiction(at(5, 1, b"\1" * 32), [at(5, 0)], NOW)
        assert alarm is not None
        assert alarm.kind is AlarmKind.FORK
        assert contradiction(at(5, 1), [at(5, 0)], NOW) is None

    @pytest.mark.parametrize("came_first", [True, False])
    def test_are_fewer_entries_later(self, came_first: bool) -> None:
        earlier, later = at(6, 0), at(5, 1)
        new, other = (later, earlier) if came_first else (earlier, later)
        alarm = contradiction(new, [other], NOW)
        assert alarm is not None
        assert (alarm.kind, alarm.first, alarm.second) == (AlarmKind.SHRUNK, earlier, later)
        assert contradiction(at(6, 1), [at(5, 0)], NOW) is None

    def test_are_not_two_sizes_of_one_moment(self) -> None:
        assert contradiction(at(5, 0), [at(6, 0)], NOW) is None

    def test_a_path_of_odd_nodes_links_nothing(self) -> None:
        assert not is_linked_by(b"short", at(1, 0), at(2, 1))
        assert is_linked_by(b"", at(2, 0), at(2, 1))
        assert is_linked_by(b"", at(0, 0, EMPTY_ROOT), at(2, 1))


class TestWitnesses:
    @pytest.fixture
    def watch(self, agents: Agents, store: SqlCheckpoints, clock: Clock) -> Watch:
        return watch_of(agents, store, clock, WitnessTerms(count=2, every=timedelta(minutes=10)))

    async def watched(self, agents: Agents, watch: Watch, *numbers: int, minutes: int = 20) -> None:
        agents.clock.now += timedelta(minutes=minutes)
        watch.came(BIRCH, next_checkpoint(agents, "birch", *numbers), party("birch").certificate)
        await watch.work()

    def test_are_always_the_same_two_and_never_the_provider_itself(self) -> None:
        others = [*(provider(name) for name in NAMES), provider("gum", None)]
        chosen = witnesses_for(BIRCH, others, 2)
        assert witnesses_for(BIRCH, others[::-1], 2) == chosen
        assert not {one.id for one in chosen} & {BIRCH, parse_provider_id("gum")}
        assert len(witnesses_for(BIRCH, others, 9)) == 3
        assert witnesses_for(BIRCH, others, 0) == []

    async def test_sign_what_grew(self, agents: Agents, watch: Watch, store: SqlCheckpoints) -> None:
        await self.watched(agents, watch, 0)
        await self.watched(agents, watch, 1, 2)
        newest = store.newest(BIRCH)
        assert newest is not None
        found = store.witnesses(newest.sha256)
        assert [one.witness for one in found] == sorted(w.id for w in witnesses_for(BIRCH, map(provider, NAMES), 2))
        bundle = with_witnesses(newest, found)
        for one, message in zip(found, bundle.seals[1:], strict=True):
            seal = Seal.of_message(message)
            assert SealChecker().is_good(seal, Domain.WITNESS, roots().certified(one.certificate).key)
            assert root_by_path(leaf_hash(bundle.checkpoint), 0, 1, b"") == seal.root

    async def test_log_what_they_sign_before_they_sign(self, agents: Agents, watch: Watch) -> None:
        await self.watched(agents, watch, 0)
        witness = agents.book(witnesses_for(BIRCH, map(provider, NAMES), 1)[0].id)
        entries = [pb.AuditEntry.FromString(exact) for _, exact in witness.log.entries()]
        assert [entry.kind for entry in entries] == [pb.AUDIT_KIND_WITNESSED]
        assert entries[0].asker == LAB

    async def test_are_not_asked_more_often_than_agreed(self, agents: Agents, watch: Watch) -> None:
        await self.watched(agents, watch, 0)
        await self.watched(agents, watch, 1, minutes=1)
        assert sum(name == "Witness" for _, name in agents.calls) == 2

    async def test_that_are_away_are_asked_the_next_time(
        self, agents: Agents, watch: Watch, store: SqlCheckpoints
    ) -> None:
        [first, second] = [one.id for one in witnesses_for(BIRCH, map(provider, NAMES), 2)]
        agents.away.add(first)
        await self.watched(agents, watch, 0)
        assert store.last_witnessed(BIRCH, first) is None
        assert store.last_witnessed(BIRCH, second) is not None
        assert len({call for call in agents.calls if call[1] == "Witness"}) == 3, "another one signs in its place"
        agents.away.clear()
        await watch.work([BIRCH])
        assert store.last_witnessed(BIRCH, first) is not None

    async def test_tell_what_they_signed_for_somebody_else(
        self, agents: Agents, watch: Watch, store: SqlCheckpoints
    ) -> None:
        await self.watched(agents, watch, 0)
        other = SqlCheckpoints(open_engine(f"sqlite:///{agents.directory / 'other.db'}"))
        migrate(other._engine)
        anew = watch_of(agents, other, agents.clock, WitnessTerms(count=2))
        await self.watched(agents, anew, 1)
        newest = other.newest(BIRCH)
        assert newest is not None
        assert len(other.witnesses(newest.sha256)) == 2
        assert other.alarms() == []
        other._engine.dispose()

    async def test_refuse_a_fork_and_an_alarm_says_so(
        self, agents: Agents, watch: Watch, store: SqlCheckpoints, tmp_path: Path
    ) -> None:
        """A second coordinator never saw the first log; the witnesses did."""
        await self.watched(agents, watch, 0, 1)
        other = SqlCheckpoints(open_engine(f"sqlite:///{tmp_path / 'other.db'}"))
        migrate(other._engine)
        anew = watch_of(agents, other, agents.clock, WitnessTerms(count=2))
        agents.clock.now += timedelta(hours=1)
        fork = forked(agents, 2, 9)
        agents.books["birch"].log.close()
        agents.use("birch", fork)
        anew.came(BIRCH, fork.checkpoint(), party("birch").certificate)
        await anew.work()
        assert {alarm.kind for alarm in other.alarms()} == {AlarmKind.WITNESS_REFUSES}
        assert len(other.alarms()) == 1
        other._engine.dispose()

    async def test_whose_signature_is_another_ones_do_not_count(
        self, agents: Agents, store: SqlCheckpoints, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watch = watch_of(agents, store, clock, WitnessTerms(count=1))
        of_birch = party("birch").signer
        monkeypatch.setattr(AuditBook, "seal_as_witness", lambda _, exact: of_birch.seal(Domain.WITNESS, [exact])[0])
        await self.watched(agents, watch, 0)
        newest = store.newest(BIRCH)
        assert newest is not None
        assert store.witnesses(newest.sha256) == []


class TestWhatGoesIntoABundle:
    """The first state that witnesses signed with the answer in it, with the proof that it is the log that is shown."""

    @pytest.fixture
    def watch(self, agents: Agents, store: SqlCheckpoints, clock: Clock) -> Watch:
        return watch_of(agents, store, clock, WitnessTerms(count=2, every=SECOND))

    async def came(self, agents: Agents, watch: Watch, *numbers: int) -> None:
        for number in numbers:
            watch.came(BIRCH, next_checkpoint(agents, "birch", number), party("birch").certificate)
            await watch.work()

    async def collected(self, agents: Agents, engine: Engine, number: int = 1) -> TracebackEvidence:
        given, message = reply(number), TracebackEvidence()
        message.hops.add(
            provider=BIRCH, question=given.case.asked.exact, naming=given.parts.naming, finding=given.parts.finding
        )
        notary = Notary(
            engine=engine,
            name="lab",
            persons=PERSONS,
            signer=lambda: ONLINE,
            roots=bytes,
            provider=lambda name: provider(name),
            clock=agents.clock,
            audits=AgentAudits(agents),
        )
        assert await notary.add_log_proofs(message) == []
        assert message.hops[0].logged.entries
        return message

    def said(self, message: TracebackEvidence, number: int = 1) -> list[Statement]:
        signatures = Signatures(message, Trust(), (authority().directory / "ca.crt").read_bytes())
        given = reply(number)
        return log_statements(signatures, message.hops[0], given.parts, given.case.asked, "hop 1")

    async def test_is_what_witnesses_saw_first_with_the_answer_in_it(
        self, agents: Agents, watch: Watch, engine: Engine, store: SqlCheckpoints
    ) -> None:
        await self.came(agents, watch, 0, 1, 2, 3)
        message = await self.collected(agents, engine)
        shown, logged = message.hops[0].witnessed, message.hops[0].logged
        assert evidence.Checkpoint.FromString(shown.checkpoint.checkpoint).size == 4
        assert evidence.Checkpoint.FromString(logged.checkpoint.checkpoint).size == 8
        assert len(shown.checkpoint.seals) == 3
        (_, seen_by) = self.said(message)
        witnesses = sorted(w.id for w in witnesses_for(BIRCH, map(provider, NAMES), 2))
        assert seen_by.standing is Standing.PROVEN
        assert seen_by.by.startswith(", ".join(f"hopback://provider/{name}" for name in witnesses))

    async def test_needs_no_path_where_it_is_the_very_state_that_is_shown(
        self, agents: Agents, watch: Watch, engine: Engine
    ) -> None:
        await self.came(agents, watch, 0, 1)
        message = await self.collected(agents, engine)
        assert message.hops[0].witnessed.path == b""
        assert [one.standing for one in self.said(message)] == [Standing.PROVEN] * 2

    async def test_is_nothing_before_a_witness_has_seen_the_answer(
        self, agents: Agents, watch: Watch, engine: Engine
    ) -> None:
        await self.came(agents, watch, 0)
        answered(agents.book("birch"), 1)
        message = await self.collected(agents, engine)
        assert not message.hops[0].HasField("witnessed")
        assert [one.standing for one in self.said(message)] == [Standing.PROVEN, Standing.NOT_PROVEN]

    async def test_is_nothing_where_the_provider_proves_nothing(
        self, agents: Agents, watch: Watch, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await self.came(agents, watch, 0, 1, 2)

        async def refuses(self: AgentAudits, entry: Provider, first: int, second: int) -> bytes:
            raise UnreachableError("away")

        monkeypatch.setattr(AgentAudits, "consistency", refuses)
        message = await self.collected(agents, engine)
        assert not message.hops[0].HasField("witnessed")

    async def test_shows_a_log_that_was_rewritten_after_witnesses_had_seen_it(
        self, agents: Agents, watch: Watch, engine: Engine
    ) -> None:
        await self.came(agents, watch, 0, 1)
        other = book_of(agents.directory / "rewritten", "birch", agents.clock)
        answered(other, 1, 5, 6)
        agents.books["birch"].log.close()
        agents.use("birch", other)
        logged, seen_by = self.said(await self.collected(agents, engine))
        assert logged.standing is Standing.PROVEN, "it signed this one, too"
        assert seen_by.standing is Standing.BROKEN
        assert "not shown to be the one" in seen_by.why

    @pytest.mark.parametrize("index", [2**63, 2**64 - 1, 4])
    async def test_is_nothing_where_an_agent_tells_of_places_that_can_not_be(
        self, agents: Agents, watch: Watch, engine: Engine, monkeypatch: pytest.MonkeyPatch, index: int
    ) -> None:
        await self.came(agents, watch, 0, 1)
        honest = AgentAudits.answer

        async def lies(self: AgentAudits, entry: Provider, question_sha256: bytes) -> pb.ProveAnswerResponse:
            shown = await honest(self, entry, question_sha256)
            for one in shown.entries:
                one.index = index
            return shown

        monkeypatch.setattr(AgentAudits, "answer", lies)
        message = await self.collected(agents, engine)
        assert not message.hops[0].HasField("witnessed")
        assert [one.standing for one in self.said(message)] == [Standing.BROKEN]


class TestTheStore:
    def test_gives_back_what_it_keeps(self, store: SqlCheckpoints) -> None:
        kept = seen(BIRCH, signed(), party("birch").certificate, roots(), SealChecker(), NOW)
        assert store.keep(kept)
        assert not store.keep(kept)
        assert store.of(BIRCH, 5) == [kept]
        assert store.providers() == [BIRCH]

    def test_gives_rivals_of_size_and_time(self, store: SqlCheckpoints) -> None:
        def kept(size: int, seconds: int, root: bytes = bytes(32)) -> Seen:
            checkpoint = signed(size=size, root=root, at_unix_ms=unix_ms(NOW + seconds * SECOND))
            return seen(BIRCH, checkpoint, party("birch").certificate, roots(), SealChecker(), NOW)

        before, fork, after, far = kept(9, -5), kept(5, 0, b"\1" * 32), kept(3, 5), kept(2, -9)
        for one in (before, fork, after, far):
            store.keep(one)
        assert set(store.rivals(kept(5, 0))) == {before, fork, after}


class TestTheAgentsService:
    """What the agent's side refuses; see also the witness's own refusals."""

    def service(self, agents: Agents) -> AuditService:
        next_checkpoint(agents, "birch", 0, 1)
        next_checkpoint(agents, "birch", 2)
        return agents.witnesses["birch"]

    @pytest.mark.parametrize(("first", "second"), [(7, 6), (5, 4), (1, 7), (2**64 - 1, 0), (0, 2**64 - 1)])
    def test_proves_nothing_of_sizes_that_were_never_signed(self, agents: Agents, first: int, second: int) -> None:
        request = pb.ProveConsistencyRequest(first=first, second=second)
        with pytest.raises(ContractError):
            self.service(agents).prove_consistency(request.SerializeToString(), LAB)

    def test_shows_a_coordinator_what_it_asked_itself(self, agents: Agents) -> None:
        service = self.service(agents)
        request = pb.ProveAnswerRequest(question_sha256=case(1).sha256).SerializeToString()
        found = pb.ProveAnswerResponse.FromString(service.prove_answer(request, LAB))
        said = evidence.Checkpoint.FromString(found.checkpoint.checkpoint)
        assert [one.index for one in found.entries] == [1, 3]
        for one in found.entries:
            assert root_by_path(leaf_hash(one.entry), one.index, said.size, one.path) == said.root
            assert b"+12025550143" not in one.entry
        other = pb.ProveAnswerResponse.FromString(service.prove_answer(request, "hopback://coordinator/other"))
        assert list(other.entries) == []

    @settings(max_examples=100, deadline=None)
    @given(
        st.binary(max_size=200),
        st.sampled_from(("LatestCheckpoint", "ProveConsistency", "ProveAnswer", "Witness")),
    )
    def test_answers_anything_with_an_answer_or_a_coded_refusal(self, data: bytes, method: str) -> None:
        service = _shared_service()
        try:
            service.methods[method](data, LAB)
        except ContractError as error:
            assert error.reason  # noqa: PT017 (most are refused, an empty request is none)


_SERVICE: list[AuditService] = []


def _shared_service() -> AuditService:
    if not _SERVICE:
        agents = Agents(scratch(), Clock())
        next_checkpoint(agents, "birch", 0)
        _SERVICE.append(agents.witnesses["birch"])
    return _SERVICE[0]


def ask_witness(
    agents: Agents, checkpoint: evidence.SignedCheckpoint, first: int, path: bytes, of: str = "birch"
) -> pb.WitnessResponse:
    request = pb.WitnessRequest(checkpoint=checkpoint, certificate=party(of).certificate, first=first, path=path)
    agents.book("cedar")
    return pb.WitnessResponse.FromString(agents.witnesses["cedar"].methods["Witness"](request.SerializeToString(), LAB))


class TestAWitness:
    def test_signs_the_first_that_it_sees_and_then_what_grew_from_it(self, agents: Agents) -> None:
        one = next_checkpoint(agents, "birch", 0)
        assert ask_witness(agents, one, 0, b"").HasField("seal")
        two = next_checkpoint(agents, "birch", 1)
        assert ask_witness(agents, two, 2, agents.book("birch").log.consistency(2, 4)).HasField("seal")
        assert ask_witness(agents, two, 4, b"").HasField("seal")

    def test_tells_what_it_signed_last_instead(self, agents: Agents) -> None:
        one, two = next_checkpoint(agents, "birch", 0), next_checkpoint(agents, "birch", 1)
        ask_witness(agents, one, 0, b"")
        told = ask_witness(agents, two, 0, b"")
        assert not told.HasField("seal")
        assert told.last_size == 2

    @pytest.mark.parametrize("restarted", [False, True])
    def test_refuses_a_fork_a_shrinking_and_a_bad_proof_also_after_a_restart(
        self, agents: Agents, restarted: bool
    ) -> None:
        small = next_checkpoint(agents, "birch", 0)
        large = next_checkpoint(agents, "birch", 1)
        ask_witness(agents, large, 0, b"")
        if restarted:
            agents.books.pop("cedar").log.close()
        agents.clock.now += SECOND
        fork, same = forked(agents, 3, 6), forked(agents, 3, 4)
        with pytest.raises(ContractError, match="no proof that it grew"):
            ask_witness(agents, fork.checkpoint(), 4, fork.log.consistency(4, 6))
        with pytest.raises(ContractError, match="forked"):
            ask_witness(agents, same.checkpoint(), 4, b"")
        with pytest.raises(ContractError, match="shrank"):
            ask_witness(agents, small, 4, b"")
        kinds = [pb.AuditEntry.FromString(exact).kind for _, exact in agents.book("cedar").log.entries()]
        assert kinds == [pb.AUDIT_KIND_WITNESSED] * 3, "a signature and two contradictions"
        fork.log.close()
        same.log.close()

    def test_refuses_its_own_log_other_keys_and_forged_ones(self, agents: Agents) -> None:
        one = next_checkpoint(agents, "birch", 0)
        with pytest.raises(ContractError, match="own log"):
            ask_witness(agents, next_checkpoint(agents, "cedar", 0), 0, b"", of="cedar")
        with pytest.raises(ContractError, match="not signed by a valid key"):
            ask_witness(agents, one, 0, b"", of="elm")
        bent = evidence.SignedCheckpoint.FromString(one.SerializeToString())
        bent.seals[0].signature = bytes(64)
        with pytest.raises(ContractError, match="not signed by a valid key"):
            ask_witness(agents, bent, 0, b"")
        agents.clock.now += timedelta(days=400)
        with pytest.raises(ContractError, match="not signed by a valid key"):
            ask_witness(agents, one, 0, b"")

    def test_refuses_providers_that_it_does_not_know(self, agents: Agents) -> None:
        one, book = next_checkpoint(agents, "birch", 0), agents.book("cedar")
        strict = Witness(book, roots(), agents.clock, known={parse_provider_id("elm")})
        request = pb.WitnessRequest(checkpoint=one, certificate=party("birch").certificate)
        with pytest.raises(ContractError, match="no witness to that one"):
            strict.witness(request.SerializeToString(), LAB)
        revoked = Witness(book, roots(), agents.clock, is_revoked=bool)
        with pytest.raises(ContractError, match="not signed by a valid key"):
            revoked.witness(request.SerializeToString(), LAB)

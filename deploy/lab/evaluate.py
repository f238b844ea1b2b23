"""How often is it right, at scale: every call of a generated lab traced in one process.

The files are read by the real adapters into real indexes; every call has an order that two persons signed; the
questions are put by the real coordinator's driver, state machine and client, as the bytes that travel; they pass the
real agents' gates, and the answers are signed and logged as ever. Only the network between them and the coordinator's
database are left out. What the agents matched is read from their consultations, which in earnest
never leave a provider: the scorer needs it to see whether a true answer came from the true call's record.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent.answering import Answering, open_answering
from agent.config import AgentConfig, load, source_files
from agent.index.build import short_refs
from agent.index.keys import Keys
from agent.index.reader import Index
from agent.index.root_key import root_key_from
from agent.ingest import IngestReport, ingest
from agent.notes import Notes
from agent.service import Clock, Consultation, Desk, Terms
from coordinator.lookups.asking import SignedAgents
from coordinator.ordering.orders import Terms as OrderTerms
from coordinator.ordering.orders import call_of, order_of
from coordinator.running.driver import Driver
from coordinator.tracing.chain import Call, Status, Traceback, standing
from coordinator.tracing.offsets import Offsets
from coordinator.tracing.ports import Change, Kept, Provider
from deploy.lab.build import Lab
from deploy.lab.judge import Judged, judge
from deploy.lab.people import COORDINATOR, SUBMITTER, People
from deploy.lab.scoring import SeenHop
from deploy.lab.truth import Truth
from protos.certificates import PinnedRoots
from protos.codec import digest
from protos.identity import ProviderId, coordinator_uri, parse_provider_id
from protos.orders import Granted, Order, Purpose
from protos.signing import Seal, read_signer


@dataclass(frozen=True)
class Office:
    """One provider's agent in this process: its desk, and which call each of its switches' call ids belongs to."""

    config: AgentConfig
    keys: Keys
    desk: Desk
    index: Index
    calls_by_ref: Mapping[int, set[str]]
    reports: tuple[IngestReport, ...]

    @property
    def records(self) -> int:
        """How many call legs its index holds."""
        return sum(report.calls for report in self.reports)


class _Remarks(Notes):
    """What the agents' operators get to know, kept for the scorer."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(None, clock)
        self.consultations: dict[uuid.UUID, Consultation] = {}

    def __call__(self, consultations: Sequence[Consultation]) -> None:
        """Keep them."""
        self.consultations |= {one.question.question_id: one for one in consultations}


@dataclass(frozen=True)
class _Wires:
    """The coordinator's way to the agents: bytes in, bytes out, no network."""

    answering: Mapping[str, Answering]

    async def call(self, provider: Provider, method: str, request: bytes, timeout: timedelta) -> bytes:
        """What the agent answers to the coordinator of the lab."""
        del timeout
        return await self.answering[provider.id].handlers[method](request, (coordinator_uri(COORDINATOR),))


@dataclass(frozen=True)
class _Drawer:
    """The orders of a run."""

    orders: Mapping[bytes, Granted]

    def signed(self, sha256s: Collection[bytes]) -> Mapping[bytes, Granted]:
        """Those that are asked for."""
        return {sha256: self.orders[sha256] for sha256 in sha256s}

    def certificate(self, seal: Seal) -> bytes | None:
        """Nothing is taken up from an earlier run."""
        del seal
        return None


@dataclass(frozen=True)
class _Registry:
    offices: Mapping[str, Office]
    known: frozenset[str]

    def provider(self, provider: ProviderId) -> Provider | None:
        """Who is who; a provider without an office runs no agent."""
        if provider not in self.known:
            return None
        return Provider(provider, provider, "in-process:0" if provider in self.offices else None)


class _Forgetful:
    """A store and a watcher that keep nothing."""

    async def save(self, changes: Sequence[Change]) -> tuple[int, ...]:
        """Nothing is lost that the caller does not hold."""
        del changes
        return ()

    async def wake(self, provider: ProviderId, now: datetime) -> int:
        """Nobody waits in here."""
        del provider, now
        return 0

    def changed(self, traceback: Traceback) -> None:
        """Nobody looks."""

    def lost(self, traceback: Traceback) -> None:
        """Nobody else could take it."""


@dataclass(frozen=True)
class _Standstill:
    """The lab's time does not pass: all calls are asked for at the end of its last day."""

    time: datetime

    def now(self) -> datetime:
        """The lab's present."""
        return self.time

    async def sleep_until(self, time: datetime) -> None:
        """Nothing in a lab waits."""
        raise AssertionError(f"nothing should wait until {time} here")


def open_offices(lab: Lab) -> dict[str, Office]:
    """Index every provider's files and open its desk. Close them with `close_offices`.

    Raises:
        RuntimeError: a file could not be read; a lab's files are all readable.
    """
    return {name: _office(lab, name, config) for name, config in lab.configs.items()}


def close_offices(offices: Mapping[str, Office]) -> None:
    """Close all indexes."""
    for office in offices.values():
        office.index.close()


def _office(lab: Lab, name: str, path: Path) -> Office:
    config, now = load(path), lab.industry.calendar.now
    keys = Keys.from_root(root_key_from(config.index.root_key_file, {}))
    reports = tuple(
        ingest(
            source_files(source),
            source,
            config.formats(),
            config.index.directory,
            keys,
            now,
            complete_from=lab.complete_from(name),
            complete_until=lab.complete_until(name),
        )
        for source in config.sources
    )
    problems = [file.problem for report in reports for file in report.failed]
    if problems:
        raise RuntimeError(f"{name}: {'; '.join(problems)}")
    index = Index.open(config.index.directory, keys)
    terms = Terms(
        me=config.me,
        trunks=config.trunk_map(),
        matching=config.match_settings(),
        window_cap=config.match.window_cap,
        retention=config.index.retention,
    )
    ids = sorted({(p.record_id, p.call) for p in lab.traffic.passages if p.provider == name})
    calls_by_ref: dict[int, set[str]] = {}  # two calls may share a reference: 24 bits tell those of one number apart
    for ref, (_, call) in zip(
        short_refs(keys.call_refs([record_id for record_id, _ in ids])).tolist(), ids, strict=True
    ):
        calls_by_ref.setdefault(ref, set()).add(call)
    return Office(config, keys, Desk(terms, index, lambda: now), index, calls_by_ref, reports)


@dataclass(frozen=True, slots=True)
class Traced:
    """One call: its truth, how its tracing ended, what every hop said, and what that is worth."""

    truth: Truth
    traceback: Traceback
    hops: tuple[SeenHop, ...]
    judged: Judged


Shift = Callable[[Call], Call]
"""Changes a question before it is asked: another time, no calling number, a wrong one."""


def trace_all(lab: Lab, offices: Mapping[str, Office], shift: Shift = lambda call: call) -> list[Traced]:
    """Trace every call of the lab and judge each."""
    return asyncio.run(_trace_all(lab, offices, shift))


async def _trace_all(lab: Lab, offices: Mapping[str, Office], shift: Shift) -> list[Traced]:
    if lab.people is None:
        raise ValueError("nothing is answered in a lab where nobody can sign orders")
    now, forgetful = lab.industry.calendar.now, _Forgetful()
    remarks = _Remarks(lambda: now)
    calls = [shift(Call(t.called, t.at, parse_provider_id(t.terminating), t.calling)) for t in lab.truths]
    granted = lab.people.granted([_order(call, lab) for call in calls])
    answering = {
        name: open_answering(office.config, lambda office=office: office.keys, office.desk, remarks)  # type: ignore[misc]
        for name, office in offices.items()
    }
    driver = Driver(
        store=forgetful,
        registry=_Registry(offices, frozenset(lab.industry.providers)),
        agents=_client(lab.people, _Wires(answering), granted, now),
        clock=_Standstill(now),
        watcher=forgetful,
        clocks=Offsets(),
    )
    many = [Kept(Traceback(uuid.UUID(bytes=one.sha256[:16]), call_of(one.order, one.sha256)), 0) for one in granted]
    try:
        done = {traceback.id: traceback async for traceback in driver.drive_all(many)}
    finally:
        driver.close()
        for one in answering.values():
            await one.close()
    traced = []
    for truth, kept in zip(lab.truths, many, strict=True):
        traceback = done[kept.traceback.id]
        hops = seen_hops(traceback, offices, remarks.consultations)
        traced.append(Traced(truth, traceback, hops, judge(truth, traceback.status.value, hops)))
    return traced


def _client(people: People, wires: _Wires, granted: Sequence[Granted], now: datetime) -> SignedAgents:
    stem = people.home / f"coordinator-{COORDINATOR}-evidence"
    certificate = x509.load_pem_x509_certificate(stem.with_suffix(".crt").read_bytes())
    drawer = _Drawer({one.sha256: one for one in granted})
    return SignedAgents(
        wires,
        signer=read_signer(stem.with_suffix(".key")),
        certificate=certificate.public_bytes(Encoding.DER),
        roots=PinnedRoots.from_pem((people.home / "ca.crt").read_bytes()),
        orders=drawer,
        certificates=drawer,
        clock=lambda: now,
    )


def _order(call: Call, lab: Lab) -> Order:
    """A new order for a call of the lab: agents would repeat what they said under an old one."""
    terms = OrderTerms(
        coordinator=COORDINATOR,
        purpose=Purpose.UNLAWFUL_ROBOCALLS,
        legal_basis="47 U.S.C. 222(d)(2)",
        campaign=f"evaluation of lab {lab.industry.seed}",
        evidence_sha256=digest(b"synthetic"),
        submitter=SUBMITTER,
        certification="An invented call.",
    )
    return order_of(call, terms, lab.industry.calendar.now, uuid.uuid4(), os.urandom(16))


def seen_hops(
    traceback: Traceback, offices: Mapping[str, Office], consultations: Mapping[uuid.UUID, Consultation]
) -> tuple[SeenHop, ...]:
    """What every hop said, and on account of which calls' records."""
    seen = []
    for hop in (traceback.hops[position] for position in standing(traceback.hops)):
        consultation = consultations.get(hop.question.question_id)
        decision = consultation.decision if consultation else None
        refs = {leg.call_ref for i in decision.instances for leg in i.rows} if decision else set()
        calls = offices[hop.provider].calls_by_ref if hop.provider in offices else {}
        seen.append(
            SeenHop(
                provider=hop.provider,
                outcome=hop.answer.outcome.name.lower() if hop.answer else None,
                upstream=hop.answer.upstream if hop.answer else None,
                upstream_party=str(decision.upstream) if decision and decision.upstream else None,
                instances=frozenset(call for ref in refs if ref is not None for call in calls.get(ref, ())),
            )
        )
    return tuple(seen)


def judged(traced: Sequence[Traced]) -> list[Judged]:
    """The verdicts alone."""
    return [one.judged for one in traced]


__all__ = ["Office", "Status", "Traced", "close_offices", "judged", "open_offices", "trace_all"]

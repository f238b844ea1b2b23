"""How often is it right, at scale: every call of a generated lab traced in one process.

The files are read by the real adapters into real indexes; the questions are put by the real coordinator's driver and
state machine, as the bytes that travel; the answers are those of the real agents' desks. Only the network between them
and the coordinator's database are left out. What the agents matched is read from their consultations, which in earnest
never leave a provider: the scorer needs it to see whether a true answer came from the true call's record.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from agent.config import AgentConfig, load, source_files
from agent.index.build import short_refs
from agent.index.keys import Keys
from agent.index.reader import Index
from agent.index.root_key import root_key_from
from agent.ingest import IngestReport, ingest
from agent.service import Consultation, Desk, Terms
from coordinator.chain import Call, Status, Traceback
from coordinator.driver import Driver
from coordinator.ports import Change, Kept, Provider, Reply
from deploy.lab.build import Lab
from deploy.lab.judge import Judged, judge
from deploy.lab.scoring import SeenHop
from deploy.lab.truth import Truth
from protos.codec import decode_answer, decode_question, digest, encode_answer
from protos.identity import ProviderId, parse_provider_id
from protos.types import Question


@dataclass(frozen=True)
class Office:
    """One provider's agent in this process: its desk, and which call each of its switches' call ids belongs to."""

    config: AgentConfig
    desk: Desk
    index: Index
    calls_by_ref: Mapping[int, set[str]]
    reports: tuple[IngestReport, ...]

    @property
    def records(self) -> int:
        """How many call legs its index holds."""
        return sum(report.calls for report in self.reports)


@dataclass
class _Agents:
    """The coordinator's way to the desks: bytes in, bytes out, no network."""

    offices: Mapping[str, Office]
    consultations: dict[uuid.UUID, Consultation] = field(default_factory=dict)

    async def ask(self, provider: Provider, question: Question, exact: bytes, timeout: timedelta) -> Reply:
        """One question to one desk."""
        del question, timeout
        asked = decode_question(exact)
        consultation = self.offices[provider.id].desk.consult(asked)
        self.consultations[asked.question_id] = consultation
        sent = encode_answer(consultation.answer, digest(exact))
        return Reply(decode_answer(sent, question_sha256=digest(exact), expected=provider.id), sent)


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
    return Office(config, Desk(terms, index, lambda: now), index, calls_by_ref, reports)


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
    agents, forgetful = _Agents(offices), _Forgetful()
    driver = Driver(
        store=forgetful,
        registry=_Registry(offices, frozenset(lab.industry.providers)),
        agents=agents,
        clock=_Standstill(lab.industry.calendar.now),
        watcher=forgetful,
    )
    traced = []
    for truth in lab.truths:
        call = shift(Call(truth.called, truth.at, parse_provider_id(truth.terminating), truth.calling))
        identity = uuid.uuid5(uuid.NAMESPACE_OID, f"{lab.industry.seed}:{truth.call}")
        traceback = await driver.drive(Kept(Traceback(identity, call), 0))
        hops = seen_hops(traceback, offices, agents.consultations)
        traced.append(Traced(truth, traceback, hops, judge(truth, traceback.status.value, hops)))
    return traced


def seen_hops(
    traceback: Traceback, offices: Mapping[str, Office], consultations: Mapping[uuid.UUID, Consultation]
) -> tuple[SeenHop, ...]:
    """What every hop said, and on account of which calls' records."""
    seen = []
    for hop in traceback.hops:
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

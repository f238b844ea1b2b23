"""The agent as a provider runs it, over the calls of `benchmarks.records`: a process of its own behind mutual TLS.

What a lookup costs beyond an empty call on the same channel, how much of the pace that the same machine has in one
process remains over the wire, and how much memory the agent keeps.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import grpc
import tomlkit
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grpc_health.v1 import health_pb2
from rich.console import Console

from agent.config import load
from agent.index import Index
from agent.index.layout import time_of
from agent.lookups import SERVICE
from agent.service import Desk, Terms
from benchmarks.index import ROOT, Lab, lab
from benchmarks.measure import Figure, ratio_of_medians
from benchmarks.records import EGRESS, INGRESS, SIZE, SOURCE, WINDOW_MS, Wanted
from coordinator.authority.lab_ca import Credentials, LabAuthority
from deploy.lab.fleet import Fleet
from hopback.v1 import lookup_pb2 as pb
from protos import codec, codec_batch
from protos.e164 import from_int
from protos.identity import coordinator_uri, parse_provider_id, provider_uri
from protos.signing import Signer
from protos.tls import TlsFiles, channel_credentials, provider_channel_options, read_tls_files
from protos.types import Answer, Outcome, Question

RUNS: Final = 7
LOOKUPS_A_RUN: Final = 1500
BATCH: Final = 10_000
ME: Final = parse_provider_id("transit")
DOWNSTREAM: Final = parse_provider_id("downstream")


@dataclass(frozen=True, slots=True)
class EvidenceKeys:
    """Whose signatures a signed question to the agent needs."""

    coordinator: Credentials
    downstream: Credentials
    ann: Signer
    bob: Signer


class Serving:
    """The agent's process, its configuration, and who may ask it."""

    def __init__(self, here: Lab) -> None:
        self.lab = here
        home = here.work / "agent"
        home.mkdir()
        authority = LabAuthority.create(home / "authority")
        issued = authority.issue_provider(ME, home)
        coordinator = authority.issue_coordinator("lab", home / "coordinator")
        authority.issue_evidence(provider_uri(ME), "evidence", home)
        self.evidence = EvidenceKeys(
            authority.issue_evidence(coordinator_uri("lab"), "coordinator-evidence"),
            authority.issue_evidence(provider_uri(DOWNSTREAM), "downstream-evidence"),
            Signer(Ed25519PrivateKey.generate()),
            Signer(Ed25519PrivateKey.generate()),
        )
        (home / "root.key").write_text(ROOT.hex())
        (home / "root.key").chmod(0o600)
        self.config = home / "agent.toml"
        self.config.write_text(tomlkit.dumps(_settings(issued, here.directory) | self._signing()))
        self.fleet = Fleet({ME: self.config})
        self.tls: TlsFiles = read_tls_files(
            coordinator.certificate, coordinator.key, coordinator.roots, datetime.now(UTC)
        )

    def _signing(self) -> dict[str, Any]:
        persons = {
            "submitters": {"ann": str(self.evidence.ann.public)},
            "approvers": {"bob": str(self.evidence.bob.public)},
        }
        return {"signing": {"key": "evidence.key", "certificate": "evidence.crt"}, "orders": persons}

    def questions(self, wanted: Wanted) -> list[Question]:
        """The questions that the downstream neighbour's calls lead to."""
        deadline = datetime.now(UTC) + timedelta(hours=1)
        return [
            Question(
                question_id=uuid.UUID(int=number + 1),
                target=ME,
                called=from_int(called),
                at=time_of(low + WINDOW_MS),
                window=timedelta(milliseconds=WINDOW_MS),
                named_by=DOWNSTREAM,
                calling=None,
                deadline=deadline,
            )
            for number, (called, low, _) in enumerate(wanted.rows())
        ]

    def desk(self) -> Desk:
        """The agent's desk in this process, on the terms of its configuration."""
        config = load(self.config)
        terms = Terms(
            me=config.me,
            trunks=config.trunk_map(),
            matching=config.match_settings(),
            window_cap=config.match.window_cap,
            retention=config.index.retention,
            sources=frozenset(source.name for source in config.sources),
        )
        index: Index = self.lab.index
        return Desk(terms, index, lambda: datetime.now(UTC))


def _settings(issued: Any, index: Path) -> dict[str, Any]:
    trunks = [{"name": f"IN{n:03d}", "direction": "ingress", "party": f"provider:up{n:03d}"} for n in range(INGRESS)]
    trunks += [{"name": f"OUT{n:03d}", "direction": "egress", "party": f"provider:{DOWNSTREAM}"} for n in range(EGRESS)]
    return {
        "provider": {"id": ME},
        "listen": {
            "address": "127.0.0.1:0",
            "certificate": issued.certificate.name,
            "key": issued.key.name,
            "roots": issued.roots.name,
            "coordinators": ["hopback://coordinator/lab"],
        },
        "trial": {"unsigned_lookups": True},
        "index": {"directory": str(index), "root_key_file": "root.key", "retention": "36500d"},
        "sources": [
            {
                "name": SOURCE,
                "path": "none.csv",
                "format": "delimited",
                "columns": {
                    "called_in": {"column": "called"},
                    "seizure": {"column": "start", "format": "iso8601"},
                    "ingress_trunk": {"column": "in"},
                    "egress_trunk": {"column": "out"},
                },
            }
        ],
        "trunks": trunks,
    }


@cache
def serving(console: Console) -> Serving:
    """The agent of this process's lab; it runs within `with serving(console).fleet`."""
    return Serving(lab(console))


class _Line:
    """A channel to the agent."""

    def __init__(self, here: Serving) -> None:
        self.channel = grpc.aio.secure_channel(
            here.fleet.addresses[ME], channel_credentials(here.tls), options=provider_channel_options(ME)
        )
        self.lookup = self._method(f"/{SERVICE}/Lookup")
        self.lookup_batch = self._method(f"/{SERVICE}/LookupBatch")
        self._check = self._method("/grpc.health.v1.Health/Check")
        self._empty = health_pb2.HealthCheckRequest().SerializeToString()

    def _method(self, name: str) -> Callable[[bytes], Awaitable[bytes]]:
        return self.channel.unary_unary(name, request_serializer=None, response_deserializer=None)

    async def empty(self) -> None:
        """An empty call."""
        await self._check(self._empty)


def grpc_lookup_vs_echo(console: Console) -> Figure:
    """p50 of a lookup over p50 of an empty call on the same channel, alternating."""
    here = serving(console)
    with here.fleet:
        return asyncio.run(_lookups(here))


async def _lookups(here: Serving) -> Figure:
    line = _Line(here)
    desk = here.desk()
    for _ in range(500):
        await line.empty()
    ours: list[list[float]] = []
    echoes: list[list[float]] = []
    for run in range(RUNS):
        questions = here.questions(here.lab.calls.wanted(LOOKUPS_A_RUN, 20_000 + run))
        exact = [codec.encode_question(question) for question in questions]
        expected = [consultation.answer for consultation in desk.consult_many(questions)]
        got: list[bytes] = []
        taken: tuple[list[float], list[float]] = [], []
        for sent in (pb.LookupRequest(question=question).SerializeToString() for question in exact):
            start = perf_counter()
            got.append(await line.lookup(sent))
            taken[0].append(perf_counter() - start)
            start = perf_counter()
            await line.empty()
            taken[1].append(perf_counter() - start)
        for question, received, answer in zip(exact, got, expected, strict=True):
            digest = codec.digest(question)
            _require(codec.decode_answer(codec.exact_answer(received), question_sha256=digest, expected=ME), answer)
        ours.append(taken[0])
        echoes.append(taken[1])
    await line.channel.close(None)
    lookup = statistics.median(time for run in ours for time in run)
    return ratio_of_medians(ours, echoes, f"empty call on the same channel, lookup p50 {1000 * lookup:.3f} ms", "times")


def grpc_batch_vs_in_process(console: Console) -> Figure:
    """The rate of a batch of 10,000 over the wire, from values to values, over the rate of the same in one process."""
    here = serving(console)
    with here.fleet:
        return asyncio.run(_batches(here))


async def _batches(here: Serving) -> Figure:
    line = _Line(here)
    desk = here.desk()
    ratios, rates, wire_rates, bare = [], [], [], []
    for run in range(RUNS + 1):
        questions = here.questions(here.lab.calls.wanted(BATCH, 30_000 + run))
        desk.consult_many(questions)
        start = perf_counter()
        expected = [consultation.answer for consultation in desk.consult_many(questions)]
        inside = perf_counter() - start
        for _ in range(2):
            start = perf_counter()
            sent = codec_batch.encode_questions(questions)
            request = pb.LookupBatchRequest(batch=sent).SerializeToString()
            middle = perf_counter()
            received = await line.lookup_batch(request)
            bare.append(perf_counter() - middle)
            response = codec.parse(pb.LookupBatchResponse(), received)
            answers = codec_batch.decode_answers(
                response.batch, batch_sha256=codec.digest(sent), expected=ME, count=len(questions)
            )
            wire = perf_counter() - start
        _require(answers, expected)
        if run:
            ratios.append(inside / wire)
            rates.append(len(questions) / inside)
            wire_rates.append(len(questions) / wire)
    await line.channel.close(None)
    peer = (
        f"the same desk in one process: {statistics.median(rates):,.0f}/s; over gRPC and mutual TLS, encoding and "
        f"decoding included: {statistics.median(wire_rates):,.0f}/s, without: {BATCH / statistics.median(bare):,.0f}/s"
    )
    return Figure(statistics.median(ratios), "of its rate", peer, tuple(ratios))


def _require(got: Answer | Sequence[Answer], expected: Answer | Sequence[Answer]) -> None:
    if got != expected:
        raise AssertionError("the answer over the wire is another than in the process")
    some = expected if isinstance(expected, list) else []
    if some and sum(answer.outcome is Outcome.UPSTREAM for answer in some) < len(some) // 2:
        raise AssertionError("most calls must be found")


def agent_rss_mb(console: Console) -> Figure:
    """Memory of an agent that serves the calls, after lookups all over them, without the page cache of its segments."""
    here = serving(console)
    with here.fleet:
        asyncio.run(_ask_all_over(here))
        resident, cached = _resident(here.fleet.process(ME))
    at_rest = f"{cached:.0f} MB of segments in the page cache besides, {SIZE:,} calls"
    return Figure(resident, "MB", at_rest, (resident,))


async def _ask_all_over(here: Serving) -> None:
    line = _Line(here)
    for part in range(3):
        questions = here.questions(here.lab.calls.wanted(BATCH, 40_000 + part))
        sent = codec_batch.encode_questions([replace(q, named_by=None) for q in questions])
        await line.lookup_batch(pb.LookupBatchRequest(batch=sent).SerializeToString())
    await line.channel.close(None)


def _resident(process: int) -> tuple[float, float]:
    """Resident memory of a process in MB: without mapped segments, and of these alone."""
    own = segments = 0
    is_segment = False
    for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            is_segment = line.endswith(".seg")
        elif line.startswith("Rss:"):
            kilobytes = int(line.split()[1])
            segments += kilobytes * is_segment
            own += kilobytes * (not is_segment)
    return own / 1024, segments / 1024

"""What orders, signatures and the audit log cost: signed questions against unsigned ones, to the same agent.

The agent is the one of `benchmarks.serving`, a process of its own behind mutual TLS, with the gate, the audit log and
trials switched on. Every question is about another call and stands under an order of its own; the orders were submitted
and approved in one file, as people do it. For single questions, the downstream provider signed each naming by itself;
for a batch, all of them together.

The agent makes every answer durable before it leaves. What the disk takes for that is measured beside it, on the same
file system with as many bytes, and stated apart: it is the disk's, and it is shared by all that ask at the same time.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Final

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from rich.console import Console

from agent.ask import ASK
from agent.lookups import LOOKUP
from benchmarks.measure import Figure
from benchmarks.serving import BATCH, DOWNSTREAM, ME, Serving, serving
from hopback.v1 import lookup_pb2 as lookup
from protos import codec
from protos.codec import digest
from protos.envelopes import decode_responses, encode_requests
from protos.hops import (
    Asked,
    Finding,
    Named,
    answer_parts,
    decode_naming,
    decode_parts,
    decode_question,
    encode_question,
)
from protos.orders import Granted, Order, Purpose, encode_order
from protos.signing import Domain, read_signer
from protos.tls import channel_credentials, provider_channel_options
from protos.types import Answer, Authority, Outcome, Question, RecordCoverage

RUNS: Final = 5
SINGLES_A_RUN: Final = 300
BATCHES: Final = 5
LOGGED_BYTES: Final = 2200
"""What one question and its answer take in the audit log."""
_MESSAGE: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Signed:
    """Questions with all that travels with them."""

    asked: list[Asked]
    orders: list[Granted]
    namings: list[Named]


class Parties:
    """Everybody whose signature a question needs."""

    def __init__(self, here: Serving) -> None:
        self.coordinator = read_signer(here.evidence.coordinator.key)
        self.downstream = read_signer(here.evidence.downstream.key)
        self.ann, self.bob = here.evidence.ann, here.evidence.bob
        self.certificates = [_der(one.certificate) for one in (here.evidence.coordinator, here.evidence.downstream)]

    def sign(self, questions: Sequence[Question], *, together: bool) -> Signed:
        """Orders, namings and signed questions for these; namings `together` under one signature or one by one."""
        now = datetime.now(UTC).replace(microsecond=0)
        orders = self._orders(questions, now)
        namings = self._namings(questions, orders, now, together=together)
        asked = []
        for question, granted, named in zip(questions, orders, namings, strict=True):
            authority = Authority(granted.sha256, digest(named.exact), 1, now, os.urandom(16))
            changed = replace(
                question, question_id=uuid.uuid4(), deadline=now + timedelta(minutes=9), authority=authority
            )
            asked.append(decode_question(encode_question(changed)))
        return Signed(asked, orders, namings)

    def envelope(self, signed: Signed) -> bytes:
        """The request."""
        exact = [one.exact for one in signed.asked]
        seal, _ = self.coordinator.seal(Domain.QUESTION, exact)
        return encode_requests(exact, seal, signed.orders, signed.namings, self.certificates)

    def _orders(self, questions: Sequence[Question], now: datetime) -> list[Granted]:
        orders = [
            Order(
                order_id=uuid.uuid4(),
                coordinator="lab",
                purpose=Purpose.UNLAWFUL_ROBOCALLS,
                legal_basis="47 U.S.C. 222(d)(2)",
                campaign="benchmark",
                evidence_sha256=os.urandom(32),
                called=question.called,
                at=question.at,
                window=question.window,
                calling=None,
                terminating=DOWNSTREAM,
                hop_limit=10,
                issued=now,
                expires=now + timedelta(hours=72),
                submitter="ann",
                certification="I certify that this call is suspected to be unlawful.",
                salt=os.urandom(16),
            )
            for question in questions
        ]
        exact = [encode_order(order) for order in orders]
        submissions, (approval, _) = self.ann.prove(Domain.ORDER, exact), self.bob.seal(Domain.APPROVAL, exact)
        return [
            Granted(order, one, submission, (approval,))
            for order, one, submission in zip(orders, exact, submissions, strict=True)
        ]

    def _namings(
        self, questions: Sequence[Question], orders: Sequence[Granted], now: datetime, *, together: bool
    ) -> list[Named]:
        parts = []
        for question, granted in zip(questions, orders, strict=True):
            first = replace(question, authority=Authority(granted.sha256, None, 0, now, os.urandom(16)))
            finding = Finding(RecordCoverage.COMPLETE, os.urandom(32), now)
            answer = Answer(DOWNSTREAM, Outcome.UPSTREAM, ME)
            parts.append(answer_parts(answer, first, digest(encode_question(first)), finding, os.urandom(32)))
        leaves = [one.leaf for one in parts]
        if together:
            proofs = self.downstream.prove(Domain.ANSWER, leaves)
        else:
            proofs = [self.downstream.prove(Domain.ANSWER, [leaf])[0] for leaf in leaves]
        return [
            Named(decode_naming(one.naming), one.naming, digest(one.finding), proof)
            for one, proof in zip(parts, proofs, strict=True)
        ]


def signed_vs_unsigned(console: Console) -> Figure:
    """p50 of a signed single question over p50 of the unsigned one on the same channel; the disk's part taken out."""
    here = serving(console)
    with here.fleet:
        return asyncio.run(_singles(here))


async def _singles(here: Serving) -> Figure:
    parties = Parties(here)
    channel = _channel(here)
    ask, look_up = _method(channel, ASK), _method(channel, LOOKUP)
    ratios, whole, bare, disk = [], [], [], []
    for run in range(RUNS + 1):
        questions = here.questions(here.lab.calls.wanted(SINGLES_A_RUN, 50_000 + run))
        signed = parties.sign(questions, together=False)
        taken: tuple[list[float], list[float], list[float]] = [], [], []
        found = 0
        with _Disk(here.config.parent) as fsync:
            for number, question in enumerate(questions):
                one = Signed(signed.asked[number : number + 1], [signed.orders[number]], [signed.namings[number]])
                request = parties.envelope(one)
                start = perf_counter()
                received = await ask(request)
                taken[0].append(perf_counter() - start)
                plain = lookup.LookupRequest(question=codec.encode_question(question)).SerializeToString()
                start = perf_counter()
                await look_up(plain)
                taken[1].append(perf_counter() - start)
                taken[2].append(fsync())
                (parts,) = decode_responses(received, 1).parts
                answer, _ = decode_parts(parts, one.asked[0], ME)
                found += answer.outcome is Outcome.UPSTREAM
        _require(found > SINGLES_A_RUN // 2, "most calls must be found and answered")
        if run:
            medians = [statistics.median(times) for times in taken]
            ratios.append((medians[0] - medians[2]) / medians[1])
            whole.append(medians[0])
            bare.append(medians[1])
            disk.append(medians[2])
    await channel.close(None)
    signed_ms, unsigned_ms, fsync_ms = (1000 * statistics.median(times) for times in (whole, bare, disk))
    peer = (
        f"unsigned lookup p50 {unsigned_ms:.3f} ms; signed p50 {signed_ms:.3f} ms with the disk "
        f"({signed_ms / unsigned_ms:.2f} times), of which write and fsync {fsync_ms:.3f} ms"
    )
    return Figure(statistics.median(ratios), "times", peer, tuple(ratios))


def signed_batch_lookups_per_s(console: Console) -> Figure:
    """Questions of a batch of 10,000 that a second of the agent's processor answers, checked, logged and signed."""
    here = serving(console)
    with here.fleet:
        return asyncio.run(_batches(here))


async def _batches(here: Serving) -> Figure:
    parties = Parties(here)
    channel = _channel(here)
    ask = _method(channel, ASK)
    rates, walls = [], []
    size = 0
    for run in range(BATCHES + 1):
        signed = parties.sign(here.questions(here.lab.calls.wanted(BATCH, 60_000 + run)), together=True)
        request = parties.envelope(signed)
        size = len(request)
        process = here.fleet.process(ME)
        before, start = _cpu_s(process), perf_counter()
        received = await ask(request)
        wall = perf_counter() - start
        await asyncio.sleep(1.0)  # what is written behind the answer counts too
        cpu = _cpu_s(process) - before
        parts = decode_responses(received, BATCH).parts
        answers = [decode_parts(one, asked, ME)[0] for one, asked in zip(parts, signed.asked, strict=True)]
        found = sum(answer.outcome is Outcome.UPSTREAM for answer in answers)
        _require(found > BATCH // 2, "most calls must be found and answered")
        if run:
            rates.append(BATCH / cpu)
            walls.append(BATCH / wall)
    await channel.close(None)
    peer = (
        f"over gRPC and mutual TLS, a request of {size / BATCH / 1000:.1f} KB a question; "
        f"by the clock {statistics.median(walls):,.0f}/s"
    )
    return Figure(statistics.median(rates), "lookups/s a core", peer, tuple(rates))


class _Disk:
    """What the file system takes to make as many bytes durable as a question adds to the log."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "fsync"
        self._bytes = os.urandom(LOGGED_BYTES)

    def __enter__(self) -> Callable[[], float]:
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

        def fsync() -> float:
            start = perf_counter()
            os.write(self._file, self._bytes)
            os.fsync(self._file)
            return perf_counter() - start

        return fsync

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
        self._path.unlink()


def _channel(here: Serving) -> grpc.aio.Channel:
    options = (*provider_channel_options(ME), ("grpc.max_receive_message_length", _MESSAGE))
    return grpc.aio.secure_channel(here.fleet.addresses[ME], channel_credentials(here.tls), options=options)


def _method(channel: grpc.aio.Channel, name: str) -> Callable[[bytes], Awaitable[bytes]]:
    return channel.unary_unary(name, request_serializer=None, response_deserializer=None)


def _cpu_s(process: int) -> float:
    """Processor seconds that a process took so far, in all its threads."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@cache
def _der(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)

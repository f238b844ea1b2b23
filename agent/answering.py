"""From a configuration to the handlers that an agent serves, with all that they need opened: keys, gate, audit log.

An agent with `[signing]` and `[orders]` answers signed questions; one with `[trial] unsigned_lookups` the others; one
with neither is refused, because it would serve nothing. What is opened here is closed by `Answering.close`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

import structlog
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent.answered import answered_before
from agent.ask import ASK, AskHandler, Evidence
from agent.audit.book import AuditBook
from agent.audit.errors import AuditError
from agent.audit.layout import LOG_DIRECTORY
from agent.audit.log import AuditLog
from agent.audit.sealing import AuditKey
from agent.audit.service import SERVICE as AUDIT_SERVICE
from agent.audit.service import AuditService
from agent.audit.witness import Witness
from agent.call_tags import CallTags
from agent.config import AgentConfig
from agent.gate.checks import Rules
from agent.gate.envelope import IsRevoked
from agent.gate.gate import Gate
from agent.gate.memory import Memory
from agent.handlers import Handler, Handlers, reading_records, refuse_signed, refuse_unsigned
from agent.index import Keys
from agent.inspection import read_evidence, signed_mistakes
from agent.lookups import LOOKUP, LOOKUP_BATCH, UnsignedLookups
from agent.mistakes import ConfigError, Mistake
from agent.notes import Notes
from agent.review.disclosing import Disclosing
from agent.review.store import ReviewStore
from agent.service import Desk
from protos.certificates import PinnedRoots
from protos.errors import Fault, FaultError
from protos.live import Live
from protos.types import ErrorReason

GATE_FILE: Final = "gate.sqlite"
REVIEW_FILE: Final = "review.sqlite"
LOOK_FOR_DECISIONS_S: Final = 2.0

log_ = structlog.get_logger()


@dataclass(slots=True)
class Answering:
    """What an agent serves. `evidence` and `log` are None where it answers no signed questions."""

    handlers: Handlers
    evidence: Evidence | None = None
    log: AuditLog | None = None
    ask: AskHandler | None = None
    disclosing: Disclosing | None = None
    roots: PinnedRoots | None = None
    """Of others' evidence."""

    async def follow_decisions(self) -> None:
        """Log what people decide about held answers, whether or not anybody asks again; ends by being cancelled."""
        while self.disclosing is not None:
            await asyncio.sleep(LOOK_FOR_DECISIONS_S)
            try:
                self.disclosing.take_decisions()
            except AuditError as error:
                log_.error("decision_not_logged", error=str(error))  # noqa: TRY400 (the text says it all)

    async def close(self) -> None:
        """Let go of the audit log and of the gate's memory."""
        if self.ask is not None:
            await self.ask.close()
        if self.log is not None:
            self.log.close()


def open_answering(
    config: AgentConfig,
    keys: Callable[[], Keys],
    desk: Desk,
    notes: Notes,
    *,
    is_revoked: IsRevoked = lambda certified: False,  # noqa: ARG005 (nothing is, where no list says so)
    on_broken: Callable[[Path], None] | None = None,
) -> Answering:
    """Everything that this configuration serves, ready to be served; `keys` is asked only where it logs.

    Raises:
        ConfigError: it serves nothing, or a file that it names can't be used.
        agent.audit.errors.AuditError: the audit log can't be opened.
    """
    if mistakes := signed_mistakes(config):
        raise ConfigError("configuration", mistakes)
    handlers: dict[str, Handler] = {LOOKUP: refuse_unsigned, LOOKUP_BATCH: refuse_unsigned, ASK: refuse_signed}
    if config.trial.unsigned_lookups:
        for name, handler in UnsignedLookups(desk, notes).handlers().items():
            handlers[name] = reading_records(handler, on_broken)
    if config.signing is None or config.orders is None:
        return Answering(handlers)
    key, roots = read_evidence(config, desk.clock())
    try:
        limits = config.question_limits()
    except (OSError, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError("configuration", [Mistake("limits.deny_list", f"can't be read: {told}")]) from None
    directory = config.audit.directory
    log = AuditLog.open(directory / LOG_DIRECTORY)
    secret = keys().audit_secret()
    memory = Memory.open(directory / GATE_FILE, _derived(secret, b"hopback gate numbers"), limits)
    sealing = AuditKey(secret)

    def now() -> datetime:
        return memory.now(desk.clock())

    live = Live(key)
    book = AuditBook(log, key.signer, key.certificate, config.me, sealing, now)
    live.on_change(lambda renewed: book.renew(renewed.signer, renewed.certificate))
    memory.catch_up(book.recent(memory.taken_up))
    book.started(sha256(config.model_dump_json().encode()).digest())
    rules = Rules(
        config.me,
        config.orders.persons(),
        desk.terms.trunks.neighbours(),
        limits,
        is_revoked,
        config.orders.attested_namings,
        answered_before(memory, log, sealing, config.me),
    )
    gate = Gate(rules, roots, memory, desk.terms.retention)
    evidence = Evidence(live, book, sealing)
    store = ReviewStore(directory / REVIEW_FILE, AuditKey(review_secret(secret)))
    disclosing = Disclosing(config.disclosure.mode, desk.terms.matching, store, book)
    tags = CallTags(_derived(secret, b"hopback call tags"))
    ask = AskHandler(desk, gate, evidence, disclosing, tags, notes)
    handlers[ASK] = reading_records(ask.ask, on_broken)
    handlers.update(audit_handlers(AuditService(book, Witness(book, roots, now, is_revoked=is_revoked))))
    return Answering(handlers, evidence, log, ask, disclosing, roots)


def audit_handlers(service: AuditService) -> Handlers:
    """The methods of the audit service; they read files, so they run beside the event loop."""

    def handler(method: Callable[[bytes, str], bytes]) -> Handler:
        async def handle(request: bytes, askers: tuple[str, ...]) -> bytes:
            try:
                return await asyncio.to_thread(method, request, askers[0])
            except AuditError:
                raise FaultError(
                    Fault(ErrorReason.AUDIT_UNAVAILABLE, "the agent's audit log can't be used now")
                ) from None

        return handle

    return {f"/{AUDIT_SERVICE}/{name}": handler(method) for name, method in service.methods.items()}


def review_secret(audit_secret: bytes) -> bytes:
    """Under which held answers are sealed."""
    return _derived(audit_secret, b"hopback held answers")


def _derived(audit_secret: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(audit_secret)

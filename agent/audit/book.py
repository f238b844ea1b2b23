"""The audit book: what happened becomes entries of the log, and the log's state becomes signed checkpoints.

An agent files the intent before any record is read, and the answer before it leaves:

    book.intent(cases, asker)                  a question passed the gate
    book.answers(replies, asker)               what will be answered
    await to_thread(book.sync)                 durable, for all that wait at once
    checkpoint = book.checkpoint()             what travels with the answers

Every method raises `agent.audit.errors.AuditUnavailableError` when the log can't be written; then nothing may be
answered. What could tell a subscriber's number stands in the sealed part of an entry alone (`agent.audit.sealing`).
The values that callers hand in are tuples with names, because there are ten thousand of each in a batch.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from agent.audit.entry_bytes import EntryMaker
from agent.audit.errors import AuditBrokenError
from agent.audit.layout import ENTRIES, key_of
from agent.audit.log import AuditLog
from agent.audit.reader import AuditReader
from agent.audit.sealing import FINDING, NAMING, NOTE, QUESTION, RECORD, SALT, AuditKey, Opened, item
from hopback.v1 import audit_pb2 as pb
from hopback.v1 import evidence_pb2 as evidence
from protos.codec import digest, from_unix_ms, unix_ms
from protos.hops import Asked, Parts
from protos.identity import ProviderId
from protos.signing import Domain, Seal, Signer
from protos.types import Answer, Outcome, RefusalReason

Clock = Callable[[], datetime]
_NONCE: Final = 12
_QUESTION, _NAMING, _FINDING = (b"%c" % tag for tag in (QUESTION, NAMING, FINDING))
LONGEST_NOTE: Final = 4096
OPERATOR: Final = "operator:"
# the name of an enum's member is slow to get, and so is its hash
_OUTCOMES: Final = {outcome.value: outcome.name for outcome in Outcome}
_REFUSALS: Final = {reason.value: reason.name for reason in RefusalReason} | {RefusalReason.UNSPECIFIED.value: ""}


class Case(NamedTuple):
    """A question as it is filed: with the digest of its exact bytes, the bytes of its id, and its order's campaign.

    The campaign is empty where the order is unknown.
    """

    asked: Asked
    sha256: bytes
    question_id: bytes
    campaign: str = ""


class Opening(NamedTuple):
    """What opens the commitment of an answer: SHA-256(salt + record); `record` is the matched record's identity."""

    salt: bytes
    record: bytes


class Reply(NamedTuple):
    """The answer to a case in its exact parts."""

    case: Case
    answer: Answer
    parts: Parts
    opening: Opening | None = None


class About(NamedTuple):
    """Which question a person's decision is about."""

    question_id: bytes
    question_sha256: bytes
    order_sha256: bytes
    campaign: str = ""


@dataclass(frozen=True, slots=True)
class Filed:
    """An entry as it stands in the log, opened where the key is known; `at` is aware UTC."""

    index: int
    kind: int
    at: datetime
    asker: str
    question_id: bytes
    question_sha256: bytes
    order_sha256: bytes
    answer_leaf: bytes
    outcome: str
    refusal: str
    campaign: str
    opened: Opened | None


class AuditBook:
    """Writes one provider's log. `sync` may be called by another thread than the rest."""

    def __init__(
        self, log: AuditLog, signer: Signer, certificate: bytes, provider: ProviderId, key: AuditKey, clock: Clock
    ) -> None:
        """`certificate` (DER) is of the signer's key, and kept in the log."""
        self.log = log
        self.certificate = certificate
        self.provider = provider
        self._signer = signer
        self._key = key
        self._clock = clock
        self._signed: evidence.SignedCheckpoint | None = None
        self._signed_state: tuple[int, bytes, bytes] | None = None
        self._latest_ms = 0
        self._signing = threading.Lock()
        log.keep_certificate(certificate)
        if log.checkpoints and (last := log.checkpoint(log.checkpoints - 1)) is not None:
            said = evidence.Checkpoint.FromString(evidence.SignedCheckpoint.FromString(last).checkpoint)
            self._latest_ms = said.at_unix_ms

    # Filing

    def intent(self, cases: Sequence[Case], asker: str) -> int:
        """Questions passed the gate; records are about to be searched. Returns the index of the first entry."""
        return self._file(pb.AUDIT_KIND_INTENT, cases, asker)

    def answers(self, replies: Sequence[Reply], asker: str) -> int:
        """The answers, before they leave."""
        return self._file_replies(pb.AUDIT_KIND_ANSWER, replies, asker)

    def refused(self, replies: Sequence[Reply], asker: str) -> int:
        """The gate refused; no record was read."""
        return self._file_replies(pb.AUDIT_KIND_REFUSED, replies, asker)

    def replayed(self, replies: Sequence[Reply], asker: str) -> int:
        """Questions that were answered before got their stored answers."""
        return self._file_replies(pb.AUDIT_KIND_REPLAYED, replies, asker)

    def reviewed(self, about: About, operator: str, outcome: str, note: str = "", parts: Parts | None = None) -> int:
        """A person approved, corrected or refused a held answer; `parts` are what may leave now."""
        return self._one(pb.AUDIT_KIND_REVIEWED, OPERATOR + operator, about, outcome, note, parts)

    def released(self, about: About, operator: str, note: str = "") -> int:
        """A person released a customer's identity, sealed to the coordinator."""
        return self._one(pb.AUDIT_KIND_RELEASED, OPERATOR + operator, about, "", note)

    def started(self, config_sha256: bytes, version: str = "") -> int:
        """The agent started with this configuration."""
        return self._one(pb.AUDIT_KIND_STARTED, "agent", None, version, f"configuration {config_sha256.hex()}")

    def witnessed(self, asker: str, checkpoint: bytes, note: str) -> int:
        """Another provider's checkpoint (exact bytes) is about to be signed."""
        about = About(b"", digest(checkpoint), b"")
        return self._one(pb.AUDIT_KIND_WITNESSED, asker, about, "", note)

    def sync(self) -> int:
        """Make durable what was filed before; returns how many entries that are."""
        return self.log.sync()

    # Checkpoints

    def checkpoint(self) -> evidence.SignedCheckpoint:
        """The durable state of the log, signed, and kept before it leaves. The same one again while nothing changed."""
        with self._signing:
            size, root = self.log.durable
            state = (size, root, self._signer.key_id)
            if self._signed is None or self._signed_state != state:
                self._latest_ms = max(unix_ms(self._clock()), self._latest_ms)  # a later checkpoint never looks older
                exact = evidence.Checkpoint(
                    provider=self.provider, size=size, root=root, at_unix_ms=self._latest_ms
                ).SerializeToString(deterministic=True)
                seal, _ = self._signer.seal(Domain.CHECKPOINT, [exact])
                signed = evidence.SignedCheckpoint(checkpoint=exact, seals=[seal.to_message()])
                self.log.keep_checkpoint(signed.SerializeToString(deterministic=True))
                self._signed, self._signed_state = signed, state
            return self._signed

    def seal_as_witness(self, checkpoint: bytes) -> Seal:
        """This provider's signature under another's checkpoint (exact bytes)."""
        with self._signing:
            seal, _ = self._signer.seal(Domain.WITNESS, [checkpoint])
        return seal

    def renew(self, signer: Signer, certificate: bytes) -> None:
        """Sign with another key from now on."""
        self.log.keep_certificate(certificate)
        with self._signing:
            self._signer, self.certificate = signer, certificate

    def recent(self, first: int = 0) -> Iterator[Filed]:
        """What was filed from entry `first` on, oldest first, to bring a derived memory up to date."""
        return filed(self.log, self._key, first)

    # Entries

    def _file(self, kind: int, cases: Sequence[Case], asker: str) -> int:
        at_ms = unix_ms(self._clock())
        nonces = os.urandom(_NONCE * len(cases))
        encrypt, entry = self._key.encrypt, EntryMaker(kind, at_ms, asker).entry
        entries, known = [], []
        for number, (asked, sha256, question_id, campaign) in enumerate(cases):
            nonce = nonces[_NONCE * number : _NONCE * (number + 1)]
            exact = asked.exact
            plain = b"%b%b%b" % (_QUESTION, len(exact).to_bytes(2, "big"), exact)
            about = question_id, sha256, asked.authority.order_sha256, campaign
            entries.append(entry(about, nonce, encrypt(nonce, plain, b"%c%b" % (kind, sha256))))
            known.append((key_of(sha256), at_ms))
        return self.log.append(entries, known)

    def _file_replies(self, kind: int, replies: Sequence[Reply], asker: str) -> int:
        at_ms = unix_ms(self._clock())
        nonces = os.urandom(_NONCE * len(replies))
        encrypt, entry = self._key.encrypt, EntryMaker(kind, at_ms, asker).entry
        entries, known = [], []
        for number, ((asked, sha256, question_id, campaign), answer, parts, opening) in enumerate(replies):
            nonce = nonces[_NONCE * number : _NONCE * (number + 1)]
            exact = asked.exact
            # both parts end in zeros up to one size, which `Opened` puts back
            naming, finding = parts.naming.rstrip(b"\0"), parts.finding.rstrip(b"\0")
            plain = b"%b%b%b%b%b%b%b%b%b" % (
                _QUESTION,
                len(exact).to_bytes(2, "big"),
                exact,
                _NAMING,
                len(naming).to_bytes(2, "big"),
                naming,
                _FINDING,
                len(finding).to_bytes(2, "big"),
                finding,
            )
            if opening is not None:
                plain += item(SALT, opening.salt) + item(RECORD, opening.record)
            about = question_id, sha256, asked.authority.order_sha256, campaign
            sealed = encrypt(nonce, plain, b"%c%b" % (kind, sha256))
            outcome, refusal = _OUTCOMES[answer.outcome._value_], _REFUSALS[answer.refusal._value_]
            entries.append(entry(about, nonce, sealed, parts.leaf, outcome, refusal))
            known.append((key_of(sha256), at_ms))
        return self.log.append(entries, known)

    def _one(
        self, kind: int, asker: str, about: About | None, outcome: str, note: str, parts: Parts | None = None
    ) -> int:
        at_ms = unix_ms(self._clock())
        question_id, question_sha256, order_sha256, campaign = about or About(b"", b"", b"")
        plain = item(NOTE, note.encode()[:LONGEST_NOTE])
        if parts is not None:
            plain += item(NAMING, parts.naming.rstrip(b"\0")) + item(FINDING, parts.finding.rstrip(b"\0"))
        entry = pb.AuditEntry(
            kind=kind,  # type: ignore[arg-type]
            at_unix_ms=at_ms,
            question_id=question_id,
            question_sha256=question_sha256,
            order_sha256=order_sha256,
            asker=asker,
            answer_leaf=parts.leaf if parts else b"",
            outcome=outcome,
            campaign=campaign,
            sealed=self._key.seal(plain, kind, question_sha256),
        )
        return self.log.append([entry.SerializeToString()], [(key_of(question_sha256), at_ms)])


def filed(log: AuditReader, key: AuditKey | None, first: int = 0, end: int | None = None) -> Iterator[Filed]:
    """Entries as values, opened when there is a key.

    Raises:
        AuditBrokenError: one is no entry.
        agent.audit.sealing.SealBrokenError: one was sealed under another key.
    """
    for index, exact in log.entries(first, end):
        yield read_entry(log, index, exact, key)


def read_entry(log: AuditReader, index: int, exact: bytes, key: AuditKey | None) -> Filed:
    """One entry as a value; raises as `filed` does."""
    try:
        message = pb.AuditEntry.FromString(exact)
        at = from_unix_ms(message.at_unix_ms)
    except (DecodeError, OverflowError):
        raise AuditBrokenError(log.directory / ENTRIES, "it is no AuditEntry", index) from None
    sealed = message.sealed
    return Filed(
        index=index,
        kind=message.kind,
        at=at,
        asker=message.asker,
        question_id=message.question_id,
        question_sha256=message.question_sha256,
        order_sha256=message.order_sha256,
        answer_leaf=message.answer_leaf,
        outcome=message.outcome,
        refusal=message.refusal,
        campaign=message.campaign,
        opened=key.open(sealed, message.kind, message.question_sha256) if key is not None and sealed else None,
    )

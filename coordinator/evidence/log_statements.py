"""What a bundle shows of a provider's audit log: that it holds the answer, and that others have seen it (RFC 6962).

A witness is another provider, which signs a state of a log alone where it grew from what that witness saw before. Its
seal under a state that holds the answer shows that the answer was there then, and that the log which the bundle shows
is the one that the witness saw. A bundle without such a seal proves that less, and nothing in it is broken for it.
"""

from __future__ import annotations

from dataclasses import replace

from google.protobuf.message import DecodeError

from coordinator.evidence.signatures import Signatures, instant
from coordinator.evidence.statements import Statement, broken, proven, unproven
from hopback.v1 import audit_pb2 as audit
from hopback.v1 import bundle_pb2 as pb
from hopback.v1 import evidence_pb2 as evidence
from protos import merkle
from protos.codec import digest
from protos.hops import Asked, Parts
from protos.identity import ProviderId, provider_uri
from protos.signing import Domain, Proof, Seal


class _WrongError(ValueError):
    """What the bundle shows of a log is broken; the message says how."""


def log_statements(
    signatures: Signatures, message: pb.HopEvidence, parts: Parts, asked: Asked, place: str
) -> list[Statement]:
    """That the log of the hop's provider holds the answer, and that others saw it there."""
    what, seen = f"{place} logged the answer", f"others have seen the log in which {place} holds the answer"
    if not message.logged.entries:
        return [unproven(what, "no proof from its log is in the bundle")]
    try:
        log = _state(signatures, message, message.logged.checkpoint)
        index = _answer_at(message, parts, asked, log)
    except _WrongError as error:
        return [broken(what, str(error))]
    statements = [proven(what, provider_uri(ProviderId(message.provider)))]
    if not message.HasField("witnessed"):
        return [*statements, unproven(seen, "no witness's seal is in the bundle; the answer stands without one")]
    try:
        state = _state(signatures, message, message.witnessed.checkpoint)
        _require_one_log(state, log, index, message.witnessed.path)
        by = ", ".join(_witnesses(signatures, message)) + signatures.whose_roots
    except _WrongError as error:
        return [*statements, broken(seen, str(error))]
    return [*statements, replace(proven(seen, by), at=instant(state.at_unix_ms).isoformat())]


def _state(
    signatures: Signatures, message: pb.HopEvidence, checkpoint: evidence.SignedCheckpoint
) -> evidence.Checkpoint:
    """The state of the log that the provider signed."""
    try:
        state = evidence.Checkpoint.FromString(checkpoint.checkpoint)
    except DecodeError:
        raise _WrongError("the checkpoint can't be read") from None
    if not checkpoint.seals or state.provider != message.provider:
        raise _WrongError("the checkpoint is another provider's, or not sealed")
    own, at = Proof(Seal.of_message(checkpoint.seals[0]), 0, b""), instant(state.at_unix_ms)
    uri = provider_uri(ProviderId(message.provider))
    problem = signatures.signing_problem(own, checkpoint.checkpoint, Domain.CHECKPOINT, uri, at)
    if problem is not None:
        raise _WrongError(f"its checkpoint: {problem}")
    return state


def _answer_at(message: pb.HopEvidence, parts: Parts, asked: Asked, log: evidence.Checkpoint) -> int:
    """Where in the log the answer stands first."""
    places = []
    for shown in message.logged.entries:
        try:
            entry = audit.AuditEntry.FromString(shown.entry)
        except DecodeError:
            raise _WrongError("an entry can't be read") from None
        if merkle.root_by_path(merkle.leaf_hash(shown.entry), shown.index, log.size, shown.path) != log.root:
            raise _WrongError(f"entry {shown.index} is not in the log that it signed")
        if entry.answer_leaf == parts.leaf and entry.question_sha256 == digest(asked.exact):
            places.append(shown.index)
    if not places:
        raise _WrongError("none of the entries is about this answer")
    return min(places)


def _require_one_log(state: evidence.Checkpoint, log: evidence.Checkpoint, index: int, path: bytes) -> None:
    """That what the witnesses saw is of the log that is shown, and that the answer was in it."""
    if index >= state.size:
        raise _WrongError(f"the log that they saw had {state.size} entries, and the answer is entry {index}")
    first, second = (state, log) if state.size <= log.size else (log, state)
    if not merkle.is_consistent(first.size, first.root, second.size, second.root, path):
        raise _WrongError("the log that they saw is not shown to be the one that holds the answer")


def _witnesses(signatures: Signatures, message: pb.HopEvidence) -> list[str]:
    """Who, other than its provider, has signed that this was the state of the log."""
    checkpoint, names = message.witnessed.checkpoint, []
    for one in checkpoint.seals[1:]:
        seal = Seal.of_message(one)
        witness = signatures.provider_of(seal.key_id)
        if witness is None or witness == message.provider:
            raise _WrongError("a witness's seal is by no other provider whose certificate is there")
        uri = provider_uri(witness)
        problem = signatures.signing_problem(Proof(seal, 0, b""), checkpoint.checkpoint, Domain.WITNESS, uri)
        if problem is not None:
            raise _WrongError(f"the seal of {witness}: {problem}")
        names.append(uri)
    if not names:
        raise _WrongError("nobody but the provider signed what they are said to have seen")
    return sorted(set(names))

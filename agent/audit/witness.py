"""Signing other providers' checkpoints: only of a log that grew from what was signed before.

A witness keeps the last size and root that it signed of each provider, durably, and signs another one only with a proof
that it is the same log, grown. A provider that shows different logs to different parties then needs all its witnesses
to help it. Refused are forks, logs that shrank, providers that no pinned root certifies, and this provider's own log;
what looks like a fork or a shrinking is logged.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from google.protobuf.message import DecodeError

from agent.audit.book import AuditBook
from hopback.v1 import audit_pb2 as pb
from hopback.v1 import evidence_pb2 as evidence
from protos.certificates import CertificateError, Certified, PinnedRoots
from protos.codec import ContractError, check, from_unix_ms, parse
from protos.identity import ProviderId, parse_provider_id, provider_uri
from protos.merkle import EMPTY_ROOT, is_consistent
from protos.signing import Domain, Proof, Seal, SealChecker
from protos.types import ErrorReason

Clock = Callable[[], datetime]
_NOTHING = (0, EMPTY_ROOT)


@dataclass(frozen=True, slots=True)
class Shown:
    """Another provider's checkpoint, its signature checked; `exact` is what was signed."""

    provider: ProviderId
    size: int
    root: bytes
    exact: bytes


class Witness:
    """Signs as one provider. Safe to call from several threads; blocks while the disk makes its memory durable."""

    def __init__(
        self,
        book: AuditBook,
        roots: PinnedRoots,
        clock: Clock,
        known: Collection[ProviderId] | None = None,
        is_revoked: Callable[[Certified], bool] = lambda certified: False,  # noqa: ARG005
    ) -> None:
        """`known` are the providers that are witnessed; None for all that the roots certify. The book's key signs."""
        self._book = book
        self._roots = roots
        self._is_revoked = is_revoked
        self._clock = clock
        self._known = known
        self._seals = SealChecker()
        self._turn = threading.Lock()
        self._last: dict[str, tuple[int, bytes]] = {}
        for record in book.log.witnessed():
            said = evidence.Checkpoint.FromString(evidence.SignedCheckpoint.FromString(record).checkpoint)
            self._last[said.provider] = said.size, said.root

    def witness(self, request: bytes, asker: str) -> bytes:
        """The answer (a serialised WitnessResponse) to a serialised WitnessRequest.

        Raises:
            ContractError: MALFORMED, INVALID_FIELD (a fork, a shrinking, no proof of growth), SIGNATURE or
                WRONG_TARGET.
            agent.audit.errors.AuditUnavailableError: nothing can be logged, so nothing is signed.
        """
        message = parse(pb.WitnessRequest(), request)
        check(message)
        shown = self._shown(message)
        with self._turn:
            size, root = self._last.get(shown.provider, _NOTHING)
            if message.first != size:
                return pb.WitnessResponse(certificate=self._book.certificate, last_size=size).SerializeToString()
            self._require_growth(shown, size, root, message.path, asker)
            note = f"{shown.provider}: {shown.size} entries, root {shown.root.hex()}"
            self._book.witnessed(asker, shown.exact, note)
            self._book.sync()
            self._book.log.keep_witnessed(message.checkpoint.SerializeToString(deterministic=True))
            self._last[shown.provider] = shown.size, shown.root
            seal = self._book.seal_as_witness(shown.exact)
        return pb.WitnessResponse(
            seal=seal.to_message(), certificate=self._book.certificate, last_size=shown.size
        ).SerializeToString()

    def _shown(self, message: pb.WitnessRequest) -> Shown:
        signed = message.checkpoint
        try:
            said = evidence.Checkpoint.FromString(signed.checkpoint)
            check(said)
            certified = self._roots.certified(message.certificate)
        except DecodeError:
            raise ContractError(ErrorReason.MALFORMED, "not a Checkpoint", ("checkpoint",)) from None
        except CertificateError as error:
            raise ContractError(ErrorReason.SIGNATURE, f"the certificate: {error}", ("certificate",)) from None
        provider = parse_provider_id(said.provider)
        if provider == self._book.provider:
            raise ContractError(ErrorReason.WRONG_TARGET, "nobody is a witness to its own log", ("checkpoint",))
        if self._known is not None and provider not in self._known:
            raise ContractError(ErrorReason.WRONG_TARGET, "this provider is no witness to that one", ("checkpoint",))
        seal = Seal.of_message(signed.seals[0])
        if (
            certified.uri != provider_uri(provider)
            or not certified.valid_at(self._clock())
            or self._is_revoked(certified)
            or not certified.valid_at(from_unix_ms(min(said.at_unix_ms, 253402300799999)))
            or not Proof(seal, 0, b"").covers(signed.checkpoint)
            or not self._seals.is_good(seal, Domain.CHECKPOINT, certified.key)
        ):
            raise ContractError(
                ErrorReason.SIGNATURE, "the checkpoint is not signed by a valid key of that provider", ("checkpoint",)
            )
        return Shown(provider, said.size, said.root, signed.checkpoint)

    def _require_growth(self, shown: Shown, size: int, root: bytes, path: bytes, asker: str) -> None:
        if shown.size < size:
            problem = f"the log shrank: {size} entries were signed before"
        elif shown.size == size and shown.root != root:
            problem = "the log forked: another root was signed for this size"
        elif not is_consistent(size, root, shown.size, shown.root, path):
            # a bad proof may be the asking side's mistake; only a signed contradiction is worth an entry
            raise ContractError(ErrorReason.INVALID_FIELD, f"no proof that it grew from {size} entries", ("path",))
        else:
            return
        self._book.witnessed(asker, shown.exact, f"refused: {shown.provider}: {problem}; root {shown.root.hex()}")
        self._book.sync()
        raise ContractError(ErrorReason.INVALID_FIELD, problem, ("checkpoint",))

"""The exact bytes of entries about questions, as they are filed ten thousand at a time.

They are what protobuf serialises of `hopback.v1.AuditEntry` (a test holds the two together). What the entries of one
filing have in common, and words that many of them say, are serialised once; digests and sealed parts are set between.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from hopback.v1 import audit_pb2 as pb

_ID: Final = 16
_DIGEST: Final = 32
_LEAF: Final = 64
_ONE_BYTE: Final = 1 << 7
_TWO_BYTES: Final = 1 << 14


class EntryMaker:
    """Makes entries of one kind, time and asker."""

    def __init__(self, kind: int, at_ms: int, asker: str) -> None:
        self._kind, self._at_ms, self._asker = kind, at_ms, asker
        # field 3, bytes, 16 of them: the first that differs
        self._head = pb.AuditEntry(kind=kind, at_unix_ms=at_ms).SerializeToString() + b"\x1a\x10"  # type: ignore[arg-type]
        self._asked_by = _said(asker, "", "", "")

    def entry(
        self,
        about: tuple[bytes, bytes, bytes, str],
        nonce: bytes,
        sealed: bytes,
        leaf: bytes = b"",
        outcome: str = "",
        refusal: str = "",
    ) -> bytes:
        """One entry; `about` is question id, its digest, its order's digest, and the campaign of that."""
        question_id, sha256, order_sha256, campaign = about
        size = len(nonce) + len(sealed)
        plain = len(question_id) == _ID and len(sha256) == len(order_sha256) == _DIGEST
        if not plain or len(leaf) not in (0, _LEAF) or not _ONE_BYTE <= size < _TWO_BYTES:
            return self._by_library(about, nonce + sealed, leaf, outcome, refusal)
        return b"%b%b\x22\x20%b\x2a\x20%b%b%b%b%b\x5a%c%c%b%b" % (
            self._head,
            question_id,
            sha256,
            order_sha256,
            self._asked_by,
            b"\x3a\x40" if leaf else b"",
            leaf,
            _said("", outcome, refusal, campaign),
            size & 127 | 128,
            size >> 7,
            nonce,
            sealed,
        )

    def _by_library(
        self, about: tuple[bytes, bytes, bytes, str], sealed: bytes, leaf: bytes, outcome: str, refusal: str
    ) -> bytes:
        question_id, sha256, order_sha256, campaign = about
        return pb.AuditEntry(
            kind=self._kind,  # type: ignore[arg-type]
            at_unix_ms=self._at_ms,
            question_id=question_id,
            question_sha256=sha256,
            order_sha256=order_sha256,
            asker=self._asker,
            answer_leaf=leaf,
            outcome=outcome,
            refusal=refusal,
            campaign=campaign,
            sealed=sealed,
        ).SerializeToString()


@lru_cache(4096)
def _said(asker: str, outcome: str, refusal: str, campaign: str) -> bytes:
    return pb.AuditEntry(asker=asker, outcome=outcome, refusal=refusal, campaign=campaign).SerializeToString()

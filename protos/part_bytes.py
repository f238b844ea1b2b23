"""The exact bytes of an answer's two parts, each filled up to one size.

They are what protobuf serialises of `hopback.v1.Naming` and `hopback.v1.Finding` (a test holds the two together). What
the parts of many answers have in common is serialised once, by the library; digests, numbers, times and salts are set
between. Where a value is unusual enough to have another form, the library serialises all of it.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from struct import Struct
from typing import Final

from hopback.v1 import evidence_pb2 as evidence
from protos.identity import ProviderId

PART_SIZE: Final = 256
"""Bytes of a naming and of a finding."""

_S: Final = timedelta(seconds=1)
_PADDING_TAG: Final = b"\x7a"  # field 15, bytes
_LONGEST_ONE: Final = 129  # tag, length in one byte, 127 bytes
_DIGEST: Final = 32
_SALT: Final = 16
_TAG: Final = 16
_DIGEST_FIRST: Final = b"\x0a\x20"  # field 1, bytes, 32 of them
_CALLED_TAGS: Final = tuple(b"\x22" + bytes((size,)) for size in range(128))  # field 4, string
_AT: Final = Struct("<cQ").pack  # a tag and fixed64
_NAMING_AT: Final = b"\x29"  # field 5
_NAMING_SALT: Final = b"\x32\x10"  # field 6, bytes, 16 of them
_CALL_TAG: Final = b"\x3a\x10"  # field 7, bytes, 16 of them
_COMMITMENT: Final = b"\x42\x20"  # field 8, bytes, 32 of them
_ANSWERED: Final = b"\x49"  # field 9
_FINDING_SALT: Final = b"\x52\x10"  # field 10, bytes, 16 of them
_TOO_LATE: Final = 2**64


def naming_bytes(
    order_sha256: bytes,
    provider: ProviderId,
    upstream: ProviderId | None,
    called: str,
    at_ms: int,
    salt: bytes,
    call_tag: bytes = b"",
) -> bytes:
    """The exact naming; `called` and `call_tag` are empty and `at_ms` is 0 where `upstream` is None.

    Raises:
        ValueError: a value has no place in it, or all of them together have none.
    """
    plain = len(order_sha256) == _DIGEST and len(salt) == _SALT and len(called) < len(_CALLED_TAGS)
    if plain and upstream is None and not called and not at_ms and not call_tag:
        return filled(_DIGEST_FIRST + order_sha256 + _between(provider, "") + _NAMING_SALT + salt)
    if plain and upstream and called.isascii() and called and 0 < at_ms < _TOO_LATE and len(call_tag) in (0, _TAG):
        return filled(
            b"%b%b%b%b%b%b%b%b%b"
            % (
                _DIGEST_FIRST,
                order_sha256,
                _between(provider, upstream),
                _CALLED_TAGS[len(called)],
                called.encode(),
                _AT(_NAMING_AT, at_ms),
                _NAMING_SALT,
                salt,
                call_tag and _CALL_TAG + call_tag,
            )
        )
    return filled(
        evidence.Naming(
            order_sha256=order_sha256,
            provider=provider,
            upstream=upstream or "",
            called_number=called,
            at_unix_ms=at_ms,
            salt=salt,
            call_tag=call_tag,
        ).SerializeToString(deterministic=True)
    )


def finding_bytes(
    question_sha256: bytes,
    said: tuple[ProviderId, int, int, int, timedelta, int],
    commitment: bytes,
    answered_ms: int,
    salt: bytes,
) -> bytes:
    """The exact finding; `said` is provider, outcome, handover, refusal, retry-after and coverage, as numbers.

    Raises:
        ValueError: a value has no place in it, or all of them together have none.
    """
    plain = len(question_sha256) == len(commitment) == _DIGEST and len(salt) == _SALT
    if plain and 0 < answered_ms < _TOO_LATE:
        return filled(
            b"%b%b%b%b%b%b%b%b"
            % (
                _DIGEST_FIRST,
                question_sha256,
                _said(*said),
                _COMMITMENT,
                commitment,
                _AT(_ANSWERED, answered_ms),
                _FINDING_SALT,
                salt,
            )
        )
    message = evidence.Finding.FromString(_said(*said))
    message.question_sha256, message.record_commitment = question_sha256, commitment
    message.answered_unix_ms, message.salt = answered_ms, salt
    return filled(message.SerializeToString(deterministic=True))


def filled(exact: bytes) -> bytes:
    """These bytes of a message, with as much of field 15 as fills them up to `PART_SIZE`.

    Raises:
        ValueError: they are too long, or too short, for that.
    """
    left = PART_SIZE - len(exact)
    if not 2 <= left <= 2 * _LONGEST_ONE:
        raise ValueError("a part of an answer is out of size")
    return exact + _FILLERS[left]


@lru_cache(4096)
def _between(provider: ProviderId, upstream: str) -> bytes:
    return evidence.Naming(provider=provider, upstream=upstream).SerializeToString(deterministic=True)


@lru_cache(4096)
def _said(
    provider: ProviderId, outcome: int, handover: int, refusal: int, retry_after: timedelta, coverage: int
) -> bytes:
    return evidence.Finding(
        provider=provider,
        outcome=outcome,  # type: ignore[arg-type]
        handover=handover,  # type: ignore[arg-type]
        refusal=refusal,  # type: ignore[arg-type]
        retry_after_s=retry_after // _S,
        coverage=coverage,  # type: ignore[arg-type]
    ).SerializeToString(deterministic=True)


def _filler(left: int) -> bytes:
    if left <= _LONGEST_ONE:
        return _padding(left)
    return _padding(left // 2) + _padding(left - left // 2)


def _padding(size: int) -> bytes:
    return _PADDING_TAG + bytes((size - 2,)) + bytes(size - 2)


_FILLERS: Final = (b"", b"", *map(_filler, range(2, 2 * _LONGEST_ONE + 1)))
"""By how many bytes are left."""

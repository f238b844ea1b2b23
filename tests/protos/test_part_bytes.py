"""The parts of an answer are what protobuf serialises of them, whatever stands in them, and have one size."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hopback.v1 import evidence_pb2 as evidence
from protos.identity import parse_provider_id
from protos.part_bytes import PART_SIZE, filled, finding_bytes, naming_bytes

PROVIDERS = st.from_regex(r"[a-z0-9][a-z0-9-]{0,30}[a-z0-9]", fullmatch=True).map(parse_provider_id)
NUMBERS = st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True)
TIMES = st.integers(0, 2**64 - 1) | st.integers(1, 2**42)
DIGESTS, SALTS = st.binary(min_size=32, max_size=32), st.binary(min_size=16, max_size=16)
ODD = st.binary(max_size=40)
TAGS = st.binary(max_size=20)

same = settings(max_examples=100, deadline=None)


class TestANaming:
    @same
    @given(DIGESTS | ODD, PROVIDERS, PROVIDERS, NUMBERS | st.text(max_size=8), TIMES, SALTS | ODD, SALTS | TAGS)
    def test_that_names_somebody_is_what_protobuf_makes_of_it(
        self, order: bytes, provider: str, upstream: str, called: str, at_ms: int, salt: bytes, tag: bytes
    ) -> None:
        message = evidence.Naming(
            order_sha256=order,
            provider=provider,
            upstream=upstream,
            called_number=called,
            at_unix_ms=at_ms,
            salt=salt,
            call_tag=tag,
        )
        made = naming_bytes(order, parse_provider_id(provider), parse_provider_id(upstream), called, at_ms, salt, tag)
        assert made == filled(message.SerializeToString(deterministic=True))
        assert len(made) == PART_SIZE

    @same
    @given(DIGESTS | ODD, PROVIDERS, SALTS | ODD)
    def test_that_names_nobody_is_too(self, order: bytes, provider: str, salt: bytes) -> None:
        message = evidence.Naming(order_sha256=order, provider=provider, salt=salt)
        made = naming_bytes(order, parse_provider_id(provider), None, "", 0, salt)
        assert made == filled(message.SerializeToString(deterministic=True))
        assert len(made) == PART_SIZE


class TestAFinding:
    @same
    @given(
        DIGESTS | ODD,
        PROVIDERS,
        st.tuples(st.integers(0, 11), st.integers(0, 2), st.integers(0, 18), st.integers(0, 2**32 - 1)),
        st.integers(0, 4),
        DIGESTS | ODD,
        TIMES,
        SALTS | ODD,
    )
    def test_is_what_protobuf_makes_of_it(
        self,
        question: bytes,
        provider: str,
        said: tuple[int, int, int, int],
        coverage: int,
        commitment: bytes,
        answered_ms: int,
        salt: bytes,
    ) -> None:
        outcome, handover, refusal, retry_after_s = said
        message = evidence.Finding(
            question_sha256=question,
            provider=provider,
            outcome=outcome,  # type: ignore[arg-type]
            handover=handover,  # type: ignore[arg-type]
            refusal=refusal,  # type: ignore[arg-type]
            retry_after_s=retry_after_s,
            coverage=coverage,  # type: ignore[arg-type]
            record_commitment=commitment,
            answered_unix_ms=answered_ms,
            salt=salt,
        )
        retry_after = timedelta(seconds=retry_after_s)
        values = (parse_provider_id(provider), outcome, handover, refusal, retry_after, coverage)
        made = finding_bytes(question, values, commitment, answered_ms, salt)
        assert made == filled(message.SerializeToString(deterministic=True))
        assert len(made) == PART_SIZE


class TestFilling:
    @pytest.mark.parametrize("size", [0, 10, 100, 127, 128, 129, 200, 253, 254])
    def test_makes_one_size_of_any(self, size: int) -> None:
        part = filled(bytes(size))
        assert len(part) == PART_SIZE
        assert part.startswith(bytes(size))

    def test_says_nothing(self) -> None:
        assert not any(b"".join(evidence.Naming.FromString(filled(b"")).padding))

    @pytest.mark.parametrize("size", [255, 256, 1000])
    def test_refuses_what_is_too_long(self, size: int) -> None:
        with pytest.raises(ValueError, match="out of size"):
            filled(bytes(size))

    @pytest.mark.parametrize("at_ms", [-1, 2**64])
    def test_a_time_that_has_no_place_is_refused(self, at_ms: int) -> None:
        birch = parse_provider_id("birch")
        with pytest.raises(ValueError):
            naming_bytes(bytes(32), birch, birch, "+12025550143", at_ms, bytes(16))

"""A fault arrives as it was sent, and what another company sends as a fault can do no harm."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from protos.codec import ContractError, decode_question
from protos.errors import DETAILS_KEY, DOMAIN, Fault, read_fault, trailing_metadata
from protos.printable import printable
from protos.types import ErrorReason

Metadata = tuple[tuple[str, str | bytes], ...]


class FailedCallError(Exception):
    """A call that failed with these trailing metadata."""

    def __init__(self, metadata: Metadata) -> None:
        super().__init__()
        self._metadata = metadata

    def trailing_metadata(self) -> Metadata:
        return self._metadata


REASONS = [reason for reason in ErrorReason if reason is not ErrorReason.UNSPECIFIED]


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_arrives_with_its_message_and_fields(reason: ErrorReason) -> None:
    fault = Fault(reason, "what to do about it", ("called_number", "at_unix_ms"))
    assert read_fault(FailedCallError(trailing_metadata(fault))) == fault


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_a_status_code(reason: ErrorReason) -> None:
    assert Fault(reason, "").code is not grpc.StatusCode.OK


def test_a_breach_of_contract_names_its_reason_and_fields() -> None:
    with pytest.raises(ContractError) as caught:
        decode_question(b"\x12\x0512345")
    fault = Fault.of(caught.value)
    assert fault.reason is ErrorReason.INVALID_FIELD
    assert "called_number" in fault.fields
    assert fault.code is grpc.StatusCode.INVALID_ARGUMENT


def status(reason: str, domain: str = DOMAIN, message: str = "", field: str = "called_number") -> Metadata:
    made = status_pb2.Status(code=3, message=message)
    made.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain=domain))
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field=field)
    made.details.add().Pack(bad)
    return ((DETAILS_KEY, made.SerializeToString()),)


class TestWhatTheOtherSideSendsIsNotTrusted:
    def test_an_unknown_reason_is_no_fault(self) -> None:
        assert read_fault(FailedCallError(status("ERROR_REASON_INVENTED"))) is None

    def test_the_unspecified_reason_is_no_fault(self) -> None:
        assert read_fault(FailedCallError(status("ERROR_REASON_UNSPECIFIED"))) is None

    def test_another_domain_is_no_fault(self) -> None:
        assert read_fault(FailedCallError(status("ERROR_REASON_MALFORMED", domain="elsewhere"))) is None

    def test_a_call_without_details_is_no_fault(self) -> None:
        assert read_fault(FailedCallError(())) is None
        assert read_fault(ConnectionError()) is None

    def test_text_cannot_steer_a_terminal(self) -> None:
        fault = read_fault(FailedCallError(status("ERROR_REASON_MALFORMED", message="a\x1b[2Jb\n", field="x\x1b[2J")))
        assert fault == Fault(ErrorReason.MALFORMED, "a [2Jb ", ())

    def test_text_is_cut(self) -> None:
        assert len(printable("a" * 10_000)) <= 1001

    @settings(max_examples=50, deadline=None)
    @given(st.binary(max_size=100))
    def test_any_bytes_are_a_fault_or_none(self, data: bytes) -> None:
        fault = read_fault(FailedCallError(((DETAILS_KEY, data),)))
        assert fault is None or fault.reason in REASONS

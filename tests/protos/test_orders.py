"""Orders: what the protocol allows at most, and whose signatures make one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hopback.v1 import evidence_pb2 as pb
from protos.codec import ContractError
from protos.orders import Granted, Persons, decode_order, encode_order, grant_problem
from protos.signing import Domain, SealChecker
from protos.types import RefusalReason
from tests.protos.evidence_kit import ANN, BOB, CAROL, GRANTED, ONLINE, ORDER, PERSONS, grant


def problem(granted: Granted, persons: Persons = PERSONS) -> RefusalReason | None:
    return grant_problem(granted, persons, SealChecker())


class TestAnOrder:
    def test_travels_as_exact_bytes(self) -> None:
        assert decode_order(encode_order(ORDER)) == ORDER
        assert encode_order(decode_order(encode_order(ORDER))) == encode_order(ORDER)

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda m: setattr(m, "window_ms", 300_001),
            lambda m: setattr(m, "window_ms", 0),
            lambda m: setattr(m, "hop_limit", 33),
            lambda m: setattr(m, "hop_limit", 0),
            lambda m: setattr(m, "expires_unix_ms", m.issued_unix_ms + 72 * 3_600_000 + 1),
            lambda m: setattr(m, "expires_unix_ms", m.issued_unix_ms),
            lambda m: setattr(m, "order_id", "5A0D9C3E-6D0F-4F4B-8F43-0C6A0A3F1D01"),
            lambda m: setattr(m, "order_id", "no id"),
            lambda m: setattr(m, "evidence_sha256", b""),
            lambda m: setattr(m, "salt", b"short"),
            lambda m: setattr(m, "called_number", "2025550143"),
            lambda m: setattr(m, "calling_number", "anonymous"),
            lambda m: setattr(m, "purpose", 0),
            lambda m: setattr(m, "purpose", 99),
            lambda m: setattr(m, "legal_basis", ""),
            lambda m: setattr(m, "campaign", "c" * 101),
            lambda m: setattr(m, "certification", "line\nbreak"),
            lambda m: setattr(m, "submitter", "Ann"),
            lambda m: setattr(m, "terminating", ""),
            lambda m: setattr(m, "coordinator", ""),
            lambda m: setattr(m, "at_unix_ms", 2**63),
        ],
    )
    def test_beyond_the_protocol_is_refused(self, spoil: Callable[[pb.Order], None]) -> None:
        message = pb.Order.FromString(encode_order(ORDER))
        spoil(message)
        with pytest.raises(ContractError) as refused:
            decode_order(message.SerializeToString())
        assert "555" not in str(refused.value)

    @given(st.binary(max_size=300))
    @settings(max_examples=100, deadline=None)
    def test_of_any_bytes_is_an_order_or_refused(self, data: bytes) -> None:
        try:
            decode_order(data)
        except ContractError:
            return
        pytest.fail("random bytes made an order")


class TestAGrant:
    def test_takes_the_submitter_and_another_person(self) -> None:
        assert problem(GRANTED) is None

    def test_may_take_several_approvals(self) -> None:
        two = replace(PERSONS, approvals=2)
        assert problem(grant(approvers=(BOB, CAROL)), two) is None
        assert problem(GRANTED, two) is RefusalReason.ORDER_NOT_APPROVED
        assert problem(grant(approvers=(BOB, BOB)), two) is RefusalReason.ORDER_NOT_APPROVED

    def test_is_none_without_approval(self) -> None:
        assert problem(replace(GRANTED, approvals=())) is RefusalReason.ORDER_NOT_APPROVED

    def test_is_none_by_the_online_key_or_by_strangers(self) -> None:
        assert problem(grant(submitter=ONLINE)) is RefusalReason.ORDER_SIGNATURE
        assert problem(grant(approvers=(ONLINE,))) is RefusalReason.ORDER_NOT_APPROVED
        assert problem(grant(replace(ORDER, submitter="mallory"))) is RefusalReason.ORDER_SIGNATURE

    def test_is_none_when_one_person_does_both(self) -> None:
        both = Persons({"ann": ANN.public}, {"ann": ANN.public, "bob": BOB.public})
        assert problem(grant(approvers=(ANN,)), both) is RefusalReason.ORDER_NOT_APPROVED
        renamed = Persons({"ann": ANN.public}, {"ann-again": ANN.public})
        assert problem(grant(approvers=(ANN,)), renamed) is RefusalReason.ORDER_NOT_APPROVED

    def test_takes_no_submission_for_an_approval(self) -> None:
        submitted, _ = BOB.seal(Domain.ORDER, [GRANTED.exact])
        assert problem(replace(GRANTED, approvals=(submitted,))) is RefusalReason.ORDER_SIGNATURE
        (approved,) = ANN.prove(Domain.APPROVAL, [GRANTED.exact])
        assert problem(replace(GRANTED, submission=approved)) is RefusalReason.ORDER_SIGNATURE

    def test_covers_these_bytes_and_no_others(self) -> None:
        other = encode_order(replace(ORDER, window=timedelta(seconds=300)))
        assert problem(replace(GRANTED, exact=other)) is RefusalReason.ORDER_SIGNATURE
        other_approval = grant(replace(ORDER, hop_limit=32)).approvals
        assert problem(replace(GRANTED, approvals=other_approval)) is RefusalReason.ORDER_SIGNATURE

    def test_a_policy_without_approvals_can_not_be_made(self) -> None:
        with pytest.raises(ValueError, match="1 to 8"):
            replace(PERSONS, approvals=0)

"""What callers write reaches terminals, letters and tables of others: what would steer these is refused at the door."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from coordinator.api.rpc import RefusedError, read
from coordinator.callers import Caller, Role
from hopback.v1 import order_pb2 as orders
from hopback.v1 import registry_pb2 as registry
from hopback.v1 import traceback_pb2 as pb
from protos.codec import digest
from protos.orders import encode_order
from protos.printable import is_plain
from tests.coordinator.api.house import make
from tests.coordinator.parties import Parties, order

ID = "6d2b5e1e-0000-4000-8000-000000000000"
STEERS = ("\x1b[2J", "\r\nBcc: x@example.org", "\x00", "\u202efdp", "\u2028", "\x9b31m", "\u200b", "\x7f")
HARMLESS = ("Kim", "Acme & Söhne, Łódź", "=1+1", "two\nlines\tand a tab", "北京", "a\u00a0b")


def messages(text: str) -> list[Message]:
    """A message of every kind that people write something into."""
    return [
        pb.AnswerTaskRequest(task_id=ID, outcome="not_found", person=text),
        pb.AnswerTaskRequest(task_id=ID, outcome="not_found", person="Kim", note=text),
        pb.AnswerTaskRequest(task_id=ID, outcome="upstream", person="Kim", upstream=text),
        pb.CancelRequest(traceback_id=ID, reason=text),
        pb.ListRequest(campaign=text),
        registry.ProposeChangeRequest(provider="elm", kind="name", value="Elm", reason=text),
        registry.ProposeChangeRequest(provider="elm", kind="name", value=text, reason="new name"),
    ]


@pytest.mark.parametrize("text", STEERS)
def test_a_text_that_steers_is_refused_by_the_name_of_its_field_and_not_repeated(text: str) -> None:
    for message in messages(f"so {text}"):
        with pytest.raises(RefusedError) as refused:
            read(type(message)(), message.SerializeToString())
        assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
        assert text not in str(refused.value)
        assert is_plain(str(refused.value))


@pytest.mark.parametrize("text", HARMLESS)
def test_any_other_is_taken_as_it_is(text: str) -> None:
    for message in messages(text):
        assert read(type(message)(), message.SerializeToString()) == message


def test_a_message_inside_another_is_no_way_around() -> None:
    inside = orders.AttachIdentitiesRequest()
    inside.identities.add(order_sha256=bytes(32), header="eyJ\x1b[2J;info=<https://certs.example/a>")
    with pytest.raises(RefusedError, match="header: control"):
        read(orders.AttachIdentitiesRequest(), inside.SerializeToString())


@settings(max_examples=100, deadline=None)
@given(st.text(), st.sampled_from(STEERS), st.text())
def test_one_such_sign_anywhere_is_enough(before: str, sign: str, after: str) -> None:
    assert not is_plain(before + sign + after)


async def test_an_order_that_steers_is_not_drafted(sqlite_engine: Engine, tmp_path: Path) -> None:
    made = await make(sqlite_engine, Parties(tmp_path / "evidence"), tmp_path)
    for text in STEERS:
        exact = encode_order(replace(order(submitter="ann"), campaign=f"warranty {text}"))

        async def parts(exact: bytes = exact) -> AsyncIterator[orders.DraftOrdersRequest]:
            yield orders.DraftOrdersRequest(orders=[exact])

        with pytest.raises(RefusedError, match="printable characters"):
            await made.order_desk.draft_orders(Caller(Role.REQUESTER, "ann"), parts())
        assert not made.house.book.granted([digest(exact)])
    made.store.close()

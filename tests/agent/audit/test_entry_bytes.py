"""Entries are what protobuf serialises of them, whatever stands in them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.audit.entry_bytes import EntryMaker
from hopback.v1 import audit_pb2 as pb

DIGESTS, ODD = st.binary(min_size=32, max_size=32), st.binary(max_size=70)
IDS, LEAVES = st.binary(min_size=16, max_size=16), st.binary(min_size=64, max_size=64)
SEALED = st.sampled_from([0, 1, 100, 115, 116, 127, 128, 300, 2000, 5988, 16371, 16372, 17000]).map(bytes)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 8),
    st.integers(0, 2**64 - 1),
    st.text(max_size=40),
    st.tuples(IDS | ODD, DIGESTS | ODD, DIGESTS | ODD, st.text(max_size=150)),
    st.binary(min_size=12, max_size=12),
    SEALED,
    LEAVES | ODD,
    st.sampled_from(["", "UPSTREAM", "REFUSED"]),
    st.sampled_from(["", "BUDGET"]),
)
def test_an_entry_is_what_protobuf_makes_of_it(
    kind: int,
    at_ms: int,
    asker: str,
    about: tuple[bytes, bytes, bytes, str],
    nonce: bytes,
    sealed: bytes,
    leaf: bytes,
    outcome: str,
    refusal: str,
) -> None:
    message = pb.AuditEntry(
        kind=kind,  # type: ignore[arg-type]
        at_unix_ms=at_ms,
        question_id=about[0],
        question_sha256=about[1],
        order_sha256=about[2],
        asker=asker,
        answer_leaf=leaf,
        outcome=outcome,
        refusal=refusal,
        campaign=about[3],
        sealed=nonce + sealed,
    )
    made = EntryMaker(kind, at_ms, asker).entry(about, nonce, sealed, leaf, outcome, refusal)
    assert made == message.SerializeToString()

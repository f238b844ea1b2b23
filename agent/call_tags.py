"""By what a call is known in a source, and the tag that says to others which answered calls are two. Pure.

A naming carries a tag (`protos.hops.tell_apart`). It is worth something only if different tags never belong to one
call, whatever was asked when: docs/adr/0012-elimination.md says why a provider upstream may then leave records out. So
the tag rests on what its source calls the call, not on rows, times or places, and is refused wherever one call could be
known by two such names: rows without a call id or with several, in several sources, followed over internal trunks, with
a number that changed here, or not all answered.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, NamedTuple

from agent.instances import Instance
from agent.match import Decision, Verdict
from protos.e164 import E164
from protos.hops import COMPARABLE

ANSWERED: Final = "answered"
"""The disposition of a call that was picked up."""


class Call(NamedTuple):
    """A call as one source knows it: the source's name in the configuration, and the pseudonym of the call id there."""

    source: str
    ref: int


def call_of(instance: Instance) -> Call | None:
    """The call whose rows these are, None where they lie in several sources or don't have one call id."""
    rows = instance.rows
    source, ref = rows[0].source_name, rows[0].call_ref
    if ref is None or any(leg.call_ref != ref or leg.source_name != source for leg in rows[1:]):
        return None
    return Call(source, ref)


class CallTags:
    """Makes the tags of one provider. `secret` is 32 bytes; tags under another one compare with none of these."""

    def __init__(self, secret: bytes) -> None:
        self._keyed = blake2b(key=secret, digest_size=COMPARABLE)

    def __repr__(self) -> str:
        return "CallTags(…)"

    def of(self, coordinator: str, called: E164, decision: Decision) -> bytes | None:
        """The 16 bytes for the call that was found for this number; None where it is not surely one, or not answered.

        The first eight are the same for all calls to a number in a source, as one coordinator sees them.
        """
        if decision.verdict is not Verdict.FOUND or len(decision.instances) != 1 or decision.via_internal:
            return None
        (instance,) = decision.instances
        call = call_of(instance)
        if call is None or decision.called_in is not None:
            return None
        if any(leg.disposition != ANSWERED for leg in instance.rows):
            return None
        keyed = self._keyed.copy()
        keyed.update(f"{coordinator}\0{called}\0{call.source}\0".encode())
        scope = keyed.digest()
        keyed.update(call.ref.to_bytes(8, "big"))
        return scope + keyed.digest()

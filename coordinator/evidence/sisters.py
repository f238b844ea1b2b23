"""What a bundle's sister calls must say of each other, so that leaving them out was right. Pure.

A provider that had found several calls was asked once more, and the question names sister calls
(docs/adr/0012-elimination.md). Here is checked what their namings say; who signed them, `chain_statements` checks.
Refused in words: namings that are not those of the question, of other parties or another number, or that don't tell
all these calls apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from protos.codec import ContractError, digest
from protos.hops import Asked, decode_naming, tell_apart


def sisters_problem(asked: Asked, own: bytes, sisters: Sequence[bytes]) -> str | None:
    """Why these exact namings don't show that the sister calls are others than the one of `own`; None when they do."""
    question = asked.question
    if [digest(exact) for exact in sisters] != [sister.naming_sha256 for sister in asked.authority.sisters]:
        return "the namings of sister calls are not those that the question names"
    try:
        namings = [decode_naming(exact) for exact in (own, *sisters)]
    except ContractError as error:
        return str(error)
    for naming in namings:
        if (naming.provider, naming.upstream, naming.called) != (question.named_by, question.target, question.called):
            return "a sister call is another provider's, or to another number"
    if not all(tell_apart(one.call_tag, other.call_tag) for one, other in combinations(namings, 2)):
        return "what was signed does not tell these calls apart"
    return None

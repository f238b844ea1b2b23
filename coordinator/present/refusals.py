"""Why an agent refused to answer, in plain words, and what to do next: one entry for every reason of the contract."""

from __future__ import annotations

from collections.abc import Mapping

from protos.identity import ProviderId
from protos.types import RefusalReason


def refusal_in_words(
    reason: RefusalReason, provider: ProviderId, named_by: ProviderId | None, retry: str
) -> tuple[str, str]:
    """What `provider` does that refuses for `reason` (to follow "it"), and what to do next, as a sentence.

    `named_by` had named the provider; `retry` is the command that asks it again.
    """
    names = {"provider": provider, "named_by": named_by, "retry": retry}
    why, following = _WORDS[reason]
    return why.format(**names), following.format(**names)


_WORDS: Mapping[RefusalReason, tuple[str, str]] = {
    RefusalReason.UNSPECIFIED: ("gives no reason", "Ask {provider} why."),
    RefusalReason.WINDOW_TOO_WIDE: ("takes no window this wide", "Submit a new order with a smaller window."),
    RefusalReason.TIME_IN_FUTURE: ("says that the call's time lies in the future", "Compare both clocks with UTC."),
    RefusalReason.RECORDS_GAP: (
        "has a gap in its records at that time",
        "Ask {provider} to bring in the missing records, then {retry}.",
    ),
    RefusalReason.UNKNOWN_PROVIDER: (
        "says that {named_by}, which named it, is no neighbour of it",
        "Ask {named_by} and {provider} to compare their trunk maps, then {retry}.",
    ),
    RefusalReason.ORDER_MISSING: ("finds no order with the question", "Compare versions, then {retry}."),
    RefusalReason.ORDER_INVALID: (
        "does not take the order: it is not for this coordinator, or asks for more than {provider} allows",
        "Ask {provider} for its limits, and submit an order within them.",
    ),
    RefusalReason.ORDER_SIGNATURE: (
        "does not accept the signatures under the order",
        "Ask {provider} to compare the keys of submitters and approvers in its configuration with yours, then {retry}.",
    ),
    RefusalReason.ORDER_NOT_APPROVED: (
        "wants more approvals than the order has, or others",
        "Have it approved by further persons whom {provider} knows, then {retry}.",
    ),
    RefusalReason.ORDER_EXPIRED: ("says that the order has expired", "Submit a new order."),
    RefusalReason.OUTSIDE_ORDER: (
        "says that the question leads outside the order",
        "Look at the numbers and times of the chain; compare clocks with UTC.",
    ),
    RefusalReason.NOT_NAMED: (
        "finds no proof that it was named for this call",
        "Compare versions with {provider} and the provider before it, then {retry}.",
    ),
    RefusalReason.NAMING_SIGNATURE: (
        "does not accept the signature of {named_by}, which named it",
        "Ask {named_by} and {provider} to compare roots and certificates, then {retry}.",
    ),
    RefusalReason.LIFETIME: (
        "says that the question lives too long, or not yet",
        "Compare both clocks with UTC, then {retry}.",
    ),
    RefusalReason.REPLAY: (
        "has had another question under this id",
        "Ask {provider} what it has logged: somebody else may be asking in this coordinator's name.",
    ),
    RefusalReason.BUDGET: (
        "has answered as many questions as it allows for now",
        "Wait for a day, then {retry}; or ask {provider} to raise its limits.",
    ),
    RefusalReason.DENIED: ("has put this number or coordinator on its deny list", "Ask {provider} in person."),
    RefusalReason.SISTERS: (
        "does not take what this coordinator says of other calls for proof",
        "Look at the chains of the sister calls; to ask about this call alone, {retry}.",
    ),
    RefusalReason.DEADLINE_PASSED: ("got the question too late", "Compare both clocks with UTC, then {retry}."),
    RefusalReason.POLICY: ("refuses by its own rules", "Ask {provider} in person."),
}

"""How often was it right? Tracebacks compared with the truth, hop by hop and by call instance. Pure.

Strict on purpose. Naming the right company on account of another call is a wrong hop: it would be luck. So a hop is
right only if the answer is true **and** the records that the agent matched are those of this very call; the agents'
local decision logs say which those were, and they alone (they never leave a provider in earnest). Where several calls
can't be told apart and agree on the upstream, the matched set must contain the true one.

Two things can't be compared where an engineer wrote a provider's configuration by hand: a customer's name that the lab
does not use (accounts have whatever names their provider gives them), and records without call ids. Then the answer
alone is judged, and `Scored.by_answer_alone` counts how often that was so for want of a call id.

| verdict | when |
|---|---|
| right | ended at the true originating provider and customer, or the true gateway and carrier; every hop true |
| wrong | at least one hop named a provider, a carrier or an origin that is not the call's, or matched another call |
| incomplete | no wrong hop, but it stopped before the source: ambiguous, not found, ... |
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_CLAIMS = frozenset({"upstream", "originated_here", "foreign_upstream"})


class Verdict(enum.Enum):
    """What a traceback is worth."""

    RIGHT = "right"
    WRONG = "wrong"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True)
class TrueHop:
    """What really happened at one provider: who handed the call over. `customer` and `foreign` are names there."""

    provider: str
    upstream: str
    kind: str  # provider, customer or foreign_carrier


@dataclass(frozen=True, slots=True)
class TrueCall:
    """One call of the answer sheet; hops from the terminating provider back to the source."""

    call: str
    special: tuple[str, ...]
    instance: str
    hops: tuple[TrueHop, ...]


@dataclass(frozen=True, slots=True)
class SeenHop:
    """One hop of a traceback, with what the agent's local decision log says about it.

    `upstream_party` is the agent's own word for where the call came from, such as `customer:7011`; `instances` are the
    call instances that it matched: empty when it matched none, None when its records bear no call ids.
    """

    provider: str
    outcome: str | None
    upstream: str | None
    upstream_party: str | None
    instances: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Scored:
    """The verdict on one traceback; `why` says what was wrong or where it stopped."""

    call: str
    verdict: Verdict
    status: str
    wrong_hops: int
    why: str
    special: tuple[str, ...]
    by_answer_alone: int = 0


def score(
    truth: TrueCall, status: str, hops: Sequence[SeenHop], customers: Container[str | None] | None = None
) -> Scored:
    """Compare one traceback with the truth; `customers` are the parties whose names mean something (None: all)."""
    faults = [fault for number, hop in enumerate(hops) if (fault := _fault(truth, number, hop, customers))]
    blind = sum(hop.outcome in _CLAIMS and hop.instances is None for hop in hops)
    if faults:
        return Scored(truth.call, Verdict.WRONG, status, len(faults), "; ".join(faults), truth.special, blind)
    complete = len(hops) == len(truth.hops) and status in ("origin_found", "gateway_found")
    if complete:
        return Scored(truth.call, Verdict.RIGHT, status, 0, "", truth.special, blind)
    stopped = hops[-1].provider if hops else "the start"
    why = f"{status} at {stopped}, hop {len(hops)} of {len(truth.hops)}"
    return Scored(truth.call, Verdict.INCOMPLETE, status, 0, why, truth.special, blind)


def _fault(truth: TrueCall, number: int, hop: SeenHop, customers: Container[str | None] | None) -> str | None:
    """What is wrong with a hop that claims something; None when it is true or claims nothing."""
    if hop.outcome not in _CLAIMS:
        return None
    where = f"hop {number + 1} ({hop.provider})"
    if number >= len(truth.hops) or truth.hops[number].provider != hop.provider:
        return f"{where}: the call never came by here"
    true = truth.hops[number]
    if hop.outcome == "upstream" and (true.kind, true.upstream) != ("provider", hop.upstream):
        return f"{where}: said {hop.upstream}, true is {true.kind} {true.upstream}"
    if hop.outcome == "originated_here" and true.kind != "customer":
        return f"{where}: said originated here, true is {true.kind} {true.upstream}"
    if hop.outcome == "foreign_upstream" and (true.kind, true.upstream) != ("foreign_carrier", hop.upstream):
        return f"{where}: said foreign {hop.upstream}, true is {true.kind} {true.upstream}"
    told = hop.upstream_party if customers is None or hop.upstream_party in customers else None
    if hop.outcome == "originated_here" and told not in (None, f"customer:{true.upstream}"):
        return f"{where}: the right provider, but its customer {told}, true is {true.upstream}"
    if hop.instances is not None and truth.instance not in hop.instances:
        return f"{where}: the right upstream, but another call's record"
    return None


def summary(scored: Sequence[Scored]) -> dict[str, Any]:
    """Counts of `scored`.

    `calls`, `right`, `wrong_hops`, `incomplete` (by status), `by_special` (calls, right, wrong, incomplete each),
    `by_answer_alone` (hops).
    """
    by_special: dict[str, Counter[str]] = {}
    for one in scored:
        for special in one.special or ("plain",):
            by_special.setdefault(special, Counter()).update(["calls", one.verdict.value])
    return {
        "calls": len(scored),
        "right": sum(one.verdict is Verdict.RIGHT for one in scored),
        "wrong_hops": sum(one.wrong_hops for one in scored),
        "incomplete": dict(Counter(one.status for one in scored if one.verdict is Verdict.INCOMPLETE)),
        "by_special": {
            special: {key: counts.get(key, 0) for key in ("calls", "right", "wrong", "incomplete")}
            for special, counts in sorted(by_special.items())
        },
        "by_answer_alone": sum(one.by_answer_alone for one in scored),
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie (nearest rank); 0 for none."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else 0.0


def true_call(entry: Mapping[str, Any]) -> TrueCall:
    """One line of a lab's TRUTH.jsonl. Its hops are listed from the source on; a traceback walks them backwards."""
    hops = tuple(
        TrueHop(
            hop["provider"],
            hop["upstream"].lower() if hop["upstream_kind"] == "foreign_carrier" else hop["upstream"],
            hop["upstream_kind"],
        )
        for hop in reversed(entry["hops"])
    )
    return TrueCall(entry["call"], tuple(entry["special"]), entry["sip_call_id_at_origin"], hops)

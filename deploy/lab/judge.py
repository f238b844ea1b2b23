"""What a traceback through a generated lab is worth. Pure, and strict: `deploy.lab.scoring` with known obstacles.

| verdict | when |
|---|---|
| traced | every hop true and on account of this very call's records, down to the true customer or foreign carrier |
| stopped rightly | no wrong hop, and stopped where and as the truth says that it must (`Truth.ending`, `Truth.also`) |
| wrong | a hop named a provider, carrier or customer that is not the call's, or took another call's record for it |
| incomplete | no wrong hop, but it stopped where the call could have been followed, or said a wrong reason |

Only the first two are right. One hop is excused: where a provider's own map names the wrong neighbour, no agent of it
can know better; that hop is no wrong hop if, and only if, the traceback ends as disputed by the neighbour so named. A
traceback that gets past what must stop it is not right: it is wrong if a hop is untrue, else incomplete.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deploy.lab import scoring
from deploy.lab.scoring import SeenHop
from deploy.lab.truth import Ending, Truth


class Verdict(enum.Enum):
    """What a traceback is worth."""

    TRACED = "traced"
    STOPPED_RIGHTLY = "stopped rightly"
    WRONG = "wrong"
    INCOMPLETE = "incomplete"

    @property
    def right(self) -> bool:
        """Whether nothing more could be asked of it."""
        return self in (Verdict.TRACED, Verdict.STOPPED_RIGHTLY)


@dataclass(frozen=True, slots=True)
class Judged:
    """One traceback beside its truth; `why` says what was wrong, or where and how it stopped."""

    call: str
    verdict: Verdict
    status: str
    wrong_hops: int
    why: str
    ingredients: tuple[str, ...]


def judge(truth: Truth, status: str, hops: Sequence[SeenHop]) -> Judged:
    """Compare one traceback with the truth; `hops` in the order asked, terminating provider first."""
    ended = Ending(status, hops[-1].provider) if hops else Ending(status, "")
    excused = truth.misled is not None and ended == truth.ending and _misled_in_time(truth, hops)
    scored = scoring.score(truth.true_call, status, hops[:-2] if excused else hops)
    verdict = {
        scoring.Verdict.WRONG: Verdict.WRONG,
        scoring.Verdict.RIGHT: Verdict.TRACED,
        scoring.Verdict.INCOMPLETE: Verdict.INCOMPLETE,
    }[scored.verdict]
    if verdict is Verdict.INCOMPLETE and (ended == truth.ending or ended in truth.also):
        verdict = Verdict.STOPPED_RIGHTLY
    elif verdict is Verdict.TRACED and truth.ending.status not in ("origin_found", "gateway_found"):
        verdict = Verdict.INCOMPLETE
    return Judged(truth.call, verdict, status, scored.wrong_hops, scored.why, truth.ingredients)


def judge_finished(truth: Truth, status: str, hops: Sequence[SeenHop]) -> Judged:
    """Compare a traceback that people helped past where it had to stop: only the true source is right now."""
    scored = scoring.score(truth.true_call, status, hops)
    verdict = {scoring.Verdict.RIGHT: Verdict.TRACED, scoring.Verdict.WRONG: Verdict.WRONG}.get(
        scored.verdict, Verdict.INCOMPLETE
    )
    return Judged(truth.call, verdict, status, scored.wrong_hops, scored.why, truth.ingredients)


def _misled_in_time(truth: Truth, hops: Sequence[SeenHop]) -> bool:
    """Whether the last two hops are the misled provider, at its true place, and the neighbour that it named."""
    if len(hops) < 2 or len(hops) - 2 >= len(truth.hops):
        return False
    return hops[-2].provider == truth.misled == truth.hops[len(hops) - 2].provider


def summary(judged: Sequence[Judged]) -> dict[str, Any]:
    """Counts: calls, right, traced, stopped_rightly (by status), wrong_hops, incomplete (by status), by_ingredient."""
    by_ingredient: dict[str, Counter[str]] = {}
    for one in judged:
        for name in one.ingredients or ("plain",):
            counted = by_ingredient.setdefault(name, Counter())
            counted.update(["calls", one.verdict.value, *(["right"] if one.verdict.right else [])])
    keys = ("calls", "right", Verdict.WRONG.value, Verdict.INCOMPLETE.value)
    return {
        "calls": len(judged),
        "right": sum(one.verdict.right for one in judged),
        "traced": sum(one.verdict is Verdict.TRACED for one in judged),
        "stopped_rightly": dict(Counter(one.status for one in judged if one.verdict is Verdict.STOPPED_RIGHTLY)),
        "wrong_hops": sum(one.wrong_hops for one in judged),
        "incomplete": dict(Counter(one.status for one in judged if one.verdict is Verdict.INCOMPLETE)),
        "by_ingredient": {
            name: {key: counts.get(key, 0) for key in keys} for name, counts in sorted(by_ingredient.items())
        },
    }

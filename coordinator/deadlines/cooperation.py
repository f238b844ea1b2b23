"""The label non-cooperative: a function of a provider's requests, by metrics that are stated with their values.

Nobody is labelled on one request, or in silence: the result holds every metric with its value, its limit, the requests
behind it, and whether it was breached. Below a least number of requests there is no label, whatever the shares are.
Requests that still wait count nowhere: neither for nor against.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from coordinator.deadlines.schedule import Schedule
from coordinator.deadlines.standing import standing
from protos.identity import ProviderId


@dataclass(frozen=True, slots=True)
class CooperationPolicy:
    """When a provider is labelled. Shares lie between 0 and 1; a metric is breached above its limit.

    Attributes:
        period: how far back requests count, by when they were put.
        least_requests: below this many requests that are over there is no label.
        unanswered_share: of requests that never were answered.
        late_share: of requests that were answered after they were due.
        refused_share: of requests that were refused.
        unanswered_run: of requests in a row, the latest first, that never were answered.
    """

    period: timedelta = timedelta(days=90)
    least_requests: int = 5
    unanswered_share: float = 0.25
    late_share: float = 0.5
    refused_share: float = 0.5
    unanswered_run: int = 4

    def __post_init__(self) -> None:
        if any(not 0 <= share <= 1 for share in (self.unanswered_share, self.late_share, self.refused_share)):
            raise ValueError("a share lies between 0 and 1")
        if self.least_requests < 1 or self.unanswered_run < 1 or self.period <= timedelta(0):
            raise ValueError("a least number of requests, a run and a period are 1 at least")


DEFAULT_POLICY = CooperationPolicy()


@dataclass(frozen=True, slots=True)
class RequestFact:
    """What became of one request. `id` is how people find it again, such as a question's or task's id."""

    id: str
    plan: Schedule
    answered: datetime | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Metric:
    """One measure: `value` against `limit`, and the ids of the requests that make up the value."""

    name: str
    value: float
    limit: float
    facts: tuple[str, ...]

    @property
    def breached(self) -> bool:
        """Whether the value is above the limit."""
        return self.value > self.limit


@dataclass(frozen=True, slots=True)
class Label:
    """Whether a provider is labelled non-cooperative at `at`, and why or why not."""

    provider: ProviderId
    at: datetime
    requests: int
    least_requests: int
    metrics: tuple[Metric, ...]

    @property
    def non_cooperative(self) -> bool:
        """The label."""
        return self.requests >= self.least_requests and bool(self.breaches)

    @property
    def breaches(self) -> tuple[Metric, ...]:
        """The metrics that are above their limits, whether or not there were requests enough."""
        return tuple(metric for metric in self.metrics if metric.breached)

    @property
    def reason(self) -> str:
        """One sentence."""
        said = ", ".join(f"{m.name.replace('_', ' ')} {m.value:g} (limit {m.limit:g})" for m in self.breaches)
        if not said:
            return f"no metric is above its limit, over {self.requests} requests"
        if not self.non_cooperative:
            return f"{said}, but {self.requests} requests are fewer than {self.least_requests}"
        return f"{said}, over {self.requests} requests"


def label(
    provider: ProviderId, facts: Iterable[RequestFact], now: datetime, policy: CooperationPolicy = DEFAULT_POLICY
) -> Label:
    """The label of `provider` at `now`, from all requests that were put to it."""
    counted: list[RequestFact] = []
    unanswered: list[RequestFact] = []
    late: list[RequestFact] = []
    newest_first = sorted(facts, key=lambda fact: (fact.plan.received, fact.id), reverse=True)
    run: list[RequestFact] = []
    broken = False
    for fact in newest_first:
        if not now - policy.period <= fact.plan.received <= now:
            continue
        stands = standing(fact.plan, fact.answered, now)
        if stands.waiting:
            continue
        counted.append(fact)
        if stands.non_responsive:
            unanswered.append(fact)
            if not broken:
                run.append(fact)
        else:
            broken = True
            if stands.delinquent:
                late.append(fact)
    refused = [fact for fact in counted if fact.refused and fact not in unanswered]
    metrics = (
        _share("unanswered_share", unanswered, counted, policy.unanswered_share),
        _share("late_share", late, counted, policy.late_share),
        _share("refused_share", refused, counted, policy.refused_share),
        Metric("unanswered_run", len(run), policy.unanswered_run - 1, _ids(run)),
    )
    return Label(provider, now, len(counted), policy.least_requests, metrics)


def _share(name: str, some: Sequence[RequestFact], every: Sequence[RequestFact], limit: float) -> Metric:
    return Metric(name, len(some) / len(every) if every else 0.0, limit, _ids(some))


def _ids(facts: Sequence[RequestFact]) -> tuple[str, ...]:
    return tuple(fact.id for fact in facts)

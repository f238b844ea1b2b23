"""What a campaign's chains have in common: who supplied the calls, through whom, how sure that is. Pure.

A campaign is many calls of one script. Each is traced by itself; here the finished paths are laid over each other:

    through      how many paths lead through a provider, other than as the one that delivered the call
    common       providers that every finished path leads through, downstream ones first; the first is the nearest
                 common upstream
    tail         the longest end that all finished paths share, the origin or gateway last
    origins, gateways, foreign   who recurs at the end
    supply       pairs (upstream, downstream): who bought these calls from whom, the trunks of supply
    stopped      where paths ended without a result, and why

A finished path is one that ended at an origin or a gateway. A provider that denies the call is not on the path, one
that was named and has not answered is, as its last and unconfirmed one. Nothing is concluded about a call that was
not traced: a pattern says what was found.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coordinator.reports.ways import Way
from coordinator.tracing.chain import Status
from protos.identity import ProviderId

FINISHED = frozenset({Status.ORIGIN_FOUND, Status.GATEWAY_FOUND})


@dataclass(frozen=True, slots=True)
class Path:
    """One call's way as far as it is known, the terminating provider first; `foreign` handed it to the gateway."""

    traceback_id: uuid.UUID
    providers: tuple[ProviderId, ...]
    status: Status
    foreign: ProviderId | None = None

    @property
    def finished(self) -> bool:
        """Whether it ends at an origin or a gateway."""
        return self.status in FINISHED

    @property
    def supply(self) -> tuple[tuple[ProviderId, ProviderId], ...]:
        """Its pairs (upstream, downstream), each once; one of a confirmed path or named by a provider's answer."""
        pairs = [(up, down) for down, up in zip(self.providers, self.providers[1:], strict=False) if up != down]
        if self.foreign is not None:
            pairs.append((self.foreign, self.providers[-1]))
        return tuple(dict.fromkeys(pairs))


def path_of(way: Way) -> Path:
    """The path that a traceback has found so far."""
    return Path(way.traceback_id, way.providers, way.status, way.foreign)


@dataclass(frozen=True, slots=True)
class Share:
    """Somebody, and in how many of how many paths."""

    who: str
    paths: int
    of: int

    @property
    def share(self) -> float:
        """Between 0 and 1."""
        return self.paths / self.of if self.of else 0.0


@dataclass(frozen=True, slots=True)
class Findings:
    """What the paths have in common; every list is in order of how often, then by name."""

    calls: int
    finished: int
    common: tuple[ProviderId, ...]
    tail: tuple[ProviderId, ...]
    origins: tuple[Share, ...]
    gateways: tuple[Share, ...]
    foreign: tuple[Share, ...]
    through: tuple[Share, ...]
    supply: tuple[tuple[ProviderId, ProviderId, int], ...]
    stopped: tuple[tuple[Status, ProviderId | None, int], ...]
    hops: tuple[tuple[int, int], ...]

    @property
    def nearest_common_upstream(self) -> ProviderId | None:
        """The most downstream provider that every finished path leads through."""
        return self.common[0] if self.common else None


def findings(paths: Iterable[Path]) -> Findings:
    """What these paths have in common."""
    every = list(paths)
    finished = [path for path in every if path.finished and path.providers]
    ends: dict[Status, Counter[str]] = {status: Counter() for status in FINISHED}
    through: Counter[str] = Counter()
    supply: Counter[tuple[ProviderId, ProviderId]] = Counter()
    for path in every:
        through.update(set(path.providers[1:]))
        supply.update(path.supply)
    for path in finished:
        ends[path.status][path.providers[-1]] += 1
    foreign = Counter(path.foreign for path in finished if path.foreign is not None)
    stopped = Counter(
        (path.status, path.providers[-1] if path.providers else None) for path in every if not path.finished
    )
    return Findings(
        calls=len(every),
        finished=len(finished),
        common=_common([path.providers for path in finished]),
        tail=_tail([path.providers for path in finished]),
        origins=_shares(ends[Status.ORIGIN_FOUND], len(finished)),
        gateways=_shares(ends[Status.GATEWAY_FOUND], len(finished)),
        foreign=_shares(foreign, len(finished)),
        through=_shares(through, len(every)),
        supply=tuple((*pair, count) for pair, count in sorted(supply.items(), key=lambda entry: (-entry[1], entry[0]))),
        stopped=tuple(
            (status, provider, count)
            for (status, provider), count in sorted(
                stopped.items(), key=lambda entry: (-entry[1], entry[0][0].value, entry[0][1] or "")
            )
        ),
        hops=tuple(sorted(Counter(len(path.providers) for path in finished).items())),
    )


def _shares(counter: Counter[str] | Counter[ProviderId], of: int) -> tuple[Share, ...]:
    ranked = sorted(counter.items(), key=lambda entry: (-entry[1], entry[0]))
    return tuple(Share(str(who), count, of) for who, count in ranked)


def _common(paths: Sequence[tuple[ProviderId, ...]]) -> tuple[ProviderId, ...]:
    """Providers upstream of the terminating one in every path, in the order of the shortest, first by name, of them."""
    if not paths:
        return ()
    shared = set.intersection(*(set(path[1:]) for path in paths))
    first = min(paths, key=lambda path: (len(path), path))
    return tuple(dict.fromkeys(provider for provider in first[1:] if provider in shared))


def _tail(paths: Sequence[tuple[ProviderId, ...]]) -> tuple[ProviderId, ...]:
    if not paths:
        return ()
    length = 0
    while all(len(path) > length for path in paths) and len({path[-1 - length] for path in paths}) == 1:
        length += 1
    return paths[0][len(paths[0]) - length :]

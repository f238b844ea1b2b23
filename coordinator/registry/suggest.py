"""From what a human typed to providers that may be meant, best first. Never to one provider: a person picks. Pure.

A number that was typed (RMD, FRN, OCN, SPC, or the id itself) suggests its holder with a full score; a name suggests
by likeness to every name that a provider has or had. Equal scores are in order of the id, so that the same question
has the same answer everywhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from coordinator.registry.aliases import Alias, AliasError, AliasKind, parse_alias_value
from coordinator.registry.names import COMMON_WORDS, fold, likeness, split_dba
from protos.identity import ProviderId

LEAST_SCORE = 0.35
_PREFIX = 3


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A provider that may be meant: its alias that fits best, how well from 0 to 1, and why."""

    provider: ProviderId
    score: float
    kind: AliasKind | None
    alias: str
    why: str


class NameIndex:
    """All aliases, to be searched by what humans type. Built once for a registry."""

    def __init__(self, aliases: Iterable[Alias], ids: Iterable[ProviderId] = ()) -> None:
        self._numbers: dict[tuple[AliasKind, str], list[Alias]] = defaultdict(list)
        self._by_token: dict[str, list[Alias]] = defaultdict(list)
        self._by_start: dict[str, set[str]] = defaultdict(set)
        self._by_end: dict[str, set[str]] = defaultdict(set)
        self._by_joined: dict[str, list[Alias]] = defaultdict(list)
        self._ids = frozenset(ids)
        for alias in aliases:
            if alias.kind.is_number:
                self._numbers[alias.kind, alias.value].append(alias)
                continue
            folded = fold(alias.value)
            for whole in {folded.joined, folded.core}:
                self._by_joined[whole].append(alias)
            for token in folded.tokens:
                self._by_token[token].append(alias)
                self._by_start[token[:_PREFIX]].add(token)
                self._by_end[token[-_PREFIX:]].add(token)

    def suggest(self, text: str, at: datetime, limit: int = 8) -> tuple[Suggestion, ...]:
        """The providers that `text` may mean at `at`, best first; at most `limit`."""
        best: dict[ProviderId, Suggestion] = {}
        for suggestion in (*self._by_number(text, at), *self._by_name(text, at)):
            known = best.get(suggestion.provider)
            if known is None or (-suggestion.score, suggestion.alias) < (-known.score, known.alias):
                best[suggestion.provider] = suggestion
        ranked = sorted(best.values(), key=lambda one: (-one.score, one.provider))
        return tuple(ranked[:limit])

    def _by_number(self, text: str, at: datetime) -> Iterable[Suggestion]:
        word = text.strip()
        if word.lower() in self._ids:
            yield Suggestion(ProviderId(word.lower()), 1.0, None, word.lower(), "its id")
        for kind in AliasKind:
            if not kind.is_number:
                continue
            try:
                value = parse_alias_value(kind, word.removeprefix(kind.value).lstrip(": "))
            except AliasError:
                continue
            for alias in self._numbers.get((kind, value), ()):
                why = f"its {kind.value.upper()}" if alias.holds_at(at) else f"its {kind.value.upper()} at another time"
                yield Suggestion(alias.provider, 1.0 if alias.holds_at(at) else 0.9, kind, value, why)

    def _by_name(self, text: str, at: datetime) -> Iterable[Suggestion]:
        for part in (text, *split_dba(text)):
            typed = fold(part)
            wholes = (*self._by_joined.get(typed.joined, ()), *self._by_joined.get(typed.core or typed.joined, ()))
            candidates = dict.fromkeys(wholes)
            rare = [token for token in typed.tokens if token not in COMMON_WORDS] or list(typed.tokens)
            for token in (*rare, typed.joined):
                for near in self._by_start.get(token[:_PREFIX], set()) | self._by_end.get(token[-_PREFIX:], set()):
                    if abs(len(near) - len(token)) <= max(len(token) // 3, 1):
                        candidates.update(dict.fromkeys(self._by_token[near]))
            for alias in candidates:
                alike = likeness(typed, fold(alias.value))
                if alike.score >= LEAST_SCORE:
                    yield Suggestion(alias.provider, alike.score, alias.kind, alias.value, _why(alias, alike.why, at))


def _why(alias: Alias, why: str, at: datetime) -> str:
    kind = {AliasKind.NAME: "name", AliasKind.DBA: "does business as", AliasKind.FORMER: "former name"}[alias.kind]
    return f"{kind}; {why}" if alias.holds_at(at) else f"{kind} at another time; {why}"

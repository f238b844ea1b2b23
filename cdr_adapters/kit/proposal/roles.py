"""Which column is what: names say, contents must agree, and the relations between times decide where names are silent.

Never chosen by content alone: which of two numbers is the called one, and on which side of the call a trunk or an
address stands. Where names don't settle that, the columns are listed as candidates and nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from cdr_adapters.column_specs import EPOCH_FORMATS
from cdr_adapters.kit.proposal.guess import Guess, Sure
from cdr_adapters.kit.proposal.names import HINT, PLAIN, USUAL, NameSays, name_says, words_of
from cdr_adapters.kit.proposal.profile import Profile
from cdr_adapters.kit.proposal.times import are_ambiguous, read_as
from cdr_adapters.kit.proposal.zones import as_table

_MOSTLY: Final = 0.9
_HALF: Final = 0.5
_ORDER: Final = ("seizure", "answer", "release")


@dataclass(frozen=True, slots=True)
class Named:
    """A column, what it holds, and what its name says."""

    profile: Profile
    says: NameSays

    @property
    def name(self) -> str:
        """The column's."""
        return self.profile.name


def percent(share: float) -> str:
    """A share, never rounded up: 100% means all."""
    return f"{int(share * 100)}%"


def named(profiles: Sequence[Profile]) -> list[Named]:
    """The columns with what their names say."""
    return [Named(profile, name_says(profile.name)) for profile in profiles]


def _chosen(
    key: str,
    candidates: Sequence[tuple[Named, int, str]],
    value: Callable[[Named], Any],
    nothing: str,
) -> Guess | None:
    """The one candidate whose name says it plainest; where two say it as plainly, none of them."""
    ranked = sorted(candidates, key=lambda item: -item[1])
    if not ranked:
        return Guess(key, Sure.UNSURE, nothing) if nothing else None
    best, weight, why = ranked[0]
    rivals = [column for column, other, _ in ranked[1:] if other >= weight]
    others = tuple(value(column) for column, _, _ in ranked[1:])
    if weight <= HINT or rivals:
        told = " and ".join(repr(column.name) for column in (best, *rivals)) if rivals else repr(best.name)
        doubt = "could each be it" if rivals else "may be it, but its name doesn't say so"
        return Guess(key, Sure.UNSURE, f"{told} {doubt}", candidates=tuple(value(c) for c, _, _ in ranked))
    sure = Sure.SURE if weight >= PLAIN and not others else Sure.LIKELY
    return Guess(key, sure, why, value(best), others)


# ---- numbers


def number_guesses(columns: Sequence[Named]) -> list[Guess]:
    """called_in, called_out and calling."""
    holding = [c for c in columns if c.profile.numbers >= _HALF or (c.profile.numbers > 0 and _says_number(c.says))]
    called_in, called_out, calling = [], [], []
    for column in holding:
        roles, says = column.says.roles, column.says
        called, by = roles.get("called", 0), roles.get("calling", 0)
        if "address" in roles and called < PLAIN and by < PLAIN:
            continue
        why = f"its name says so, and {percent(column.profile.numbers)} of its values can be numbers"
        if called >= by and called and says.went_out and called == PLAIN and not says.came_in:
            called_out.append((column, called, why))
        elif called > by or (called and called == by and not says.came_in):
            called_in.append((column, called + (1 if says.came_in and called == PLAIN else 0), why))
        elif by and not says.went_out:
            calling.append((column, by, why))
    if not called_in and len(called_out) == 1:
        called_in, called_out = called_out, []
    undecided = [
        c for c in holding if c.profile.readable_numbers >= _HALF and not {"called", "calling"} & c.says.roles.keys()
    ]
    silent = [(column, HINT, "") for column in undecided]
    guesses = [
        _chosen(
            "columns.called_in", called_in or silent, _called, "no column holds numbers and is named as the called one"
        ),
        _chosen("columns.called_out", called_out, _called, ""),
        _chosen("columns.calling", calling or silent, _plain, "" if calling or silent else "no column is named as it"),
    ]
    return [guess for guess in guesses if guess is not None]


def _says_number(says: NameSays) -> bool:
    return says.roles.get("called", 0) >= PLAIN or says.roles.get("calling", 0) >= PLAIN


def _called(column: Named) -> dict[str, Any]:
    return {"column": column.name, "format": "auto"}


def _plain(column: Named) -> dict[str, Any]:
    return {"column": column.name}


# ---- times


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """A column (or a date and a time of day in two) that holds times, and its table."""

    names: tuple[str, ...]
    profile: Profile
    format: str
    ambiguous: tuple[str, ...]
    says: NameSays
    naive: bool

    @property
    def table(self) -> dict[str, Any]:
        """What the mapping would say of it."""
        column: Any = list(self.names) if len(self.names) > 1 else self.names[0]
        joined = {"column": column, "join": " "} if len(self.names) > 1 else {"column": column}
        return {**joined, "format": self.format}


def time_columns(columns: Sequence[Named], now: datetime) -> list[TimeColumn]:
    """All columns of times, and pairs of a date and a time of day."""
    found = []
    for column in columns:
        fits = column.profile.times
        if fits:
            best = max(fit.share for fit in fits)
            formats = [fit for fit in fits if fit.share >= best]
            unsure = len(formats) > 1 and are_ambiguous(formats, column.profile.distinct)
            others = tuple(fit.format for fit in formats[1:]) if unsure else ()
            found.append(
                TimeColumn((column.name,), column.profile, formats[0].format, others, column.says, formats[0].naive)
            )
    found += _date_and_clock(columns, now)
    return found


def _date_and_clock(columns: Sequence[Named], now: datetime) -> list[TimeColumn]:
    dates = [(i, c) for i, c in enumerate(columns) if c.profile.only_dates and not c.profile.times]
    found = []
    for at, date in dates:
        clock = next((c for i, c in enumerate(columns) if abs(i - at) == 1 and c.profile.only_clocks), None)
        if clock is None:
            continue
        pairs = zip(date.profile.values, clock.profile.values, strict=True)
        joined = Profile(f"{date.name} {clock.name}", [f"{d} {c}" if d and c else None for d, c in pairs], now)
        formats = [fit for fit in joined.times if fit.share >= 0.999] or joined.times
        if not formats:
            continue
        unsure = len(formats) > 1 and are_ambiguous(formats, joined.distinct)
        others = tuple(fit.format for fit in formats[1:]) if unsure else ()
        roles = {**name_says(clock.name).roles, **name_says(date.name).roles}
        says = NameSays(roles, came_in=False, went_out=False, own=False)
        found.append(TimeColumn((date.name, clock.name), joined, formats[0].format, others, says, formats[0].naive))
    return found


def time_guesses(times: Sequence[TimeColumn], zone: Any) -> list[Guess]:
    """seizure, answer and release: by name, and where names are silent by what always comes first."""
    taken: dict[str, list[tuple[TimeColumn, int]]] = {role: [] for role in _ORDER}
    silent = []
    for time in times:
        weights = {role: time.says.roles.get(role, 0) for role in _ORDER}
        best = max(weights.values())
        if not best:
            silent.append(time)
            continue
        role = next(role for role in ("release", "answer", "seizure") if weights[role] == best)
        taken[role].append((time, best))
    guesses = []
    for role in _ORDER:
        ranked = sorted(taken[role], key=lambda item: -item[1])
        if ranked:
            guesses.append(_time_guess(role, ranked, zone))
    if silent and not any(guess.key == "columns.seizure" for guess in guesses):
        guesses += _silent_times(silent, {guess.key for guess in guesses}, zone)
    return _in_order(guesses, times)


def _time_guess(role: str, ranked: Sequence[tuple[TimeColumn, int]], zone: Any) -> Guess:
    best, weight = ranked[0]
    rivals = [time for time, other in ranked[1:] if other >= weight and time.format[:5] != best.format[:5]]
    same = [time for time, other in ranked[1:] if other >= weight and time not in rivals]
    key = f"columns.{role}"
    if best.ambiguous:
        formats = (best.format, *best.ambiguous)
        return Guess(
            key,
            Sure.UNSURE,
            "every value fits each of these formats: is the day before the month?",
            candidates=tuple({**best.table, "format": one} for one in formats),
        )
    if same:
        return Guess(
            key,
            Sure.UNSURE,
            "several columns are named so",
            candidates=tuple(as_table(time.table, zone if time.naive else None) for time, _ in ranked),
        )
    # the same time in two notations: one that says its zone goes before one that doesn't
    chosen = next((time for time in (best, *rivals) if not time.naive), best)
    sure = Sure.SURE if weight >= USUAL else Sure.LIKELY
    share = chosen.profile.times[0].share if chosen.profile.times else 1.0
    why = f"its name says so, and {percent(share)} of its values are such times"
    if chosen.format in EPOCH_FORMATS and "local" in words_of(chosen.names[0]):
        why += "; the name says local, while such a count is UTC: hold it against a call that you know"
        sure = Sure.LIKELY
    others = tuple(time.table for time in (best, *rivals) if time is not chosen)
    return Guess(key, sure, why, as_table(chosen.table, zone if chosen.naive else None), others)


def _silent_times(silent: Sequence[TimeColumn], known: set[str], zone: Any) -> list[Guess]:
    tables = [as_table(time.table, zone if time.naive else None) for time in silent]
    if len(silent) == 3 and not known:
        order = sorted(silent, key=lambda time: _before(time, silent), reverse=True)
        if all(_always_before(a, b) for a, b in pairwise(order)):
            return [
                Guess(
                    f"columns.{role}",
                    Sure.LIKELY,
                    "of the three times in a row this one always comes " + place,
                    as_table(time.table, zone if time.naive else None),
                )
                for role, time, place in zip(_ORDER, order, ("first", "between", "last"), strict=True)
            ]
    return [
        Guess(
            "columns.seizure",
            Sure.UNSURE,
            "no name says whether this is the setup, the answer or the end of a call; an answer time mapped as seizure "
            "leads to wrong hops. Settle it, and call it seizure, answer or release",
            candidates=tuple(tables),
        )
    ]


def _moments(time: TimeColumn) -> list[datetime | None]:
    return [read_as(text, time.format)[1] if text else None for text in time.profile.values]


def _before(time: TimeColumn, others: Sequence[TimeColumn]) -> int:
    return sum(_always_before(time, other) for other in others if other is not time)


def _always_before(one: TimeColumn, other: TimeColumn) -> bool:
    both = [(a, b) for a, b in zip(_moments(one), _moments(other), strict=True) if a and b]
    return bool(both) and sum(a <= b for a, b in both) >= 0.99 * len(both) and any(a < b for a, b in both)


def _in_order(guesses: list[Guess], times: Sequence[TimeColumn]) -> list[Guess]:
    """The guesses, doubted where a setup lies after an answer or an answer after an end."""
    by_name = {time.names: time for time in times}

    def time_of(guess: Guess) -> TimeColumn | None:
        if not guess.written:
            return None
        column = guess.value["column"]
        return by_name.get(tuple(column) if isinstance(column, list) else (column,))

    result = list(guesses)
    for at, earlier in enumerate(guesses):
        for later in guesses[at + 1 :]:
            one, other = time_of(earlier), time_of(later)
            if one is None or other is None or one.naive != other.naive or _always_before(one, other):
                continue
            moments = [(a, b) for a, b in zip(_moments(one), _moments(other), strict=True) if a and b]
            if sum(a > b for a, b in moments) * 50 > len(moments):
                doubt = f"but it lies after {later.key.partition('.')[2]} in many rows: are the two mixed up?"
                result[at] = Guess(
                    earlier.key, Sure.UNSURE, f"{earlier.why}, {doubt}", candidates=(earlier.value, later.value)
                )
    return result


# ---- trunks, addresses, and the rest


def peer_guesses(columns: Sequence[Named]) -> list[Guess]:
    """Trunks and addresses of both sides; without a side in the name they are candidates, and our own side is none."""
    guesses: list[Guess] = []
    for kind, fits in (("trunk", _is_trunk), ("address", _is_address)):
        there = [c for c in columns if fits(c) and not c.says.own]
        undecided = [c for c in there if not c.says.came_in and not c.says.went_out]
        for side in ("ingress", "egress"):
            sided = [c for c in there if (c.says.came_in if side == "ingress" else c.says.went_out)]
            why = "its name says on which side, and its values can be that"
            candidates = [(c, max(c.says.roles.get(kind, 0), USUAL), why) for c in sided]
            candidates += [(c, HINT, "") for c in undecided]
            guess = _chosen(f"columns.{side}_{kind}", candidates, _plain, "")
            if guess is not None:
                guesses.append(guess)
    if not any(guess.key.startswith("columns.ingress") for guess in guesses):
        guesses.append(
            Guess(
                "columns.ingress_trunk", Sure.UNSURE, "no column says where calls come in: the upstream isn't recorded"
            )
        )
    return guesses


def _is_trunk(column: Named) -> bool:
    profile = column.profile
    if "trunk" not in column.says.roles or not profile.counts or profile.times or profile.addresses >= _MOSTLY:
        return False
    return len(profile.counts) <= 5000 and profile.readable_numbers < _HALF


def _is_address(column: Named) -> bool:
    roles = column.says.roles
    return column.profile.addresses >= _MOSTLY and not ({"call_id"} & roles.keys())


def text_guesses(columns: Sequence[Named]) -> list[Guess]:
    """call_id, attestation, origid and verstat."""
    fits: dict[str, Callable[[Profile], bool]] = {
        "call_id": lambda p: p.variety > 0.05 and p.numbers < _MOSTLY and not p.times and p.filled > _HALF,
        "attestation": lambda p: bool(p.counts) and all(len(text) <= 2 or text.isalpha() for text in p.distinct),
        "origid": lambda p: bool(p.counts) and all(len(text) >= 16 for text in p.distinct),
        "verstat": lambda p: bool(p.counts),
    }
    guesses = []
    for role, fit in fits.items():
        there = [
            (c, c.says.roles[role], "its name says so, and its values can be that")
            for c in columns
            if role in c.says.roles and fit(c.profile) and not c.says.went_out
        ]
        guess = _chosen(f"columns.{role}", there, _plain, "")
        if guess is not None:
            guesses.append(guess)
    return guesses

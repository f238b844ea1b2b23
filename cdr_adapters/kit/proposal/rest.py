"""Which rows are calls, how they ended, how long they took, and how numbers are written: guesses from few words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters.kit.number_forms import called_format_of, form_of
from cdr_adapters.kit.proposal.guess import Guess, Sure
from cdr_adapters.kit.proposal.names import word_set
from cdr_adapters.kit.proposal.profile import Profile
from cdr_adapters.kit.proposal.roles import Named, TimeColumn, percent
from cdr_adapters.kit.proposal.times import read_as
from cdr_adapters.number_columns import normalise

_SIP_CODE: Final = re.compile(r"[1-6][0-9]{2}", re.ASCII)
_WORDS: Final = {
    "answered": "answered",
    "answer": "answered",
    "ok": "answered",
    "success": "answered",
    "completed": "answered",
    "normal_clearing": "answered",
    "no answer": "unanswered",
    "no-answer": "unanswered",
    "noanswer": "unanswered",
    "no_answer": "unanswered",
    "busy": "unanswered",
    "user_busy": "unanswered",
    "cancel": "unanswered",
    "canceled": "unanswered",
    "cancelled": "unanswered",
    "originator_cancel": "unanswered",
    "missed": "unanswered",
    "failed": "failed",
    "failure": "failed",
    "congestion": "failed",
    "rejected": "failed",
    "unallocated_number": "failed",
    "call_rejected": "failed",
}
_BY_SIP_CODE: Final = {
    "200": "answered",
    "408": "unanswered",
    "480": "unanswered",
    "486": "unanswered",
    "487": "unanswered",
}
_METHODS: Final = frozenset({"INVITE", "BYE", "CANCEL", "ACK"})
_STARTS: Final = ("STOP", "Stop", "stop", "END", "End", "CALL_END")
_KINDS: Final = word_set(
    "start stop interim interim-update alive attempt begin end beg update call_start call_connect call_end"
)
_SECONDS: Final = re.compile(r"[0-9]{1,7}", re.ASCII)
_TRIED: Final = ("auto", "10d", "11d", "e164", "00e164", "011e164")
_BETTER: Final = 0.02


def where_guess(columns: Sequence[Named]) -> Guess | None:
    """Rows that are calls, where a column tells INVITE from BYE, or a call's end from its begin."""
    for column in columns:
        words = set(column.profile.words)
        if "INVITE" in words and len(words) > 1 and words & _METHODS == words:
            why = f"{column.name} holds {', '.join(sorted(words))}: only an INVITE is the setup of a call"
            return Guess("where", Sure.SURE, why, {column.name: "INVITE"})
        kinds = {word.lower() for word in words}
        if len(kinds) > 1 and kinds <= _KINDS:
            stop = next((word for word in _STARTS if word in words), None)
            why = f"{column.name} holds {', '.join(sorted(words))}: are all of them rows of one call?"
            candidates = ({column.name: stop},) if stop else ()
            return Guess("where", Sure.UNSURE, why, candidates=candidates)
    return None


def disposition_guess(columns: Sequence[Named]) -> Guess | None:
    """How calls ended: SIP codes, or words that are known."""
    there = []
    for column in columns:
        weight = column.says.roles.get("disposition", 0)
        words = column.profile.words
        if not weight or not words:
            continue
        if all(_SIP_CODE.fullmatch(word) for word in words):
            values = {code: _BY_SIP_CODE[code] for code in sorted(_BY_SIP_CODE) if code in words} | {"*": "failed"}
            there.append((weight + 1, column, values, "holds SIP codes"))
        elif known := {word: _WORDS[word.lower()] for word in words if word.lower() in _WORDS}:
            rest = [word for word in words if word not in known]
            if len(known) * 2 >= len(words):
                told = f"holds words for it; left as unknown: {', '.join(rest[:5])}" if rest else "holds words for it"
                there.append((weight, column, known, told))
    if not there:
        return None
    _, column, values, why = max(there, key=lambda item: item[0])
    return Guess("columns.disposition", Sure.LIKELY, f"{column.name} {why}", {"column": column.name, "values": values})


def duration_guess(columns: Sequence[Named], times: Mapping[str, TimeColumn]) -> Guess | None:
    """How long calls took: worth something only where the setup time isn't recorded; proved by the times themselves."""
    if "seizure" in times:
        return None
    there = [c for c in columns if "duration" in c.says.roles and c.profile.lengths == 1 and not c.profile.times]
    for column in there:
        if "answer" in times and "release" in times and _spans(times["answer"], times["release"], column.profile):
            value = {"column": column.name, "unit": "s", "counts": "from_answer"}
            return Guess("columns.duration", Sure.SURE, "is the time from answer to release in nearly all rows", value)
    if not there:
        return None
    column = there[0]
    unit = "hms" if any(":" in text for text in column.profile.distinct) else "s"
    value = {"column": column.name, "unit": unit}
    return Guess(
        "columns.duration",
        Sure.UNSURE,
        "its name says so, not whether it counts from the seizure or from the answer, nor in which unit",
        candidates=({**value, "counts": "from_seizure"}, {**value, "counts": "from_answer"}),
    )


def _spans(first: TimeColumn, last: TimeColumn, length: Profile) -> bool:
    right = compared = 0
    for begin, end, seconds in zip(first.profile.values, last.profile.values, length.values, strict=True):
        if not (begin and end and seconds and _SECONDS.fullmatch(seconds.strip()) and int(seconds)):
            continue
        one, other = read_as(begin, first.format)[1], read_as(end, last.format)[1]
        if one is not None and other is not None:
            compared += 1
            right += abs((other - one).total_seconds() - int(seconds)) <= 1
    return compared > 0 and right >= 0.95 * compared


def called_format(called: Profile, trunk: Profile | None) -> tuple[str, str, Guess | None]:
    """The format that reads a called column, why, and the formats of single trunks where these differ."""
    by_trunk = _trunk_prefixes(called, trunk) if trunk is not None else {}
    texts = pa.array(called.distinct, pa.string())
    shares = {one: pc.is_valid(normalise(texts, one)).true_count / max(len(texts), 1) for one in _TRIED}
    best = max(_TRIED, key=lambda one: shares[one])
    auto = shares["auto"]
    if by_trunk and trunk is not None:
        guess = Guess(
            "trunk_formats.ingress",
            Sure.LIKELY,
            f"all numbers that came in by these trunks ({trunk.name}) begin so",
            by_trunk,
        )
        return (
            "trunk",
            f"{percent(auto)} of its values can be read as they stand; some trunks have a prefix, below",
            guess,
        )
    if shares[best] <= auto + _BETTER:
        rest = "" if auto > 0.995 else f"; the rest: {_forms_left(called)}"
        return "auto", f"{percent(auto)} of its values can be read{rest}", None
    return (
        "auto",
        f"'auto' reads {percent(auto)} of its values, {best!r} would read {percent(shares[best])}: decide",
        None,
    )


def _forms_left(called: Profile) -> str:
    left = Counter({form: n for form, n in called.forms.items() if called_format_of(form) is None})
    return ", ".join(form for form, _ in left.most_common(3)) or "other forms"


def _trunk_prefixes(called: Profile, trunk: Profile) -> dict[str, str]:
    """Trunks all of whose numbers have one technical prefix -> the called format that removes it."""
    forms: dict[str, Counter[str]] = {}
    for number, name in zip(called.values, trunk.values, strict=True):
        if number and name:
            forms.setdefault(name, Counter())[form_of(number)] += 1
    found: dict[str, str] = {}
    for name, counted in sorted(forms.items()):
        form, _ = counted.most_common(1)[0]
        if (
            len(counted) == 1
            and form.startswith("prefix ")
            and counted.total() >= 3
            and (told := called_format_of(form))
        ):
            found[name] = told
    return found


def as_mapping(guesses: Sequence[Guess]) -> dict[str, Any]:
    """The table that the written guesses come to; keys with a dot are tables within it."""
    table: dict[str, Any] = {}
    for guess in guesses:
        if guess.written:
            node = table
            *path, last = guess.key.split(".")
            for part in path:
                node = node.setdefault(part, {})
            node[last] = guess.value
    return table

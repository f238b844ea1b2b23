"""What a person may answer, read from a form's fields and checked against what was asked. Pure.

    outcome        upstream | originated_here | foreign_upstream | not_found | records_expired | refused
    upstream       the provider's id in the registry, where the outcome names one
    upstream_name  instead: its name as the person knows it; it becomes a list of suggestions, and an operator picks
    handover       confirmed | denied: did you hand the call to the provider that named you? Only where one did
    ask_called     the number to ask the upstream for, where it was translated here
    seized_at      when your record says the call began, with its zone; moves the next question's time
    refusal        policy | records_gap, for a refusal
    note           anything else for the analysts

A name is never taken for an id silently, however well it fits. All that is wrong is said at once. No message repeats a
telephone number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from coordinator.ordering.intake import parse_time
from coordinator.tasks.task import Asked
from coordinator.tracing.ports import Registry
from protos.e164 import E164, InvalidNumberError, parse_e164
from protos.identity import InvalidIdentityError, ProviderId, parse_provider_id
from protos.types import WINDOW_CAP, Handover, Outcome, RefusalReason

V = TypeVar("V")

FIELDS = ("outcome", "upstream", "upstream_name", "handover", "ask_called", "seized_at", "refusal", "note")
OUTCOMES = {
    outcome.name.lower(): outcome
    for outcome in (
        *(Outcome.UPSTREAM, Outcome.ORIGINATED_HERE, Outcome.FOREIGN_UPSTREAM),
        *(Outcome.NOT_FOUND, Outcome.RECORDS_EXPIRED, Outcome.REFUSED),
    )
}
HANDOVERS = {"confirmed": Handover.CONFIRMED, "denied": Handover.NOT_MINE}
REFUSALS = {"policy": RefusalReason.POLICY, "records_gap": RefusalReason.RECORDS_GAP}
NAMES_UPSTREAM = frozenset({Outcome.UPSTREAM, Outcome.FOREIGN_UPSTREAM})
LONGEST_NAME, LONGEST_NOTE = 200, 2000


class AnswerError(ValueError):
    """What was handed in is no answer; `problems` says everything that is wrong with it, by field."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class PersonsAnswer:
    """An answer that can be recorded. Of `upstream` and `upstream_name` at most one is set."""

    outcome: Outcome
    upstream: ProviderId | None = None
    upstream_name: str | None = None
    handover: Handover = Handover.UNSPECIFIED
    ask_called: E164 | None = None
    time_correction: timedelta = timedelta(0)
    refusal: RefusalReason = RefusalReason.UNSPECIFIED
    note: str = ""

    @property
    def needs_match(self) -> bool:
        """Whether an operator must say which provider the typed name is."""
        return self.upstream is None and self.outcome in NAMES_UPSTREAM


def read_answer(fields: Mapping[str, str], asked: Asked, registry: Registry, now: datetime) -> PersonsAnswer:
    """The answer that `fields` (see FIELDS) give to `asked`; empty fields are as if absent.

    Raises:
        AnswerError: naming all that is wrong.
    """
    given = {name: value.strip() for name, value in fields.items() if value.strip()}
    problems = [f"{name}: no such field" for name in given if name not in FIELDS]
    outcome = OUTCOMES.get(given.get("outcome", ""))
    if outcome is None:
        raise AnswerError([*problems, f"outcome: must be one of {', '.join(OUTCOMES)}"])
    names = outcome in NAMES_UPSTREAM
    upstream = _upstream(given, asked, registry, problems) if names else None
    handover = _one_of(given, "handover", HANDOVERS, Handover.UNSPECIFIED, problems)
    refusal = _one_of(given, "refusal", REFUSALS, RefusalReason.UNSPECIFIED, problems)
    if outcome is Outcome.REFUSED and "refusal" not in given:
        problems.append(f"refusal: say why: {' or '.join(REFUSALS)}")
    if asked.named_by is None and "handover" in given:
        problems.append("handover: nobody named you as its upstream; leave it out")
    allowed = {"outcome", "note", "handover"} | (
        {"upstream", "upstream_name", "ask_called", "seized_at"} if names else set()
    )
    allowed |= {"refusal"} if outcome is Outcome.REFUSED else set()
    problems += [
        f"{name}: doesn't go with the outcome {given['outcome']}" for name in FIELDS if name in given.keys() - allowed
    ]
    ask_called, correction = _number(given, problems), _correction(given, asked, now, problems)
    name, note = given.get("upstream_name"), given.get("note", "")
    if name is not None and (len(name) > LONGEST_NAME or not name.isprintable()):
        problems.append(f"upstream_name: 1 to {LONGEST_NAME} printable characters")
    if len(note) > LONGEST_NOTE or not all(char.isprintable() or char in "\n\t" for char in note):
        problems.append(f"note: at most {LONGEST_NOTE} printable characters")
    if problems:
        raise AnswerError(problems)
    changed = None if ask_called == asked.called else ask_called
    return PersonsAnswer(outcome, upstream, name if names else None, handover, changed, correction, refusal, note)


def _upstream(given: Mapping[str, str], asked: Asked, registry: Registry, problems: list[str]) -> ProviderId | None:
    text = given.get("upstream")
    if text is None:
        if "upstream_name" not in given:
            problems.append("upstream: name the provider by its id, or give upstream_name")
        return None
    if "upstream_name" in given:
        problems.append("upstream: give the id or upstream_name, not both")
    try:
        provider = parse_provider_id(text)
    except InvalidIdentityError:
        problems.append("upstream: no provider id; a name goes into upstream_name")
        return None
    if provider == asked.provider:
        problems.append("upstream: a provider can't be its own upstream")
    elif registry.provider(provider) is None:
        problems.append("upstream: not in the registry; if you know the provider by another name, use upstream_name")
    return provider


def _one_of(given: Mapping[str, str], name: str, values: Mapping[str, V], default: V, problems: list[str]) -> V:
    if name not in given:
        return default
    if given[name] not in values:
        problems.append(f"{name}: must be one of {', '.join(values)}")
    return values.get(given[name], default)


def _number(given: Mapping[str, str], problems: list[str]) -> E164 | None:
    try:
        return parse_e164(given["ask_called"]) if "ask_called" in given else None
    except InvalidNumberError as error:
        problems.append(f"ask_called: {error}")
        return None


def _correction(given: Mapping[str, str], asked: Asked, now: datetime, problems: list[str]) -> timedelta:
    if "seized_at" not in given:
        return timedelta(0)
    try:
        seized = parse_time(given["seized_at"], now)
    except ValueError as error:
        problems.append(f"seized_at: {error}")
        return timedelta(0)
    away = seized - asked.at
    if abs(away) > WINDOW_CAP:
        problems.append(f"seized_at: over {WINDOW_CAP.seconds} s from the time that was asked for: another call")
    return timedelta(seconds=round(away.total_seconds()))

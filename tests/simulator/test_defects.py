"""The simulator can fail: whatever defence of the coordinator is taken out, it is found, and found again.

Each planted defect is one that crashes, a bad network, liars and late people would bring to light in earnest. It has to
be seen within a few of the seeds that CI runs, by the words for it; and the seed that showed it shows it again, to the
byte of everything that happened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pytest

from coordinator.running import contesting
from coordinator.running.driver import Driver, Rested
from coordinator.store import sqlite_writer
from coordinator.tasks import attesting, clerk, desk, looking
from coordinator.tracing import traceback
from coordinator.tracing.chain import Status
from tests.simulator.keys import APPROVER
from tests.simulator.simulation import SEEDS, Report, simulate

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class Defect:
    """A defence taken out, and by which words the simulator says so, `among` which seeds."""

    name: str
    plant: Plant
    words: str
    among: range = SEEDS


def _former_owners_write(patch: pytest.MonkeyPatch) -> None:
    for name in ("_ADVANCE", "_FREE"):
        guarded: str = getattr(sqlite_writer, name)
        patch.setattr(sqlite_writer, name, guarded.replace(" AND version = ?2 AND fence = ?3", ""))


def _denials_are_not_heard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(traceback, "denies", lambda question, answer: False)  # noqa: ARG005


def _whoever_says_nothing_is_asked_anew(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        traceback,
        "_ask_still",
        lambda kept, at, patience: traceback._ask_anew(kept, at, patience, failures=kept.hops[-1].failures),
    )


def _retries_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(traceback, "_wait", lambda kept, status, until: (replace(kept, status=status, due=None), ()))  # noqa: ARG005


def _nobody_is_served_by_age(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sqlite_writer, "places_by_age", lambda places, given: 0)  # noqa: ARG005


def _nobody_is_given_up(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(desk.TaskDesk, "give_up_overdue", lambda self, now: 0)  # noqa: ARG005


def _late_answers_are_dropped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(traceback, "_HEARS_PERSON", traceback._HEARS_PERSON - {Status.NON_RESPONSIVE})


def _tasks_are_everybodys(patch: pytest.MonkeyPatch) -> None:
    row = looking.task_row
    patch.setattr(desk, "task_row", lambda connection, task, provider=None, **how: row(connection, task, None, **how))  # noqa: ARG005


def _anybody_attests(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(attesting, "signer_of", lambda proof, parts, order, persons: APPROVER)  # noqa: ARG005


def _nobody_is_asked_by_hand(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(clerk.Clerk, "_left_event", lambda self, due, kept: None)  # noqa: ARG005


def _who_is_due_must_find_room_to_wait(patch: pytest.MonkeyPatch) -> None:
    follow = Driver._follow

    def waits(self: Driver, active: Any, question: Any, due: datetime | None, **how: Any) -> None:
        if question is None and due is not None and not how["freed"] and not self._naps(due, active.traceback):
            self._rest(active, Rested(active.kept, due))
        else:
            follow(self, active, question, due, **how)

    patch.setattr(Driver, "_follow", waits)


def _one_record_may_be_two_calls(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(contesting, "contested", lambda chain, others: None)  # noqa: ARG005


_CROWDED = range(5, len(SEEDS), 10)
_WITH_PEOPLE = range(1, len(SEEDS), 2)
_AMONG_AGENTS = range(0, len(SEEDS), 2)

DEFECTS = (
    Defect("a former owner's write counts", _former_owners_write, "a former owner wrote"),
    Defect("a denied naming is followed", _denials_are_not_heard, "has not named it"),
    Defect("a question that is unanswered gets another id", _whoever_says_nothing_is_asked_anew, "question lived"),
    Defect("a retry is forgotten", _retries_are_forgotten, "never due"),
    Defect("one record may be two calls", _one_record_may_be_two_calls, "the call over", _AMONG_AGENTS),
    Defect("the urgent starve the others", _nobody_is_served_by_age, "starved", _CROWDED),
    Defect("who is due must find room to wait", _who_is_due_must_find_room_to_wait, "without end", _CROWDED),
    Defect("people are never given up", _nobody_is_given_up, "its clock doesn't end", _WITH_PEOPLE),
    Defect("an answer that comes late is dropped", _late_answers_are_dropped, "nothing of it counts", _WITH_PEOPLE),
    Defect("any provider answers any task", _tasks_are_everybodys, "another provider's answer was taken", _WITH_PEOPLE),
    Defect("who submitted the order attests", _anybody_attests, "the submitter's attestation was taken", _WITH_PEOPLE),
    Defect("nobody is asked where there is no agent", _nobody_is_asked_by_hand, "nobody was asked", _WITH_PEOPLE),
)
WITHIN = 20
"""So many seeds at most."""


class TestAPlantedDefect:
    @pytest.mark.parametrize("defect", DEFECTS, ids=[defect.name for defect in DEFECTS])
    def test_is_found_and_found_again_to_the_byte(self, defect: Defect, monkeypatch: pytest.MonkeyPatch) -> None:
        defect.plant(monkeypatch)
        found = _first_found(defect)
        assert found is not None, f"not found within {WITHIN} seeds"
        one, other = (simulate(found.seed, keep_trace=True) for _ in range(2))
        assert one.trace == other.trace
        assert one.broken == found.broken
        assert defect.words.encode() in one.trace


def _first_found(defect: Defect) -> Report | None:
    for seed in defect.among[:WITHIN]:
        report = simulate(seed)
        if any(defect.words in line for line in report.broken):
            return report
    return None

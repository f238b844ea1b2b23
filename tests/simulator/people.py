"""People: those at providers who read letters and answer, an operator who matches names, an approver, an intruder.

They work over the coordinator's own desk of tasks, by its links, at their leisure: hours, a weekend, or never. What
they are refused, and must be, is part of it: what is no answer, a second one, a link that is cut or used, another
provider's task, an attestation by who submitted the order. What is taken of that all the same breaks the run.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from coordinator.deadlines.calendar import BusinessCalendar
from coordinator.deadlines.schedule import FEDERAL_RULE, AnswerRule
from coordinator.store.sql_store import SqlStore
from coordinator.tasks.answers import AnswerError
from coordinator.tasks.attesting import AttestationError, attest, attester, draft, question_of
from coordinator.tasks.desk import LinkError, NoSuchTaskError, NotOpenError, TaskDesk, TaskError
from coordinator.tasks.ports import MailError
from coordinator.tasks.task import Kind, NoticeKind, State, Task
from coordinator.tracing.ports import Registry
from protos.identity import ProviderId, parse_provider_id
from protos.orders import Order, Purpose
from protos.signing import Signer
from tests.simulator.journal import Journal
from tests.simulator.keys import APPROVER, SUBMITTER, Keys
from tests.simulator.loop import BEGIN, VirtualClock
from tests.simulator.network import Agents
from tests.simulator.world import ABROAD, Habit, Lot, Manner, Passage, World

LINK = "https://traceback.example/answer/{token}"
_PREFIX = LINK.partition("{token}")[0]
_HOUR_S = 3600.0
_GUESSED = "A" * 43

Errors = type[Exception] | tuple[type[Exception], ...]


class Offices:
    """Contacts and business hours. Implements `coordinator.tasks.ports.Contacts` and `Deadlines`."""

    def __init__(self, world: World) -> None:
        zones = {party.zone for party in world.parties.values()}
        self._calendars = {zone: BusinessCalendar(ZoneInfo(zone)) for zone in zones}
        self._world = world

    def recipients(self, provider: ProviderId, kind: NoticeKind, number: int) -> list[str]:
        """One address a provider, whatever the letter."""
        del kind, number
        return [f"tracebacks@{provider}.example"]

    def of(self, provider: ProviderId) -> tuple[BusinessCalendar, AnswerRule]:
        """Its zone's office hours, and the federal rule."""
        return self._calendars[self._world.parties[provider].zone], FEDERAL_RULE


@dataclass(slots=True)
class _Case:
    """What a person knows of a task: the links of its letters, newest last."""

    provider: ProviderId
    links: list[str] = field(default_factory=list)
    will_act: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """An answer that the desk took."""

    task: Task
    outcome: str
    late: bool


class Office:
    """All people. Implements `coordinator.tasks.ports.Mailer`: its letters are what they hear of."""

    def __init__(
        self,
        *,
        world: World,
        journal: Journal,
        keys: Keys,
        agents: Agents,
        store: SqlStore,
        registry: Registry,
        orders: dict[uuid.UUID, Order],
        acted: Callable[[], None],
        calm_after: timedelta,
    ) -> None:
        """`orders` are those of the tracebacks that stand under one; `acted` is called when somebody did something."""
        self._world = world
        self._journal = journal
        self._keys = keys
        self._agents = agents
        self._store = store
        self._orders = orders
        self._acted = acted
        self._calm_after = calm_after.total_seconds()
        self._clock = VirtualClock()
        self._desk = TaskDesk(store.engine, Offices(world), registry)
        self._cases: dict[tuple[str, str], _Case] = {}
        self._again: set[tuple[ProviderId, str]] = set()
        self.plans = 0
        """How many things somebody has yet to do."""
        self.taken: dict[uuid.UUID, Taken] = {}

    # Letters

    def send(self, *, to: str, subject: str, body: str, message_id: str, at: datetime) -> None:
        """See `coordinator.tasks.ports.Mailer`."""
        del at
        lot = Lot(self._world.seed, message_id, asyncio.get_running_loop().time())
        if lot.random() < 0.1 and asyncio.get_running_loop().time() < self._calm_after:
            raise MailError("the server is busy", permanent=False)
        lines = body.splitlines()
        link = next(line[len(_PREFIX) :] for line in lines if line.startswith(_PREFIX))
        reference = next(line.split()[1] for line in lines if line.startswith("Reference:"))
        provider = parse_provider_id(to.partition("@")[2].removesuffix(".example"))
        case = self._cases.setdefault((provider, reference), _Case(provider))
        case.links.append(link)
        self._journal.counts["letters"] += 1
        self._journal.note(f"{provider} gets {subject.partition(' ')[0]} {reference}")
        after = None if case.will_act else self._acts_after(provider, subject, lot)
        if after is not None:
            case.will_act = True
            self._later(after, lambda: self._answer(case))
        if lot.random() < 0.05:
            self._later(lot.between(0.0, 30.0) * _HOUR_S, lambda: self._intrude(case))

    def _acts_after(self, provider: ProviderId, subject: str, lot: Lot) -> float | None:
        """In how many seconds this letter makes somebody answer; None where it doesn't."""
        first, overdue = subject.startswith("Traceback"), subject.startswith("Overdue")
        match self._world.parties[provider].manner:
            case Manner.NEVER:
                return None
            case Manner.REMINDED:
                return None if first else lot.between(0.5, 3.0) * _HOUR_S
            case Manner.LATE:  # a day after it was due, days off not counted, it is given up
                return lot.between(20.0, 110.0) * _HOUR_S if overdue else None
            case _:
                return lot.between(0.2, 6.0) * _HOUR_S

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        self.plans += 1

        def do() -> None:
            self.plans -= 1
            what()

        asyncio.get_running_loop().call_later(seconds, do)

    # People at providers

    def _answer(self, case: _Case) -> None:
        party, now = self._world.parties[case.provider], self._clock.now()
        link = case.links[-1]
        try:
            task = self._desk.open_link(link, now)
        except LinkError:
            return self._journal.note(f"{case.provider} finds that it is needed no more")
        if task.asked.provider != case.provider:
            self._journal.breaks(f"a letter to {case.provider} leads to a task of {task.asked.provider}")
        if party.manner is Manner.BLUNDERS:
            self._is_refused("what is no answer", AnswerError, lambda: self._hand_in(link, {"outcome": "upstream"}))
        fields = self._fields(task, party.manner)
        if party.habit is Habit.HOLDS:
            self._agents.release(case.provider, task.asked, denied=party.manner is Manner.REFUSES)
        by_hand = Lot(self._world.seed, case.provider, link).random() < 0.3
        try:
            if by_hand:
                who = f"pat at {case.provider}"
                state = self._desk.answer_signed_in(case.provider, task.id, fields, who, now)
            else:
                state = self._hand_in(link, fields)
        except NotOpenError:
            return self._journal.note(f"{case.provider} comes too late")
        late = now > task.plan.due
        self.taken[task.id] = Taken(task, fields["outcome"], late)
        self._journal.counts["answers of people"] += 1
        self._journal.counts["of these late"] += late
        self._journal.counts["of these after being given up"] += task.state is State.GIVEN_UP
        self._journal.note(f"{case.provider} hands in {fields['outcome']} for {task.asked.question_id.hex}")
        if "upstream" in fields and fields.get("handover") != "denied":
            self._agents.named(case.provider, parse_provider_id(fields["upstream"]), task.asked.called)
        if party.manner is Manner.TWICE:
            for other in case.links:
                self._is_refused("a second answer", LinkError, partial(self._hand_in, other, fields))
        self._goes_on(task, fields, state)
        return self._acted()

    def _hand_in(self, link: str, fields: dict[str, str]) -> State:
        return self._desk.answer_by_link(link, fields, "somebody", self._clock.now())

    def _fields(self, task: Task, manner: Manner) -> dict[str, str]:
        """What the person writes, by the provider's records."""
        asked = task.asked
        found = self._world.records_of(asked.provider, asked)
        named = asked.named_by is not None
        if not found:
            return {"outcome": "not_found"} | ({"handover": "denied"} if named else {})
        handover = {"handover": "confirmed"} if named else {}
        if manner is Manner.REFUSES or len({one.upstream_of(place) for one, place in found}) > 1:
            return {"outcome": "refused", "refusal": "policy"}
        (passage, position), *_ = found
        upstream = self._named_as_upstream(passage, position, manner, asked.provider)
        if upstream is None:
            return {"outcome": "originated_here"} | handover
        outcome = "foreign_upstream" if upstream == ABROAD else "upstream"
        if manner is Manner.TYPES_A_NAME:
            return {"outcome": outcome, "upstream_name": f"{upstream.replace('-', '. ')} Inc"} | handover
        return {"outcome": outcome, "upstream": upstream} | handover

    def _named_as_upstream(
        self, passage: Passage, position: int, manner: Manner, provider: ProviderId
    ) -> ProviderId | None:
        upstream = passage.upstream_of(position)
        asked_once = (provider, passage.called)
        if manner is Manner.MISTAKEN and asked_once not in self._again:
            self._again.add(asked_once)
            return self._world.innocent(passage, provider) or upstream
        return ABROAD if upstream is None and passage.from_abroad else upstream

    # Behind the desk

    def _goes_on(self, task: Task, fields: dict[str, str], state: State) -> None:
        """Who has to do something about this answer before the chain can go on."""
        lot = Lot(self._world.seed, task.id, "behind the desk")
        if state is State.MATCHING:
            (passage, position), *_ = self._world.records_of(task.asked.provider, task.asked)
            upstream = passage.upstream_of(position) or ABROAD
            self._later(lot.between(0.1, 20.0) * _HOUR_S, lambda: self._match(task, upstream, lot))
        elif fields["outcome"] == "upstream":
            self._to_attest(task, lot)

    def _match(self, task: Task, upstream: ProviderId, lot: Lot) -> None:
        now, provider = self._clock.now(), task.asked.provider
        self._is_refused("an own upstream", TaskError, lambda: self._desk.match(task.id, provider, "olga", now))
        self._desk.match(task.id, upstream, "olga", now)
        self._agents.named(provider, upstream, task.asked.called)
        self._journal.counts["names matched"] += 1
        self._journal.note(f"olga matches {upstream} for {task.asked.question_id.hex}")
        if upstream != ABROAD:
            self._to_attest(task, lot)
        self._acted()

    def _to_attest(self, task: Task, lot: Lot) -> None:
        order = self._orders.get(task.asked.traceback_id)
        if order is not None and task.asked.kind is not Kind.REVIEW:
            self._later(lot.between(0.1, 8.0) * _HOUR_S, lambda: self._attest(task, order))

    def _attest(self, task: Task, order: Order) -> None:
        forged, refusals = "the submitter's attestation", (AttestationError, TaskError)
        self._is_refused(forged, refusals, lambda: self._sealed(task, order, self._keys.submitter))
        try:
            self._sealed(task, order, self._keys.approver)
        except refusals:
            return self._journal.note(f"{APPROVER} is needed no more for {task.asked.question_id.hex}")
        self._journal.counts["attestations"] += 1
        self._journal.note(f"{APPROVER} attests for {task.asked.question_id.hex}")
        return self._acted()

    def _sealed(self, task: Task, order: Order, signer: Signer) -> None:
        """As `hopback-coordinator tasks attest` does it."""
        result = self._desk.answer_of(task.id)
        kept = self._store.load(result.traceback_id)
        if kept is None:
            raise AttestationError("the traceback is gone")
        question = question_of(kept.traceback, result)
        attested = attest(draft(result, question, _nothing_by_chance), signer)
        who = attester(attested, result, question, order, self._keys.persons)
        if attested.kept is not None:
            self._desk.attest(result, attested.kept, who, self._clock.now())

    # Who must not

    def _intrude(self, case: _Case) -> None:
        """Somebody without the token, or with one of something else, tries to answer."""
        now, fields = self._clock.now(), {"outcome": "originated_here"}
        link = case.links[-1]
        cut = link[:-2] + ("AA" if link[-2:] != "AA" else "BA")
        for token in (_GUESSED, cut, link[:-1]):
            self._is_refused("a link that is none", LinkError, partial(self._hand_in, token, fields))
        try:
            task = self._desk.open_link(link, now)
        except LinkError:
            return self._is_refused("a used link", LinkError, lambda: self._hand_in(link, fields))
        other = next(name for name in self._world.names if name != case.provider)
        return self._is_refused(
            "another provider's answer",
            NoSuchTaskError,
            lambda: self._desk.answer_signed_in(other, task.id, fields, "mallory", now),
        )

    def _is_refused(self, what: str, error: Errors, attempt: Callable[[], object]) -> None:
        try:
            attempt()
        except error:
            self._journal.counts["attempts of intruders and blunderers refused"] += 1
        else:
            self._journal.breaks(f"{what} was taken")


def order_of(passage: Passage, number: int, life: timedelta) -> Order:
    """The order for a call."""
    return Order(
        order_id=uuid.uuid5(uuid.NAMESPACE_OID, f"order {number}"),
        coordinator="simulated",
        purpose=Purpose.UNLAWFUL_ROBOCALLS,
        legal_basis="47 U.S.C. 222(d)(2)",
        campaign="simulated",
        evidence_sha256=bytes(32),
        called=passage.called,
        at=passage.at,
        window=timedelta(seconds=60),
        calling=None,
        terminating=passage.path[0],
        hop_limit=15,
        issued=BEGIN - timedelta(hours=1),
        expires=BEGIN - timedelta(hours=1) + life,
        submitter=SUBMITTER,
        certification="I have listened to the recording.",
        salt=bytes(16),
    )


def _nothing_by_chance(size: int) -> bytes:
    return bytes(size)

"""Tasks for people: asked once, answered once, in time or late; a typed name is matched by a person, never silently."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from coordinator.deadlines.calendar import BusinessCalendar
from coordinator.deadlines.schedule import FEDERAL_RULE, AnswerRule, schedule
from coordinator.store.task_models import task_links, task_notices
from coordinator.tasks.answers import FIELDS, OUTCOMES, AnswerError, PersonsAnswer, read_answer
from coordinator.tasks.desk import LinkError, NoSuchTaskError, NotOpenError, TaskDesk, TaskError
from coordinator.tasks.task import Asked, Kind, Notice, NoticeKind, State, notices, to_send
from coordinator.tasks.tokens import new_token, token_digest
from protos.identity import ProviderId
from protos.types import Answer, Handover, Outcome, RefusalReason
from tests.coordinator.databases import put_traceback
from tests.coordinator.fakes import NamedProviders
from tests.coordinator.make import CALLED, ID, T0, TOLL_FREE, provider
from tests.coordinator.test_calendar import OFFICE, at, instants

REGISTRY = NamedProviders("ginkgo", "birch", "alder", without_agent=("elm",))
NOW = at("2026-11-23T10:00")  # a Monday
HOUR = timedelta(hours=1)
ASKED = Asked(
    traceback_id=ID,
    position=1,
    question_id=uuid.UUID(int=7),
    kind=Kind.NO_AGENT,
    provider=provider("elm"),
    called=CALLED,
    at=T0,
    window=timedelta(seconds=60),
    named_by=provider("birch"),
)


class OneOffice:
    """The same calendar and rule for everybody."""

    def of(self, provider: ProviderId) -> tuple[BusinessCalendar, AnswerRule]:
        return OFFICE, FEDERAL_RULE


@pytest.fixture
def desk(either_engine: Engine) -> TaskDesk:
    put_traceback(either_engine)
    return TaskDesk(either_engine, OneOffice(), REGISTRY)


class TestAsking:
    def test_makes_a_task_with_a_clock(self, desk: TaskDesk) -> None:
        task = desk.view(desk.ask(ASKED, NOW)).task
        assert (task.asked, task.state) == (ASKED, State.OPEN)
        assert (task.plan.received, task.plan.due) == (NOW, NOW + 24 * HOUR)

    def test_again_is_the_same_task_with_its_first_clock(self, desk: TaskDesk) -> None:
        first = desk.ask(ASKED, NOW)
        assert desk.ask(ASKED, NOW + 5 * HOUR) == first
        assert desk.view(first).task.plan.received == NOW
        assert [entry.what for entry in desk.view(first).history] == ["asked"]

    def test_by_two_at_once_makes_one_task(self, desk: TaskDesk) -> None:
        asking = [threading.Thread(target=desk.ask, args=(ASKED, NOW)) for _ in range(6)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        assert [task.id for task in desk.list()] == [ASKED.task_id]
        assert len(desk.view(ASKED.task_id).history) == 1

    def test_plans_invitation_reminders_and_escalations(self, desk: TaskDesk, either_engine: Engine) -> None:
        desk.ask(ASKED, NOW)
        with either_engine.connect() as connection:
            planned = {row.kind for row in connection.execute(select(task_notices))}
        assert planned == {"invitation", "reminder", "escalation"}

    def test_of_a_later_round_is_another_task(self, desk: TaskDesk) -> None:
        assert desk.ask(replace(ASKED, question_id=uuid.UUID(int=8)), NOW) != desk.ask(ASKED, NOW)


UPSTREAM = {"outcome": "upstream", "upstream": "alder", "handover": "confirmed"}


class TestAnswering:
    def test_gives_the_traceback_what_an_agent_would_have_answered(self, desk: TaskDesk) -> None:
        task = desk.ask(ASKED, NOW)
        fields = {**UPSTREAM, "ask_called": TOLL_FREE, "seized_at": "2026-11-20T13:03:08.4-05:00"}
        assert desk.answer_signed_in(provider("elm"), task, fields, "ann@elm.example", NOW + HOUR) is State.ANSWERED
        [result] = desk.results()
        assert result.answer == Answer(
            provider=provider("elm"),
            outcome=Outcome.UPSTREAM,
            upstream=provider("alder"),
            ask_called=TOLL_FREE,
            time_correction=timedelta(seconds=-3),
            handover=Handover.CONFIRMED,
        )
        assert (result.question_id, result.traceback_id, result.position) == (ASKED.question_id, ID, 1)
        assert (result.late, result.at, result.by) == (False, NOW + HOUR, "ann@elm.example")

    def test_late_still_counts_and_is_said_to_be_late(self, desk: TaskDesk) -> None:
        task = desk.ask(ASKED, NOW)
        desk.answer_signed_in(provider("elm"), task, UPSTREAM, "ann", NOW + 26 * HOUR)
        [result] = desk.results()
        assert result.late
        assert desk.view(task).history[-1].detail == "upstream: alder, 2.0 h late"

    def test_twice_is_refused(self, desk: TaskDesk) -> None:
        task = desk.ask(ASKED, NOW)
        desk.answer_signed_in(provider("elm"), task, UPSTREAM, "ann", NOW)
        with pytest.raises(NotOpenError, match="no further answer"):
            desk.answer_signed_in(provider("elm"), task, {"outcome": "not_found"}, "bob", NOW)
        assert desk.view(task).outcome is Outcome.UPSTREAM

    def test_for_another_provider_finds_no_task(self, desk: TaskDesk) -> None:
        task = desk.ask(ASKED, NOW)
        with pytest.raises(NoSuchTaskError):
            desk.answer_signed_in(provider("birch"), task, UPSTREAM, "eve", NOW)
        with pytest.raises(NoSuchTaskError):
            desk.view(task, provider("birch"))
        assert desk.list(provider=provider("birch")) == []

    def test_by_many_at_once_records_one_answer(self, desk: TaskDesk) -> None:
        task = desk.ask(ASKED, NOW)
        links = [desk.new_link(task, NOW) for _ in range(6)]
        won: list[State] = []

        def answer(link: str) -> None:
            with suppress(LinkError, NotOpenError):
                won.append(desk.answer_by_link(link, UPSTREAM, "somebody", NOW))

        answering = [threading.Thread(target=answer, args=(link,)) for link in links]
        for thread in answering:
            thread.start()
        for thread in answering:
            thread.join()
        assert won == [State.ANSWERED]
        assert [entry.what for entry in desk.view(task).history] == ["asked", "answered"]

    def test_by_many_who_are_signed_in_at_once_records_one_answer(self, desk: TaskDesk) -> None:
        task = desk.ask(ASKED, NOW)
        together = threading.Barrier(6)
        won: list[State] = []

        def answer() -> None:
            together.wait(10)
            with suppress(NotOpenError):
                won.append(desk.answer_signed_in(provider("elm"), task, UPSTREAM, "somebody", NOW))

        answering = [threading.Thread(target=answer) for _ in range(6)]
        for thread in answering:
            thread.start()
        for thread in answering:
            thread.join()
        assert won == [State.ANSWERED]

    def test_wins_against_who_has_looked_before_and_gives_up_after(self, desk: TaskDesk, either_engine: Engine) -> None:
        task = desk.ask(ASKED, NOW)
        stale = desk.view(task).task
        desk.answer_signed_in(provider("elm"), task, UPSTREAM, "ann", NOW)
        with either_engine.begin() as connection:
            assert not desk._try_change(connection, stale, state=State.GIVEN_UP.value)
        assert desk.view(task).task.state is State.ANSWERED


class TestATypedName:
    def test_waits_for_a_person_who_matches_it(self, desk: TaskDesk) -> None:
        task = desk.ask(ASKED, NOW)
        fields = {"outcome": "upstream", "upstream_name": "Alder Communications, Inc."}
        assert desk.answer_signed_in(provider("elm"), task, fields, "ann", NOW) is State.MATCHING
        assert desk.results() == []
        desk.match(task, provider("alder"), "olga", NOW + HOUR)
        [result] = desk.results()
        assert result.answer is not None
        assert result.answer.upstream == "alder"
        assert desk.view(task).history[-1].detail == "'Alder Communications, Inc.' is alder"

    def test_that_is_an_id_to_the_letter_is_not_taken_for_it(self, desk: TaskDesk) -> None:
        task = desk.ask(ASKED, NOW)
        fields = {"outcome": "upstream", "upstream_name": "alder"}
        assert desk.answer_signed_in(provider("elm"), task, fields, "ann", NOW) is State.MATCHING

    def test_stops_the_providers_clock_while_it_waits(self, desk: TaskDesk) -> None:
        task = desk.ask(ASKED, NOW)
        fields = {"outcome": "foreign_upstream", "upstream_name": "Carrier Abroad"}
        desk.answer_signed_in(provider("elm"), task, fields, "ann", NOW)
        assert desk.give_up_overdue(NOW + 500 * HOUR) == 0
        desk.match(task, provider("alder"), "olga", NOW + 400 * HOUR)
        assert not desk.results()[0].late

    def test_is_not_matched_to_who_is_not_registered_nor_to_the_provider_itself(self, desk: TaskDesk) -> None:
        task = desk.ask(ASKED, NOW)
        desk.answer_signed_in(provider("elm"), task, {"outcome": "upstream", "upstream_name": "X"}, "ann", NOW)
        with pytest.raises(TaskError, match="not in the registry"):
            desk.match(task, provider("nobody"), "olga", NOW)
        with pytest.raises(TaskError, match="its own upstream"):
            desk.match(task, provider("elm"), "olga", NOW)

    def test_is_matched_once(self, desk: TaskDesk) -> None:
        task = desk.ask(ASKED, NOW)
        with pytest.raises(NotOpenError, match="no name to match"):
            desk.match(task, provider("alder"), "olga", NOW)


class TestALink:
    def test_answers_its_task_once(self, desk: TaskDesk) -> None:
        token = desk.new_link(desk.ask(ASKED, NOW), NOW)
        assert desk.open_link(token, NOW).asked == ASKED
        assert desk.open_link(token, NOW).asked == ASKED  # looking uses nothing up
        assert desk.answer_by_link(token, UPSTREAM, "ann", NOW) is State.ANSWERED
        for use in (lambda: desk.open_link(token, NOW), lambda: desk.answer_by_link(token, UPSTREAM, "ann", NOW)):
            with pytest.raises(LinkError, match="used already"):
                use()

    def test_is_still_good_after_an_answer_that_was_none(self, desk: TaskDesk) -> None:
        token = desk.new_link(desk.ask(ASKED, NOW), NOW)
        with pytest.raises(AnswerError):
            desk.answer_by_link(token, {"outcome": "upstream"}, "ann", NOW)
        assert desk.answer_by_link(token, UPSTREAM, "ann", NOW) is State.ANSWERED

    def test_is_used_up_by_an_answer_over_another_one(self, desk: TaskDesk) -> None:
        task = desk.ask(ASKED, NOW)
        first, second = desk.new_link(task, NOW), desk.new_link(task, NOW)
        desk.answer_by_link(second, UPSTREAM, "ann", NOW)
        with pytest.raises(LinkError, match="used already"):
            desk.open_link(first, NOW)

    def test_expires(self, desk: TaskDesk) -> None:
        token = desk.new_link(desk.ask(ASKED, NOW), NOW)
        assert desk.open_link(token, NOW + timedelta(days=29))
        with pytest.raises(LinkError, match="expired"):
            desk.open_link(token, NOW + timedelta(days=30))

    @pytest.mark.parametrize("spoil", [lambda t: t[:-1], lambda t: t + "=", lambda t: t[:0], str.swapcase])
    def test_that_is_not_whole_leads_nowhere(self, desk: TaskDesk, spoil: Callable[[str], str]) -> None:
        token = desk.new_link(desk.ask(ASKED, NOW), NOW)
        with pytest.raises(LinkError, match="leads nowhere"):
            desk.open_link(spoil(token), NOW)

    def test_is_stored_as_a_digest_alone(self, desk: TaskDesk, either_engine: Engine) -> None:
        token = desk.new_link(desk.ask(ASKED, NOW), NOW)
        with either_engine.connect() as connection:
            [row] = connection.execute(select(task_links)).all()
        assert row.token_sha256 == token_digest(token)
        assert token not in str(row)

    def test_holds_256_random_bits(self) -> None:
        taken: list[int] = []

        def random(count: int) -> bytes:
            taken.append(count)
            return bytes(range(count))

        assert new_token(random) == "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
        assert taken == [32]
        assert len({new_token() for _ in range(100)}) == 100

    def test_is_not_made_for_a_task_that_takes_no_answer(self, desk: TaskDesk) -> None:
        task = desk.ask(ASKED, NOW)
        desk.answer_signed_in(provider("elm"), task, UPSTREAM, "ann", NOW)
        with pytest.raises(NotOpenError):
            desk.new_link(task, NOW)


class TestGivingUp:
    def test_tells_the_traceback_once_the_time_is_up(self, desk: TaskDesk) -> None:
        task = desk.ask(ASKED, NOW)
        assert desk.give_up_overdue(NOW + 47 * HOUR) == 0
        assert desk.give_up_overdue(NOW + 96 * HOUR) == 1  # Thanksgiving lies between
        [result] = desk.results()
        assert (result.answer, result.task_id) == (None, task)
        desk.taken([result], NOW + 96 * HOUR)
        assert desk.results() == []

    def test_leaves_the_door_open_for_a_late_answer_that_comes_to_the_traceback_as_well(self, desk: TaskDesk) -> None:
        task = desk.ask(ASKED, NOW)
        token = desk.new_link(task, NOW)
        desk.give_up_overdue(NOW + 96 * HOUR)
        desk.taken(desk.results(), NOW + 96 * HOUR)
        desk.answer_by_link(token, UPSTREAM, "ann", NOW + 97 * HOUR)
        [result] = desk.results()
        assert result.answer is not None
        assert result.late

    def test_does_not_lose_an_answer_that_came_while_the_giving_up_was_taken(self, desk: TaskDesk) -> None:
        task = desk.ask(ASKED, NOW)
        desk.give_up_overdue(NOW + 96 * HOUR)
        given_up = desk.results()
        desk.answer_signed_in(provider("elm"), task, UPSTREAM, "ann", NOW + 97 * HOUR)
        desk.taken(given_up, NOW + 97 * HOUR)
        assert [result.answer is not None for result in desk.results()] == [True]


class TestWithdrawing:
    def test_closes_the_task_and_its_links(self, desk: TaskDesk) -> None:
        task = desk.ask(ASKED, NOW)
        token = desk.new_link(task, NOW)
        assert desk.withdraw(task, "olga", "traced otherwise", NOW)
        with pytest.raises(LinkError, match="taken back"):
            desk.open_link(token, NOW)
        with pytest.raises(NotOpenError):
            desk.answer_signed_in(provider("elm"), task, UPSTREAM, "ann", NOW)
        assert desk.results() == []

    def test_comes_too_late_for_an_answer(self, desk: TaskDesk) -> None:
        task = desk.ask(ASKED, NOW)
        desk.answer_signed_in(provider("elm"), task, UPSTREAM, "ann", NOW)
        assert not desk.withdraw(task, "olga", "traced otherwise", NOW)


class TestWhatAPersonMayAnswer:
    @pytest.mark.parametrize("outcome", ["originated_here", "not_found", "records_expired"])
    def test_may_name_nobody(self, outcome: str) -> None:
        answer = read_answer({"outcome": outcome, "note": "see ticket 7"}, ASKED, REGISTRY, NOW)
        assert answer == PersonsAnswer(OUTCOMES[outcome], note="see ticket 7")

    def test_may_deny_the_handover(self) -> None:
        answer = read_answer({"outcome": "not_found", "handover": "denied"}, ASKED, REGISTRY, NOW)
        assert answer.handover is Handover.NOT_MINE

    def test_may_refuse_with_a_reason(self) -> None:
        answer = read_answer({"outcome": "refused", "refusal": "records_gap"}, ASKED, REGISTRY, NOW)
        assert answer.refusal is RefusalReason.RECORDS_GAP

    def test_says_no_number_to_ask_for_where_it_is_the_same(self) -> None:
        assert read_answer({**UPSTREAM, "ask_called": CALLED}, ASKED, REGISTRY, NOW).ask_called is None

    @pytest.mark.parametrize(
        ("fields", "problem"),
        [
            ({}, "outcome: must be one of"),
            ({"outcome": "ambiguous"}, "outcome: must be one of"),
            ({"outcome": "upstream"}, "upstream: name the provider"),
            ({**UPSTREAM, "upstream_name": "Alder"}, "not both"),
            ({**UPSTREAM, "upstream": "Alder Inc"}, "no provider id"),
            ({**UPSTREAM, "upstream": "nobody"}, "not in the registry"),
            ({**UPSTREAM, "upstream": "elm"}, "its own upstream"),
            ({"outcome": "not_found", "upstream": "alder"}, "doesn't go with the outcome"),
            ({"outcome": "not_found", "ask_called": TOLL_FREE}, "doesn't go with the outcome"),
            ({**UPSTREAM, "refusal": "policy"}, "doesn't go with the outcome"),
            ({"outcome": "refused"}, "refusal: say why"),
            ({**UPSTREAM, "handover": "perhaps"}, "handover: must be one of"),
            ({**UPSTREAM, "ask_called": "8885550123"}, "ask_called: not an E.164 number"),
            ({**UPSTREAM, "seized_at": "2026-11-20 18:03"}, "seized_at: the time says no zone"),
            ({**UPSTREAM, "seized_at": "2026-11-20T18:09:00Z"}, "another call"),
            ({"outcome": "upstream", "upstream_name": "x" * 201}, "upstream_name: 1 to 200"),
            ({**UPSTREAM, "note": "\x1b[2J"}, "note: at most"),
            ({**UPSTREAM, "calling": "x"}, "calling: no such field"),
        ],
    )
    def test_is_refused_otherwise(self, fields: dict[str, str], problem: str) -> None:
        with pytest.raises(AnswerError, match=problem):
            read_answer(fields, ASKED, REGISTRY, NOW)

    def test_says_no_handover_where_nobody_named_the_provider(self) -> None:
        first = replace(ASKED, named_by=None)
        with pytest.raises(AnswerError, match="nobody named you"):
            read_answer(UPSTREAM, first, REGISTRY, NOW)

    def test_is_refused_with_all_that_is_wrong(self) -> None:
        with pytest.raises(AnswerError) as caught:
            read_answer({"outcome": "upstream", "handover": "x", "ask_called": "x"}, ASKED, REGISTRY, NOW)
        named = [problem.partition(":")[0] for problem in caught.value.problems]
        assert named == ["upstream", "handover", "ask_called"]

    @settings(max_examples=100, deadline=None)
    @given(st.dictionaries(st.sampled_from([*FIELDS, "x"]), st.text(max_size=40) | st.just("upstream")))
    def test_is_read_or_refused_whatever_is_typed_and_no_number_is_repeated(self, fields: dict[str, str]) -> None:
        secret = "2025550143"
        with pytest.raises(AnswerError) as caught:
            read_answer({**fields, "ask_called": f"x{secret}"}, ASKED, REGISTRY, NOW)
        assert all(secret not in problem for problem in caught.value.problems)

    @settings(max_examples=100, deadline=None)
    @given(st.fixed_dictionaries({"outcome": st.sampled_from(sorted(OUTCOMES))}, optional={
        "upstream": st.sampled_from(["alder", "birch", "elm", "x"]),
        "upstream_name": st.sampled_from(["Alder", ""]),
        "handover": st.sampled_from(["confirmed", "denied"]),
        "refusal": st.sampled_from(["policy", "records_gap"]),
        "seized_at": st.sampled_from(["2026-11-20T18:03:00Z", "2026-11-20T18:03:11Z"]),
    }))  # fmt: skip
    def test_becomes_an_answer_of_the_chain_or_waits_for_a_match(self, fields: dict[str, str]) -> None:
        try:
            answer = read_answer(fields, ASKED, REGISTRY, NOW)
        except AnswerError:
            return
        if answer.needs_match:
            with pytest.raises(ValueError, match="contradicts"):
                Answer(provider("elm"), answer.outcome, upstream=answer.upstream)
        else:
            Answer(
                provider("elm"),
                answer.outcome,
                upstream=answer.upstream,
                ask_called=answer.ask_called,
                time_correction=answer.time_correction,
                handover=answer.handover,
                refusal=answer.refusal,
            )


class TestNotices:
    def test_begin_with_an_invitation_at_once(self) -> None:
        assert notices(schedule(NOW, OFFICE))[0] == Notice(NoticeKind.INVITATION, 1, NOW)

    def test_that_have_piled_up_are_one_letter_a_kind_and_an_escalation_spares_the_reminder(self) -> None:
        every = notices(schedule(NOW, OFFICE))
        piled = to_send(every)
        assert [(one.kind, one.number) for one in piled] == [(NoticeKind.INVITATION, 1), (NoticeKind.ESCALATION, 2)]

    @settings(max_examples=60, deadline=None)
    @given(instants)
    def test_are_never_about_one_thing_twice(self, came: datetime) -> None:
        every = notices(schedule(came, OFFICE))
        assert len({(one.kind, one.number) for one in every}) == len(every)

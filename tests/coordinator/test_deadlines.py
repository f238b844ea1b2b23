"""The 24-hour rule, and the three states that are never mixed up: waiting, non-responsive, non-cooperative."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from coordinator.deadlines.calendar import BusinessCalendar
from coordinator.deadlines.cooperation import CooperationPolicy, RequestFact, label
from coordinator.deadlines.schedule import AnswerRule, Schedule, schedule
from coordinator.deadlines.settings import DeadlinesTable
from coordinator.deadlines.standing import standing
from tests.coordinator.make import provider
from tests.coordinator.test_calendar import HOUR, NEW_YORK, OFFICE, at, calendars, instants

MINUTE = timedelta(minutes=1)


def local(times: tuple[datetime, ...]) -> list[str]:
    return [f"{time.astimezone(NEW_YORK):%a %H:%M}" for time in times]


class TestTheSchedule:
    def test_of_a_request_in_business_hours_is_due_a_day_later(self) -> None:
        plan = schedule(at("2026-11-17T10:00"), OFFICE)
        assert (plan.counts_from, plan.due) == (at("2026-11-17T10:00"), at("2026-11-18T10:00"))
        assert plan.gives_up == at("2026-11-19T10:00")

    def test_of_a_request_in_the_evening_is_due_when_the_office_opens_two_days_later(self) -> None:
        plan = schedule(at("2026-11-17T22:00"), OFFICE)
        assert plan.received == at("2026-11-17T22:00")
        assert (plan.counts_from, plan.due) == (at("2026-11-18T08:00"), at("2026-11-19T08:00"))

    @pytest.mark.parametrize(
        ("came", "due"),
        [
            ("2026-12-31T23:00", "2027-01-05T08:00"),
            ("2026-12-24T12:00", "2026-12-28T12:00"),
            ("2027-12-30T12:00", "2028-01-03T12:00"),
            ("2026-03-06T17:00", "2026-03-09T17:00"),
            ("2026-10-31T02:00", "2026-11-03T08:00"),
        ],
    )
    def test_holds_over_year_ends_holidays_and_changes_of_clocks(self, came: str, due: str) -> None:
        assert schedule(at(came), OFFICE).due == at(due)

    def test_reminds_when_somebody_reads_it(self) -> None:
        assert local(schedule(at("2026-11-17T10:00"), OFFICE).reminders) == ["Wed 08:00"]
        assert local(schedule(at("2026-11-17T16:00"), OFFICE).reminders) == ["Wed 08:00", "Wed 12:00"]

    def test_reminds_the_evening_before_where_the_answer_is_due_when_the_office_opens(self) -> None:
        assert local(schedule(at("2026-11-17T08:00"), OFFICE).reminders) == ["Tue 17:29"]

    def test_escalates_in_business_hours_from_when_the_answer_was_due(self) -> None:
        assert local(schedule(at("2026-11-19T16:00"), OFFICE).escalations) == ["Fri 16:00", "Mon 08:00"]

    def test_may_be_set_otherwise(self) -> None:
        rule = AnswerRule(4 * HOUR, (HOUR,), (HOUR,), 2 * HOUR)
        plan = schedule(at("2026-11-17T10:00"), OFFICE, rule)
        assert local((plan.due, *plan.reminders, *plan.escalations, plan.gives_up)) == [
            *("Tue 14:00", "Tue 11:00", "Tue 15:00", "Tue 16:00")
        ]

    @settings(max_examples=100, deadline=None)
    @given(calendars, instants)
    def test_is_in_order_and_never_in_the_past(self, office: BusinessCalendar, came: datetime) -> None:
        plan = schedule(came, office)
        assert plan.received == came <= plan.counts_from
        assert plan.due - plan.counts_from >= 24 * HOUR
        assert plan.gives_up >= plan.due
        assert all(plan.counts_from < reminder < plan.due for reminder in plan.reminders)
        assert all(plan.due <= escalation for escalation in plan.escalations)
        assert all(office.is_open(when) for when in (*plan.reminders, *plan.escalations))
        assert list(plan.reminders) == sorted(set(plan.reminders))

    @settings(max_examples=60, deadline=None)
    @given(calendars, instants, instants)
    def test_of_a_later_request_is_no_earlier(self, office: BusinessCalendar, one: datetime, other: datetime) -> None:
        early, late = (schedule(came, office) for came in sorted((one, other)))
        assert (early.counts_from, early.due, early.gives_up) <= (late.counts_from, late.due, late.gives_up)
        assert early.due <= late.due
        assert early.gives_up <= late.gives_up

    @pytest.mark.parametrize(
        "wrong",
        [
            {"within": timedelta(0)},
            {"reminders": (25 * HOUR,)},
            {"reminders": (timedelta(0),)},
            {"escalations": (-HOUR,)},
            {"gives_up": -HOUR},
        ],
    )
    def test_is_refused_where_its_times_contradict_each_other(self, wrong: dict[str, timedelta]) -> None:
        with pytest.raises(ValueError):
            AnswerRule(**wrong)  # type: ignore[arg-type]


PLAN = schedule(at("2026-11-17T10:00"), OFFICE)


class TestARequest:
    def test_waits_while_there_is_time(self) -> None:
        stands = standing(PLAN, None, PLAN.due)
        assert (stands.waiting, stands.delinquent, stands.non_responsive) == (True, False, False)
        assert stands.words == "waiting"

    def test_is_delinquent_once_the_answer_is_overdue_and_still_waits(self) -> None:
        stands = standing(PLAN, None, PLAN.due + MINUTE)
        assert (stands.waiting, stands.delinquent, stands.non_responsive) == (True, True, False)

    def test_is_non_responsive_when_it_was_given_up(self) -> None:
        stands = standing(PLAN, None, PLAN.gives_up + MINUTE)
        assert (stands.waiting, stands.delinquent, stands.non_responsive) == (False, True, True)

    def test_that_was_answered_in_time_is_neither_however_long_ago(self) -> None:
        stands = standing(PLAN, PLAN.due, PLAN.gives_up + timedelta(days=900))
        assert (stands.answered, stands.delinquent, stands.non_responsive) == (True, False, False)
        assert stands.words == "answered"

    def test_that_was_answered_late_is_no_longer_non_responsive_and_stays_delinquent(self) -> None:
        stands = standing(PLAN, PLAN.gives_up + MINUTE, PLAN.gives_up + HOUR)
        assert (stands.answered, stands.delinquent, stands.non_responsive) == (True, True, False)

    def test_is_judged_by_what_was_known_then(self) -> None:
        assert standing(PLAN, PLAN.due, PLAN.due - MINUTE).waiting

    @settings(max_examples=100, deadline=None)
    @given(instants, st.timedeltas(timedelta(0), timedelta(days=30)), st.none() | st.timedeltas(HOUR, 400 * HOUR))
    def test_is_in_exactly_one_of_waiting_answered_non_responsive(
        self, came: datetime, later: timedelta, took: timedelta | None
    ) -> None:
        stands = standing(schedule(came, OFFICE), None if took is None else came + took, came + later)
        assert stands.waiting + stands.answered + stands.non_responsive == 1
        assert not stands.non_responsive or stands.delinquent


def facts(*fates: str) -> list[RequestFact]:
    """Requests a week apart, first one first: a(nswered), l(ate), r(efused), n(ot answered)."""
    made = []
    for n, fate in enumerate(fates):
        plan = schedule(at("2026-09-01T10:00") + timedelta(days=n), OFFICE)
        answered = {"n": None, "l": plan.due + HOUR}.get(fate, plan.counts_from + HOUR)
        made.append(RequestFact(f"{n}{fate}", plan, answered, refused=fate == "r"))
    return made


NOW = at("2026-11-01T12:00")
BIRCH = provider("birch")


class TestTheLabelNonCooperative:
    def test_is_not_given_to_who_answers(self) -> None:
        given_label = label(BIRCH, facts(*"aaaaaaaa"), NOW)
        assert not given_label.non_cooperative
        assert given_label.reason == "no metric is above its limit, over 8 requests"

    def test_is_given_for_answers_that_never_came_and_says_which(self) -> None:
        given_label = label(BIRCH, facts(*"nanaan"), NOW)
        assert given_label.non_cooperative
        [breach] = given_label.breaches
        assert (breach.name, breach.value, breach.limit) == ("unanswered_share", 0.5, 0.25)
        assert breach.facts == ("5n", "2n", "0n")
        assert given_label.reason == "unanswered share 0.5 (limit 0.25), over 6 requests"

    @pytest.mark.parametrize(("fates", "name"), [("llllaa", "late_share"), ("rrrraa", "refused_share")])
    def test_is_given_for_late_answers_and_for_refusals_beyond_the_limit(self, fates: str, name: str) -> None:
        assert [breach.name for breach in label(BIRCH, facts(*fates), NOW).breaches] == [name]

    def test_is_given_for_a_run_of_unanswered_requests_that_lasts(self) -> None:
        policy = CooperationPolicy(unanswered_share=1.0)
        assert [b.name for b in label(BIRCH, facts(*"aaaaaannnn"), NOW, policy).breaches] == ["unanswered_run"]
        assert not label(BIRCH, facts(*"aaaaannnna"), NOW, policy).non_cooperative

    def test_is_not_given_on_too_few_requests_and_says_so(self) -> None:
        given_label = label(BIRCH, facts(*"nnn"), NOW)
        assert not given_label.non_cooperative
        assert given_label.reason.endswith("but 3 requests are fewer than 5")

    def test_exactly_at_the_limit_is_not_given(self) -> None:
        assert not label(BIRCH, facts(*"naaanaaa"), NOW).non_cooperative

    def test_looks_back_no_further_than_its_period(self) -> None:
        assert label(BIRCH, facts(*"nnnnnn"), NOW + timedelta(days=200)).requests == 0

    def test_counts_no_request_that_still_waits(self) -> None:
        made = facts(*"nnnnnn")
        assert label(BIRCH, made, made[0].plan.due).requests == 0

    def test_is_lifted_by_answers_that_come_late(self) -> None:
        late = [RequestFact(f.id, f.plan, f.plan.gives_up + HOUR) for f in facts(*"nnnnnn")]
        assert not label(BIRCH, late, NOW, CooperationPolicy(late_share=1.0)).non_cooperative

    def test_says_every_metric_with_its_value_also_where_none_is_breached(self) -> None:
        metrics = label(BIRCH, facts(*"aaaal"), NOW).metrics
        assert {metric.name: metric.value for metric in metrics} == {
            "unanswered_share": 0.0,
            "late_share": 0.2,
            "refused_share": 0.0,
            "unanswered_run": 0,
        }

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.sampled_from("alrn"), max_size=20), st.randoms(use_true_random=False))
    def test_does_not_depend_on_the_order_in_which_facts_are_told(self, fates: list[str], random: object) -> None:
        told = facts(*fates)
        shuffled = list(told)
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        assert label(BIRCH, shuffled, NOW) == label(BIRCH, told, NOW)

    def test_is_refused_a_policy_that_can_be_no_policy(self) -> None:
        with pytest.raises(ValueError, match="share"):
            CooperationPolicy(late_share=1.1)
        with pytest.raises(ValueError, match="1 at least"):
            CooperationPolicy(least_requests=0)


class TestSettings:
    def test_default_to_the_federal_rule(self) -> None:
        table = DeadlinesTable()
        assert table.calendar() == OFFICE
        assert table.rule() == AnswerRule()

    def test_say_hours_days_and_durations_in_words(self) -> None:
        table = DeadlinesTable.model_validate(
            {
                "zone": "America/Denver",
                "hours": "00:00-24:00",
                "workdays": ["monday", "sunday"],
                "holidays": "none",
                "more_holidays": ["december 24 exactly"],
                "closed": ["2026-11-27"],
                "within": "48h",
                "reminders": ["90m"],
            }
        )
        calendar = table.calendar()
        assert (calendar.opens, calendar.closes, calendar.workdays) == (time(0), time(0), frozenset({0, 6}))
        assert table.rule().reminders == (timedelta(minutes=90),)

    def test_of_a_provider_win_key_by_key(self) -> None:
        common = DeadlinesTable.model_validate({"hours": "09:00-17:00", "within": "12h", "reminders": []})
        own = common.with_own({"zone": "America/Denver"})
        assert (own.calendar().zone, own.calendar().opens) == (ZoneInfo("America/Denver"), time(9))
        assert own.rule().within == 12 * HOUR

    def test_of_a_short_time_keep_the_usual_reminders_that_come_in_time(self) -> None:
        assert DeadlinesTable.model_validate({"within": "20h"}).rule().reminders == (12 * HOUR,)
        with pytest.raises(ValidationError, match="reminder"):
            DeadlinesTable.model_validate({"within": "20h", "reminders": ["20h"]})

    @pytest.mark.parametrize(
        "wrong",
        [
            {"zone": "Mars/Olympus"},
            {"zone": "../../etc/passwd"},
            {"hours": "8-5"},
            {"hours": "08:00-25:00"},
            {"hours": "09:00-08:00"},
            {"workdays": []},
            {"workdays": ["someday"]},
            {"holidays": "us"},
            {"more_holidays": ["easter"]},
            {"closed": ["27 November"]},
            {"within": "one day"},
            {"holliday": "us-federal"},
        ],
    )
    def test_that_say_nothing_known_are_refused(self, wrong: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            DeadlinesTable.model_validate(wrong)


def test_a_schedule_is_in_utc_whatever_the_zone_of_the_request() -> None:
    plan: Schedule = schedule(at("2026-11-17T10:00"), OFFICE)
    assert {value.tzinfo for value in (plan.received, plan.counts_from, plan.due, plan.gives_up)} == {UTC}

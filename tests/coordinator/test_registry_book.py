"""The registry: who held which number when, what a typed name may mean, and changes that take two operators."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from coordinator.deadlines.settings import DeadlinesTable
from coordinator.registry.aliases import Alias, AliasError, AliasKind, parse_alias, parse_alias_value
from coordinator.registry.book import RegistryBook
from coordinator.registry.changes import ChangeError, parse_change
from coordinator.registry.changing import RegistryError
from coordinator.registry.names import edits, fold, likeness
from coordinator.registry.suggest import NameIndex
from coordinator.tasks.task import NoticeKind
from tests.coordinator.make import NOW, provider

BIRCH, ALDER = provider("birch"), provider("alder")
DAY = timedelta(days=1)
SHA = "ab" * 32


@pytest.fixture
def book(either_engine: Engine) -> RegistryBook:
    book = RegistryBook(either_engine)
    for name in (BIRCH, ALDER):
        book.apply(parse_change(name, "add", f"{name.title()} Telecom"), "setup", NOW)
    return book


def do(book: RegistryBook, name: str, kind: str, value: str, now: datetime = NOW) -> None:
    """A change by two operators."""
    book.confirm(book.propose(parse_change(provider(name), kind, value), "olga", "a call", now), "pete", now)


class TestAnAlias:
    @pytest.mark.parametrize(
        ("text", "alias"),
        [
            ("rmd:rmd0001410", (AliasKind.RMD, "RMD0001410")),
            ("FRN: 12345678", (AliasKind.FRN, "0012345678")),  # zeros that a spreadsheet ate
            ("ocn:123a", (AliasKind.OCN, "123A")),
            ("spc:505J", (AliasKind.SPC, "505J")),
            ("dba: Birch  Voice ", (AliasKind.DBA, "Birch Voice")),
        ],
    )
    def test_is_kept_in_one_form(self, text: str, alias: tuple[AliasKind, str]) -> None:
        assert parse_alias(text) == alias

    @pytest.mark.parametrize(
        "text", ["rmd:1410", "frn:12345", "frn:12345678901", "ocn:12345", "birch", "x:1", "name:", "name:\x1b"]
    )
    def test_is_refused_otherwise(self, text: str) -> None:
        with pytest.raises(AliasError):
            parse_alias(text)

    def test_of_a_number_belongs_to_one_provider_at_a_time(self, book: RegistryBook) -> None:
        do(book, "birch", "alias", "frn:0012345678")
        with pytest.raises(RegistryError, match="is birch's"):
            do(book, "alder", "alias", "frn:0012345678")

    def test_of_a_number_may_pass_to_another_and_is_dated(self, book: RegistryBook) -> None:
        do(book, "birch", "alias", "ocn:505J", NOW)
        do(book, "birch", "end-alias", "ocn:505J", NOW + 10 * DAY)
        do(book, "alder", "alias", "ocn:505J", NOW + 10 * DAY)
        held = [book.holder(AliasKind.OCN, "505J", NOW + n * DAY) for n in (-1, 0, 9, 10, 99)]
        assert held == [None, "birch", "birch", "alder", "alder"]

    def test_of_a_number_may_come_back(self, book: RegistryBook) -> None:
        do(book, "birch", "alias", "ocn:505J", NOW)
        do(book, "birch", "end-alias", "ocn:505J", NOW + DAY)
        do(book, "birch", "alias", "ocn:505J", NOW + 2 * DAY)
        held = [book.holder(AliasKind.OCN, "505J", NOW + n * DAY) for n in (0, 1, 2)]
        assert held == ["birch", None, "birch"]

    def test_of_a_name_may_be_shared(self, book: RegistryBook) -> None:
        for name in ("birch", "alder"):
            do(book, name, "alias", "dba:Best Voice")
        found = book.index().suggest("best voice", NOW)
        assert [(one.provider, one.score) for one in found] == [("alder", 1.0), ("birch", 1.0)]

    @given(*[st.none() | st.integers(0, 9)] * 4)
    def test_overlaps_another_where_some_time_is_in_both(
        self, a: int | None, b: int | None, c: int | None, d: int | None
    ) -> None:
        def alias(begin: int | None, end: int | None) -> Alias:
            since, until = (None if n is None else NOW + n * DAY for n in (begin, end))
            return Alias(BIRCH, AliasKind.OCN, "505J", since, until)

        one, other = alias(a, b), alias(c, d)
        both = any(one.holds_at(at) and other.holds_at(at) for at in (NOW + n * DAY for n in range(-2, 12)))
        proper = all(x is None or y is None or x < y for x, y in ((a, b), (c, d)))
        if proper:
            assert one.overlaps(other) == other.overlaps(one) == both


class TestLikeness:
    @pytest.mark.parametrize(
        ("one", "other", "why"),
        [
            ("Acme Voice LLC", "ACME VOICE, L.L.C.", "the same name"),
            ("Acme Voice LLC", "Acme Voice, Inc.", "the same but for the legal form"),
            ("Blue Sky Communications", "BlueSky Communications", "the same but for the spacing"),
            ("AT&T", "ATT", "the same but for the spacing"),
            ("T-Mobile USA", "TMobile", "the same but for spacing and common words"),
            ("Téléphone Été", "Telephone Ete", "the same name"),
            ("Alder Telecom", "Adler Telecom", "in common: adler~alder, telecom"),
            ("Birchtree Telecom", "Birch Tree Voice", "the same but for spacing and common words"),
            ("Birchwood Line", "Birch Wod Line", "written almost the same"),
            ("Birch Rural Telephone", "Birch Wireless", "in common: birch"),
        ],
    )
    def test_is_explained(self, one: str, other: str, why: str) -> None:
        assert likeness(fold(one), fold(other)).why == why

    def test_ranks_what_matters_over_what_half_the_trade_is_called(self) -> None:
        def score(other: str) -> float:
            return likeness(fold("Alder Telecom Services"), fold(other)).score

        assert score("Alder Networks") > 0.5 > score("Birch Telecom Services")

    def test_takes_another_numeral_for_another_company(self) -> None:
        assert likeness(fold("Level 3"), fold("Level 4")).score < 0.6

    @settings(max_examples=100, deadline=None)
    @given(*[st.text(alphabet="abcé &.-Inc3", max_size=16)] * 2)
    def test_is_the_same_both_ways_between_0_and_1_and_whole_for_oneself(self, one: str, other: str) -> None:
        there, back = likeness(fold(one), fold(other)), likeness(fold(other), fold(one))
        assert (there.score, there.why) == (back.score, back.why)
        assert 0 <= there.score <= 1
        assert not fold(one).tokens or likeness(fold(one), fold(one)).score == 1

    @settings(max_examples=100, deadline=None)
    @given(*[st.text(alphabet="abc", max_size=6)] * 2)
    def test_counts_edits_by_hand(self, one: str, other: str) -> None:
        def slow(a: str, b: str) -> int:
            if not a or not b:
                return len(a) + len(b)
            best = min(slow(a[1:], b) + 1, slow(a, b[1:]) + 1, slow(a[1:], b[1:]) + (a[0] != b[0]))
            if len(a) > 1 and len(b) > 1 and a[0] == b[1] and a[1] == b[0]:
                best = min(best, slow(a[2:], b[2:]) + 1)
            return best

        assert edits(one, other) == slow(one, other)


ALIASES = [
    Alias(BIRCH, AliasKind.NAME, "Birch Telecom, Inc."),
    Alias(BIRCH, AliasKind.FORMER, "Bark Voice"),
    Alias(BIRCH, AliasKind.FRN, "0012345678"),
    Alias(BIRCH, AliasKind.OCN, "505J", valid_to=NOW),
    Alias(ALDER, AliasKind.NAME, "Alder Communications"),
    Alias(ALDER, AliasKind.DBA, "Birchwood Voice"),
]
INDEX = NameIndex(ALIASES, [BIRCH, ALDER])


class TestSuggestions:
    def test_come_best_first_each_provider_once_with_score_and_reason(self) -> None:
        found = INDEX.suggest("birch telcom llc", NOW)
        assert found[0].provider == "birch"
        assert found[0].alias == "Birch Telecom, Inc."
        assert found[0].why == "name; in common: birch, telcom~telecom"
        assert len({one.provider for one in found}) == len(found)
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)

    def test_know_former_names_and_both_sides_of_a_dba(self) -> None:
        [found] = INDEX.suggest("Nobody Holdings d/b/a Bark Voice", NOW)
        assert (found.provider, found.kind, found.why) == ("birch", AliasKind.FORMER, "former name; the same name")

    @pytest.mark.parametrize(
        ("typed", "why"),
        [
            ("frn 12345678", "its FRN"),
            ("0012345678", "its FRN"),
            ("505J", "its OCN at another time"),
            ("birch", "its id"),
        ],
    )
    def test_know_numbers_and_ids(self, typed: str, why: str) -> None:
        assert INDEX.suggest(typed, NOW)[0].why == why

    @pytest.mark.parametrize("typed", ["", "   ", "Inc.", "zzzz", "Telecom", "\x00", "🙂"])
    def test_are_none_where_nothing_fits(self, typed: str) -> None:
        assert INDEX.suggest(typed, NOW) == ()

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=60), st.permutations(ALIASES))
    def test_do_not_depend_on_the_order_in_which_the_registry_is_read(self, typed: str, aliases: list[Alias]) -> None:
        assert NameIndex(aliases, [ALDER, BIRCH]).suggest(typed, NOW) == INDEX.suggest(typed, NOW)

    def test_of_a_provider_are_found_by_the_name_that_the_operator_gave_it(self, book: RegistryBook) -> None:
        assert book.index().suggest("birch telecom", NOW)[0].provider == "birch"

    def test_that_were_picked_are_kept_with_what_else_was_shown(self, book: RegistryBook) -> None:
        shown = book.index().suggest("Birch Telecom LLC", NOW)
        book.record_match("Birch Telecom LLC", BIRCH, "olga", NOW, shown, "task 1")
        book.record_match("Other", ALDER, "olga", NOW + DAY, (), "task 2")
        [match] = book.matches("BIRCH TELECOM, INC")
        assert (match.provider, match.picked_by, match.about) == ("birch", "olga", "task 1")
        assert match.suggested[0] == ("birch", 0.98)
        assert [one.typed for one in book.matches()] == ["Other", "Birch Telecom LLC"]


class TestAChange:
    def test_takes_two_operators(self, book: RegistryBook) -> None:
        proposal = book.propose(parse_change(BIRCH, "endpoint", "a.example:7443"), "olga", "new agent", NOW)
        assert book.provider(BIRCH).endpoint is None  # type: ignore[union-attr]
        with pytest.raises(RegistryError, match="another operator"):
            book.confirm(proposal, "Olga", NOW)
        book.confirm(proposal, "pete", NOW)
        assert book.provider(BIRCH).endpoint == "a.example:7443"  # type: ignore[union-attr]
        [done] = book.proposals(only_open=False)
        assert (done.state, done.proposed_by, done.decided_by, done.reason) == (
            "confirmed",
            "olga",
            "pete",
            "new agent",
        )

    def test_is_decided_once(self, book: RegistryBook) -> None:
        proposal = book.propose(parse_change(BIRCH, "name", "Birch"), "olga", "", NOW)
        book.reject(proposal, "olga", NOW)
        for again in (book.confirm, book.reject):
            with pytest.raises(RegistryError, match="rejected already"):
                again(proposal, "pete", NOW)
        with pytest.raises(RegistryError, match="no such proposal"):
            book.confirm(uuid.UUID(int=1), "pete", NOW)

    def test_whose_ground_has_moved_is_stale_and_not_made(self, book: RegistryBook) -> None:
        first = book.propose(parse_change(BIRCH, "endpoint", "a.example:7443"), "olga", "", NOW)
        second = book.propose(parse_change(BIRCH, "endpoint", "b.example:7443"), "olga", "", NOW)
        book.confirm(second, "pete", NOW)
        with pytest.raises(RegistryError, match="propose it anew"):
            book.confirm(first, "pete", NOW)
        assert book.provider(BIRCH).endpoint == "b.example:7443"  # type: ignore[union-attr]
        assert [one.state for one in book.proposals(only_open=False) if one.id == first] == ["stale"]

    def test_of_a_name_makes_the_old_one_a_former_name(self, book: RegistryBook) -> None:
        do(book, "birch", "name", "Birch Global")
        assert book.index().suggest("Birch Telecom", NOW)[0].why == "former name at another time; the same name"

    def test_of_everything_shows_in_the_entry(self, book: RegistryBook) -> None:
        for kind, value in (
            ("roles", "gateway,intermediate"),
            ("reach", "dial_out"),
            ("deadlines", '{"zone": "America/Denver"}'),
            ("contact", "noc@birch.example"),
            ("escalation", "2:legal@birch.example"),
            ("certificate", SHA.upper()),
        ):
            do(book, "birch", kind, value)
        entry = book.entry(BIRCH)
        assert entry is not None
        assert (entry.roles, entry.reach, entry.certificates) == (("gateway", "intermediate"), "dial_out", (SHA,))
        assert [(contact.email, contact.level) for contact in entry.contacts] == [
            ("noc@birch.example", 0),
            ("legal@birch.example", 2),
        ]
        calendar, _ = book.of(BIRCH)
        assert calendar.zone == ZoneInfo("America/Denver")

    def test_takes_away_what_is_there_and_nothing_else(self, book: RegistryBook) -> None:
        do(book, "birch", "contact", "noc@birch.example")
        do(book, "birch", "end-contact", "noc@birch.example")
        with pytest.raises(RegistryError, match="no such contact"):
            do(book, "birch", "end-contact", "noc@birch.example")
        do(book, "birch", "certificate", SHA)
        do(book, "birch", "end-certificate", SHA)
        with pytest.raises(RegistryError, match="revoked"):
            do(book, "birch", "certificate", SHA)

    def test_that_changes_nothing_or_nobody_is_refused(self, book: RegistryBook) -> None:
        do(book, "birch", "alias", "frn:0012345678")
        for name, kind, value, why in (
            ("birch", "alias", "frn:0012345678", "already"),
            ("birch", "name", "Birch Telecom", "already"),
            ("birch", "add", "Birch", "in the registry"),
            ("elm", "name", "Elm", "not in the registry"),
        ):
            with pytest.raises(RegistryError, match=why):
                do(book, name, kind, value)

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            ("endpont", "a:1"),
            ("endpoint", "https://a"),
            ("roles", "Big Role"),
            ("reach", "pigeon"),
            ("deadlines", "[]"),
            ("deadlines", "{"),
            ("deadlines", '{"zone": "Mars"}'),
            ("deadlines", '{"hours": "09:00-08:00"}'),
            ("alias", "frn"),
            ("contact", "a@b"),
            ("escalation", "noc@birch.example"),
            ("escalation", "0:noc@birch.example"),
            ("certificate", "abc"),
        ],
    )
    def test_that_says_nothing_known_is_refused(self, kind: str, value: str) -> None:
        with pytest.raises(ChangeError):
            parse_change(BIRCH, kind, value)


class TestLetters:
    def test_go_to_the_contacts_and_up_with_each_escalation(self, book: RegistryBook) -> None:
        for kind, value in (
            ("contact", "noc@birch.example"),
            ("escalation", "1:boss@birch.example"),
            ("escalation", "2:legal@birch.example"),
        ):
            do(book, "birch", kind, value)
        assert book.recipients(BIRCH, NoticeKind.INVITATION, 1) == ["noc@birch.example"]
        assert book.recipients(BIRCH, NoticeKind.REMINDER, 2) == ["noc@birch.example"]
        assert book.recipients(BIRCH, NoticeKind.ESCALATION, 1) == ["boss@birch.example", "noc@birch.example"]
        assert len(book.recipients(BIRCH, NoticeKind.ESCALATION, 2)) == 3
        assert book.recipients(ALDER, NoticeKind.INVITATION, 1) == []

    def test_follow_the_clock_of_all_where_a_provider_has_none_of_its_own(self, sqlite_engine: Engine) -> None:
        common = DeadlinesTable.model_validate({"zone": "America/Chicago", "within": "12h"})
        calendar, rule = RegistryBook(sqlite_engine, common).of(BIRCH)
        assert (calendar.zone, rule.within) == (ZoneInfo("America/Chicago"), timedelta(hours=12))


def test_a_value_of_a_number_is_kept_in_capitals() -> None:
    assert parse_alias_value(AliasKind.OCN, " 505j ") == "505J"

"""The Robocall Mitigation Database's listing: read by header whatever its order, and taken into the registry."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from coordinator.registry.aliases import AliasKind
from coordinator.registry.book import RegistryBook
from coordinator.registry.changes import parse_change
from coordinator.registry.listing import import_listing
from coordinator.registry.rmd import RmdFileError, RmdRow, read_rmd
from coordinator.store.registry_models import rmd_filings
from tests.coordinator.make import NOW, provider

HEADER = [
    "number",
    "business_name",
    "frn",
    "business_address",
    "foreign_voice_provider",
    "country",
    "other_frns",
    "other_dba_names",
    "previous_dba_names",
    "robocall_mitigation_contact_name",
    "contact_telephone_number",
    "implementation",
    "voice_service_provider_choice",
    "gateway_provider_choice",
    "intermediate_provider_choice",
    "last_updated",
    "last_recertified",
    "filing_url",
    "removed_from_rmd",
]


def listing(*rows: dict[str, str], header: list[str] = HEADER) -> str:
    """A synthetic listing."""
    out = io.StringIO()
    writer = csv.DictWriter(out, header, restval="", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return "\ufeff" + out.getvalue()


BIRCH = {
    "number": "RMD0001410",
    "business_name": "Birch Telecom, Inc.",
    "frn": "0012345678",
    "foreign_voice_provider": "No",
    "country": "United States",
    "other_frns": "0087654321; 99",
    "other_dba_names": "Birch Voice, LLC, BirchTel; N/A",
    "previous_dba_names": "Old Birch d/b/a Bark",
    "implementation": "Complete STIR/SHAKEN Implementation",
    "voice_service_provider_choice": "Yes",
    "gateway_provider_choice": "No",
    "intermediate_provider_choice": "Yes",
    "last_updated": "2026-02-27",
    "last_recertified": "02/27/2026",
}
ELM = {"number": "RMD0002222", "business_name": "Elm Voice", "frn": "0022222222"}


class TestAFiling:
    def test_is_read_with_all_that_the_registry_wants_of_it(self) -> None:
        [row] = read_rmd(listing(BIRCH)).rows
        assert row == RmdRow(
            line=2,
            number="RMD0001410",
            frn="0012345678",
            business_name="Birch Telecom, Inc.",
            dbas=("Birch Voice, LLC", "BirchTel"),
            former=("Old Birch", "Bark"),
            other_frns=("0087654321",),
            country="United States",
            foreign=False,
            voice=True,
            gateway=False,
            intermediate=True,
            implementation="Complete STIR/SHAKEN Implementation",
            updated=date(2026, 2, 27),
            recertified=date(2026, 2, 27),
        )
        assert row.roles == ("voice", "intermediate")

    def test_is_read_by_the_labels_of_the_pages_as_well_and_in_any_order(self) -> None:
        labels = ["Gateway Provider", "Other DBA Name(s)", "FCC Registration Number (FRN)", "PDF", "Business Name"]
        text = listing(
            {labels[4]: "Elm Voice", labels[2]: "22222222", labels[0]: "Yes", labels[1]: "Elmer"}, header=labels
        )
        [row] = read_rmd(text).rows
        assert (row.number, row.frn, row.key, row.gateway, row.dbas) == (
            *(None, "0022222222", "FRN0022222222", True, ("Elmer",)),
        )

    def test_may_have_columns_that_nobody_knows_yet(self) -> None:
        assert "removed_from_rmd" in read_rmd(listing(BIRCH)).ignored

    @pytest.mark.parametrize(
        ("spoilt", "why"),
        [
            ({"number": "RMD141"}, "rmd: no RMD"),
            ({"frn": "twelve"}, "frn: no FRN"),
            ({"number": "", "frn": ""}, "neither number nor frn"),
            ({"business_name": "N/A"}, "business_name"),
            ({"business_name": "x" * 201}, "business_name"),
            ({"gateway_provider_choice": "perhaps"}, "gateway: yes or no"),
            ({"last_updated": "yesterday"}, "updated: no date"),
            ({"frn": "x", "last_updated": "y"}, "updated: no date"),
        ],
    )
    def test_that_is_bad_is_rejected_with_its_line_and_reason_and_the_others_are_taken(
        self, spoilt: dict[str, str], why: str
    ) -> None:
        reading = read_rmd(listing(ELM, BIRCH | spoilt))
        assert [row.key for row in reading.rows] == ["RMD0002222"]
        [rejected] = reading.rejected
        assert rejected.line == 3
        assert any(why in problem for problem in rejected.problems)

    def test_twice_is_taken_once(self) -> None:
        reading = read_rmd(listing(BIRCH, BIRCH))
        assert [row.line for row in reading.rows] == [2]
        assert reading.rejected[0].problems == ("RMD0001410 stands in line 2 already",)

    @pytest.mark.parametrize(
        "text",
        ["", "a,b\n1,2\n", "business_name\nX\n", "business_name,frn,FCC Registration Number (FRN)\nX,1,2\n", '"'],
    )
    def test_is_not_looked_for_in_what_is_no_listing(self, text: str) -> None:
        with pytest.raises(RmdFileError):
            read_rmd(text)

    @settings(max_examples=80, deadline=None)
    @given(st.lists(st.text(alphabet='RMD01,;|"\n\r ny/-', max_size=40), max_size=6))
    def test_is_read_or_rejected_whatever_the_listing_holds(self, rows: list[str]) -> None:
        try:
            reading = read_rmd("number,frn,business_name,other_dba_names,last_updated\n" + "\n".join(rows))
        except RmdFileError:
            return
        lines = [row.line for row in reading.rows] + [rejected.line for rejected in reading.rejected]
        assert len(lines) == len(set(lines))


def take(engine: Engine, *rows: dict[str, str], create: bool = True, days: int = 0) -> object:
    return import_listing(engine, read_rmd(listing(*rows)), "olga", NOW + timedelta(days=days), create=create)


class TestTheImport:
    def test_makes_a_provider_without_agent_of_a_filing_that_is_nobodys(self, either_engine: Engine) -> None:
        report = import_listing(either_engine, read_rmd(listing(BIRCH, ELM)), "olga", NOW)
        assert (report.added, report.providers_added, report.conflicts) == (2, 2, [])
        entry = RegistryBook(either_engine).entry(provider("rmd0001410"))
        assert entry is not None
        assert (entry.provider.name, entry.provider.endpoint) == ("Birch Telecom, Inc.", None)
        assert (entry.reach, entry.roles) == ("person", ("voice", "intermediate"))
        assert {(alias.kind.value, alias.value) for alias in entry.aliases} == {
            ("rmd", "RMD0001410"),
            ("frn", "0012345678"),
            ("frn", "0087654321"),
            ("name", "Birch Telecom, Inc."),
            ("dba", "Birch Voice, LLC"),
            ("dba", "BirchTel"),
            ("former", "Old Birch"),
            ("former", "Bark"),
        }

    def test_leaves_out_who_is_not_known_where_that_is_wanted(self, sqlite_engine: Engine) -> None:
        report = import_listing(sqlite_engine, read_rmd(listing(BIRCH)), "olga", NOW, create=False)
        assert (report.added, report.unknown, report.providers_added) == (1, 1, 0)

    def test_knows_a_provider_by_its_frn_and_learns_its_names(self, sqlite_engine: Engine) -> None:
        book = RegistryBook(sqlite_engine)
        for kind, value in (("add", "Birch"), ("alias", "frn:0012345678")):
            book.apply(parse_change(provider("birch"), kind, value), "olga", NOW)
        report = import_listing(sqlite_engine, read_rmd(listing(BIRCH)), "olga", NOW)
        assert report.providers_added == 0
        assert book.holder(AliasKind.RMD, "RMD0001410", NOW) == "birch"
        entry = book.entry(provider("birch"))
        assert entry is not None
        assert entry.provider.name == "Birch"  # what the operator calls it stays

    def test_again_changes_nothing(self, either_engine: Engine) -> None:
        take(either_engine, BIRCH, ELM)
        before = RegistryBook(either_engine).aliases()
        report = import_listing(either_engine, read_rmd(listing(BIRCH, ELM)), "olga", NOW + timedelta(days=1))
        assert (report.added, report.changed, report.unchanged, report.gone) == (0, 0, 2, 0)
        assert RegistryBook(either_engine).aliases() == before

    def test_of_a_new_business_name_keeps_the_old_one_as_a_former_name(self, sqlite_engine: Engine) -> None:
        take(sqlite_engine, BIRCH)
        take(sqlite_engine, BIRCH | {"business_name": "Birch Global"}, days=1)
        [first, *_] = RegistryBook(sqlite_engine).index().suggest("Birch Telecom", NOW)
        assert first.provider == "rmd0001410"
        entry = RegistryBook(sqlite_engine).entry(provider("rmd0001410"))
        assert entry is not None
        assert (AliasKind.FORMER, "Birch Telecom, Inc.") in [(a.kind, a.value) for a in entry.aliases]

    def test_marks_what_is_no_longer_listed_and_what_is_listed_again(self, sqlite_engine: Engine) -> None:
        take(sqlite_engine, BIRCH, ELM)
        assert import_listing(sqlite_engine, read_rmd(listing(BIRCH)), "o", NOW + timedelta(days=1)).gone == 1
        assert import_listing(sqlite_engine, read_rmd(listing(BIRCH)), "o", NOW + timedelta(days=2)).gone == 0
        with sqlite_engine.connect() as connection:
            gone = {row.key: row.gone_at for row in connection.execute(select(rmd_filings))}
        assert gone == {"RMD0001410": None, "RMD0002222": NOW + timedelta(days=1)}
        report = import_listing(sqlite_engine, read_rmd(listing(BIRCH, ELM)), "o", NOW + timedelta(days=3))
        assert (report.changed, report.unchanged) == (1, 1)

    def test_tells_a_conflict_where_number_and_frn_are_of_two_providers(self, sqlite_engine: Engine) -> None:
        book = RegistryBook(sqlite_engine)
        for name, alias in (("birch", "frn:0012345678"), ("alder", "rmd:RMD0001410")):
            book.apply(parse_change(provider(name), "add", name), "olga", NOW)
            book.apply(parse_change(provider(name), "alias", alias), "olga", NOW)
        report = import_listing(sqlite_engine, read_rmd(listing(BIRCH)), "olga", NOW)
        assert report.conflicts == [(2, "its number and its FRN are of two providers: alder, birch")]
        assert book.holder(AliasKind.FRN, "0012345678", NOW) == "birch"

    def test_leaves_a_further_frn_where_it_is_and_says_so(self, sqlite_engine: Engine) -> None:
        report = import_listing(sqlite_engine, read_rmd(listing(ELM, BIRCH | {"other_frns": ELM["frn"]})), "olga", NOW)
        assert report.conflicts == [(3, "FRN 0022222222 is rmd0002222's")]

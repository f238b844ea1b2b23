"""`registry` on the command line: two operators, suggestions, the listing; what people and programs see."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.coordinator.house import House
from tests.coordinator.test_rmd import BIRCH, ELM, listing


@pytest.fixture
def house(sqlite_engine: Engine, tmp_path: Path) -> House:
    sqlite_engine.dispose()
    return House(tmp_path)


def proposed(house: House, *arguments: str) -> str:
    """The id of a proposal."""
    found = re.search(r"confirm ([0-9a-f]{8})", house.run("registry", "propose", *arguments, "--as", "olga").stdout)
    assert found
    return found[1]


class TestTwoOperators:
    def test_make_a_change_together(self, house: House) -> None:
        house.run("registry", "confirm", proposed(house, "birch", "add", "Birch Telecom"), "--as", "pete")
        house.run("registry", "confirm", proposed(house, "birch", "contact", "noc@birch.example"), "--as", "pete")
        shown = house.json("registry", "show", "birch")
        assert (shown["name"], shown["contacts"]) == (
            "Birch Telecom",
            [{"email": "noc@birch.example", "escalation": None}],
        )
        assert "contact" in house.run("registry", "show", "birch").stdout

    def test_are_not_one_and_the_same(self, house: House) -> None:
        result = house.run("registry", "confirm", proposed(house, "birch", "add", "Birch"), "--as", "OLGA", code=1)
        assert "another operator" in result.output

    def test_see_what_waits_and_may_reject_it(self, house: House) -> None:
        identity = proposed(house, "birch", "add", "Birch", "--reason", "by phone")
        assert "by phone" in house.run("registry", "proposals").stdout
        house.run("registry", "reject", identity, "--as", "olga")
        assert "Nothing waits" in house.run("registry", "proposals").stdout
        assert [one["state"] for one in house.json("registry", "proposals", "--all")] == ["rejected"]

    def test_are_asked_for_where_the_configuration_says_so(self, house: House, tmp_path: Path) -> None:
        house.configure("[registry]\ntwo_operators = true\n")
        (tmp_path / "p.csv").write_text("id,name\nbirch,Birch\n")
        for command in (("import", str(tmp_path / "p.csv")), ("alias", "birch", "dba:B")):
            assert "two_operators" in house.run("registry", *command, code=1).output

    def test_hear_what_is_wrong(self, house: House) -> None:
        assert "can't be changed" in house.run("registry", "propose", "birch", "colour", "red", code=2).output
        assert "not in the registry" in house.run("registry", "propose", "birch", "name", "B", code=1).output
        assert "no proposal begins" in house.run("registry", "confirm", "ffff", code=2).output


class TestAName:
    def test_brings_suggestions_and_nothing_else(self, house: House, tmp_path: Path) -> None:
        (tmp_path / "p.csv").write_text("id,name\nbirch,Birch Telecom\nalder,Alder\n")
        house.run("registry", "import", str(tmp_path / "p.csv"))
        [found] = house.json("registry", "suggest", "Birch Telecom, Inc.")["suggestions"]
        assert (found["provider"], found["score"], found["why"]) == (
            *("birch", 0.98, "name; the same but for the legal form"),
        )
        assert "0.98" in house.run("registry", "suggest", "Birch Telecom, Inc.").stdout
        assert "Nobody" in house.run("registry", "suggest", "Zzyzx").stdout

    def test_or_number_is_given_to_a_provider(self, house: House, tmp_path: Path) -> None:
        (tmp_path / "p.csv").write_text("id,name\nbirch,Birch Telecom\nalder,Alder\n")
        house.run("registry", "import", str(tmp_path / "p.csv"))
        house.run("registry", "alias", "birch", "frn:12345678")
        assert house.json("registry", "show", "frn:0012345678")["id"] == "birch"
        assert "is birch's" in house.run("registry", "alias", "alder", "frn:12345678", code=1).output
        house.run("registry", "alias", "birch", "frn:12345678", "--end")
        assert "nobody holds" in house.run("registry", "show", "frn:0012345678", code=2).output


class TestTheListing:
    def test_is_taken_in_and_bad_rows_are_named(self, house: House, tmp_path: Path) -> None:
        file = tmp_path / "rmd.csv"
        file.write_text(listing(BIRCH, ELM, {"business_name": "X", "number": "7"}))
        result = house.run("registry", "import-rmd", str(file), code=65)
        assert "rmd.csv:4: rmd: no RMD" in result.stderr
        assert "2 added" in result.stdout
        assert house.json("registry", "show", "rmd:RMD0001410")["name"] == "Birch Telecom, Inc."

    def test_again_says_that_nothing_has_changed(self, house: House, tmp_path: Path) -> None:
        file = tmp_path / "rmd.csv"
        file.write_text(listing(BIRCH, ELM))
        house.run("registry", "import-rmd", str(file))
        assert house.json("registry", "import-rmd", str(file)) == {
            **dict.fromkeys(("added", "changed", "gone", "unknown", "providers_added", "rejected", "conflicts"), 0),
            "unchanged": 2,
        }

    def test_that_is_none_is_refused(self, house: House, tmp_path: Path) -> None:
        file = tmp_path / "rmd.csv"
        file.write_text("a,b\n")
        assert "is it the listing?" in house.run("registry", "import-rmd", str(file), code=65).output

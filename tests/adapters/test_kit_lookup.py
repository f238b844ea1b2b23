"""`hopback-cdr lookup`: who handed a call over, from one file, and the honest words where nobody can be named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agent.kit import main
from agent.scan import user_part
from tests.adapters.commandline import run
from tests.adapters.reading import written

MAPPING = """
format = "delimited"
zone = "UTC"
own_addresses = ["203.0.113.0/24"]
[columns]
called_in = { column = "called", format = "auto" }
called_out = { column = "sent", format = "auto" }
calling = "caller"
seizure = { column = "start", format = "%Y-%m-%d %H:%M:%S" }
ingress_trunk = "in_tg"
ingress_address = { column = "in_ip", bad = "null" }
egress_trunk = "out_tg"
call_id = "id"
disposition = { column = "end", values = { "200" = "answered", "*" = "failed" } }
"""
TABLE = """id,called,sent,caller,start,in_tg,in_ip,out_tg,end
a1,2025550143,,2025550199,2026-11-20 15:00:00,TG-ALDER,192.0.2.1,TG-X,503
a1,2025550143,,2025550199,2026-11-20 15:00:00,TG-ALDER,192.0.2.1,TG-CEDAR,200
b1,2025550144,,2025550198,2026-11-20 15:10:00,TG-ALDER,192.0.2.1,TG-CEDAR,200
b2,2025550144,,2025550197,2026-11-20 15:10:02,TG-BIRCH,192.0.2.2,TG-CEDAR,200
c1,8885550100,2025550145,2025550196,2026-11-20 15:20:00,TG-ALDER,192.0.2.1,TG-CEDAR,200
d1,2025550146,,2025550195,2026-11-20 15:30:00,,203.0.113.7,TG-CEDAR,200
e1,2025550147,,2025550194,2026-11-20 15:40:00,,192.0.2.9,TG-CEDAR,200
f1,100,,2025550193,2026-11-20 15:50:00,TG-ALDER,192.0.2.1,,200
g1,sip:bob@example.net,,alice,2026-11-20 15:55:00,TG-BIRCH,192.0.2.2,,200
"""
TRUNKS = """
[[trunks]]
name = "TG-ALDER"
direction = "ingress"
party = "provider:alder"
[[trunks]]
name = "TG-BIRCH"
direction = "both"
party = "customer:7011"
[[trunks]]
name = "TG-CEDAR"
direction = "egress"
party = "provider:cedar"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path, TABLE, "calls.csv")


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    return written(tmp_path, MAPPING, "switch.toml")


@pytest.fixture
def trunks(tmp_path: Path) -> Path:
    return written(tmp_path, TRUNKS, "trunks.toml")


def asked(file: Path, mapping: Path, called: str, at: str, *more: object) -> Any:
    result = run("lookup", file, "--mapping", mapping, "--called", called, "--at", f"2026-11-20T{at}Z", "--json", *more)
    assert result.exit_code in (0, 1), result.output
    told = json.loads(result.stdout)
    assert (told["upstream"] is not None) == (result.exit_code == 0)
    assert "55501" not in result.output
    return told


def came_in(told: Any) -> list[tuple[str | None, str | None]]:
    return [(route["trunk"], route["address"]) for route in told["upstream"]["came_in_by"]]


class TestWithoutATrunkMap:
    def test_the_trunk_stands_for_the_upstream(self, file: Path, mapping: Path) -> None:
        told = asked(file, mapping, "+12025550143", "15:00:00")
        assert told["outcome"] == "FOUND"
        assert came_in(told) == [("TG-ALDER", "192.0.2.1")]

    def test_rows_of_one_call_are_one_call(self, file: Path, mapping: Path) -> None:
        (call,) = asked(file, mapping, "+12025550143", "15:00:00")["calls"]
        assert call["rows"] == [2, 3]
        assert call["egress"] == ["TG-X", "TG-CEDAR"]
        assert call["dispositions"] == ["answered", "failed"]

    def test_two_calls_from_two_sides_are_ambiguous_and_nobody_is_named(self, file: Path, mapping: Path) -> None:
        told = asked(file, mapping, "+12025550144", "15:10:01")
        assert told["outcome"] == "AMBIGUOUS"
        assert told["upstream"] is None
        assert {call["ingress_trunk"] for call in told["calls"]} == {"TG-ALDER", "TG-BIRCH"}
        assert all("another upstream" in call["why"] for call in told["calls"])

    def test_the_calling_number_tells_them_apart(self, file: Path, mapping: Path) -> None:
        told = asked(file, mapping, "+12025550144", "15:10:01", "--calling", "+12025550197")
        assert (told["outcome"], came_in(told)) == ("FOUND", [("TG-BIRCH", "192.0.2.2")])

    def test_a_number_that_changed_here_is_found_by_both_its_forms(self, file: Path, mapping: Path) -> None:
        sent = asked(file, mapping, "+12025550145", "15:20:00")
        received = asked(file, mapping, "+18885550100", "15:20:00")
        assert sent["number_changed_here"]
        assert came_in(sent) == came_in(received) == [("TG-ALDER", "192.0.2.1")]

    def test_our_own_gateway_is_never_the_upstream(self, file: Path, mapping: Path) -> None:
        told = asked(file, mapping, "+12025550146", "15:30:00")
        assert told["outcome"] == "UPSTREAM_NOT_RECORDED"
        assert "203.0.113.7" not in json.dumps(told)

    def test_an_address_stands_for_the_upstream_where_there_is_no_trunk(self, file: Path, mapping: Path) -> None:
        assert came_in(asked(file, mapping, "+12025550147", "15:40:00")) == [(None, "192.0.2.9")]

    def test_what_is_not_there_is_not_found_and_the_file_s_times_are_told(self, file: Path, mapping: Path) -> None:
        told = asked(file, mapping, "+12025550143", "20:00:00")
        assert told["outcome"] == "NOT_FOUND"
        assert (
            "2 records of that number lie at other times, the nearest at 2026-11-20T15:00:00.000Z" in told["notes"][0]
        )
        told = asked(file, mapping, "+12025550109", "15:00:00")
        assert "between 2026-11-20T15:00:00.000Z and" in told["notes"][0]
        assert "2 records were rejected and may hold it" in told["notes"][1]


class TestNumbersAsWritten:
    @pytest.mark.parametrize(
        ("called", "at", "trunk"),
        [
            ("100", "15:50:00", "TG-ALDER"),
            ("bob", "15:55:00", "TG-BIRCH"),
            ("sip:BOB@example.org", "15:55:00", "TG-BIRCH"),
        ],
    )
    def test_that_are_no_e164_numbers_are_compared_as_they_are(
        self, file: Path, mapping: Path, called: str, at: str, trunk: str
    ) -> None:
        told = asked(file, mapping, called, at)
        assert (told["outcome"], told["upstream"]["came_in_by"][0]["trunk"]) == ("FOUND", trunk)
        assert "no traceback can ask for it" in told["notes"][0]

    @pytest.mark.parametrize("called", ["10", "1000", "bo", "example.net"])
    def test_are_compared_whole(self, file: Path, mapping: Path, called: str) -> None:
        assert asked(file, mapping, called, "15:50:00")["outcome"] == "NOT_FOUND"

    @pytest.mark.parametrize(
        ("text", "user"),
        [
            ("100", "100"),
            ("sip:100@192.0.2.1:5060;user=phone", "100"),
            ('"Bob" <sip:Bob@example.net>', "bob"),
            ("tel:+12025550143;npdi", "+12025550143"),
            ("*97@realm", "*97"),
            ("", ""),
        ],
    )
    def test_count_by_their_user_part(self, text: str, user: str) -> None:
        assert user_part(text) == user


class TestWithATrunkMap:
    def test_the_provider_is_named(self, file: Path, mapping: Path, trunks: Path) -> None:
        told = asked(file, mapping, "+12025550143", "15:00:00", "--trunks", trunks)
        assert (told["outcome"], told["upstream"]["party"]) == ("UPSTREAM", "provider:alder")

    def test_who_was_named_by_a_neighbour_tells_calls_apart(self, file: Path, mapping: Path, trunks: Path) -> None:
        told = asked(file, mapping, "+12025550143", "15:00:00", "--trunks", trunks, "--named-by", "cedar")
        assert told["outcome"] == "UPSTREAM"
        ask = ("lookup", file, "--mapping", mapping, "--called", "+12025550143", "--at", "2026-11-20T15:00:00Z")
        stranger = run(*ask, "--trunks", trunks, "--named-by", "elm")
        assert stranger.exit_code == 78
        assert "leads to elm" in stranger.stderr

    def test_a_customer_s_call_originated_here(self, file: Path, mapping: Path, trunks: Path) -> None:
        told = asked(file, mapping, "+12025550144", "15:10:02", "--trunks", trunks, "--calling", "+12025550197")
        assert told["outcome"] == "ORIGINATED_HERE"

    def test_a_trunk_that_the_map_lacks_is_unmapped(self, file: Path, mapping: Path, trunks: Path) -> None:
        told = asked(file, mapping, "+12025550147", "15:40:00", "--trunks", trunks)
        assert (told["outcome"], told["upstream"]) == ("UNMAPPED", None)

    def test_a_map_that_is_wrong_is_told_by_line(self, tmp_path: Path, file: Path, mapping: Path) -> None:
        wrong = written(tmp_path, TRUNKS.replace("provider:cedar", "provider:"), "wrong.toml")
        result = run(
            "lookup", file, "--mapping", mapping, "--called", "100", "--at", "2026-11-20T15:00:00Z", "--trunks", wrong
        )
        assert result.exit_code == 78
        assert "line 10:" in result.stderr

    def test_a_neighbour_without_a_map_is_a_mistake(self, file: Path, mapping: Path) -> None:
        result = run(
            "lookup", file, "--mapping", mapping, "--called", "1", "--at", "2026-11-20T15:00:00Z", "--named-by", "elm"
        )
        assert result.exit_code == 2


class TestWithAnAgentsConfiguration:
    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        head = """
[provider]
id = "birch"
[listen]
address = "127.0.0.1:0"
certificate = "birch.crt"
key = "birch.key"
roots = "ca.crt"
coordinators = ["hopback://coordinator/lab"]
[index]
directory = "index"
"""
        columns = MAPPING.replace("[columns]", "[sources.columns]")
        other = columns.replace('"start"', '"begin"')
        sources = (
            f'[[sources]]\nname = "one"\npath = "calls.csv"\n{columns}\n[[sources]]\nname = "two"\npath = "x"\n{other}'
        )
        return written(tmp_path, head + sources + TRUNKS, "agent.toml")

    def test_its_source_for_the_file_and_its_trunks_are_taken(self, file: Path, config: Path) -> None:
        result = run(
            "lookup", file, "--config", config, "--called", "+12025550143", "--at", "2026-11-20T15:00:00Z", "--json"
        )
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["upstream"]["party"] == "provider:alder"

    def test_another_file_needs_the_source_s_name(self, tmp_path: Path, config: Path) -> None:
        file = written(tmp_path, TABLE, "other.csv")
        result = run("inspect", file, "--config", config)
        assert result.exit_code == 78
        assert "--source with one of: one, two" in result.stderr
        assert run("inspect", file, "--config", config, "--source", "one").exit_code == 0
        assert "has no column begin" in run("inspect", file, "--config", config, "--source", "two").stderr

    def test_inspect_lists_what_the_trunk_map_lacks(self, file: Path, config: Path) -> None:
        told = json.loads(run("inspect", file, "--config", config, "--json").stdout)
        assert told["unmapped"] == {
            "ingress": [{"trunk": None, "address": "192.0.2.9", "calls": 1}],
            "egress": [{"trunk": "TG-X", "address": None, "calls": 1}],
        }
        assert "not in the trunk map" in run("inspect", file, "--config", config).stdout

    def test_a_mapping_beside_it_is_refused(self, file: Path, config: Path, mapping: Path) -> None:
        result = run("inspect", file, "--config", config, "--mapping", mapping)
        assert result.exit_code == 78
        assert "not both" in result.stderr


class TestShown:
    def test_tells_the_answer_and_why(self, file: Path, mapping: Path) -> None:
        ask = ("lookup", file, "--mapping", mapping, "--at", "2026-11-20T15:10:01Z", "--called")
        result = run(*ask, "+12025550144")
        assert result.exit_code == 1
        assert result.stdout.startswith("AMBIGUOUS: several calls fit and came from different places")
        assert "TG-BIRCH" in result.stdout
        assert "55501" not in result.stdout

    def test_lets_nothing_in_a_file_steer_the_terminal(self, tmp_path: Path, mapping: Path) -> None:
        file = written(tmp_path, TABLE.replace("TG-ALDER", "TG\x1b[2J"), "evil.csv")
        ask = ["lookup", file, "--mapping", mapping, "--called", "+12025550143", "--at", "2026-11-20T15:00:00Z"]
        result = CliRunner().invoke(main, [str(one) for one in ask], color=True)
        assert result.exit_code == 0
        assert "\x1b[2J" not in result.output

    def test_warns_when_every_call_came_in_by_one_address(self, tmp_path: Path, mapping: Path) -> None:
        rows = "".join(f"x{n},20255501{n:02},,,2026-11-20 15:00:{n:02},,192.0.2.1,,200\n" for n in range(30))
        file = written(tmp_path, TABLE.splitlines()[0] + "\n" + rows, "one.csv")
        told = asked(file, mapping, "+12025550105", "15:00:05")
        assert "is your own gateway" in told["notes"][-1]
        shown = run("inspect", file, "--mapping", mapping).stdout
        assert "every call came in by the same address, 192.0.2.1: is it your own gateway?" in shown

    @pytest.mark.parametrize("option", [("--window", "301s"), ("--at", "2026-11-20T15:00:00"), ("--calling", "100")])
    def test_refuses_what_no_agent_would_take(self, file: Path, mapping: Path, option: tuple[str, str]) -> None:
        ask = ("lookup", file, "--mapping", mapping, "--called", "+12025550143", "--at", "2026-11-20T15:00:00Z")
        assert run(*ask, *option).exit_code == 2


class TestOneOffFiles:
    def test_need_no_mapping_when_the_format_brings_its_columns(self, tmp_path: Path) -> None:
        lines = (
            "Nov 20 15:00:00 sbc kamailio[1]: NOTICE: acc [acc.c:1]: acc_log_request(): ACC: transaction answered: "
            "timestamp=1795186800;method=INVITE;from_tag=a;to_tag=b;call_id=c1;code=200;reason=OK;src_user=2025550199;"
            "src_ip=192.0.2.7;dst_user=2025550143\n"
        )
        file = written(tmp_path, lines, "acc.log")
        result = run("lookup", file, "--called", "+12025550143", "--at", "2026-11-20T15:00:00Z", "--json")
        assert came_in(json.loads(result.stdout)) == [(None, "192.0.2.7")]

    def test_take_zone_format_and_options_from_the_command_line(self, tmp_path: Path, file: Path) -> None:
        mapping = written(tmp_path, MAPPING.replace('zone = "UTC"\n', ""), "nozone.toml")
        semicolons = written(tmp_path, TABLE.replace(",", ";"), "semicolons.csv")
        ask = ("inspect", semicolons, "--mapping", mapping, "--json")
        assert run(*ask).exit_code == 78
        zoned = run(*ask, "--zone", "America/New_York", "--option", "delimiter=;")
        assert json.loads(zoned.stdout)["earliest"] == "2026-11-20T20:00:00.000Z"
        assert run(*ask, "--zone", "Mars/Olympus").exit_code == 78
        assert run(*ask, "--option", "delimiter").exit_code == 2
        assert run("inspect", file, "--mapping", mapping, "--zone", "UTC", "--option", "delimter=;").exit_code == 78

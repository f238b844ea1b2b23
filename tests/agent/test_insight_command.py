"""`stats`, `segments`, `trunks` and `coverage` as an operator or a monitor runs them."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.agent.commandline import HEAD, HOUR, agent, call, provider, said, told

COMMANDS = ["stats", "segments", "trunks", "coverage"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two switches; one has an hour without calls, trunks that nobody mapped, and a file that was delivered twice."""
    tmp_path = tmp_path_factory.mktemp("provider")
    config = provider(tmp_path, "east", "west")
    east = [call(number, number) for number in range(60)]
    east += [call(number, number + 60) for number in range(60, 240)]
    east += [call(300, 250, in_tg="IN-NEW"), call(301, 260, in_tg="IN-NEW", out_tg="OUT-NEW")]
    east += [call(302, 270, in_tg="", in_ip="203.0.113.9"), call(303, 280, in_tg="", in_ip="192.0.2.7")]
    east += [call(304, 290, in_tg="", in_ip="")]
    (tmp_path / "east" / "a.csv").write_text(HEAD + "".join(east))
    (tmp_path / "east" / "again.csv").write_text(HEAD + "".join(reversed(east)))
    (tmp_path / "west" / "b.csv").write_text(HEAD + call(7, 3))
    assert agent("index", config).exit_code == 0
    return config


@pytest.fixture
def config(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / made.name


class TestStats:
    def test_tells_how_large_the_index_is(self, config: Path) -> None:
        found = told("stats", config)
        assert found["records"] == 2 * 245 + 1
        assert found["files"] == 3
        assert set(found["sources"]) == {"east", "west"}
        assert found["total"]["segments"] == sum(source["segments"] for source in found["sources"].values())
        segments = config.parent / "index" / "segments"
        assert found["disk"]["segments"] == sum(path.stat().st_size for path in segments.iterdir())
        assert found["disk"]["manifest"] >= (config.parent / "index" / "MANIFEST").stat().st_size
        needed = found["disk"]["segments"] + found["disk"]["manifest"] + found["disk"]["secrets"]
        assert found["bytes_a_call"] == pytest.approx(needed / found["total"]["calls"])
        assert 0 < found["memory"]["held_of_segments"] < found["memory"]["resident"]

    def test_shows_it_as_a_table(self, config: Path) -> None:
        result = agent("stats", config)
        assert result.exit_code == 0
        for part in ("bytes a call", "segments a day", "memory of this process", "east", "west"):
            assert part in said(result)

    def test_of_nothing_is_nothing(self, tmp_path: Path) -> None:
        found = told("stats", provider(tmp_path, "east"))
        assert (found["total"]["calls"], found["bytes_a_call"]) == (0, None)
        assert agent("stats", tmp_path / "agent.toml").exit_code == 0


class TestSegments:
    def test_lists_every_segment_with_its_source_and_day(self, config: Path) -> None:
        found = told("segments", config)
        names = [segment["name"] for segment in found]
        assert names == sorted(path.name for path in (config.parent / "index" / "segments").iterdir())
        assert {segment["source"] for segment in found} == {"east", "west"}
        (west,) = [segment for segment in found if segment["source"] == "west"]
        assert (west["rows"], west["calls"], west["files"]) == (1, 1, 1)
        assert datetime.fromisoformat(west["earliest"]) == HOUR + timedelta(minutes=3)

    def test_of_one_source_alone(self, config: Path) -> None:
        assert {segment["source"] for segment in told("segments", config, "west")} == {"west"}
        assert "west" in said(agent("segments", config, "west"))
        assert agent("segments", config, "nonsense").exit_code == 2


class TestTrunks:
    def test_that_the_map_does_not_know_are_listed_with_their_calls(self, config: Path) -> None:
        found = {(t["direction"], t["trunk"], t["address"]): t for t in told("trunks", config, "--unmapped")}
        assert set(found) == {
            ("ingress", "IN-NEW", None),
            ("ingress", None, "203.0.113.9"),
            ("egress", "OUT-NEW", None),
        }
        new = found["ingress", "IN-NEW", None]
        assert (new["calls"], new["party"], new["sources"]) == (2, "unmapped", ["east"])
        assert datetime.fromisoformat(new["first"]) == HOUR + timedelta(minutes=250)
        assert datetime.fromisoformat(new["last"]) == HOUR + timedelta(minutes=260)

    def test_that_the_map_knows_are_listed_with_their_party(self, config: Path) -> None:
        found = told("trunks", config)
        parties = {(t["trunk"] or t["address"]): (t["party"], t["calls"]) for t in found if t["direction"] == "ingress"}
        assert parties == {
            "IN-ALDER": ("provider:alder", 241),
            "192.0.2.7": ("provider:elm", 1),
            "IN-NEW": ("unmapped", 2),
            "203.0.113.9": ("unmapped", 1),
        }

    def test_are_known_for_as_long_as_the_map_says(self, config: Path) -> None:
        until = HOUR + timedelta(minutes=100)
        text = config.read_text().replace(
            'party = "provider:alder"', f'party = "provider:alder"\nvalid_to = {until.isoformat()}'
        )
        config.write_text(text)
        (late,) = [t for t in told("trunks", config, "--unmapped") if t["trunk"] == "IN-ALDER"]
        (early,) = [t for t in told("trunks", config) if t["party"] == "provider:alder"]
        assert late["calls"] + early["calls"] == 241
        assert datetime.fromisoformat(early["last"]) < until <= datetime.fromisoformat(late["first"])

    def test_are_all_known_once_they_are_mapped(self, config: Path) -> None:
        entries = [
            '[[trunks]]\nname = "IN-NEW"\ndirection = "ingress"\nparty = "customer:1"\n',
            '[[trunks]]\nname = "OUT-NEW"\ndirection = "egress"\nparty = "provider:ash"\n',
            '[[trunks]]\naddresses = ["203.0.113.9"]\ndirection = "ingress"\nparty = "provider:fir"\n',
        ]
        config.write_text(config.read_text() + "".join(entries))
        assert told("trunks", config, "--unmapped") == []
        assert "is in the trunk map" in said(agent("trunks", config, "--unmapped"))

    def test_are_shown_as_a_table(self, config: Path) -> None:
        text = said(agent("trunks", config, "--unmapped"))
        for part in ("Not in the trunk map", "IN-NEW", "203.0.113.9", "OUT-NEW"):
            assert part in text
        assert "IN-ALDER" not in text


class TestCoverage:
    def shown(self, config: Path, *args: str) -> dict[str, Any]:
        since = HOUR.isoformat()
        return {s["source"]: s for s in told("coverage", config, "--from", since, *args)["sources"]}

    def test_counts_the_calls_of_every_hour_once(self, config: Path) -> None:
        east = self.shown(config)["east"]
        assert [hour["records"] for hour in east["hours"]] == [60, 0, 60, 60, 65]

    def test_names_gaps_and_how_late_files_came(self, config: Path) -> None:
        shown = self.shown(config)
        (gap,) = shown["east"]["gaps"]
        assert datetime.fromisoformat(gap["from"]) == HOUR + timedelta(hours=1)
        assert gap["expected"] == 60
        late = shown["west"]["lateness"]
        assert 24 * 3600 < late["p50_s"] == late["max_s"] < 49 * 3600

    def test_is_shown_as_a_table_with_the_rule_in_the_help(self, config: Path) -> None:
        text = said(agent("coverage", config, "--from", HOUR.isoformat()))
        for part in ("1 gaps", "no records from", "late p50", "gap"):
            assert part in text
        assert "at least 20 were to be expected" in said(agent("coverage", "--help"))

    def test_names_sources_that_were_never_indexed_or_are_no_longer_configured(self, config: Path) -> None:
        config.write_text(config.read_text().replace('"west"', '"north"').replace("west/", "north/"))
        shown = self.shown(config)
        assert (shown["west"]["configured"], shown["north"]["configured"]) == (False, True)
        assert shown["north"]["watermark"] is None
        text = said(agent("coverage", config))
        assert "not in the configuration" in text
        assert "nothing indexed" in text

    def test_of_one_source_alone(self, config: Path) -> None:
        assert set(self.shown(config, "west")) == {"west"}

    def test_refuses_a_time_that_ends_before_it_begins(self, config: Path) -> None:
        times = "--from", HOUR.isoformat(), "--until", (HOUR - timedelta(hours=1)).isoformat()
        assert agent("coverage", config, *times).exit_code == 2


@pytest.mark.parametrize("command", COMMANDS)
class TestEveryOneOfThem:
    def test_refuses_a_bad_configuration(self, config: Path, command: str) -> None:
        config.write_text("nonsense")
        assert agent(command, config).exit_code == 78

    def test_never_takes_a_broken_index_for_an_empty_one(self, config: Path, command: str) -> None:
        for path in (config.parent / "index" / "segments").iterdir():
            path.write_bytes(b"torn")
        assert agent(command, config).exit_code == 69

    def test_shows_no_number(self, config: Path, command: str) -> None:
        for extra in ((), ("--json",)):
            assert "5550" not in agent(command, config, *extra).output

    def test_helps_with_an_example(self, config: Path, command: str) -> None:
        assert f"hopback-agent {command} /etc/hopback/agent.toml" in agent(command, "--help").output

    def test_takes_texts_of_records_as_they_are(self, config: Path, command: str) -> None:
        name = "[red]\x1b[31mIN"
        (config.parent / "west" / "c.csv").write_text(HEAD + call(8, 9, in_tg=name))
        agent("index", config)
        result = agent(command, config)
        assert "\x1b[31m" not in result.output
        assert command != "trunks" or "[red]" in result.output

"""270 real calls through ten providers' agents as processes: how often was it right? The promise is in the figures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from deploy.lab.accuracy import WAYS, build, main, run_all
from deploy.lab.siplab import agent_tables, topology
from deploy.lab.siplab_tables import LabError
from tests.shared import SIPLAB, needs_siplab

HANDWRITTEN = Path(__file__).parent / "handwritten"
SAME_CALLING = 12
PAIRS = 44
"""Calls that another one to the same number accompanies, less than two seconds apart."""


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return run_all(SIPLAB.resolve(), HANDWRITTEN, None, Console(quiet=True))


@needs_siplab
@pytest.mark.slow
@pytest.mark.timeout(400)
class TestRealCalls:
    @pytest.mark.parametrize("way", [way.name for way in WAYS])
    def test_no_hop_is_ever_wrong_however_it_is_asked(self, report: dict[str, Any], way: str) -> None:
        assert report["ways"][way]["wrong_hops"] == 0, report["ways"][way]["misses"]

    @pytest.mark.parametrize("way", ["as a person would", "2 s early", "2 s late"])
    def test_every_call_that_can_be_told_apart_is_traced_to_its_true_origin(
        self, report: dict[str, Any], way: str
    ) -> None:
        figures = report["ways"][way]
        assert figures["right"] == figures["calls"] - SAME_CALLING
        assert {case for miss in figures["misses"] for case in miss["special"]} >= {"same_calling_number"}

    @pytest.mark.parametrize("way", ["no calling number", "wrong calling number"])
    def test_without_a_true_calling_number_simultaneous_calls_are_ambiguous_and_all_others_right(
        self, report: dict[str, Any], way: str
    ) -> None:
        figures = report["ways"][way]
        assert figures["right"] == figures["calls"] - PAIRS
        assert figures["incomplete"] == {"ambiguous": PAIRS}

    def test_the_report_has_the_figures_of_the_first_way_at_its_top(self, report: dict[str, Any]) -> None:
        first = report["ways"][WAYS[0].name]
        assert {key: report[key] for key in first} == first
        assert {"calls", "right", "wrong_hops", "incomplete", "by_special", "p50_ms", "p99_ms"} <= set(first)


@needs_siplab
class TestConfigurations:
    def test_every_provider_gets_one_from_what_it_knows_of_itself(self, tmp_path: Path) -> None:
        assert len(build(SIPLAB, tmp_path)) == 10

    def test_none_of_them_uses_what_leaks_the_path(self) -> None:
        used = json.dumps([agent_tables(SIPLAB, provider)["sources"] for provider in topology(SIPLAB)])
        for leak in ("src_domain", "via", "record_route", "User-Name", "sip_trace"):
            assert leak not in used

    def test_a_handwritten_one_takes_the_place_of_the_built_one_wherever_its_files_lie(self, tmp_path: Path) -> None:
        text = (HANDWRITTEN / "birch.toml").read_text()
        exact = (SIPLAB / "birch" / "birch_acc.csv").resolve()
        for name, path in (("near", "birch_acc.csv"), ("exact", str(exact))):
            (tmp_path / name).mkdir()
            (tmp_path / name / "birch.toml").write_text(text.replace("birch_acc.csv", path))
            config = build(SIPLAB, tmp_path / f"work-{name}", tmp_path / name)["birch"].read_text()
            assert f'path = "{exact}"' in config

    def test_a_handwritten_one_of_no_provider_or_of_no_toml_is_refused_by_name(self, tmp_path: Path) -> None:
        stray = tmp_path / "brich.toml"
        stray.write_text("")
        with pytest.raises(LabError, match=r"brich\.toml: the lab has no provider brich; there are: alder, birch"):
            build(SIPLAB, tmp_path / "work", tmp_path)
        stray.rename(tmp_path / "birch.toml").write_text("[[sources]\n")
        with pytest.raises(LabError, match=r"birch\.toml is no TOML"):
            build(SIPLAB, tmp_path / "work", tmp_path)

    def test_a_store_that_can_not_be_mapped_gives_way_to_the_capture(self, tmp_path: Path) -> None:
        shutil.copytree(SIPLAB / "pcap", tmp_path / "pcap")
        (tmp_path / "birch").mkdir()
        (tmp_path / "birch" / "birch.csv").write_text("time,colour\n2026-11-21 23:23:27,blue\n")
        birch = next(p for p in topology(SIPLAB) if p["name"] == "birch") | {"store": {"files": ["birch.csv"]}}
        heard: list[str] = []
        tables = agent_tables(tmp_path, birch, heard.append)
        assert [source["format"] for source in tables["sources"]] == ["sip_pcap"]
        assert "called number" in heard[0]

    def test_a_provider_without_store_and_capture_is_refused_by_name(self, tmp_path: Path) -> None:
        with pytest.raises(LabError, match="alder"):
            agent_tables(tmp_path, topology(SIPLAB)[0])


class TestRefusals:
    def test_a_directory_without_topology_is_no_lab(self, tmp_path: Path) -> None:
        (tmp_path / "TRUTH.jsonl").write_text("")
        result = CliRunner().invoke(main, ["--lab", str(tmp_path)])
        assert result.exit_code == 1
        assert "TOPOLOGY.json" in result.output

    def test_a_lab_without_answer_sheet_can_not_be_scored(self, tmp_path: Path) -> None:
        (tmp_path / "TOPOLOGY.json").write_text('{"providers": []}')
        result = CliRunner().invoke(main, ["--lab", str(tmp_path)])
        assert "TRUTH.jsonl" in result.output

"""The documents say what the code does: commands, formats, outcomes, links. To change one alone is red."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import click
import pytest
from pydantic import BaseModel

from agent.cli import main as agent_cli
from agent.kit import main as cdr_cli
from cdr_adapters.kit.facts import facts_of, markdown
from cdr_adapters.mapping import SourceMapping
from cdr_adapters.registry import BUILT_IN
from coordinator.cli import main as coordinator_cli
from coordinator.tracing.chain import Status
from hopback.v1 import lookup_pb2 as pb

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


def text(name: str) -> str:
    return (ROOT / name).read_text()


def commands(group: click.Command, *path: str) -> list[str]:
    """Every command of a command line, as a person types it."""
    if isinstance(group, click.Group):
        return [line for name, sub in group.commands.items() for line in commands(sub, *path, name)]
    return [" ".join(path)]


def test_the_readme_starts_with_the_two_commands() -> None:
    block = re.search(r"```console\n(.*?)```", text("README.md"), re.S)
    assert block is not None
    assert [line.split("#")[0].strip() for line in block[1].splitlines()] == ["make demo", "make test"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert missing == []


@pytest.mark.parametrize(
    ("page", "typed"),
    [
        *(("docs/provider-guide.md", c) for c in commands(agent_cli, "hopback-agent")),
        *(("docs/coordinator-guide.md", c) for c in commands(coordinator_cli, "hopback-coordinator")),
        *(("docs/adapters.md", c) for c in commands(cdr_cli, "hopback-cdr")),
    ],
)
def test_every_command_stands_in_the_guide_of_those_who_type_it(page: str, typed: str) -> None:
    assert typed in text(page)


@pytest.mark.parametrize("enum", [pb.Outcome, pb.Handover, pb.RefusalReason, pb.ErrorReason])
def test_the_protocol_page_names_every_value_that_travels(enum: type) -> None:
    names = [name for name in enum.keys() if not name.endswith("_UNSPECIFIED")]  # type: ignore[attr-defined]  # noqa: SIM118
    assert [name for name in names if name not in text("docs/protocol.md")] == []


@pytest.mark.parametrize("status", Status)
def test_the_coordinators_guide_explains_every_status(status: Status) -> None:
    assert status.value in text("docs/coordinator-guide.md").lower().replace(" ", "_")


def test_the_adapters_page_lists_the_formats_as_they_are() -> None:
    listed = re.search(
        r"<!-- formats: hopback-cdr formats --markdown -->\n(.*?)<!-- end of formats -->",
        text("docs/adapters.md"),
        re.S,
    )
    assert listed is not None
    assert listed[1] == markdown(map(facts_of, sorted(BUILT_IN))), "put in what `hopback-cdr formats --markdown` prints"


def _keys(model: type[BaseModel]) -> set[str]:
    """Every key that a mapping may have, in any of its tables."""
    found = set(model.model_fields)
    for field in model.model_fields.values():
        for part in [field.annotation, *get_args(field.annotation)]:
            if isinstance(part, type) and issubclass(part, BaseModel):
                found |= _keys(part)
    return found


def test_the_adapters_page_explains_every_key_of_a_mapping() -> None:
    reference = text("docs/adapters.md").partition("### The source")[2].partition("## An adapter")[0]
    named = {name for cell in re.findall(r"^\| (.*?) \|", reference, re.M) for name in re.findall(r"`(\w+)`", cell)}
    keys = _keys(SourceMapping)
    assert {"max_call", "zone_unit", "counts"} < keys
    assert keys - named == set()


def test_the_adapters_page_names_the_exit_codes() -> None:
    codes = set(re.findall(r"^\| (\d+) \|", text("docs/adapters.md"), re.M))
    assert codes == {"0", "1", "2", "65", "69", "70", "78"}


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", text("Makefile"), re.M))
    assert set(re.findall(r"`?make ([a-z]+)", text("README.md"))) <= targets


def test_the_threat_model_names_only_tests_that_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+(?:\.py)?)/?`", text("docs/threat-model.md"))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def threats() -> list[list[str]]:
    """The cells of each row of the table of threats."""
    table = text("docs/threat-model.md").split("## Threats")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:3] == "| *"]
    assert rows, "the table of threats is gone"
    return rows


NAMED_THREATS = (
    "curious coordinator, stolen online key, lying provider, colluding neighbours, insider, network, enumeration, "
    "replay, correlation, size and timing, stolen disk, forged or backdated records, hostile files, clocks, "
    "denial of service, log deletion, malicious update"
)


@pytest.mark.parametrize("threat", NAMED_THREATS.split(", "))
def test_the_threat_model_has_a_row_for_every_threat(threat: str) -> None:
    assert any(threat in row[0] for row in threats())


@pytest.mark.parametrize("row", threats(), ids=lambda row: row[0])
def test_every_threat_names_its_defence_and_the_tests_that_prove_it(row: list[str]) -> None:
    assert len(row) == 4
    assert row[1], "no defence"
    named = re.findall(r"`(tests/[^`]+)`", row[3])
    assert named, "no test proves it"
    for reference in named:
        path, *names = reference.split("::")
        source = (ROOT / path).read_text()
        missing = [name for name in names if not re.search(rf"^ *(class|def|async def) {name}\b", source, re.M)]
        assert missing == [], reference

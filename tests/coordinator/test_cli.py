"""The command line, whole: a coordinator made by `init`, agents over real mutual TLS, what people and programs see."""

from __future__ import annotations

import asyncio
import csv
import json
import re
import shutil
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from coordinator.authority.lab_ca import LabAuthority
from coordinator.cli import main
from protos.errors import Fault
from protos.types import Answer, ErrorReason, Handover, Outcome, Question
from tests.coordinator.fake_agent import Behaviour, FakeAgent, never, served
from tests.coordinator.make import CALLED, CALLING, TOLL_FREE, says, upstream

AT = "2026-11-20T18:03:11Z"
TRACE = ("trace", "--called", CALLED, "--at", AT, "--terminating", "ginkgo")


def run(directory: Path, *arguments: str) -> Result:
    """One command in `directory`; what traces calls does so with both persons' keys, as in a lab."""
    if arguments[:1] in (("trace",), ("import",)):
        people = directory / "people"
        keys = ("--submit-key", str(people / "ann.key"), "--approve-key", str(people / "bob.key"))
        arguments = (*arguments, *keys)
    return CliRunner().invoke(main, arguments, env={"HOPBACK_COORDINATOR_CONFIG": str(directory / "coordinator.toml")})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A coordinator as `init` makes it, with short pauses; the tests copy its registry for themselves."""
    directory = tmp_path_factory.mktemp("coordinator")
    result = CliRunner().invoke(main, ["init", str(directory)])
    assert result.exit_code == 0, result.output
    file = directory / "coordinator.toml"
    text = file.read_text()
    text = text.replace('attempt_timeout = "10s"', 'attempt_timeout = "300ms"').replace('"500ms"', '"10ms"')
    text = text.replace('unanswered = "15m"', 'unanswered = "0s"')
    file.write_text(text)
    return directory


Industry = Callable[..., Awaitable["Lab"]]


class Lab:
    """Agents that are running, and the coordinator that knows them."""

    def __init__(self, directory: Path, agents: dict[str, FakeAgent], authority: LabAuthority) -> None:
        self.directory = directory
        self.agents = agents
        self.authority = authority

    async def run(self, *arguments: str) -> Result:
        """One command, beside the agents."""
        return await asyncio.to_thread(run, self.directory, *arguments)

    async def json(self, *arguments: str) -> Any:
        """The JSON that one command writes."""
        result = await self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
async def industry(prepared: Path, tmp_path: Path) -> AsyncIterator[Industry]:
    """Start agents that behave as given, and register them with a coordinator of their own."""
    async with AsyncExitStack() as stack:

        async def start(
            *, without_agent: tuple[str, ...] = (), down: tuple[str, ...] = (), **behaviours: Behaviour
        ) -> Lab:
            shutil.copytree(prepared / "people", tmp_path / "people")
            for name in prepared.iterdir():
                if name.is_file() and not name.name.startswith("coordinator.db"):
                    (tmp_path / name.name).write_bytes(name.read_bytes())
                    (tmp_path / name.name).chmod(name.stat().st_mode)
            assert run(tmp_path, "migrate").exit_code == 0
            authority = LabAuthority.open(prepared / "ca")
            agents = {name: FakeAgent(name, behaviour) for name, behaviour in behaviours.items()}
            for agent in agents.values():
                await stack.enter_async_context(served(agent, authority))
            with (tmp_path / "registry.csv").open("w", newline="") as file:
                rows = csv.writer(file)
                rows.writerow(["id", "name", "endpoint"])
                rows.writerows([agent.name, agent.name.title(), agent.endpoint] for agent in agents.values())
                rows.writerows([name, name.title(), ""] for name in without_agent)
                rows.writerows([name, name.title(), "127.0.0.1:1"] for name in down)
            assert run(tmp_path, "registry", "import", str(tmp_path / "registry.csv")).exit_code == 0
            return Lab(tmp_path, agents, authority)

        yield start


ORIGIN = {
    "ginkgo": upstream("ginkgo", "birch", ask_called=TOLL_FREE),
    "birch": upstream("birch", "alder", correction_s=-3, handover=Handover.CONFIRMED),
    "alder": says("alder", Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED),
}


class TestTrace:
    async def test_follows_the_chain_to_the_origin_and_says_what_to_do_next(self, industry: Industry) -> None:
        lab = await industry(**ORIGIN)
        result = await lab.run(*TRACE)
        assert result.exit_code == 0
        lines = result.stdout.splitlines()
        assert re.search(r"terminating +ginkgo +came from birch; called number changed here", lines[1])
        assert re.search(
            r"intermediate +birch +came from alder; confirms the handover to ginkgo; clock differs by -3 s", lines[2]
        )
        assert re.search(r"originating +alder +placed by a customer of this provider", lines[3])
        assert lines[4] == "Origin found"
        assert "Ask alder who the customer is" in result.stdout

    async def test_shows_no_telephone_number_unless_asked_to(self, industry: Industry) -> None:
        lab = await industry(**ORIGIN)
        result = await lab.run(*TRACE, "--calling", CALLING)
        for hidden in (CALLED, CALLING, TOLL_FREE):
            assert hidden[1:] not in result.output
        assert CALLED in (await lab.run(*TRACE, "--show-numbers")).stdout

    async def test_in_json_tells_everything_about_every_hop(self, industry: Industry) -> None:
        lab = await industry(**ORIGIN)
        traced = await lab.json(*TRACE, "--calling", CALLING)
        assert (traced["status"], traced["origin"], traced["gateway"]) == ("origin_found", "alder", None)
        assert (traced["called"], traced["at"], traced["calling"]) == (CALLED, "2026-11-20T18:03:11.000Z", CALLING)
        assert [hop["provider"] for hop in traced["hops"]] == ["ginkgo", "birch", "alder"]
        assert [hop["role"] for hop in traced["hops"]] == ["terminating", "intermediate", "originating"]
        assert [hop["outcome"] for hop in traced["hops"]] == ["UPSTREAM", "UPSTREAM", "ORIGINATED_HERE"]
        assert [hop["upstream"] for hop in traced["hops"]] == ["birch", "alder", None]
        assert [hop["handover"] for hop in traced["hops"]] == [None, "CONFIRMED", "CONFIRMED"]
        assert [hop["asked_called"] for hop in traced["hops"]] == [CALLED, TOLL_FREE, TOLL_FREE]
        assert traced["hops"][2]["at"] == "2026-11-20T18:03:08.000Z"
        assert all(hop["took_ms"] > 0 for hop in traced["hops"])

    async def test_names_in_json_the_very_questions_that_the_agents_got(self, industry: Industry) -> None:
        lab = await industry(**ORIGIN)
        traced = await lab.json(*TRACE)
        for hop in traced["hops"]:
            [question] = lab.agents[hop["provider"]].asked
            assert str(question.question_id) == hop["question_id"]
            assert question.named_by == hop["named_by"]

    async def test_ends_at_the_gateway_of_a_call_from_abroad(self, industry: Industry) -> None:
        lab = await industry(ginkgo=upstream("ginkgo", "birch"), birch=says("birch", Outcome.FOREIGN_UPSTREAM))
        traced = await lab.json(*TRACE)
        assert (traced["status"], traced["gateway"], traced["hops"][-1]["role"]) == (
            "gateway_found",
            "birch",
            "gateway",
        )
        assert traced["hops"][-1]["upstream"] == "foreign-one"

    async def test_keeps_both_answers_of_a_dispute_and_accuses_nobody(self, industry: Industry) -> None:
        lab = await industry(ginkgo=upstream("ginkgo", "birch"), birch=says("birch", Outcome.NOT_FOUND))
        result = await lab.run(*TRACE)
        assert "Disputed" in result.stdout
        assert "nobody is accused" in result.stdout
        [listed] = await lab.json("list")
        assert [hop["outcome"] for hop in (await lab.json("show", listed["id"]))["hops"]] == ["UPSTREAM", "NOT_FOUND"]

    async def test_sees_a_loop(self, industry: Industry) -> None:
        lab = await industry(
            ginkgo=upstream("ginkgo", "birch"), birch=upstream("birch", "alder"), alder=upstream("alder", "birch")
        )
        traced = await lab.json(*TRACE)
        assert traced["status"] == "loop"
        assert [hop["provider"] for hop in traced["hops"]] == ["ginkgo", "birch", "alder", "birch"]

    async def test_stops_at_the_hop_limit(self, industry: Industry) -> None:
        lab = await industry(**ORIGIN)
        traced = await lab.json(*TRACE, "--hop-limit", "2")
        assert (traced["status"], len(traced["hops"])) == ("hop_limit", 2)
        assert "alder would be next" in traced["means"]

    async def test_leaves_a_provider_without_an_agent_to_a_person(self, industry: Industry) -> None:
        lab = await industry(ginkgo=upstream("ginkgo", "birch"), without_agent=("birch",))
        traced = await lab.json(*TRACE)
        assert (traced["status"], traced["hops"][-1]["problem"]) == ("no_agent", "no_agent")
        assert "A person at birch is asked: `hopback-coordinator run` puts the task" in traced["next"]

    async def test_says_how_that_person_is_asked_and_it_is_so(self, industry: Industry) -> None:
        lab = await industry(ginkgo=upstream("ginkgo", "birch"), without_agent=("birch",))
        said = " ".join((await lab.run(*TRACE)).stdout.split())
        assert "`hopback-coordinator tasks run` does so at once; see `hopback-coordinator tasks list`" in said
        assert await lab.json("tasks", "list") == []
        assert (await lab.json("tasks", "run"))["put"] == 1
        [task] = await lab.json("tasks", "list")
        assert (task["provider"], task["state"]) == ("birch", "open")
        [traced] = await lab.json("list")
        assert traced["status"] == "awaiting_person"

    async def test_tells_apart_an_upstream_that_nobody_registered(self, industry: Industry) -> None:
        lab = await industry(ginkgo=upstream("ginkgo", "birch"))
        assert (await lab.json(*TRACE))["hops"][-1]["problem"] == "unregistered"


class TestAnAgentInTrouble:
    async def test_that_is_down_is_non_responsive_and_can_be_asked_again_when_it_is_back(
        self, industry: Industry
    ) -> None:
        lab = await industry(ginkgo=upstream("ginkgo", "birch"), birch=ORIGIN["birch"], down=("alder",))
        traced = await lab.json(*TRACE)
        assert (traced["status"], traced["hops"][-1]["problem"]) == ("non_responsive", "unreachable")
        assert "Connection refused" in traced["means"]
        alder = FakeAgent("alder", ORIGIN["alder"])
        async with served(alder, lab.authority):
            back = lab.directory / "back.csv"
            back.write_text(f"id,name,endpoint\nalder,Alder,{alder.endpoint}\n")
            assert (await lab.run("registry", "import", "--replace", str(back))).exit_code == 0
            again = await lab.json("retry", traced["id"])
        assert (again["status"], again["origin"], again["hops"][-1]["round"]) == ("origin_found", "alder", 2)

    async def test_that_is_slow_is_non_responsive_after_three_attempts(self, industry: Industry) -> None:
        lab = await industry(ginkgo=never)
        traced = await lab.json(*TRACE)
        assert (traced["status"], traced["hops"][-1]["problem"]) == ("non_responsive", "timed_out")
        assert lab.agents["ginkgo"].calls == 3
        assert len({question.question_id for question in lab.agents["ginkgo"].asked}) == 1

    async def test_that_answers_nonsense_is_told_so_and_the_chain_so_far_is_kept(self, industry: Industry) -> None:
        lab = await industry(ginkgo=upstream("ginkgo", "birch"), birch=b"\xff\xfe\xfd")
        traced = await lab.json(*TRACE)
        assert (traced["status"], traced["hops"][-1]["problem"]) == ("bad_answer", "bad_answer")
        assert traced["hops"][0]["upstream"] == "birch"

    async def test_with_another_partys_certificate_is_asked_nothing(self, industry: Industry) -> None:
        lab = await industry(ginkgo=ORIGIN["ginkgo"], alder=ORIGIN["alder"])
        wrong = lab.directory / "wrong.csv"
        wrong.write_text(f"id,name,endpoint\nbirch,Birch,{lab.agents['alder'].endpoint}\n")
        await lab.run("registry", "import", str(wrong))
        traced = await lab.json(*TRACE)
        assert traced["status"] == "non_responsive"
        assert "another party's certificate, not that of birch" in traced["means"]
        assert lab.agents["alder"].calls == 0

    async def test_that_does_not_accept_the_coordinator_is_refusing(self, industry: Industry) -> None:
        lab = await industry(ginkgo=Fault(ErrorReason.NOT_A_COORDINATOR, "not on the list"))
        traced = await lab.json(*TRACE)
        assert traced["status"] == "refused"
        assert "does not accept this coordinator" in traced["means"]

    async def test_whose_records_are_not_in_yet_is_resumed_later(self, industry: Industry) -> None:
        lab = await industry(ginkgo=says("ginkgo", Outcome.NOT_YET_AVAILABLE, retry_after_s=3600))
        traced = await lab.json(*TRACE)
        assert traced["status"] == "not_yet_available"
        assert traced["due"] is not None
        assert "resume" in traced["next"]
        resumed = await lab.json("resume")
        assert resumed["status"] == "not_yet_available"
        assert lab.agents["ginkgo"].calls == 1
        assert "Records not in yet" in (await lab.run("resume", traced["id"][:8])).stdout


class TestBadInput:
    @pytest.mark.parametrize(
        ("option", "value", "why"),
        [
            ("--called", "2025550143", "not an E.164 number"),
            ("--called", "+1202555014x", "not an E.164 number"),
            ("--at", "2026-11-20T18:03:11", "says no zone"),
            ("--at", "20/11/2026", "not a time"),
            ("--at", "2099-01-01T00:00:00Z", "lies in the future"),
            ("--at", "0001-01-01T00:00:00+14:00", "not a time"),
            ("--terminating", "maple", "not in the registry"),
            ("--terminating", "No Such", "no provider id"),
            ("--calling", "anonymous", "not an E.164 number"),
            ("--window", "301s", "wider than the 300 s"),
            ("--window", "0s", "empty"),
            ("--window", "wide", "no duration"),
        ],
    )
    async def test_is_refused_with_its_reason_and_nothing_is_stored(
        self, industry: Industry, option: str, value: str, why: str
    ) -> None:
        lab = await industry(ginkgo=ORIGIN["ginkgo"])
        result = await lab.run(*TRACE, option, value)
        assert result.exit_code == 2
        assert f"{option}: " in result.stderr
        assert why in result.stderr
        assert await lab.json("list") == []

    async def test_is_named_all_at_once(self, industry: Industry) -> None:
        lab = await industry(ginkgo=ORIGIN["ginkgo"])
        result = await lab.run(*TRACE, "--called", "1", "--at", "now", "--window", "1h")
        assert [line.split(":")[0].strip() for line in result.stderr.splitlines()[-3:]] == [
            "--called",
            "--at",
            "--window",
        ]

    async def test_never_has_its_number_repeated(self, industry: Industry) -> None:
        lab = await industry(ginkgo=ORIGIN["ginkgo"])
        result = await lab.run(
            *TRACE, "--called", "2025550143", "--calling", "x2025550199", "--terminating", "+12025550143"
        )
        assert result.exit_code == 2
        assert "555" not in result.output

    @pytest.mark.parametrize("name", ["", "zzz", "00000000"])
    async def test_of_an_unknown_id_says_where_to_look(self, industry: Industry, name: str) -> None:
        lab = await industry(ginkgo=ORIGIN["ginkgo"])
        result = await lab.run("show", name)
        assert result.exit_code == 2
        assert "hopback-coordinator list" in result.stderr

    async def test_retrying_what_can_not_change_is_refused(self, industry: Industry) -> None:
        lab = await industry(**ORIGIN)
        traced = await lab.json(*TRACE)
        result = await lab.run("retry", traced["id"])
        assert result.exit_code == 2
        assert "origin found" in result.stderr


class TestImport:
    async def test_traces_every_call_and_says_how_they_ended(self, industry: Industry) -> None:
        lab = await industry(**ORIGIN, without_agent=("elm",))
        calls = lab.directory / "calls.csv"
        calls.write_text(
            "called,at,calling,terminating\n"
            + "".join(f"+120255501{i:02},{AT},,ginkgo\n" for i in range(20))
            + f"{CALLED},{AT},{CALLING},elm\n"
        )
        result = await lab.run("import", str(calls))
        assert result.exit_code == 0
        assert re.search(r"origin found +20 +95\.2 %", result.stdout)
        assert re.search(r"no agent +1 +4\.8 %", result.stdout)
        assert "21 calls traced." in result.stdout
        assert "Without an agent, so that a person is asked: 1; `hopback-coordinator run` puts" in result.stdout
        assert len(await lab.json("list", "--limit", "100")) == 21

    async def test_asks_a_provider_many_questions_at_once(self, industry: Industry) -> None:
        lab = await industry(**ORIGIN)
        calls = lab.directory / "calls.csv"
        calls.write_text("called,at,terminating\n" + "".join(f"+120255501{i:02},{AT},ginkgo\n" for i in range(50)))
        await lab.run("import", str(calls))
        for agent in lab.agents.values():
            assert len(agent.asked) == 50
            assert agent.calls < 10

    async def test_in_json_writes_one_line_a_call_with_the_line_that_it_came_from(self, industry: Industry) -> None:
        lab = await industry(**ORIGIN)
        calls = lab.directory / "calls.csv"
        calls.write_text("called,at,terminating\n" + "".join(f"+120255501{i:02},{AT},ginkgo\n" for i in range(5)))
        result = await lab.run("import", str(calls), "--json")
        traced = [json.loads(line) for line in result.stdout.splitlines()]
        assert sorted((one["line"], one["called"]) for one in traced) == [
            (i + 2, f"+120255501{i:02}") for i in range(5)
        ]
        assert {one["origin"] for one in traced} == {"alder"}

    async def test_has_a_call_that_was_ambiguous_settled_by_its_sister(self, industry: Industry) -> None:
        def birch(question: Question) -> Answer:
            told = question.at.second == 16 or (question.authority is not None and question.authority.sisters)
            return ORIGIN["birch"] if told else says("birch", Outcome.AMBIGUOUS)

        lab = await industry(**{**ORIGIN, "ginkgo": upstream("ginkgo", "birch"), "birch": birch})
        lab.agents["ginkgo"].tells_apart = True
        calls = lab.directory / "calls.csv"
        calls.write_text(f"called,at,terminating\n{CALLED},{AT},ginkgo\n{CALLED},{AT.replace(':11', ':16')},ginkgo\n")
        result = await lab.run("import", str(calls), "--json")
        traced = {one["line"]: one for one in map(json.loads, result.stdout.splitlines())}
        assert [one["status"] for one in traced.values()] == ["origin_found"] * 2
        assert traced[2]["hops"][1]["sisters"] == [traced[3]["id"]]
        assert len(result.stdout.splitlines()) == 2
        shown = (await lab.run("show", traced[2]["id"][:8])).stdout
        settled = f"asked again without {traced[3]['id'][:8]}, which are certainly others, it names alder."
        assert settled in " ".join(shown.split())

    async def test_names_every_row_that_can_not_be_traced_and_traces_the_others(self, industry: Industry) -> None:
        lab = await industry(**ORIGIN)
        calls = lab.directory / "calls.csv"
        calls.write_text(
            "called,at,calling,terminating,window\n"
            f"{CALLED},{AT},,ginkgo,\n"
            f"2025550143,2026-11-20 18:03:11,,maple,\n"
            f"{CALLED},{AT},,ginkgo,1h\n"
            f"{CALLED},{AT},,ginkgo\n"
            "\n"
            f"{CALLED},{AT},,ginkgo,5m\n"
        )
        result = await lab.run("import", str(calls))
        assert result.exit_code == 65
        errors = [line.removeprefix(f"{calls}:") for line in result.stderr.splitlines()]
        assert errors[0].startswith("3: called: not an E.164 number")
        assert "at: the time says no zone" in errors[0]
        assert "terminating: 'maple' is not in the registry" in errors[0]
        assert errors[1].startswith("4: window: the window is wider")
        assert errors[2] == "5: 4 fields where the header names 5"
        assert "2 calls traced, 3 rows rejected." in result.stdout

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("called,when\n", "it lacks at, terminating"),
            (f"called,at,terminating,secret\n{CALLED},{AT},ginkgo,x\n", "secret is not known"),
            ("", "it lacks called"),
            ("called,at,terminating,at\n", "a column twice"),
        ],
    )
    async def test_of_a_file_that_is_none_of_calls_traces_nothing(
        self, industry: Industry, text: str, why: str
    ) -> None:
        lab = await industry(**ORIGIN)
        (lab.directory / "calls.csv").write_text(text)
        result = await lab.run("import", str(lab.directory / "calls.csv"))
        assert result.exit_code == 65
        assert why in result.stderr

    async def test_of_a_file_that_is_no_text_is_refused(self, industry: Industry) -> None:
        lab = await industry(**ORIGIN)
        (lab.directory / "calls.csv").write_bytes(b"\xff\xfe\x00\x01")
        assert (await lab.run("import", str(lab.directory / "calls.csv"))).exit_code == 65


class TestShowing:
    async def test_a_traceback_again_shows_the_same_chain(self, industry: Industry) -> None:
        lab = await industry(**ORIGIN)
        traced = await lab.json(*TRACE)
        assert await lab.json("show", traced["id"][:8]) == traced | {"task": None, "stir": None}
        shown = await lab.run("show", traced["id"][:8])
        assert "Origin found" in shown.stdout
        assert CALLED[1:] not in shown.stdout

    async def test_the_list_has_one_line_a_traceback_and_masks_numbers(self, industry: Industry) -> None:
        lab = await industry(**ORIGIN)
        traced = await lab.json(*TRACE)
        listed = await lab.run("list")
        assert re.search(rf"{traced['id'][:8]} +ginkgo .* 3 +origin found +alder", listed.stdout)
        assert "Origin found 1." in listed.stdout
        assert CALLED[1:] not in listed.stdout
        assert CALLED in (await lab.run("list", "--show-numbers")).stdout

    async def test_a_traceback_that_waits_for_a_person_shows_whose_turn_it_is_and_until_when(
        self, industry: Industry
    ) -> None:
        lab = await industry(ginkgo=ORIGIN["ginkgo"], without_agent=("birch",))
        traced = await lab.json(*TRACE)
        await lab.run("tasks", "run")
        [task] = await lab.json("tasks", "list")
        shown = " ".join((await lab.run("show", traced["id"][:8])).stdout.split())
        assert f"Task {task['id'][:8]}: birch has until" in shown
        assert f"tasks answer {task['id'][:8]}" in shown
        assert (await lab.json("show", traced["id"][:8]))["task"]["turn"] == "provider"

    async def test_the_list_is_cut_to_a_status_or_a_campaign(self, industry: Industry) -> None:
        lab = await industry(**ORIGIN)
        traced = await lab.json(*TRACE)
        for option in (("--status", "origin found"), ("--status", "origin_found"), ("--campaign", "trial")):
            assert [one["id"] for one in await lab.json("list", *option)] == [traced["id"]]
        for option in (("--status", "disputed"), ("--campaign", "warranty")):
            assert await lab.json("list", *option) == []
        refused = await lab.run("list", "--status", "disputted")
        assert refused.exit_code == 2
        assert "disputed" in refused.stderr

    async def test_an_empty_list_says_how_to_begin(self, industry: Industry) -> None:
        lab = await industry()
        assert "hopback-coordinator trace" in (await lab.run("list")).stdout


class TestRegistry:
    async def test_rejects_bad_rows_with_line_and_reason_and_takes_the_others(self, industry: Industry) -> None:
        lab = await industry(ginkgo=ORIGIN["ginkgo"])
        file = lab.directory / "more.csv"
        file.write_text("id,name,endpoint\nbirch,Birch,192.0.2.1:7443\nElm!,Elm,\nginkgo,G,\noak,Oak,oak:0\nbirch,B,\n")
        result = await lab.run("registry", "import", str(file))
        assert result.exit_code == 65
        assert [line.split(":")[1] for line in result.stderr.splitlines()] == ["3", "4", "5", "6"]
        assert "1 provider added, 4 rows rejected." in result.stdout
        assert [entry["id"] for entry in await lab.json("registry", "list")] == ["birch", "ginkgo"]

    async def test_lists_who_must_be_asked_in_person(self, industry: Industry) -> None:
        lab = await industry(ginkgo=ORIGIN["ginkgo"], without_agent=("elm",))
        listed = (await lab.run("registry", "list")).stdout
        assert re.search(r"elm +Elm +none: ask a person", listed)


class TestInit:
    def test_makes_a_coordinator_that_works_at_once(self, tmp_path: Path) -> None:
        result = CliRunner().invoke(main, ["init", str(tmp_path / "new")])
        assert result.exit_code == 0
        assert "try" in result.stdout
        assert run(tmp_path / "new", "list").exit_code == 0
        for secret in ("coordinator-lab.key", "coordinator.db"):
            assert stat.S_IMODE((tmp_path / "new" / secret).stat().st_mode) == 0o600

    def test_never_overwrites_one(self, tmp_path: Path) -> None:
        assert CliRunner().invoke(main, ["init", str(tmp_path)]).exit_code == 0
        again = CliRunner().invoke(main, ["init", str(tmp_path)])
        assert again.exit_code == 78
        assert "exists already" in again.stderr

    def test_issues_lab_certificates_for_providers(self, tmp_path: Path, prepared: Path) -> None:
        result = run(prepared, "lab-cert", "birch", "--out", str(tmp_path))
        assert result.exit_code == 0
        assert "trying out only" in result.stdout
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            *("birch-evidence.crt", "birch-evidence.key", "birch.crt", "birch.key", "ca.crt")
        ]
        assert "[orders.approvers]" in result.stdout
        assert run(prepared, "lab-cert", "Birch Telecom").exit_code == 2

    def test_issues_lab_certificates_for_persons_and_says_how_to_call_with_them(
        self, tmp_path: Path, prepared: Path
    ) -> None:
        result = run(prepared, "lab-cert", "ann", "--role", "requester", "--out", str(tmp_path))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.crt", "requester-ann.crt", "requester-ann.key"]
        assert f"HOPBACK_CERTIFICATE={tmp_path / 'requester-ann.crt'}" in result.stdout
        assert result.stderr == ""
        unlisted = run(prepared, "lab-cert", "eve", "--role", "analyst", "--out", str(tmp_path))
        assert "doesn't list eve as analyst" in unlisted.stderr


class TestBadConfiguration:
    def edited(self, prepared: Path, directory: Path, old: str, new: str) -> Path:
        shutil.copytree(prepared / "people", directory / "people")
        for path in prepared.iterdir():
            if path.is_file():
                (directory / path.name).write_bytes(path.read_bytes())
                (directory / path.name).chmod(path.stat().st_mode)
        file = directory / "coordinator.toml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        return directory

    @pytest.mark.parametrize(
        ("old", "new", "why"),
        [
            ("hop_limit = 15", "hop_limits = 15", "trace.hop_limits: no such key"),
            ("hop_limit = 15", "hop_limit = 0", "trace.hop_limit: "),
            ('window = "60s"', 'window = "10m"', "trace.window: "),
            ('window = "60s"', "window = 60", "trace.window: write a duration as text"),
            ("[store]", "[stores]", "stores: no such key"),
            ('name = "lab"', 'name = "Not A Name"', "coordinator.name: "),
            ('name = "lab"', 'name = "other"', "not hopback://coordinator/other"),
            ('roots = "ca.crt"', 'roots = "nowhere.crt"', "nowhere.crt can't be read"),
            ("sqlite:///coordinator.db", "sqlite:///empty.db", "the database is empty"),
            ("sqlite:///coordinator.db", "what is this", "store.url can't be used"),
            ("[coordinator]\n", "[coordinator\n", "is no TOML"),
        ],
    )
    def test_is_named_by_its_key_and_nothing_is_asked(
        self, prepared: Path, tmp_path: Path, old: str, new: str, why: str
    ) -> None:
        directory = self.edited(prepared, tmp_path, old, new)
        (tmp_path / "r.csv").write_text("id,name,endpoint\nginkgo,G,\n")
        run(directory, "registry", "import", str(tmp_path / "r.csv"))
        result = run(directory, *TRACE)
        assert result.exit_code == 78, result.output
        assert why in result.stderr

    def test_of_a_key_that_others_can_read_is_refused(self, prepared: Path, tmp_path: Path) -> None:
        directory = self.edited(prepared, tmp_path, "hop_limit = 15", "hop_limit = 15")
        (directory / "coordinator-lab.key").chmod(0o644)
        result = run(directory, *TRACE)
        assert result.exit_code == 78
        assert "chmod 600" in result.stderr

    def test_that_is_missing_says_how_to_make_one(self, tmp_path: Path) -> None:
        result = run(tmp_path, "list")
        assert result.exit_code == 78
        assert "hopback-coordinator init" in result.stderr


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])
    for name in ("init", "lab-cert", "registry", "trace", "import", "show", "list", "resume", "retry", "migrate"):
        assert name in result.output

"""`tasks` on the command line: asked, reminded by mail, answered, matched; numbers stay hidden unless asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Engine, update

from coordinator.deadlines.settings import DeadlinesTable
from coordinator.registry.book import RegistryBook
from coordinator.registry.changes import parse_change
from coordinator.store.models import TracebackRow
from coordinator.tasks.desk import TaskDesk
from tests.coordinator.databases import put_traceback
from tests.coordinator.house import House
from tests.coordinator.make import CALLED, provider
from tests.coordinator.test_mail import SENDER, Mailbox, link_in, smtp_server
from tests.coordinator.test_tasks import ASKED, UPSTREAM

SHORT = str(ASKED.task_id)[:8]
AN_HOUR_AGO = datetime.now(UTC) - timedelta(hours=1)


@pytest.fixture
def house(sqlite_engine: Engine, tmp_path: Path) -> House:
    put_traceback(sqlite_engine)
    book = RegistryBook(sqlite_engine)
    for name in ("elm", "alder", "birch"):
        book.apply(parse_change(provider(name), "add", f"{name.title()} Voice"), "setup", AN_HOUR_AGO)
    book.apply(parse_change(provider("elm"), "contact", "noc@elm.example"), "setup", AN_HOUR_AGO)
    return House(tmp_path)


@pytest.fixture
def desk(sqlite_engine: Engine) -> TaskDesk:
    book = RegistryBook(sqlite_engine, DeadlinesTable())
    return TaskDesk(sqlite_engine, book, book)


@contextmanager
def mail(house: House, box: Mailbox) -> Iterator[None]:
    """A relay that the coordinator is configured with."""
    with smtp_server(box) as port:
        house.configure(f'[mail]\nhost = "127.0.0.1"\nport = {port}\nsecurity = "none"\nsender = "{SENDER}"\n')
        yield


class TestATask:
    def test_is_listed_and_shown_without_numbers(self, house: House, desk: TaskDesk) -> None:
        desk.ask(ASKED, AN_HOUR_AGO)
        assert SHORT in house.run("tasks", "list").stdout
        shown = house.run("tasks", "show", SHORT)
        assert CALLED not in shown.output
        assert CALLED in house.run("tasks", "show", SHORT, "--show-numbers").stdout
        assert [task["id"][:8] for task in house.json("tasks", "list", "--provider", "elm")] == [SHORT]
        assert house.json("tasks", "list", "--provider", "birch") == []

    def test_is_listed_as_overdue_when_it_is(self, house: House, desk: TaskDesk) -> None:
        desk.ask(ASKED, AN_HOUR_AGO)
        assert house.json("tasks", "list", "--overdue") == []
        desk.withdraw(ASKED.task_id, "x", "", AN_HOUR_AGO)
        assert house.json("tasks", "list") == []

    def test_that_is_long_overdue_is_given_up(self, house: House, desk: TaskDesk) -> None:
        desk.ask(ASKED, AN_HOUR_AGO - timedelta(days=30))
        assert [task["delinquent"] for task in house.json("tasks", "list", "--overdue")] == [True]
        assert house.json("tasks", "run")["given_up"] == 1
        assert "non-responsive" in house.run("tasks", "list").stdout

    def test_that_nobody_knows_is_said_so(self, house: House) -> None:
        assert "no task begins" in house.run("tasks", "show", "ffff", code=2).output
        assert "No task waits" in house.run("tasks", "list").stdout

    def test_is_not_made_for_a_traceback_that_needs_nobody(self, house: House) -> None:
        assert "no traceback" in house.run("tasks", "ask", "ffff", code=2).output


class TestWhoseTurnItIs:
    def test_is_the_providers_until_it_answers_and_told_with_the_command(self, house: House, desk: TaskDesk) -> None:
        desk.ask(ASKED, AN_HOUR_AGO)
        shown = house.run("tasks", "show", SHORT).stdout
        assert f"elm has until {desk.view(ASKED.task_id).task.plan.due:%Y-%m-%d %H:%M} UTC to answer" in shown
        assert f"hopback-coordinator tasks answer {SHORT}" in shown
        assert house.json("tasks", "show", SHORT)["turn"] == "provider"

    def test_says_when_nobody_at_the_provider_is_written_to_and_why(self, house: House, desk: TaskDesk) -> None:
        desk.ask(ASKED, AN_HOUR_AGO)
        assert "Nobody there is written to: no [mail] is configured" in house.run("tasks", "show", SHORT).stdout
        desk.ask(replace(ASKED, question_id=uuid4(), provider=provider("birch")), AN_HOUR_AGO)
        [other] = house.json("tasks", "list", "--provider", "birch")
        assert "registry propose birch contact" in house.run("tasks", "show", other["id"][:8]).stdout
        with mail(house, Mailbox()):
            assert "Nobody" not in house.run("tasks", "show", SHORT).stdout

    def test_is_an_operators_then_an_approvers_then_the_chains(
        self, house: House, desk: TaskDesk, sqlite_engine: Engine
    ) -> None:
        with sqlite_engine.begin() as connection:
            connection.execute(update(TracebackRow).values(order_sha256=b"o" * 32, hop_count=ASKED.position + 1))
        desk.ask(ASKED, AN_HOUR_AGO)
        said = house.run("tasks", "answer", SHORT, "--outcome", "upstream", "--upstream-name", "Alder").stdout
        assert f"tasks match {SHORT} PROVIDER" in said
        assert "a name is to be matched" in house.run("tasks", "list").stdout
        assert f"tasks attest {SHORT} --key KEY" in house.run("tasks", "match", SHORT, "alder").stdout
        assert "to be attested" in house.run("tasks", "list").stdout
        assert [task["turn"] for task in house.json("tasks", "list")] == ["approver"]
        result = desk.answer_of(ASKED.task_id)
        desk.attest(result, b"sealed", "bob", datetime.now(UTC))
        assert house.json("tasks", "list") == []
        assert house.json("tasks", "show", SHORT)["turn"] == "coordinator"
        assert "tasks run" in house.run("tasks", "show", SHORT).stdout
        desk.taken([desk.answer_of(ASKED.task_id)], datetime.now(UTC))
        assert house.json("tasks", "show", SHORT)["turn"] == "nobody"

    def test_is_nobodys_once_the_chain_hears_no_answer(
        self, house: House, desk: TaskDesk, sqlite_engine: Engine
    ) -> None:
        desk.ask(ASKED, AN_HOUR_AGO)
        desk.answer_signed_in(provider("elm"), ASKED.task_id, UPSTREAM, "ann", AN_HOUR_AGO)
        with sqlite_engine.begin() as connection:
            ended = {"status": "order_expired", "hop_count": ASKED.position + 1}
            connection.execute(update(TracebackRow).values(order_sha256=b"o" * 32, **ended))
        assert house.json("tasks", "list") == []


class TestAnAnswer:
    def test_is_taken_down(self, house: House, desk: TaskDesk) -> None:
        desk.ask(ASKED, AN_HOUR_AGO)
        house.run("tasks", "answer", SHORT, "--outcome", "upstream", "--upstream", "alder", "--as", "olga")
        shown = house.json("tasks", "show", SHORT)
        assert (shown["outcome"], shown["upstream"], shown["answered_by"]) == ("UPSTREAM", "alder", "olga (taken down)")

    def test_that_is_none_is_refused_option_by_option(self, house: House, desk: TaskDesk) -> None:
        desk.ask(ASKED, AN_HOUR_AGO)
        wrong = house.run("tasks", "answer", SHORT, "--outcome", "upstreem", code=2).output
        assert "--outcome: must be one of upstream, originated_here," in wrong
        result = house.run("tasks", "answer", SHORT, "--outcome", "upstream", "--ask-called", "x", code=2)
        assert "--upstream: name the provider" in result.output
        assert "--ask-called: not an E.164 number" in result.output

    def test_with_a_typed_name_is_matched_by_a_person_who_sees_suggestions(self, house: House, desk: TaskDesk) -> None:
        desk.ask(ASKED, AN_HOUR_AGO)
        house.run("tasks", "answer", SHORT, "--outcome", "upstream", "--upstream-name", "Alder Voice, Inc.")
        shown = house.json("tasks", "show", SHORT)
        assert (shown["state"], shown["suggestions"][0][:2]) == ("matching", ["alder", 0.98])
        assert "tasks match" in house.run("tasks", "show", SHORT).stdout
        house.run("tasks", "match", SHORT, "alder", "--as", "olga")
        assert house.json("tasks", "show", SHORT)["upstream"] == "alder"
        [before] = house.json("registry", "suggest", "alder voice inc")["matched_before"]
        assert (before["provider"], before["by"]) == ("alder", "olga")

    def test_twice_is_refused(self, house: House, desk: TaskDesk) -> None:
        desk.ask(ASKED, AN_HOUR_AGO)
        desk.answer_signed_in(provider("elm"), ASKED.task_id, UPSTREAM, "ann", AN_HOUR_AGO)
        assert "no further answer" in house.run("tasks", "answer", SHORT, "--outcome", "not_found", code=1).output

    def test_may_come_by_a_link_that_was_handed_over(self, house: House, desk: TaskDesk) -> None:
        desk.ask(ASKED, AN_HOUR_AGO)
        house.configure('[tasks]\nlink = "https://traceback.example/answer#{token}"\n')
        token = link_in(house.run("tasks", "link", SHORT).stdout)
        assert desk.open_link(token, datetime.now(UTC)).id == ASKED.task_id

    def test_may_come_by_the_token_alone_where_people_can_open_no_link(self, house: House, desk: TaskDesk) -> None:
        desk.ask(ASKED, AN_HOUR_AGO)
        made = house.run("tasks", "link", SHORT)
        assert "--token" in made.stderr
        assert desk.open_link(made.stdout.strip(), datetime.now(UTC)).id == ASKED.task_id

    def test_is_not_waited_for_any_more_once_the_question_is_withdrawn(self, house: House, desk: TaskDesk) -> None:
        desk.ask(ASKED, AN_HOUR_AGO)
        assert "Withdrawn" in house.run("tasks", "withdraw", SHORT, "--reason", "traced").stdout
        assert "nothing was changed" in house.run("tasks", "withdraw", SHORT).stdout


class TestARound:
    def test_sends_what_is_due_and_nothing_twice(self, house: House, desk: TaskDesk) -> None:
        desk.ask(ASKED, AN_HOUR_AGO)
        box = Mailbox()
        with mail(house, box):
            assert house.json("tasks", "run")["sent"] == 1
            assert house.json("tasks", "run")["sent"] == 0
        [message] = box.messages
        assert message["To"] == "noc@elm.example"
        assert re.fullmatch(rf"<[0-9a-f-]{{36}}@{SENDER.partition('@')[2]}>", str(message["Message-ID"]))

    def test_without_mail_leaves_letters_in_the_outbox_and_says_so(self, house: House, desk: TaskDesk) -> None:
        desk.ask(ASKED, AN_HOUR_AGO)
        result = house.run("tasks", "run")
        assert "No [mail] is configured" in result.stderr
        assert "letters not sent so far 1" in result.stdout.lower()

    def test_is_refused_with_a_password_that_others_may_read(self, house: House, tmp_path: Path) -> None:
        (tmp_path / "mail.password").write_text("secret\n")
        (tmp_path / "mail.password").chmod(0o644)
        house.configure(
            f'[mail]\nhost = "mail.example"\nsender = "{SENDER}"\nusername = "x"\npassword_file = "mail.password"\n'
        )
        assert "may be read by others" in house.run("tasks", "run", code=78).output
        (tmp_path / "mail.password").chmod(0o600)
        assert house.json("tasks", "run")["sent"] == 0


class TestAttesting:
    def test_what_nobody_answered_yet_is_refused(self, house: House, desk: TaskDesk, tmp_path: Path) -> None:
        desk.ask(ASKED, AN_HOUR_AGO)
        refused = house.run("tasks", "draft", SHORT, "--out", str(tmp_path / "d.json"), code=1)
        assert "there is no answer to attest" in refused.output

    def test_an_answer_that_its_chain_needs_no_more_is_refused(
        self, house: House, desk: TaskDesk, tmp_path: Path
    ) -> None:
        desk.ask(ASKED, AN_HOUR_AGO)
        desk.answer_signed_in(provider("elm"), ASKED.task_id, UPSTREAM, "ann", AN_HOUR_AGO)
        refused = house.run("tasks", "draft", SHORT, "--out", str(tmp_path / "d.json"), code=65)
        assert "the chain has moved on" in refused.output
        assert not (tmp_path / "d.json").exists()

    def test_a_file_of_another_kind_is_refused(self, house: House, tmp_path: Path) -> None:
        (tmp_path / "d.json").write_text("{}")
        assert "this is no file" in house.run("tasks", "take", str(tmp_path / "d.json"), code=65).output

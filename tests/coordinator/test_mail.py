"""Letters: by a real SMTP server over TLS, at least once, under one Message-ID, with nothing of the call in them."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from sqlalchemy import Engine, select

from coordinator.authority.lab_ca import LabAuthority
from coordinator.registry.book import RegistryBook
from coordinator.registry.changes import parse_change
from coordinator.store.task_models import letters, task_links
from coordinator.tasks.desk import TaskDesk
from coordinator.tasks.letters import Sender, letter
from coordinator.tasks.outbox import CLAIM, MOST_ATTEMPTS, Delivery, MailRoom, Outbox, pause_after, unsent_letters
from coordinator.tasks.ports import MailError
from coordinator.tasks.smtp import AddressError, SmtpMailer, SmtpServer, parse_address
from coordinator.tasks.task import Kind, NoticeKind
from protos.identity import ProviderId
from tests.coordinator.databases import put_traceback
from tests.coordinator.make import CALLED, provider
from tests.coordinator.test_calendar import NEW_YORK
from tests.coordinator.test_tasks import ASKED, HOUR, NOW, REGISTRY, UPSTREAM, OneOffice
from tests.stores.servers import free_port

SENDER = "desk@traceback.example"
ROOM = MailRoom(link="https://traceback.example/answer#{token}", domain="traceback.example", sender=Sender("The desk"))


@dataclass
class Mailbox:
    """What a real server took, and what it is to say instead."""

    messages: list[Message] = field(default_factory=list)
    refuse_recipient: str = ""
    refuse_message: str = ""

    async def handle_RCPT(  # noqa: N802  the library's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.refuse_recipient:
            return self.refuse_recipient.format(address=address)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        self.messages.append(message_from_bytes(envelope.content))
        return self.refuse_message or "250 OK"


@contextmanager
def smtp_server(box: Mailbox, **options: Any) -> Iterator[int]:
    """A server on the loopback; gives its port."""
    port = free_port()
    controller = Controller(box, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


@pytest.fixture
def box() -> Mailbox:
    return Mailbox()


@pytest.fixture
def relay(box: Mailbox) -> Iterator[SmtpMailer]:
    """A mailer for a plain relay on the loopback."""
    with smtp_server(box) as port:
        yield SmtpMailer(SmtpServer("127.0.0.1", port, SENDER, security="none", reply_to="people@traceback.example"))


@dataclass
class AddressBook:
    """Traceback contacts, and one for each step up."""

    people: tuple[str, ...] = ("noc@elm.example",)

    def recipients(self, provider: ProviderId, kind: NoticeKind, number: int) -> tuple[str, ...]:
        return (f"boss{number}@elm.example",) if kind is NoticeKind.ESCALATION else self.people


@dataclass
class ScriptedMailer:
    """Takes letters, or fails as it is told to, one word a letter."""

    script: list[str] = field(default_factory=list)
    taken: list[tuple[str, str, str]] = field(default_factory=list)

    def send(self, *, to: str, subject: str, body: str, message_id: str, at: datetime) -> None:
        word = self.script.pop(0) if self.script else "take"
        if word != "refuse":
            self.taken.append((to, message_id, body))
        if word == "crash":
            raise KeyboardInterrupt
        if word != "take":
            raise MailError("the server said so", permanent=word == "refuse")


@pytest.fixture
def desk(either_engine: Engine) -> TaskDesk:
    put_traceback(either_engine)
    return TaskDesk(either_engine, OneOffice(), REGISTRY)


@pytest.fixture
def outbox(either_engine: Engine, desk: TaskDesk) -> Outbox:
    return Outbox(either_engine, desk, contacts=AddressBook(), deadlines=OneOffice(), registry=REGISTRY, room=ROOM)


def link_in(body: str) -> str:
    return body.partition("answer#")[2].split()[0]


class TestAnInvitation:
    def test_comes_by_mail_with_a_link_that_answers(
        self, desk: TaskDesk, outbox: Outbox, relay: SmtpMailer, box: Mailbox
    ) -> None:
        task = desk.ask(ASKED, NOW)
        assert outbox.queue_due(NOW) == 1
        assert outbox.deliver(relay, NOW) == Delivery(sent=1)
        [message] = box.messages
        assert (message["To"], message["From"]) == ("noc@elm.example", SENDER)
        assert message["Auto-Submitted"] == "auto-generated"
        assert message["Reply-To"] == "people@traceback.example"
        body = message.get_payload(decode=True).decode()  # type: ignore[union-attr]
        desk.answer_by_link(link_in(body), UPSTREAM, "ann", NOW)
        assert desk.view(task).history[-1].what == "answered"

    def test_tells_nothing_of_the_call(self, desk: TaskDesk, outbox: Outbox, relay: SmtpMailer, box: Mailbox) -> None:
        desk.ask(ASKED, NOW)
        outbox.queue_due(NOW)
        outbox.deliver(relay, NOW)
        whole = box.messages[0].as_string()
        assert CALLED[2:] not in whole
        assert ASKED.at.strftime("%H:%M") not in whole
        assert "birch" not in whole

    def test_says_when_the_answer_is_due_in_the_offices_time(
        self, desk: TaskDesk, outbox: Outbox, relay: SmtpMailer, box: Mailbox
    ) -> None:
        desk.ask(ASKED, NOW)
        outbox.queue_due(NOW)
        outbox.deliver(relay, NOW)
        assert "Tue 24 Nov 2026, 10:00 EST" in box.messages[0]["Subject"]

    def test_leaves_no_token_in_the_database(self, desk: TaskDesk, outbox: Outbox, either_engine: Engine) -> None:
        mailer = ScriptedMailer()
        desk.ask(ASKED, NOW)
        outbox.queue_due(NOW)
        outbox.deliver(mailer, NOW)
        token = link_in(mailer.taken[0][2])
        with either_engine.connect() as connection:
            assert token not in str(connection.execute(select(letters)).all())

    def test_to_nobody_is_said_in_the_history(self, desk: TaskDesk, outbox: Outbox) -> None:
        outbox._contacts = AddressBook(())
        task = desk.ask(ASKED, NOW)
        assert outbox.queue_due(NOW) == 0
        assert desk.view(task).history[-1].what == "nobody_to_tell"


class TestALetterWithoutALink:
    @pytest.fixture
    def linkless(self, either_engine: Engine, desk: TaskDesk) -> Outbox:
        room = replace(ROOM, link=None)
        return Outbox(either_engine, desk, contacts=AddressBook(), deadlines=OneOffice(), registry=REGISTRY, room=room)

    def test_makes_no_token(self, desk: TaskDesk, linkless: Outbox, either_engine: Engine) -> None:
        mailer = ScriptedMailer()
        desk.ask(ASKED, NOW)
        linkless.queue_due(NOW)
        assert linkless.deliver(mailer, NOW) == Delivery(sent=1)
        with either_engine.connect() as connection:
            assert connection.execute(select(task_links)).all() == []

    def test_is_dropped_once_there_is_an_answer(self, desk: TaskDesk, linkless: Outbox) -> None:
        task = desk.ask(ASKED, NOW)
        linkless.queue_due(NOW)
        desk.answer_signed_in(provider("elm"), task, UPSTREAM, "ann", NOW)
        assert linkless.deliver(ScriptedMailer(), NOW) == Delivery(dropped=1)


class TestWhoBecomesAContactLater:
    @pytest.fixture
    def book(self, either_engine: Engine) -> RegistryBook:
        book = RegistryBook(either_engine)
        for name in ("elm", "oak"):
            book.apply(parse_change(provider(name), "add", name.title()), "setup", NOW)
        return book

    @pytest.fixture
    def outbox(self, either_engine: Engine, desk: TaskDesk, book: RegistryBook) -> Outbox:
        return Outbox(either_engine, desk, contacts=book, deadlines=OneOffice(), registry=book, room=ROOM)

    @staticmethod
    def sent(outbox: Outbox, now: datetime) -> list[str]:
        mailer = ScriptedMailer()
        outbox.queue_due(now)
        outbox.deliver(mailer, now)
        return [to for to, _, _ in mailer.taken]

    @staticmethod
    def add(book: RegistryBook, kind: str, value: str, name: str = "elm") -> None:
        book.apply(parse_change(provider(name), kind, value), "olga", NOW)

    def test_is_invited_to_the_tasks_that_are_open(self, desk: TaskDesk, outbox: Outbox, book: RegistryBook) -> None:
        desk.ask(ASKED, NOW)
        assert self.sent(outbox, NOW) == []
        self.add(book, "contact", "noc@elm.example")
        assert self.sent(outbox, NOW + HOUR) == ["noc@elm.example"]
        assert self.sent(outbox, NOW + HOUR) == []

    def test_is_invited_alone_where_others_were_before(
        self, desk: TaskDesk, outbox: Outbox, book: RegistryBook
    ) -> None:
        self.add(book, "contact", "noc@elm.example")
        task = desk.ask(ASKED, NOW)
        assert self.sent(outbox, NOW) == ["noc@elm.example"]
        self.add(book, "contact", "kim@elm.example")
        assert self.sent(outbox, NOW + HOUR) == ["kim@elm.example"]
        assert [entry.detail for entry in desk.view(task).history if entry.what == "queued"] == [
            "invitation 1, to 1"
        ] * 2

    def test_joins_an_escalation_that_has_reached_him(self, desk: TaskDesk, outbox: Outbox, book: RegistryBook) -> None:
        self.add(book, "contact", "noc@elm.example")
        desk.ask(ASKED, NOW)
        assert self.sent(outbox, NOW) == ["noc@elm.example"]
        assert self.sent(outbox, NOW + 24 * HOUR) == ["noc@elm.example"]  # the first escalation
        self.add(book, "escalation", "1:boss@elm.example")
        self.add(book, "escalation", "2:owner@elm.example")  # not reached yet
        assert self.sent(outbox, NOW + 25 * HOUR) == ["boss@elm.example"]

    def test_hears_nothing_of_what_is_answered_or_another_providers(
        self, desk: TaskDesk, outbox: Outbox, book: RegistryBook
    ) -> None:
        task = desk.ask(ASKED, NOW)
        self.sent(outbox, NOW)
        self.add(book, "contact", "noc@oak.example", "oak")
        assert self.sent(outbox, NOW + HOUR) == []
        desk.answer_signed_in(provider("elm"), task, UPSTREAM, "ann", NOW)
        self.add(book, "contact", "noc@elm.example")
        assert self.sent(outbox, NOW + HOUR) == []


class TestRemindersAndEscalations:
    def test_come_when_they_are_due_and_each_once(self, desk: TaskDesk, outbox: Outbox) -> None:
        desk.ask(ASKED, NOW)
        mailer = ScriptedMailer()
        came: list[tuple[int, str]] = []
        for hour in range(80):
            outbox.queue_due(NOW + hour * HOUR)
            before = len(mailer.taken)
            outbox.deliver(mailer, NOW + hour * HOUR)
            came += [(hour, to) for to, _, _ in mailer.taken[before:]]
        assert came == [
            (0, "noc@elm.example"),
            (22, "noc@elm.example"),  # Tuesday 8:00
            (24, "boss1@elm.example"),  # overdue
            (46, "boss2@elm.example"),  # Wednesday 8:00
        ]

    def test_stop_with_the_answer(self, desk: TaskDesk, outbox: Outbox) -> None:
        task = desk.ask(ASKED, NOW)
        desk.answer_signed_in(provider("elm"), task, UPSTREAM, "ann", NOW)
        assert outbox.queue_due(NOW + 900 * HOUR) == 0

    def test_that_were_queued_before_the_answer_are_dropped(self, desk: TaskDesk, outbox: Outbox) -> None:
        task = desk.ask(ASKED, NOW)
        outbox.queue_due(NOW)
        desk.answer_signed_in(provider("elm"), task, UPSTREAM, "ann", NOW)
        mailer = ScriptedMailer()
        assert outbox.deliver(mailer, NOW) == Delivery(dropped=1)
        assert mailer.taken == []

    def test_that_piled_up_while_nobody_sent_come_as_one(self, desk: TaskDesk, outbox: Outbox) -> None:
        desk.ask(ASKED, NOW)
        outbox.queue_due(NOW)
        assert outbox.queue_due(NOW + 300 * HOUR) == 1


class TestTheOutbox:
    def test_sends_again_under_the_same_message_id_after_a_failure(self, desk: TaskDesk, outbox: Outbox) -> None:
        desk.ask(ASKED, NOW)
        outbox.queue_due(NOW)
        mailer = ScriptedMailer(["fail", "take"])
        assert outbox.deliver(mailer, NOW) == Delivery(delayed=1)
        assert outbox.deliver(mailer, NOW) == Delivery()  # not yet
        assert outbox.deliver(mailer, NOW + pause_after(1)) == Delivery(sent=1)
        first, second = mailer.taken
        assert first[1] == second[1]
        assert first[1].endswith("@traceback.example>")

    def test_sends_again_what_a_process_died_over_and_both_links_work_until_one_is_used(
        self, desk: TaskDesk, outbox: Outbox
    ) -> None:
        desk.ask(ASKED, NOW)
        outbox.queue_due(NOW)
        mailer = ScriptedMailer(["crash", "take"])
        with pytest.raises(KeyboardInterrupt):
            outbox.deliver(mailer, NOW)
        assert outbox.deliver(mailer, NOW + CLAIM - timedelta(seconds=1)) == Delivery()
        assert outbox.deliver(mailer, NOW + CLAIM) == Delivery(sent=1)
        assert len({message_id for _, message_id, _ in mailer.taken}) == 1
        links = [link_in(body) for _, _, body in mailer.taken]
        assert all(desk.open_link(link, NOW) for link in links)

    def test_queues_nothing_twice(self, desk: TaskDesk, outbox: Outbox) -> None:
        desk.ask(ASKED, NOW)
        assert [outbox.queue_due(NOW), outbox.queue_due(NOW)] == [1, 0]

    def test_gives_a_letter_to_one_of_two_senders(self, desk: TaskDesk, outbox: Outbox) -> None:
        desk.ask(ASKED, NOW)
        outbox.queue_due(NOW)
        mailer = ScriptedMailer()

        class Greedy(ScriptedMailer):
            def send(self, **letter: Any) -> None:
                assert outbox.deliver(mailer, NOW) == Delivery()
                super().send(**letter)

        greedy = Greedy()
        assert outbox.deliver(greedy, NOW) == Delivery(sent=1)
        assert (len(greedy.taken), mailer.taken) == (1, [])

    def test_leaves_a_letter_alone_that_another_sender_has_begun_since_it_looked(
        self, desk: TaskDesk, outbox: Outbox, either_engine: Engine
    ) -> None:
        class Late(Outbox):
            def _deliver(self, *arguments: Any) -> str:
                assert outbox.deliver(ScriptedMailer(["fail"]), NOW) == Delivery(delayed=1)
                return super()._deliver(*arguments)

        late = Late(either_engine, desk, contacts=AddressBook(), deadlines=OneOffice(), registry=REGISTRY, room=ROOM)
        desk.ask(ASKED, NOW)
        outbox.queue_due(NOW)
        mailer = ScriptedMailer()
        assert late.deliver(mailer, NOW) == Delivery()
        assert mailer.taken == []

    def test_gives_up_at_once_what_is_refused_for_good(
        self, desk: TaskDesk, outbox: Outbox, either_engine: Engine
    ) -> None:
        task = desk.ask(ASKED, NOW)
        outbox.queue_due(NOW)
        assert outbox.deliver(ScriptedMailer(["refuse"]), NOW) == Delivery(failed=1)
        [unsent] = unsent_letters(either_engine)
        assert (unsent.task_id, unsent.state, unsent.detail) == (task, "failed", "the server said so")
        assert desk.view(task).history[-1].what == "mail_failed"

    def test_gives_up_in_the_end_what_never_goes(self, desk: TaskDesk, outbox: Outbox) -> None:
        desk.ask(ASKED, NOW)
        outbox.queue_due(NOW)
        mailer, now = ScriptedMailer(["fail"] * 99), NOW
        fates = []
        for _ in range(MOST_ATTEMPTS + 2):
            fates.append(outbox.deliver(mailer, now))
            now += timedelta(hours=5)
        assert fates.count(Delivery(delayed=1)) == MOST_ATTEMPTS - 1
        assert fates.count(Delivery(failed=1)) == 1
        assert len({message_id for _, message_id, _ in mailer.taken}) == 1


@pytest.fixture(scope="session")
def localhost_tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate for localhost, and the file to trust it by."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    directory = tmp_path_factory.mktemp("smtp")
    roots, own = directory / "localhost.crt", directory / "localhost.key"
    roots.write_bytes(certificate.public_bytes(Encoding.PEM))
    own.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(roots, own)
    return context, roots


class TestARealServer:
    @pytest.fixture
    def tls(self, authority: LabAuthority, tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
        """A server's context, and the authority to trust it by. The certificate names a provider, not localhost."""
        issued = authority.issue_provider("mail", tmp_path)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(issued.certificate, issued.key)
        return context, issued.roots

    def test_is_spoken_to_over_starttls_with_a_login(
        self, box: Mailbox, localhost_tls: tuple[ssl.SSLContext, Path]
    ) -> None:
        context, roots = localhost_tls
        seen: list[LoginPassword] = []

        def login(server: Any, session: Any, envelope: Any, mechanism: str, data: LoginPassword) -> AuthResult:
            seen.append(data)
            return AuthResult(success=True)

        options = {"tls_context": context, "require_starttls": True, "authenticator": login, "auth_required": True}
        with smtp_server(box, **options) as port:
            send(
                SmtpMailer(SmtpServer("localhost", port, SENDER, username="desk", password="secret", roots=str(roots)))
            )
        assert [(data.login, data.password) for data in seen] == [(b"desk", b"secret")]
        assert [message["Message-ID"] for message in box.messages] == ["<1@traceback.example>"]

    def test_that_offers_no_starttls_gets_nothing(self, box: Mailbox) -> None:
        with smtp_server(box) as port, pytest.raises(MailError, match="no STARTTLS") as caught:
            send(SmtpMailer(SmtpServer("localhost", port, SENDER)))
        assert not caught.value.permanent
        assert box.messages == []

    def test_whose_certificate_names_somebody_else_gets_nothing(
        self, box: Mailbox, tls: tuple[ssl.SSLContext, Path]
    ) -> None:
        options = {"tls_context": tls[0], "require_starttls": True}
        with smtp_server(box, **options) as port, pytest.raises(MailError, match="certificate is refused"):
            send(SmtpMailer(SmtpServer("localhost", port, SENDER, roots=str(tls[1]))))
        assert box.messages == []

    def test_is_spoken_to_over_tls_from_the_start(
        self, box: Mailbox, localhost_tls: tuple[ssl.SSLContext, Path]
    ) -> None:
        context, roots = localhost_tls
        with smtp_server(box, ssl_context=context) as port:
            send(SmtpMailer(SmtpServer("localhost", port, SENDER, "tls", roots=str(roots))))
        assert len(box.messages) == 1

    @pytest.mark.parametrize(("said", "permanent"), [("550 no such user {address}", True), ("451 later", False)])
    def test_that_refuses_a_recipient_is_believed(
        self, relay: SmtpMailer, box: Mailbox, said: str, permanent: bool
    ) -> None:
        box.refuse_recipient = said
        with pytest.raises(MailError) as caught:
            send(relay)
        assert caught.value.permanent is permanent
        assert "noc@" not in caught.value.detail

    @pytest.mark.parametrize(("said", "permanent"), [("554 looks like spam", True), ("452 disk full", False)])
    def test_that_refuses_a_letter_is_believed(
        self, relay: SmtpMailer, box: Mailbox, said: str, permanent: bool
    ) -> None:
        box.refuse_message = said
        with pytest.raises(MailError, match=said) as caught:
            send(relay)
        assert caught.value.permanent is permanent

    def test_that_is_not_there_may_come_back(self) -> None:
        with pytest.raises(MailError, match="can't be reached") as caught:
            send(SmtpMailer(SmtpServer("127.0.0.1", 1, SENDER, security="none")))
        assert not caught.value.permanent


def send(mailer: SmtpMailer, to: str = "noc@elm.example", subject: str = "Traceback request") -> None:
    mailer.send(to=to, subject=subject, body="Hello\n", message_id="<1@traceback.example>", at=NOW)


class TestRefused:
    @pytest.mark.parametrize(
        "address",
        [
            "",
            "elm",
            "a@b",
            "a b@elm.example",
            "a@elm.example\nBcc: x@y.example",
            "ä@elm.example",
            "<a@elm.example>",
            "a@elm.example,b@elm.example",
        ],
    )
    def test_is_whatever_is_no_address(self, address: str) -> None:
        with pytest.raises(AddressError):
            parse_address(address)
        with pytest.raises(MailError) as caught:
            send(SmtpMailer(SmtpServer("127.0.0.1", 1, SENDER, security="none")), to=address)
        assert caught.value.permanent

    def test_is_a_subject_that_would_smuggle_in_a_header(self) -> None:
        with pytest.raises(MailError) as caught:
            send(
                SmtpMailer(SmtpServer("127.0.0.1", 1, SENDER, security="none")),
                subject="a\nBcc: x@y.example",
            )
        assert caught.value.permanent

    def test_is_mail_without_tls_beyond_this_machine(self) -> None:
        with pytest.raises(ValueError, match="loopback"):
            SmtpServer("mail.example", 25, SENDER, security="none")
        with pytest.raises(ValueError, match="ASCII"):
            SmtpServer("mail.example", 25, SENDER, username="desk", password="pässword")
        with pytest.raises(ValueError, match="password"):
            SmtpServer("127.0.0.1", 25, SENDER, security="none", username="desk")


class TestTheWords:
    @pytest.mark.parametrize("kind", NoticeKind)
    @pytest.mark.parametrize("why", Kind)
    def test_fit_a_narrow_screen_and_name_reference_due_time_and_link(
        self, sqlite_engine: Engine, kind: NoticeKind, why: Kind
    ) -> None:
        put_traceback(sqlite_engine)
        desk = TaskDesk(sqlite_engine, OneOffice(), REGISTRY)
        task = desk.view(desk.ask(replace(ASKED, kind=why), NOW)).task
        written = letter(
            task,
            kind,
            provider_name="Elm Voice",
            link="https://traceback.example/answer#T",
            zone=NEW_YORK,
            sender=Sender("The desk", "+1 202 555 0199", SENDER),
            now=NOW + 30 * HOUR,
        )
        assert max(map(len, written.body.splitlines())) <= 76
        assert str(task.id)[:8] in written.body
        assert "https://traceback.example/answer#T" in written.body
        assert "overdue by 6 hours" in written.body
        assert "Telephone:   +1 202 555 0199" in written.body
        assert f"E-mail:      {SENDER}" in written.body

    def test_of_a_held_answer_say_where_it_is_released(self, sqlite_engine: Engine) -> None:
        assert '"hopback-agent review list"' in self.written(sqlite_engine, Kind.REVIEW, "https://traceback.example/T")

    def test_say_how_to_answer_where_people_can_open_no_link(self, sqlite_engine: Engine) -> None:
        said = self.written(sqlite_engine, Kind.NO_AGENT, None)
        assert "Call us, and give the reference" in said
        assert "link" not in said

    @staticmethod
    def written(engine: Engine, why: Kind, link: str | None) -> str:
        put_traceback(engine)
        desk = TaskDesk(engine, OneOffice(), REGISTRY)
        task = desk.view(desk.ask(replace(ASKED, kind=why), NOW)).task
        sender = Sender("The desk", "+1 202 555 0199", SENDER)
        kind = NoticeKind.INVITATION
        return letter(task, kind, provider_name="Elm", link=link, zone=NEW_YORK, sender=sender, now=NOW).body

    def test_of_a_second_look_say_that_who_was_named_denies_it(self, sqlite_engine: Engine) -> None:
        put_traceback(sqlite_engine)
        desk = TaskDesk(sqlite_engine, OneOffice(), REGISTRY)
        task = desk.view(desk.ask(replace(ASKED, kind=Kind.SECOND_LOOK), NOW)).task
        said = letter(
            task,
            NoticeKind.INVITATION,
            provider_name="Elm Voice",
            link="https://traceback.example/answer#T",
            zone=NEW_YORK,
            sender=Sender("The desk", "+1 202 555 0199", SENDER),
            now=NOW,
        )
        words = " ".join(said.body.split())
        assert "The provider you named says it did not hand you this call: please look again." in words


def test_pauses_double_up_to_four_hours() -> None:
    minutes: Callable[[int], float] = lambda n: pause_after(n) / timedelta(minutes=1)  # noqa: E731
    assert [minutes(n) for n in (1, 2, 3, 8, 9, 99)] == [1, 2, 4, 128, 240, 240]

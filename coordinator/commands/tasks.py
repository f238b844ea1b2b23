"""`hopback-coordinator tasks`: what people at providers are asked, what they answered, and the letters about it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.commands.frame import (
    BadData,
    Failed,
    Misconfigured,
    config_option,
    find_traceback,
    json_option,
    now,
    numbers_option,
    opened_engine,
    opened_store,
    show_rich,
    text_of,
    write_json,
)
from coordinator.commands.registry import operator_option, provider_id
from coordinator.commands.tables import iso, minute, table
from coordinator.commands.turns import turn_at, turn_lines

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from coordinator.attesting import Draft
    from coordinator.config import LoadedConfig
    from coordinator.registry.book import RegistryBook
    from coordinator.tasks.desk import TaskDesk, TaskView
    from coordinator.tasks.ports import PersonsResult
    from coordinator.tasks.smtp import SmtpMailer
    from coordinator.tasks.task import Task
    from coordinator.tasks.turn import Turn
    from protos.types import Question

_WHY = {
    "review": "its agent holds the answer",
    "second_look": "once more: the provider that it named denies the handover",
}
_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def tasks() -> None:
    """Questions that people answer, where a provider has no agent or holds its answer for review.

    \b
    hopback-coordinator tasks ask 6d2b5e1e            the last provider of that traceback
    hopback-coordinator tasks run                     letters, reminders, escalations: from cron or a timer
    hopback-coordinator tasks list --overdue
    hopback-coordinator tasks answer 0a1b --outcome upstream --upstream birch
    hopback-coordinator tasks match 0a1b birch        which provider the typed name is
    hopback-coordinator tasks attest 0a1b --key bob.key    so that the next provider's agent takes it
    """


@tasks.command("list")
@click.option("--provider", default="", help="Of one provider alone.")
@click.option("--all", "every", is_flag=True, help="Also those that are answered or withdrawn.")
@click.option("--overdue", is_flag=True, help="Those alone whose answer is overdue.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="How many at most.")
@json_option
@config_option
def list_tasks(provider: str, every: bool, overdue: bool, limit: int, as_json: bool, config_path: Path) -> None:
    """List the tasks that wait, those due first."""
    from coordinator.tasks.task import State

    states = () if every else (State.OPEN, State.MATCHING, State.GIVEN_UP)
    at = now()
    with _desk(config_path) as room:
        who = provider_id(provider) if provider else None
        found = room.desk.list(provider=who, states=states, to_attest=True, limit=limit)
    shown = [task for task in found if not overdue or (task.standing(at).delinquent and task.answered_at is None)]
    if as_json:
        write_json([task_json(task) for task in shown])
    elif shown:
        rows = [
            (str(t.id)[:8], t.asked.provider, str(t.asked.traceback_id)[:8], minute(t.plan.due), _words(t))
            for t in shown
        ]
        columns = ("Id", "Provider", "Traceback", "Due (UTC)", "State")
        show_rich(table(columns, rows, whole=("Id", "Traceback", "Due (UTC)")))
        click.echo("What to do about one: `hopback-coordinator tasks show ID`.")
    else:
        click.echo("No task waits.")


@tasks.command("show")
@click.argument("task_id", metavar="ID")
@json_option
@numbers_option
@config_option
def show_task(task_id: str, as_json: bool, show_numbers: bool, config_path: Path) -> None:
    """Show one task and its history; the first characters of its ID are enough."""
    with _desk(config_path) as room:
        view = room.desk.view(_find(room.desk, task_id))
        suggested = room.book.index().suggest(view.task.upstream_name, now()) if view.task.upstream_name else ()
        turn = _turn(room, view.task)
    if as_json:
        write_json(_view_json(view) | {"suggestions": [[one.provider, one.score, one.why] for one in suggested]})
        return
    from coordinator.present import number

    task, asked = view.task, view.task.asked
    rows: list[tuple[str, object]] = [
        ("provider", asked.provider),
        ("traceback", f"{str(asked.traceback_id)[:8]}, hop {asked.position + 1}"),
        ("called", number(asked.called, show=show_numbers)),
        ("at", f"{asked.at:%Y-%m-%d %H:%M:%S} UTC, give or take {asked.window.seconds} s"),
        ("named by", asked.named_by),
        ("why", _WHY.get(asked.kind.value)),
        ("due", f"{minute(task.plan.due)} UTC"),
        ("state", _words(task)),
        ("answer", view.outcome.name.lower() if view.outcome else None),
        ("upstream", view.upstream or (f"{task.upstream_name!r}, to be matched" if task.upstream_name else None)),
        ("note", view.note),
    ]
    show_rich(table((f"Task {str(task.id)[:8]}", ""), [row for row in rows if row[1]]))
    show_rich(table(("Time (UTC)", "What", "By", ""), [(minute(h.at), h.what, h.by, h.detail) for h in view.history]))
    if suggested and view.upstream is None:
        rows_of = [(f"{one.score:.2f}", one.provider, one.alias, one.why) for one in suggested]
        show_rich(table(("Score", "Provider", "Known as", "Why"), rows_of, right=("Score",)))
    click.echo("\n".join(turn_lines(task, turn)))


@tasks.command()
@click.argument("traceback_id", metavar="TRACEBACK")
@config_option
def ask(traceback_id: str, config_path: Path) -> None:
    """Put the last question of TRACEBACK to a person, where the provider has no agent or holds its answer."""
    from coordinator.chain import Status
    from coordinator.tasks.task import Asked, Kind

    with opened_store(config_path) as (_, store):
        traceback = find_traceback(store, traceback_id).traceback
    kind = Kind.NO_AGENT if traceback.status is Status.NON_RESPONSIVE else Kind.of(traceback)
    if kind is None:
        wanted = ", ".join(one.value for one in (Status.NO_AGENT, Status.NEEDS_HUMAN, Status.NON_RESPONSIVE))
        raise click.UsageError(f"a person is asked where the status is one of {wanted}; it is {traceback.status.value}")
    position = len(traceback.hops) - 1
    question = traceback.hops[position].question
    with _desk(config_path) as room:
        asked = Asked.from_question(traceback.id, position, question, kind)
        _say_turn(room, room.desk.ask(asked, now()))


@tasks.command()
@click.argument("task_id", metavar="ID")
@click.option("--outcome", required=True, help="upstream, originated_here, foreign_upstream, not_found, ...")
@click.option("--upstream", default="", help="Id of the provider that handed the call over.")
@click.option("--upstream-name", default="", help="Its name, where the id is not known; somebody must match it.")
@click.option("--handover", default="", help="confirmed or denied: was the call handed to who named this provider?")
@click.option("--ask-called", default="", help="Number to ask the upstream for, where it was translated.")
@click.option("--seized-at", default="", help="When the provider's own record says that the call began, with zone.")
@click.option("--refusal", default="", help="policy or records_gap, for the outcome refused.")
@click.option("--note", default="", help="Anything else.")
@operator_option
@config_option
def answer(task_id: str, operator: str, config_path: Path, **fields: str) -> None:
    """Record what a person at the provider answered, by telephone or letter; late answers count, too."""
    from coordinator.tasks.answers import AnswerError

    with _desk(config_path) as room:
        identity = _find(room.desk, task_id)
        provider = room.desk.view(identity).task.asked.provider
        try:
            room.desk.answer_signed_in(provider, identity, fields, f"{operator} (taken down)", now())
        except AnswerError as error:
            problems = [_as_option(problem) for problem in error.problems]
            raise click.UsageError("\n  ".join(["this is no answer:", *problems])) from None
        _say_turn(room, identity)


def _as_option(problem: str) -> str:
    """A problem with a field as one with its option."""
    name, _, rest = problem.partition(":")
    return f"--{name.replace('_', '-')}:{rest.replace('upstream_name', '--upstream-name')}"


@tasks.command()
@click.argument("task_id", metavar="ID")
@click.argument("provider")
@operator_option
@config_option
def match(task_id: str, provider: str, operator: str, config_path: Path) -> None:
    """Say that the name which was typed in the answer to task ID means PROVIDER."""
    with _desk(config_path) as room:
        identity, picked, at = _find(room.desk, task_id), provider_id(provider), now()
        typed = room.desk.view(identity).task.upstream_name or ""
        shown = room.book.index().suggest(typed, at)
        room.desk.match(identity, picked, operator, at)
        room.book.record_match(typed, picked, operator, at, shown, f"task {identity}")
        click.echo(f"{typed!r} is {picked}.")
        _say_turn(room, identity)


@tasks.command()
@click.argument("name", metavar="ID|FILE")
@click.option("--key", "key_path", type=_file, required=True, help="Your private key (PEM, Ed25519).")
@click.option("--yes", "sure", is_flag=True, help="Don't ask whether this is what you attest.")
@config_option
def attest(name: str, key_path: Path, sure: bool, config_path: Path) -> None:
    """Sign, as an approver, that a person at a provider without an agent gave this answer.

    Takes a task by its ID, or on another machine a FILE that `draft` wrote.
    """
    from coordinator.attesting import AttestationError, from_file, to_file
    from coordinator.attesting import attest as sealed
    from coordinator.commands.signing import signer_at

    signer, file = signer_at(key_path), Path(name)
    try:
        if file.is_file():
            held = from_file(text_of(file))
            _show_draft(held, sure=sure)
            file.write_text(to_file(sealed(held, signer)), encoding="utf-8")
            click.echo(f"{file}: signed. Send it back, for `hopback-coordinator tasks take {file}`.")
            return
        with _desk(config_path) as room:
            held = _drafted(room, _find(room.desk, name))
            _show_draft(held, sure=sure)
            click.echo(f"Attested by {_take_in(room, sealed(held, signer))}.")
            _say_turn(room, held.task_id)
    except AttestationError as error:
        raise BadData(f"{name}: {error}") from None


@tasks.command("draft")
@click.argument("task_id", metavar="ID")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write.")
@config_option
def draft_attestation(task_id: str, out: Path, config_path: Path) -> None:
    """Write the answer to task ID to a file, to be attested elsewhere. A telephone number stands in it."""
    from coordinator.attesting import AttestationError, to_file

    with _desk(config_path) as room:
        try:
            held = _drafted(room, _find(room.desk, task_id))
        except AttestationError as error:
            raise BadData(f"{task_id}: {error}") from None
    out.touch(mode=0o600)
    out.write_text(to_file(held), encoding="utf-8")
    click.echo(f"{out}: sign it with `hopback-coordinator tasks attest {out} --key KEY`.")


@tasks.command()
@click.argument("file", type=_file)
@config_option
def take(file: Path, config_path: Path) -> None:
    """Take in a FILE that was attested elsewhere; the signature is checked."""
    from coordinator.attesting import AttestationError, from_file

    with _desk(config_path) as room:
        try:
            held = from_file(text_of(file))
            click.echo(f"Attested by {_take_in(room, held)}.")
            _say_turn(room, held.task_id)
        except AttestationError as error:
            raise BadData(f"{file}: {error}") from None


@tasks.command()
@click.argument("task_id", metavar="ID")
@click.option("--reason", default="", help="Why.")
@operator_option
@config_option
def withdraw(task_id: str, reason: str, operator: str, config_path: Path) -> None:
    """Take a question back."""
    with _desk(config_path) as room:
        done = room.desk.withdraw(_find(room.desk, task_id), operator, reason, now())
    click.echo("Withdrawn." if done else "It was answered or withdrawn before; nothing was changed.")


@tasks.command("link")
@click.argument("task_id", metavar="ID")
@config_option
def new_link(task_id: str, config_path: Path) -> None:
    """Make a link that answers task ID once, to be handed over in person; it is shown now and never again."""
    with _desk(config_path) as room:
        token = room.desk.new_link(_find(room.desk, task_id), now())
        click.echo(room.loaded.config.tasks.link.replace("{token}", token))


@tasks.command()
@json_option
@config_option
def run(as_json: bool, config_path: Path) -> None:
    """Do what is due: letters, reminders, escalations, giving up. Safe to run at any time, also twice at once."""
    import asyncio

    from coordinator.clerking import clerking
    from coordinator.leases import owner_name
    from coordinator.store.sql_store import opened
    from coordinator.tasks.outbox import unsent_letters

    at = now()
    with _desk(config_path) as room, opened(room.engine) as store:
        mailer = _mailer(room.loaded)
        with clerking(room.loaded, store, owner_name(), now) as working:
            done_for = asyncio.run(working.clerk.round())
            outbox = working.outbox
        counts = {
            "put": done_for.put,
            "taken": done_for.taken,
            "given_up": done_for.given_up,
            "queued": outbox.queue_due(at),
        }
        if mailer is not None:
            done = outbox.deliver(mailer, at)
            counts |= {"sent": done.sent, "delayed": done.delayed, "failed": done.failed, "dropped": done.dropped}
        counts["unsent"] = len(unsent_letters(room.engine))
    if as_json:
        write_json(counts)
    else:
        click.echo(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()) + ".")
        if mailer is None and counts["unsent"]:
            click.echo("No [mail] is configured: letters stay in the outbox.", err=True)


@dataclass(frozen=True, slots=True)
class _Room:
    loaded: LoadedConfig
    engine: Engine
    book: RegistryBook
    desk: TaskDesk


@contextmanager
def _desk(config_path: Path) -> Iterator[_Room]:
    from coordinator.registry.book import RegistryBook
    from coordinator.tasks.desk import TaskDesk, TaskError

    with opened_engine(config_path) as (loaded, engine):
        book = RegistryBook(engine, loaded.config.deadlines)
        try:
            yield _Room(
                loaded, engine, book, TaskDesk(engine, book, book, link_lifetime=loaded.config.tasks.link_lifetime)
            )
        except TaskError as error:
            raise Failed(str(error)) from None


def _drafted(room: _Room, task_id: uuid.UUID) -> Draft:
    from coordinator.attesting import draft

    result = room.desk.answer_of(task_id)
    return draft(result, _question(room, result))


def _question(room: _Room, result: PersonsResult) -> Question:
    from coordinator.attesting import AttestationError, question_of
    from coordinator.store.sql_store import SqlStore

    kept = SqlStore(room.engine).load(result.traceback_id)
    if kept is None:
        raise AttestationError("its traceback is not in the database any more")
    return question_of(kept.traceback, result)


def _take_in(room: _Room, held: Draft) -> str:
    """Keep an attestation that counts; whose it is."""
    from coordinator.attesting import AttestationError, attester
    from coordinator.store.orders import OrderBook

    result = room.desk.answer_of(held.task_id)
    question = _question(room, result)
    sha256 = question.authority.order_sha256 if question.authority else b""
    granted = OrderBook(room.engine).granted([sha256]).get(sha256)
    if granted is None or held.kept is None:
        raise AttestationError("it is not signed" if granted else "its order is not in the database any more")
    name = attester(held, result, question, granted.order, room.loaded.config.orders.persons)
    room.desk.attest(result, held.kept, name, now())
    return name


def _show_draft(held: Draft, *, sure: bool) -> None:
    """What is attested, in words, and whether the approver wants to."""
    from coordinator.attesting import AttestationError
    from protos.codec import ContractError
    from protos.hops import decode_parts, decode_question

    try:
        asked = decode_question(held.question)
        answer, _ = decode_parts(held.parts, asked, asked.question.target)
    except ContractError as error:
        raise AttestationError(f"it can't be read: {error}") from None
    said = answer.outcome.name.lower().replace("_", " ") + (f" {answer.upstream}" if answer.upstream else "")
    click.echo(f"Task {str(held.task_id)[:8]}: a person at {answer.provider} said: {said}.")
    click.echo(f"Order {asked.authority.order_sha256.hex()[:16]}, hop {asked.authority.position + 1}.")
    if not sure:
        click.confirm("Do you attest that this person said so?", abort=True)


def _mailer(loaded: LoadedConfig) -> SmtpMailer | None:
    from coordinator.clerking import mailer_of
    from coordinator.config import ConfigError

    try:
        return mailer_of(loaded)
    except ConfigError as error:
        raise Misconfigured(str(error)) from None


def _find(desk: TaskDesk, prefix: str) -> uuid.UUID:
    found = desk.find(prefix)
    if len(found) != 1:
        what = "no task begins" if not found else "several tasks begin"
        raise click.UsageError(f"{what} with {prefix!r}: see `hopback-coordinator tasks list --all`")
    return found[0]


def _words(task: Task) -> str:
    from coordinator.tasks.task import State

    if task.state is State.MATCHING:
        return "a name is to be matched"
    if task.state is State.WITHDRAWN:
        return "withdrawn"
    return "to be attested" if task.to_attest else task.standing(now()).words


def _turn(room: _Room, task: Task) -> Turn:
    return turn_at(room.loaded, room.book, task, now())


def _say_turn(room: _Room, task_id: uuid.UUID) -> None:
    task = room.desk.view(task_id).task
    click.echo("\n".join(turn_lines(task, _turn(room, task))))


def task_of(config_path: Path, traceback_id: uuid.UUID) -> tuple[Task, Turn] | None:
    """The task that a traceback waits for, if it waits for one, and whose turn it is."""
    from coordinator.tasks.task import State

    waiting = (State.OPEN, State.MATCHING, State.GIVEN_UP)
    with _desk(config_path) as room:
        found = room.desk.list(traceback_id=traceback_id, states=waiting, to_attest=True)
        return (found[-1], _turn(room, found[-1])) if found else None


def task_json(task: Task) -> dict[str, Any]:
    from coordinator.tasks.turn import turn_of

    asked, stands = task.asked, task.standing(now())
    return {
        "id": str(task.id),
        "traceback": str(asked.traceback_id),
        "hop": asked.position + 1,
        "kind": asked.kind.value,
        "provider": asked.provider,
        "called": asked.called,
        "at": iso(asked.at),
        "window_ms": round(asked.window.total_seconds() * 1000),
        "named_by": asked.named_by,
        "state": task.state.value,
        "received": iso(task.plan.received),
        "counts_from": iso(task.plan.counts_from),
        "due": iso(task.plan.due),
        "gives_up": iso(task.plan.gives_up),
        "waiting": stands.waiting,
        "delinquent": stands.delinquent,
        "non_responsive": stands.non_responsive,
        "answered_at": iso(task.answered_at),
        "answered_by": task.answered_by,
        "upstream_name": task.upstream_name,
        "turn": turn_of(task, now()).whose,
    }


def _view_json(view: TaskView) -> dict[str, Any]:
    return task_json(view.task) | {
        "outcome": view.outcome.name if view.outcome else None,
        "upstream": view.upstream,
        "ask_called": view.ask_called,
        "note": view.note,
        "matched_by": view.matched_by,
        "history": [{"at": iso(h.at), "what": h.what, "by": h.by, "detail": h.detail} for h in view.history],
    }

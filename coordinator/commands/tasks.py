"""`hopback-coordinator tasks`: what people at providers are asked, what they answered, and the letters about it."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.commands.attest import attest, draft_attestation, take
from coordinator.commands.frame import (
    Misconfigured,
    config_option,
    find_traceback,
    json_option,
    now,
    numbers_option,
    opened_store,
    show_rich,
    write_json,
)
from coordinator.commands.registry import operator_option, provider_id
from coordinator.commands.tables import iso, minute, table
from coordinator.commands.task_room import find_task, opened_desk, say_turn, turn_now
from coordinator.commands.turns import turn_lines
from protos.program import Commands

if TYPE_CHECKING:
    from coordinator.config import LoadedConfig
    from coordinator.tasks.desk import TaskView
    from coordinator.tasks.smtp import SmtpMailer
    from coordinator.tasks.task import Task
    from coordinator.tasks.turn import Turn

_WHY = {
    "review": "its agent holds the answer",
    "second_look": "once more: the provider that it named denies the handover",
}


@click.group(cls=Commands)
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
    with opened_desk(config_path) as room:
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
    with opened_desk(config_path) as room:
        view = room.desk.view(find_task(room.desk, task_id))
        suggested = room.book.index().suggest(view.task.upstream_name, now()) if view.task.upstream_name else ()
        turn = turn_now(room, view.task)
    if as_json:
        write_json(_view_json(view) | {"suggestions": [[one.provider, one.score, one.why] for one in suggested]})
        return
    from coordinator.present.chains import number

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
    show_rich(
        table(
            ("Time (UTC)", "What", "By", ""),
            [(minute(h.at), _HAPPENED.get(h.what, h.what), h.by, h.detail) for h in view.history],
        )
    )
    if suggested and view.upstream is None:
        rows_of = [(f"{one.score:.2f}", one.provider, one.alias, one.why) for one in suggested]
        show_rich(table(("Score", "Provider", "Known as", "Why"), rows_of, right=("Score",)))
    click.echo("\n".join(turn_lines(task, turn)))


@tasks.command()
@click.argument("traceback_id", metavar="TRACEBACK")
@config_option
def ask(traceback_id: str, config_path: Path) -> None:
    """Put the last question of TRACEBACK to a person, where the provider has no agent or holds its answer."""
    from coordinator.tasks.task import Asked, Kind
    from coordinator.tracing.chain import Status

    with opened_store(config_path) as (_, store):
        traceback = find_traceback(store, traceback_id).traceback
    kind = Kind.NO_AGENT if traceback.status is Status.NON_RESPONSIVE else Kind.of(traceback)
    if kind is None:
        wanted = ", ".join(one.value for one in (Status.NO_AGENT, Status.NEEDS_HUMAN, Status.NON_RESPONSIVE))
        raise click.UsageError(f"a person is asked where the status is one of {wanted}; it is {traceback.status.value}")
    position = len(traceback.hops) - 1
    question = traceback.hops[position].question
    with opened_desk(config_path) as room:
        asked = Asked.from_question(traceback.id, position, question, kind)
        say_turn(room, room.desk.ask(asked, now()))


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

    with opened_desk(config_path) as room:
        identity = find_task(room.desk, task_id)
        provider = room.desk.view(identity).task.asked.provider
        try:
            room.desk.answer_signed_in(provider, identity, fields, f"{operator} (taken down)", now())
        except AnswerError as error:
            problems = [_as_option(problem) for problem in error.problems]
            raise click.UsageError("\n  ".join(["this is no answer:", *problems])) from None
        say_turn(room, identity)


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
    with opened_desk(config_path) as room:
        identity, picked, at = find_task(room.desk, task_id), provider_id(provider), now()
        typed = room.desk.view(identity).task.upstream_name or ""
        shown = room.book.index().suggest(typed, at)
        room.desk.match(identity, picked, operator, at)
        room.book.record_match(typed, picked, operator, at, shown, f"task {identity}")
        click.echo(f"{typed!r} is {picked}.")
        say_turn(room, identity)


@tasks.command()
@click.argument("task_id", metavar="ID")
@click.option("--reason", default="", help="Why.")
@operator_option
@config_option
def withdraw(task_id: str, reason: str, operator: str, config_path: Path) -> None:
    """Take a question back."""
    with opened_desk(config_path) as room:
        done = room.desk.withdraw(find_task(room.desk, task_id), operator, reason, now())
    click.echo("Withdrawn." if done else "It was answered or withdrawn before; nothing was changed.")


@tasks.command("link")
@click.argument("task_id", metavar="ID")
@config_option
def new_link(task_id: str, config_path: Path) -> None:
    """Make a link that answers task ID once, to be handed over in person; it is shown now and never again."""
    with opened_desk(config_path) as room:
        token = room.desk.new_link(find_task(room.desk, task_id), now())
        link = room.loaded.config.tasks.link
        click.echo(token if link is None else link.replace("{token}", token))
        if link is None:
            click.echo(
                "[tasks] link names no place where people answer: this is the token alone, for `api answer --token`.",
                err=True,
            )


_HAPPENED = {
    "given_up": "given up",
    "queued": "letter written",
    "nobody_to_tell": "nobody to write to",
    "mail_sent": "letter sent",
    "mail_failed": "letter failed",
    "mail_dropped": "letter not needed any more",
    "attestation_void": "attestation void",
}
_DONE = {
    "put": "tasks put",
    "taken": "answers taken into their chains",
    "given_up": "tasks given up",
    "queued": "letters written",
    "sent": "sent",
    "delayed": "to be tried again",
    "failed": "failed for good",
    "dropped": "needless by now",
    "unsent": "letters not sent so far",
}


@tasks.command()
@json_option
@config_option
def run(as_json: bool, config_path: Path) -> None:
    """Do what is due: letters, reminders, escalations, giving up. Safe to run at any time, also twice at once."""
    import asyncio

    from coordinator.running.clerking import clerking
    from coordinator.running.leases import owner_name
    from coordinator.store.sql_store import opened
    from coordinator.tasks.outbox import unsent_letters

    at = now()
    with opened_desk(config_path) as room, opened(room.engine) as store:
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
        told = [f"{_DONE[name]} {count}" for name, count in counts.items() if count]
        click.echo(f"{', '.join(told).capitalize()}." if told else "Nothing was due.")
        if mailer is None and counts["unsent"]:
            click.echo("No [mail] is configured: letters stay in the outbox.", err=True)


def _mailer(loaded: LoadedConfig) -> SmtpMailer | None:
    from coordinator.config import ConfigError
    from coordinator.running.clerking import mailer_of

    try:
        return mailer_of(loaded)
    except ConfigError as error:
        raise Misconfigured(str(error)) from None


def _words(task: Task) -> str:
    from coordinator.tasks.task import State

    if task.state is State.MATCHING:
        return "a name is to be matched"
    if task.state is State.WITHDRAWN:
        return "withdrawn"
    return "to be attested" if task.to_attest else task.standing(now()).words


def task_of(config_path: Path, traceback_id: uuid.UUID) -> tuple[Task, Turn] | None:
    """The task that a traceback waits for, if it waits for one, and whose turn it is."""
    from coordinator.tasks.task import State

    waiting = (State.OPEN, State.MATCHING, State.GIVEN_UP)
    with opened_desk(config_path) as room:
        found = room.desk.list(traceback_id=traceback_id, states=waiting, to_attest=True)
        return (found[-1], turn_now(room, found[-1])) if found else None


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


for command in (attest, draft_attestation, take):
    tasks.add_command(command)

"""`hopback-agent review`: answers that wait for a person, and what the person decides about them.

Works beside a running agent, which writes every decision to the audit log before it counts. A decision is final: what
was approved may have left. The legal clock shown is the strict one, 24 hours from the first question.
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from agent.commands.frame import AS_JSON, CONFIG, console, fail, failures
from agent.params import Provider
from protos.program import Commands

if TYPE_CHECKING:
    from agent.config import AgentConfig
    from agent.review.held import Decided, Matter, State
    from agent.review.store import ReviewStore
    from protos.identity import ProviderId
    from protos.types import Answer

WHICH = click.argument("which", metavar="ID")
NOTE = click.option("--note", default="", help="Why; kept in the audit log, readable by this provider alone.")
OPERATOR = click.option("--as", "operator", default=getpass.getuser, help="Who decides; by default the user's name.")


@click.group(cls=Commands)
def review() -> None:
    """Answers that wait for a person: list, explain, approve, correct, refuse; release a customer's identity.

    \b
    hopback-agent review list /etc/hopback/agent.toml
    hopback-agent review approve /etc/hopback/agent.toml 4f1c09a2b7 --note "checked with the switch"
    """


@review.command("list")
@CONFIG
@click.option("--all", "everything", is_flag=True, help="Also what was decided.")
@AS_JSON
def list_held(config: Path, everything: bool, as_json: bool) -> None:
    """List what waits, with what is left of the legal clock.

    \b
    hopback-agent review list /etc/hopback/agent.toml
    """
    with failures(), _opened(config) as (_, store):
        from agent.review import present

        now = datetime.now(UTC)
        matters = list(store.all(waiting_only=not everything))
        if as_json:
            click.echo(json.dumps([present.as_json(matter, decided, now) for matter, decided in matters], indent=2))
        else:
            console().print(present.listing(matters, now))


@review.command()
@CONFIG
@WHICH
@AS_JSON
def explain(config: Path, which: str, as_json: bool) -> None:
    """Show all that led to a held answer: records considered, why this one.

    \b
    hopback-agent review explain /etc/hopback/agent.toml 4f1c09a2b7
    """
    with failures(), _opened(config) as (_, store):
        from agent.review import present

        matter = _found(store, which)
        found = store.get(matter.key)
        decided = None if found is None else found[1]
        now = datetime.now(UTC)
        if as_json:
            click.echo(json.dumps(present.as_json(matter, decided, now, whole=True), indent=2))
        else:
            console().print(present.explained(matter, decided, now))


@review.command()
@CONFIG
@WHICH
@NOTE
@OPERATOR
def approve(config: Path, which: str, note: str, operator: str) -> None:
    """Let a held answer leave as it is, with the next question about the same call.

    \b
    hopback-agent review approve /etc/hopback/agent.toml 4f1c09a2b7
    """
    with failures(), _opened(config) as (_, store):
        from agent.review.held import State

        matter = _found(store, which)
        _decide(store, matter, State.APPROVED, matter.proposed, operator, note)


@review.command()
@CONFIG
@WHICH
@click.option("--upstream", type=Provider(), help="The provider that handed the call over.")
@click.option("--foreign", type=Provider(), help="The foreign carrier that handed the call over.")
@click.option("--originated", is_flag=True, help="A customer of this provider placed the call.")
@click.option("--not-found", is_flag=True, help="There was no such call.")
@click.option("--note", required=True, help="Why; kept in the audit log, readable by this provider alone.")
@OPERATOR
def correct(
    config: Path,
    which: str,
    upstream: ProviderId | None,
    foreign: ProviderId | None,
    originated: bool,
    not_found: bool,
    note: str,
    operator: str,
) -> None:
    """Let another answer leave than was found. It is signed as this provider's, and the log shows who corrected it.

    \b
    hopback-agent review correct /etc/hopback/agent.toml 4f1c09a2b7 --upstream alder --note "trunk moved on Monday"
    """
    with failures(), _opened(config) as (loaded, store):
        from agent.review.held import State
        from protos.types import Answer, Outcome

        matter = _found(store, which)
        chosen = [
            *([(Outcome.UPSTREAM, upstream)] if upstream else []),
            *([(Outcome.FOREIGN_UPSTREAM, foreign)] if foreign else []),
            *([(Outcome.ORIGINATED_HERE, None)] if originated else []),
            *([(Outcome.NOT_FOUND, None)] if not_found else []),
        ]
        if len(chosen) != 1:
            raise click.UsageError("Say one of --upstream, --foreign, --originated, --not-found.")
        outcome, named = chosen[0]
        kept = matter.proposed if named is not None and matter.proposed.upstream is not None else None
        answer = Answer(
            loaded.me,
            outcome,
            upstream=named,
            ask_called=None if kept is None else kept.ask_called,
            handover=matter.proposed.handover,
        )
        _decide(store, matter, State.CORRECTED, answer, operator, note)


@review.command()
@CONFIG
@WHICH
@click.option("--note", required=True, help="Why; kept in the audit log, readable by this provider alone.")
@OPERATOR
def refuse(config: Path, which: str, note: str, operator: str) -> None:
    """Answer REFUSED (POLICY) instead.

    \b
    hopback-agent review refuse /etc/hopback/agent.toml 4f1c09a2b7 --note "not our call: the order has a wrong date"
    """
    with failures(), _opened(config) as (loaded, store):
        from agent.review.held import State
        from protos.types import Answer, Outcome, RefusalReason

        matter = _found(store, which)
        answer = Answer(loaded.me, Outcome.REFUSED, refusal=RefusalReason.POLICY)
        _decide(store, matter, State.REFUSED, answer, operator, note)


@review.command()
@CONFIG
@WHICH
@click.option(
    "--identity", type=click.File("r"), required=True, help="A text file with what is to be told; - for input."
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Where the sealed file goes."
)
@OPERATOR
def release(config: Path, which: str, identity: TextIO, out: Path, operator: str) -> None:
    """Seal a customer's identity to the coordinator that asked: for an answer ORIGINATED_HERE that a person let leave.

    The file can be read with the coordinator's sealing key alone (disclosure.sealing_keys). Send it, or hand it over.

    \b
    hopback-agent review release /etc/hopback/agent.toml 4f1c09a2b7 --identity customer.txt --out 4f1c09a2b7.sealed
    """
    with failures(), _opened(config) as (loaded, store):
        from agent.evidence_config import sealing_key
        from agent.review.held import State
        from agent.review.sealed_identity import LARGEST, About, seal_identity
        from protos.types import Outcome

        matter = _found(store, which)
        found = store.get(matter.key)
        decided = None if found is None else found[1]
        let_leave = decided is not None and decided.state in (State.APPROVED, State.CORRECTED)
        if decided is None or not let_leave or decided.answer.outcome is not Outcome.ORIGINATED_HERE:
            raise click.UsageError("An identity goes only with an answer ORIGINATED_HERE that a person approved.")
        coordinator = matter.asker.rpartition("/")[2]
        key = loaded.disclosure.sealing_keys.get(coordinator)
        if key is None:
            raise click.UsageError(f"There is no key of {coordinator} in [disclosure.sealing_keys].")
        text = identity.read()
        if not text.strip() or len(text.encode()) > LARGEST:
            raise click.UsageError(f"The identity must be a text of up to {LARGEST} bytes.")
        about = About(loaded.me, matter.asker, matter.order_sha256.hex(), matter.question_sha256.hex())
        sealed = seal_identity(text, about, sealing_key(key))
        store.release(matter.key, operator, sha256(sealed).digest())  # first: nothing is sealed that is not recorded
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(sealed)
        click.echo(f"{out}: sealed to {matter.asker}.")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[AgentConfig, ReviewStore]]:
    from agent.answering import REVIEW_FILE, review_secret
    from agent.audit.sealing import AuditKey
    from agent.config import load
    from agent.inspection import read_keys
    from agent.review.store import ReviewStore

    config = load(path)
    file = config.audit.directory / REVIEW_FILE
    if not file.exists():
        fail(f"{file}: nothing was ever held; the agent makes it when it first runs with [signing] and [orders]")
    store = ReviewStore(file, AuditKey(review_secret(read_keys(config).audit_secret())))
    try:
        yield config, store
    finally:
        store.close()


def _found(store: ReviewStore, which: str) -> Matter:
    matters = store.find(which) if which and all(c in "0123456789abcdef" for c in which.lower()) else []
    if len(matters) != 1:
        problem = "several held answers begin so" if matters else "there is no such held answer"
        raise click.UsageError(f"{which}: {problem}; `hopback-agent review list` shows them.")
    return matters[0]


def _decide(store: ReviewStore, matter: Matter, state: State, answer: Answer, operator: str, note: str) -> None:
    from agent.review.held import Decided
    from agent.review.store import AlreadyDecidedError

    decided: Decided = Decided(state, answer, operator, note, datetime.now(UTC))
    try:
        store.decide(matter.key, decided)
    except AlreadyDecidedError:
        raise click.UsageError(f"{matter.short}: somebody decided before; a decision is final.") from None
    click.echo(f"{matter.short}: {state.value}. The running agent logs it, and answers so from then on.")

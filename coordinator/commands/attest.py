"""`hopback-coordinator tasks attest`, `draft` and `take`: approvers seal what a person answered.

Here with the approver's key at hand, or by a file that is carried to where the key is, and back.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.commands.frame import BadData, config_option, now, text_of
from coordinator.commands.task_room import Room, find_task, opened_desk, say_turn

if TYPE_CHECKING:
    from coordinator.tasks.attesting import Draft
    from coordinator.tasks.ports import PersonsResult
    from protos.types import Question

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("name", metavar="ID|FILE")
@click.option("--key", "key_path", type=_file, required=True, help="Your private key (PEM, Ed25519).")
@click.option("--yes", "sure", is_flag=True, help="Don't ask whether this is what you attest.")
@config_option
def attest(name: str, key_path: Path, sure: bool, config_path: Path) -> None:
    """Sign, as an approver, that a person at a provider without an agent gave this answer.

    Takes a task by its ID, or on another machine a FILE that `draft` wrote.
    """
    from coordinator.commands.signing import signer_at
    from coordinator.tasks.attesting import AttestationError, from_file, to_file
    from coordinator.tasks.attesting import attest as sealed

    signer, file = signer_at(key_path), Path(name)
    try:
        if file.is_file():
            held = from_file(text_of(file))
            _show_draft(held, sure=sure)
            file.write_text(to_file(sealed(held, signer)), encoding="utf-8")
            click.echo(f"{file}: signed. Send it back, for `hopback-coordinator tasks take {file}`.")
            return
        with opened_desk(config_path) as room:
            held = _drafted(room, find_task(room.desk, name))
            _show_draft(held, sure=sure)
            click.echo(f"Attested by {_take_in(room, sealed(held, signer))}.")
            say_turn(room, held.task_id)
    except AttestationError as error:
        raise BadData(f"{name}: {error}") from None


@click.command("draft")
@click.argument("task_id", metavar="ID")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write.")
@config_option
def draft_attestation(task_id: str, out: Path, config_path: Path) -> None:
    """Write the answer to task ID to a file, to be attested elsewhere. A telephone number stands in it."""
    from coordinator.tasks.attesting import AttestationError, to_file

    with opened_desk(config_path) as room:
        try:
            held = _drafted(room, find_task(room.desk, task_id))
        except AttestationError as error:
            raise BadData(f"{task_id}: {error}") from None
    out.touch(mode=0o600)
    out.write_text(to_file(held), encoding="utf-8")
    click.echo(f"{out}: sign it with `hopback-coordinator tasks attest {out} --key KEY`.")


@click.command()
@click.argument("file", type=_file)
@config_option
def take(file: Path, config_path: Path) -> None:
    """Take in a FILE that was attested elsewhere; the signature is checked."""
    from coordinator.tasks.attesting import AttestationError, from_file

    with opened_desk(config_path) as room:
        try:
            held = from_file(text_of(file))
            click.echo(f"Attested by {_take_in(room, held)}.")
            say_turn(room, held.task_id)
        except AttestationError as error:
            raise BadData(f"{file}: {error}") from None


def _drafted(room: Room, task_id: uuid.UUID) -> Draft:
    from coordinator.tasks.attesting import draft

    result = room.desk.answer_of(task_id)
    return draft(result, _question(room, result))


def _question(room: Room, result: PersonsResult) -> Question:
    from coordinator.store.sql_store import SqlStore
    from coordinator.tasks.attesting import AttestationError, question_of

    kept = SqlStore(room.engine).load(result.traceback_id)
    if kept is None:
        raise AttestationError("its traceback is not in the database any more")
    return question_of(kept.traceback, result)


def _take_in(room: Room, held: Draft) -> str:
    """Keep an attestation that counts; whose it is."""
    from coordinator.store.orders import OrderBook
    from coordinator.tasks.attesting import AttestationError, attester

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
    from coordinator.tasks.attesting import AttestationError
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

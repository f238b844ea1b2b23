"""What the commands about tasks share: the desk that they work at, the task that is meant, whose turn it is then."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.commands.frame import Failed, now, opened_engine
from coordinator.commands.turns import turn_at, turn_lines

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from coordinator.config import LoadedConfig
    from coordinator.registry.book import RegistryBook
    from coordinator.tasks.desk import TaskDesk
    from coordinator.tasks.task import Task
    from coordinator.tasks.turn import Turn


@dataclass(frozen=True, slots=True)
class Room:
    """Where a command about tasks works."""

    loaded: LoadedConfig
    engine: Engine
    book: RegistryBook
    desk: TaskDesk


@contextmanager
def opened_desk(config_path: Path) -> Iterator[Room]:
    """The desk over the configured database; what it refuses ends the command."""
    from coordinator.registry.book import RegistryBook
    from coordinator.tasks.desk import TaskDesk, TaskError

    with opened_engine(config_path) as (loaded, engine):
        book = RegistryBook(engine, loaded.config.deadlines)
        try:
            yield Room(
                loaded, engine, book, TaskDesk(engine, book, book, link_lifetime=loaded.config.tasks.link_lifetime)
            )
        except TaskError as error:
            raise Failed(str(error)) from None


def find_task(desk: TaskDesk, prefix: str) -> uuid.UUID:
    """The task whose id begins with `prefix`."""
    found = desk.find(prefix)
    if len(found) != 1:
        what = "no task begins" if not found else "several tasks begin"
        raise click.UsageError(f"{what} with {prefix!r}: see `hopback-coordinator tasks list --all`")
    return found[0]


def turn_now(room: Room, task: Task) -> Turn:
    """Whose turn it is on `task`."""
    return turn_at(room.loaded, room.book, task, now())


def say_turn(room: Room, task_id: uuid.UUID) -> None:
    """Print whose turn it is on a task, and what to do."""
    task = room.desk.view(task_id).task
    click.echo("\n".join(turn_lines(task, turn_now(room, task))))

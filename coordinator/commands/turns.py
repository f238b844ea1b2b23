"""Whose turn it is on a task, as commands say it: with whether anybody at the provider is written to."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coordinator.config import LoadedConfig
    from coordinator.registry.book import RegistryBook
    from coordinator.tasks.task import Task
    from coordinator.tasks.turn import Turn


def turn_at(loaded: LoadedConfig, book: RegistryBook, task: Task, now: datetime) -> Turn:
    """Whose turn it is on `task` at `now`."""
    from coordinator.tasks.task import NoticeKind
    from coordinator.tasks.turn import turn_of

    provider, untold = task.asked.provider, ""
    if not book.recipients(provider, NoticeKind.INVITATION, 1):
        propose = f"`hopback-coordinator registry propose {provider} contact MAIL --reason WHY`"
        untold = f"the registry has no contact there ({propose})"
    elif loaded.config.mail is None:
        untold = f"no [mail] is configured in {loaded.file.name}"
    return turn_of(task, now, untold)


def turn_lines(task: Task, turn: Turn) -> tuple[str, ...]:
    """Whose turn it is and, where there is something, what to do."""
    words = f"Task {str(task.id)[:8]}: {turn.words}."
    return (words, f"Next: {turn.next}") if turn.next else (words,)

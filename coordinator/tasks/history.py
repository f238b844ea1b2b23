"""What happened to a task, written down with the change itself."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from coordinator.store.task_models import task_history


def note_history(
    connection: Connection, task_id: uuid.UUID, at: datetime, what: str, by: str, detail: str = ""
) -> None:
    """Add to a task's history, within the caller's transaction, which has changed or locked the task."""
    last = connection.execute(select(func.max(task_history.c.number)).where(task_history.c.task_id == task_id)).scalar()
    entry = {"task_id": task_id, "number": (last or 0) + 1, "at": at, "what": what, "by": by, "detail": detail}
    connection.execute(insert(task_history), entry)

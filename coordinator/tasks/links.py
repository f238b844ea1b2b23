"""Links that answer one task for one provider, once: made, looked up, used, revoked; within the caller's transaction.

Only the digest of a link's token is stored.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from coordinator.store.task_models import task_links
from coordinator.tasks.looking import TaskError, task_row
from coordinator.tasks.rows import task_at
from coordinator.tasks.task import Task
from coordinator.tasks.tokens import token_digest

_USED = "this link was used already, or the question was answered or taken back"


class LinkError(TaskError):
    """The link is none, is used, revoked or expired."""


def keep(connection: Connection, token: str, task: Task, now: datetime, expires: datetime) -> None:
    """Let a token of our own making answer `task`."""
    row = {"token_sha256": token_digest(token), "task_id": task.id, "provider": task.asked.provider}
    connection.execute(insert(task_links), row | {"made_at": now, "expires": expires})


def use(connection: Connection, token: str, now: datetime) -> None:
    """Use a link up.

    Raises:
        LinkError: somebody else was quicker.
    """
    link = task_links.c.token_sha256 == token_digest(token)
    used = update(task_links).where(link, task_links.c.used_at.is_(None), task_links.c.revoked_at.is_(None))
    if connection.execute(used.values(used_at=now)).rowcount != 1:
        raise LinkError(_USED)


def revoke(connection: Connection, task_id: uuid.UUID, now: datetime) -> None:
    """Let no link answer this task any more."""
    still = (task_links.c.task_id == task_id, task_links.c.used_at.is_(None), task_links.c.revoked_at.is_(None))
    connection.execute(update(task_links).where(*still).values(revoked_at=now))


def linked(connection: Connection, token: str, now: datetime, *, lock: bool = False) -> Task:
    """The link's task; with `lock` nobody else answers it meanwhile, and all take their locks in one order.

    Raises:
        LinkError: the link is none, or of no use any more.
    """
    digest = token_digest(token)
    query = select(task_links).where(task_links.c.token_sha256 == digest)
    link = connection.execute(query).mappings().first() if digest is not None else None
    if link is None:
        raise LinkError("this link leads nowhere: it may have been cut in the letter; copy the whole of it")
    if link["used_at"] is not None or link["revoked_at"] is not None:
        raise LinkError(_USED)
    if link["expires"] <= now:
        raise LinkError("this link has expired: ask for a new one")
    return task_at(task_row(connection, link["task_id"], link["provider"], lock=lock))

"""The tables of tasks for people: what is asked of whom, the letters about it, the links that answer it, its history.

    tasks  1 --- n  task_notices    when to remind and escalate
           1 --- n  task_links      SHA-256 of each token that was sent; the token itself is never stored
           1 --- n  task_history    what happened, by whom
           1 --- 1  task_attestations   the answer as an approver sealed it
           1 --- n  letters         the outbox: each letter once, sent at least once under one Message-ID

States of a task: see `coordinator.tasks.task`.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from coordinator.store.models import Base, UtcDateTime

_UNTAKEN = "result_at IS NOT NULL AND taken_at IS NULL"

tasks = Table(
    "tasks",
    Base.metadata,
    Column("id", Uuid, primary_key=True, comment="Follows from the question's id"),
    Column("traceback_id", Uuid, ForeignKey("tracebacks.id"), nullable=False, comment="The traceback it belongs to"),
    Column("position", Integer, nullable=False, comment="Place in the chain; 0 is the terminating provider"),
    Column("question_id", Uuid, nullable=False, comment="Id of the question that a person is to answer"),
    Column("kind", String(16), nullable=False, comment="coordinator.tasks.task.Kind"),
    Column("provider", String(63), nullable=False, comment="Id of the provider that is asked"),
    Column("called", String(16), nullable=False, comment="E.164 of the number to look for; a pseudonym once old"),
    Column("at", UtcDateTime, nullable=False, comment="Seizure time to look for, UTC"),
    Column("window_ms", Integer, nullable=False, comment="How far from `at` records may lie, either side, in ms"),
    Column("named_by", String(63), comment="Id of the provider that named this one; null for the terminating provider"),
    Column("state", String(16), nullable=False, comment="coordinator.tasks.task.State"),
    Column("version", Integer, nullable=False, comment="Number of changes; a writer must name the present one"),
    Column("received", UtcDateTime, nullable=False, comment="When it was put, UTC"),
    Column("counts_from", UtcDateTime, nullable=False, comment="When it counts as received, UTC"),
    Column("due", UtcDateTime, nullable=False, comment="When the answer is due, UTC"),
    Column("gives_up", UtcDateTime, nullable=False, comment="When the provider becomes non-responsive, UTC"),
    Column("answered_at", UtcDateTime, comment="When the provider's person answered, UTC; null before"),
    Column("answered_by", Text, comment="Who answered, in words; null before"),
    Column("outcome", String(24), comment="protos.types.Outcome of the answer; null before"),
    Column("upstream", String(63), comment="Id of the upstream; null where none is named or none is matched yet"),
    Column("upstream_name", Text, comment="The upstream as a person typed it; null where an id was given"),
    Column("handover", String(16), comment="protos.types.Handover of the answer; null before"),
    Column("ask_called", String(16), comment="E.164 to ask the upstream for; null if unchanged; a pseudonym once old"),
    Column("time_correction_s", Integer, comment="Seconds to add to `at` for the upstream; null before"),
    Column("refusal", String(24), comment="protos.types.RefusalReason of a refusal; null otherwise"),
    Column("note", Text, nullable=False, comment="What the person wrote besides, for analysts; emptied once old"),
    Column("matched_by", Text, comment="Who matched the typed upstream to an id; null where nobody had to"),
    Column("result_at", UtcDateTime, comment="When there was something for the traceback to take, UTC; null before"),
    Column("taken_at", UtcDateTime, comment="When the traceback took it, UTC; null before"),
    UniqueConstraint("question_id"),
    Index("ix_tasks_state_gives_up", "state", "gives_up"),
    Index("ix_tasks_provider_state", "provider", "state"),
    Index("ix_tasks_untaken", "result_at", sqlite_where=text(_UNTAKEN), postgresql_where=text(_UNTAKEN)),
    Index("ix_tasks_traceback_id", "traceback_id"),
    comment="What a person at a provider is asked",
)

task_notices = Table(
    "task_notices",
    Base.metadata,
    Column("task_id", Uuid, ForeignKey("tasks.id"), primary_key=True, comment="The task that it is about"),
    Column("kind", String(16), primary_key=True, comment="coordinator.tasks.task.NoticeKind"),
    Column("number", Integer, primary_key=True, autoincrement=False, comment="Counted from 1 within its kind"),
    Column("due", UtcDateTime, nullable=False, comment="When it is to be sent, UTC"),
    Column("done_at", UtcDateTime, comment="When it was put into the outbox or dropped, UTC; null before"),
    Index("ix_task_notices_done_at_due", "done_at", "due"),
    comment="When to invite, remind and escalate",
)

task_links = Table(
    "task_links",
    Base.metadata,
    Column("token_sha256", LargeBinary(32), primary_key=True, comment="SHA-256 of the token in the link"),
    Column("task_id", Uuid, ForeignKey("tasks.id"), nullable=False, comment="The one task that it answers"),
    Column("provider", String(63), nullable=False, comment="The one provider that it answers for"),
    Column("made_at", UtcDateTime, nullable=False, comment="When it was made, UTC"),
    Column("expires", UtcDateTime, nullable=False, comment="From when it is of no use, UTC"),
    Column("used_at", UtcDateTime, comment="When an answer was given with it, UTC; null before"),
    Column("revoked_at", UtcDateTime, comment="When it was revoked, UTC; null if it was not"),
    Index("ix_task_links_task_id", "task_id"),
    comment="Links that answer one task for one provider, once",
)

task_history = Table(
    "task_history",
    Base.metadata,
    Column("task_id", Uuid, ForeignKey("tasks.id"), primary_key=True, comment="The task"),
    Column("number", Integer, primary_key=True, autoincrement=False, comment="Counted from 1 within the task"),
    Column("at", UtcDateTime, nullable=False, comment="When it happened, UTC"),
    Column("what", String(24), nullable=False, comment="A stable word, such as answered"),
    Column("by", Text, nullable=False, comment="Who did it, in words"),
    Column("detail", Text, nullable=False, comment="More in words; holds no number of a subscriber"),
    comment="What happened to tasks, never changed afterwards",
)

task_attestations = Table(
    "task_attestations",
    Base.metadata,
    Column("task_id", Uuid, ForeignKey("tasks.id"), primary_key=True, comment="The task whose answer it is"),
    Column("kept", LargeBinary, nullable=False, comment="The sealed answer in the form of coordinator.tracing.signed"),
    Column("attested_by", Text, nullable=False, comment="Name of the approver"),
    Column("at", UtcDateTime, nullable=False, comment="When it was taken in, UTC"),
    comment="Persons' answers that an approver attested",
)

letters = Table(
    "letters",
    Base.metadata,
    Column("id", Uuid, primary_key=True, comment="Follows from task, notice and recipient; makes the Message-ID"),
    Column("task_id", Uuid, ForeignKey("tasks.id"), nullable=False, comment="The task that it is about"),
    Column("kind", String(16), nullable=False, comment="coordinator.tasks.task.NoticeKind"),
    Column("number", Integer, nullable=False, comment="Counted from 1 within its kind"),
    Column("recipient", Text, nullable=False, comment="E-mail address"),
    Column("state", String(16), nullable=False, comment="queued, sent, failed or dropped"),
    Column("queued_at", UtcDateTime, nullable=False, comment="When it was put here, UTC"),
    Column("next_at", UtcDateTime, nullable=False, comment="When to try, or when a claim on it ends, UTC"),
    Column("attempts", Integer, nullable=False, comment="How often sending began; a sender must name the present one"),
    Column("sent_at", UtcDateTime, comment="When the server took it, UTC; null before"),
    Column("detail", Text, nullable=False, comment="What went wrong last, in words"),
    Index("ix_letters_state_next_at", "state", "next_at"),
    Index("ix_letters_task_id", "task_id"),
    comment="The outbox; letters are rendered when they are sent, so that no token lies here",
)

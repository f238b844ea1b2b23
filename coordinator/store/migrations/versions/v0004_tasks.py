"""Tasks for people, their links and history, the outbox of letters.

Revision: 0004, after 0003.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from coordinator.store.models import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.Uuid(), nullable=False, comment="Follows from the question's id"),
        sa.Column("traceback_id", sa.Uuid(), nullable=False, comment="The traceback it belongs to"),
        sa.Column(
            "position", sa.Integer(), nullable=False, comment="Place in the chain; 0 is the terminating provider"
        ),
        sa.Column("question_id", sa.Uuid(), nullable=False, comment="Id of the question that a person is to answer"),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="coordinator.tasks.task.Kind"),
        sa.Column("provider", sa.String(length=63), nullable=False, comment="Id of the provider that is asked"),
        sa.Column(
            "called",
            sa.String(length=16),
            nullable=False,
            comment="E.164 of the number to look for; a pseudonym once old",
        ),
        sa.Column("at", UtcDateTime(), nullable=False, comment="Seizure time to look for, UTC"),
        sa.Column(
            "window_ms", sa.Integer(), nullable=False, comment="How far from `at` records may lie, either side, in ms"
        ),
        sa.Column(
            "named_by",
            sa.String(length=63),
            nullable=True,
            comment="Id of the provider that named this one; null for the terminating provider",
        ),
        sa.Column("state", sa.String(length=16), nullable=False, comment="coordinator.tasks.task.State"),
        sa.Column(
            "version", sa.Integer(), nullable=False, comment="Number of changes; a writer must name the present one"
        ),
        sa.Column("received", UtcDateTime(), nullable=False, comment="When it was put, UTC"),
        sa.Column("counts_from", UtcDateTime(), nullable=False, comment="When it counts as received, UTC"),
        sa.Column("due", UtcDateTime(), nullable=False, comment="When the answer is due, UTC"),
        sa.Column("gives_up", UtcDateTime(), nullable=False, comment="When the provider becomes non-responsive, UTC"),
        sa.Column(
            "answered_at", UtcDateTime(), nullable=True, comment="When the provider's person answered, UTC; null before"
        ),
        sa.Column("answered_by", sa.Text(), nullable=True, comment="Who answered, in words; null before"),
        sa.Column(
            "outcome", sa.String(length=24), nullable=True, comment="protos.types.Outcome of the answer; null before"
        ),
        sa.Column(
            "upstream",
            sa.String(length=63),
            nullable=True,
            comment="Id of the upstream; null where none is named or none is matched yet",
        ),
        sa.Column(
            "upstream_name",
            sa.Text(),
            nullable=True,
            comment="The upstream as a person typed it; null where an id was given",
        ),
        sa.Column(
            "handover", sa.String(length=16), nullable=True, comment="protos.types.Handover of the answer; null before"
        ),
        sa.Column(
            "ask_called",
            sa.String(length=16),
            nullable=True,
            comment="E.164 to ask the upstream for; null if unchanged; a pseudonym once old",
        ),
        sa.Column(
            "time_correction_s",
            sa.Integer(),
            nullable=True,
            comment="Seconds to add to `at` for the upstream; null before",
        ),
        sa.Column(
            "refusal",
            sa.String(length=24),
            nullable=True,
            comment="protos.types.RefusalReason of a refusal; null otherwise",
        ),
        sa.Column(
            "note", sa.Text(), nullable=False, comment="What the person wrote besides, for analysts; emptied once old"
        ),
        sa.Column(
            "matched_by",
            sa.Text(),
            nullable=True,
            comment="Who matched the typed upstream to an id; null where nobody had to",
        ),
        sa.Column(
            "result_at",
            UtcDateTime(),
            nullable=True,
            comment="When there was something for the traceback to take, UTC; null before",
        ),
        sa.Column("taken_at", UtcDateTime(), nullable=True, comment="When the traceback took it, UTC; null before"),
        sa.ForeignKeyConstraint(["traceback_id"], ["tracebacks.id"], name=op.f("fk_tasks_traceback_id_tracebacks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("question_id", name=op.f("uq_tasks_question_id")),
        comment="What a person at a provider is asked",
    )
    op.create_index("ix_tasks_provider_state", "tasks", ["provider", "state"], unique=False)
    op.create_index("ix_tasks_result_at_taken_at", "tasks", ["result_at", "taken_at"], unique=False)
    op.create_index("ix_tasks_state_gives_up", "tasks", ["state", "gives_up"], unique=False)
    op.create_index("ix_tasks_traceback_id", "tasks", ["traceback_id"], unique=False)
    op.create_table(
        "letters",
        sa.Column(
            "id", sa.Uuid(), nullable=False, comment="Follows from task, notice and recipient; makes the Message-ID"
        ),
        sa.Column("task_id", sa.Uuid(), nullable=False, comment="The task that it is about"),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="coordinator.tasks.task.NoticeKind"),
        sa.Column("number", sa.Integer(), nullable=False, comment="Counted from 1 within its kind"),
        sa.Column("recipient", sa.Text(), nullable=False, comment="E-mail address"),
        sa.Column("state", sa.String(length=16), nullable=False, comment="queued, sent, failed or dropped"),
        sa.Column("queued_at", UtcDateTime(), nullable=False, comment="When it was put here, UTC"),
        sa.Column("next_at", UtcDateTime(), nullable=False, comment="When to try, or when a claim on it ends, UTC"),
        sa.Column(
            "attempts",
            sa.Integer(),
            nullable=False,
            comment="How often sending began; a sender must name the present one",
        ),
        sa.Column("sent_at", UtcDateTime(), nullable=True, comment="When the server took it, UTC; null before"),
        sa.Column("detail", sa.Text(), nullable=False, comment="What went wrong last, in words"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_letters_task_id_tasks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_letters")),
        comment="The outbox; letters are rendered when they are sent, so that no token lies here",
    )
    op.create_index("ix_letters_state_next_at", "letters", ["state", "next_at"], unique=False)
    op.create_index("ix_letters_task_id", "letters", ["task_id"], unique=False)
    op.create_table(
        "task_history",
        sa.Column("task_id", sa.Uuid(), nullable=False, comment="The task"),
        sa.Column(
            "number", sa.Integer(), autoincrement=False, nullable=False, comment="Counted from 1 within the task"
        ),
        sa.Column("at", UtcDateTime(), nullable=False, comment="When it happened, UTC"),
        sa.Column("what", sa.String(length=24), nullable=False, comment="A stable word, such as answered"),
        sa.Column("by", sa.Text(), nullable=False, comment="Who did it, in words"),
        sa.Column("detail", sa.Text(), nullable=False, comment="More in words; holds no number of a subscriber"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_task_history_task_id_tasks")),
        sa.PrimaryKeyConstraint("task_id", "number", name=op.f("pk_task_history")),
        comment="What happened to tasks, never changed afterwards",
    )
    op.create_table(
        "task_links",
        sa.Column(
            "token_sha256", sa.LargeBinary(length=32), nullable=False, comment="SHA-256 of the token in the link"
        ),
        sa.Column("task_id", sa.Uuid(), nullable=False, comment="The one task that it answers"),
        sa.Column("provider", sa.String(length=63), nullable=False, comment="The one provider that it answers for"),
        sa.Column("made_at", UtcDateTime(), nullable=False, comment="When it was made, UTC"),
        sa.Column("expires", UtcDateTime(), nullable=False, comment="From when it is of no use, UTC"),
        sa.Column(
            "used_at", UtcDateTime(), nullable=True, comment="When an answer was given with it, UTC; null before"
        ),
        sa.Column("revoked_at", UtcDateTime(), nullable=True, comment="When it was revoked, UTC; null if it was not"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_task_links_task_id_tasks")),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_task_links")),
        comment="Links that answer one task for one provider, once",
    )
    op.create_index("ix_task_links_task_id", "task_links", ["task_id"], unique=False)
    op.create_table(
        "task_notices",
        sa.Column("task_id", sa.Uuid(), nullable=False, comment="The task that it is about"),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="coordinator.tasks.task.NoticeKind"),
        sa.Column(
            "number", sa.Integer(), autoincrement=False, nullable=False, comment="Counted from 1 within its kind"
        ),
        sa.Column("due", UtcDateTime(), nullable=False, comment="When it is to be sent, UTC"),
        sa.Column(
            "done_at",
            UtcDateTime(),
            nullable=True,
            comment="When it was put into the outbox or dropped, UTC; null before",
        ),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_task_notices_task_id_tasks")),
        sa.PrimaryKeyConstraint("task_id", "kind", "number", name=op.f("pk_task_notices")),
        comment="When to invite, remind and escalate",
    )
    op.create_index("ix_task_notices_done_at_due", "task_notices", ["done_at", "due"], unique=False)

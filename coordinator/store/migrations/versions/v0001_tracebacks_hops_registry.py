"""Tracebacks, hops, batches, the registry.

Revision: 0001, after nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from coordinator.store.models import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "batches",
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False, comment="SHA-256 of `sent`"),
        sa.Column("provider", sa.String(length=63), nullable=False, comment="Id of the provider that was asked"),
        sa.Column("sent", sa.LargeBinary(), nullable=False, comment="The exact bytes of hopback.v1.QuestionBatch"),
        sa.Column("received", sa.LargeBinary(), nullable=False, comment="The exact bytes of hopback.v1.AnswerBatch"),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_batches")),
        comment="A batch of questions and its answers, as they travelled",
    )
    op.create_table(
        "providers",
        sa.Column("id", sa.String(length=63), nullable=False, comment="Internal id, as in its certificate"),
        sa.Column("name", sa.Text(), nullable=False, comment="Name for people"),
        sa.Column("endpoint", sa.Text(), nullable=True, comment="host:port of its agent; null where it has none"),
        sa.Column("country", sa.String(length=2), nullable=True, comment="ISO 3166-1 alpha-2 code; null if not stated"),
        sa.Column("role", sa.String(length=32), nullable=True, comment="What it says it does; null if not stated"),
        sa.Column("added_at", UtcDateTime(), nullable=False, comment="When it was added or replaced, UTC"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_providers")),
        comment="The registry",
    )
    op.create_table(
        "tracebacks",
        sa.Column("id", sa.Uuid(), nullable=False, comment="Random; every question id derives from it"),
        sa.Column(
            "called",
            sa.String(length=16),
            nullable=False,
            comment="E.164 of the called number at the terminating provider",
        ),
        sa.Column(
            "at", UtcDateTime(), nullable=False, comment="Seizure time at the terminating provider, UTC, whole ms"
        ),
        sa.Column(
            "terminating", sa.String(length=63), nullable=False, comment="Id of the provider that is asked first"
        ),
        sa.Column(
            "calling", sa.String(length=16), nullable=True, comment="E.164 shown as caller ID: a claim; null if none"
        ),
        sa.Column(
            "window_ms", sa.Integer(), nullable=False, comment="How far from `at` records may lie, either side, in ms"
        ),
        sa.Column("hop_limit", sa.Integer(), nullable=False, comment="How many providers may be asked at most"),
        sa.Column("status", sa.String(length=24), nullable=False, comment="coordinator.tracing.chain.Status"),
        sa.Column("due", UtcDateTime(), nullable=True, comment="When to ask again; set while waiting alone"),
        sa.Column(
            "found", sa.String(length=63), nullable=True, comment="Id of the originating or gateway provider, if found"
        ),
        sa.Column("hop_count", sa.Integer(), nullable=False, comment="Number of hops so far"),
        sa.Column(
            "version", sa.Integer(), nullable=False, comment="Number of changes; a writer must name the present one"
        ),
        sa.Column("submitted_at", UtcDateTime(), nullable=False, comment="When it was submitted, UTC"),
        sa.Column("changed_at", UtcDateTime(), nullable=False, comment="When it last changed, UTC"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tracebacks")),
        comment="One call to trace, and where its tracing stands",
    )
    op.create_index("ix_tracebacks_status_due", "tracebacks", ["status", "due"], unique=False)
    op.create_index("ix_tracebacks_submitted_at", "tracebacks", ["submitted_at"], unique=False)
    op.create_table(
        "hops",
        sa.Column("traceback_id", sa.Uuid(), nullable=False, comment="The traceback that it belongs to"),
        sa.Column(
            "position",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="Place in the chain; 0 is the terminating provider",
        ),
        sa.Column(
            "round",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="How often the hop was asked anew, counted from 1",
        ),
        sa.Column(
            "question_id", sa.Uuid(), nullable=False, comment="Id in the question; derives from the key of this row"
        ),
        sa.Column("provider", sa.String(length=63), nullable=False, comment="Id of the provider that was asked"),
        sa.Column(
            "question",
            sa.LargeBinary(),
            nullable=False,
            comment="The exact bytes of hopback.v1.Question, as sent; restated where it travelled in a batch",
        ),
        sa.Column(
            "answer",
            sa.LargeBinary(),
            nullable=True,
            comment="The exact bytes that came back, also where no hopback.v1.Answer; restated if they came in a batch",
        ),
        sa.Column(
            "batch",
            sa.LargeBinary(length=32),
            nullable=True,
            comment="The batch whose bytes are the evidence; null if asked singly",
        ),
        sa.Column(
            "outcome",
            sa.String(length=24),
            nullable=True,
            comment="protos.types.Outcome of an accepted answer; null where there is none",
        ),
        sa.Column(
            "problem",
            sa.String(length=24),
            nullable=True,
            comment="coordinator.tracing.chain.Problem; null where nothing went wrong",
        ),
        sa.Column("detail", sa.Text(), nullable=False, comment="The problem in words; holds no number of a subscriber"),
        sa.Column("failures", sa.Integer(), nullable=False, comment="Attempts in a row that reached no answer"),
        sa.Column("asked_at", UtcDateTime(), nullable=False, comment="When it was first asked, UTC"),
        sa.Column("ended_at", UtcDateTime(), nullable=True, comment="When it was answered or last failed, UTC"),
        sa.ForeignKeyConstraint(["batch"], ["batches.sha256"], name=op.f("fk_hops_batch_batches")),
        sa.ForeignKeyConstraint(["traceback_id"], ["tracebacks.id"], name=op.f("fk_hops_traceback_id_tracebacks")),
        sa.PrimaryKeyConstraint("traceback_id", "position", "round", name=op.f("pk_hops")),
        comment="One question to one provider, and what came of it",
    )

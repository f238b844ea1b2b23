"""Persons' answers that an approver attested.

Revision: 0009, after 0008.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from coordinator.store.models import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "task_attestations",
        sa.Column("task_id", sa.Uuid(), nullable=False, comment="The task whose answer it is"),
        sa.Column(
            "kept",
            sa.LargeBinary(),
            nullable=False,
            comment="The sealed answer in the form of coordinator.tracing.signed",
        ),
        sa.Column("attested_by", sa.Text(), nullable=False, comment="Name of the approver"),
        sa.Column("at", UtcDateTime(), nullable=False, comment="When it was taken in, UTC"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_task_attestations_task_id_tasks")),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_task_attestations")),
        comment="Persons' answers that an approver attested",
    )

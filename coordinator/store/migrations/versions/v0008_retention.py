"""Tracebacks whose telephone numbers were taken out.

Revision: 0008, after 0007.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from coordinator.store.models import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "retired_tracebacks",
        sa.Column("traceback_id", sa.Uuid(), nullable=False, comment="The traceback"),
        sa.Column(
            "retired_at", UtcDateTime(), nullable=False, comment="When its numbers were replaced by pseudonyms, UTC"
        ),
        sa.ForeignKeyConstraint(
            ["traceback_id"], ["tracebacks.id"], name=op.f("fk_retired_tracebacks_traceback_id_tracebacks")
        ),
        sa.PrimaryKeyConstraint("traceback_id", name=op.f("pk_retired_tracebacks")),
        comment="Tracebacks that hold pseudonyms in place of telephone numbers",
    )

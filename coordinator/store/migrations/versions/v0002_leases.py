"""Who drives a traceback, until when, and whose turn it is.

What is open may be claimed from when it is due, or from its last change; whatever was submitted before has no priority.

Revision: 0002, after 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from coordinator.store.models import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_CLOSED_UNLESS = "('submitted', 'asking', 'retrying', 'not_yet_available')"


def upgrade() -> None:
    for column in (
        sa.Column(
            "priority",
            sa.SmallInteger(),
            server_default="3",
            nullable=False,
            comment="coordinator.tracing.priorities.Priority; 0 comes first",
        ),
        sa.Column(
            "owner",
            sa.String(length=128),
            nullable=True,
            comment="Process that drives it, until `claimable`; null if none does",
        ),
        sa.Column(
            "claimable",
            UtcDateTime(),
            nullable=True,
            comment="From when any process may claim it: when due, or when its lease ends; null when closed",
        ),
        sa.Column(
            "fence",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="Number of claims; a writer must name the present one",
        ),
    ):
        op.add_column("tracebacks", column)
    op.execute(
        "UPDATE tracebacks SET claimable = coalesce(due, changed_at) "  # noqa: S608  no value from outside
        f"WHERE status IN {_CLOSED_UNLESS}"
    )
    op.drop_index("ix_tracebacks_status_due", "tracebacks")
    op.create_index("ix_tracebacks_claimable", "tracebacks", ["claimable"], unique=False)
    op.create_index("ix_tracebacks_priority_claimable", "tracebacks", ["priority", "claimable"], unique=False)

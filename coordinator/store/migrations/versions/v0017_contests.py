"""Why hops were asked once more whose record was given for two calls; chains are found by when they stopped.

Revision: 0017, after 0016.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("hops") as hops:
        hops.add_column(
            sa.Column(
                "contested",
                sa.LargeBinary(),
                nullable=True,
                comment="coordinator.tracing.signed.Contest: why it was asked once more; "
                "null where no answer before was contested",
            )
        )
    stopped = sa.text("status NOT IN ('submitted', 'asking')")
    op.create_index(
        "ix_tracebacks_stopped",
        "tracebacks",
        ["changed_at"],
        unique=False,
        sqlite_where=stopped,
        postgresql_where=stopped,
    )

"""Namings of sister calls beside the questions that name them; calls to one number are found together.

Revision: 0014, after 0013.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("hops") as hops:
        hops.add_column(
            sa.Column(
                "sisters",
                sa.LargeBinary(),
                nullable=True,
                comment="Namings of sister calls that the question names, with proofs; null where there are none",
            )
        )
    op.create_index("ix_tracebacks_called_at", "tracebacks", ["called", "at"], unique=False)
    ambiguous = sa.text("status = 'ambiguous'")
    op.create_index(
        "ix_tracebacks_ambiguous",
        "tracebacks",
        ["expires"],
        unique=False,
        sqlite_where=ambiguous,
        postgresql_where=ambiguous,
    )

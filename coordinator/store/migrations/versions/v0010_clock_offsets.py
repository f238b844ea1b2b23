"""What answers showed of how far neighbours' clocks are apart.

Revision: 0010, after 0009.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "clock_observations",
        sa.Column("question_id", sa.Uuid(), nullable=False, comment="The question whose answer showed it"),
        sa.Column("named_by", sa.String(length=63), nullable=False, comment="Id of the provider that named the other"),
        sa.Column("provider", sa.String(length=63), nullable=False, comment="Id of the provider that answered"),
        sa.Column(
            "seconds", sa.Integer(), nullable=False, comment="How far the latter's clock was ahead, in whole seconds"
        ),
        sa.Column("observed_ms", sa.BigInteger(), nullable=False, comment="When it answered, milliseconds since 1970"),
        sa.PrimaryKeyConstraint("question_id", name=op.f("pk_clock_observations")),
        comment="What answers showed of how far neighbours' clocks are apart; the latest of each pair",
    )
    op.create_index(
        "ix_clock_observations_pair", "clock_observations", ["named_by", "provider", "observed_ms"], unique=False
    )
